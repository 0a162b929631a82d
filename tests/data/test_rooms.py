"""Generated rooms, their fragments, and the pairs of these."""

import hashlib
import subprocess
import sys

import numpy as np
import pytest
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from pcinv.metrics.registration import information_rmse
from pcinv_data import depth_camera as camera
from pcinv_data.room_pairs import LEAST_OVERLAP, OVERLAP_RADIUS, information_matrix, pair_up
from pcinv_data.rooms import VOXEL, make_room, scan_room

SEED = 6


@pytest.fixture(scope="module")
def room():
    return make_room(SEED)


@pytest.fixture(scope="module")
def fragments(room):
    return scan_room(room, SEED, 4)


@pytest.fixture(scope="module")
def made(fragments):
    return pair_up("den", fragments)


def moved(points, T):
    return points @ T[:3, :3].T + T[:3, 3]


def digest(room, fragments):
    arrays = [room.triangles, room.thing, room.dark]
    arrays += [array for fragment in fragments for array in fragment]
    return hashlib.sha256(b"".join(np.ascontiguousarray(a).tobytes() for a in arrays)).hexdigest()


def test_two_runs_make_the_same_bits(room):
    """One of them in a process of its own."""
    code = ("from pcinv_data.rooms import *; import sys; sys.path.insert(0, {!r});"
            "from test_rooms import digest; r = make_room({}); print(digest(r, scan_room(r, 3, 1)))"
            ).format(str(__file__).rpartition("/")[0], SEED)
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    mine = scan_room(room, 3, 1)
    assert other.stdout.strip() == digest(room, mine)
    another = scan_room(room, 4, 1)
    assert digest(room, another) != digest(room, mine)
    assert not np.array_equal(mine[0].T_room_fragment, another[0].T_room_fragment)


def test_more_fragments_do_not_change_the_first(room, fragments):
    assert digest(room, scan_room(room, SEED, 2)) == digest(room, fragments[:2])


@pytest.mark.parametrize("seed", range(6))
def test_rooms_are_furnished_and_differ(seed):
    room = make_room(seed)
    x, y, z = room.size
    assert np.isfinite(room.triangles).all() and len(room.triangles) > 20_000
    assert len(room.dark) == room.thing.max() + 1 > 60
    assert (0 <= room.dark).all() and (room.dark < 1).all() and room.dark.max() > 0.3
    low, high = room.triangles.min((0, 1)), room.triangles.max((0, 1))
    assert (high - low >= (x, y, z - 0.1)).all()
    assert room.size != make_room(seed + 1).size


def test_a_room_has_no_hole(room):
    """From its middle, every ray meets something."""
    at = np.array([0, 0, room.size[2] - 0.1]) - [0, 0, 0.5]
    for azimuth in np.linspace(0, 6, 7):
        assert np.isfinite(camera.render(room.triangles, camera.look(at, azimuth, -0.1)).z).all()


def test_fragments_are_like_those_of_3dmatch(fragments):
    assert len(fragments) == 4
    for fragment in fragments:
        points = fragment.points
        assert 8000 <= len(points) <= 40_000 and np.isfinite(points).all()
        assert ((points > camera.VOLUME[0]) & (points < camera.VOLUME[1])).all()
        cells = np.floor(points / VOXEL).astype(np.int64)
        assert len(np.unique(cells, axis=0)) == len(points)
        spacing = np.median(cKDTree(points).query(points, 2)[0][:, 1])
        assert 0.008 < spacing < 0.025
        assert np.allclose(fragment.T_fragment_cameras[0], np.eye(4))
        R = fragment.T_room_fragment[:3, :3]
        assert np.allclose(R @ R.T, np.eye(3)) and np.linalg.det(R) > 0


def in_image(points, T_fragment_camera):
    """Return z of points (N, 3) and their pixels (N, 2), row and column, and whether in view."""
    seen = moved(points, np.linalg.inv(T_fragment_camera))
    pixel = np.rint(seen[:, :2] / seen[:, 2:] * camera.FOCAL + camera.CENTRE).astype(int)[:, ::-1]
    inside = ((pixel >= 0) & (pixel < (camera.ROWS, camera.COLUMNS))).all(1) & (seen[:, 2] > 0.1)
    return seen[:, 2], pixel, inside


