"""The figure of what networks reach on damaged clouds: a panel for each corruption."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from pcinv.vis.figures import blank, legible, styled
from pcinv.vis.plots import COLORS

MARKERS = "os^Dv<>P"
_COLUMNS = 3
_LONGEST = 32
_CLOSEST = 0.09


@styled
def severity_curves(
    runs: Mapping[str, Mapping[str, Sequence[float]]],
    severities: Mapping[str, Sequence[float]],
    units: Mapping[str, str],
    label: str,
) -> Any:
    """Return a panel for each corruption, a line for each run.

    runs : name -> corruption -> score from 0 to 1 at each of its severities.
    units : corruption -> what its severities count.  label : what the score is.
    """
    columns = 2 if len(severities) in (2, 4) else min(_COLUMNS, len(severities))
    rows = -(-len(severities) // columns)
    figure, axes = blank(2.9 * columns + 0.5, 2.5 * rows + 0.25 * (1 + len(runs) // columns),
                         rows, columns)
    for k, (axis, (kind, row)) in enumerate(zip(axes, severities.items(), strict=False)):
        for j, (name, scores) in enumerate(runs.items()):
            axis.plot(row, scores[kind], color=COLORS[j % len(COLORS)], markersize=4,
                      marker=MARKERS[j % len(MARKERS)], clip_on=False,
                      linestyle=("-", "--", ":")[j // len(COLORS) % 3], label=_short(name))
        axis.set_title(kind)
        axis.set_xlabel(units[kind])
        axis.set_ylim(0, 1)
        if _fit(row):
            axis.set_xticks(list(row), [f"{value:g}" for value in row])
        if k % columns == 0:
            axis.set_ylabel(label)
    for axis in axes[len(severities) :]:
        axis.set_visible(False)
    if len(runs) > 1:
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower left",
                      ncols=columns)
    return figure


def _fit(row: Sequence[float]) -> bool:
    """Return whether the numbers of all severities can stand below the axis."""
    places = sorted(set(row))
    gaps = [high - low for low, high in pairwise(places)]
    return not gaps or min(gaps) >= _CLOSEST * (places[-1] - places[0])


def _short(words: str) -> str:
    """Return a name without its middle where it is long: both ends tell it from others."""
    words = legible(words)
    half = _LONGEST // 2
    return words if len(words) <= _LONGEST else f"{words[:half]}…{words[1 - half:]}"
