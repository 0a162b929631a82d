"""Polygons of a file to triangles whose indices are checked."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pcinv.io.format import Array
from pcinv.io.source import Source


def fan(
    corners: Array,
    counts: Array,
    num_vertices: int,
    source: Source,
    *,
    lines: Array | None = None,
    base: int = 0,
) -> NDArray[np.int64]:
    """Split polygons into fans of triangles: (F, 3) int64.

    corners : all vertex indices from 0, polygon after polygon.
    counts : (P,) corners of each polygon.
    lines : (P,) line of each polygon in the file.  base : what the file calls the first vertex.

    Raises
    ------
    FileFormatError : an index outside [0, num_vertices), with the face at fault.
    """
    counts = counts.astype(np.int64, copy=False)
    bad = np.flatnonzero((corners < 0) | (corners >= num_vertices) | (corners != np.floor(corners)))
    if len(bad):
        face = int(np.searchsorted(np.cumsum(counts), bad[0], side="right"))
        raise source.error(
            f"face {face} uses vertex {corners[bad[0]] + base:.15g}, the vertices are {base} to"
            f" {num_vertices - 1 + base}",
            line=None if lines is None else int(lines[face]),
            hint="repair the mesh in the program that wrote it",
        )
    small = int((counts < 3).sum())
    if small:
        source.warn(f"{small} faces of fewer than 3 corners are left out")
    index = corners.astype(np.int64)
    if len(counts) and (counts == 3).all():
        return np.ascontiguousarray(index.reshape(-1, 3))
    triangles = np.maximum(counts - 2, 0)
    start = np.repeat(np.cumsum(counts) - counts, triangles)
    step = np.arange(triangles.sum()) - np.repeat(np.cumsum(triangles) - triangles, triangles)
    return np.stack([index[start], index[start + step + 1], index[start + step + 2]], axis=1)
