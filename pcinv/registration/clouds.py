"""What is registered: files, clouds, meshes or arrays, as finite float64 points."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float

from pcinv.errors import InputError, ShapeError
from pcinv.registration.grid import thin_to_cells
from pcinv.types import Mesh, PointCloud

Source = str | os.PathLike[str] | PointCloud | Mesh | np.ndarray | torch.Tensor
LEAST_POINTS = 10
MESH_SAMPLES = 20_000
MOST_POINTS = 2_000_000
"""Larger clouds are thinned before anything else."""
_CELLS = 512


class Given(NamedTuple):
    """What is registered.

    points : (N, 3) finite float64.  view_point : (3,) that came with them, or None.
    notes : what was done to get them, in words.
    """

    points: Float[np.ndarray, "n 3"]
    view_point: Float[np.ndarray, "3"] | None
    notes: list[str]


def points_of(item: Source, name: str, *, seed: int = 0) -> Given:
    """Return finite float64 points, sorted, and what else is known of them.

    Sorted, so that to the last bit nothing depends on the order that points are stored in.

    item : a file of any format that `pcinv.read` takes, or what it returns, or an array (N, 3).
        Meshes are sampled.
    name : what the item is called in errors: "source" or "target".

    Raises ShapeError, InputError for other arrays, too few points, or points that are all at one
    place; FileFormatError and the other errors of reading for files.
    """
    notes: list[str] = []
    if isinstance(item, str | os.PathLike):
        name, item = name_of(item, name), _read(item)
    if isinstance(item, Mesh):
        from pcinv.io import sample_surface

        notes.append(f"{name}: the mesh of {len(item.faces)} faces is sampled at {MESH_SAMPLES:,} "
                     f"points (seed {seed})")
        item = sample_surface(item, MESH_SAMPLES, seed, where=name)
    points = item.absolute() if isinstance(item, PointCloud) else _array(item, name)
    seen_from = item.view_point if isinstance(item, PointCloud) else None
    finite = np.isfinite(points).all(axis=1)
    if not finite.all():
        notes.append(f"{name}: {int((~finite).sum()):,} points that are not finite are dropped")
        points = points[finite]
    if len(points) < LEAST_POINTS:
        raise InputError(f"{len(points)} points, at least {LEAST_POINTS} needed", where=name,
                         hint="give a cloud with more points")
    if not np.ptp(points, axis=0).max() > 0:
        raise InputError("all points are at one place", where=name,
                         hint="give a cloud with an extent; pcinv info shows the bounds")
    if len(points) > MOST_POINTS:
        points, before = thinned(points), len(points)
        notes.append(f"{name}: {before:,} points are thinned to {len(points):,}")
    return Given(points[np.lexsort(points.T)], seen_from, notes)


def name_of(item: Source, name: str) -> str:
    """Return what an error calls an item: its file, or its name."""
    return str(Path(item)) if isinstance(item, str | os.PathLike) else name


def _read(path: str | os.PathLike[str]) -> PointCloud | Mesh:
    from pcinv.io import read

    return read(path)


def _array(item: Any, name: str) -> Float[np.ndarray, "n 3"]:
    values = item.detach().cpu().numpy() if isinstance(item, torch.Tensor) else np.asarray(item)
    if values.ndim != 2 or values.shape[1] != 3 or values.dtype.kind not in "fiu":
        raise ShapeError(f"expected (N, 3) numbers, got {values.shape} {values.dtype}", where=name,
                         hint="points are rows of x, y, z")
    return np.array(values, np.float64)


def thinned(points: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "m 3"]:
    """Replace the points of each cell of a fine grid, 512 along the longest side, by their mean.

    Far finer than the voxel that is worked with, and far cheaper than working with all points.
    """
    return thin_to_cells(points, float(np.ptp(points, axis=0).max()) / _CELLS)
