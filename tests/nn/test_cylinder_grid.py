"""Cylinder grids against brute force. Numbers in names are those of the list of promises."""

import math

import numpy as np
import pytest
import torch
from helpers.clouds import KINDS, axis_angle, haar, make_cloud

from pcinv.errors import InputError, ShapeError
from pcinv.nn import cylinder_grid as module
from pcinv.nn.cylinder_grid import (
    CHANNELS,
    cylinder_grid,
    cylinder_grid_torch,
    key_points,
    plane_density,
)
from pcinv.registration.viewpoint import orient_towards

R, SCALE, DENSITY = 0.3, 0.06, 1600.0
OCCUPIED, ALONG, TANGENTIAL = slice(0, 50), slice(50, 100), slice(150, 200)


def room(count=5000, seed=0):
    """A floor, two walls and a ball, 1.3 m wide, seen from the origin: points, oriented normals."""
    rng = np.random.default_rng(seed)
    part = np.arange(count) % 4
    u, v = rng.uniform(0, 1.3, (2, count))
    points, normals = np.zeros((count, 3)), np.zeros((count, 3))
    for side in range(3):
        on = part == side
        points[np.ix_(on, [(side + 1) % 3, (side + 2) % 3])] = np.stack([u[on], v[on]], 1)
        normals[on, side] = 1
    ball = rng.normal(size=(count, 3))
    ball /= np.linalg.norm(ball, axis=1, keepdims=True)
    points[part == 3] = [0.7, 0.5, 0.45] + 0.35 * ball[part == 3]
    normals[part == 3] = ball[part == 3]
    points = points + 0.003 * rng.normal(size=(count, 3)) - [1.5, 1.6, 1.4]
    return points, orient_towards(points, normals, np.zeros(3))


def keys_of(points, normals, count, seed=1):
    """Key points near points of the cloud, with axes in all directions."""
    rng = np.random.default_rng(seed)
    pick = rng.permutation(len(points))[:count]
    axes = normals[pick] + rng.normal(size=(count, 3))
    return points[pick] + 0.01 * rng.normal(size=(count, 3)), axes


def by_brute_force(points, normals, place, axis, windows=True, density=DENSITY, r=R, scale=SCALE,
                   azimuth_0=None):
    """The grid of one key point in float64, from all points and by hat functions of all nodes."""
    a = axis / np.linalg.norm(axis)
    d = points - place
    h = d @ a
    flat = d - np.outer(h, a)
    rho = np.linalg.norm(flat, axis=1)
    inside = (rho < r) & (np.abs(h) < r)
    d, h, flat, rho, n = d[inside], h[inside], flat[inside], rho[inside], normals[inside]
    t = azimuth_0 or (((r - rho) * (r - np.abs(h)))[:, None] * d).sum(0)
    t = t - np.dot(t, a) * a
    t /= np.linalg.norm(t)
    turn = flat @ t + 1j * (flat @ np.cross(a, t))
    azimuth = np.angle(turn) / (2 * np.pi) * 16 % 16
    gap = np.abs(azimuth[:, None] - np.arange(16))
    hat_a = np.maximum(0, 1 - np.minimum(gap, 16 - gap))
    ring = np.clip(5 * rho / r - 0.5, 0, 4)
    hat_r = np.maximum(0, 1 - np.abs(ring[:, None] - np.arange(5)))
    level = 9 * (np.arcsinh(h / scale) / np.arcsinh(r / scale) + 1) / 2
    hat_h = np.maximum(0, 1 - np.abs(level[:, None] - np.arange(10)))
    w = np.ones_like(h)
    if windows:
        w = (np.minimum(1, rho / (r / 15)) * np.minimum(1, (r - rho) / (0.1 * r))
             * np.minimum(1, (r - np.abs(h)) / (0.1 * r)))
    u = flat / np.maximum(rho, 1e-300)[:, None]
    v = np.cross(a, u)
    value = w * np.stack([np.ones_like(h), n @ a, (n * u).sum(1), (n * v).sum(1)])
    c = np.einsum("cp,pr,ph,pa->crha", value, hat_r, hat_h, hat_a, optimize=True)
    edge = np.arange(6) * r / 5
    plane = density * np.pi * (edge[1:] ** 2 - edge[:-1] ** 2) / 16
    o = 1 - np.exp(-2 * c[0] / plane[:, None, None])
    mean = np.divide(c[1:], c[0], out=np.zeros_like(c[1:]), where=c[0] > 0)
    return np.concatenate([o[None], o * mean]).reshape(200, 16)


