"""Free space: walls before and behind walls, brute force, invariances, hostile input."""

import math

import numpy as np
import pytest
import torch

from pcinv.errors import InputError, ShapeError
from pcinv.registration.free_space import CELLS, hidden_share, see, violation

MARGIN = 0.15


def shifted(*offsets):
    T = np.tile(np.eye(4), (len(offsets), 1, 1))
    T[:, :3, 3] = offsets
    return T


def wall(distance=3.0, step=0.05):
    side = np.arange(-1.0, 1.0, step)
    x, y = np.meshgrid(side, side)
    return np.stack([x, y, np.full_like(x, distance)], -1).reshape(-1, 3)


def room(seed=0, count=12000):
    """Points on the walls of a room of 4 x 3 x 2.5 m, seen from inside."""
    rng = np.random.default_rng(seed)
    xyz = rng.uniform(-1, 1, (count, 3))
    axis = rng.integers(0, 3, count)
    xyz[np.arange(count), axis] = np.sign(xyz[np.arange(count), axis])
    return xyz * [2.0, 1.5, 1.25]


def random_motion(seed, size=1.0):
    from pcinv.geometry.rotation import random_rotation

    g = torch.Generator().manual_seed(seed)
    T = np.eye(4)
    T[:3, :3] = random_rotation(generator=g, dtype=torch.float64).numpy()
    T[:3, 3] = size * torch.randn(3, generator=g, dtype=torch.float64).numpy()
    return T


def test_item_11_the_moved_cloud_before_and_behind_the_wall():
    view = see(wall(), np.zeros(3))
    still, nearer, behind, beside = hidden_share(
        view, wall(), shifted((0, 0, 0), (0, 0, -0.5), (0, 0, 0.5), (6, 0, 0)), MARGIN)
    assert still == behind == beside == 0
    assert nearer > 0.3


def test_item_11_identical_clouds_agree():
    for points, eye in ((wall(), (0, 0, 0)), (room(), (0.5, 0.2, 0)), (room(), (3.0, 0, 0))):
        view = see(points, np.array(eye, float))
        assert violation(view, view, np.eye(4), MARGIN) == 0
        assert violation(view, view, np.eye(4), 0.0) == 0


def test_the_margin_is_what_is_forgiven():
    view = see(wall(), np.zeros(3))
    T = shifted((0, 0, -0.2))
    assert hidden_share(view, wall(), T, 0.25) == 0 < hidden_share(view, wall(), T, 0.1)


def test_against_a_loop():
    points, view = room(1, 300), see(room(2), np.array([0.3, 0, 0.1]))
    T = random_motion(3, 0.3)
    count = 0
    cells = np.rint(np.array(CELLS) - [1, 0])
    nearest = {}

    def cell(p):
        r = np.linalg.norm(p)
        row = round(math.acos(p[2] / r) / math.pi * cells[0])
        return (row, min(int((math.atan2(p[1], p[0]) / (2 * math.pi) + 0.5) * cells[1]), 239)), r

    for p in room(2) - view.view_point:
        key, r = cell(p)
        nearest[key] = min(r, nearest.get(key, math.inf))
    for p in points:
        key, r = cell(T[:3, :3] @ p + T[:3, 3] - view.view_point)
        count += r < nearest.get(key, 0) - MARGIN
    assert hidden_share(view, points, T, MARGIN) == count / 300 > 0.05


def test_a_batch_of_poses_is_each_pose():
    a, b = see(room(3), np.zeros(3)), see(room(4), np.array([0.5, 0, 0]))
    T = np.stack([random_motion(seed, 0.5) for seed in range(6)]).reshape(2, 3, 4, 4)
    found = violation(a, b, T, MARGIN)
    assert found.shape == (2, 3) and found.min() >= 0 and found.max() <= 2 and found.std() > 0.01
    for i, j in np.ndindex(2, 3):
        assert violation(a, b, T[i, j], MARGIN) == found[i, j]


def test_swap_and_order_of_the_points_are_no_matter():
    rng = np.random.default_rng(0)
    points, other = room(5), room(6)
    a, b = see(points, np.zeros(3)), see(other, np.ones(3) / 3)
    again = see(rng.permutation(points), np.zeros(3))
    assert np.array_equal(a.depth, again.depth) and np.array_equal(a.points, again.points)
    for seed in range(5):
        T = random_motion(seed, 0.3)
        there, back = violation(a, b, T, MARGIN), violation(b, a, np.linalg.inv(T), MARGIN)
        assert there == pytest.approx(back, abs=2e-3)


