"""Principal axes: their variants turn with the cloud, and ambiguity is reported."""

import pytest
import torch
from helpers.clouds import clouds
from hypothesis import given, settings

from pcinv.errors import InputError, ShapeError
from pcinv.geometry.frames import frame_variants, pca_frame
from pcinv.geometry.rotation import is_rotation, random_rotation


def ellipsoid(dtype, generator, count=6):
    xyz = torch.randn(count, 200, 3, generator=generator, dtype=torch.float64)
    return (xyz * torch.tensor([3.0, 2.0, 1.0])).to(dtype)


def test_matches_the_covariance(dtype, generator):
    xyz = ellipsoid(dtype, generator)
    frame = pca_frame(xyz)
    assert frame.axes.dtype == frame.eigenvalues.dtype == dtype
    assert is_rotation(frame.axes).all()
    assert (frame.centre - xyz.mean(1)).abs().max() < 1e-5
    for cloud, axes, values in zip(xyz, frame.axes, frame.eigenvalues, strict=True):
        covariance = torch.cov(cloud.T, correction=0)
        error = (axes @ torch.diag(values) @ axes.T - covariance).abs().max()
        assert error < 1e-5 * covariance.abs().max()
    assert not frame.is_ambiguous.any()


def test_the_set_of_variants_turns_with_the_cloud(dtype, tol, generator):
    xyz = ellipsoid(dtype, generator)
    rotation = random_rotation(len(xyz), generator=generator, dtype=dtype)
    here = rotation[:, None] @ frame_variants(pca_frame(xyz).axes)
    there = frame_variants(pca_frame(xyz @ rotation.mT + 1).axes)
    distance = (here[:, :, None] - there[:, None]).abs().amax((-2, -1))
    assert distance.amin(2).max() < 100 * tol and distance.amin(1).max() < 100 * tol


def test_a_single_frame_does_not_turn_with_the_cloud(generator):
    xyz = ellipsoid(torch.float64, generator, 32)
    rotation = random_rotation(32, generator=generator, dtype=torch.float64)
    off = (rotation @ pca_frame(xyz).axes - pca_frame(xyz @ rotation.mT).axes).abs().amax((-2, -1))
    assert (off > 0.1).any()


def test_variants_are_four_different_rotations(generator):
    axes = random_rotation(2, 3, generator=generator, dtype=torch.float64)
    variants = frame_variants(axes)
    assert variants.shape == (2, 3, 4, 3, 3) and is_rotation(variants, tolerance=1e-12).all()
    assert torch.equal(variants[..., 0, :, :], axes)
    apart = (variants[..., :, None, :, :] - variants[..., None, :, :, :]).abs().amax((-2, -1))
    assert (apart + torch.eye(4) > 0.1).all()


@pytest.mark.parametrize("name,expected", [
    ("octahedron", True), ("lattice", True), ("doubled", True), ("collinear", True),
    ("coplanar", True), ("coincident", True), ("zeros", True), ("one", True),
    ("box", False), ("sheet", False),
])
def test_ambiguity_is_reported(name, expected, dtype, degenerate_sets):
    sizes = {"box": torch.tensor([3.0, 2.0, 1.0]), "sheet": torch.tensor([2.0, 1.0, 0.0])}
    xyz = degenerate_sets["lattice"] * sizes[name] if name in sizes else degenerate_sets[name]
    frame = pca_frame(xyz[None].to(dtype))
    assert frame.is_ambiguous.item() is expected
    assert torch.isfinite(frame.axes).all() and is_rotation(frame.axes).all()


def test_gap_sees_near_equal_axes_and_the_limit_is_a_choice(generator):
    sphere = torch.nn.functional.normalize(torch.randn(1, 500, 3, generator=generator), dim=-1)
    gap = pca_frame(sphere).gap
    assert 0 < gap.min() < 0.1
    assert pca_frame(sphere, min_gap=0.2).is_ambiguous.all()


def test_no_gradient_passes_through_the_axes(degenerate):
    xyz = degenerate[None].requires_grad_()
    axes = pca_frame(xyz).axes
    assert not axes.requires_grad
    (xyz @ axes).square().sum().backward()
    assert torch.isfinite(xyz.grad).all()


def test_far_from_the_origin_the_axes_are_the_same(generator):
    xyz = ellipsoid(torch.float64, generator)
    here, there = pca_frame(xyz), pca_frame(xyz + 5e6)
    assert (here.eigenvalues - there.eigenvalues).abs().max() < 1e-6


@settings(max_examples=40, deadline=None)
@given(clouds(max_size=64))
def test_hostile_clouds_give_finite_rotations(xyz):
    frame = pca_frame(torch.from_numpy(xyz)[None])
    assert is_rotation(frame.axes, tolerance=1e-12).all()
    assert torch.isfinite(frame.gap).all() and (frame.eigenvalues >= 0).all()


def test_bad_input():
    with pytest.raises(ShapeError, match=r"\(4, 3\)"):
        pca_frame(torch.zeros(4, 3))
    with pytest.raises(InputError, match="not finite"):
        pca_frame(torch.full((1, 4, 3), torch.nan))