def all_by_brute_force(points, normals, places, axes, **options):
    return np.stack([by_brute_force(points, normals, p, a, **options)
                     for p, a in zip(places, axes, strict=True)])


def in_torch(*arrays, device="cpu", **options):
    given = (torch.as_tensor(np.asarray(a), device=device) for a in arrays)
    return cylinder_grid_torch(*given, **options).cpu().numpy()


BOTH = pytest.mark.parametrize("grid_of", [cylinder_grid, in_torch], ids=["compiled", "torch"])


@BOTH
def test_golden_one_point(grid_of):
    """Worked out by hand: in the third ring, between the middle heights, at azimuth 0."""
    grid = grid_of([[1.0, 0.15, 0.0]], [[0.0, 0.6, 0.8]], [[1.0, 0, 0]], [[0, 0, 2.0]])[0]
    plane = 1600 * math.pi * (0.18**2 - 0.12**2) / 16
    occupied = 1 - math.exp(-2 * 0.5 / plane)
    expected = np.zeros((4, 5, 10, 16))
    expected[:, 2, 4, 0] = expected[:, 2, 5, 0] = (
        occupied, 0.8 * occupied, 0.6 * occupied, 0)
    assert grid.dtype == np.float32
    assert np.abs(grid - expected.reshape(200, 16)).max() < 1e-7


@pytest.fixture(scope="module")
def expected():
    return all_by_brute_force(*TestSearch.cloud, TestSearch.places, TestSearch.axes)


class TestSearch:
    """2. The neighbour search covers the edge of the cylinder, sqrt(2) R away."""

    cloud = room()
    places, axes = keys_of(*cloud, 60)

    @BOTH
    def test_2_equals_brute_force(self, grid_of, expected):
        found = grid_of(*self.cloud, self.places, self.axes)
        assert found.shape == (60, CHANNELS, 16) and found.dtype == np.float32
        assert np.abs(found - expected).max() < 1e-6

    @pytest.mark.parametrize("search", ["ball of R", "27 cells of R"])
    def test_2_a_smaller_search_would_be_seen(self, search, expected):
        """Negative control: what such a search would have left out is left out."""
        points, normals = self.cloud
        error = []
        for i, place in enumerate(self.places):
            if search == "ball of R":
                near = np.linalg.norm(points - place, axis=1) < R
            else:
                cell = [np.floor((x - points.min(0)) / R) for x in (points, place)]
                near = (np.abs(cell[0] - cell[1]) <= 1).all(1)
            one = slice(i, i + 1)
            found = cylinder_grid(points[near], normals[near], self.places[one], self.axes[one])
            error.append(np.abs(found[0] - expected[i]).max())
        assert max(error) > 0.1 and (np.array(error) > 1e-3).mean() > 0.2

    @BOTH
    def test_other_sizes(self, grid_of):
        sizes = {"radius": 0.17, "height_scale": 0.02, "density": 900.0}
        other = all_by_brute_force(*self.cloud, self.places[:15], self.axes[:15], r=0.17,
                                   scale=0.02, density=900.0)
        found = grid_of(*self.cloud, self.places[:15], self.axes[:15], **sizes)
        assert np.abs(found - other).max() < 1e-6

    @BOTH
    def test_lengths_scale(self, grid_of):
        points, normals = self.cloud
        one = grid_of(points, normals, self.places, self.axes)
        scaled = grid_of(1e3 * points, normals, 1e3 * self.places, self.axes, radius=1e3 * R,
                         height_scale=1e3 * SCALE, density=DENSITY / 1e6)
        assert np.abs(scaled - one).max() < 1e-6