def test_turned_clouds_change_by_the_cells_alone():
    """The view point moves along. Cells of directions do not turn, so a little changes."""
    points, other, eye = room(7), room(8), np.array([0.4, -0.2, 0.3])
    T = random_motion(1, 0.4)
    one = violation(see(points, eye), see(other, eye), T, MARGIN)
    for seed in range(5):
        S = random_motion(10 + seed, 3.0)
        turned = see(points @ S[:3, :3].T + S[:3, 3], S[:3, :3] @ eye + S[:3, 3])
        assert violation(turned, see(other, eye), T @ np.linalg.inv(S), MARGIN) == pytest.approx(
            one, abs=0.05)


def test_a_wrong_view_point_contradicts_the_right_motion():
    points, target, S = room(7), see(room(8), np.zeros(3)), random_motion(14, 3.0)
    turned = points @ S[:3, :3].T + S[:3, 3]
    right, wrong = see(turned, S[:3, 3]), see(turned, np.zeros(3))
    good, bad = (violation(view, target, np.linalg.inv(S), MARGIN) for view in (right, wrong))
    assert good < 0.01 and bad > 0.05


def test_scale_changes_nothing():
    a, b, T = room(9), room(10), random_motion(2, 0.4)
    one = violation(see(a, np.zeros(3)), see(b, np.zeros(3)), T, MARGIN)
    T[:3, 3] *= 8
    assert violation(see(8 * a, np.zeros(3)), see(8 * b, np.zeros(3)), T, 8 * MARGIN) == one > 0


def test_the_sample_stands_for_the_whole():
    a, b, T = room(11), see(room(12), np.zeros(3)), random_motion(4, 0.3)
    some, every = see(a, np.zeros(3)), see(a, np.zeros(3), sample=10**6)
    assert len(some.points) == 1500 and len(every.points) == 12000
    whole = violation(every, b, T, MARGIN)
    assert violation(some, b, T, MARGIN) == pytest.approx(whole, abs=0.06) and whole > 0.1


def test_points_at_the_view_point_and_few_points():
    one = see(np.zeros((1, 3)), np.zeros(3))
    assert not one.depth[np.isfinite(one.depth)].any()
    assert violation(one, one, np.eye(4), MARGIN) == 0
    same = see(np.ones((50, 3)), np.zeros(3))
    assert violation(same, same, np.eye(4), MARGIN) == 0
    assert violation(one, see(wall(), np.zeros(3)), np.eye(4), MARGIN) == 0


def test_bad_input():
    view = see(wall(), np.zeros(3))
    for call, error, text in (
        (lambda: see(np.zeros((0, 3)), np.zeros(3)), InputError, "points"),
        (lambda: see(wall()[:, :2], np.zeros(3)), ShapeError, "points"),
        (lambda: see(wall() * np.nan, np.zeros(3)), InputError, "finite"),
        (lambda: see(wall(), np.zeros(2)), ShapeError, "view_point"),
        (lambda: see(wall(), np.full(3, np.nan)), ShapeError, "view_point"),
        (lambda: see(wall(), np.zeros(3), sample=0), InputError, "sample"),
        (lambda: violation(view, view, np.eye(3), MARGIN), ShapeError, "4, 4"),
        (lambda: violation(view, view, np.eye(4) * np.nan, MARGIN), ShapeError, "4, 4"),
        (lambda: violation(view, view, np.eye(4), -1.0), InputError, "margin"),
    ):
        with pytest.raises(error, match=text):
            call()


def test_a_view_without_a_camera_contradicts_nothing_but_is_contradicted():
    points, T = room(13), random_motion(5, 0.3)
    blind, seeing = see(points, None), see(room(14), np.zeros(3))
    assert (hidden_share(blind, seeing.points, T, MARGIN) == 0).all()
    one_way = hidden_share(seeing, blind.points, T, MARGIN)
    assert violation(blind, seeing, T, MARGIN) == one_way > 0
    assert violation(seeing, blind, np.linalg.inv(T), MARGIN) == one_way
    assert violation(blind, see(points, None), T, MARGIN) == 0
    assert np.array_equal(blind.points, see(points, np.zeros(3)).points)
