"""The view point search: simulated and real views, cues against slow ones, invariances."""

import math
from functools import partial

import numpy as np
import pytest
import torch

from pcinv.errors import InputError, ShapeError
from pcinv.geometry.rotation import random_rotation
from pcinv.registration import viewpoint as vp
from pcinv.registration import viewpoint_kernels as kernels
from pcinv.registration.viewpoint import (
    find_view_point,
    looks_like_view_point,
    orient_towards,
)

VOXEL = 0.05


def hits(boxes, directions):
    """Distance along unit rays from the origin to the nearest of the boxes, and the face's axis.

    The first box is the room, seen from inside, the others stand in it.
    """
    with np.errstate(divide="ignore"):
        low, high = np.moveaxis(boxes[:, :, None] / directions, 1, 0)
    near, far = np.minimum(low, high), np.maximum(low, high)  # (boxes, rays, 3)
    enter, leave = near.max(2), far.min(2)
    blocked = (enter < leave) & (enter > 0)
    distance = np.where(blocked, enter, np.inf)
    distance[0] = leave[0]
    axis = near.argmax(2)
    axis[0] = far[0].argmin(1)
    first = distance.argmin(0)
    rays = np.arange(len(directions))
    return distance[first, rays], axis[first, rays]


def simulated(seed):
    """A room with furniture seen by a depth camera at the origin: points at 5 cm and normals."""
    from pcinv.ops import voxel_sample

    rng = np.random.default_rng(seed)
    boxes = [[[-2.0, -1.1, -1.5], [1.8, 1.4, 3.2]]]
    for _ in range(6):
        corner = rng.uniform([-1.8, -0.6, 1.0], [1.2, 0.9, 2.6])
        boxes.append([corner, corner + rng.uniform(0.2, 0.8, 3)])
    x, y = np.meshgrid(np.linspace(-0.9, 0.9, 120), np.linspace(-0.7, 0.7, 100))
    rays = np.stack([x, y, np.ones_like(x)], -1).reshape(-1, 3)
    turn = random_rotation(generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    rays /= np.linalg.norm(rays, axis=1, keepdims=True)
    distance, axis = hits(np.array(boxes), rays)
    points = rays * (distance + 0.0015 * distance**2 * rng.normal(size=len(rays)))[:, None]
    voxels = voxel_sample(torch.from_numpy(points), VOXEL)
    last = np.zeros(len(voxels.counts), int)
    last[voxels.inverse.numpy()] = axis
    normals = np.eye(3)[last] * rng.choice([-1.0, 1.0], (len(last), 1))
    return voxels.xyz.numpy() @ turn.numpy().T, normals @ turn.numpy().T


def agreement(points, normals, position=(0.0, 0.0, 0.0)):
    """Share of the normals that point to the side of the true view point."""
    return float((((position - points) * normals).sum(1) > 0).mean())


def motion(seed):
    g = torch.Generator().manual_seed(seed)
    return (random_rotation(generator=g, dtype=torch.float64).numpy(),
            3 * torch.randn(3, generator=g, dtype=torch.float64).numpy())


@pytest.fixture(scope="module")
def view():
    points, normals = simulated(0)
    return points, normals, find_view_point(points, normals, VOXEL)


@pytest.mark.parametrize("roughness", [True, False])
def test_simulated_rooms(roughness):
    for seed in range(4):
        points, normals = simulated(seed)
        assert len(points) > 2000 and abs(agreement(points, normals) - 0.5) < 0.05
        found = find_view_point(points, normals, VOXEL, use_roughness=roughness)
        assert np.linalg.norm(found.position) < 1.0
        assert agreement(points, orient_towards(points, normals, found.position)) > 0.97


def test_real_fragments(fragments):
    shares = []
    for scene, number in [("7-scenes", 0), ("7-scenes", 20), ("7-scenes", 41), ("sun3d-hotel", 1),
                          ("sun3d-hotel", 18), ("sun3d-mit", 5), ("sun3d-mit", 21)]:
        cloud = fragments(scene, number)
        R, t = motion(number)
        points, normals = cloud.points @ R.T + t, cloud.raw_normals @ R.T
        found = find_view_point(points, normals, VOXEL)
        shares.append(agreement(points, orient_towards(points, normals, found.position), t))
    assert np.mean(shares) > 0.95
    assert sum(s > 0.9 for s in shares) >= 6


def test_places_taken_at_random_do_worse(view):
    """What makes the search worth its time."""
    points, normals, _ = view
    some = vp._lattice(points, normals)[::40]
    assert np.mean([agreement(points, orient_towards(points, normals, q)) for q in some]) < 0.75


class TestInvariance:
    def test_order_of_the_points_is_no_matter(self, view):
        points, normals, found = view
        order = np.random.default_rng(0).permutation(len(points))
        again = find_view_point(points[order], normals[order], VOXEL)
        assert np.array_equal(again.position, found.position) and again.gap == found.gap
        assert np.array_equal(again.places, found.places)

    def test_signs_of_the_normals_are_no_matter(self, view):
        points, normals, found = view
        sign = np.random.default_rng(1).choice([-1.0, 1.0], (len(points), 1))
        again = find_view_point(points, sign * normals, VOXEL)
        assert np.array_equal(again.position, found.position) and again.gap == found.gap
        assert np.array_equal(orient_towards(points, normals, found.position),
                              orient_towards(points, sign * normals, found.position))

    def test_the_place_turns_with_the_cloud(self, view):
        points, normals, found = view
        for seed in range(3):
            R, t = motion(seed)
            again = find_view_point(points @ R.T + t, normals @ R.T, VOXEL)
            assert np.abs(again.position - (R @ found.position + t)).max() < 1e-6
            assert again.gap == pytest.approx(found.gap, abs=1e-3)

    def test_item_18_scale(self, view):
        points, normals, found = view
        again = find_view_point(40 * points, normals, 40 * VOXEL)
        assert np.abs(again.position / 40 - found.position).max() < 1e-6
        assert again.gap == pytest.approx(found.gap, abs=1e-3)
        assert not np.allclose(find_view_point(points, normals, 3 * VOXEL).position, found.position)

    def test_threads_are_no_matter(self, view):
        points, normals, found = view
        torch.set_num_threads(2)
        try:
            assert np.array_equal(find_view_point(points, normals, VOXEL).places, found.places)
        finally:
            torch.set_num_threads(1)


def test_gap_and_opposite(view):
    points, normals, found = view
    assert len(found.places) == len(found.scores) == 60 and (np.diff(found.scores) <= 0).all()
    assert np.array_equal(found.places[0], found.position) and found.gap > 0
    one, other = (orient_towards(points, normals, q) for q in (found.position, found.opposite))
    assert ((one * other).sum(1) > 0).mean() < 0.65
    assert all(((orient_towards(points, normals, q) * one).sum(1) > 0).mean() >= 0.65
               for q, s in zip(found.places, found.scores, strict=True)
               if s > found.scores[0] - found.gap)


def slow_cues(p, n, rough, q):
    """The cues as they are defined, one point and one cell at a time where that is easiest."""
    d = p - q
    r = np.linalg.norm(d, axis=1)
    u = d / r[:, None]
    c = np.abs((u * n).sum(1))
    m = u.mean(0)
    length = np.linalg.norm(m)
    m = m / length
    a = np.array([0, m[2], -m[1]]) if abs(m[0]) < 0.9 else np.array([-m[2], 0, m[0]])
    a /= np.linalg.norm(a)
    b = np.cross(m, a)
    angle = np.arccos(np.clip(u @ m, -1, 1)) / math.radians(3)
    across = np.stack([u @ a, u @ b], 1)
    across /= np.linalg.norm(across, axis=1, keepdims=True)
    cell = np.floor(angle[:, None] * across + 64).astype(int)
    image = np.full((128, 128), np.inf)
    np.minimum.at(image, tuple(cell.T), r)
    slant = math.radians(3) * r / np.maximum(c, 0.2)
    hidden = r > image[tuple(cell.T)] + 0.1 + slant
    deep = [(image[i - 1 : i + 2, j - 1 : j + 2] < rk - 0.15 - 2 * sk).sum() >= 3
            for (i, j), rk, sk in zip(cell, r, slant, strict=True)]
    seen = np.isfinite(image)
    holes = 0
    for i, j in zip(*np.nonzero(~seen), strict=True):
        holes += bool(seen[i + 1 : i + 9, j].any() and seen[max(i - 8, 0) : i, j].any()
                      and seen[i, j + 1 : j + 9].any() and seen[i, max(j - 8, 0) : j].any())
    filled = seen.sum()
    log = np.log(r)
    return [hidden.mean(), np.mean(deep), holes / (holes + filled + 1), c.mean(), (c < 0.2).mean(),
            (r > 3.5).mean(), length, r.min(), math.log(r.mean()), np.corrcoef(log, rough)[0, 1],
            math.log(filled + 1), log.std()]


def test_cues_against_slow_ones(view):
    points, normals, _ = view
    some = slice(None, None, 3)
    p, n = points[some], normals[some]
    rough = np.random.default_rng(0).normal(size=len(p))
    places = vp._lattice(p, n)[::60]
    found = np.zeros((len(places), 12))
    kernels.view_cues(np.ascontiguousarray(p.T), np.ascontiguousarray(n.T), rough, places, found)
    expected = np.array([slow_cues(p, n, rough, q) for q in places])
    assert np.abs(found - expected).max() < 1e-6 and (expected.std(0) > 0.01).all()
    again = np.zeros_like(found)  # no place leaves anything behind for the next
    for i in reversed(range(len(places))):
        kernels.view_cues(np.ascontiguousarray(p.T), np.ascontiguousarray(n.T), rough,
                          places[i : i + 1], again[i : i + 1])
    assert np.array_equal(found, again)


def test_logarithm():
    values = np.concatenate([np.geomspace(1e-9, 1e9, 9001), [1.0, 2.0, math.sqrt(2)]])
    out = np.empty_like(values)
    kernels._log(values, out)
    assert np.abs(out - np.log(values)).max() < 1e-8


class TestHostile:
    @pytest.mark.parametrize("name", ["one", "same", "line", "lattice", "sparse", "no normals"])
    def test_always_an_answer(self, name):
        rng = np.random.default_rng(0)
        points = {
            "one": np.ones((1, 3)), "same": np.ones((50, 3)),
            "line": np.linspace(0, 3, 60)[:, None] * [1.0, 2, 2],
            "lattice": np.stack(np.meshgrid(*[np.arange(5.0)] * 3), -1).reshape(-1, 3) / 20,
            "sparse": 1e6 * rng.normal(size=(70, 3)), "no normals": rng.normal(size=(80, 3)),
        }[name]
        normals = rng.normal(size=points.shape)
        normals /= np.linalg.norm(normals, axis=1, keepdims=True)
        normals *= name != "no normals"
        found = find_view_point(points, normals, VOXEL)
        assert np.isfinite(found.places).all() and np.isfinite(found.scores).all()
        assert found.position.shape == (3,) and found.gap >= 0

    def test_bad_input(self):
        p = np.random.default_rng(0).normal(size=(30, 3))
        for points, normals, voxel, error, text in (
            (p[:, :2], p, VOXEL, ShapeError, "points"), (p, p[:5], VOXEL, ShapeError, "normals"),
            (p[:0], p[:0], VOXEL, InputError, "points"),
            (p * np.nan, p, VOXEL, InputError, "finite"),
            (p, p, 0.0, InputError, "voxel"), (p, p, np.nan, InputError, "voxel"),
        ):
            with pytest.raises(error, match=text):
                find_view_point(points, normals, voxel)


def test_the_true_place_looks_like_one_and_others_do_not(fragments):
    rng = np.random.default_rng(0)
    true, false = [], []
    for scene in ("7-scenes", "sun3d-hotel"):
        for number in range(0, 30, 3):
            cloud = fragments(scene, number)
            looks = partial(looks_like_view_point, cloud.points, cloud.raw_normals, 0.05)
            true.append(looks(np.zeros(3)))
            false += [looks(cloud.points.mean(0) + 4 * d / np.linalg.norm(d))
                      for d in rng.normal(size=(4, 3))]
    assert np.mean(true) >= 0.9 and np.mean(false) <= 0.4


def test_a_scanner_amid_the_points_is_believed(monkeypatch):
    rng = np.random.default_rng(1)
    x, y = rng.uniform(-30, 30, (2, 4000))
    street = np.stack([x, y, 0 * x], 1)
    front = np.stack([x[:900], 0 * x[:900] + 12, rng.uniform(0, 6, 900)], 1)
    normals = np.repeat([[0.0, 0, 1], [0.0, 1, 0]], [4000, 900], axis=0)
    looks = partial(looks_like_view_point, np.concatenate([street, front]), normals, 0.6,
                    np.array([0.0, 0, 1.7]))
    assert looks()
    monkeypatch.setattr(vp, "SURROUNDED", 0.0)  # the cues alone know cameras in rooms
    assert not looks()