class TestMotions:
    """1, 4, 5: the grid turns with the cloud and its sensor, and only with these."""

    cloud = room(4000, seed=2)
    places, axes = keys_of(*cloud, 300)

    @pytest.mark.parametrize("dtype, most", [(np.float32, 1e-3), (np.float64, 1e-6)])
    def test_1_a_turned_cloud_has_the_same_grids(self, dtype, most):
        given = [a.astype(dtype) for a in (*self.cloud, self.places, self.axes)]
        one = cylinder_grid(*given)
        for seed in range(8):
            rotation = haar(np.random.default_rng(seed))
            turned = [(a.astype(np.float64) @ rotation.T).astype(dtype) for a in given]
            error = np.abs(cylinder_grid(*turned) - one)
            assert error.max() < most and np.median(error.max((1, 2))) < most / 10
        left_behind = cylinder_grid(turned[0], given[1], *turned[2:])
        assert np.median(np.abs(left_behind - one).max((1, 2))) > 0.1

    def test_1_from_a_fixed_azimuth_0_it_would_not_turn(self):
        """Negative control: a turn about the axis by a third of an azimuth."""
        points, normals = self.cloud
        axis = self.axes[0] / np.linalg.norm(self.axes[0])
        turn = axis_angle(axis, 2 * np.pi / 48)
        moved = self.places[0] + (points - self.places[0]) @ turn.T, normals @ turn.T
        one, turned = (cylinder_grid(*cloud, self.places[:1], [axis])
                       for cloud in (self.cloud, moved))
        assert np.abs(turned - one).max() < 1e-6
        one, turned = (by_brute_force(*cloud, self.places[0], axis, azimuth_0=[1.0, 2, 3])
                       for cloud in (self.cloud, moved))
        assert np.abs(turned - one).max() > 0.05

    @BOTH
    def test_1_points_that_hardly_lean_still_turn(self, grid_of):
        ring = 0.2 * np.stack([np.cos(a := np.arange(7) * 2 * np.pi / 7), np.sin(a), 0 * a], 1)
        ring[0] *= 1 + 1e-7
        up = np.array([[0.0, 0, 1]])
        normals, place = ring + up, np.zeros((1, 3))
        one = grid_of(ring, normals, place, up)
        for seed in range(5):
            turn = haar(np.random.default_rng(seed))
            assert np.abs(grid_of(ring @ turn.T, normals @ turn.T, place, up @ turn.T) - one
                          ).max() < 1e-6

    def test_4_normals_turn_to_the_sensor_which_turns_with_the_cloud(self):
        points, normals = self.cloud
        sign = np.random.default_rng(0).choice([-1.0, 1.0], (len(points), 1))

        def grids(points, raw, sensor):
            oriented = orient_towards(points, raw, sensor)
            places, axes = key_points(points, oriented)
            # the same key points for all: only the axes are those of this sensor
            return cylinder_grid(points, oriented, places[::20], axes[::20])

        one = grids(points, sign * normals, np.zeros(3))
        assert np.array_equal(grids(points, normals, np.zeros(3)), one)
        wrong = grids(points, sign * normals, points.mean(0) - [3.0, 3, 3])
        assert (np.abs(wrong - one).max((1, 2)) > 0.1).mean() > 0.9

        quarter = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])  # keeps voxels together
        sensor = np.array([0.3, -0.2, 0.1])
        places, axes = key_points(points, orient_towards(points, normals, sensor))
        turned = orient_towards(points @ quarter.T, sign * normals @ quarter.T, quarter @ sensor)
        again = cylinder_grid(points @ quarter.T, turned, places @ quarter.T, axes @ quarter.T)
        base = cylinder_grid(points, orient_towards(points, normals, sensor), places, axes)
        assert np.abs(again - base).max() < 1e-6

    @BOTH
    def test_5_a_mirror_image_has_other_grids(self, grid_of):
        mirror = np.diag([1.0, 1, -1])
        given = (*self.cloud, self.places, self.axes)
        one, mirrored = grid_of(*given), grid_of(*(a @ mirror for a in given))
        assert (np.abs(mirrored - one).max((1, 2)) > 0.1).mean() > 0.9
        # it is the mirrored grid: azimuths run backwards, and left is right
        backwards = one[:, :, (-np.arange(16)) % 16]
        backwards[:, TANGENTIAL] *= -1
        assert np.abs(mirrored - backwards).max() < 1e-5

    @BOTH
    @pytest.mark.parametrize("swirl", [0.0, 0.5])
    def test_5_normals_alone_tell_left_from_right(self, grid_of, swirl):
        """Places are mirror images of themselves; without a swirl, the control, so is the whole."""
        rng = np.random.default_rng(0)
        half = rng.uniform([-0.1, 0, -0.1], [0.25, 0.25, 0.1], (300, 3))
        points = np.concatenate([half, half * [1, -1, 1]])
        normals = np.tile([0.0, 0, 1], (600, 1)) + swirl * np.cross([0, 0, 1], points)
        mirror = np.array([1.0, -1, 1])
        one, other = (grid_of(points * m, normals * m, [[0.0, 0, 0]], [[0.0, 0, 1]])[0]
                      for m in (np.ones(3), mirror))
        assert np.abs(other[:150] - one[:150]).max() < 1e-6
        assert (np.abs(other[TANGENTIAL] - one[TANGENTIAL]).max() > 0.02) == (swirl > 0)


