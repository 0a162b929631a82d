"""From two prepared clouds to poses with scores: match, propose, refine, score.

The score of a pose is q = n f exp(-25 V): n places whose matches agree, f how firmly the surfaces
hold it, V how much it contradicts what the cameras saw. Agreement alone prefers walls that slide on
walls, and so does the share that overlaps; f and V do not.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float

from pcinv.errors import unknown_name
from pcinv.ops.threads import each_alone, parallel
from pcinv.registration.compatibility import (
    DISTINCT_ANGLE_DEG,
    DISTINCT_SHIFT,
    estimate_poses,
)
from pcinv.registration.correspondences import mutual_matches
from pcinv.registration.free_space import violation
from pcinv.registration.prepare import VOXEL, Prepared
from pcinv.registration.refine import refine

ESTIMATORS = ("sc2", "ransac", "fgr", "kiss")
"""What proposes poses: second-order compatibility, or a published method to compare with."""
INLIER = 2 * VOXEL
MARGIN = 3 * VOXEL
PLACE = 5 * VOXEL
"""Matches nearer to each other tell the same thing: they count as one place."""
MATCHES = {"fpfh": (2, 2500), "patch": (1, 4000), "roitr": (1, 4000)}
"""How many features a match may be among the best of, both ways, and how many matches are kept."""
STARTS = 5
"""Poses of each kind of features that are refined."""
LEAST_FIRM = 1e-3
RANK_BY_SPACE, SCORE_BY_SPACE = 10.0, 25.0
"""How strongly a contradiction of free space counts, before and after refinement."""
UNSEEN = 0.1
"""What the score of a pose is worth that no camera could contradict."""
WHOLE, UNSEEN_WHOLE = 0.9, 0.3
"""The same where nearly all of one cloud meets the other, as a scan of a part meets its model."""


class Matched(NamedTuple):
    """Matched points of one kind of features: x of the source belongs to y of the target."""

    x: Float[np.ndarray, "k 3"]
    y: Float[np.ndarray, "k 3"]


class Candidate(NamedTuple):
    """A refined pose and what speaks for it.

    inliers : matches within `INLIER`, of all kinds of features.
    contradiction : V, 0 where no view point is known.
    """

    T_target_source: Float[np.ndarray, "4 4"]
    score: float
    inliers: int
    firmness: float
    contradiction: float


class Found(NamedTuple):
    """All candidates, best first, and the matches they were found from."""

    candidates: list[Candidate]
    matches: list[Matched]


def match(source: Prepared, target: Prepared, kind: str = "fpfh") -> list[Matched]:
    """Return the matches of a kind of features: mutual ones, a set for each support; or RoITr's."""
    k, limit = MATCHES.get(kind, MATCHES["fpfh"])
    if kind == "roitr":
        from pcinv.registration.joint import match_jointly  # brings the networks

        return [Matched(*match_jointly(source, target, limit))]

    def one(features: tuple[torch.Tensor, torch.Tensor]) -> Matched:
        found = mutual_matches(*features, k=k, limit=limit)
        return Matched(source.points[found.source_index.numpy()],
                       target.points[found.target_index.numpy()])

    return each_alone(one, list(zip(source.features(kind), target.features(kind), strict=True)))


def propose(
    source: Prepared, target: Prepared, matched: Matched, starts: int = STARTS
) -> list[Float[np.ndarray, "4 4"]]:
    """Return the poses most matches agree on, best first, by agreement and free space."""
    found = estimate_poses(torch.from_numpy(matched.x), torch.from_numpy(matched.y), INLIER)
    poses = np.tile(np.eye(4), (len(found.inliers), 1, 1))
    if not len(poses):
        return []
    poses[:, :3, :3], poses[:, :3, 3] = found.rotations.numpy(), found.translations.numpy()
    score = found.inliers.numpy() * np.exp(-RANK_BY_SPACE * contradiction(source, target, poses))
    return list(poses[np.argsort(-score, kind="stable")[:starts]])


