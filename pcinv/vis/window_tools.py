"""What clicks and rectangles in a picture mean for the points behind it; nothing of windows."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float

from pcinv.errors import InputError
from pcinv.types import PointCloud
from pcinv.vis.scene import Layer, Scene, drawn

REACH = 8.0
"""Pixels from a click within which a point is meant."""
SAME_DEPTH = 0.02
"""Points at most this share farther than the front-most one count as being in front as well."""
MOST_FITTED = 10_000
MOVED = 1e-4
"""Share of the extent by which points may miss their places in the file, which are rounded."""
Box = tuple[float, float, float, float]
"""Left, top, right and bottom of a rectangle, in pixels."""


@dataclass(frozen=True)
class Eye:
    """How a window shows a scene at a moment.

    matrix : (4, 4) from the scene's coordinates to clip space, as of OpenGL: depths -1 to 1.
    width, height : of the picture, in pixels.
    """

    matrix: Float[np.ndarray, "4 4"]
    width: float
    height: float

    def project(self, points: Float[np.ndarray, "n 3"]
                ) -> tuple[Float[np.ndarray, "n 2"], Float[np.ndarray, " n"]]:
        """Return places (N, 2) in the picture, right and down, and depths (N,), 0 and less behind.

        Places of points that are behind the eye are not finite.
        """
        clip = points @ self.matrix[:, :3].T + self.matrix[:, 3]
        depth = clip[:, 3]
        share = clip[:, :2] / np.where(depth > 0, depth, np.nan)[:, None]
        return np.stack([(share[:, 0] + 1) / 2 * self.width,
                         (1 - share[:, 1]) / 2 * self.height], axis=1), depth

    def corners(self, box: Box) -> Float[np.ndarray, "4 3"]:
        """Return places (4, 3), near to the eye, that are seen at the corners of a rectangle."""
        left, top, right, bottom = box
        seen = np.array([(left, top), (right, top), (right, bottom), (left, bottom)])
        clip = np.column_stack([2 * seen[:, 0] / self.width - 1, 1 - 2 * seen[:, 1] / self.height,
                                np.zeros(4), np.ones(4)])
        places = np.linalg.solve(self.matrix, clip.T).T
        return np.asarray(places[:, :3] / places[:, 3:])


@dataclass(frozen=True)
class Cut:
    """A rectangle in a picture, and whether what is inside it stays or goes."""

    eye: Eye
    box: Box
    keep: bool


def nearest_to_click(points: Float[np.ndarray, "n 3"], eye: Eye, click: tuple[float, float],
                     reach: float = REACH) -> int | None:
    """Return the row of the point that a click means, or None where there is none.

    Of the points within `reach` pixels those in front count, and of these the one nearest to the
    click: never one that is behind a point which the click hits exactly.
    """
    places, depth = eye.project(points)
    away = ((places - np.asarray(click)) ** 2).sum(axis=1)
    with np.errstate(invalid="ignore"):
        rows = np.flatnonzero(away <= reach * reach)
    if not len(rows):
        return None
    rows = rows[depth[rows] <= depth[rows].min() * (1 + SAME_DEPTH)]
    return int(rows[np.lexsort((depth[rows], away[rows]))[0]])


def inside(points: Float[np.ndarray, "n 3"], eye: Eye, box: Box) -> Bool[np.ndarray, " n"]:
    """Return which points are seen in a rectangle, be they hidden by others or not."""
    left, top, right, bottom = box
    places, _ = eye.project(points)
    with np.errstate(invalid="ignore"):
        return np.asarray((places[:, 0] >= left) & (places[:, 0] <= right)
                          & (places[:, 1] >= top) & (places[:, 1] <= bottom))


def stays(points: Float[np.ndarray, "n 3"], cuts: Sequence[Cut]) -> Bool[np.ndarray, " n"]:
    """Return which points no cut has taken away."""
    left = np.ones(len(points), bool)
    for cut in cuts:
        left &= inside(points, cut.eye, cut.box) == cut.keep
    return left


def box_of(start: tuple[float, float], end: tuple[float, float]) -> Box:
    """Return the rectangle between two corners, given in any order."""
    return (min(start[0], end[0]), min(start[1], end[1]),
            max(start[0], end[0]), max(start[1], end[1]))


def crop_whole(cloud: PointCloud, layer: Layer, origin: Float[np.ndarray, "3"],
               cuts: Sequence[Cut]) -> PointCloud:
    """Return what cuts leave of a file, of all its points and not of those that are drawn only.

    cloud : read from the file of the layer again.
    origin : of the scene.

    Raises InputError where nothing is left, or the file is no longer the one that is shown.
    """
    left = stays(in_scene(cloud, layer, origin), cuts)
    if not left.any():
        raise InputError("the crop holds no points", where=layer.name,
                         hint="draw a larger rectangle")
    return PointCloud(cloud.xyz[left], cloud.origin,
                      {name: values[left] for name, values in cloud.attributes.items()},
                      cloud.view_point)


def in_scene(cloud: PointCloud, layer: Layer, origin: Float[np.ndarray, "3"]
             ) -> Float[np.ndarray, "n 3"]:
    """Return where a scene shows all points (N, 3) of a file of which the layer shows some.

    A layer may have been moved; how is found from the points that it shows.

    Raises InputError where the points of the file are not those of the layer.
    """
    rows = np.arange(len(layer.points)) if layer.rows is None else layer.rows
    changed = InputError("the file is not the one that is shown here", where=layer.file,
                         hint="it was changed: open it again")
    if len(cloud) != layer.total or not len(rows):
        raise changed
    some = drawn(len(rows), min(1.0, MOST_FITTED / len(rows)))
    places = cloud.absolute()
    source, target = places[rows[some]], layer.points[some].astype(np.float64)
    middle = source.mean(axis=0)
    extent = max(float(np.abs(target - target.mean(axis=0)).max()), 1e-12)
    if np.abs(source - origin - target).max() <= MOVED * extent:
        return np.asarray(places - origin)
    linear, *_ = np.linalg.lstsq(source - middle, target - target.mean(axis=0), rcond=None)
    shown = (places - middle) @ linear + target.mean(axis=0)
    if not np.abs(shown[rows[some]] - target).max() <= MOVED * extent:
        raise changed
    return np.asarray(shown)


def words_of_point(scene: Scene, layer: Layer, row: int) -> list[str]:
    """Return what is known of a point: its file, its row there, where it is, its attributes."""
    place = layer.points[row].astype(np.float64) + scene.origin
    number = row if layer.rows is None else int(layer.rows[row])
    return [layer.name, f"row {number:,} of {layer.total:,}",
            *(f"{axis}  {number_words(value)}" for axis, value in zip("xyz", place, strict=True)),
            *(f"{name}  {value_words(values[row])}" for name, values in layer.attributes.items())]


def value_words(value: np.ndarray) -> str:
    """Return a value, or the values of a row, as a person reads them."""
    return ", ".join(number_words(each) for each in np.atleast_1d(value))


def number_words(value: float | np.number) -> str:
    """Return a number as a person reads it: six decimals, or the digits that float32 has."""
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, int | np.integer | np.float32):
        return str(value)
    value = float(value)
    if not 1 <= abs(value) < 1e12:
        return f"{value:.7g}"
    return f"{value:.6f}".rstrip("0").rstrip(".")


def next_free(folder: str | Path, stem: str, suffix: str) -> Path:
    """Return the first of stem-1, stem-2... that is not in the folder."""
    number = 1
    while os.path.lexists(place := Path(folder) / f"{stem}-{number}{suffix}"):
        number += 1
    return place


def file_words(title: str) -> str:
    """Return a title as part of a file's name."""
    return re.sub(r"[^\w.-]+", "_", title).strip("._-")[:60] or "scene"


def lines_of(words: str, most: int) -> str:
    """Return words in lines of `most` letters; what has no blanks, such as a path, is broken."""
    import textwrap

    return "\n".join(line for part in words.splitlines() for line in textwrap.wrap(part, most))


def cut_short(words: str, most: int) -> str:
    """Return words without their middle where they are too long: both ends tell files apart."""
    if len(words) <= most:
        return words
    half = (most - 3) // 2
    return f"{words[: most - 3 - half]}...{words[-half:]}"
