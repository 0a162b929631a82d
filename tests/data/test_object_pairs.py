"""Generated pairs of objects: what is seen, what overlaps, and which are marked symmetric."""

import math

import numpy as np
import pytest
from scipy.spatial import cKDTree

from pcinv.metrics.symmetry import Body, about, symmetry_turns
from pcinv_data.generate.classes import CLASS_NAMES, CLASSES, draw_shape
from pcinv_data.generate.primitives import Ellipsoid, Piece, box, rod
from pcinv_data.generate.swept import Extruded
from pcinv_data.generate.symmetry import SAME, Shape
from pcinv_data.generate.union import sample_union
from pcinv_data.object_pairs import OVERLAP_RADIUS, PAIRS, make_pair, see, shared_rows

NONE = (1, False, False)
HEXAGON = np.array([[math.cos(k * math.pi / 3), math.sin(k * math.pi / 3)] for k in range(6)])


def shape_of(pieces, seed=0):
    points, normals, _ = sample_union(pieces, 40_000, np.random.default_rng(seed))
    return points, normals, Shape(points)


def kind(symmetry):
    return symmetry.order, symmetry.flip is not None, symmetry.ball


@pytest.mark.parametrize("pieces, expected", [
    ([box((1, 1.6, 2.3), (0, 0, 0), 0)], (2, True, False)),
    ([box((1, 1, 2), (4, 5, 6), 0)], (4, True, False)),
    ([box((1, 1.6, 2.3), (0, 0, 0), 0, top=(0.5, 0.5))], (2, False, False)),
    ([Piece(Extruded(HEXAGON, 0, 0.8, [(0, 0, 0.5)]), 0)], (6, True, False)),
    ([rod((0, 0, 0), (0, 0, 3), 1, 0)], (0, True, False)),
    ([rod((0, 0, 0), (3, 0, 0), 1, 0, 0.4)], (0, False, False)),
    ([Piece(Ellipsoid((1, 1, 1)), 0)], (0, False, True)),
    ([Piece(Ellipsoid((1, 0.5, 0.5)), 0)], (0, True, False)),
    ([Piece(Ellipsoid((1, 0.7, 0.4)), 0)], (2, True, False)),
    ([rod((0, 0, 0), (0, 0, 3), 1, 0), box((1, 0.4, 0.4), (1, 0, 1), 0)], NONE),
    ([box((2, 1, 1), (0, 0, 0), 0), box((1, 1, 1.5), (0.9, 0.3, 1), 0)], NONE),
])
def test_symmetries_of_known_bodies(pieces, expected):
    assert kind(shape_of(pieces)[2].symmetry) == expected


@pytest.mark.parametrize("name", CLASS_NAMES)
def test_marked_turns_lay_a_shape_on_itself_and_others_do_not(name):
    """Measured on other points of the shape than those that the mark was found from."""
    points, _, _ = draw_shape(name, 60_000, np.random.default_rng(3))
    shape, others = Shape(points[:40_000]), points[40_000:42_000]
    symmetry = shape.symmetry

    def misfit(R):
        return shape.misfit((others - shape.centre) @ R.T + shape.centre)

    turns = symmetry_turns(symmetry, steps=7)
    assert max(misfit(R) for R in turns) < 1.5 * SAME
    if not symmetry.ball:
        across = np.cross(symmetry.axis, np.eye(3)[np.abs(symmetry.axis).argmin()])
        across /= np.linalg.norm(across)
        assert misfit(about(across, 0.7)) > SAME
    if symmetry.order > 1:
        assert misfit(about(symmetry.axis, math.pi / symmetry.order)) > 0.8 * SAME
    if not symmetry:
        assert min(misfit(about(axis, angle)) for axis in np.eye(3)
                   for angle in (math.pi / 2, math.pi, 2 * math.pi / 3)) > SAME


def test_classes_of_known_symmetry():
    for name in ("chair", "desk", "sofa", "mug", "jug", "bracket"):
        assert not Shape(draw_shape(name, 40_000, np.random.default_rng(1))[0]).symmetry, name
    for name in ("bottle", "bowl", "vase", "cone", "torus", "cylinder"):
        symmetry = Shape(draw_shape(name, 40_000, np.random.default_rng(1))[0]).symmetry
        assert symmetry.order == 0 and abs(symmetry.axis[2]) > 0.999, name
        assert (symmetry.flip is not None) == (name in ("torus", "cylinder"))


