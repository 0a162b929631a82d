"""What speaks for and against the pose that was found."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.spatial import cKDTree

from pcinv.registration.conditioning import conditioning
from pcinv.registration.prepare import Prepared
from pcinv.registration.search import (
    INLIER,
    Found,
    agreeing,
    contradiction,
    score_of,
)
from pcinv.registration.symmetry import angle_deg, turned_pose
from pcinv.registration.verdict import AMBIGUOUS, Evidence


class More(NamedTuple):
    """Evidence that is shown, but that the verdict does not need.

    alternatives : poses that reach a large share of the best score, between prepared clouds.
    """

    inlier_rmse: float
    condition: tuple[float, ...]
    alternatives: list[Float[np.ndarray, "4 4"]]


def gather_evidence(
    source: Prepared, target: Prepared, found: Found, pose: Float[np.ndarray, "4 4"]
) -> tuple[Evidence, More]:
    """Return the evidence on a pose between two prepared clouds."""
    moved = source.points @ pose[:3, :3].T + pose[:3, 3]
    distance, index = cKDTree(target.points).query(moved, distance_upper_bound=INLIER)
    meets = np.isfinite(distance)
    back = cKDTree(moved).query(target.points, distance_upper_bound=INLIER)[0]
    rmse = float(np.sqrt(np.mean(distance[meets] ** 2))) if meets.any() else float("nan")
    held = conditioning(moved[meets], target.normals[index[meets]]) if meets.any() else None
    best = found.candidates[0] if found.candidates else None
    inliers, places = agreeing(pose, found.matches)
    space = float(contradiction(source, target, pose[None])[0])
    others = found.candidates[1:]
    top = best.score if best and best.score > 0 else np.inf
    runner_up, angle = 0.0, 0.0
    if others:
        runner_up, angle = others[0].score / top, angle_deg(others[0].T_target_source, pose)
    alternatives = [c.T_target_source for c in others if c.score > AMBIGUOUS * top]
    turned = turned_pose(source, target, pose, [c.T_target_source for c in others])
    if turned is not None and turned[0] > runner_up:
        runner_up, angle = turned[0], angle_deg(turned[1], pose)
        alternatives.insert(0, turned[1])
    unit, middle = target.unit, target.origin
    motions = tuple(str(motion.in_frame(middle, unit)) for motion in held.open_motions) \
        if held else ()
    evidence = Evidence(
        score=score_of(source, target, places, best.firmness, space,
                       max(meets.mean(), np.isfinite(back).mean())) if best else 0.0,
        inliers=inliers, kinds=len(found.matches),
        correspondences=sum(len(matched.x) for matched in found.matches),
        overlap=float(meets.mean()), overlap_target=float(np.isfinite(back).mean()),
        contradiction=space, runner_up=float(runner_up), runner_up_angle_deg=angle,
        open_motions=motions, shape=held.shape if held else "no surface")
    condition = tuple(float(v) for v in held.eigenvalues) if held else (0.0,) * 6
    return evidence, More(rmse, condition, alternatives)
