"""Angles and pair features: values, invariance with its negative control, derivatives."""

import math

import pytest
import torch
from helpers.clouds import clouds, rotations
from hypothesis import given, settings
from torch.autograd import gradcheck, gradgradcheck

from pcinv.geometry import features as f
from pcinv.geometry.rotation import random_rotation

PAIRS = (f.point_pair_features, f.informative_features)


def all_pairs(xyz):
    """Return points and axes of all pairs of a cloud, the points themselves serving as axes."""
    n = len(xyz)
    i, j = torch.cartesian_prod(torch.arange(n), torch.arange(n)).unbind(1)
    return xyz[i], xyz.roll(1, 0)[i], xyz[j], xyz.roll(2, 0)[j]


def finite_gradients(function, *inputs):
    inputs = [x.clone().requires_grad_() for x in inputs]
    value = function(*inputs)
    (first,) = [torch.autograd.grad(value.sum(), inputs, create_graph=True)]
    second = torch.autograd.grad(sum((g * g).sum() for g in first), inputs, allow_unused=True)
    results = [value, *first, *(s for s in second if s is not None)]
    return all(torch.isfinite(x).all() for x in results)


class TestNorms:
    @pytest.mark.parametrize("size", [0.0, 1e-30, 1e-12, 1.0, 1e12, 1e30])
    def test_values_over_all_sizes(self, size, dtype):
        v = size * torch.tensor([[3.0, 0.0, -4.0]], dtype=dtype)
        length = f.safe_norm(v)
        unit = f.safe_normalize(v)
        alive = size > torch.finfo(dtype).tiny ** 0.5
        assert length.item() == pytest.approx(5 * size if alive else 0, rel=1e-6)
        expected = torch.tensor([[0.6, 0.0, -0.8]], dtype=dtype) if alive else 0 * v
        assert torch.allclose(unit, expected)
        assert f.safe_norm(v, keepdim=True).shape == (1, 1)

    def test_plain_norm_underflows_and_has_no_second_derivative(self):
        assert (torch.tensor([1e-30, 0, 0]) ** 2).sum().sqrt() == 0
        assert f.safe_norm(torch.tensor([1e-18, 0, 0])) > 0

    def test_finite_gradients_at_zero(self, dtype):
        for v in (torch.zeros(2, 3, dtype=dtype), torch.full((2, 3), 1e-25, dtype=dtype)):
            assert finite_gradients(f.safe_norm, v)
            assert finite_gradients(f.safe_normalize, v)

    def test_derivatives(self, generator):
        v = torch.randn(4, 3, generator=generator, dtype=torch.float64, requires_grad=True)
        for function in (f.safe_norm, f.safe_normalize):
            assert gradcheck(function, v) and gradgradcheck(function, v)


class TestAngle:
    @pytest.mark.parametrize("angle", [
        0.0, 1e-7, 1e-3, 0.5, math.pi / 2, math.pi - 1e-3, math.pi - 1e-7, math.pi])
    def test_values(self, angle, dtype, tol):
        a = torch.tensor([2.0, 0.0, 0.0], dtype=dtype)
        b = 3 * torch.tensor([math.cos(angle), math.sin(angle), 0.0], dtype=dtype)
        assert f.angle(a, b).item() == pytest.approx(angle, abs=tol)
        assert f.angle(1e-12 * a, 1e12 * b).item() == pytest.approx(angle, abs=tol)

    def test_zero_vector_gives_zero(self):
        assert f.angle(torch.zeros(3), torch.ones(3)) == 0
        assert finite_gradients(f.angle, torch.zeros(3).double(), torch.ones(3).double())

    def test_signed(self, dtype, tol):
        x, y, z = torch.tensor([[1.0, 0.0, 0.3], [0.0, 2.0, -1.0], [0.0, 0.0, 5.0]], dtype=dtype)
        assert f.signed_angle(x, y, z).item() == pytest.approx(math.pi / 2, abs=tol)
        assert f.signed_angle(y, x, z).item() == pytest.approx(-math.pi / 2, abs=tol)
        assert f.signed_angle(x, y, -z).item() == pytest.approx(-math.pi / 2, abs=tol)
        assert f.signed_angle(x, -x, z).abs().item() == pytest.approx(math.pi, abs=tol)

    def test_signed_without_meaning_is_zero(self, dtype):
        v = torch.tensor([0.3, -0.7, 0.2], dtype=dtype)
        w = torch.tensor([1.0, 0.0, 0.0], dtype=dtype)
        for a, b, axis in ((v, w, v), (w, 3 * v, v), (v, w, 0 * v), (0 * v, w, v)):
            assert f.signed_angle(a, b, axis) == 0