PATHS = {  # two places of a point on either side of an edge, relative to the key point
    "rim": ([R - 1e-7, 0, 0.02], [R + 1e-7, 0, 0.02]),
    "lid": ([0.12, 0.05, R - 1e-7], [0.12, 0.05, R + 1e-7]),
    "bottom": ([0.12, 0.05, 1e-7 - R], [0.12, 0.05, -1e-7 - R]),
    "axis": ([1e-7, 0, 0.0], [-1e-7, 0, 0.0]),
    "key point": ([0.0, 0, 0.0], [0.0, 1e-7, 0.0]),
    "azimuth 0": ([0.2, 1e-8, 0.0], [0.2, -1e-8, 0.0]),
}


class TestContinuity:
    """3. Weights fall to 0 at the axis and at the hull, so that no point jumps."""

    def jump(self, path, grid_of):
        points, normals = room(3000, seed=3)
        pick = 9
        place, axis = points[pick], normals[pick]
        others = np.linalg.norm(points - place, axis=1) > 1e-9
        frame = np.stack([*np.linalg.svd(axis[None])[2][1:], axis])
        found = []
        for step in PATHS[path]:
            p = np.concatenate([points[others], place + np.array([step]) @ frame])
            n = np.concatenate([normals[others], frame[[0]]])
            found.append(grid_of(p, n, place[None], axis[None]))
        return np.abs(found[1] - found[0]).max()

    @BOTH
    @pytest.mark.parametrize("path", PATHS)
    def test_3_a_point_at_an_edge_does_not_jump(self, path, grid_of):
        assert self.jump(path, grid_of) < 1e-4

    @pytest.mark.parametrize("path", ["rim", "lid", "bottom", "axis"])
    def test_3_without_windows_it_would_be_seen(self, path):
        def without(*given):
            return all_by_brute_force(*given, windows=False)

        assert self.jump(path, without) > 0.02

    def test_key_points_that_move_a_little_change_little(self):
        points, normals = room(3000, seed=3)
        places, axes = keys_of(points, normals, 200)
        one = cylinder_grid(points, normals, places, axes)
        near = cylinder_grid(points, normals, places + 1e-7, axes)
        assert np.abs(near - one).max() < 1e-3 and np.abs(near - one).max() > 0


