"""The scale between two clouds whose units are not known, found together with their pose.

A rigid registration finds nothing if one cloud is in metres and the other in feet. But features
that count in voxels still match if sizes differ by a tenth. So a geometric grid of scales is tried:
at each the clouds are prepared as if it were right, and the matches that agree on a rigid motion
are counted; where it is right they are several times as many as elsewhere. The best scales are
fitted to their matches, prepared anew and judged as poses are; the last word has a fit of the
surfaces with seven degrees of freedom.

Everything is relative to the clouds: with a source in other units only the scale differs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float

from pcinv.errors import InputError, ShapeError
from pcinv.ops.threads import each_alone
from pcinv.registration.clouds import LEAST_POINTS
from pcinv.registration.compatibility import estimate_poses
from pcinv.registration.prepare import SUPPORTS, Prepared, prepare
from pcinv.registration.scale import choose_voxel, spacing, thin
from pcinv.registration.search import INLIER, Matched, judge, match, propose
from pcinv.registration.similarity_fit import (
    SAME_SCALE,
    fit_similarity,
    from_prepared,
    refine_similarity,
    scale_of,
    to_rigid,
)

STEP = 1.12
"""Ratio of neighbouring scales of the grid; matches bear half of it well."""
EXTENT_RANGE, SPACING_RANGE = 4.0, 1.6
"""How far the scale may be from the ratio of the extents, as one cloud shows more than the other;
and from the ratio of the spacings, which one sensor makes of places of any size."""
COARSE_POINTS, FINE_POINTS = 3000, 5000
"""Points that the larger cloud keeps, for the grid and for the best of it."""
KEPT, STARTS = 5, 2
"""Scales of the grid that are looked at more closely; poses judged there for each kind of
features."""
RIVAL = 0.3
"""They are looked at again if the score is such a share of the best."""
NEARBY = (0.9, 0.95, 1.0, 1.05, 1.1)
"""At these shares of the scale that was fitted."""
_ROUNDS, _THINNER = 20, 3


@dataclass(frozen=True)
class ScaleEstimate:
    """How many of the target's units make one of the source's, and what speaks for it.

    scale : a source point p is at scale * R p + t in the target.
    T_target_source : (4, 4) scale * R | t.
    uncertainty : standard deviation of the scale, as a share of it, of the fit of the surfaces; inf
        where they do not determine it. Real scans are bent, and too large or small as a whole: of
        24 pairs of fragments of rooms the scale was off by 0.6 % in the median, at 0.1 % told.
    inliers : matches that agree.
    score : of the pose at this scale, as for rigid poses without view points.
    runner_up, runner_up_scale : score of the best answer of another scale as a share of this one's,
        and its scale; 0 and nan where there is none.
    """

    scale: float
    T_target_source: Float[np.ndarray, "4 4"]
    uncertainty: float
    inliers: int
    score: float
    runner_up: float
    runner_up_scale: float


class _Cloud(NamedTuple):
    """Points, thinned a little; voxels in their units, for the grid and for the best of it."""

    points: Float[np.ndarray, "n 3"]
    coarse: float
    fine: float


def estimate_scale(
    source: Float[np.ndarray, "n 3"], target: Float[np.ndarray, "m 3"]
) -> ScaleEstimate:
    """Find the scale between two clouds that overlap, of any units and in any poses.

    source, target : (N, 3), (M, 3) numbers. The scale has to be within 4 times of the ratio of
        their extents, or within 1.6 times of the ratio of their spacings.

    Clouds that do not meet get an answer too, of a low score. Raises ShapeError, InputError for
    other arrays, points that are too few or not finite, clouds without extent, or where no scale
    makes any matches agree.

    >>> cloud = np.random.default_rng(0).normal(size=(500, 3)) * [3, 2, 1]
    >>> round(estimate_scale(cloud / 1000, cloud).scale)
    1000
    """
    clouds = _checked(source, "source"), _checked(target, "target")
    scales = candidate_scales(*clouds)
    moving, fixed = (_cloud(points) for points in clouds)
    tried = each_alone(lambda scale: _agreement(moving, fixed, scale), list(scales))
    kept: list[ScaleEstimate] = []
    for best in sorted(range(len(scales)), key=lambda k: -tried[k][0]):
        # the neighbours of a good scale are nearly as good, and lead to the same
        if len(kept) < KEPT and max(tried[near][0] for near in (best - 1, best, best + 1)
                                    if 0 <= near < len(scales)) == tried[best][0] > 0:
            kept.append(_closer(moving, fixed, tried[best][1]))
    kept.sort(key=lambda one: -one.score)
    if not kept or kept[0].inliers == 0:
        raise InputError("no scale makes any matches agree", where="source, target",
                         hint="clouds that show the same thing; or scale one of them yourself")
    rivals = [one for one in kept if one.score >= RIVAL * kept[0].score]
    kept[:len(rivals)] = [_settled(moving, fixed, one) for one in rivals]
    first, *others = sorted(kept, key=lambda one: -one.score)
    others = [one for one in others if abs(np.log(one.scale / first.scale)) > SAME_SCALE]
    if others:
        first = replace(first, runner_up=others[0].score / first.score,
                        runner_up_scale=others[0].scale)
    last = refine_similarity(*clouds, first.T_target_source)
    return replace(first, scale=last.scale, T_target_source=last.T_target_source,
                   uncertainty=last.uncertainty)


def _checked(points: Float[np.ndarray, "n 3"], name: str) -> Float[np.ndarray, "n 3"]:
    points = np.asarray(points)
    if points.ndim != 2 or points.shape[1] != 3 or points.dtype.kind not in "fiu":
        raise ShapeError(f"expected (N, 3) numbers, got {points.shape} {points.dtype}", where=name,
                         hint="points are rows of x, y, z")
    points = points.astype(np.float64)
    if len(points) < LEAST_POINTS:
        raise InputError(f"{len(points)} points, at least {LEAST_POINTS} needed", where=name,
                         hint="give a cloud with more points")
    if not np.isfinite(points).all():
        raise InputError("points that are not finite", where=name, hint="drop them")
    return points


def _cloud(points: Float[np.ndarray, "n 3"]) -> _Cloud:
    coarse, fine = (choose_voxel(points, points, count) for count in (COARSE_POINTS, FINE_POINTS))
    return _Cloud(thin(points, fine / _THINNER), coarse, fine)


def candidate_scales(
    source: Float[np.ndarray, "n 3"], target: Float[np.ndarray, "m 3"]
) -> Float[np.ndarray, " s"]:
    """Return the scales to try, ascending: a geometric grid about the ratio of the extents.

    The extent is the median distance from the median, which stray points do not change. Raises
    InputError where it is 0.
    """
    extents = [float(np.median(np.linalg.norm(cloud - np.median(cloud, axis=0), axis=1)))
               for cloud in (source, target)]
    for name, extent in zip(("source", "target"), extents, strict=True):
        if not extent > 0:
            raise InputError("half of the points are at one place", where=name,
                             hint="drop points that are there many times")
    middle, count = extents[1] / extents[0], np.ceil(np.log(EXTENT_RANGE) / np.log(STEP))
    steps = np.arange(-count, count + 1)
    gaps = spacing(source), spacing(target)
    if min(gaps) > 0:
        off, count = (np.log(ratio) / np.log(STEP) for ratio in (gaps[1] / gaps[0] / middle,
                                                                 SPACING_RANGE))
        steps = np.union1d(steps, np.arange(np.ceil(off - count), np.floor(off + count) + 1))
    return np.asarray(middle * STEP**steps)


def _prepared(
    moving: _Cloud, fixed: _Cloud, scale: float, *, fine: bool
) -> tuple[Prepared, Prepared]:
    """Return the clouds as if the scale were right: the same thing has as many voxels in both."""
    voxel = max(moving.fine * scale, fixed.fine) if fine else max(moving.coarse * scale,
                                                                  fixed.coarse)
    supports = SUPPORTS if fine else SUPPORTS[:1]
    return prepare(moving.points, voxel / scale, supports), prepare(fixed.points, voxel, supports)


def _agreement(
    moving: _Cloud, fixed: _Cloud, scale: float
) -> tuple[int, Float[np.ndarray, "4 4"]]:
    """Return how many matches agree on a motion at this scale, and the similarity they make."""
    source, target = _prepared(moving, fixed, scale, fine=False)
    (matched,) = match(source, target, "sign_free_fpfh")
    found = estimate_poses(torch.from_numpy(matched.x), torch.from_numpy(matched.y), INLIER)
    pose = np.eye(4)
    if not len(found.inliers):
        return 0, pose
    pose[:3, :3], pose[:3, 3] = found.rotations[0].numpy(), found.translations[0].numpy()
    return int(found.inliers[0]), _fit_to_matches(source, target, [matched], pose)


def _closer(
    moving: _Cloud, fixed: _Cloud, T_target_source: Float[np.ndarray, "4 4"]
) -> ScaleEstimate:
    """Prepare at the scale of a similarity, search near it and anew, judge, fit to the matches."""
    source, target = _prepared(moving, fixed, scale_of(T_target_source), fine=True)
    matches = match(source, target, "sign_free_fpfh")
    poses = [to_rigid(T_target_source, source, target)]
    for matched in matches:
        poses += propose(source, target, matched, STARTS)
    best = max((judge(source, target, matches, pose) for pose in poses), key=lambda c: c.score)
    fitted = _fit_to_matches(source, target, matches, best.T_target_source)
    return ScaleEstimate(scale_of(fitted), fitted, float("inf"), best.inliers, best.score, 0.0,
                         float("nan"))


def _settled(moving: _Cloud, fixed: _Cloud, one: ScaleEstimate) -> ScaleEstimate:
    """Look at scales near by, and at the one that is fitted there; return the best of the looks.

    Where little overlaps, a pose that is nearly right agrees with matches at a scale that is a
    tenth off, and a fit to these stays there.
    """
    middle = moving.points.mean(0)
    best = one
    for factor in NEARBY:
        change = np.eye(4)
        change[:3, :3] *= factor
        change[:3, 3] = (1 - factor) * middle
        look = _closer(moving, fixed, one.T_target_source @ change)
        best = max(best, look, key=lambda found: found.score)
    return max(best, _closer(moving, fixed, best.T_target_source), key=lambda found: found.score)


def _fit_to_matches(
    source: Prepared, target: Prepared, matches: list[Matched], pose: Float[np.ndarray, "4 4"]
) -> Float[np.ndarray, "4 4"]:
    """Return the similarity between clouds that fits the matches which agree with a pose.

    pose : (4, 4) between the prepared clouds. More matches agree as the scale gets better, so it is
        fitted until their number repeats.
    """
    x, y = (np.concatenate(part) for part in zip(*matches, strict=True))
    last = -1
    for _ in range(_ROUNDS):
        square = ((x @ pose[:3, :3].T + pose[:3, 3] - y) ** 2).sum(1)
        agree = square < INLIER**2
        if agree.sum() < 3 or agree.sum() == last:
            break
        last = int(agree.sum())
        pose = fit_similarity(x[agree], y[agree], 1 / (1 + square[agree] / INLIER**2))
    return from_prepared(pose, source, target)
