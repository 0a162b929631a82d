"""Stretching along the axes: the size stays, normals stay normal to the surface."""

import pytest
import torch

from pcinv.errors import InputError
from pcinv.geometry.transforms import stretch


def sphere(count=200):
    g = torch.Generator().manual_seed(0)
    return torch.nn.functional.normalize(torch.randn(count, 3, generator=g).double(), dim=-1)


def test_a_sphere_becomes_an_ellipsoid_with_its_own_normals():
    xyz = sphere()
    before = xyz.clone()
    got, normal = stretch(xyz, xyz, torch.Generator().manual_seed(1), ratio=1.5)
    assert torch.equal(xyz, before)
    factor = (got / xyz).median(0).values
    assert torch.allclose(got, xyz * factor) and float(factor.max() / factor.min()) > 1.05
    gradient = got / factor**2  # of the ellipsoid's equation
    assert torch.allclose(normal, torch.nn.functional.normalize(gradient, dim=-1))
    assert float(got.norm(dim=-1).amax()) == pytest.approx(1.0)


def test_the_ratio_bounds_the_factors_and_one_changes_nothing():
    xyz = sphere()
    for seed in range(20):
        got, none = stretch(xyz, None, torch.Generator().manual_seed(seed), ratio=1.3)
        factor = (got / xyz).median(0).values
        assert none is None and float(factor.max() / factor.min()) <= 1.3**2 + 1e-9
    assert torch.allclose(stretch(xyz, None, ratio=1.0)[0], xyz)
    with pytest.raises(InputError, match="ratio"):
        stretch(xyz, None, ratio=0.5)


def test_empty_and_equal_points_pass():
    for xyz in (torch.zeros(0, 3), torch.zeros(5, 3)):
        got, normal = stretch(xyz, xyz, ratio=2.0)
        assert torch.equal(got, xyz) and torch.isfinite(normal).all()
