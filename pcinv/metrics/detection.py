"""Detection of boxes: average precision as KITTI and as nuScenes define it.

KITTI (Geiger, Lenz, Urtasun, CVPR 2012; devkit evaluate_object.cpp): a box is found where its
overlap passes a limit; precision at 40 recalls (Simonelli et al., ICCV 2019). Its grades of
difficulty are of pictures. Where there is none, `DIFFICULTIES` takes for the height in the picture
what the devkit's camera would make of the box at its distance, and for how much is hidden the
number of points on it: that part is ours.

nuScenes (Caesar et al., CVPR 2020; nuscenes-devkit, detection/algo.py): a box is found where its
centre is near; precision and recall below 0.1 do not count. Errors of found boxes are in
`pcinv.metrics.detection_errors`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from pcinv.metrics.rotated_iou import rotated_iou
from pcinv.types import Boxes

FOCAL = 721.5
"""Of KITTI's cameras, pixels: a height h at distance d is FOCAL * h / d pixels high."""
RECALLS = 40
DISTANCES = (0.5, 1.0, 2.0, 4.0)
"""Limits of nuScenes, metres between centres from above."""
MIN_RECALL = MIN_PRECISION = 0.1


class Difficulty(NamedTuple):
    """What a true box must have to count: height in the picture, and points on it."""

    pixels: float
    points: int


DIFFICULTIES = {"easy": Difficulty(40, 20), "moderate": Difficulty(25, 10),
                "hard": Difficulty(25, 5)}


@dataclass(frozen=True)
class Frame:
    """What is in a scan, and what was found in it.

    truth, found : boxes of all classes.  score : (K,) of what was found.
    """

    truth: Boxes
    found: Boxes
    score: Float[np.ndarray, " k"]


def take(boxes: Boxes, rows: Int[np.ndarray, " r"] | Bool[np.ndarray, " m"]) -> Boxes:
    """Return some of the boxes."""
    return replace(
        boxes, centre=boxes.centre[rows], size=boxes.size[rows], yaw=boxes.yaw[rows],
        label=boxes.label[rows], instance=boxes.instance[rows],
        velocity=None if boxes.velocity is None else boxes.velocity[rows],
        num_points=None if boxes.num_points is None else boxes.num_points[rows])


def counts_at(boxes: Boxes, difficulty: Difficulty) -> Bool[np.ndarray, " m"]:
    """Return which true boxes count at a difficulty."""
    away = np.linalg.norm(boxes.centre[:, :2], axis=1)
    visible = FOCAL * boxes.size[:, 2] >= difficulty.pixels * away
    if boxes.num_points is not None:
        visible &= boxes.num_points >= difficulty.points
    found: np.ndarray = visible
    return found


def kitti_ap(
    frames: Sequence[Frame], label: int, limit: float, difficulty: Difficulty | None = None,
    *, solid: bool = True,
) -> float | None:
    """Return the average precision in [0, 1] of a class over 40 recalls; None where none is true.

    limit : overlap from which a box is found, 0.7 of cars and 0.5 of people.
    difficulty : true boxes that do not count at it may be found or not; all count where None.
    solid : overlap in 3D, else from above.
    """
    sheets, total = [], 0
    for frame in frames:
        truth, chosen = take(frame.truth, frame.truth.label == label), frame.found.label == label
        found, score = take(frame.found, chosen), frame.score[chosen]
        valid = np.ones(len(truth), bool) if difficulty is None else counts_at(truth, difficulty)
        total += int(valid.sum())
        sheets.append((rotated_iou(truth, found)[int(solid)], valid, score))
    if not total:
        return None
    scores = np.concatenate([_found_scores(*sheet, limit) for sheet in sheets])
    precision = np.zeros(RECALLS + 1)
    for k, lowest in enumerate(_thresholds(scores, total)):
        hits, wrong = np.sum([_count(*sheet, limit, lowest) for sheet in sheets], axis=0)
        precision[k] = hits / max(hits + wrong, 1)
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    return float(precision[1:].mean())