class TestIndependence:
    """10, for the grids: neither other key points nor chunks, threads or orders matter."""

    cloud = room(3000, seed=4)
    places, axes = keys_of(*cloud, 200)

    def test_10_other_key_points_are_no_matter(self):
        one = cylinder_grid(*self.cloud, self.places, self.axes)
        part = cylinder_grid(*self.cloud, self.places[150:60:-7], self.axes[150:60:-7])
        assert np.array_equal(part, one[150:60:-7])
        assert len({g.tobytes() for g in one}) == 200

    def test_10_chunks_of_torch_are_no_matter(self, monkeypatch):
        one = in_torch(*self.cloud, self.places, self.axes)
        for pairs in (1, 23456):  # one key point at a time, seven
            monkeypatch.setattr(module, "_PAIRS", pairs)
            assert np.array_equal(in_torch(*self.cloud, self.places, self.axes), one)

    def test_threads_are_no_matter(self):
        one = cylinder_grid(*self.cloud, self.places, self.axes)
        torch.set_num_threads(2)
        try:
            assert np.array_equal(cylinder_grid(*self.cloud, self.places, self.axes), one)
        finally:
            torch.set_num_threads(1)

    def test_the_order_of_the_points_is_no_matter(self):
        order = np.random.default_rng(0).permutation(len(self.cloud[0]))
        one = cylinder_grid(*self.cloud, self.places, self.axes)
        shuffled = cylinder_grid(*(a[order] for a in self.cloud), self.places, self.axes)
        assert np.abs(shuffled - one).max() < 1e-6

    @pytest.mark.parametrize("device", ["cpu", "cuda"])
    def test_torch_equals_the_compiled_loops(self, device):
        if device == "cuda" and not torch.cuda.is_available():
            pytest.skip("no CUDA device here")
        one = cylinder_grid(*self.cloud, self.places, self.axes)
        assert np.abs(in_torch(*self.cloud, self.places, self.axes, device=device) - one
                      ).max() < 1e-5