def test_the_cameras_see_the_points(room, fragments):
    """No point is behind a surface for all cameras that looked at it, nor in front of all."""
    for fragment in fragments[:2]:
        behind = np.full(len(fragment.points), np.inf)
        in_front = np.full(len(fragment.points), np.inf)
        for T in fragment.T_fragment_cameras:
            z = camera.render(room.triangles, fragment.T_room_fragment @ T).z
            depth, pixel, inside = in_image(fragment.points, T)
            near = [z[np.clip(pixel[:, 0] + i, 0, camera.ROWS - 1),
                      np.clip(pixel[:, 1] + j, 0, camera.COLUMNS - 1)]
                    for i in (-1, 0, 1) for j in (-1, 0, 1)]  # a pixel of jitter
            off = np.where(inside, depth - np.max(near, axis=0), np.inf)
            behind = np.minimum(behind, off)
            in_front = np.minimum(in_front, np.where(inside, np.min(near, axis=0) - depth, np.inf))
        assert (behind < 0.05).mean() > 0.999
        assert (in_front < 0.05).mean() > 0.995
        # the control: seen from elsewhere, much of it is hidden
        elsewhere = fragment.T_room_fragment.copy()
        elsewhere[:3, 3] += elsewhere[:3, 0] + 0.3 * elsewhere[:3, 2]
        T = np.linalg.inv(fragment.T_room_fragment) @ elsewhere
        z = camera.render(room.triangles, elsewhere).z
        depth, pixel, inside = in_image(fragment.points, T)
        hidden = depth[inside] - z[pixel[inside, 0], pixel[inside, 1]] > 0.05
        assert hidden.mean() > 0.1


def test_points_lie_on_surfaces(room, fragments):
    from pcinv_data.rooms import _scatter

    surface = cKDTree(_scatter(room.triangles, 400_000, np.random.default_rng(0)))
    for fragment in fragments[:2]:
        away, _ = surface.query(moved(fragment.points, fragment.T_room_fragment))
        assert np.quantile(away, 0.5) < 0.02 and np.quantile(away, 0.95) < 0.06


def test_true_poses_lay_points_on_points(fragments, made):
    best = max(made.pairs, key=lambda pair: pair.overlap)
    assert best.overlap > 0.4
    source, target = fragments[best.source_id].points, cKDTree(fragments[best.target_id].dense)
    away = target.query(moved(source, best.T_target_source))[0]
    assert np.median(away[away < OVERLAP_RADIUS]) < 0.008
    for wrong in (Rotation.from_rotvec([0, 0.15, 0]), Rotation.from_rotvec([0.15, 0, 0])):
        T = best.T_target_source.copy()
        T[:3, :3] = wrong.as_matrix() @ T[:3, :3]
        beside = target.query(moved(source, T))[0]
        assert (beside < 0.01).mean() < 0.6 * (away < 0.01).mean()


def test_the_overlap_is_the_share_of_the_target(fragments, made):
    """Brute force over all distances, for points of a 1 cm grid."""
    pair = made.pairs[0]
    target = camera.thin(fragments[pair.target_id].dense, 0.01)
    source = moved(camera.thin(fragments[pair.source_id].dense, 0.01), pair.T_target_source)
    some = np.random.default_rng(0).permutation(len(target))[:1500]
    near = [(((source - point) ** 2).sum(1) <= OVERLAP_RADIUS**2).any() for point in target[some]]
    assert np.mean(near) == pytest.approx(pair.overlap, abs=0.04)
    assert all(LEAST_OVERLAP <= pair.overlap <= 1 for pair in made.pairs)


def test_pairs_are_of_earlier_targets(made):
    assert made.pairs and all(pair.target_id < pair.source_id for pair in made.pairs)
    assert len({pair.name for pair in made.pairs}) == len(made.pairs)
    assert made.pairs[0].name.startswith("den/")


def test_information_matrices():
    points = np.random.default_rng(0).normal((0, 0, 2), 0.5, (50, 3))
    expected = np.zeros((6, 6))
    for x, y, z in points:
        G = np.hstack([np.eye(3), -np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])])
        expected += G.T @ G
    found = information_matrix(points)
    assert np.allclose(found, expected) and found[0, 0] == 50


def test_information_tells_the_size_of_an_error(made):
    for pair in made.pairs:
        assert pair.information[0, 0] > 100
        T = pair.T_target_source.copy()
        T[:3, 3] += (0.03, 0.04, 0)
        assert information_rmse(T, pair.T_target_source, pair.information) == pytest.approx(0.05)
