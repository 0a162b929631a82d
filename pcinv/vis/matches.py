"""What a search found, to be looked at: the query and the shapes most like it, side by side."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from pcinv.io import read
from pcinv.types import Mesh, PointCloud
from pcinv.vis.figures import blank, styled
from pcinv.vis.scene import Scene, make_scene
from pcinv.vis.software import draw

MOST = 24
"""Shapes that are shown."""
_APART = 2.5
"""From one shape to the next, in radii."""
_POINTS, _PIXELS, _INCHES = 20_000, 320, 2.0


def captions(query: str, matches: Sequence[Any]) -> list[tuple[str, str]]:
    """Return (file, caption) of the query and the matches, which have file, rank, similarity."""
    shown = [(each.file, f"{each.rank}. {Path(each.file).name}  {each.similarity:.3f}")
             for each in matches[: MOST - 1]]
    return [(query, f"query: {Path(query).name}"), *shown]


@styled
def matches_figure(query: str, matches: Sequence[Any]) -> Any:
    """Return a figure with a picture of the query and of each match, to be saved.

    Raises FileFormatError for a file that cannot be read any more.
    """
    items = captions(query, matches)
    columns = min(4, len(items))
    rows = math.ceil(len(items) / columns)
    figure, axes = blank(columns * _INCHES, rows * (_INCHES + 0.25), rows, columns)
    for axis in axes:
        axis.set_axis_off()
    for axis, (file, caption) in zip(axes, items, strict=False):
        scene = make_scene([("", _fitted(file))], limit=_POINTS)
        axis.imshow(draw(scene, width=_PIXELS, height=_PIXELS, legend=False))
        axis.set_title(caption if len(caption) < 34 else f"{caption[:32]}…", fontsize=7)
    return figure


def scene_of_matches(query: str, matches: Sequence[Any]) -> Scene:
    """Return one scene with the query and the matches, each as large, in rows of four.

    Raises FileFormatError for a file that cannot be read any more.
    """
    items: list[tuple[str, PointCloud | Mesh]] = []
    found = captions(query, matches)
    for number, (file, caption) in enumerate(found):
        down, right = divmod(number, 4)
        items.append((caption, _fitted(file, _APART * np.array([right, -down, 0.0]))))
    return make_scene(items, title=found[0][1], limit=_POINTS * len(items),
                      files=[file for file, _ in found])


def _fitted(file: str, place: Any = 0.0) -> PointCloud | Mesh:
    """Read a shape and bring it into the ball of radius 1 about a place."""
    shape = read(file)
    points = shape.vertices if isinstance(shape, Mesh) else shape.absolute()
    middle = (points.min(0) + points.max(0)) / 2
    radius = float(np.linalg.norm(points - middle, axis=1).max()) or 1.0
    moved = (points - middle) / radius + place
    if isinstance(shape, Mesh):
        return replace(shape, vertices=moved)
    return replace(shape, xyz=moved.astype(np.float32), origin=np.zeros(3), view_point=None)