class TestHostileClouds:
    @BOTH
    @pytest.mark.parametrize("kind", KINDS)
    def test_grids_are_finite_and_bounded(self, kind, grid_of):
        points = make_cloud(kind, 300, 0)
        rng = np.random.default_rng(1)
        normals = rng.normal(size=points.shape)
        normals /= np.linalg.norm(normals, axis=1, keepdims=True)
        places, axes = keys_of(points, normals, 20)
        places[::2] = points[:10]
        found = grid_of(points, normals, places, axes)
        assert np.isfinite(found).all() and np.abs(found).max() <= 1 + 1e-6
        assert (np.abs(found.reshape(20, 4, 50, 16)[:, 1:]).max(1)
                <= found[:, OCCUPIED] + 1e-6).all()
        assert np.abs(found - cylinder_grid(points, normals, places, axes)).max() < 1e-5

    @BOTH
    def test_one_point_and_points_at_the_key_point(self, grid_of):
        up = [[0.0, 0, 1]]
        assert not grid_of([[1.0, 2, 3]], up, [[1.0, 2, 3]], up).any()
        many = grid_of(np.ones((500, 3)), np.tile(up, (500, 1)), np.ones((3, 3)), np.eye(3))
        assert not many.any()  # on the axis there is no azimuth, and no weight
        beside = grid_of(np.ones((500, 3)), np.tile(up, (500, 1)), [[1.0, 1, 0.9]], [[1.0, 0, 0]])
        assert beside[:, OCCUPIED].max() > 0.99

    @BOTH
    def test_collinear_points(self, grid_of):
        line = np.outer(np.linspace(-1, 1, 201), [1.0, 0, 0])
        normals = np.tile([0.0, 0, 1], (201, 1))
        along, across = grid_of(line, normals, [[0.0, 0, 0]] * 2, [[1.0, 0, 0], [0, 0, 1.0]])
        assert not along.any()
        assert across.any() and np.isfinite(across).all()
        # azimuth 0 is along the line, to one of its ends
        assert set(np.flatnonzero(across[OCCUPIED].any(0))) == {0, 8}

    @BOTH
    def test_far_from_the_origin(self, grid_of):
        points, normals = room(2000, seed=5)
        places, axes = keys_of(points, normals, 50)
        one = grid_of(points, normals, places, axes)
        away = np.array([1e4, -1e4, 1e4])
        assert np.abs(grid_of(points + away, normals, places + away, axes) - one).max() < 1e-6
        # float32 has lost a millimetre there: a change in the input, not here
        lost = grid_of((points + away).astype(np.float32), normals, places + away, axes)
        assert np.abs(lost - one).max() > 1e-3

    @BOTH
    def test_missing_normals_count_as_zero(self, grid_of):
        points, normals = room(2000, seed=6)
        places, axes = keys_of(points, normals, 30)
        gone = np.random.default_rng(0).random(len(points)) < 0.3
        zero, bad = normals.copy(), normals.copy()
        zero[gone], bad[gone] = 0, [np.nan, 0.5, np.inf]
        one = grid_of(points, zero, places, axes)
        assert np.array_equal(grid_of(points, bad, places, axes), one)
        whole = grid_of(points, normals, places, axes)
        assert np.array_equal(one[:, OCCUPIED], whole[:, OCCUPIED])
        assert np.abs(one - whole)[:, ALONG].max() > 0.1
        assert not grid_of(points, 0 * normals, places, axes)[:, 50:].any()

    @BOTH
    def test_no_neighbours_no_axis_no_key_points(self, grid_of):
        points, normals = room(500)
        places = np.array([[50.0, 0, 0], [-1e9, 1e9, 1e9], points[0], points[0], points[0]])
        axes = np.array([[0, 0, 1.0], [1, 1, 1], [0, 0, 0], [np.nan, 0, 1], [0, 0, 1e-3]])
        found = grid_of(points, normals, places, axes)
        assert not found[:4].any() and found[4].any()
        assert grid_of(points, normals, places[:0], axes[:0]).shape == (0, CHANNELS, 16)

    @BOTH
    def test_bad_input(self, grid_of):
        p, n = room(50)
        k, a = p[:3], n[:3]
        bad = p.copy()
        bad[7] = np.nan
        for given, options, error, where in (
            ((p[:, :2], n, k, a), {}, ShapeError, "points"),
            ((p[None], n, k, a), {}, ShapeError, "points"),
            ((bad, n, k, a), {}, InputError, "points"),
            ((p[:0], n[:0], k, a), {}, InputError, "points"),
            ((p, n[:9], k, a), {}, ShapeError, "normals"),
            ((p, n, k[:, :2], a), {}, ShapeError, "key_points"),
            ((p, n, np.inf * np.ones((3, 3)), a), {}, InputError, "key_points"),
            ((p, n, k, a[:2]), {}, ShapeError, "key_axes"),
            ((p, n, k, a), {"radius": 0.0}, InputError, "radius"),
            ((p, n, k, a), {"radius": math.inf}, InputError, "radius"),
            ((p, n, k, a), {"height_scale": -1.0}, InputError, "height_scale"),
            ((p, n, k, a), {"density": math.nan}, InputError, "density"),
        ):
            with pytest.raises(error) as caught:
                grid_of(*given, **options)
            assert caught.value.where == where and caught.value.hint