class TestPairs:
    def test_known_values(self, dtype, tol):
        p, n, q, m = torch.tensor([[0.0, 0, 0], [0, 0, 1], [2, 0, 0], [0, -1, 0]], dtype=dtype)
        quarter = math.pi / 2
        expected = torch.tensor([2.0, quarter, quarter, quarter], dtype=dtype)
        assert (f.point_pair_features(p, n, q, m) - expected).abs().max() < tol
        assert (f.informative_features(p, n, q, m) - expected).abs().max() < tol

    @pytest.mark.parametrize("function", PAIRS)
    def test_invariant_under_rigid_motion(self, function, dtype, tol, generator):
        p, n, q, m = torch.randn(4, 200, 3, generator=generator, dtype=dtype)
        rotation = random_rotation(generator=generator, dtype=dtype).T
        moved = function(p @ rotation + 1, n @ rotation, q @ rotation + 1, m @ rotation)
        assert (moved - function(p, n, q, m)).abs().max() < 10 * tol
        unturned = function(p @ rotation + 1, n, q @ rotation + 1, m)
        assert (unturned - function(p, n, q, m)).abs().max() > 0.1

    def test_mirror_image_flips_the_dihedral_angle_and_nothing_else(self, generator):
        p, n, q, m = torch.randn(4, 200, 3, generator=generator, dtype=torch.float64)
        mirror = torch.tensor([1.0, 1.0, -1.0]).double()
        here, there = (f.informative_features(p * s, n * s, q * s, m * s) for s in (1, mirror))
        assert (here[:, :3] - there[:, :3]).abs().max() < 1e-12
        assert (here[:, 3] + there[:, 3]).abs().max() < 1e-12
        assert here[:, 3].abs().median() > 0.5
        pairs = [f.point_pair_features(p * s, n * s, q * s, m * s) for s in (1, mirror)]
        assert (pairs[0] - pairs[1]).abs().max() < 1e-12

    @pytest.mark.parametrize("function", PAIRS)
    def test_derivatives(self, function, generator):
        drawn = torch.randn(4, 3, 3, generator=generator, dtype=torch.float64)
        inputs = [x.requires_grad_() for x in drawn.unbind()]
        assert gradcheck(function, inputs) and gradgradcheck(function, inputs)

    @pytest.mark.parametrize("function", PAIRS)
    def test_finite_gradients_on_degenerate_sets(self, function, degenerate, dtype):
        assert finite_gradients(function, *all_pairs(degenerate.to(dtype)))


@settings(max_examples=40, deadline=None)
@given(clouds(min_size=2, max_size=24), rotations())
def test_pairs_of_hostile_clouds(xyz, rotation):
    xyz, rotation = torch.from_numpy(xyz), torch.from_numpy(rotation)
    xyz = xyz - xyz[:1]
    inputs = all_pairs(xyz)
    size = xyz.abs().max().clamp_min(1e-300)
    for function in PAIRS:
        here = function(*inputs)
        assert finite_gradients(function, *inputs)
        there = function(*(x @ rotation.T for x in inputs))
        length = (here[:, 0] - there[:, 0]).abs() / size
        # short differences of long vectors lose digits: compare where the geometry is defined
        assert length.max() < 1e-12
        sound = (inputs[2] - inputs[0]).norm(dim=1) > 1e-3 * size
        for axis in (inputs[1], inputs[3]):
            sound &= torch.linalg.cross(axis, inputs[2] - inputs[0]).norm(dim=1) > 1e-6 * size**2
        turn = (here[:, 1:] - there[:, 1:]).abs()
        turn = torch.minimum(turn, (2 * math.pi - turn).abs())
        assert turn[sound].numel() == 0 or turn[sound].max() < 1e-6
