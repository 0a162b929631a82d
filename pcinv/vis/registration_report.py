"""A registration benchmark as a page: recall, verdicts, errors, and the pairs that went wrong."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from pcinv.engine.runs import versions
from pcinv.errors import PcinvError
from pcinv.metrics.registration import RULES, VERDICTS
from pcinv.vis import plots
from pcinv.vis.build import Item, as_item, before_and_after
from pcinv.vis.camera import Camera, camera_for
from pcinv.vis.report import Report
from pcinv.vis.scene import LAYER_COLORS, Scene, make_scene, thin, with_layers
from pcinv.vis.software import paint

WORST = 8
"""Pairs that are shown."""
LISTED = 30
MOST_POINTS = 30_000
"""Of both clouds of a picture."""
WIDTH, HEIGHT = 560, 460
SOURCE, TARGET = LAYER_COLORS[:2]
FAR_OFF = 2.0
"""As many times farther away, and the truth would be too small in the picture."""
Pose = Float[np.ndarray, "4 4"]
Clouds = tuple[Float[np.ndarray, "n 3"], Float[np.ndarray, "m 3"]]


@dataclass(frozen=True, eq=False)
class Pair:
    """One pair of a benchmark.

    right : by the rule of the benchmark.
    meets : the clouds show something in common; if not, no answer is right.
    score, verdict, features : of the answer.  error : what was said in place of one, or None.
    rre_deg, rte : degrees, and metres or a share of the body; infinite without an answer.
    overlap : in [0, 1], or None.  time_ms : of the registration, or None.
    T, T_true : (4, 4) T_target_source between the clouds of `load`, or None.
    load : returns the points of source and target, as they were registered.
    """

    name: str
    scene: str
    right: bool
    meets: bool
    score: float
    verdict: str
    features: str
    rre_deg: float
    rte: float
    overlap: float | None
    time_ms: float | None
    error: str | None
    T: Pose | None
    T_true: Pose | None
    load: Callable[[], Clouds]

    @property
    def misleads(self) -> bool:
        """Whether the answer is wrong; for clouds that do not meet, whether it is trusted."""
        return not self.right if self.meets else self.verdict == "trusted"


def worst(pairs: Sequence[Pair], count: int = WORST) -> list[Pair]:
    """Return the pairs to look at first: the wrong ones, those of the highest score first.

    Where none is wrong, those of the lowest score.
    """
    wrong = [pair for pair in pairs if pair.misleads]
    if wrong:
        return sorted(wrong, key=lambda pair: (-pair.score, pair.name))[:count]
    return sorted((pair for pair in pairs if pair.meets),
                  key=lambda pair: (pair.score, pair.name))[:count]


def registration_report(pairs: Sequence[Pair], figures: dict[str, Any], *, command: str = ""
                        ) -> Report:
    """Return the page of a benchmark.

    pairs : all that count.  figures : of `pcinv_data.benchmark.run_registration`.
    command : what was typed, to be told on the page.
    """
    page = Report(f"Registration of {figures['dataset']}")
    if command:
        page.code(command)
    page.facts({
        "data set": figures["dataset"], "method": figures["method"],
        "view point": figures["view_point"], "clouds moved first": figures["rotate"],
        "fast": figures["fast"], "voxel": figures["voxel"] or "chosen from the data",
        "seed": figures["seed"], "counted as right by": f"the rule of {figures['rule']}",
        "versions": versions(),
        "made": datetime.datetime.now().astimezone().isoformat(" ", "minutes")})
    _figures(page, figures)
    _recall(page, figures)
    _verdicts(page, pairs, figures)
    _errors(page, pairs, figures)
    _worst(page, pairs, bool(figures["by_kind"]))
    return page


def _figures(page: Report, figures: dict[str, Any]) -> None:
    of_bodies = bool(figures["by_kind"])
    page.heading("Figures")
    rows = [
        ("pairs that count", figures["num_counted"]),
        ("recall", _share(figures["recall"])),
        ("recall, mean of the scenes", _share(figures["scene_mean_recall"])),
        ("rotation error of the right ones, median", _with(figures["rre_deg_median"], "°")),
        ("centre off, share of the diagonal, median" if of_bodies
         else "translation error of the right ones, median",
         _with(figures["rte_median"], "" if of_bodies else " m")),
        ("inlier ratio", _share(figures["inlier_ratio"])),
        ("feature matching recall", _share(figures["feature_matching_recall"])),
        ("trusted pairs that are right", _share(figures["verdict_precision_without_negatives"])),
        ("right pairs that are trusted", _share(figures["verdict_recall"])),
        ("time of a pair, one thread, median", "-" if figures["time_ms_median"] is None
         else f"{figures['time_ms_median'] / 1e3:.2f} s")]
    if figures["num_negatives"]:
        rows.append(("clouds that do not meet, trusted all the same",
                     f"{figures['negatives_trusted']} of {figures['num_negatives']}"))
    if figures["num_errors"]:
        rows.append(("pairs that failed with an error", figures["num_errors"]))
    page.table(("measured", "value"), [row for row in rows if row[1] != "-"])


def _recall(page: Report, figures: dict[str, Any]) -> None:
    bins = {name: (row["recall"], row["pairs"])
            for name, row in figures["recall_by_overlap"].items()}
    told = "Numbers are pairs, lines the 95 % interval of the share."
    if bins:
        page.heading("Recall by overlap")
        page.figure(plots.shares(bins, "recall", "share of the source that overlaps"), told)
    for kind, rows in figures["by_kind"].items():
        page.heading(f"Bodies: {kind}")
        page.table(("overlap", "pairs", "recall", "not trusted", "called open", "trusted, wrong"), [
            (name, row["pairs"], _share(row["recall"]), _share(row["not_trusted"]),
             _share(row["called_open"]), row["trusted_wrong"]) for name, row in rows.items()])
    scenes = {name: (recall, figures["pairs_by_scene"][name])
              for name, recall in figures["recall_by_scene"].items()}
    page.heading("Recall by class" if figures["by_kind"] else "Recall by scene")
    page.figure(plots.shares(scenes, "recall", ""), told)


def _verdicts(page: Report, pairs: Sequence[Pair], figures: dict[str, Any]) -> None:
    page.heading("Can it be trusted?")
    rows = []
    for verdict in VERDICTS:
        said = [pair for pair in pairs if pair.verdict == verdict]
        rows.append((verdict, sum(pair.right and pair.meets for pair in said),
                     sum(not pair.right and pair.meets for pair in said),
                     sum(not pair.meets for pair in said)))
    page.table(("verdict", "right", "wrong", "do not meet"), rows)
    page.text("The score is that of the evidence for an answer; each bar is the share of right "
              "answers among those with such a score, for each kind of features alone.")
    page.figure(plots.reliability(figures["reliability"], "score"),
                "Numbers are answers, lines the 95 % interval of the share.")
    right = np.array([pair.right and pair.meets for pair in pairs])
    if right.all() or not right.any():
        page.text(f"All answers are {'right' if right.all() else 'wrong'}: there is no curve that "
                  "tells how well the score parts them.")
        return
    page.figure(plots.roc(np.array([pair.score for pair in pairs], np.float64), right,
                          np.array([pair.verdict == "trusted" for pair in pairs])),
                "What a bound on the score would let through, for all bounds.")


def _errors(page: Report, pairs: Sequence[Pair], figures: dict[str, Any]) -> None:
    rule = RULES[figures["rule"]]
    meeting = [pair for pair in pairs if pair.meets]
    of_bodies = bool(figures["by_kind"])
    page.heading("Errors and time")
    page.text("Share of all pairs whose error is at most so large; those without an answer never "
              "are.")
    page.figure(plots.error_curve({"all pairs": [pair.rre_deg for pair in meeting]},
                                  "rotation error, degrees", rule.rre_deg))
    page.figure(plots.error_curve(
        {"all pairs": [pair.rte for pair in meeting]},
        "centre off, share of the diagonal" if of_bodies else "translation error, metres",
        rule.shift if of_bodies else rule.rte))
    times = [pair.time_ms / 1e3 for pair in pairs if pair.time_ms is not None]
    if times:
        page.figure(plots.histogram(times, "seconds a pair, one thread"))


def _worst(page: Report, pairs: Sequence[Pair], of_bodies: bool) -> None:
    page.heading("The worst pairs")
    wrong = sum(pair.misleads for pair in pairs)
    shown = worst(pairs, LISTED)
    if wrong:
        page.text(f"{wrong} pairs are wrong, or trusted although their clouds do not meet. Those "
                  "with the highest score come first: they are the ones that mislead.")
    else:
        page.text("No pair is wrong; these are the ones with the lowest score.")
    page.table(("pair", "overlap", "score", "verdict", "rotation off", "centre off" if of_bodies
                else "moved off", "features"), [
        (pair.name, "-" if pair.overlap is None else f"{pair.overlap:.0%}", f"{pair.score:.2f}",
         pair.verdict, *_off(pair, of_bodies), pair.error or pair.features) for pair in shown])
    page.text("Orange is the source, blue the target.")
    for pair in shown[:WORST]:
        page.text(f"{pair.name}: {pair.verdict}, score {pair.score:.2f}; {_said(pair, of_bodies)}")
        try:
            page.pictures(pictures(pair), least_rem=18)
        except PcinvError as error:
            page.text(f"There is no picture: {error}")


def pictures(pair: Pair) -> list[tuple[np.ndarray, str]]:
    """Return pictures of a pair with their captions: before, after, and as it really is.

    The last two are seen from one place, unless the answer is too far off for that.

    Raises what reading the clouds raises.
    """
    source, target = (as_item(points) for points in pair.load())
    clouds: list[Item] = [("source", source), ("target", target)]
    items, words = list(clouds), ["before"]
    for T, said in ((pair.T, f"after: {'right' if pair.right else 'wrong'}"),
                    (pair.T_true, "the truth")):
        if T is not None:
            items.append(before_and_after(clouds, T)[0])
            words.append(said)
    scene = thin(make_scene(items, color_by="solid"), MOST_POINTS * len(items) // 2)
    scene = with_layers(scene, [(k, {"color": SOURCE if k != 1 else TARGET})
                                for k in range(len(items))])
    sources = (0, *range(2, len(items)))
    seen = [_camera(_with_target(scene, k)) for k in sources]
    if len(seen) == 3:
        both = _camera(_with_target(scene, 2, 3))
        if _distance(both) < FAR_OFF * _distance(seen[2]):
            seen[1:] = [both, both]
    return [(paint(_with_target(scene, k), camera, WIDTH, HEIGHT), said)
            for k, camera, said in zip(sources, seen, words, strict=True)]


def _with_target(scene: Scene, *sources: int) -> Scene:
    """Return the scene with the target and these of its layers visible."""
    return with_layers(scene, [(k, {"visible": k == 1 or k in sources})
                               for k in range(len(scene.layers))])


def _camera(scene: Scene) -> Camera:
    return camera_for(scene, aspect=WIDTH / HEIGHT)


def _distance(camera: Camera) -> float:
    return float(np.linalg.norm(camera.eye - camera.target))


def _off(pair: Pair, of_bodies: bool) -> tuple[str, str]:
    if not pair.meets or not np.isfinite(pair.rre_deg):
        return "-", "-"
    return f"{pair.rre_deg:.1f}°", f"{pair.rte:.2f}{'' if of_bodies else ' m'}"


def _said(pair: Pair, of_bodies: bool) -> str:
    if pair.error is not None:
        return pair.error
    if not pair.meets:
        return "the clouds do not meet"
    return "turned {} and moved {} too far".format(*_off(pair, of_bodies))


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _with(value: float | None, unit: str) -> str:
    return "-" if value is None else f"{value:.3g}{unit}"
