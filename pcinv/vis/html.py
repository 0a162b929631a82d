"""A scene as one HTML file: it holds all that it needs and asks nothing of the network."""

from __future__ import annotations

import base64
import html
import json
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from pcinv.io.writing import replacing
from pcinv.vis.camera import camera_for
from pcinv.vis.colors import Legend, bar_colors, coloring, mode_of
from pcinv.vis.compose import legends_of
from pcinv.vis.fit import bar_numbers, decimals_of, hex_color, lightened, pixels_of, radius_of
from pcinv.vis.scene import Layer, Lines, Scene, moved_to, with_layers
from pcinv.vis.window_state import color_modes

MOST_POINTS = 300_000
MOST_FACES = 400_000
"""Of meshes; larger ones are shown by their vertices."""
MOST_FAR = 1000.0
"""Radii of a scene between its middle and zero."""
MOST_COLUMNS = 16
"""Of an attribute whose values are shown for a point; features of networks have hundreds."""
_SCRIPTS = ("shaders.js", "draw.js", "panel.js")
_POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'"
"""Tells the browser itself that nothing may be loaded."""


def save_html(scene: Scene, path: str | Path, *, look: str | tuple[float, ...] = "iso",
              up: str = "auto", point_size: float | None = None, force: bool = False) -> None:
    """Write a page that shows the scene in any browser, without a network.

    Clouds of more than `MOST_POINTS` points are thinned, and the page says so.
    look, up : see `camera_for`.
    point_size : diameter in pixels at first; None: the more points, the smaller.
    force : overwrite a file that is there.

    Raises UsageError where the file cannot be put or the view does not exist, UnknownNameError
    for an unknown attribute.
    """
    div = scene_div(scene, look=look, up=up, point_size=point_size, height="100vh")
    title = html.escape(scene.title or "point cloud")
    page = (f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            f"<title>{title}</title>\n{page_script()}\n<style>body {{ margin: 0; }}</style>\n"
            f"</head>\n<body>\n{div}\n</body>\n</html>\n")
    with replacing(Path(path), force=force) as stream:
        stream.write(page.encode())


def page_script() -> str:
    """Return what a page needs once, before its first `scene_div`: the script and the style."""
    folder = resources.files("pcinv.vis") / "page"
    script = "".join((folder / name).read_text("utf-8") for name in _SCRIPTS)
    style = (folder / "scene.css").read_text("utf-8")
    return f"<script>\n{script}</script>\n<style>\n{style}</style>"


def scene_div(scene: Scene, *, look: str | tuple[float, ...] = "iso", up: str = "auto",
              point_size: float | None = None, height: str = "600px") -> str:
    """Return the part of a page that shows one scene; see `page_script`.

    height : of the part, as CSS writes it.

    Raises UsageError, UnknownNameError as `save_html` does.
    """
    scene = _centred(lightened(scene, MOST_POINTS, MOST_FACES))
    data = json.dumps(_data(scene, look, up, point_size), allow_nan=False, separators=(",", ":"))
    data = data.replace("<", "\\u003c")  # no name of a file can end the script
    notes = "".join(f"<li>{html.escape(note)}</li>" for note in scene.notes)
    return (f'<div class="pcinv-scene" style="height: {html.escape(height)}">'
            '<div class="pcinv-view"><canvas class="pcinv-canvas"></canvas>'
            '<div class="pcinv-head">'
            f'<div class="pcinv-title">{html.escape(scene.title)}</div>'
            f'<ul class="pcinv-notes">{notes}</ul>'
            "<noscript>This page draws its scene with JavaScript.</noscript></div></div>"
            f'<div class="pcinv-panel"></div><script type="application/json">{data}</script></div>'
            "<script>pcinvScene(document.currentScript.previousElementSibling)</script>")


def _centred(scene: Scene) -> Scene:
    """Return the scene about its own middle where it is tiny beside how far that is from zero.

    A browser draws with float32, in which such points would be at one place or out of sight.
    """
    low, high = _box(scene)
    middle = (low + high) / 2
    far = np.abs(middle).max() > MOST_FAR * radius_of(low, high)
    return moved_to(scene, scene.origin + middle) if far else scene


