"""Overlap of boxes that stand upright and are turned about z, in float64.

The area that two rectangles share is that of a convex polygon. Its corners are among the corners of
each that lie in the other, and the crossings of their edges: 24 places at most, put in order around
their middle.
"""

import numpy as np
from jaxtyping import Float

from pcinv.types import Boxes

_EPS = 1e-9
_TURNS = np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]]) / 2


def corners(
    centre: Float[np.ndarray, "p 2"], size: Float[np.ndarray, "p 2"], yaw: Float[np.ndarray, " p"]
) -> Float[np.ndarray, "p 4 2"]:
    """Return corners of rectangles, counter-clockwise; size is length along the heading, width."""
    c, s = np.cos(yaw), np.sin(yaw)
    turn = np.stack([np.stack([c, -s], -1), np.stack([s, c], -1)], -2)  # (P, 2, 2)
    found: np.ndarray = np.einsum("pij,pkj->pki", turn, _TURNS * size[:, None]) + centre[:, None]
    return found


def shared_area(
    a: Float[np.ndarray, "p 4 2"], b: Float[np.ndarray, "p 4 2"]
) -> Float[np.ndarray, " p"]:
    """Return the area that each rectangle shares with the one of the same row, from corners."""
    middle = (a.mean(1, keepdims=True) + b.mean(1, keepdims=True)) / 2
    a, b = a - middle, b - middle
    da, db = np.roll(a, -1, axis=1) - a, np.roll(b, -1, axis=1) - b
    between = b[:, None, :, :] - a[:, :, None, :]  # (P, 4, 4, 2)
    across = _cross(da[:, :, None], db[:, None])
    parallel = np.abs(across) < _EPS
    safe = np.where(parallel, 1.0, across)
    t, u = _cross(between, db[:, None]) / safe, _cross(between, da[:, :, None]) / safe
    meets = ~parallel & (t >= 0) & (t <= 1) & (u >= 0) & (u <= 1)
    crossings = a[:, :, None] + t[..., None] * da[:, :, None]
    count = len(a)
    places = np.concatenate([a, b, crossings.reshape(count, 16, 2)], axis=1)  # (P, 24, 2)
    there = np.concatenate([_inside(a, b), _inside(b, a), meets.reshape(count, 16)], axis=1)
    return _convex_area(places, there)


def _cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    found: np.ndarray = a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]
    return found


def _inside(points: np.ndarray, box: np.ndarray) -> np.ndarray:
    """Return which points (P, 4, 2) lie in the convex polygon (P, 4, 2) of the same row."""
    edge = np.roll(box, -1, axis=1) - box
    side = _cross(edge[:, None], points[:, :, None] - box[:, None])
    return np.asarray((side >= -_EPS).all(-1))


def _convex_area(places: np.ndarray, there: np.ndarray) -> np.ndarray:
    """Return the area of the convex polygons whose corners are some of the places, in any order."""
    count = there.sum(1)
    middle = (places * there[..., None]).sum(1) / np.maximum(count, 1)[:, None]
    out = np.where(there[..., None], places - middle[:, None], 0.0)
    angle = np.where(there, np.arctan2(out[..., 1], out[..., 0]), np.inf)
    order = np.argsort(angle, axis=1)
    ring = np.take_along_axis(out, order[..., None], axis=1)
    # behind the last corner all are the first one again: no area
    last = np.arange(ring.shape[1])[None] < count[:, None]
    ring = np.where(last[..., None], ring, ring[:, :1])
    area = _cross(ring, np.roll(ring, -1, axis=1)).sum(1) / 2
    found: np.ndarray = np.where(count >= 3, np.abs(area), 0.0)
    return found


def rotated_iou(
    a: Boxes, b: Boxes
) -> tuple[Float[np.ndarray, "m k"], Float[np.ndarray, "m k"]]:
    """Return intersection over union of all boxes with all others, (M, K): from above, in 3D."""
    bev, solid = np.zeros((len(a), len(b))), np.zeros((len(a), len(b)))
    reach_a, reach_b = (np.hypot(box.size[:, 0], box.size[:, 1]) / 2 for box in (a, b))
    apart = np.linalg.norm(a.centre[:, None, :2] - b.centre[None, :, :2], axis=-1)
    rows, columns = np.nonzero(apart < reach_a[:, None] + reach_b[None])
    if not len(rows):
        return bev, solid
    near_a, near_b = (corners(box.centre[k, :2], box.size[k, :2], box.yaw[k])
                      for box, k in ((a, rows), (b, columns)))
    shared = shared_area(near_a, near_b)
    area_a, area_b = (box.size[k, 0] * box.size[k, 1] for box, k in ((a, rows), (b, columns)))
    bev[rows, columns] = shared / np.maximum(area_a + area_b - shared, 1e-12)
    top, floor = (choose(a.centre[rows, 2] + sign * a.size[rows, 2] / 2,
                         b.centre[columns, 2] + sign * b.size[columns, 2] / 2)
                  for choose, sign in ((np.minimum, 1), (np.maximum, -1)))
    volume = shared * np.maximum(top - floor, 0)
    whole = area_a * a.size[rows, 2] + area_b * b.size[columns, 2] - volume
    solid[rows, columns] = volume / np.maximum(whole, 1e-12)
    return bev, solid
