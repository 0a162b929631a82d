"""A scene made light enough for a browser, and words for its numbers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pcinv.vis.scene import Layer, Scene, thin, with_layers
from pcinv.vis.window_tools import number_words

LEAST_RADIUS = 1e-9
"""Of what is looked at: points at one place have no extent."""
BAR_LETTERS = 32
"""That fit in a line below a colour bar."""


def lightened(scene: Scene, points: int, faces: int) -> Scene:
    """Return the scene with so many points and faces at most, and notes of what is left out.

    A mesh with more faces is shown by its vertices, as a cloud.
    """
    heavy = [k for k, layer in enumerate(scene.layers)
             if layer.faces is not None and len(layer.faces) > faces]
    notes = [f"{scene.layers[k].name} is drawn as points: it has {_faces(scene.layers[k]):,} faces"
             for k in heavy]
    scene = with_layers(scene, [(k, {"faces": None}) for k in heavy])
    return thin(replace(scene, notes=(*scene.notes, *notes)), points)


def bar_numbers(low: float, high: float) -> list[tuple[float, str]]:
    """Return the numbers of a colour bar, and how they are written: its ends, round ones between.

    Where both ends are the same there is one number. Round ones that would touch another number
    are left out.
    """
    if not high > low:
        return [(low, bar_number(low, 0.0))]
    span = high - low
    ends = [(value, bar_number(value, span)) for value in (low, high)]
    letters = max(len(words) for _, words in ends)
    apart = (letters + 1) / (BAR_LETTERS - letters) if letters < BAR_LETTERS else 1.0
    most = min(4, int(1 / apart))  # so far apart are all that are left
    between = [value for value, _ in ticks(low, high, most)] if most else []
    return [ends[0], *((value, bar_number(value, span)) for value in between
                       if apart <= (value - low) / span <= 1 - apart), ends[1]]


def bar_number(value: float, span: float) -> str:
    """Return a number with as many decimals as tell apart the ends of a bar of this span."""
    decimals = int(2 - np.floor(np.log10(span))) if span > 0 else 13
    if decimals > 12 or abs(value) >= 1e9:
        return number_words(float(value))
    return f"{round(value, max(decimals, 0)) + 0.0:.{max(decimals, 0)}f}"  # never "-0.00"


def ticks(low: float, high: float, count: int = 5) -> list[tuple[float, str]]:
    """Return about `count` round numbers from `low` to `high`, and how they are written."""
    if not high > low:
        return [(low, f"{low:.6g}")]
    step = 10.0 ** np.floor(np.log10((high - low) / count))
    step *= next(m for m in (1, 2, 5, 10) if (high - low) / (step * m) <= count)
    decimals = max(0, -int(np.floor(np.log10(step) + 1e-9)))
    first = int(np.ceil(low / step - 1e-9))
    last = int(np.floor(high / step + 1e-9))
    return [(k * step, f"{k * step:.{decimals}f}") for k in range(first, last + 1)]


def radius_of(low: np.ndarray, high: np.ndarray) -> float:
    """Return half the diagonal of a box with corners (3,), or a little for points at one place."""
    return max(float(np.linalg.norm(high - low)) / 2, LEAST_RADIUS)


def decimals_of(scene: Scene) -> int:
    """Return the decimals at which two points of a scene can still be told apart."""
    low, high = scene.bounds()
    extent = float((high - low).max())
    return int(np.clip(6 - np.floor(np.log10(extent)), 0, 12)) if extent > 0 else 6


def pixels_of(scene: Scene) -> float:
    """Return a diameter of points in pixels: the more there are, the smaller."""
    count = sum(len(layer.points) for layer in scene.layers if layer.visible)
    return float(np.clip(np.round(1100 / np.sqrt(max(count, 1)), 1), 2, 7))


def hex_color(color: tuple[int, int, int] | np.ndarray) -> str:
    """Return a colour as pages write it: "#e69f00"."""
    red, green, blue = (int(channel) for channel in color)
    return f"#{red:02x}{green:02x}{blue:02x}"


def _faces(layer: Layer) -> int:
    return 0 if layer.faces is None else len(layer.faces)
