"""From two prepared clouds to poses with scores: match, propose, rank, refine, score.

The score of a pose is q = n f exp(-20 V): n matches that agree, f how firmly the surfaces hold it,
V how much it contradicts what the cameras saw. Agreement alone prefers walls that slide on walls,
and so does the share that overlaps; f and V do not.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float

from pcinv.registration.compatibility import (
    DISTINCT_ANGLE_DEG,
    DISTINCT_SHIFT,
    estimate_poses,
)
from pcinv.registration.correspondences import mutual_matches
from pcinv.registration.free_space import violation
from pcinv.registration.prepare import SUPPORTS, VOXEL, Prepared
from pcinv.registration.refine import refine

INLIER = 2 * VOXEL
MARGIN = 3 * VOXEL
STARTS = 5
"""Poses of each support that are refined."""
LEAST_FIRM = 1e-3
RANK_BY_SPACE, SCORE_BY_SPACE = 10.0, 20.0
"""How strongly a contradiction of free space counts, before and after refinement."""
UNSEEN = 0.03
"""What the score of a pose is worth that no camera could contradict, and whose firmness is about
the centroid. Of 40 pairs of fragments of different rooms, the best scores were 13 with view points,
and 400 times this without."""
WHOLE, UNSEEN_WHOLE = 0.9, 0.2
"""The same where nearly all of one cloud meets the other, as a scan of a part meets its model."""


class Matched(NamedTuple):
    """Matched points of one support: x of the source belongs to y of the target."""

    x: Float[np.ndarray, "k 3"]
    y: Float[np.ndarray, "k 3"]


class Candidate(NamedTuple):
    """A refined pose and what speaks for it.

    inliers : matches within `INLIER`, of all supports.
    contradiction : V, 0 where no view point is known.
    """

    T_target_source: Float[np.ndarray, "4 4"]
    score: float
    inliers: int
    firmness: float
    contradiction: float


class Found(NamedTuple):
    """All candidates, best first, and the number of matches they were found from."""

    candidates: list[Candidate]
    matches: list[Matched]


def match(
    source: Prepared, target: Prepared, support: tuple[int, int], *, sign_free: bool = False
) -> Matched:
    """Return the mutual matches of the features of one support."""
    found = mutual_matches(source.features(support, sign_free=sign_free),
                           target.features(support, sign_free=sign_free))
    return Matched(source.points[found.source_index.numpy()],
                   target.points[found.target_index.numpy()])


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
    """Return V of each pose; 0 unless both view points are known."""
    if source.view is None or target.view is None:
        return np.zeros(len(T_target_source))
    return violation(source.view, target.view, T_target_source, MARGIN)


def judge(
    source: Prepared, target: Prepared, matches: Iterable[Matched],
    start: Float[np.ndarray, "4 4"],
) -> Candidate:
    """Refine a pose and score it."""
    refined = refine(source, target, start)
    pose = refined.T_target_source
    inliers = sum(count_inliers(pose, matched) for matched in matches)
    space = float(contradiction(source, target, pose[None])[0])
    score = score_of(source, target, inliers, refined.firmness, space)
    return Candidate(pose, score, inliers, refined.firmness, space)


def score_of(
    source: Prepared, target: Prepared, inliers: int, firmness: float, contradicted: float,
    overlap: float = 0.0,
) -> float:
    """Return n f exp(-20 V), and a small part of n f where there is no view point to know V from.

    overlap : the larger share of a cloud that meets the other, where it is known.
    """
    space = float(np.exp(-SCORE_BY_SPACE * contradicted))
    if source.view is None or target.view is None:
        space = UNSEEN_WHOLE if overlap >= WHOLE else UNSEEN
    return inliers * max(firmness, LEAST_FIRM) * space


def count_inliers(T_target_source: Float[np.ndarray, "4 4"], matched: Matched) -> int:
    """Return how many matches a pose brings within `INLIER`."""
    residual = matched.x @ T_target_source[:3, :3].T + T_target_source[:3, 3] - matched.y
    return int((np.einsum("ki,ki->k", residual, residual) < INLIER**2).sum())


def is_distinct(
    a: Float[np.ndarray, "4 4"], b: Float[np.ndarray, "4 4"], middle: Float[np.ndarray, "3"]
) -> bool:
    """Return whether two poses differ: by 15 degrees, or three inlier distances at `middle`."""
    cosine = (np.einsum("ij,ij->", a[:3, :3], b[:3, :3]) - 1) / 2
    moved = (a[:3, :3] - b[:3, :3]) @ middle + a[:3, 3] - b[:3, 3]
    return bool(cosine < np.cos(np.radians(DISTINCT_ANGLE_DEG))
                or np.linalg.norm(moved) > DISTINCT_SHIFT * INLIER)


def search(
    source: Prepared, target: Prepared, *, sign_free: bool = False,
    supports: Iterable[tuple[int, int]] = SUPPORTS, starts: int = STARTS,
) -> Found:
    """Return refined poses, best first, each two of them distinct."""
    matches = [match(source, target, support, sign_free=sign_free) for support in supports]
    poses = [pose for matched in matches for pose in propose(source, target, matched, starts)]
    judged = [judge(source, target, matches, pose) for pose in poses]
    kept: list[Candidate] = []
    for candidate in sorted(judged, key=lambda c: -c.score):
        if all(is_distinct(candidate.T_target_source, other.T_target_source, np.zeros(3))
               for other in kept):
            kept.append(candidate)
    return Found(kept, matches)