@pytest.mark.parametrize("name", ["chair", "mug", "gear", "bookshelf", "spring_left"])
def test_a_camera_sees_what_nothing_hides(name):
    """Each line from the camera to a point is followed through the solids themselves."""
    rng = np.random.default_rng(2)
    pieces = CLASSES[name].build(rng)
    points, normals, shape = shape_of(pieces)
    direction = np.array([0.6, -0.64, 0.48])
    scan = see(points, normals, shape, direction, rng)
    camera = np.linalg.inv(scan.T_camera_shape)[:3, 3]
    assert np.linalg.norm(camera - shape.centre) == pytest.approx(2.5 * shape.diagonal)

    def hidden(seen):
        """Within the last 1.5 diagonals, up to 1 % of one from the point."""
        away = np.linalg.norm(seen - camera, axis=1)[:, None]
        found = np.zeros(len(seen), bool)
        for back in np.linspace(0.01, 1.5, 150) * shape.diagonal:
            at = seen + (camera - seen) * back / away
            for piece in pieces:
                local = at - piece.shift
                local = local if piece.rotation is None else local @ piece.rotation
                found |= piece.solid.inside(local)
        return found.mean()

    assert len(scan.rows) > 600
    assert hidden(points[scan.rows]) < 0.02
    assert hidden(points[:2000]) > 0.3  # the control
    at = points[scan.rows] @ scan.T_camera_shape[:3, :3].T + scan.T_camera_shape[:3, 3]
    assert (at[:, 2] > 0).all()
    facing = normals[scan.rows] @ scan.T_camera_shape[:3, :3].T
    assert ((at * facing).sum(1) < 0).all()


def test_shared_points_by_brute_force():
    rng = np.random.default_rng(0)
    points = rng.uniform(-1, 1, (400, 3))
    rows, others = np.arange(0, 250), np.arange(200, 400)
    near = np.linalg.norm(points[rows, None] - points[others], axis=-1).min(1)
    expected = rows[near <= OVERLAP_RADIUS * 4]
    assert np.array_equal(shared_rows(points, rows, others, 4.0), expected)
    assert 50 <= len(expected) < 250


@pytest.mark.parametrize("name, k", [("mug", 0), ("mug", 1), ("chair", 2), ("gear", 3)])
def test_the_true_pose_lays_points_on_points(name, k):
    source, target, pair = make_pair(name, k)
    T, diagonal, tree = pair.T_target_source, pair.body["diagonal"], cKDTree(target)

    def share(T, radius):
        away = tree.query(source @ T[:3, :3].T + T[:3, 3])[0]
        return float((away < radius * diagonal).mean())

    assert np.allclose(T[:3, :3] @ T[:3, :3].T, np.eye(3)) and np.linalg.det(T[:3, :3]) > 0
    assert share(T, OVERLAP_RADIUS) == pytest.approx(pair.overlap, abs=0.05)
    assert 0.05 <= pair.overlap <= 1
    centre = np.array(pair.body["centre"])
    for angle in (0.4, 1.3, 2.2):
        wrong = T.copy()
        wrong[:3, :3] = T[:3, :3] @ about((0.6, 0.0, 0.8), angle)
        wrong[:3, 3] += T[:3, :3] @ centre - wrong[:3, :3] @ centre
        assert share(wrong, 0.01) < 0.8 * share(T, 0.01)


def test_two_runs_make_the_same_bits():
    for k in (0, 1):
        one, two = make_pair("jug", k), make_pair("jug", k)
        assert all(np.array_equal(a, b) for a, b in zip(one[:2], two[:2], strict=True))
        assert np.array_equal(one[2].T_target_source, two[2].T_target_source)
        assert one[2].body == two[2].body and one[2].overlap == two[2].overlap
    other = make_pair("jug", 1, seed=1)
    assert other[2].overlap != two[2].overlap and other[0].shape != two[0].shape


def test_pairs_vary():
    made = [make_pair(name, k) for name in ("cone", "nut", "vase") for k in range(PAIRS)]
    overlaps = [pair.overlap for _, _, pair in made]
    assert min(overlaps) < 0.3 and max(overlaps) > 0.9
    sizes = [pair.body["diagonal"] for _, _, pair in made]
    assert min(sizes) < 2 and max(sizes) > 40  # metres and millimetres
    for name in ("cone", "nut", "vase"):
        source, target, _ = make_pair(name, 0)
        assert 6000 in (len(source), len(target)) and len(source) != len(target)


def test_a_part_that_hides_what_tells():
    """Of a mug, without and with its handle."""
    body = [rod((0, 0, 0), (0, 0, 2), 1, 0, 0.8)]
    points, normals, shape = shape_of([*body, box((1.2, 0.3, 1.0), (1, 0, 1), 0)])
    rng = np.random.default_rng(0)
    assert not shape.symmetry
    away, with_handle = (see(points, normals, shape, np.array(direction), rng)
                         for direction in ((-1.0, 0, 0), (0.0, -1.0, 0)))
    assert shape.hides(points[away.rows])
    assert not shape.hides(points[with_handle.rows])


def test_the_body_is_told_in_the_frame_of_the_source():
    source, _, pair = make_pair("bottle", 0)
    body = Body.from_dict(pair.body)
    axis, middle = np.array(body.symmetry.axis), np.array(body.centre)
    along = (source - middle) @ axis
    across = np.linalg.norm(source - middle - along[:, None] * axis, axis=1)
    # all points of one height of a body of revolution have the same distance from its axis
    order = np.argsort(along)
    inner = order[len(order) // 4: len(order) // 2]
    assert np.abs(np.diff(across[inner])).mean() < 0.02 * body.diagonal
    assert np.linalg.norm(np.ptp(source, axis=0)) < 1.6 * body.diagonal
