"""From files to a scene: what is compared, moved, labelled and pointed at."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float
from scipy.spatial import cKDTree

from pcinv.errors import FileFormatError, InputError, UsageError, unknown_name
from pcinv.io import read
from pcinv.types import Mesh, PointCloud
from pcinv.vis.colors import modes, uniform
from pcinv.vis.scene import Layer, Lines, Scene, drawn, labelled, make_scene, thin, with_layers

MOST_ARROWS = 2000
MOST_PAIRS = 150
MOST_COMPARED = 2_000_000
"""Points of a cloud that distances are measured to; of larger ones so many evenly drawn ones."""
NEAR_SPACINGS = 3.0
"""Points this many spacings from the other cloud, or less, lie in the overlap."""
COMPARED = ("distance", "overlap")
"""What is computed where two clouds are compared."""
MOST_BYTES_OF_WORDS = 1_000_000
RIGHT, WRONG, BEFORE = (0, 158, 115), (213, 94, 0), (150, 150, 150)
Item = tuple[str, PointCloud | Mesh]


def scene_of_files(
    files: Sequence[str | Path], *, color_by: str = "auto", limit: int | None = None,
    transform: Float[np.ndarray, "4 4"] | None = None, labels: str | Path | None = None,
    arrows: str | None = None, format: str | None = None, near: float | None = None,
) -> Scene:
    """Return a scene with a layer for each file.

    color_by : see `pcinv.vis.colors.coloring`; "distance" is to all the other files.
    limit : points that are drawn.
    transform : (4, 4) T_target_source for two files, the source first: shown before and after.
    labels : a file with a whole number for each point of the first file.
    arrows : name of an attribute (N, 3) of the points that is shown as arrows.
    format : of all files, where their content does not tell.
    near : points no farther from the other cloud lie in the overlap; None: `NEAR_SPACINGS`.

    Raises InputError, ShapeError, FileFormatError, UsageError, UnknownNameError for what does not
    fit together.
    """
    items = [(name, read(file, format=format))
             for name, file in zip(names_of(files), files, strict=True)]
    names = [str(file) for file in files]
    title = ", ".join(name for name, _ in items)
    if transform is not None:
        if len(files) != 2:
            raise UsageError(f"a transform takes a first file to a second; {len(files)} are given",
                             where="transform", hint="pcinv view a.ply b.ply --transform T.txt")
        items = before_and_after(items, transform)
        names.append(names[0])
    scene = make_scene(items, color_by=color_by, title=title, files=names)
    scene = replace(scene, layers=tuple(
        layer if layer.file is None else replace(layer, words=read_words(layer.file))
        for layer in scene.layers))
    if transform is not None:
        scene = with_layers(scene, [(2, {"color": BEFORE, "visible": False})])
    if labels is not None:
        first = labelled(scene.layers[0], "label", read_labels(labels), str(labels))
        scene = replace(scene, layers=(first, *scene.layers[1:]))
        if color_by == "auto" and len(files) == 1:
            scene = replace(scene, color_by="label")
    scene = resolved(scene)
    whole = scene.layers
    scene = scene if limit is None else thin(scene, limit)
    if transform is not None:
        scene = with_overlap(scene, whole, near)
    elif color_by in COMPARED and not any(color_by in layer.attributes for layer in whole):
        scene = with_distances(scene, whole, near)
    if arrows is not None:
        scene = with_arrows(scene, arrows)
    check_colors(scene)
    return scene


def names_of(files: Sequence[str | Path]) -> list[str]:
    """Return names for a legend: without folders, but for those that would be told twice."""
    names = [Path(file).name for file in files]
    return [str(Path(*Path(file).absolute().parts[-2:])) if names.count(name) > 1 else name
            for name, file in zip(names, files, strict=True)]


def resolved(scene: Scene) -> Scene:
    """Return the scene coloured by the attribute that was meant, whatever its capitals."""
    known = [mode for layer in scene.layers for mode in modes(layer)]
    meant = [mode for mode in known if mode.lower() == scene.color_by.lower()]
    if scene.color_by in (*known, *COMPARED) or not meant:
        return scene
    return replace(scene, color_by=meant[0])


def read_words(file: str | Path) -> dict[str, tuple[str, ...]]:
    """Return what the whole numbers of attributes stand for: of a JSON file beside a cloud.

    `chair.parts.ply` has it in `chair.parts.json`: {"part": ["seat", "back"]}. Any other JSON file
    of that name is none of ours.
    """
    beside = Path(file).with_suffix(".json")
    try:
        if beside.stat().st_size > MOST_BYTES_OF_WORDS:
            return {}
        told = json.loads(beside.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(told, dict):
        return {}
    return {str(name): tuple(words) for name, words in told.items()
            if isinstance(words, list) and all(isinstance(word, str) for word in words)}


def check_colors(scene: Scene) -> None:
    """Raise UnknownNameError where no layer has what the scene is to be coloured by."""
    known = dict.fromkeys(mode for layer in scene.layers for mode in modes(layer))
    if scene.color_by not in ("auto", "z", *known):
        raise unknown_name("attribute", scene.color_by, list(known), where="color")


def read_labels(path: str | Path) -> np.ndarray:
    """Return the whole numbers of an .npy file, of a text file with one a line, or of a .label.

    Of the four bytes of each label of SemanticKITTI the lower two are the class.

    Raises FileFormatError for anything else.
    """
    suffix = Path(path).suffix.lower()
    try:
        if suffix == ".label":
            return (np.fromfile(path, "<u4") & 0xFFFF).astype(np.int64)
        values = (np.load(path, allow_pickle=False) if suffix == ".npy"
                  else np.loadtxt(path, ndmin=1))
    except (ValueError, EOFError) as error:
        raise FileFormatError("no list of labels", where=str(path),
                              hint=".npy, .label, or text with one number a line") from error
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim != 1 or not (np.issubdtype(values.dtype, np.integer)
                                or bool((values == np.round(values)).all())):
        raise FileFormatError(f"labels of shape {values.shape} and type {values.dtype}",
                              where=str(path), hint="one whole number for each point")
    return values.astype(np.int64)


def before_and_after(items: Sequence[Item], transform: Float[np.ndarray, "4 4"]) -> list[Item]:
    """Return the source moved into the frame of the target, the target, the source as it was.

    Moved in float64 and kept near the target: what is far from its own origin stays sharp.
    """
    (name, source), target = items
    rotation, shift = transform[:3, :3], transform[:3, 3]
    attributes = dict(source.attributes)
    if "normal" in attributes:
        unscaled = rotation / np.cbrt(np.linalg.det(rotation))
        attributes["normal"] = (attributes["normal"] @ unscaled.T).astype(np.float32)
    moved: PointCloud | Mesh
    if isinstance(source, Mesh):
        moved = Mesh(source.vertices @ rotation.T + shift, source.faces, attributes)
    else:
        places = source.absolute() @ rotation.T + shift
        origin = places.mean(axis=0).round()
        moved = PointCloud((places - origin).astype(np.float32), origin, attributes)
    return [(f"{name}, moved", moved), target, (f"{name}, as it was", source)]


def with_overlap(scene: Scene, whole: Sequence[Layer], near: float | None = None) -> Scene:
    """Return a scene of `before_and_after` with distances, and pairs of points that meet.

    whole : its layers before they were thinned, to be near to.
    near : see `scene_of_files`.
    """
    compared = with_distances(replace(scene, layers=scene.layers[:2]), whole[:2], near)
    moved, target = compared.layers
    overlap = [name for name in moved.attributes if name.startswith("overlap")][-1]
    rows = np.flatnonzero(moved.attributes[overlap])
    found = len(rows)
    rows = rows[drawn(len(rows), min(1.0, MOST_PAIRS / max(len(rows), 1)))]
    nearest = cKDTree(whole[1].points).query(moved.points[rows])[1] if len(rows) else rows
    before = scene.layers[2]
    pairs = Lines("pairs of points that meet", before.points[rows], whole[1].points[nearest],
                  uniform(RIGHT, len(rows)), visible=False)
    shares = (f"{layer.attributes[overlap].mean():.0%} of {layer.name}"
              for layer in (moved, target))
    notes = [f"{' and '.join(shares)} lie in the overlap"]
    if len(rows) < found:
        notes.append(f"lines join {len(rows):,} of the {found:,} points that meet")
    return replace(scene, layers=(moved, target, before), lines=(*scene.lines, pairs),
                   notes=(*scene.notes, *notes))


def with_matches(scene: Scene, source: Float[np.ndarray, "k 3"], target: Float[np.ndarray, "k 3"],
                 right: Bool[np.ndarray, " k"]) -> Scene:
    """Return the scene with lines between matched places of the files' frames, green if `right`."""
    rows = drawn(len(source), min(1.0, MOST_PAIRS / max(len(source), 1)))
    start, end = ((places[rows] - scene.origin).astype(np.float32) for places in (source, target))
    lines = tuple(
        Lines(f"{name}, {int((right == state).sum()):,} matches", start[which], end[which],
              uniform(color, int(which.sum())), visible=False)
        for name, state, color in (("inliers", True, RIGHT), ("outliers", False, WRONG))
        for which in [right[rows] == state] if which.any())
    return replace(scene, lines=(*scene.lines, *lines))


