"""The tolerances of the geometry tests, in one table, and sets on which gradients usually fail."""

import pytest
import torch

TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-11}


@pytest.fixture(params=[torch.float32, torch.float64], ids=["float32", "float64"])
def dtype(request):
    return request.param


@pytest.fixture
def tol(dtype):
    return TOLERANCE[dtype]


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


def _octahedron():
    return torch.cat([torch.eye(3), -torch.eye(3)])


def _lattice():
    axis = torch.arange(3.0)
    return torch.cartesian_prod(axis, axis, axis)


DEGENERATE = {
    "octahedron": _octahedron(),
    "lattice": _lattice(),
    "doubled": _octahedron().repeat(2, 1),
    "collinear": torch.arange(8.0)[:, None] * torch.tensor([1.0, 2.0, -1.0]),
    "coplanar": _lattice() * torch.tensor([1.0, 1.0, 0.0]),
    "coincident": torch.ones(6, 3),
    "zeros": torch.zeros(6, 3),
    "one": torch.tensor([[1.0, 2.0, 3.0]]),
}


@pytest.fixture
def degenerate_sets():
    return DEGENERATE


@pytest.fixture(params=DEGENERATE)
def degenerate(request):
    """A float64 cloud (N, 3) with equal distances, equal eigenvalues or equal points."""
    return DEGENERATE[request.param].double()