def _data(scene: Scene, look: str | tuple[float, ...], up: str, point_size: float | None
          ) -> dict[str, Any]:
    """Return all that the script of the page is told."""
    camera = camera_for(scene, look, up)
    low, high = _box(scene)
    shown = color_modes(scene)
    return {
        "origin": scene.origin.tolist(), "decimals": decimals_of(scene),
        "camera": {"eye": camera.eye.tolist(), "target": camera.target.tolist(),
                   "up": camera.up.tolist()},
        "box": [low.tolist(), high.tolist()], "middle": ((low + high) / 2).tolist(),
        "radius": radius_of(low, high),
        "size": pixels_of(scene) if point_size is None else point_size,
        "mode": mode_of(scene, scene.layers[0]),
        "bar": [hex_color(color) for color in bar_colors(np.linspace(0, 1, 32))],
        "modes": [{"name": mode, "legends": [_legend(each) for each in legends_in(scene, mode)]}
                  for mode in shown],
        "layers": [_layer(scene, layer, shown) for layer in scene.layers],
        "lines": [_lines(lines) for lines in scene.lines if len(lines.start)],
    }


def legends_in(scene: Scene, mode: str) -> list[Legend]:
    """Return the legends of all layers in a mode; a list of layers shows their own colours."""
    shown = [(k, {"visible": True}) for k in range(len(scene.layers))]
    whole = with_layers(replace(scene, color_by=mode, lines=()), shown)
    return [legend for legend in legends_of(whole) if legend.title]


def _layer(scene: Scene, layer: Layer, modes: list[str]) -> dict[str, Any]:
    count = len(layer.points)
    values = {name: each.reshape(count, -1) for name, each in layer.attributes.items()
              if count and each.dtype.kind in "biuf"}
    return {
        "name": layer.name, "color": hex_color(layer.color), "visible": layer.visible,
        "count": count, "points": _array(layer.points),
        "faces": None if layer.faces is None else _array(layer.faces),
        "rows": None if layer.rows is None or np.array_equal(layer.rows, np.arange(count))
        else _array(layer.rows),
        "values": [{"name": name, "columns": each.shape[1], **_array(each)}
                   for name, each in values.items() if each.shape[1] <= MOST_COLUMNS],
        "colors": {mode: _colors(coloring(scene, layer, mode).colors) for mode in modes},
    }


def _lines(lines: Lines) -> dict[str, Any]:
    return {"name": lines.name, "visible": lines.visible, "count": len(lines.start),
            "color": hex_color(lines.colors[0]), "start": _array(lines.start),
            "end": _array(lines.end), "colors": {"palette": _array(lines.colors)}}


def _legend(legend: Legend) -> dict[str, Any]:
    """Return the entries, and the numbers of a bar with their places on it."""
    numbers = None
    if legend.low is not None and legend.high is not None:
        span = legend.high - legend.low
        numbers = [((value - legend.low) / span if span > 0 else 0.5, words)
                   for value, words in bar_numbers(legend.low, legend.high)]
    return {"title": legend.title, "numbers": numbers,
            "entries": [(words, hex_color(color)) for words, color in legend.entries]}


def _colors(colors: np.ndarray) -> dict[str, Any]:
    """Return colours (N, 3) as a palette and the place of each point in it, where that is short."""
    packed = colors.astype(np.uint32) @ np.array([65536, 256, 1], np.uint32)
    palette, index = np.unique(packed, return_inverse=True)
    if len(palette) > 4096:
        return {"palette": _array(colors)}
    channels = np.stack([palette >> 16, palette >> 8 & 255, palette & 255], axis=1)
    return {"palette": _array(channels.astype(np.uint8)), "index": _array(index.reshape(-1))}


def _array(values: np.ndarray) -> dict[str, str]:
    """Return numbers as base64, little-endian; whole ones in the smallest type that holds them."""
    if values.dtype.kind in "biu":
        low, high = int(values.min(initial=0)), int(values.max(initial=0))
        kind = next((name for name in ("u1", "i1", "u2", "i2", "u4", "i4")
                     if np.iinfo(name).min <= low and high <= np.iinfo(name).max), "f8")
    else:
        kind = "f8" if values.dtype.itemsize > 4 else "f4"
    raw = np.ascontiguousarray(values, dtype=f"<{kind}").tobytes()
    return {"type": kind, "data": base64.b64encode(raw).decode()}


def _box(scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    """Return the corners (3,) of all layers and lines, hidden ones too: nothing is cut off."""
    places = [each for layer in scene.layers for each in (layer.points,) if len(each)]
    places += [each for lines in scene.lines for each in (lines.start, lines.end) if len(each)]
    return (np.nanmin([each.min(axis=0) for each in places], axis=0).astype(np.float64),
            np.nanmax([each.max(axis=0) for each in places], axis=0).astype(np.float64))