def with_distances(scene: Scene, whole: Sequence[Layer], near: float | None = None) -> Scene:
    """Return the scene with "distance" and "overlap" of each layer to all the others.

    Raises UsageError where there is one layer only.
    """
    if len(scene.layers) < 2:
        raise UsageError("there is no other cloud to measure the distance to", where="color",
                         hint="pcinv view a.ply b.ply --color distance")
    layers = []
    distance, overlap = (name if not any(name in layer.attributes for layer in whole)
                         else f"{name} to the others" for name in COMPARED)
    for k, layer in enumerate(scene.layers):
        others = np.concatenate([other.points for j, other in enumerate(whole) if j != k])
        found = distances(layer.points, others)
        within = NEAR_SPACINGS * spacing(others) if near is None else near
        layers.append(replace(layer, attributes={**layer.attributes, distance: found,
                                                 overlap: found <= within}))
    return replace(scene, layers=tuple(layers))


def with_arrows(scene: Scene, name: str) -> Scene:
    """Return the scene with lines along an attribute (N, 3); unit vectors 2 % of the scene long.

    Raises UnknownNameError where no layer has it.
    """
    low, high = scene.bounds()
    lines, notes = list(scene.lines), list(scene.notes)
    for layer in scene.layers:
        vectors = layer.attributes.get(name)
        if vectors is None or vectors.ndim != 2 or vectors.shape[1] != 3:
            continue
        rows = drawn(len(vectors), min(1.0, MOST_ARROWS / max(len(vectors), 1)))
        if len(rows) < len(vectors):
            notes.append(f"arrows are drawn at {len(rows):,} of {len(vectors):,} points")
        along = np.nan_to_num(vectors[rows].astype(np.float64))
        if name == "normal":
            along *= 0.02 * np.linalg.norm(high - low)
        lines.append(Lines(f"{name} of {layer.name}", layer.points[rows],
                           (layer.points[rows] + along).astype(np.float32),
                           uniform(layer.color, len(rows))))
    if len(lines) == len(scene.lines):
        known = {key for layer in scene.layers for key, values in layer.attributes.items()
                 if values.ndim == 2 and values.shape[1] == 3}
        if not known:
            raise UsageError(f"no attribute has three columns, so none can be '{name}'",
                             where="arrows", hint="pcinv info FILE lists the attributes")
        raise unknown_name("attribute of three columns", name, sorted(known), where="arrows")
    return replace(scene, lines=tuple(lines), notes=tuple(notes))


