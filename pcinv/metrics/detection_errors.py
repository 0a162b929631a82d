"""Errors of boxes that were found, and the nuScenes detection score.

Caesar et al., CVPR 2020; nuscenes-devkit, detection/algo.py. Attributes are not estimated here: the
score is made of the other four errors, and says so in its name.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from pcinv.metrics.detection import (
    DISTANCES,
    MIN_RECALL,
    Frame,
    Matches,
    match_centres,
    nuscenes_ap,
)

ERROR_DISTANCE = 2.0
"""Between centres, for boxes whose errors are measured."""
ERRORS = ("translation", "scale", "orientation", "velocity")


def true_positive_errors(frames: Sequence[Frame], label: int) -> dict[str, float | None]:
    """Return the mean errors of found boxes of a class: m, 1 - aligned IoU, rad, m/s.

    Each is the mean over recalls above 0.1 of the running mean; 1 where recall does not get there,
    None where none is true, or where there are no velocities.
    """
    matches = match_centres(frames, label, ERROR_DISTANCE)
    if not matches.total:
        return dict.fromkeys(ERRORS)
    rows = [_errors(frames, matches, place) for place in np.flatnonzero(matches.hit).tolist()]
    found: dict[str, float | None] = {}
    for name in ERRORS:
        values = [row[name] for row in rows]
        known = [value for value in values if value is not None]
        found[name] = None if len(known) < len(values) else _over_recall(known, matches)
    return found


def _errors(frames: Sequence[Frame], matches: Matches, place: int) -> dict[str, float | None]:
    frame, row, mine = (frames[matches.frame[place]], matches.found[place], matches.truth[place])
    truth, found = frame.truth, frame.found
    shared = np.minimum(truth.size[mine], found.size[row]).prod()
    union = truth.size[mine].prod() + found.size[row].prod() - shared
    turn = found.yaw[row] - truth.yaw[mine]
    velocity = None
    if truth.velocity is not None and found.velocity is not None:
        velocity = float(np.linalg.norm(found.velocity[row] - truth.velocity[mine]))
    return {
        "translation": float(np.linalg.norm(found.centre[row, :2] - truth.centre[mine, :2])),
        "scale": float(1 - shared / max(union, 1e-12)),
        "orientation": float(abs(np.arctan2(np.sin(turn), np.cos(turn)))),
        "velocity": velocity,
    }


def _over_recall(errors: Sequence[float], matches: Matches) -> float:
    """Return the mean over recalls from 0.11 to the highest reached of the running mean.

    An error that is not known (NaN: a box that is seen once has no velocity) does not count.
    """
    known = np.isfinite(errors)
    if not known.any():
        return 1.0
    running = np.nancumsum(errors) / np.maximum(np.cumsum(known), 1)
    recall = np.cumsum(matches.hit) / matches.total
    score = np.interp(np.linspace(0, 1, 101), recall, matches.score, right=0)
    at = np.interp(score[::-1], matches.score[matches.hit][::-1], running[::-1])[::-1]
    reached = np.flatnonzero(score)
    first, last = round(100 * MIN_RECALL) + 1, reached[-1] if len(reached) else 0
    return float(at[first:last + 1].mean()) if last >= first else 1.0


def nuscenes_scores(frames: Sequence[Frame], class_names: Sequence[str]) -> dict[str, Any]:
    """Return `map`, `nds_no_attributes` and, by class, `ap` (mean of the distances) and `errors`.

    Classes of which none is true are left out of all means. The score is
    (5 mAP + sum of 1 - min(1, error)) / (5 + errors known).
    """
    by_class: dict[str, dict[str, Any]] = {}
    for label, name in enumerate(class_names):
        each = [nuscenes_ap(frames, label, distance) for distance in DISTANCES]
        known = [value for value in each if value is not None]
        if known:
            by_class[name] = {"ap": float(np.mean(known)),
                              "errors": true_positive_errors(frames, label)}
    mean_ap = float(np.mean([row["ap"] for row in by_class.values()])) if by_class else 0.0
    means = {}
    for name in ERRORS:
        values = [row["errors"][name] for row in by_class.values()]
        known = [value for value in values if value is not None]
        if known:
            means[name] = float(np.mean(known))
    kept = sum(1 - min(1.0, value) for value in means.values())
    return {"map": mean_ap, "nds_no_attributes": (5 * mean_ap + kept) / (5 + len(means)),
            "errors": means, "by_class": by_class}
