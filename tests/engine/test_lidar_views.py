"""Views of scans: points, vectors and boxes change together."""

import math

import numpy as np
import pytest

from pcinv.engine.lidar_views import SCALES, SHIFT, TURN, View, draw_view, draw_yaw
from pcinv.metrics.rotated_iou import corners
from pcinv.types import Boxes


@pytest.mark.parametrize("seed", range(5))
def test_flow_joins_the_places_of_a_view(seed):
    rng = np.random.default_rng(seed)
    view = draw_view(rng, draw_yaw(rng))
    xyz, flow = rng.normal(0, 10, (2, 50, 3))
    assert np.allclose(view.points(xyz) + view.vectors(flow), view.points(xyz + flow))


@pytest.mark.parametrize("seed", range(5))
def test_boxes_move_with_their_points(seed):
    rng = np.random.default_rng(seed)
    view = draw_view(rng, draw_yaw(rng))
    centre, size, yaw = rng.normal(0, 9, (4, 3)), rng.uniform(1, 5, (4, 3)), rng.uniform(-3, 3, 4)
    boxes = Boxes(centre, size, yaw, np.zeros(4, int), np.arange(4), rng.normal(0, 3, (4, 2)))
    moved = view.boxes(boxes)
    before = corners(centre[:, :2], size[:, :2], yaw).reshape(-1, 2)
    lifted = np.concatenate([before, np.zeros((16, 1))], 1)
    wanted = (view.points(lifted) * [1, 1, 0])[:, :2].reshape(4, 4, 2)
    found = corners(moved.centre[:, :2], moved.size[:, :2], moved.yaw)
    for a, b in zip(wanted, found, strict=True):  # a mirrored box has its corners the other way
        assert np.allclose(np.sort(a, axis=0), np.sort(b, axis=0), atol=1e-9)
    assert np.allclose(np.linalg.norm(moved.velocity, axis=1),
                       view.scale * np.linalg.norm(boxes.velocity, axis=1))


def test_the_turn_is_the_angle_that_is_told_also_of_mirrored_scans():
    for flip in (False, True):
        view = View(yaw=0.7, flip=flip)
        assert view.points(np.array([[1.0, 0, 0]]))[0, :2] == pytest.approx(
            [math.cos(0.7), math.sin(0.7)])


def test_ranges():
    rng = np.random.default_rng(0)
    views = [draw_view(rng, draw_yaw(rng)) for _ in range(400)]
    assert all(SCALES[0] <= v.scale <= SCALES[1] and abs(v.yaw) <= TURN for v in views)
    assert max(abs(s) for v in views for s in v.shift) <= SHIFT
    assert 0.4 < np.mean([v.flip for v in views]) < 0.6
    assert views[0].points(np.zeros((3, 3), np.float32)).dtype == np.float32
