"""Frames of whole clouds. Numbers in names are those of the list of promises."""

import itertools
import math

import numpy as np
import pytest
import torch
from helpers.clouds import clouds, rotations
from hypothesis import given, settings

from pcinv.errors import InputError, ShapeError, UnknownNameError
from pcinv.geometry.pca_frames import (
    GROUPS,
    blended_frames,
    draw_frames,
    pca_frames,
    weighted_pair_frames,
)
from pcinv.geometry.rotation import axis_angle_to_matrix, random_rotation

PAIRS = {"O3", "E3"}


def bumpy(dtype=torch.float64, batch=3, count=60, seed=0):
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(batch, count, 3, generator=g, dtype=torch.float64)
    x = x + 0.5 * x.square() * torch.tensor([1.0, 0.5, 0.2])
    return (x * torch.tensor([1.0, 0.7, 0.4])).to(dtype)


def turn(seed=0):
    return random_rotation(generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def distance_of_sets(a, b):
    """Largest distance from a frame (or view) of one set to the nearest of the other, per cloud."""
    far = (a[:, :, None] - b[:, None]).abs().flatten(3).amax(-1)
    return float(torch.maximum(far.amin(2).amax(), far.amin(1).amax()))


def network(seed=0):
    """A small smooth function of a set of points, (..., N, 3) -> (..., 8)."""
    g = torch.Generator().manual_seed(seed)
    shapes = ((3, 32), (32, 48), (48, 8))
    a, b, c = (torch.randn(s, generator=g, dtype=torch.float64) for s in shapes)
    return lambda z: ((z @ a).tanh() @ b / 6).tanh().amax(-2) @ c


def average(xyz, make, phi=None):
    frames = make(xyz)
    value = (phi or network())(frames.views(xyz.double()))
    return (frames.weight[..., None] * value).sum(1)


def octahedral():
    """A generic point and its copies under the 24 rotations of a cube."""
    found = []
    for order in itertools.permutations(range(3)):
        for signs in itertools.product((1.0, -1.0), repeat=3):
            m = torch.zeros(3, 3, dtype=torch.float64)
            m[range(3), list(order)] = torch.tensor(signs, dtype=torch.float64)
            if torch.det(m) > 0:
                found.append(m @ torch.tensor([1.0, 0.3, 0.5], dtype=torch.float64))
    return torch.stack(found)


def sphere_grid():
    t = (torch.arange(10, dtype=torch.float64) + 0.5) / 10 * math.pi
    p = torch.arange(20, dtype=torch.float64) / 20 * 2 * math.pi
    t, p = torch.meshgrid(t, p, indexing="ij")
    return torch.stack([t.sin() * p.cos(), t.sin() * p.sin(), t.cos()], -1).view(-1, 3)


def square():
    side = torch.linspace(-1, 1, 7, dtype=torch.float64)
    flat = torch.cartesian_prod(side, side)
    return torch.cat([flat, torch.zeros(len(flat), 1, dtype=torch.float64)], 1)


DEGENERATE = {
    "octahedron": torch.cat([torch.eye(3), -torch.eye(3)]).double(),
    "24 rotations": octahedral(),
    "sphere grid": sphere_grid(),
    "plane": square(),
    "line": torch.linspace(-1, 2, 20, dtype=torch.float64)[:, None] * torch.tensor([1.0, 2, 3]),
    "one": torch.tensor([[0.3, 0.1, 0.2]], dtype=torch.float64),
    "two": torch.tensor([[0.3, 0.1, 0.2], [1.0, -1.0, 0.5]], dtype=torch.float64),
}


def test_golden_against_numpy():
    """The frames are the eigenvectors that numpy finds, longest first, with every sign."""
    xyz = bumpy(batch=2)
    frames = pca_frames(xyz, group="E3")
    for cloud, axes, centre in zip(xyz.numpy(), frames.axes.numpy(), frames.centre.numpy(),
                                   strict=True):
        local = cloud - cloud.mean(0)
        _, vectors = np.linalg.eigh(local.T @ local)
        wanted = [vectors[:, ::-1] * s for s in itertools.product((1, -1), repeat=3)]
        for mine in axes:
            assert min(np.abs(mine - w).max() for w in wanted) < 1e-12
        assert np.abs(centre - cloud.mean(0)).max() < 1e-14
    assert distance_of_sets(pca_frames(xyz, order="asc").axes,
                            pca_frames(xyz).axes.flip(-1) * torch.tensor([1.0, 1, -1])) < 1e-12


@pytest.mark.parametrize("group", GROUPS)
def test_1_frames_are_orthogonal_and_turn_with_the_cloud(group, dtype):
    xyz, r = bumpy(dtype), turn()
    frames = pca_frames(xyz, group=group)
    assert frames.axes.shape[1] == (8 if group in PAIRS else 4)
    assert (frames.axes.mT @ frames.axes - torch.eye(3)).abs().max() < 1e-6
    handed = torch.linalg.det(frames.axes)
    if group in PAIRS:
        assert (handed.sum(1).abs() < 1e-6).all()
    else:
        assert (handed - 1).abs().max() < 1e-6
    turned = (xyz.double() @ r.T).to(dtype)
    bound = 1e-12 if dtype == torch.float64 else 1e-5
    assert distance_of_sets(pca_frames(turned, group=group).axes, r @ frames.axes) < bound


@pytest.mark.parametrize("make", [pca_frames, blended_frames, weighted_pair_frames])
@pytest.mark.parametrize("group", GROUPS)
def test_2_views_of_a_moved_cloud_are_the_same_set(make, group, dtype):
    xyz, r = bumpy(dtype, batch=2, count=12), turn(1)
    shift = torch.tensor([3.0, -2, 1]) if group in ("SE3", "E3") else 0.0
    moved = (xyz.double() @ r.T + shift).to(dtype)
    others = [moved]
    if group in PAIRS:
        others.append(moved * torch.tensor([1.0, 1.0, -1.0], dtype=dtype))
    frames = make(xyz, group=group)
    for cloud, other in ((a, b) for a in range(2) for b in others):
        # a frame of hardly any weight hardly exists
        heavy = frames.weight[cloud] > 1e-3 / frames.weight.shape[1]
        a = frames.views(xyz)[cloud, heavy]
        b = make(other, group=group).views(other)[cloud]
        far = (a[:, None] - b).abs().flatten(2).amax(-1).amin(1)
        assert far.max() < (1e-11 if dtype == torch.float64 else 1e-5)


def test_2_the_views_of_a_mirror_image_are_others():
    """Negative control: frames of det +1 tell left from right."""
    xyz = bumpy()
    mirror = xyz * torch.tensor([1.0, 1.0, -1.0])
    assert distance_of_sets(pca_frames(xyz).views(xyz), pca_frames(mirror).views(mirror)) > 0.1


def test_2_about_the_origin_a_shift_is_seen():
    xyz = bumpy()
    shifted = xyz + torch.tensor([1.0, 0.5, 0.2])
    a, b = (pca_frames(x, group="SO3").views(x) for x in (xyz, shifted))
    assert distance_of_sets(a, b) > 0.1


def test_back_undoes_views():
    xyz = bumpy()
    frames = pca_frames(xyz, group="E3")
    local = xyz - frames.centre[:, None]
    assert (frames.back(frames.views(xyz)) - local[:, None]).abs().max() < 1e-14


@pytest.mark.parametrize("name", DEGENERATE)
def test_7_degenerate_clouds_are_flagged_and_weights_repair_them(name):
    xyz = DEGENERATE[name][None]
    make = {"pca": lambda x: pca_frames(x, group="SE3"),
            "blended": lambda x: blended_frames(x, group="SE3")}
    worst = dict.fromkeys(make, 0.0)
    for kind, frames_of in make.items():
        frames = frames_of(xyz)
        assert frames.is_ambiguous.all() and torch.isfinite(frames.axes).all()
        assert (frames.weight.sum(1) - 1).abs().max() < 1e-12 and (frames.weight >= 0).all()
        assert (frames.axes.mT @ frames.axes - torch.eye(3)).abs().max() < 1e-9
        base = average(xyz, frames_of)
        assert torch.isfinite(base).all()
        for seed in range(12):
            other = average(xyz @ turn(seed).T + 1, frames_of)
            error = (other - base).abs().max() / base.abs().max()
            worst[kind] = max(worst[kind], float(error))
    assert worst["blended"] < 1e-2
    if name in ("octahedron", "plane"):  # negative control: without weights the answer depends
        assert worst["pca"] > (0.1 if name == "octahedron" else 0.03)


def nearly_a_line(thin, count=40):
    g = torch.Generator().manual_seed(0)
    x = torch.randn(2, count, 3, generator=g, dtype=torch.float64).abs().pow(1.5)
    x = x * torch.tensor([1.0, thin, thin])
    return x / x.norm(dim=-1).amax()


@pytest.mark.parametrize("thin", [0.0, 1e-15, 1e-8, 1e-7, 1e-6, 1e-5])
def test_7_rounding_matters_little_on_what_is_nearly_a_line(thin, dtype):
    """There the second axis of a pair is rounding, in part or all of it; its weight must not be."""
    xyz = nearly_a_line(thin)

    def look(x, make):
        return average((x + 3).to(dtype).double(), lambda y: make(y, group="SE3"))

    for make in (weighted_pair_frames, blended_frames):
        frames = make(xyz @ turn(1).T, group="SE3")
        assert (frames.axes.mT @ frames.axes - torch.eye(3)).abs().max() < 1e-12
        base = look(xyz, make)
        for seed in range(6):
            error = (look(xyz @ turn(seed).T, make) - base).abs().max() / base.abs().max()
            assert error < (1e-5 if dtype == torch.float32 else 1e-12)


def test_a_generic_cloud_is_not_flagged():
    assert not pca_frames(bumpy()).is_ambiguous.any()


def crossing(step):
    """An ellipsoid whose two larger axes trade places on the way, (12, 3) for step in [0, 1]."""
    g = torch.Generator().manual_seed(3)
    x = torch.randn(12, 3, generator=g, dtype=torch.float64)
    x = x - x.mean(0)
    values, vectors = torch.linalg.eigh(x.T @ x)
    x = x @ (vectors / values.sqrt())  # white, and skew
    return x * torch.stack([1.01 - 0.02 * step, 0.99 + 0.02 * step, torch.tensor(0.5)]).double()


def steps(make, count):
    path = torch.stack([crossing(s) for s in torch.linspace(0, 1, count, dtype=torch.float64)])
    values = torch.cat([average(part, make) for part in path.split(100)])
    return values.diff(dim=0).abs().amax(1)


def test_8_pairs_are_invariant_and_continuous_through_a_crossing():
    def pairs(xyz):
        return weighted_pair_frames(xyz, group="SE3")

    xyz = bumpy(count=24)
    for seed in range(6):
        moved = xyz @ turn(seed).T + 3
        assert (average(moved, pairs) - average(xyz, pairs)).abs().max() < 1e-10
    step = steps(pairs, 401)
    assert step.max() < 5 * step.median()
    step = steps(lambda x: pca_frames(x, group="SE3"), 401)
    assert step.max() > 100 * step.median()  # negative control: principal axes jump


def test_8_the_blend_is_continuous_where_principal_axes_jump():
    """Twice as many steps halve the largest one; a jump stays as large."""
    def blend(xyz):
        return blended_frames(xyz, group="SE3", min_gap=0.02)

    assert steps(blend, 1601).max() < 0.6 * steps(blend, 801).max()

    def plain(xyz):
        return pca_frames(xyz, group="SE3")

    assert steps(plain, 1601).max() > 0.9 * steps(plain, 801).max()


def test_clear_axes_are_kept_alone_and_unclear_ones_give_way():
    round_one = crossing(torch.tensor(0.5)).repeat(3, 1)[None]
    xyz = torch.cat([bumpy(batch=1, count=36), round_one])
    frames = blended_frames(xyz, group="SE3")
    assert (frames.weight[0, :4] == 0.25).all() and not frames.weight[0, 4:].any()
    assert frames.weight[1, :4].sum() < 1e-9
    assert frames.axes.shape[1] == 4 + 8 * 8


def test_9_the_mean_over_draws_is_the_average_over_frames():
    xyz, g = bumpy(batch=1, count=12), torch.Generator().manual_seed(0)
    for make in (pca_frames, weighted_pair_frames):
        frames = make(xyz)
        drawn = draw_frames(frames, 512, g)
        value = network()(drawn.views(xyz))[0]
        full = average(xyz, make)[0]
        error = value.std(0) / math.sqrt(512)
        assert ((value.mean(0) - full).abs() < 3 * error + 1e-12).all()
        one = network()(draw_frames(frames, 1, g).views(xyz))[0, 0]
        assert (one - full).abs().max() > 1e-3  # one draw is not the average


@pytest.mark.parametrize("make", [pca_frames, weighted_pair_frames, blended_frames])
def test_11_padding_changes_nothing(make):
    xyz = bumpy(batch=2, count=20)
    padded = torch.full((2, 31, 3), 7e3, dtype=torch.float64)
    mask = torch.zeros(2, 31, dtype=torch.bool)
    where = torch.arange(31)[torch.randperm(31, generator=torch.Generator().manual_seed(0))[:20]]
    padded[:, where], mask[:, where] = xyz, True
    a, b = make(xyz, group="SE3"), make(padded, mask, group="SE3")
    assert (a.centre - b.centre).abs().max() < 1e-12 and (a.gap - b.gap).abs().max() < 1e-12
    seen = b.views(padded)[:, :, where]
    phi = network()
    joined = (b.weight[..., None] * phi(seen)).sum(1)
    assert (joined - average(xyz, lambda x: make(x, group="SE3"))).abs().max() < 1e-11


@settings(max_examples=30, deadline=None)
@given(clouds(min_size=1, max_size=24), rotations())
def test_hostile_clouds_give_orthogonal_frames(cloud, rotation):
    xyz = torch.from_numpy(cloud @ rotation.T)[None]
    for make in (pca_frames, weighted_pair_frames, blended_frames):
        frames = make(xyz, group="SE3")
        assert torch.isfinite(frames.axes).all() and torch.isfinite(frames.weight).all()
        assert (frames.axes.mT @ frames.axes - torch.eye(3)).abs().max() < 1e-8
        assert abs(float(frames.weight.sum()) - 1) < 1e-9


def test_no_gradient_passes_through_the_frames():
    xyz = bumpy().requires_grad_()
    frames = pca_frames(xyz)
    assert not frames.axes.requires_grad
    frames.views(xyz).square().sum().backward()
    assert torch.isfinite(xyz.grad).all() and (xyz.grad != 0).any()


def test_a_nearby_cloud_has_nearby_frames():
    xyz = bumpy()
    tilt = axis_angle_to_matrix(torch.tensor([1e-6, 0, 0], dtype=torch.float64))
    assert distance_of_sets(pca_frames(xyz).axes, pca_frames(xyz @ tilt.T).axes) < 2e-6


@pytest.mark.parametrize("call, error", [
    (lambda: pca_frames(torch.zeros(3, 3)), ShapeError),
    (lambda: pca_frames(torch.full((1, 3, 3), torch.nan)), InputError),
    (lambda: pca_frames(torch.zeros(1, 3, 3), group="SO2"), UnknownNameError),
    (lambda: pca_frames(torch.zeros(1, 3, 3), order="down"), UnknownNameError),
    (lambda: pca_frames(torch.zeros(1, 3, 3), torch.zeros(1, 3, dtype=torch.bool)), InputError),
    (lambda: draw_frames(pca_frames(torch.zeros(1, 3, 3)), 0), InputError),
    (lambda: weighted_pair_frames(torch.zeros(1, 3, 3), torch.ones(1, 3, dtype=torch.bool),
                                  anchors=2), InputError),
])
def test_wrong_arguments_are_named(call, error):
    with pytest.raises(error) as caught:
        call()
    assert caught.value.where and caught.value.hint
