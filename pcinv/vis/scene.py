"""What is looked at, as plain data: layers of points, lines between places, a legend.

All that draws takes a `Scene`; nothing in it knows of windows, pages or files.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from jaxtyping import Float, Int, UInt8

from pcinv.errors import InputError, ShapeError
from pcinv.types import Mesh, PointCloud

LAYER_COLORS = ((230, 159, 0), (0, 114, 178), (0, 158, 115), (204, 121, 167), (213, 94, 0),
                (86, 180, 233), (240, 228, 66), (120, 120, 120))
"""Of Okabe and Ito: told apart by people who see few colours, on white and on black."""


OTHER_UNITS = 100
_DRAWN = " points are drawn"


@dataclass(frozen=True)
class Layer:
    """Points, or a mesh, that are shown and hidden together.

    name : what a person sees in the list.
    points : (N, 3) float32, relative to the origin of the scene.
    faces : (F, 3) int64 rows of `points`, or None for a cloud.
    attributes : name -> (N,) or (N, C); named as in `PointCloud`.
    rows : (N,) int64 place of each point in its file, which may have more.
    total : points of the file.
    color : of the layer as a whole, 0 to 255.
    visible : at first.
    file : where it came from, or None.
    words : attribute -> what its whole numbers from 0 stand for.
    """

    name: str
    points: Float[np.ndarray, "n 3"]
    faces: Int[np.ndarray, "f 3"] | None = None
    attributes: dict[str, np.ndarray] = field(default_factory=dict)
    rows: Int[np.ndarray, " n"] | None = None
    total: int = 0
    color: tuple[int, int, int] = LAYER_COLORS[0]
    visible: bool = True
    file: str | None = None
    words: dict[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Lines:
    """Straight lines: correspondences, arrows, boxes.

    start, end : (M, 3) float32, relative to the origin of the scene.
    colors : (M, 3) uint8.
    """

    name: str
    start: Float[np.ndarray, "m 3"]
    end: Float[np.ndarray, "m 3"]
    colors: UInt8[np.ndarray, "m 3"]
    visible: bool = True


@dataclass(frozen=True)
class Scene:
    """Layers and lines about one float64 origin, in the units of the files.

    origin : (3,) what is added to all coordinates to have those of the files.
    color_by : how the layers are coloured; see `pcinv.vis.colors`.
    notes : what a person has to be told, such as that points were left out.
    up : the axis that points up, such as "-y"; "auto": see `pcinv.vis.camera.up_of`.
    ends : colouring -> the ends of its colour bar, where they are not those of the points.
    """

    layers: tuple[Layer, ...]
    lines: tuple[Lines, ...] = ()
    origin: Float[np.ndarray, "3"] = field(default_factory=lambda: np.zeros(3))
    color_by: str = "auto"
    title: str = ""
    notes: tuple[str, ...] = ()
    up: str = "auto"
    ends: dict[str, tuple[float, float]] = field(default_factory=dict)

    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the lower and upper corner (3,) of all that is visible, or of all there is."""
        shown = [layer for layer in self.layers if layer.visible and len(layer.points)]
        points = [layer.points for layer in shown or self.layers if len(layer.points)]
        if not points:
            return np.zeros(3), np.ones(3)
        return (np.min([p.min(axis=0) for p in points], axis=0).astype(np.float64),
                np.max([p.max(axis=0) for p in points], axis=0).astype(np.float64))


def make_scene(
    items: Sequence[tuple[str, PointCloud | Mesh]], *, color_by: str = "auto", title: str = "",
    limit: int | None = None, files: Sequence[str | None] | None = None,
) -> Scene:
    """Return a scene of named clouds and meshes, each a layer with a colour of its own.

    limit : points of all clouds together; where there are more, evenly drawn ones stay, and a note
        says so. Meshes stay whole.

    Raises InputError where there is nothing with points.
    """
    if not any(len(item) for _, item in items):
        raise InputError("nothing to show: no points", where=", ".join(n for n, _ in items) or None,
                         hint="pcinv info FILE says what is in it")
    origin = _common_origin([item for _, item in items if len(item)])
    layers = []
    for k, (name, item) in enumerate(items):
        layer = _layer(name, item, origin)
        layers.append(replace(layer, color=LAYER_COLORS[k % len(LAYER_COLORS)],
                              file=None if files is None else files[k]))
    scene = Scene(tuple(layers), (), origin, color_by, title, _units(layers))
    return scene if limit is None else thin(scene, limit)