class TestKeyPoints:
    def test_they_are_means_of_voxels_with_mean_normals(self):
        points = np.array([[0.01, 0, 0], [0.03, 0, 0], [1, 1, 1.0], [-1.02, -1, -1], [-1.02, 0, 0]])
        normals = np.array([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [0.0, 0, 0], [np.nan, 0, 1]])
        places, axes = key_points(points - points.mean(0), normals, 0.05)
        places = places + points.mean(0)
        order = np.argsort(-places[:, 0])
        assert np.allclose(places[order][:2], [[1, 1, 1], [0.02, 0, 0]], atol=1e-12)
        half = math.sqrt(0.5)
        assert np.allclose(axes[order], [[0, 0, 1], [half, half, 0], [0, 0, 0], [0, 0, 0]])

    def test_normals_that_cancel_out_are_no_axis(self):
        for rounding in (0, 1e-7):
            _, axes = key_points(np.zeros((2, 3)), [[0, 0.6, 0.8], [rounding, -0.6, -0.8]])
            assert not axes.any()

    def test_order_and_place_of_the_cloud_are_no_matter(self):
        points, normals = room(3000)
        order = np.random.default_rng(0).permutation(len(points))
        one, again, moved = (key_points(*cloud) for cloud in (
            (points, normals), (points[order], normals[order]), (points + 64.0, normals)))
        assert 300 < len(one[0]) < 2000
        for other, shift in ((again, 0.0), (moved, 64.0)):
            assert np.abs(other[0] - shift - one[0]).max() < 1e-9
            assert np.abs(other[1] - one[1]).max() < 1e-9
        assert np.allclose(np.linalg.norm(one[1], axis=1), 1)

    def test_bad_input(self):
        points, normals = room(50)
        for given, error, where in (((points, normals[:3]), ShapeError, "normals"),
                                    ((points * np.nan, normals), InputError, "points"),
                                    ((points, normals, 0.0), InputError, "size")):
            with pytest.raises(error) as caught:
                key_points(*given)
            assert caught.value.where == where and caught.value.hint


class TestDensity:
    @pytest.mark.parametrize("density", [400, 1600, 6400])
    def test_of_a_plane(self, density):
        rng = np.random.default_rng(0)
        count = 4 * density
        plane = np.column_stack([rng.uniform(-1, 1, (count, 2)), np.zeros(count)]) @ haar(rng)
        assert plane_density(plane) == pytest.approx(density, rel=0.06)
        assert plane_density(1e3 * plane, 100.0) == pytest.approx(density / 1e6, rel=0.06)

    def test_of_few_or_equal_points(self):
        one_a_disc = 1 / (math.pi * 0.1**2)
        assert plane_density([[1.0, 2, 3]]) == pytest.approx(one_a_disc)
        assert plane_density(make_cloud("outliers", 300, 0) * 1e3) == pytest.approx(one_a_disc)
        assert plane_density(np.zeros((51, 3))) == pytest.approx(50 * one_a_disc)

    def test_threads_and_order_are_no_matter(self):
        points, _ = room(3000)
        one = plane_density(points)
        torch.set_num_threads(2)
        try:
            assert plane_density(points[::-1]) == one
        finally:
            torch.set_num_threads(1)

    def test_it_makes_up_for_thinning(self):
        points, normals = room(12000)
        places, axes = keys_of(points, normals, 50)
        one = cylinder_grid(points, normals, places, axes, density=plane_density(points))
        few, some = points[:3000], normals[:3000]
        own = cylinder_grid(few, some, places, axes, density=plane_density(few))
        same = cylinder_grid(few, some, places, axes, density=plane_density(points))
        assert np.abs((own - one)[:, OCCUPIED].mean()) < 0.3 * np.abs(
            (same - one)[:, OCCUPIED].mean())

    def test_bad_input(self):
        for points, radius, where in (([[np.nan, 0, 0]], 0.1, "points"), ([], 0.1, "points"),
                                      ([[0.0, 0, 0]], 0.0, "radius")):
            with pytest.raises(InputError) as caught:
                plane_density(points, radius)
            assert caught.value.where == where and caught.value.hint
