"""Registration benchmarks: the result of a pair, and the table of a whole set.

Sources: recall, Zeng et al., CVPR 2017 (3DMatch) and Huang et al., CVPR 2021 (Predator); inlier
ratio and feature matching recall, Deng, Birdal, Ilic, CVPR 2018 (PPFNet).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from jaxtyping import Float

from pcinv.errors import InputError
from pcinv.metrics.pose_errors import (
    RULES,
    SuccessRule,
    body_errors,
    feature_matching_recall,
    find_rule,
    information_rmse,
    inlier_ratio,
    is_registered,
    point_rmse,
    rotation_error_deg,
    translation_error,
)
from pcinv.metrics.symmetry import Body, Symmetry

__all__ = [
    "RULES",
    "Body",
    "PairResult",
    "SuccessRule",
    "Symmetry",
    "body_errors",
    "feature_matching_recall",
    "information_rmse",
    "inlier_ratio",
    "is_registered",
    "judge_pair",
    "point_rmse",
    "recall_table",
    "rotation_error_deg",
    "translation_error",
]

OVERLAP_EDGES = (0.0, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0)
VERDICTS = ("trusted", "suspect", "failed")


@dataclass(frozen=True)
class PairResult:
    """What `recall_table` needs to know of one pair.

    scene : what averages are taken over.  registered : by the rule of the benchmark.
    rre_deg, rte, rmse : degrees and metres; infinite without an estimate, rmse None without
        information. Of a body: up to its symmetry, and the shift of its centre as a share of its
        diagonal instead of metres.
    consecutive : neighbours in time, which count for inlier ratios but not for the recall.
    overlap : in [0, 1], or None.  verdict : one of `VERDICTS`, or None.
    inlier_ratio : of the correspondences that were used, or None.
    kind : of the body, "plain", "symmetric" or "hidden"; None where no body is known.
    called_open : the verdict gives another pose or an open motion as a reason.
    """

    scene: str
    registered: bool
    rre_deg: float
    rte: float
    rmse: float | None = None
    consecutive: bool = False
    overlap: float | None = None
    verdict: str | None = None
    inlier_ratio: float | None = None
    kind: str | None = None
    called_open: bool = False


def judge_pair(
    T: Float[np.ndarray, "4 4"] | None,
    T_true: Float[np.ndarray, "4 4"],
    information: Float[np.ndarray, "6 6"] | None = None,
    *,
    rule: str = "3dmatch",
    scene: str = "",
    body: Body | None = None,
    **facts: Any,
) -> PairResult:
    """Return the result of one pair; without an estimate (None) it is not registered.

    T, T_true : (4, 4).  information : (6, 6) or None.  rule : one of `RULES`.
    body : in the frame of the source, or None.
    facts : `consecutive`, `overlap`, `verdict`, `inlier_ratio` and `called_open` of `PairResult`.
    """
    find_rule(rule)
    if body is not None:
        facts["kind"] = body.kind
    if T is None:
        return PairResult(scene, False, float("inf"), float("inf"), **facts)
    if body is None:
        rre_deg, rte = rotation_error_deg(T, T_true), translation_error(T, T_true)
    else:
        rre_deg, rte = body_errors(T, T_true, body)
    return PairResult(
        scene=scene,
        registered=is_registered(T, T_true, information, rule=rule, body=body),
        rre_deg=rre_deg,
        rte=rte,
        rmse=None if information is None else information_rmse(T, T_true, information),
        **facts,
    )


def recall_table(
    results: Sequence[PairResult], overlap_edges: Sequence[float] = OVERLAP_EDGES
) -> dict[str, Any]:
    """Return the figures of a benchmark as plain values, ready for JSON; None where undefined.

    results : one a pair.  overlap_edges : bounds of the bins, each with its lower one.

    num_pairs, num_counted : all pairs, and those that count for the recall (not consecutive).
    recall : share of the counted pairs that are registered; each pair weighs the same.
    recall_by_scene, scene_mean_recall, scene_std_recall : of each scene; their mean, which the
        papers of 3DMatch report, and their standard deviation.
    rre_deg_median, rte_median : over the counted, registered pairs, in degrees and metres.
    rre_deg_scene_mean, rte_scene_mean : mean over the scenes of their medians, as Predator reports.
    recall_by_overlap : "0.1-0.3" -> {"pairs", "recall"} of counted pairs whose overlap is known.
    by_kind : kind of the body -> the same bins, of each also "not_trusted" and "called_open", the
        shares whose verdict is another than "trusted", and names another pose or an open motion,
        and "trusted_wrong", how many are trusted and not right.
    verdict_precision : share of the trusted pairs that are registered.
    verdict_recall : share of the registered pairs that are trusted. Both over counted pairs.
    inlier_ratio, feature_matching_recall : over all pairs, mean over the scenes of their means.
    num_unjudged : counted pairs whose error is infinite although there was an estimate.

    Raises InputError if no pair counts, or a verdict is not one of `VERDICTS`.
    """
    for result in results:
        if result.verdict is not None and result.verdict not in VERDICTS:
            raise InputError(f"verdict '{result.verdict}'", where="results",
                             hint=f"one of: {', '.join(VERDICTS)}")
    counted = [r for r in results if not r.consecutive]
    if not counted:
        raise InputError(f"none of {len(results)} pairs counts", where="results",
                         hint="take pairs that are not consecutive, or more of them")
    right = [r for r in counted if r.registered]
    by_scene = {name: float(np.mean([r.registered for r in rows]))
                for name, rows in _scenes(counted).items()}
    judged = [r for r in counted if r.verdict is not None]
    trusted = [r for r in judged if r.verdict == "trusted"]
    return {
        "num_pairs": len(results),
        "num_counted": len(counted),
        "num_unjudged": sum(r.rmse == float("inf") and r.rte < float("inf") for r in counted),
        "recall": _share(counted),
        "recall_by_scene": by_scene,
        "scene_mean_recall": float(np.mean(list(by_scene.values()))),
        "scene_std_recall": float(np.std(list(by_scene.values()))),
        "rre_deg_median": _number(np.median, [r.rre_deg for r in right]),
        "rte_median": _number(np.median, [r.rte for r in right]),
        "rre_deg_scene_mean": _over_scenes(right, np.median, lambda r: r.rre_deg),
        "rte_scene_mean": _over_scenes(right, np.median, lambda r: r.rte),
        "recall_by_overlap": _by_overlap(counted, overlap_edges),
        "by_kind": _by_kind(counted, overlap_edges),
        "verdict_precision": _share(trusted),
        "verdict_recall": _number(
            np.mean, [r.verdict == "trusted" for r in judged if r.registered]
        ),
        "inlier_ratio": _over_scenes(results, np.mean, lambda r: r.inlier_ratio),
        "feature_matching_recall": _over_scenes(
            results, feature_matching_recall, lambda r: r.inlier_ratio
        ),
    }


def _scenes(rows: Sequence[PairResult]) -> dict[str, list[PairResult]]:
    return {name: [r for r in rows if r.scene == name] for name in sorted({r.scene for r in rows})}


def _share(rows: Sequence[PairResult]) -> float | None:
    return _number(np.mean, [r.registered for r in rows])


def _number(reduce: Callable[[Any], Any], values: Sequence[float]) -> float | None:
    return float(reduce(values)) if len(values) else None


def _over_scenes(
    rows: Sequence[PairResult],
    reduce: Callable[[Any], Any],
    value: Callable[[PairResult], float | None],
) -> float | None:
    """Return the mean over the scenes of one figure of each, without pairs that lack the value."""
    scenes = [[v for r in s if (v := value(r)) is not None] for s in _scenes(rows).values()]
    return _number(np.mean, [float(reduce(values)) for values in scenes if values])


def _by_overlap(
    rows: Sequence[PairResult], edges: Sequence[float]
) -> dict[str, dict[str, float | int | None]]:
    return {name: {"pairs": len(inside), "recall": _share(inside)}
            for name, inside in _bins(rows, edges).items()}


def _by_kind(
    rows: Sequence[PairResult], edges: Sequence[float]
) -> dict[str, dict[str, dict[str, float | int | None]]]:
    kinds = {}
    for kind in sorted({r.kind for r in rows if r.kind is not None}):
        kinds[kind] = {name: {
            "pairs": len(inside), "recall": _share(inside),
            "not_trusted": _number(np.mean, [r.verdict != "trusted" for r in inside]),
            "called_open": _number(np.mean, [r.called_open for r in inside]),
            "trusted_wrong": sum(r.verdict == "trusted" and not r.registered for r in inside),
        } for name, inside in _bins([r for r in rows if r.kind == kind], edges).items()}
    return kinds


def _bins(rows: Sequence[PairResult], edges: Sequence[float]) -> dict[str, list[PairResult]]:
    """Return "low-high" -> the rows whose overlap is in this bin, without empty bins."""
    bins = {}
    for low, high in pairwise(edges):
        inside = [r for r in rows if r.overlap is not None
                  and (low <= r.overlap < high or r.overlap == high == edges[-1])]
        if inside:
            bins[f"{low:g}-{high:g}"] = inside
    return bins
