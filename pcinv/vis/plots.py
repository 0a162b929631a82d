"""Figures of measurements: what was learned, what was mistaken for what, and how sure one can be.

Each function returns a matplotlib figure that belongs to no window; `pcinv.vis.figures.save_figure`
writes it, `pcinv.vis.report.Report.figure` puts it on a page.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from pcinv.vis.figures import INK, blank, legible, styled

COLORS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#787878", "#8b6d00")
"""Of Okabe and Ito, the darker ones first: told apart by people who see few colours."""
NOT_PLOTTED = ("epoch", "step", "time_s", "clouds_per_s", "pairs_per_s")
TITLES = {"oa": "accuracy", "macc": "mean accuracy of the classes", "lr": "learning rate",
          "instance_miou": "mean IoU of the shapes", "class_miou": "mean IoU of the classes",
          "within_10deg": "share within 10 degrees", "mean_deg": "mean angle, degrees",
          "found": "places found in their batch", "inlier_ratio": "inlier ratio",
          "feature_matching_recall": "feature matching recall"}
MOST_COUNTED = 60
"""Classes of a confusion matrix whose counts can still be written into its cells."""
MOST_NAMED = 75
Record = Mapping[str, Any]


@styled
def learning_curves(runs: Mapping[str, Sequence[Record]],
                    rotations: Mapping[str, Mapping[str, float]] | None = None,
                    score: str = "") -> Any:
    """Return a panel for each metric over the epochs, a colour for each run.

    runs : name -> lines of its metrics.jsonl; those of the validation, "val_", are dashed.
    rotations : as of `by_rotation`, for one more panel.  score : what it shows.
    """
    names = [key.removeprefix("val_") for lines in runs.values() for line in lines
             for key, value in line.items() if _is_number(value) and key not in NOT_PLOTTED]
    metrics = sorted(dict.fromkeys(names), key=lambda name: (name != "loss", name == "lr"))
    panels = len(metrics) + (rotations is not None)
    columns = 2 if panels == 4 else min(3, max(panels, 1))
    rows = -(-max(panels, 1) // columns)
    figure, axes = blank(3.45 * columns + 0.2, 2.5 * rows + 0.5, rows, columns)
    handles = {}
    for axis, metric in zip(axes, metrics, strict=False):
        axis.set_title(TITLES.get(metric, metric.replace("_", " ")))
        axis.set_xlabel("epoch")
        for k, (run, lines) in enumerate(runs.items()):
            for key, dashes in ((metric, "-"), (f"val_{metric}", "--")):
                shown = [(line.get("epoch", j), line[key]) for j, line in enumerate(lines, 1)
                         if _is_number(line.get(key))]
                if shown:
                    handles[run] = axis.plot(
                        *zip(*shown, strict=True), dashes, color=COLORS[k % len(COLORS)],
                        marker="o" if len(shown) < 3 else "", markersize=3)[0]
        axis.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
        if metric == "lr":
            axis.ticklabel_format(axis="y", style="plain", useOffset=False)
    if rotations is not None:
        _grouped_bars(axes[len(metrics)], rotations, list(runs))
        axes[len(metrics)].set_title(f"{TITLES.get(score, score)} by rotation")
    for axis in axes[panels:]:
        axis.set_visible(False)
    _legend_below(figure, handles, any(key.startswith("val_") for lines in runs.values()
                                       for line in lines for key in line))
    return figure


@styled
def by_rotation(scores: Mapping[str, Mapping[str, float]], label: str) -> Any:
    """Return bars of a score by how the clouds were turned: run -> rotation -> value."""
    figure, (axis,) = blank(5.2, 2.8)
    _grouped_bars(axis, scores, list(scores))
    axis.set_ylabel(label)
    if len(scores) > 1:
        axis.legend(loc="upper left", bbox_to_anchor=(1, 1))
    return figure


@styled
def confusion(matrix: Int[np.ndarray, "c c"] | Sequence[Sequence[int]], names: Sequence[str]
              ) -> Any:
    """Return counts of predicted (columns) by true classes (rows), darker the larger their share.

    Where they fit, the counts are written into the cells; cells of nothing stay empty.
    """
    from matplotlib import colormaps
    from matplotlib.collections import PolyCollection

    counts = np.asarray(matrix)
    count = len(names)
    cell = float(np.clip(8.0 / max(count, 1), 0.155, 0.55))
    if count > MOST_COUNTED:
        cell = max(8.0 / count, 0.02)
    longest = max((len(_short(name)) for name in names), default=0) * 0.07
    figure, (axis,) = blank(cell * count + longest + 1.0, cell * count + longest + 0.8)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    rows, columns = np.nonzero(counts)
    corners = np.array([(0, 0), (1, 0), (1, 1), (0, 1)]) - 0.5
    places = np.stack([columns, rows], axis=1)
    depths = 0.12 + 0.88 * shares[rows, columns]  # one of many is to be seen, too
    axis.add_collection(PolyCollection(list(places[:, None] + corners), edgecolors="none",
                                       facecolors=colormaps["Blues"](depths)))
    if count <= MOST_COUNTED:
        for row, column in zip(rows, columns, strict=True):
            axis.text(column, row, f"{counts[row, column]}", ha="center", va="center",
                      color="#ffffff" if shares[row, column] > 0.5 else "#000000",
                      fontsize=float(np.clip(cell * 24, 5, 9)))
    ticks = range(0, count, max(1, -(-count // MOST_NAMED)))
    size = float(np.clip(cell * 60 * ticks.step, 5, 8))
    axis.set_xticks(ticks, [_short(names[k]) for k in ticks], rotation=90, fontsize=size)
    axis.set_yticks(ticks, [_short(names[k]) for k in ticks], fontsize=size)
    axis.set_xlim(-0.5, count - 0.5)
    axis.set_ylim(count - 0.5, -0.5)
    axis.set_aspect("equal")
    axis.grid(visible=count <= MOST_COUNTED)
    axis.set_xlabel("predicted")
    axis.set_ylabel("true")
    return figure


@styled
def by_class(values: Mapping[str, Mapping[str, float]], label: str) -> Any:
    """Return a bar for each class and run: run -> class -> value from 0 to 1."""
    classes = list(dict.fromkeys(name for row in values.values() for name in row))
    high = 0.8 / max(len(values), 1)
    figure, (axis,) = blank(7.0, max(1.6, len(classes) * max(0.19, 0.13 * len(values)) + 0.9))
    for k, (run, row) in enumerate(values.items()):
        places = [j + (k - (len(values) - 1) / 2) * high for j, name in enumerate(classes)
                  if name in row]
        axis.barh(places, [row[name] for name in classes if name in row], high, label=_short(run),
                  color=COLORS[k % len(COLORS)])
    axis.set_yticks(range(len(classes)), [_short(name) for name in classes])
    axis.set_ylim(len(classes) - 0.4, -0.6)
    axis.set_xlim(0, 1)
    axis.set_xlabel(label)
    axis.grid(axis="y", visible=False)
    if len(values) > 1:
        axis.legend(loc="upper left", bbox_to_anchor=(1, 1))
    return figure


@styled
def invariance(errors: Mapping[str, float], tolerance: float) -> Any:
    """Return the worst relative error of each kind of change, with what is promised."""
    figure, (axis,) = blank(6.0, 0.3 * len(errors) + 1.0)
    least = min([tolerance, *(error for error in errors.values() if 0 < error < np.inf)]) / 30
    most = max([tolerance, *(error for error in errors.values() if error < np.inf)]) * 30
    for k, error in enumerate(errors.values()):
        shown = float(np.clip(error, least, most))
        axis.barh(k, shown - least, left=least, height=0.6,
                  color=COLORS[0] if error <= tolerance else COLORS[4])
        axis.annotate(f"{error:.1e}" if error else "exact", (shown, k), (4, 0), va="center",
                      textcoords="offset points", fontsize=8)
    axis.axvline(tolerance, color=INK, linestyle=":", label=f"promised: {tolerance:.0e}")
    _log_axis(axis, least, most)
    axis.set_yticks(range(len(errors)), list(errors))
    axis.set_ylim(len(errors) - 0.4, -0.6)
    axis.grid(axis="y", visible=False)
    axis.set_xlabel("worst relative error")
    axis.legend(loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0)
    return figure


@styled
def shares(rows: Mapping[str, tuple[float | None, int]], label: str, below: str) -> Any:
    """Return a bar for each name: a share of so many, with its 95 % interval (Wilson).

    rows : name -> (share or None, count).
    """
    if max((len(name) for name in rows), default=0) > 8:
        return _lying_shares(rows, label)
    figure, (axis,) = blank(float(np.clip(0.62 * len(rows) + 1.2, 3.2, 10.5)), 2.6)
    _share_bars(axis, {"": rows}, list(rows))
    axis.set_ylabel(label)
    axis.set_xlabel(below)
    return figure


@styled
def reliability(bins: Mapping[str, Sequence[tuple[float, float | None, int, float]]], below: str,
                diagonal: bool = False) -> Any:
    """Return how often answers of a score are right: kind -> (from, to, answers, share right).

    diagonal : draw where the shares would be if the score were a probability.
    """
    edges = sorted({(low, high) for rows in bins.values() for low, high, _, _ in rows},
                   key=lambda pair: pair[0])
    names = {pair: f"{pair[0]:g}–{pair[1]:g}" if pair[1] is not None else f"≥ {pair[0]:g}"
             for pair in edges}
    table = {kind: {names[low, high]: (right, count) for low, high, count, right in rows}
             for kind, rows in bins.items()}
    figure, (axis,) = blank(float(np.clip(0.7 * len(edges) + 2.2, 4.5, 10.5)), 2.8)
    _share_bars(axis, table, list(names.values()))
    if diagonal:
        middles = [(low + (1.0 if high is None else high)) / 2 for low, high in edges]
        axis.plot(range(len(edges)), middles, color=INK, linestyle=":", marker=".",
                  label="as certain as right")
    axis.set_ylabel("share that is right")
    axis.set_xlabel(below)
    if len(table) > 1 or diagonal:
        axis.legend(loc="upper left", bbox_to_anchor=(1, 1))
    return figure


@styled
def roc(scores: Float[np.ndarray, " n"], right: Bool[np.ndarray, " n"],
        trusted: Bool[np.ndarray, " n"]) -> Any:
    """Return how well a score tells right from wrong answers, and where the verdict stands.

    trusted : by the verdict.  Both kinds of answers must be there.
    """
    wrong_kept, right_kept = roc_points(scores, right)
    area = float(np.trapezoid(right_kept, wrong_kept))
    figure, (axis,) = blank(4.0, 3.8)
    axis.plot(wrong_kept, right_kept, color=COLORS[0], label=f"score, area {area:.3f}")
    axis.plot([0, 1], [0, 1], color=INK, linestyle=":", linewidth=1)
    axis.plot(trusted[~right].mean(), trusted[right].mean(), "o", color=COLORS[4],
              label="verdict: trusted")
    axis.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal",
             xlabel="share of the wrong answers above", ylabel="share of the right answers above")
    axis.legend(loc="lower right")
    return figure


def roc_points(scores: Float[np.ndarray, " n"], right: Bool[np.ndarray, " n"]
               ) -> tuple[np.ndarray, np.ndarray]:
    """Return the shares of wrong and of right answers that reach each score, from the highest."""
    order = np.argsort(-scores, kind="stable")
    last = np.append(np.diff(scores[order]) != 0, True)  # equal scores are one step
    share = [np.append(0.0, np.cumsum(kind[order])[last] / kind.sum()) for kind in (~right, right)]
    return share[0], share[1]


@styled
def error_curve(errors: Mapping[str, Sequence[float]], below: str, bound: float | None = None
                ) -> Any:
    """Return the share of all pairs with at most an error: kind -> errors, infinite for none.

    bound : below which a pair counts, if the rule has one.
    """
    figure, (axis,) = blank(4.3, 2.8)
    finite = [value for row in errors.values() for value in row if 0 < value < np.inf]
    low, high = (min(finite) / 2, max(finite) * 2) if finite else (0.1, 1.0)
    for k, (kind, row) in enumerate(errors.items()):
        values = np.sort(np.clip(np.asarray(row, np.float64), low, None))
        heights = np.arange(1, len(values) + 1) / max(len(values), 1)
        seen = np.isfinite(values)
        places, heights = values[seen], heights[seen]
        axis.step([low, *places, high], [0, *heights, heights[-1] if len(heights) else 0],
                  where="post", color=COLORS[k % len(COLORS)], label=kind)
    if bound is not None:
        axis.axvline(bound, color=INK, linestyle=":", label=f"bound {bound:g}")
        low, high = min(low, bound / 2), max(high, bound * 2)
    _log_axis(axis, low, high)
    axis.set(ylim=(0, 1.02), xlabel=below, ylabel="share of the pairs")
    if len(errors) > 1 or bound is not None:
        axis.legend(loc="lower right")
    return figure


@styled
def histogram(values: Sequence[float], below: str, label: str = "pairs") -> Any:
    """Return how often values occur."""
    figure, (axis,) = blank(4.9, 2.6)
    axis.hist(values, bins=min(30, max(5, len(values) // 4)), color=COLORS[0], edgecolor="#ffffff",
              linewidth=0.5)
    axis.set(xlabel=below, ylabel=label)
    axis.yaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    return figure


def _grouped_bars(axis: Any, values: Mapping[str, Mapping[str, float]], order: Sequence[str]
                  ) -> None:
    """Draw a group for each inner name and a bar for each outer one, with its number above."""
    names = list(dict.fromkeys(name for row in values.values() for name in row))
    wide = 0.8 / max(len(values), 1)
    for k, (run, row) in enumerate(values.items()):
        places = [j + (k - (len(values) - 1) / 2) * wide for j, name in enumerate(names)
                  if name in row]
        bars = axis.bar(places, [row[name] for name in names if name in row], wide * 0.92,
                        color=COLORS[order.index(run) % len(COLORS)], label=_short(run))
        axis.bar_label(bars, fmt="%.3f" if len(values) < 4 else "%.2f", fontsize=7, padding=1)
    axis.set_xticks(range(len(names)), names)
    axis.set_ylim(0, 1.08)
    axis.grid(axis="x", visible=False)


def _share_bars(axis: Any, table: Mapping[str, Mapping[str, tuple[float | None, int]]],
                names: Sequence[str]) -> None:
    wide = 0.8 / max(len(table), 1)
    for k, (kind, rows) in enumerate(table.items()):
        shown = [(j, *rows[name]) for j, name in enumerate(names)
                 if name in rows and rows[name][0] is not None]
        places = [j + (k - (len(table) - 1) / 2) * wide for j, _, _ in shown]
        axis.bar(places, [share for _, share, _ in shown], wide * 0.92,
                 color=COLORS[k % len(COLORS)], label=_short(kind))
        for place, (_, share, count) in zip(places, shown, strict=True):
            low, high = interval(float(share or 0.0), count)
            axis.plot([place, place], [low, high], color=INK, linewidth=1)
            axis.text(place, max(high, float(share or 0.0)) + 0.02, f"{count}", ha="center",
                      fontsize=7)
    axis.set_xticks(range(len(names)), [_short(name) for name in names])
    axis.set_ylim(0, 1.12)
    axis.set_yticks([0, 0.25, 0.5, 0.75, 1])
    axis.grid(axis="x", visible=False)


def _lying_shares(rows: Mapping[str, tuple[float | None, int]], label: str) -> Any:
    """Return bars that lie, for long names."""
    figure, (axis,) = blank(7.2, 0.26 * len(rows) + 0.8)
    for k, (share, count) in enumerate(rows.values()):
        if share is None:
            continue
        low, high = interval(share, count)
        axis.barh(k, share, 0.7, color=COLORS[0])
        axis.plot([low, high], [k, k], color=INK, linewidth=1)
        axis.text(max(high, share) + 0.02, k, f"{count}", va="center", fontsize=7)
    axis.set_yticks(range(len(rows)), [_short(name, 48) for name in rows])
    axis.set_ylim(len(rows) - 0.4, -0.6)
    axis.set_xlim(0, 1.12)
    axis.set_xticks([0, 0.25, 0.5, 0.75, 1])
    axis.set_xlabel(label)
    axis.grid(axis="y", visible=False)
    return figure


def interval(share: float, count: int, z: float = 1.96) -> tuple[float, float]:
    """Return the interval of Wilson (1927) about a share of `count`, 95 % for z = 1.96."""
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * np.sqrt(share * (1 - share) / count
                                             + z * z / (4 * count * count))
    return float(max(middle - half, 0.0)), float(min(middle + half, 1.0))


def _log_axis(axis: Any, low: float, high: float) -> None:
    """Lay out a logarithmic axis with plain numbers: formulas are not set here."""
    from matplotlib.ticker import LogLocator

    axis.set_xscale("log")
    axis.set_xlim(low, high)
    axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 1e4 * low else (1,)))
    axis.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axis.xaxis.set_minor_formatter(lambda value, _: "")


def _legend_below(figure: Any, handles: Mapping[str, Any], has_validation: bool) -> None:
    from matplotlib.lines import Line2D

    entries: list[tuple[str, Any, Any]] = [
        (_short(run), handle.get_color(), "-") for run, handle in handles.items()]
    entries = entries if len(entries) > 1 else []
    if has_validation:
        entries += [("training", INK, "-"), ("validation", INK, "--")]
    if entries:
        lines = [Line2D([], [], color=color, linestyle=dashes) for _, color, dashes in entries]
        figure.legend(lines, [words for words, _, _ in entries], loc="outside lower left",
                      ncols=min(4, len(entries)))


def _short(words: str, most: int = 32) -> str:
    words = legible(words)
    return words if len(words) <= most else f"{words[: most - 1]}…"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and bool(
        np.isfinite(value))
