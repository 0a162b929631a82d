"""Point feature histograms against Open3D; signs, motions, order, totals, hostile input."""

import numpy as np
import pytest
import torch

from pcinv.errors import InputError, ShapeError
from pcinv.geometry.rotation import random_rotation
from pcinv.registration.sign_free import NeighbourTable, fpfh, neighbour_table, sign_free_fpfh

RADIUS = 0.35


def bumpy(count=600, seed=0):
    """Points on a wavy sheet and a box edge, with oriented normals."""
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(-1, 1, (2, count))
    z, dx, dy = 0.2 * np.sin(4 * x) * y, 0.8 * np.cos(4 * x) * y, 0.2 * np.sin(4 * x)
    n = np.stack([-dx, -dy, np.ones(count)], 1)
    wall = rng.uniform(-1, 1, (count // 2, 3)) * [0, 1, 0.5] + [1, 0, 0.5]
    points = np.concatenate([np.stack([x, y, z], 1), wall])
    normals = np.concatenate([n, np.tile([-1.0, 0, 0], (len(wall), 1))])
    return points, normals / np.linalg.norm(normals, axis=1, keepdims=True)


def lattice_corner():
    """Three perpendicular grids: line and normals at exactly 0 or 90 degrees, tied neighbours."""
    side = np.stack(np.meshgrid(np.arange(7.0), np.arange(7.0), [0.0]), -1).reshape(-1, 3)
    points = np.concatenate([side, side[:, [2, 0, 1]], side[:, [1, 2, 0]]])
    normals = np.repeat(np.eye(3)[[2, 0, 1]], len(side), axis=0)
    return points / 8, normals


def describe(points, normals, function=fpfh, radius=RADIUS):
    return function(points, normals, neighbour_table(points, [(radius, 100)]))[0]


def blocks(features):
    return features.reshape(len(features), 3, 11).sum(2)


def with_open3d(open3d, points, normals, radius, max_nn):
    cloud = open3d.geometry.PointCloud(open3d.utility.Vector3dVector(points))
    cloud.normals = open3d.utility.Vector3dVector(normals)
    search = open3d.geometry.KDTreeSearchParamHybrid(radius, max_nn)
    return np.asarray(open3d.pipelines.registration.compute_fpfh_feature(cloud, search).data).T


@pytest.mark.parametrize("max_neighbours", [12, 100])
def test_equals_open3d(open3d, max_neighbours):
    points, normals = bumpy()
    found = fpfh(points, normals, neighbour_table(points, [(RADIUS, max_neighbours)]))[0]
    expected = with_open3d(open3d, points, normals, RADIUS, max_neighbours)
    assert np.abs(found - expected).max() < 1e-9


def test_equals_open3d_with_repeated_and_lonely_points(open3d):
    points, normals = bumpy(200)
    points[10], points[20:23] = [9, 9, 9], points[19]
    normals[20:23] = normals[19]
    found = describe(points, normals)
    assert np.abs(found - with_open3d(open3d, points, normals, RADIUS, 100)).max() < 1e-9


def test_equals_open3d_on_a_real_fragment(open3d, fragments):
    cloud = fragments("7-scenes", 3)
    found = describe(cloud.points, cloud.normals, radius=0.25)
    expected = with_open3d(open3d, cloud.points, cloud.normals, 0.25, 100)
    assert len(found) > 3000 and np.abs(found - expected).max() < 1e-8


@pytest.mark.parametrize("function", [fpfh, sign_free_fpfh])
class TestBoth:
    def test_item_2_totals(self, function):
        points, normals = bumpy()
        assert np.abs(blocks(describe(points, normals, function)) - 200).max() < 1e-9
        points[:2] = [[5, 5, 5], [5, 5, 5]]  # two copies: no neighbour at another place
        points[2] = 8  # alone
        total = blocks(describe(points, normals, function))
        assert (total[:2] == (100 if function is fpfh else 0)).all() and (total[2] == 0).all()

    def test_item_2_rigid_motion(self, function, generator):
        points, normals = bumpy()
        R = random_rotation(generator=generator, dtype=torch.float64).numpy()
        one = describe(points, normals, function)
        turned = describe(points @ R.T + [4, -2, 9], normals @ R.T, function)
        assert np.abs(turned - one).max() < 1e-4
        left_behind = describe(points @ R.T, normals, function)
        assert np.abs(left_behind - one).max() > 10

    def test_item_18_scale(self, function):
        points, normals = bumpy()
        one = describe(points, normals, function)
        scaled = describe(1e3 * points, normals, function, radius=1e3 * RADIUS)
        assert np.abs(scaled - one).max() < 1e-6

    def test_order_of_the_points_is_no_matter(self, function):
        for points, normals in (bumpy(), lattice_corner()):
            order = np.random.default_rng(0).permutation(len(points))
            one = describe(points, normals, function)
            again = describe(points[order], normals[order], function)
            assert np.abs(again - one[order]).max() < 1e-9

    def test_threads_are_no_matter(self, function):
        points, normals = bumpy(2000)
        one = describe(points, normals, function)
        torch.set_num_threads(2)
        try:
            assert np.array_equal(describe(points, normals, function), one)
        finally:
            torch.set_num_threads(1)

    @pytest.mark.parametrize("count", [1, 2, 60])
    def test_points_at_one_place(self, function, count):
        found = describe(np.ones((count, 3)), np.tile([0.0, 0, 1], (count, 1)), function)
        assert found.shape == (count, 33) and np.isfinite(found).all()

    def test_no_normals(self, function):
        points, normals = bumpy(100)
        assert np.isfinite(describe(points, 0 * normals, function)).all()

    def test_bad_input(self, function):
        points, normals = bumpy(50)
        table = neighbour_table(points, [(RADIUS, 100)])
        outside = NeighbourTable(table.index + 1, table.counts)
        longer = NeighbourTable(table.index, table.counts + 1000)
        for p, n, t, error, text in (
            (points[:, :2], normals, table, ShapeError, "points"),
            (points, normals[:5], table, ShapeError, "normals"),
            (points, normals * np.nan, table, InputError, "finite"),
            (points[:9], normals[:9], table, ShapeError, "table"),
            (points, normals, outside, ShapeError, "table"),
            (points, normals, longer, ShapeError, "table"),
        ):
            with pytest.raises(error, match=text):
                function(p, n, t)


class TestSigns:
    @pytest.mark.parametrize("make", [bumpy, lattice_corner])
    def test_sign_free_is_exact_under_random_signs(self, make):
        points, normals = make()
        one, plain = describe(points, normals, sign_free_fpfh), describe(points, normals)
        for seed in range(5):
            sign = np.random.default_rng(seed).choice([-1.0, 1.0], (len(points), 1))
            assert np.array_equal(describe(points, sign * normals, sign_free_fpfh), one)
            assert np.abs(describe(points, sign * normals) - plain).max() > 9

    def test_sign_free_is_exact_on_a_real_fragment(self, fragments):
        cloud = fragments("7-scenes", 0)
        table = neighbour_table(cloud.points, [(0.25, 100)])
        one = sign_free_fpfh(cloud.points, cloud.normals, table)
        assert np.array_equal(sign_free_fpfh(cloud.points, cloud.raw_normals, table), one)

    def test_item_2_turning_all_normals_changes_plain_histograms(self):
        points, normals = bumpy()
        assert np.abs(describe(points, -normals) - describe(points, normals)).max() > 10

    def test_turning_all_normals_mirrors_two_blocks(self):
        points, normals = bumpy()
        one = describe(points, normals).reshape(-1, 3, 11)
        mirrored = np.stack([one[:, 0, ::-1], one[:, 1], one[:, 2, ::-1]], axis=1)
        turned = describe(points, -normals).reshape(-1, 3, 11)
        assert np.abs(turned - mirrored).max() < 1e-6
        assert (np.abs(turned - one) > 1).mean() > 0.1

    def test_sign_free_tells_a_plane_from_an_edge_and_not_convex_from_concave(self):
        points, normals = bumpy()
        upside_down = describe(points * [1, 1, -1], normals * [1, 1, -1], sign_free_fpfh)
        one = describe(points, normals, sign_free_fpfh)
        flat = describe(points * [1, 1, 0], np.tile([0.0, 0, 1], (len(points), 1)), sign_free_fpfh)
        assert np.abs(one - flat).max() > 50
        assert np.abs(upside_down - one).mean() < 10