def distances(points: Float[np.ndarray, "n 3"], others: Float[np.ndarray, "m 3"]
              ) -> Float[np.ndarray, " n"]:
    """Return the distance (N,) of each point to the nearest of the others, float32."""
    if len(others) > MOST_COMPARED:
        others = others[drawn(len(others), MOST_COMPARED / len(others))]
    return np.asarray(cKDTree(others).query(points, workers=-1)[0], np.float32)


def spacing(points: Float[np.ndarray, "n 3"]) -> float:
    """Return the median distance of a point to its nearest neighbour."""
    if len(points) < 2:
        return 0.0
    sample = points[drawn(len(points), min(1.0, 2000 / len(points)))]
    return float(np.median(cKDTree(points).query(sample, k=2)[0][:, 1]))


def as_item(value: PointCloud | Mesh | np.ndarray | str | Path) -> PointCloud | Mesh:
    """Return a cloud or mesh of what a caller has: a file, an array (N, 3), or one of them."""
    if isinstance(value, PointCloud | Mesh):
        return value
    if isinstance(value, str | Path):
        return read(value)
    points = np.asarray(value)
    if points.ndim != 2 or points.shape[1] != 3:
        raise InputError(f"an array of shape {points.shape}", where="cloud", hint="(N, 3)")
    origin = points.mean(axis=0, dtype=np.float64).round() if len(points) else np.zeros(3)
    return PointCloud((points - origin).astype(np.float32), origin)
