"""Refinement of poses by surfaces: GICP from each start, and what it says about the answer."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from pcinv.registration.conditioning import move_information
from pcinv.registration.prepare import ONE_THREAD, VOXEL, Prepared

REACH = 2 * VOXEL
"""Surfaces farther apart than this are not matched."""
ITERATIONS = 20


class Refined(NamedTuple):
    """A pose after GICP.

    T_target_source : (4, 4).
    firmness : smallest eigenvalue of the information a matched point, for turns about the source's
        view point (its centroid, where there is none): small where surfaces can slide.
    num_inliers : matched points.
    """

    T_target_source: Float[np.ndarray, "4 4"]
    firmness: float
    num_inliers: int


def refine(
    source: Prepared, target: Prepared, T_target_source: Float[np.ndarray, "4 4"]
) -> Refined:
    """Return the pose that GICP (Segal et al., RSS 2009) reaches from a start."""
    import small_gicp

    target_cloud, target_tree = target.surface
    found = small_gicp.align(
        target_cloud, source.surface[0], target_tree, T_target_source, registration_type="GICP",
        max_correspondence_distance=REACH, num_threads=ONE_THREAD, max_iterations=ITERATIONS)
    pose = np.array(found.T_target_source)
    if found.num_inliers == 0 or not np.isfinite(pose).all():
        return Refined(T_target_source, 0.0, 0)
    at = np.zeros(3) if source.view_point is None else source.view_point
    information = move_information(np.array(found.H), at) / found.num_inliers
    return Refined(pose, float(np.linalg.eigvalsh(information)[0]), int(found.num_inliers))


FINEST_SHARE = 0.25
"""The last refinement works at this share of the voxel, or at the spacing of the data."""


def polish(
    source: Float[np.ndarray, "n 3"], target: Float[np.ndarray, "m 3"],
    T_target_source: Float[np.ndarray, "4 4"], voxel: float, spacing: float,
) -> tuple[Float[np.ndarray, "4 4"], str]:
    """Refine a pose once more on finer points; return it, and words for what was done.

    voxel : that the pose was found with.  spacing : of the coarser cloud.

    The finer pose is kept only if it moved the source by less than two voxels: refinement must not
    replace an answer by another one.
    """
    import small_gicp

    fine = max(FINEST_SHARE * voxel, spacing)
    if fine > 0.7 * voxel:
        return T_target_source, "the data is not finer than the voxel"
    middle_s, middle_t, unit = source.mean(axis=0), target.mean(axis=0), fine / VOXEL
    start = np.array(T_target_source)
    start[:3, 3] = (start[:3, :3] @ middle_s + start[:3, 3] - middle_t) / unit
    moving, _ = small_gicp.preprocess_points((source - middle_s) / unit, VOXEL, 10, ONE_THREAD)
    fixed, tree = small_gicp.preprocess_points((target - middle_t) / unit, VOXEL, 10, ONE_THREAD)
    found = small_gicp.align(
        fixed, moving, tree, start, registration_type="GICP", max_correspondence_distance=REACH,
        num_threads=ONE_THREAD, max_iterations=ITERATIONS, translation_epsilon=1e-4,
        rotation_epsilon=1e-4)
    pose = np.array(found.T_target_source)
    extent = float(np.linalg.norm(np.ptp(source, axis=0))) / unit
    turned = np.linalg.norm(pose[:3, :3] - start[:3, :3]) / np.sqrt(2) * extent / 2
    moved = float(np.linalg.norm(pose[:3, 3] - start[:3, 3]) + turned) * unit
    if found.num_inliers == 0 or not np.isfinite(pose).all() or moved > 2 * voxel:
        return T_target_source, f"not kept: it would move the source by {moved:.3g}"
    pose[:3, 3] = unit * pose[:3, 3] + middle_t - pose[:3, :3] @ middle_s
    return pose, f"moved by {moved:.3g} at {fine:.3g}"
