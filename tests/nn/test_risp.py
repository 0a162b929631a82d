"""Cyclic order and features of neighbourhoods; numbers are those of the list of promises."""

import math

import numpy as np
import pytest
import torch
from helpers.clouds import clouds
from hypothesis import given, settings
from hypothesis import strategies as st

from pcinv.geometry.rotation import random_rotation
from pcinv.nn.risp import cyclic_angle, cyclic_order, riconv_features, risp_features

TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-12}


def first(values):
    """(S, K, 3) -> component first, (3, 1, S, K)."""
    return values.permute(2, 0, 1)[:, None]


def random_neighbourhoods(points, dtype, seed=0, count=6, k=8):
    """Offsets (3, 1, S, K), normals of the neighbours, and axes (3, 1, S) of a random cloud."""
    g = torch.Generator().manual_seed(seed)
    xyz = torch.randn(points, 3, generator=g, dtype=torch.float64)
    normal = torch.nn.functional.normalize(
        torch.randn(points, 3, generator=g, dtype=torch.float64), dim=-1
    )
    pick = torch.stack([torch.randperm(points, generator=g)[:k] for _ in range(count)])
    offset, normals, axis = xyz[pick] - xyz[:count, None], normal[pick], normal[:count]
    return first(offset).to(dtype), first(normals).to(dtype), axis.t()[:, None].to(dtype)


def turned(values, rotation):
    return torch.einsum("ij,j...->i...", rotation.to(values.dtype), values)


def features_of(offset, normal, axis, kind="risp14"):
    angle, order = cyclic_order(offset, axis)
    offset = offset.gather(-1, order.expand_as(offset))
    normal = normal.gather(-1, order.expand_as(normal))
    if kind == "riconv8":
        return riconv_features(offset, normal, axis, angle)
    return risp_features(offset, normal, axis)