def _units(layers: Sequence[Layer]) -> tuple[str, ...]:
    """Return a note where one layer is so small beside another that their units must differ."""
    sizes = [(float(np.ptp(layer.points, axis=0).max()), layer.name) for layer in layers
             if len(layer.points) > 1]
    (least, small), (most, large) = min(sizes, default=(1, "")), max(sizes, default=(1, ""))
    if not 0 < least < most / OTHER_UNITS:
        return ()
    return (f"{large} is {most / least:,.0f} times as large as {small}: are the units the same?",)


def thin(scene: Scene, limit: int) -> Scene:
    """Return the scene with at most `limit` points of clouds, in the same shares, and a note."""
    count = sum(len(layer.points) for layer in scene.layers if layer.faces is None)
    if count <= limit:
        return scene
    layers = tuple(layer if layer.faces is not None
                   else take(layer, drawn(len(layer.points), limit / count))
                   for layer in scene.layers)
    left = sum(len(layer.points) for layer in layers if layer.faces is None)
    total = sum(layer.total for layer in layers if layer.faces is None)
    earlier = tuple(note for note in scene.notes if not note.endswith(_DRAWN))
    return replace(scene, layers=layers, notes=(*earlier, f"{left:,} of {total:,}{_DRAWN}"))


def drawn(count: int, share: float) -> Int[np.ndarray, " k"]:
    """Return rows drawn without replacement, in order, the same each time; at least one."""
    size = max(1, int(count * share)) if count else 0
    return np.sort(np.random.default_rng(0).choice(count, size, replace=False, shuffle=False))


def take(layer: Layer, rows: Int[np.ndarray, " k"]) -> Layer:
    """Return a layer with these of its points; for clouds."""
    kept = np.arange(len(layer.points)) if layer.rows is None else layer.rows
    return replace(layer, points=layer.points[rows], rows=kept[rows],
                   attributes={name: values[rows] for name, values in layer.attributes.items()})


def with_layers(scene: Scene, changes: Iterable[tuple[int, dict[str, Any]]]) -> Scene:
    """Return the scene with fields of some layers, by their number, replaced."""
    layers = list(scene.layers)
    for number, fields in changes:
        layers[number] = replace(layers[number], **fields)
    return replace(scene, layers=tuple(layers))


def moved_to(scene: Scene, origin: Float[np.ndarray, "3"]) -> Scene:
    """Return the same scene about another origin (3,)."""
    shift = scene.origin - origin
    if not shift.any():
        return scene
    layers = tuple(replace(layer, points=(layer.points + shift).astype(np.float32))
                   for layer in scene.layers)
    lines = tuple(replace(each, start=(each.start + shift).astype(np.float32),
                          end=(each.end + shift).astype(np.float32)) for each in scene.lines)
    return replace(scene, layers=layers, lines=lines, origin=origin)


def labelled(layer: Layer, name: str, values: np.ndarray, where: str | None = None) -> Layer:
    """Return the layer with one more attribute.

    where : the values came from.

    Raises ShapeError where its length is not that of the file nor of the points.
    """
    if len(values) == layer.total and layer.rows is not None:
        values = values[layer.rows]
    if len(values) != len(layer.points):
        raise ShapeError(f"{len(values):,} values of {name} for {layer.total:,} points",
                         where=where or layer.name,
                         hint=f"one value for each point of {layer.name}, in its order")
    return replace(layer, attributes={**layer.attributes, name: values})


def _common_origin(items: Sequence[PointCloud | Mesh]) -> Float[np.ndarray, "3"]:
    """Return the origin of all if they share it, or else the middle of the first."""
    first = items[0]
    if isinstance(first, Mesh):
        return np.asarray(first.vertices.mean(axis=0), np.float64).round()
    return first.origin + (first.xyz.mean(axis=0, dtype=np.float64).round() if len(first) else 0)


def _layer(name: str, item: PointCloud | Mesh, origin: Float[np.ndarray, "3"]) -> Layer:
    if isinstance(item, Mesh):
        points = (item.vertices - origin).astype(np.float32)
        faces = item.faces if len(item.faces) else None
    else:
        shift = item.origin - origin
        points = item.xyz if not shift.any() else (item.xyz + shift).astype(np.float32)
        faces = None
    attributes = {key: value for key, value in item.attributes.items()
                  if value.ndim <= 2 and len(value) == len(points)}
    finite = np.isfinite(points).all(axis=1)
    layer = Layer(name, points, faces, attributes, np.arange(len(points)), len(points))
    return layer if faces is not None or finite.all() else take(layer, np.flatnonzero(finite))
