"""Neighbours within a radius, by a grid whose cells have that edge.

For the clouds of registration, thinned to a voxel, a few cells hold all that is near, and a search
tree is several times slower. Loops are compiled, and release the interpreter's lock.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int

from pcinv.ops.threads import parallel

_SHARES = 8
_ROOM = 1 + 1e-6
"""Cells are wider than the radius by this: rounding must not put neighbours two cells apart."""


class Grid(NamedTuple):
    """Points by cells.

    points : (N, 3), cell by cell.  rank : (N,) their positions in the cloud.
    low : (3,) where the cells begin.  size : edge of a cell.
    first : (cells + 1,) where the points of each cell begin.
    table_key, table_row : where each cell is found.
    """

    points: Float[np.ndarray, "n 3"]
    rank: Int[np.ndarray, " n"]
    low: Float[np.ndarray, "3"]
    size: float
    first: Int[np.ndarray, " cells"]
    table_key: Int[np.ndarray, " slots"]
    table_row: Int[np.ndarray, " slots"]


def make_grid(points: Float[np.ndarray, "n 3"], radius: float) -> Grid:
    """Return the grid of a cloud (N, 3), finite, at most 16 million points, for a search radius."""
    from pcinv.registration import grid_kernels as kernels  # compiled on first use

    points, size = np.ascontiguousarray(points, np.float64), radius * _ROOM
    low = points.min(axis=0)
    key = np.empty(len(points), np.int64)
    kernels.cell_keys(points, low, size, key)
    rank = np.argsort(key, kind="stable")
    key = key[rank]
    begins = np.flatnonzero(np.concatenate([[True], key[1:] != key[:-1]]))
    table_key = _free_places(len(begins))
    table_row = np.zeros_like(table_key)
    kernels.fill_table(key[begins], table_key, table_row)
    return Grid(points[rank], rank, low, float(size), np.append(begins, len(points)), table_key,
                table_row)


def count_cells(points: Float[np.ndarray, "n 3"], size: float) -> int:
    """Return how many cells of an edge hold a point (N, 3). Cells begin at the least values."""
    from pcinv.registration import grid_kernels as kernels

    key = np.empty(len(points), np.int64)
    kernels.cell_keys(points, points.min(axis=0), size, key)
    return int(kernels.count_different(key, _free_places(len(key))))


def thin_to_cells(points: Float[np.ndarray, "n 3"], size: float) -> Float[np.ndarray, "m 3"]:
    """Replace the points (N, 3) of each cell of an edge by their mean, far faster than by sorting.

    To the last bit the order of the points is no matter. The cells begin at the least values.
    """
    from pcinv.registration.grid_kernels import cell_means

    keys, means = cell_means(points, points.min(axis=0), size)
    return np.asarray(means[np.argsort(keys)])


def _free_places(count: int) -> Int[np.ndarray, " slots"]:
    """Return an empty table, twice as large as needed at least."""
    from pcinv.registration.grid_kernels import FREE

    return np.full(1 << max(4, math.ceil(math.log2(2 * count))), FREE, np.int64)


def neighbours_within(
    grid: Grid, radii: Sequence[float], most: Sequence[int]
) -> tuple[Int[np.ndarray, "n k"], Int[np.ndarray, "s n"]]:
    """Return the points within the radii of each point, itself included, nearest first.

    radii, most : (S,) of nested supports, ascending; at most so many neighbours, the nearest, of
        equally near ones those that come first in the cloud. No radius is larger than the grid's.

    Rows are those of the cloud that the grid was made of: positions (N, K), those after the first
    counts[s] (S, N) do not belong to support s.
    """
    from pcinv.registration import grid_kernels as kernels

    index = np.zeros((len(grid.points), max(most)), np.int64)
    counts = np.zeros((len(most), len(grid.points)), np.int64)
    supports = np.array(radii, np.float64), np.array(most, np.int64)
    bounds = np.linspace(0, len(grid.first) - 1, 1 + _SHARES * torch.get_num_threads()).astype(int)

    def fill(share: int) -> None:
        kernels.points_within(*grid, bounds[share], bounds[share + 1], *supports, index, counts)

    parallel(fill, range(len(bounds) - 1))
    return index, counts
