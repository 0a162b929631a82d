"""Overlap of turned boxes, against polygons clipped one by one, and against counted points."""

import numpy as np
import pytest

from pcinv.metrics.rotated_iou import corners, rotated_iou, shared_area
from pcinv.types import Boxes


def boxes(centre, size, yaw):
    count = len(yaw)
    return Boxes(np.asarray(centre, float), np.asarray(size, float), np.asarray(yaw, float),
                 np.zeros(count, np.int64), np.arange(count))


def clipped_area(a, b):
    """Sutherland and Hodgman's clipping of one polygon by another, point by point."""
    polygon = [tuple(p) for p in a]
    for k in range(4):
        (px, py), (qx, qy) = b[k], b[(k + 1) % 4]
        side = [(qx - px) * (y - py) - (qy - py) * (x - px) for x, y in polygon]
        kept = []
        for i, here in enumerate(polygon):
            after, s, t = polygon[(i + 1) % len(polygon)], side[i], side[(i + 1) % len(polygon)]
            if s >= 0:
                kept.append(here)
            if (s > 0 > t) or (s < 0 < t):
                u = s / (s - t)
                kept.append(tuple(v + u * (w - v) for v, w in zip(here, after, strict=True)))
        polygon = kept
        if not polygon:
            return 0.0
    x, y = np.array(polygon).T
    return 0.5 * abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))


def random_rectangles(rng, count):
    return corners(rng.uniform(-2, 2, (count, 2)), rng.uniform(0.3, 5, (count, 2)),
                   rng.uniform(-np.pi, np.pi, count))


def test_equals_clipping():
    rng = np.random.default_rng(1)
    a, b = random_rectangles(rng, 500), random_rectangles(rng, 500)
    wanted = [clipped_area(*pair) for pair in zip(a, b, strict=True)]
    assert np.allclose(shared_area(a, b), wanted, atol=1e-9)
    assert np.count_nonzero(wanted) > 300


def test_equals_counted_points():
    rng = np.random.default_rng(2)
    a = boxes([[0, 0, 0]], [[4, 2, 1.5]], [0.3])
    b = boxes([[0.7, 0.4, 0.3]], [[3.5, 1.8, 1.6]], [1.1])
    points = rng.uniform(-4, 4, (400_000, 3))

    def inside(box):
        local = points - box.centre[0]
        c, s = np.cos(box.yaw[0]), np.sin(box.yaw[0])
        local = np.stack([c * local[:, 0] + s * local[:, 1], -s * local[:, 0] + c * local[:, 1],
                          local[:, 2]], 1)
        return (np.abs(local) <= box.size[0] / 2).all(1)

    both, either = (inside(a) & inside(b)).sum(), (inside(a) | inside(b)).sum()
    assert rotated_iou(a, b)[1][0, 0] == pytest.approx(both / either, abs=0.01)


@pytest.mark.parametrize("yaw", [0.0, 0.1, np.pi / 2, np.pi, -2.5])
def test_a_box_and_itself(yaw):
    box = boxes([[1e3, -2e3, 5]], [[4, 2, 1.5]], [yaw])
    bev, solid = rotated_iou(box, box)
    assert bev[0, 0] == pytest.approx(1, abs=1e-9) and solid[0, 0] == pytest.approx(1, abs=1e-9)


def test_known_cases():
    a = boxes([[0, 0, 0]], [[2, 2, 2]], [0])
    others = boxes([[1, 0, 0], [0, 0, 1], [0, 0, 0], [2, 0, 0], [9, 9, 9]], [[2, 2, 2]] * 5,
                   [0, 0, np.pi / 4, 0, 0])
    bev, solid = rotated_iou(a, others)
    octagon = 8 * (np.sqrt(2) - 1)  # of two unit squares, one turned by 45 degrees, times 4
    assert bev[0] == pytest.approx([1 / 3, 1, octagon / (8 - octagon), 0, 0], abs=1e-9)
    assert solid[0] == pytest.approx([1 / 3, 1 / 3, octagon / (8 - octagon), 0, 0], abs=1e-9)


def test_one_within_another():
    a, b = boxes([[0, 0, 0]], [[4, 4, 2]], [0.2]), boxes([[0.1, 0, 0]], [[1, 1, 2]], [0.9])
    assert rotated_iou(a, b)[0][0, 0] == pytest.approx(1 / 16)


def test_none():
    empty = boxes(np.zeros((0, 3)), np.zeros((0, 3)), [])
    assert rotated_iou(empty, empty)[0].shape == (0, 0)
