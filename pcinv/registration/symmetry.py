"""Is there another way to put the source on the target? Turns that leave surfaces where they are.

Features find such poses by chance only: a wrong idea of where the cameras were tells the sides of a
box apart. So the shape itself is turned about axes that a symmetric shape would have.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.spatial import cKDTree

from pcinv.registration.compatibility import DISTINCT_ANGLE_DEG
from pcinv.registration.prepare import VOXEL, Prepared
from pcinv.registration.refine import refine
from pcinv.registration.search import contradiction

ANGLES_DEG = (180.0, 120.0, -120.0, 90.0, -90.0, 60.0, -60.0, 72.0, 45.0)
"""Both ways: of a part, one way may turn what was seen onto what was not."""
SAME_FIT = 0.95
"""Share of the overlap that a turned pose must reach, both ways, to fit as well."""
SAME_RMSE, NO_RMSE = 1.5, 0.02 * VOXEL
"""Distance from the surfaces that it may have: so many times that of the pose, or as good as none.
"""
PART_FIT, PART_RMSE = 0.7, 0.3 * VOXEL
"""The same where both cameras are known and contradict neither: what does not meet may then be what
one of them did not see."""
WHOLE = 0.5
"""Where less than this meets, walls alone fit in many ways, which says nothing of symmetry."""
SAME_SPACE = 0.02
"""How much more than the pose itself a turned one may contradict free space."""
WORTH_REFINING = 0.6
_SAMPLE, _GLANCE = 1000, 300
_REACH = 2 * VOXEL
_PARALLEL = np.cos(np.radians(5.0))


class Fit(NamedTuple):
    """How much of the source and of the target meet; rmse : distance from the target's planes."""

    overlap: float
    overlap_target: float
    rmse: float


