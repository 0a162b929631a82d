"""A scene made light enough for a browser, and words for its numbers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pcinv.vis.colors import Legend
from pcinv.vis.compose import legends_of
from pcinv.vis.scene import Layer, Scene, thin, with_layers


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


def legends_in(scene: Scene, mode: str) -> list[Legend]:
    """Return the legends of all layers in a mode; a list of layers shows their own colours."""
    shown = [(k, {"visible": True}) for k in range(len(scene.layers))]
    whole = with_layers(replace(scene, color_by=mode, lines=()), shown)
    return [legend for legend in legends_of(whole) if legend.title]


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


def ends_in_words(low: float, high: float) -> tuple[str, str]:
    """Return the ends of a colour bar with as many decimals as tell them apart."""
    span = high - low
    decimals = int(np.clip(2 - np.floor(np.log10(span)), 0, 12)) if span > 0 else 3
    return f"{low:.{decimals}f}", f"{high:.{decimals}f}"


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
