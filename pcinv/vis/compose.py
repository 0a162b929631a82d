"""Title, legend and notes, written on a picture of a scene by matplotlib."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import UInt8

from pcinv.vis.colors import GREY, Legend, bar_colors, coloring, mode_of
from pcinv.vis.scene import Scene
from pcinv.vis.window_tools import cut_short

BACKGROUND = (255, 255, 255)
INK = "#1a1a1a"
MOST_LETTERS = 40
MOST_ENTRIES = 16
"""Of a legend that fit beside a picture."""
POINTS_AN_INCH = 72.0
LETTERS_A_LINE = 0.8
"""Of the title beside the legend, for each letter's height of the picture's width."""


def legends_of(scene: Scene) -> list[Legend]:
    """Return what the colours of all that is visible mean: each legend once."""
    layers = [layer for layer in scene.layers if layer.visible and len(layer.points)]
    found: dict[str, Legend] = {}
    plain = []
    for layer in layers:
        legend = coloring(scene, layer).legend
        if legend is None:
            if mode_of(scene, layer) not in ("color", "normal"):
                plain.append((layer.name, layer.color))
        elif legend.title in found:  # kinds of several layers in one
            both = dict([*found[legend.title].entries, *legend.entries])
            found[legend.title] = Legend(legend.title, tuple(both.items()), legend.low, legend.high)
        else:
            found[legend.title] = legend
    lines = [(each.name, _rgb(each.colors[0])) for each in scene.lines
             if each.visible and len(each.start)]
    if plain or lines:
        found["layers"] = Legend("", tuple([*plain, *lines]))
    return list(found.values())


def compose(image: UInt8[np.ndarray, "h w 3"], scene: Scene) -> UInt8[np.ndarray, "h w 3"]:
    """Return the picture (H, W, 3) with the scene's title, legends and notes on it."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    height, width = image.shape[:2]
    size = float(np.clip(height / 55, 8, 30))  # of letters, in pixels
    figure = Figure(figsize=(width / 100, height / 100), dpi=100)
    canvas: Any = FigureCanvasAgg(figure)
    figure.figimage(image, zorder=-1)
    points = size * POINTS_AN_INCH / 100
    margin = size / width
    title = cut_short(scene.title, int(width / size * LETTERS_A_LINE))
    _write(figure, margin, 1 - size / height, title, points * 1.25, va="top", weight="bold")
    _write(figure, margin, size / height, "\n".join(scene.notes), points, va="bottom")
    top = height - 1.2 * size
    for legend in legends_of(scene):
        if legend.low is None or legend.high is None:
            top = _entries(figure, legend, width, top, size) - size
        else:
            top = _bar(figure, legend.title, (legend.low, legend.high), width, top, size) - size
            if legend.entries:
                top = _entries(figure, replace(legend, title=""), width, top, size) - size
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # names in scripts that the font does not have
        canvas.draw()
    return np.asarray(canvas.buffer_rgba())[:, :, :3].copy()


def _write(figure: Any, x: float, y: float, words: str, points: float, **how: Any) -> None:
    """Write words as they are: names of files may hold the dollars of formulas."""
    if words:
        figure.text(x, y, words, fontsize=points, color=INK, parse_math=False,
                    bbox={"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 2},
                    **how)


def _entries(figure: Any, legend: Legend, width: int, top: float, size: float) -> float:
    """Draw a swatch and words for each kind at the right, and return where it ends, in pixels."""
    from matplotlib.lines import Line2D

    height = figure.bbox.height
    shown = list(legend.entries[:MOST_ENTRIES])
    if len(legend.entries) > len(shown):
        shown.append((f"and {len(legend.entries) - len(shown)} more", GREY))
    handles = [Line2D([], [], linestyle="", marker="o", markersize=size * 0.6,
                      color="#{:02x}{:02x}{:02x}".format(*color)) for _, color in shown]
    box = figure.legend(
        handles, [cut_short(words, MOST_LETTERS) for words, _ in shown], title=legend.title or None,
        loc="upper right", bbox_to_anchor=(1 - size / width, top / height), framealpha=0.85,
        fontsize=size * POINTS_AN_INCH / 100, title_fontsize=size * POINTS_AN_INCH / 100,
        edgecolor="none", labelcolor=INK)
    for text in (*box.get_texts(), box.get_title()):
        text.set_parse_math(False)
    return float(box.get_window_extent(figure.canvas.get_renderer()).y0)


def _bar(figure: Any, title: str, ends: tuple[float, float], width: int, top: float, size: float
         ) -> float:
    """Draw a colour bar with its numbers at the right, and return where it ends, in pixels."""
    from matplotlib.patches import Rectangle
    from matplotlib.ticker import MaxNLocator

    low, high = ends
    height, length = figure.bbox.height, size * 14
    at = (1 - 7 * size / width, (top - length - 1.5 * size) / height, size / width, length / height)
    figure.patches.append(Rectangle(
        (at[0] - 1.5 * size / width, at[1] - size / height), 8 * size / width,
        at[3] + 3 * size / height, transform=figure.transFigure, color="white", alpha=0.85, lw=0))
    axes = figure.add_axes(at, zorder=2)  # above the white that it lies on
    axes.imshow(bar_colors(np.linspace(0, 1, 256))[:, None], aspect="auto", origin="lower",
                extent=(0, 1, *(ends if low < high else (low - 0.5, low + 0.5))))
    places = [t for t in MaxNLocator(5).tick_values(low, high) if low <= t <= high]
    axes.set_yticks(places if low < high else [low],
                    [f"{place:.6g}" for place in places] if low < high else [f"{low:.6g}"])
    axes.set_xticks([])
    axes.yaxis.tick_right()
    axes.tick_params(labelsize=size * POINTS_AN_INCH / 100, colors=INK)
    axes.set_title(cut_short(title, 20), fontsize=size * POINTS_AN_INCH / 100, loc="left",
                   color=INK, parse_math=False)
    return top - length - 2.5 * size


def _rgb(color: np.ndarray) -> tuple[int, int, int]:
    return int(color[0]), int(color[1]), int(color[2])
