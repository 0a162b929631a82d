"""The batched 3x3 eigen-solver against LAPACK."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pcinv.geometry.rotation import random_rotation
from pcinv.geometry.symmetric import eigh3

SPECTRA = {
    "general": [0.1, 0.5, 1.0], "two small": [0.5, 0.5, 1.0], "two large": [0.2, 1.0, 1.0],
    "all equal": [1.0, 1.0, 1.0], "line": [0.0, 0.0, 1.0], "plane": [0.0, 1.0, 1.0],
    "zero": [0.0, 0.0, 0.0], "thin": [1e-14, 1e-7, 1.0], "near": [1.0, 1 + 1e-9, 1 + 2e-9],
    "signs": [-2.0, 0.0, 3.0],
}


def with_spectrum(values, count=200):
    basis = random_rotation(count, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    matrix = basis @ torch.diag(torch.tensor(values, dtype=torch.float64)) @ basis.mT
    return (matrix + matrix.mT) / 2, basis


@pytest.mark.parametrize("size", [1e-100, 1.0, 1e100])
@pytest.mark.parametrize("spectrum", SPECTRA)
def test_decomposes_every_spectrum(spectrum, size):
    matrix, _ = with_spectrum(SPECTRA[spectrum])
    matrix = matrix * size
    values, vectors = eigh3(matrix)
    assert (vectors.mT @ vectors - torch.eye(3).double()).abs().max() < 1e-14
    assert (values.diff(dim=-1) >= 0).all()
    scale = matrix.abs().max().clamp_min(1e-300)
    assert (values - torch.linalg.eigvalsh(matrix)).abs().max() < 4e-15 * scale
    assert (vectors @ (values[..., None] * vectors.mT) - matrix).abs().max() < 4e-15 * scale


@pytest.mark.parametrize("gap", [1.0, 1e-2, 1e-4, 1e-6, 1e-9])
def test_smallest_vector_is_as_exact_as_its_gap_allows(gap):
    matrix, basis = with_spectrum([1.0, 1.0 + gap, 2.0 + gap], 2_000)
    errors = [torch.linalg.cross(v[..., 0], basis[..., 0]).norm(dim=-1).max()
              for v in (eigh3(matrix)[1], torch.linalg.eigh(matrix)[1])]
    assert errors[0] < 1e-14 / gap
    assert errors[0] < 3 * errors[1]


def test_diagonal_matrices_are_exact_and_any_shape_works():
    matrix = torch.diag(torch.tensor([3.0, 1.0, 2.0])).expand(2, 4, 3, 3)
    values, vectors = eigh3(matrix)
    assert torch.equal(values, torch.tensor([1.0, 2.0, 3.0]).expand(2, 4, 3))
    assert torch.equal(vectors.abs(), torch.eye(3)[[1, 2, 0]].T.expand(2, 4, 3, 3))
    assert eigh3(torch.zeros(0, 3, 3))[1].shape == (0, 3, 3)


def test_float32(generator):
    x = torch.randn(500, 3, 3, generator=generator)
    values, vectors = eigh3(x @ x.mT)
    assert (values - torch.linalg.eigvalsh(x @ x.mT)).abs().max() < 1e-4
    assert (vectors.mT @ vectors - torch.eye(3)).abs().max() < 2e-6


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(-1e6, 1e6, allow_subnormal=False), min_size=6, max_size=6))
def test_any_symmetric_matrix(entries):
    a, b, c, d, e, g = entries
    matrix = torch.tensor([[a, d, e], [d, b, g], [e, g, c]], dtype=torch.float64)
    values, vectors = eigh3(matrix)
    assert (vectors.T @ vectors - torch.eye(3).double()).abs().max() < 1e-14
    scale = matrix.abs().max().clamp_min(1e-300)
    assert (vectors @ torch.diag(values) @ vectors.T - matrix).abs().max() <= 1e-14 * scale
