"""How points get their colours, and the legend that says what these mean."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8

from pcinv.errors import unknown_name
from pcinv.vis.camera import up_of
from pcinv.vis.scene import Layer, Scene

COLORMAP = "viridis"
LABELS = ("label", "labels", "part", "prediction", "class", "classification", "semantic",
          "instance", "category", "segment")
"""Names of attributes that are kinds and not quantities."""
MOST_KINDS = 40
"""Different whole numbers that are still told apart by their colours."""
GREY = (160, 160, 160)
"""Of points whose value is not finite, and of whole numbers below 0: no label."""
CLIP = (1.0, 99.0)
"""Percentiles at the ends of a colour bar, so that one stray value does not take it all."""
COLOR_NAMES = ("color", "colour", "rgb")
HIDDEN_AXES = ("x", "y", "z", "height")
NOT_FINITE = "not finite"


@dataclass(frozen=True)
class Legend:
    """What colours mean: entries for kinds, or a bar from `low` to `high`.

    entries : (words, (r, g, b)).
    """

    title: str
    entries: tuple[tuple[str, tuple[int, int, int]], ...] = ()
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Coloring:
    """Colours (N, 3) of the points of a layer, and their legend, if they have one."""

    colors: UInt8[np.ndarray, "n 3"]
    legend: Legend | None = None


def modes(layer: Layer) -> list[str]:
    """Return the ways in which a layer can be coloured, the best first."""
    named = [name for name, values in layer.attributes.items() if _is_shown(values)]
    first = [name for name in ("color", *LABELS, "distance", "intensity") if name in named]
    return [*first, "height", *(["normal"] if "normal" in named else []), "solid",
            *(name for name in named if name not in (*first, "normal")), "x", "y"]


def mode_of(scene: Scene, layer: Layer) -> str:
    """Return how a layer is coloured in the scene: what was asked for, or what tells most."""
    if scene.color_by != "auto":
        return scene.color_by
    if len(scene.layers) > 1 or (layer.faces is not None and "color" not in layer.attributes):
        return "solid"
    return modes(layer)[0]


def coloring(scene: Scene, layer: Layer, mode: str | None = None) -> Coloring:
    """Return the colours of a layer; a colour bar has the same ends for all layers of the scene.

    mode : "auto", "solid" (one colour a layer), "height", "x", "y", "z", "color", "normal", or the
        name of an attribute; the scene's own where None. A layer without an attribute that another
        one has keeps its own colour.

    Raises UnknownNameError where no layer has such an attribute; the hint names those there are.
    """
    mode = mode_of(scene, layer) if mode in (None, "auto") else str(mode)
    count = len(layer.points)
    if mode not in HIDDEN_AXES and mode != "solid":
        having = [other for other in scene.layers if mode in other.attributes]
        if mode not in layer.attributes and not having:
            known = dict.fromkeys(name for other in scene.layers for name in modes(other))
            raise unknown_name("attribute", mode, list(known), where=layer.name)
    if mode == "solid" or not _has(layer, mode):
        return Coloring(uniform(layer.color, count))
    found = _quantity(scene, layer, mode)
    if found is not None:
        return _bar(found[0], found[1], _ends(scene, layer, mode))
    values = layer.attributes[mode]
    if mode in COLOR_NAMES:
        return Coloring(_as_bytes(values[:, :3]))
    if mode == "normal":
        return Coloring(_as_bytes((np.nan_to_num(values) + 1) / 2))
    return _kinds(mode, values.reshape(count), layer.words.get(mode, ()))


def _has(layer: Layer, mode: str) -> bool:
    return mode in HIDDEN_AXES or mode in layer.attributes


def _quantity(scene: Scene, layer: Layer, mode: str) -> tuple[str, Float[np.ndarray, " n"]] | None:
    """Return what a colour bar shows and the values (N,), or None for colours and kinds."""
    if mode in HIDDEN_AXES and mode not in layer.attributes:
        up = up_of(scene) if mode == "height" else mode
        axis = "xyz".index(up[-1])
        values = layer.points[:, axis].astype(np.float64) + scene.origin[axis]
        name = mode if up in ("z", mode) else f"{mode} ({up})"
        return name, -values if up.startswith("-") else values
    values = layer.attributes[mode]
    if values.ndim == 2 and values.shape[1] > 1:
        plain = ((values.shape[1] in (3, 4) and mode in COLOR_NAMES)
                 or (values.shape[1] == 3 and mode == "normal"))
        return None if plain else (f"length of {mode}",
                                   np.linalg.norm(values.astype(np.float64), axis=1))
    values = values.reshape(len(layer.points))
    return None if is_kind(mode, values) else (mode, values.astype(np.float64))


def _ends(scene: Scene, layer: Layer, mode: str) -> tuple[float, float] | None:
    """Return the ends of the colour bar over all layers, or None where no value is finite."""
    if mode in scene.ends:
        return scene.ends[mode]
    layers = scene.layers if any(other is layer for other in scene.layers) else (layer,)
    found = [quantity[1] for other in layers if _has(other, mode)
             and (quantity := _quantity(scene, other, mode)) is not None]
    values = np.concatenate(found)
    values = values[np.isfinite(values)]
    if not len(values):
        return None
    low, high = np.percentile(values, CLIP)
    return float(low), float(high)


def ends_of(scene: Scene) -> dict[str, tuple[float, float]]:
    """Return the ends of the colour bars of all quantities, to keep them for another scene."""
    found = {}
    for layer in scene.layers:
        for mode in (*HIDDEN_AXES, *layer.attributes):
            if mode not in found and _has(layer, mode) and _quantity(scene, layer, mode):
                ends = _ends(scene, layer, mode)
                if ends is not None:
                    found[mode] = ends
    return found


def is_kind(name: str, values: np.ndarray) -> bool:
    """Return whether the values of an attribute are kinds: labels, or a few whole numbers."""
    if values.dtype == bool:
        return True
    if not np.issubdtype(values.dtype, np.integer):
        return name.lower() in LABELS and bool((values == np.round(values)).all())
    return name.lower() in LABELS or len(np.unique(values)) <= MOST_KINDS // 2


def kind_colors(kinds: np.ndarray) -> UInt8[np.ndarray, "k 3"]:
    """Return a colour for each whole number: the same number has the same colour everywhere."""
    table = np.concatenate([_table(name) for name in ("tab10", "Dark2", "Set2", "tab20b")])
    colors = table[np.asarray(kinds, np.int64) % len(table)]
    colors[np.asarray(kinds) < 0] = GREY
    return colors


def _kinds(name: str, values: np.ndarray, words: tuple[str, ...]) -> Coloring:
    kinds, inverse, counts = np.unique(values.astype(np.int64), return_inverse=True,
                                       return_counts=True)
    colors = kind_colors(kinds)
    shown = np.sort(np.argsort(-counts, kind="stable")[:MOST_KINDS])
    words = ("no", "yes") if values.dtype == bool else words
    entries = [(words[kinds[k]] if 0 <= kinds[k] < len(words)
                else "none" if words and kinds[k] < 0 else f"{kinds[k]}", _rgb(colors[k]))
               for k in shown]
    if len(shown) < len(kinds):
        entries.append((f"and {len(kinds) - len(shown)} more", GREY))
    return Coloring(colors[inverse.reshape(-1)], Legend(name, tuple(entries)))


def _bar(name: str, values: Float[np.ndarray, " n"], ends: tuple[float, float] | None) -> Coloring:
    if ends is None:
        return Coloring(uniform(GREY, len(values)), Legend(name, (("none", GREY),)))
    finite, (low, high) = np.isfinite(values), ends
    share = (np.where(finite, values, low) - low) / (high - low) if high > low else 0.5 + 0 * values
    colors = bar_colors(np.clip(share, 0, 1))
    colors[~finite] = GREY
    entries = () if finite.all() else ((NOT_FINITE, GREY),)
    return Coloring(colors, Legend(name, entries, low, high))


def bar_colors(share: Float[np.ndarray, " n"]) -> UInt8[np.ndarray, "n 3"]:
    """Return the colour of each share (N,) from 0 to 1 of the colour bar."""
    table = _table(COLORMAP)
    return table[np.round(share * (len(table) - 1)).astype(np.int64)]


def uniform(color: tuple[int, int, int], count: int) -> UInt8[np.ndarray, "n 3"]:
    """Return one colour (N, 3) for `count` points."""
    return np.tile(np.array(color, np.uint8), (count, 1))


def _table(name: str) -> UInt8[np.ndarray, "k 3"]:
    import matplotlib

    colormap = matplotlib.colormaps[name]
    return _as_bytes(colormap(np.arange(colormap.N))[:, :3])


def _is_shown(values: np.ndarray) -> bool:
    return values.dtype.kind in "biuf" and values.ndim in (1, 2) and values.size > 0


def _as_bytes(values: np.ndarray) -> UInt8[np.ndarray, "n c"]:
    if values.dtype == np.uint8:
        return values
    if np.issubdtype(values.dtype, np.integer):  # 16 bits a channel in scans of surveyors
        return (values >> 8 if values.max(initial=0) > 255 else values).astype(np.uint8)
    return np.asarray(np.round(np.clip(values, 0, 1) * 255).astype(np.uint8))


def _rgb(color: np.ndarray) -> tuple[int, int, int]:
    return int(color[0]), int(color[1]), int(color[2])
