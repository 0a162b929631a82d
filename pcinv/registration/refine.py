"""Refinement of poses by surfaces: GICP from each start, and what it says about the answer."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from pcinv.ops.threads import each_alone
from pcinv.registration.conditioning import move_information
from pcinv.registration.prepare import VOXEL, Prepared, Surface, prepare, to_clouds, to_prepared

ITERATIONS = 30
SAMPLE = 1600
"""Points of the source that are matched; as many again change no answer."""
_DAMPING = 1e-7
_LEAST_TURN, _LEAST_SHIFT = np.radians(0.02), 0.005 * VOXEL


class Refined(NamedTuple):
    """A pose after GICP.

    T_target_source : (4, 4).
    firmness : smallest eigenvalue of the information a matched point, for turns about their
        centroid, measured by the shift at their root mean square distance from it: small where
        surfaces can slide or turn, or do not lie on each other. It has no unit.
    num_inliers : matched points.
    """

    T_target_source: Float[np.ndarray, "4 4"]
    firmness: float
    num_inliers: int


def refine(
    source: Prepared, target: Prepared, T_target_source: Float[np.ndarray, "4 4"]
) -> Refined:
    """Return the pose that GICP (Segal et al., RSS 2009) reaches from a start.

    Where the sides of both surfaces are known, only those that face the same side are matched: the
    two sides of a thin wall are not the same place.
    """
    step = -(-len(source.points) // SAMPLE)
    signed = source.is_oriented and target.is_oriented
    return _gicp(source.points[::step], source.normals[::step], target.surface, T_target_source,
                 signed)


def _gicp(
    points: Float[np.ndarray, "n 3"], normals: Float[np.ndarray, "n 3"], target: Surface,
    start: Float[np.ndarray, "4 4"], signed: bool,
) -> Refined:
    from pcinv.registration.gicp_kernels import gicp  # compiled on first use

    grid, target_normals = target
    pose, information, moments = np.array(start, np.float64), np.zeros((6, 6)), np.zeros(4)
    matched = gicp(
        points, normals, grid.points, target_normals, grid.low, grid.size, grid.first,
        grid.table_key, grid.table_row, pose, signed, ITERATIONS, _DAMPING, _LEAST_TURN,
        _LEAST_SHIFT, information, moments)
    if matched == 0 or not np.isfinite(pose).all():
        return Refined(start, 0.0, 0)
    moments /= matched
    radius = np.sqrt(max(moments[3] - moments[:3] @ moments[:3], VOXEL**2))
    about = move_information(information / matched, moments[:3])
    unit = np.array([1 / radius] * 3 + [1.0] * 3)
    return Refined(pose, float(np.linalg.eigvalsh(about * unit * unit[:, None])[0]), matched)


FINEST_SHARE = 0.25
"""The last refinement works at this share of the voxel, or at the spacing of the data."""
POLISH_NORMALS = (3, 60)
"""Radius in these finer voxels, and neighbours at most: near the spacing fewer are too few."""


def polish(
    source: Float[np.ndarray, "n 3"], target: Float[np.ndarray, "m 3"],
    T_target_source: Float[np.ndarray, "4 4"], voxel: float, spacing: float,
) -> tuple[Float[np.ndarray, "4 4"], str]:
    """Refine a pose once more on finer points; return it, and words for what was done.

    voxel : that the pose was found with.  spacing : of the coarser cloud.

    The finer pose is kept only if it moved the source by less than two voxels: refinement must not
    replace an answer by another one.
    """
    fine = max(FINEST_SHARE * voxel, spacing)
    if fine > 0.7 * voxel:
        return T_target_source, "the data is not finer than the voxel"
    moving, fixed = each_alone(lambda cloud: prepare(cloud, fine, (), POLISH_NORMALS),
                               (source, target))
    step = -(-len(moving.points) // (2 * SAMPLE))
    start = to_prepared(T_target_source, moving, fixed)
    pose, _, matched = _gicp(
        moving.points[::step], moving.normals[::step], fixed.surface, start, False)
    reach = np.linalg.norm(np.ptp(moving.points, axis=0)) / 2
    turned = np.linalg.norm(pose[:3, :3] - start[:3, :3]) / np.sqrt(2) * reach
    moved = float(np.linalg.norm(pose[:3, 3] - start[:3, 3]) + turned) * moving.unit
    if matched == 0 or moved > 2 * voxel:
        return T_target_source, f"not kept: it would move the source by {moved:.3g}"
    return to_clouds(pose, moving, fixed), f"moved by {moved:.3g} at {fine:.3g}"
