"""Free space: would the moved cloud have hidden what the other camera saw?

A camera that saw a surface saw nothing before it. The nearest range in each direction is an image
of that; a point of another cloud that a motion puts well in front of it contradicts the motion.
Points behind what was seen, or where nothing was seen, contradict nothing.

Arrays are float64; lengths are in the units of the points.
"""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int

from pcinv.checks import check_count, check_points
from pcinv.errors import InputError, ShapeError
from pcinv.ops.order import canonical_order, centre

CELLS = (121, 240)
"""Directions of 1.5 degrees: from pole to pole, the poles included, and around."""


class View(NamedTuple):
    """A cloud as it was seen from one place.

    points : (S, 3) some of its points, that are held against other views.
    view_point : (3,) where the camera was, in the frame of the points, or None.
    depth : (121 * 240,) range of the nearest point in each cell of directions about the view
        point; 0 where nothing was seen, as everywhere without a view point.
    """

    points: Float[np.ndarray, "s 3"]
    view_point: Float[np.ndarray, "3"] | None
    depth: Float[np.ndarray, " cells"]


def see(
    points: Float[np.ndarray, "n 3"], view_point: Float[np.ndarray, "3"] | None,
    sample: int = 1500,
) -> View:
    """Return the view of a cloud from its camera.

    points : (N, 3), thinned to the working voxel.  view_point : (3,) in the same frame, or None:
        the view then contradicts nothing, but may itself be contradicted.
    sample : at most about so many points are kept to be held against other views: every n-th in
        order of the distance from the centroid, whatever order they are stored in.

    Raises ShapeError, InputError for other shapes, or values that are not finite.
    """
    points = np.asarray(points, np.float64)
    check_points(torch.from_numpy(points), "points", batched=False)
    check_count(sample, "sample")
    cloud = torch.from_numpy(points)[None]
    order = canonical_order(centre(cloud, cloud)[1])[0].numpy()
    some = points[order[:: -(-len(points) // sample)]]
    depth = np.zeros(CELLS[0] * CELLS[1])
    if view_point is None:
        return View(some, None, depth)
    view_point = np.asarray(view_point, np.float64)
    if view_point.shape != (3,) or not np.isfinite(view_point).all():
        raise ShapeError(f"expected three finite numbers, got {view_point}", where="view_point",
                         hint="the place of the camera in the frame of the points")
    cell, distance = _directions(points - view_point)
    depth[:] = np.inf
    np.minimum.at(depth, cell, distance)
    depth[np.isinf(depth)] = 0.0
    return View(some, view_point, depth)


def hidden_share(
    view: View, points: Float[np.ndarray, "n 3"], T_view_points: Float[np.ndarray, "*h 4 4"],
    margin: float,
) -> Float[np.ndarray, "*h"]:
    """Return the share of the moved points that would have hidden what the view shows.

    points : (N, 3).  T_view_points : (..., 4, 4) motions into the frame of the view.
    margin : a point counts if it is nearer than the image by more than this.
    """
    T = np.asarray(T_view_points, np.float64)
    if T.shape[-2:] != (4, 4) or not np.isfinite(T).all():
        raise ShapeError(f"expected finite (..., 4, 4), got {T.shape}", where="T_view_points",
                         hint="homogeneous matrices")
    if not margin >= 0:
        raise InputError(f"margin {margin}, expected 0 or more", where="margin",
                         hint="three voxels allow for noise and for slanted surfaces")
    if view.view_point is None:
        return np.zeros(T.shape[:-2])
    rotation, translation = T[..., :3, :3], T[..., None, :3, 3]
    moved = points @ np.swapaxes(rotation, -1, -2) + (translation - view.view_point)
    cell, distance = _directions(moved)
    return np.asarray((distance < view.depth[cell] - margin).mean(-1))


def violation(
    source: View, target: View, T_target_source: Float[np.ndarray, "*h 4 4"], margin: float
) -> Float[np.ndarray, "*h"]:
    """Return how much the two views contradict each motion, from 0 (not at all) to 2.

    T_target_source : (..., 4, 4) rigid motions.
    margin : as in `hidden_share`; three voxels.

    The sum of the shares of both directions: of the moved source that would have hidden what the
    target's camera saw, and the other way round; 0 for a direction without a camera.

    Raises ShapeError, InputError for other shapes, values that are not finite, or a margin < 0.
    """
    there = hidden_share(target, source.points, T_target_source, margin)
    back = hidden_share(source, target.points, _inverse(T_target_source), margin)
    return np.asarray(there + back)


def _inverse(T: Float[np.ndarray, "*h 4 4"]) -> Float[np.ndarray, "*h 4 4"]:
    """Return the inverse of rigid motions."""
    back = np.array(T, dtype=np.float64)
    rotation = np.swapaxes(back[..., :3, :3], -1, -2).copy()
    back[..., :3, 3:] = -rotation @ back[..., :3, 3:]
    back[..., :3, :3] = rotation
    return back


def _directions(
    points: Float[np.ndarray, "*h n 3"],
) -> tuple[Int[np.ndarray, "*h n"], Float[np.ndarray, "*h n"]]:
    """Return the cell in which each point is seen from the origin, and its distance.

    A point at the origin itself hides nothing: its distance is infinite.
    """
    x, y, z = np.moveaxis(points, -1, 0)
    distance = np.sqrt(x * x + y * y + z * z)
    at_origin = distance == 0
    polar = np.arccos(np.clip(z / np.where(at_origin, 1.0, distance), -1.0, 1.0))
    around = np.arctan2(y, x) / (2 * np.pi) + 0.5
    row = np.rint(polar / np.pi * (CELLS[0] - 1)).astype(np.int64)
    column = np.minimum((around * CELLS[1]).astype(np.int64), CELLS[1] - 1)
    return row * CELLS[1] + column, np.where(at_origin, np.inf, distance)