class Meeting:
    """The fit of poses of one pair, on a sample of the points."""

    def __init__(self, source: Prepared, target: Prepared) -> None:
        self.source, self.target = _some(source.points), _some(target.points)
        self.few = self.source[:: -(-len(self.source) // _GLANCE)]
        self.points, self.normals = target.points, target.normals
        self.source_tree, self.target_tree = cKDTree(source.points), cKDTree(target.points)

    def glance(self, pose: Float[np.ndarray, "4 4"]) -> Fit:
        """Return about how much of the source meets, and not more than that of the target."""
        moved = self.few @ pose[:3, :3].T + pose[:3, 3]
        near = np.isfinite(self.target_tree.query(moved, distance_upper_bound=_REACH)[0])
        return Fit(float(near.mean()), np.inf, np.inf)

    def fit(self, pose: Float[np.ndarray, "4 4"]) -> Fit:
        """Return the fit of a pose."""
        rotation, shift = pose[:3, :3], pose[:3, 3]
        moved = self.source @ rotation.T + shift
        there, index = self.target_tree.query(moved, distance_upper_bound=_REACH)
        back = self.source_tree.query((self.target - shift) @ rotation,
                                      distance_upper_bound=_REACH)[0]
        near = np.isfinite(there)
        normals, offset = self.normals[index[near]], moved[near] - self.points[index[near]]
        off = np.einsum("ni,ni->n", normals, offset)
        rmse = float(np.sqrt(np.mean(off**2))) if near.any() else np.inf
        return Fit(float(near.mean()), float(np.isfinite(back).mean()), rmse)


def turned_pose(
    source: Prepared, target: Prepared, pose: Float[np.ndarray, "4 4"],
    others: list[Float[np.ndarray, "4 4"]],
) -> tuple[float, Float[np.ndarray, "4 4"]] | None:
    """Return a pose that is turned and fits as well as `pose`, with its share of the overlap.

    others : poses that the features suggest; turns about likely axes of symmetry are tried as well.
    """
    meeting = Meeting(source, target)
    best = meeting.fit(pose)
    if min(best.overlap, best.overlap_target) < WHOLE:
        return None
    space = contradiction(source, target, pose[None])[0] + SAME_SPACE
    moved = source.points @ pose[:3, :3].T + pose[:3, 3]
    meets = np.isfinite(meeting.target_tree.query(moved, distance_upper_bound=_REACH)[0])
    centroid = moved[meets].mean(0) if meets.any() else moved.mean(0)
    normals = source.normals[meets] @ pose[:3, :3].T
    tried = [other for other in others if angle_deg(other, pose) >= DISTINCT_ANGLE_DEG]
    both = np.concatenate([moved, target.points])
    seen = source.view_point is not None and target.view_point is not None
    for axis in _axes(moved[meets], normals):
        for middle in (centroid, _box_middle(moved[meets], axis), _box_middle(both, axis)):
            tried += [_about(axis, angle, middle) @ pose for angle in ANGLES_DEG]
    for start in tried:
        if _share(meeting.glance(start), best) < WORTH_REFINING:
            continue
        found = refine(source, target, start).T_target_source
        fit = meeting.fit(found)
        as_well = _share(fit, best) >= SAME_FIT and fit.rmse <= SAME_RMSE * best.rmse + NO_RMSE
        in_part = seen and _share(fit, best) >= PART_FIT and fit.rmse <= PART_RMSE
        if ((as_well or in_part) and angle_deg(found, pose) >= DISTINCT_ANGLE_DEG
                and contradiction(source, target, found[None])[0] <= space):
            return min(_share(fit, best), 1.0), found
    return None


def _share(fit: Fit, best: Fit) -> float:
    return min(fit.overlap / best.overlap, fit.overlap_target / best.overlap_target)


def _some(points: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "s 3"]:
    return points[:: -(-len(points) // _SAMPLE)]


def _axes(
    points: Float[np.ndarray, "n 3"], normals: Float[np.ndarray, "n 3"]
) -> list[Float[np.ndarray, "3"]]:
    """Return the principal axes, and the directions that most surfaces face."""
    centred = points - points.mean(0)
    axes = list(np.linalg.eigh(centred.T @ centred)[1].T)
    normals = normals[normals.any(axis=1)]  # where points lie on a line there is none
    if not len(normals):
        return axes
    some = _some(normals)
    parallel = np.abs(some @ some.T) > _PARALLEL
    first = int(parallel.sum(1).argmax())
    across = np.abs(some @ some[first]) < np.sqrt(1 - _PARALLEL**2)
    if not across.any():
        return [*axes, some[first]]
    second = some[int(np.where(across, parallel.sum(1), 0).argmax())]
    second = second - some[first] * (second @ some[first])
    second /= np.linalg.norm(second)
    return [*axes, some[first], second, np.cross(some[first], second)]


def _box_middle(
    points: Float[np.ndarray, "n 3"], axis: Float[np.ndarray, "3"]
) -> Float[np.ndarray, "3"]:
    """Return the middle of the box of points, one of its sides along the axis.

    Of a part that is seen from one side it is nearer to an axis of symmetry than the centroid.
    """
    if not len(points):
        return np.zeros(3)
    frame = np.linalg.svd(axis[None])[2]
    local = points @ frame.T
    return np.asarray((local.min(0) + local.max(0)) / 2 @ frame)


def _about(
    axis: Float[np.ndarray, "3"], angle_deg: float, middle: Float[np.ndarray, "3"]
) -> Float[np.ndarray, "4 4"]:
    """Return the turn about an axis through `middle`."""
    x, y, z = axis
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    angle = np.radians(angle_deg)
    turn = np.eye(4)
    turn[:3, :3] += np.sin(angle) * cross + (1 - np.cos(angle)) * (cross @ cross)
    turn[:3, 3] = middle - turn[:3, :3] @ middle
    return turn


def angle_deg(a: Float[np.ndarray, "4 4"], b: Float[np.ndarray, "4 4"]) -> float:
    """Return the angle between the rotations of two poses."""
    cosine = (np.einsum("ij,ij->", a[:3, :3], b[:3, :3]) - 1) / 2
    return float(np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0))))
