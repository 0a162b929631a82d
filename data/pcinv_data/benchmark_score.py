"""The table of a registration benchmark, from its stored rows alone."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from pcinv_data.benchmark_pair import Row, Settings, as_stored
from pcinv_data.pairs import PAIR_SETS

THRESHOLDS = 20
"""Rows of the table over the score."""
SCORES = (0.0, 1.0, 3.0, 5.0, 7.0, 10.0, 15.0, 25.0, 50.0, float("inf"))
"""Edges between the rows of the reliability."""
SHOWN_ERRORS = 5
OPEN = ("ambiguous", "degenerate")
"""How the reasons of a verdict begin that say that shapes alone leave the pose open."""


def score_rows(rows: Sequence[Row], settings: Settings, asked: int) -> dict[str, Any]:
    """Return the figures of a run; see `pcinv_data.benchmark.run_registration`.

    rows : of `run_trial`.  asked : how many trials there are with those that are still to be done.

    Raises InputError if no pair counts for the recall.
    """
    from pcinv.metrics.registration import PairResult, recall_table

    rule = PAIR_SETS[settings.dataset].recall_rule
    pairs = [row for row in rows if not row["negative"]]
    negatives = [row for row in rows if row["negative"]]
    results: list[PairResult] = [judged(row, rule) for row in pairs]
    table = recall_table(results)
    counted = [(row, result) for row, result in zip(pairs, results, strict=True)
               if not result.consecutive]
    trusted = [result.registered for _, result in counted if result.verdict == "trusted"]
    wrongly = sum(row["verdict"] == "trusted" for row in negatives)
    errors = {row["name"]: row["error"]["message"] for row in rows if row["error"] is not None}
    times = [row["time_ms"] for row in pairs if row["time_ms"] is not None]
    answers = [(row["score"], result.registered) for row, result in counted]
    answers += [(row["score"], False) for row in negatives]
    scenes = {name: sum(row["scene"] == name for row, _ in counted)
              for name in table["recall_by_scene"]}
    return {
        "dataset": settings.dataset, "method": settings.method, **table,
        "pairs_by_scene": scenes,
        "time_ms_median": float(np.median(times)) if times else None,
        "verdict_precision": _mean(trusted + [False] * wrongly),
        "verdict_precision_without_negatives": table["verdict_precision"],
        "num_trusted": len(trusted),
        "num_negatives": len(negatives), "negatives_trusted": wrongly,
        "roc": verdict_table([score for score, _ in answers], [right for _, right in answers]),
        "reliability": reliability(
            [row["numbers"].get("features") or "none" for row, _ in counted]
            + [row["numbers"].get("features") or "none" for row in negatives],
            [score for score, _ in answers], [right for _, right in answers]),
        "rule": rule, "rotate": settings.rotate, "view_point": settings.view_point,
        "fast": settings.fast, "voxel": settings.voxel, "seed": settings.seed,
        "num_errors": len(errors), "errors": dict(sorted(errors.items())[:SHOWN_ERRORS]),
        "num_left": asked - len(rows),
    }


def judged(row: Row, rule: str) -> Any:
    """Return the result of a pair, by its poses between the clouds as they are stored."""
    from pcinv.metrics.registration import Body, judge_pair

    motions = None
    if row["source_motion"] is not None:
        motions = np.array(row["source_motion"]), np.array(row["target_motion"])
    truth = as_stored(np.array(row["truth"], np.float64), motions)
    pose = None if row["pose"] is None else as_stored(np.array(row["pose"], np.float64), motions)
    information = None if row["information"] is None else np.array(row["information"], np.float64)
    body = None if row.get("body") is None else Body.from_dict(row["body"])
    reasons = row.get("numbers", {}).get("reasons", ())
    return judge_pair(pose, truth, information, rule=rule, scene=row["scene"], body=body,
                      consecutive=row["consecutive"], overlap=row["overlap"],
                      verdict=row["verdict"], inlier_ratio=row["inlier_ratio"],
                      called_open=any(reason.startswith(OPEN) for reason in reasons))


def verdict_table(scores: Sequence[float], right: Sequence[bool]
                  ) -> list[tuple[float, float, float | None, float | None]]:
    """Return what a threshold on the score alone would do, for thresholds all over the scores.

    scores, right : one an answer.

    Each row is (threshold, share of the answers that reach it, precision: share of those that are
    right, kept: share of the right ones that reach it); None where there are none.
    """
    values, truth = np.asarray(scores, np.float64), np.asarray(right, bool)
    if not len(values):
        return []
    steps = np.linspace(0, 1, THRESHOLDS)
    table = []
    for threshold in np.unique(np.quantile(values, steps, method="lower")).tolist():
        trusted = values >= threshold
        table.append((threshold, float(trusted.mean()), _mean(truth[trusted]),
                      _mean(trusted[truth])))
    return table


def reliability(kinds: Sequence[str], scores: Sequence[float], right: Sequence[bool]
                ) -> dict[str, list[tuple[float, float | None, int, float]]]:
    """Return how often answers of a score are right, for each kind of features alone.

    kinds, scores, right : one an answer.

    Rows are (from, to, answers, share that is right), of scores from one of `SCORES` to the next;
    to is None in the last. Scores without an answer have no row.
    """
    values, truth, names = np.asarray(scores, np.float64), np.asarray(right, bool), np.array(kinds)
    table: dict[str, list[tuple[float, float | None, int, float]]] = {}
    for kind in sorted(set(kinds)):
        table[kind] = []
        for low, high in pairwise(SCORES):
            inside = (names == kind) & (values >= low) & (values < high)
            if inside.any():
                table[kind].append((low, high if np.isfinite(high) else None, int(inside.sum()),
                                    float(truth[inside].mean())))
    return table


def _mean(values: Sequence[bool] | np.ndarray) -> float | None:
    return float(np.mean(values)) if len(values) else None