def contradiction(
    source: Prepared, target: Prepared, T_target_source: Float[np.ndarray, "h 4 4"]
) -> Float[np.ndarray, " h"]:
    """Return V of each pose: what the cameras that are known speak against it."""
    if source.view_point is None and target.view_point is None:
        return np.zeros(len(T_target_source))
    return violation(source.view, target.view, T_target_source, MARGIN)


def judge(
    source: Prepared, target: Prepared, matches: Iterable[Matched],
    start: Float[np.ndarray, "4 4"],
) -> Candidate:
    """Refine a pose and score it."""
    refined = refine(source, target, start)
    pose = refined.T_target_source
    inliers, places = agreeing(pose, matches)
    space = float(contradiction(source, target, pose[None])[0])
    score = score_of(source, target, places, refined.firmness, space)
    return Candidate(pose, score, inliers, refined.firmness, space)


def score_of(
    source: Prepared, target: Prepared, places: float, firmness: float, contradicted: float,
    overlap: float = 0.0,
) -> float:
    """Return n f exp(-25 V), and a part of n f where there is no view point to know V from.

    overlap : the larger share of a cloud that meets the other, where it is known.
    """
    space = float(np.exp(-SCORE_BY_SPACE * contradicted))
    if source.view_point is None and target.view_point is None:
        space = UNSEEN_WHOLE if overlap >= WHOLE else UNSEEN
    return places * max(firmness, LEAST_FIRM) * space


def agreeing(
    T_target_source: Float[np.ndarray, "4 4"], matches: Iterable[Matched]
) -> tuple[int, float]:
    """Return how many matches a pose brings within `INLIER`, and at how many places they are.

    Places are counted for each kind of features; this is their mean.
    """
    inliers, places = 0, []
    for matched in matches:
        near = matched.x[agree(T_target_source, matched)]
        inliers += len(near)
        places.append(len(np.unique(np.floor(near / PLACE), axis=0)))
    return inliers, float(np.mean(places)) if places else 0.0


def agree(T_target_source: Float[np.ndarray, "4 4"], matched: Matched) -> Bool[np.ndarray, " k"]:
    """Return which matches (K,) a pose brings within `INLIER`."""
    residual = matched.x @ T_target_source[:3, :3].T + T_target_source[:3, 3] - matched.y
    return np.asarray(np.einsum("ki,ki->k", residual, residual) < INLIER**2)


def is_distinct(
    a: Float[np.ndarray, "4 4"], b: Float[np.ndarray, "4 4"], middle: Float[np.ndarray, "3"]
) -> bool:
    """Return whether two poses differ: by 15 degrees, or three inlier distances at `middle`."""
    cosine = (np.einsum("ij,ij->", a[:3, :3], b[:3, :3]) - 1) / 2
    moved = (a[:3, :3] - b[:3, :3]) @ middle + a[:3, 3] - b[:3, 3]
    return bool(cosine < np.cos(np.radians(DISTINCT_ANGLE_DEG))
                or np.linalg.norm(moved) > DISTINCT_SHIFT * INLIER)


def search(
    source: Prepared, target: Prepared, matches: list[Matched], *, estimator: str = "sc2",
    starts: int = STARTS,
) -> Found:
    """Return refined poses, best first, each two of them distinct.

    matches : see `match`.  estimator : a name of `ESTIMATORS`.

    Raises UnknownNameError for another, DependencyError where its package is not installed.
    """
    if estimator not in ESTIMATORS:
        raise unknown_name("estimator", estimator, ESTIMATORS)
    if estimator == "sc2":
        poses = [pose for some in each_alone(
            lambda matched: propose(source, target, matched, starts), matches) for pose in some]
    else:
        from pcinv.registration.baselines import baseline_poses

        poses = baseline_poses(estimator, source, target, matches)
    judged = parallel(lambda pose: judge(source, target, matches, pose), poses)
    kept: list[Candidate] = []
    for candidate in sorted(judged, key=lambda c: -c.score):
        if all(is_distinct(candidate.T_target_source, other.T_target_source, np.zeros(3))
               for other in kept):
            kept.append(candidate)
    return Found(kept, matches)
