"""Read a file into a cloud or mesh, and describe what is in it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from pcinv.errors import LimitError
from pcinv.io.assemble import assemble
from pcinv.io.formats import choose_format
from pcinv.io.places import distinct_places
from pcinv.io.source import open_source
from pcinv.io.surface import sample_surface
from pcinv.types import Mesh, PointCloud

Path_ = str | os.PathLike[str]
_QUERIES = 2_000
_SAMPLES = 2_048


def read(path: Path_, *, format: str | None = None) -> PointCloud | Mesh:
    """Read a file: a Mesh if it has faces, else a PointCloud.

    The format is `format`, else what the content says, else what the suffix says. Points whose
    coordinates are not finite are dropped. A `FormatWarning` tells what is not taken as it stands.

    Raises
    ------
    FileFormatError : the file is missing, damaged, empty or of an unknown format.
    LimitError : it is larger than `pcinv.limits` allow, or than the memory.
    DependencyError : the format needs a package that is not installed.
    """
    return _load(path, format)[0]


def _load(path: Path_, format: str | None) -> tuple[PointCloud | Mesh, str, int]:
    """Return the content, the name of the format, and the number of dropped points."""
    source = open_source(path)
    chosen = choose_format(source, format)
    try:
        data, dropped = assemble(chosen.read(source), source)
    except MemoryError as error:
        raise LimitError(
            f"not enough memory for this file of {source.size} bytes",
            where=str(path),
            hint="use a machine with more memory, or split the file",
        ) from error
    return data, chosen.name, dropped


def read_cloud(
    path: Path_, *, points: int | None = None, seed: int = 0, format: str | None = None
) -> PointCloud:
    """Read a file as points; a mesh is sampled, with a warning that says so.

    points : samples of a mesh's surface, 2048 if not given; a cloud keeps all its points.
    """
    source = open_source(path)
    data, _, _ = _load(path, format)
    if isinstance(data, PointCloud):
        return data
    count = _SAMPLES if points is None else points
    source.warn(f"the mesh of {len(data.faces)} faces is sampled at {count} points (seed {seed})")
    return sample_surface(data, count, seed, where=str(path))


def describe(path: Path_, *, format: str | None = None) -> dict[str, Any]:
    """Return what is in a file, as plain values.

    file, format, kind, num_points, attributes {name: {dtype, shape}}, bounds [[min], [max]] and
    extent in the file's units, origin, view_point (None where it is not known), spacing (median
    distance to the nearest neighbour, duplicates apart), duplicates, non_finite {name: rows}; for a
    mesh num_vertices and num_faces.
    """
    data, name, dropped = _load(path, format)
    absolute = data.vertices if isinstance(data, Mesh) else data.absolute()
    low, high = absolute.min(0), absolute.max(0)
    places = absolute[np.sort(distinct_places(absolute)[0])]
    result: dict[str, Any] = {
        "file": str(Path(path)),
        "format": name,
        "kind": "mesh" if isinstance(data, Mesh) else "cloud",
        "num_points": len(data),
        "attributes": {
            key: {"dtype": str(v.dtype), "shape": list(v.shape)}
            for key, v in data.attributes.items()
        },
        "bounds": [low.tolist(), high.tolist()],
        "extent": (high - low).tolist(),
        "origin": [0.0, 0.0, 0.0] if isinstance(data, Mesh) else data.origin.tolist(),
        "view_point": None
        if isinstance(data, Mesh) or data.view_point is None
        else data.view_point.tolist(),
        "spacing": _spacing(places),
        "duplicates": len(data) - len(places),
        "non_finite": {"xyz": dropped}
        | {
            key: int((~np.isfinite(v)).reshape(len(v), -1).any(1).sum())
            for key, v in data.attributes.items()
            if v.dtype.kind == "f"
        },
    }
    if isinstance(data, Mesh):
        result |= {"num_vertices": len(data.vertices), "num_faces": len(data.faces)}
    return result


def _spacing(xyz: np.ndarray) -> float | None:
    """Return the median distance of at most 2,000 evenly picked places to their nearest one."""
    if len(xyz) < 2:
        return None
    from scipy.spatial import cKDTree

    picked = xyz[:: max(1, len(xyz) // _QUERIES)][:_QUERIES]
    distance, _ = cKDTree(xyz, balanced_tree=False, compact_nodes=False).query(picked, k=2)
    median = float(np.median(distance[:, 1]))
    return median if np.isfinite(median) else None