def _found_scores(
    overlap: np.ndarray, valid: np.ndarray, score: np.ndarray, limit: float
) -> np.ndarray:
    """Return the scores of what finds the boxes that count: for each the surest one."""
    free = np.ones(len(score), bool)
    kept = []
    for row in range(len(valid)):
        fits = np.flatnonzero(free & (overlap[row] > limit))
        if len(fits):
            best = fits[score[fits].argmax()]
            free[best] = False
            if valid[row]:
                kept.append(score[best])
    return np.array(kept)


def _thresholds(scores: np.ndarray, total: int) -> list[float]:
    """Return the scores at which recall comes nearest to 0, 1/40, 2/40, ... as far as it gets.

    The devkit takes no score twice, so that few true boxes leave recalls without a precision; here
    they have that of the nearest. With 40 found boxes or more it is the same.
    """
    if not len(scores):
        return []
    ordered = np.sort(scores)[::-1]
    reached = np.arange(1, len(ordered) + 1) / total
    last = min(RECALLS, int(np.ceil(RECALLS * reached[-1] - 1e-9)))
    nearest = np.abs(reached[None] - np.arange(last + 1)[:, None] / RECALLS).argmin(1)
    return [float(score) for score in ordered[nearest]]


def _count(
    overlap: np.ndarray, valid: np.ndarray, score: np.ndarray, limit: float, lowest: float
) -> tuple[int, int]:
    """Return hits and false alarms with this score or more: a box takes the largest overlap."""
    sure = score >= lowest
    free, hits = sure.copy(), 0
    for row in range(len(valid)):
        fits = np.flatnonzero(free & (overlap[row] > limit))
        if len(fits):
            free[fits[overlap[row, fits].argmax()]] = False
            hits += int(valid[row])
    return hits, int(free.sum())


class Matches(NamedTuple):
    """What was found, the surest first.

    hit : (D,) bool.  score : (D,).  frame, found, truth : (D,) rows; truth -1 for a false alarm.
    total : true boxes.
    """

    hit: Bool[np.ndarray, " d"]
    score: Float[np.ndarray, " d"]
    frame: Int[np.ndarray, " d"]
    found: Int[np.ndarray, " d"]
    truth: Int[np.ndarray, " d"]
    total: int


def match_centres(frames: Sequence[Frame], label: int, distance: float) -> Matches:
    """Match what was found, the surest first, each with the nearest true box that is left."""
    total = 0
    rows: list[tuple[float, int, int]] = []
    free: list[np.ndarray] = []
    for k, frame in enumerate(frames):
        mine = frame.truth.label == label
        total += int(mine.sum())
        free.append(mine.copy())
        rows += [(float(frame.score[row]), k, int(row))
                 for row in np.flatnonzero(frame.found.label == label)]
    rows.sort(key=lambda row: (-row[0], row[1], row[2]))
    truth = np.full(len(rows), -1)
    for place, (_, k, row) in enumerate(rows):
        left = np.flatnonzero(free[k])
        if not len(left):
            continue
        frame = frames[k]
        away = np.linalg.norm(frame.truth.centre[left, :2] - frame.found.centre[row, :2], axis=1)
        if away.min() < distance:
            truth[place] = left[away.argmin()]
            free[k][truth[place]] = False
    columns = np.array(rows, np.float64).reshape(-1, 3)
    return Matches(truth >= 0, columns[:, 0], columns[:, 1].astype(np.int64),
                   columns[:, 2].astype(np.int64), truth, total)


def nuscenes_ap(frames: Sequence[Frame], label: int, distance: float) -> float | None:
    """Return the average precision in [0, 1] of a class; None where none is true.

    distance : between centres from above, below which a box is found, metres.
    """
    matches = match_centres(frames, label, distance)
    if not matches.total:
        return None
    if not matches.hit.any():
        return 0.0
    hits = np.cumsum(matches.hit)
    precision, recall = hits / np.arange(1, len(hits) + 1), hits / matches.total
    at = np.interp(np.linspace(0, 1, 101), recall, precision, right=0)
    at = np.maximum(at[round(100 * MIN_RECALL) + 1:] - MIN_PRECISION, 0)
    return float(at.mean() / (1 - MIN_PRECISION))