@pytest.mark.parametrize("kind", ["risp14", "riconv8"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("points", [32, 300, 2048])
def test_1_features_ignore_rotation_and_order(points, dtype, kind):
    offset, normal, axis = random_neighbourhoods(points, dtype)
    base = features_of(offset, normal, axis, kind)
    for seed in range(5):
        g = torch.Generator().manual_seed(seed)
        r = random_rotation(generator=g, dtype=torch.float64)
        p = torch.randperm(offset.shape[-1], generator=g)
        got = features_of(
            turned(offset, r)[..., p], turned(normal, r)[..., p], turned(axis, r), kind
        )
        assert (got - base).abs().max() < TOLERANCE[dtype] * (1 + base.abs().max())


@pytest.mark.parametrize("kind", ["risp14", "riconv8"])
def test_9_a_mirror_image_has_other_features(kind):
    offset, normal, axis = random_neighbourhoods(200, torch.float64)
    mirror = torch.diag(torch.tensor([1.0, 1.0, -1.0], dtype=torch.float64))
    base = features_of(offset, normal, axis, kind)
    got = features_of(turned(offset, mirror), turned(normal, mirror), turned(axis, mirror), kind)
    assert (got - base).abs().max() > 0.1


def test_2_only_the_length_scales_and_cosines_are_bounded():
    offset, normal, axis = random_neighbourhoods(500, torch.float64)
    base, big = features_of(offset, normal, axis), features_of(7.0 * offset, normal, axis)
    assert torch.allclose(big[0], 7.0 * base[0], rtol=1e-12)
    assert (big[1:] - base[1:]).abs().max() < 1e-5
    assert base[1:].abs().max() <= 1 + 1e-6


def scalar_features(p, n_p, a, n_a, b, n_b, c, n_c):
    """The 14 features of one neighbour, in plain floats, formula by formula."""
    def minus(x, y):
        return [x[i] - y[i] for i in range(3)]

    def dot(x, y):
        return math.fsum(x[i] * y[i] for i in range(3))

    def cross(x, y):
        return [x[1] * y[2] - x[2] * y[1], x[2] * y[0] - x[0] * y[2], x[0] * y[1] - x[1] * y[0]]

    def u(x):
        length = math.sqrt(dot(x, x))
        return [0.0] * 3 if length == 0 else [v / (length + 1e-7) for v in x]

    a, b, c = minus(a, p), minus(b, p), minus(c, p)
    ua, ub, uc = u(a), u(b), u(c)
    return [
        math.sqrt(dot(a, a)), dot(ua, n_p), -dot(ua, n_a), dot(ua, ub), dot(ub, n_p),
        -dot(ub, n_b), dot(ub, u(minus(b, a))), -dot(u(minus(a, b)), n_a),
        dot(u(minus(a, b)), n_b), dot(uc, ua), dot(uc, u(minus(c, a))), dot(u(minus(c, a)), n_c),
        dot(ua, n_c), dot(cross(uc, ua), cross(ub, ua)),
    ]


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("row", range(14))
def test_3_each_feature_matches_a_scalar_computation(row, stride):
    p = [0.3, -0.2, 0.1]
    points = [[0.9, 0.1, 0.2], [0.2, 0.5, -0.1], [-0.4, -0.3, 0.6], [0.1, -0.9, -0.3]]
    normals = [[0.6, 0.0, 0.8], [0.0, 1.0, 0.0], [2 / 3, -1 / 3, 2 / 3], [0.36, 0.48, -0.8]]
    n_p = [0.48, -0.6, 0.64]
    offset = first(torch.tensor([points], dtype=torch.float64) - torch.tensor(p))
    got = risp_features(
        offset, first(torch.tensor([normals], dtype=torch.float64)),
        torch.tensor(n_p, dtype=torch.float64)[:, None, None], stride,
    )[row, 0, 0]
    for i in range(4):
        before, after = (i - stride) % 4, (i + stride) % 4
        expected = scalar_features(p, n_p, points[i], normals[i], points[before], normals[before],
                                   points[after], normals[after])[row]
        assert abs(float(got[i]) - expected) < 1e-7  # the offset was rounded to float32 steps of p


@pytest.mark.parametrize("tip, clockwise", [(1.0, True), (-1.0, False)])
def test_5_a_polygon_is_listed_clockwise_seen_from_the_tip(tip, clockwise):
    turn = 2 * math.pi / 7
    angles = torch.tensor([3, 0, 5, 1, 6, 2, 4], dtype=torch.float64) * turn
    radius = torch.ones(7, dtype=torch.float64)
    radius[1] = 1.01  # the reference, at angle 0
    ring = torch.stack((radius * angles.cos(), radius * angles.sin(), torch.zeros(7)), -1)
    axis = torch.tensor([0.0, 0.0, tip], dtype=torch.float64)[:, None, None]
    _, order = cyclic_order(first(ring[None]), axis)
    listed = (angles[order[0, 0]] / turn).round().int().tolist()
    assert listed == ([0, 6, 5, 4, 3, 2, 1] if clockwise else [0, 1, 2, 3, 4, 5, 6])


def test_the_centre_comes_last_and_the_published_code_puts_it_a_quarter_turn_on():
    ring = torch.tensor([[1.01, 0, 0], [0, 1, 0], [0, 0, 0], [-1, 0, 0], [0, -1, 0]]).double()
    axis = torch.tensor([0.0, 0.0, 1.0]).double()[:, None, None]
    _, order = cyclic_order(first(ring[None]), axis)
    assert order[0, 0].tolist() == [0, 4, 3, 1, 2]
    angle = cyclic_angle(first(ring[None]), axis, centre_last=False)
    assert float(angle[0, 0, 2]) == pytest.approx(math.pi / 2)


@settings(max_examples=60, deadline=None)
@given(clouds(min_size=4, max_size=40), st.integers(0, 2**31))
def test_4_hostile_clouds_have_finite_features_and_gradients(cloud, seed):
    rng = np.random.default_rng(seed)
    k = rng.integers(1, 12)
    pick = rng.integers(0, len(cloud), (3, k))  # repeats: more neighbours than distinct points
    xyz = torch.from_numpy(cloud - cloud.mean(0)).requires_grad_()
    normal = torch.nn.functional.normalize(torch.from_numpy(rng.normal(size=cloud.shape)), dim=-1)
    normal[0] = 0  # real data has normals of length zero
    offset = first(xyz[pick] - xyz[pick[:, :1]])
    for kind in ("risp14", "riconv8"):
        features = features_of(offset, first(normal[pick]), normal[pick[:, 0]].t()[:, None], kind)
        assert torch.isfinite(features).all()
        gradient, = torch.autograd.grad(features.sum(), xyz, retain_graph=True)
        assert torch.isfinite(gradient).all()


def test_signs_of_angles_between_normals_can_be_left_out():
    offset, normal, axis = random_neighbourhoods(100, torch.float64)
    angle, order = cyclic_order(offset, axis)
    offset = offset.gather(-1, order.expand_as(offset))
    normal = normal.gather(-1, order.expand_as(normal))
    signed = riconv_features(offset, normal, axis, angle)
    plain = riconv_features(offset, normal, axis, angle, signed=False)
    assert torch.equal(signed.abs(), plain.abs())
    assert (plain[[4, 7]] >= 0).all() and (signed[[4, 7]] < 0).any()
    # feature 4 is the angle to the axis, by an independent formula
    cosine = (normal * axis[..., None]).sum(0).clamp(-1, 1)
    assert torch.allclose(plain[4], cosine.arccos(), atol=1e-6)


def test_turns_of_the_sort_key_add_up_to_one_round():
    offset, normal, axis = random_neighbourhoods(100, torch.float64)
    turn = features_of(offset, normal, axis, "riconv8")[1]
    assert (turn <= 1e-12).all()
    assert torch.allclose(turn.sum(-1), torch.full_like(turn[..., 0], -4.0), atol=1e-6)
