"""Compiled loops over the cells of a grid: nearest points, and all points within a radius."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from pcinv.ops.jit import jit

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]

SPAN = 1 << 20
"""Cells along each axis; points beyond the last one are in the last one."""
FREE = -1
_LEVELS = float(1 << 38)
_RANKS = 1 << 24
_BUCKETS, _TOGETHER = 256, 64
_PARTS = float(1 << 30)


@jit
def cell_of(value: float, low: float, size: float) -> int:
    """Return the cell of a coordinate, from 1 to SPAN."""
    return 1 + int(min(max(math.floor((value - low) / size), 0.0), SPAN - 1.0))


@jit
def key_of(x: int, y: int, z: int) -> int:
    """Return the number of a cell; the neighbours in x of a cell have the numbers beside it."""
    return (z * (SPAN + 2) + y) * (SPAN + 2) + x


@jit
def cell_keys(points: Floats, low: Floats, size: float, key: Indices) -> None:
    """Fill the number of the cell of each point (N, 3)."""
    for i in range(len(points)):
        key[i] = key_of(cell_of(points[i, 0], low[0], size), cell_of(points[i, 1], low[1], size),
                        cell_of(points[i, 2], low[2], size))


@jit
def _place(key: int, mask: int) -> int:
    mixed = np.uint64(key) * np.uint64(0x9E3779B97F4A7C15)
    return int(mixed >> np.uint64(32)) & mask


@jit
def fill_table(keys: Indices, table_key: Indices, table_row: Indices) -> None:
    """Put the row of each of the keys, all different, into an open-addressed table."""
    mask = len(table_key) - 1
    for row in range(len(keys)):
        place = _place(keys[row], mask)
        while table_key[place] != FREE:
            place = (place + 1) & mask
        table_key[place], table_row[place] = keys[row], row


@jit
def count_different(keys: Indices, table: Indices) -> int:
    """Return how many keys are different. table : more places than keys, filled with FREE."""
    mask, count = len(table) - 1, 0
    for key in keys:
        place = _place(key, mask)
        while table[place] != FREE and table[place] != key:
            place = (place + 1) & mask
        if table[place] == FREE:
            table[place] = key
            count += 1
    return count


@jit
def cell_means(points: Floats, low: Floats, size: float) -> tuple[Indices, Floats]:
    """Return the numbers of the cells that hold points (N, 3), and the mean of each: (M, 3).

    Means are summed in whole numbers, 2^-30 of a cell, so that the order of the points is no
    matter to the last bit; the cells are in the order in which they are met.
    """
    table_key, table_row = np.full(1 << 12, FREE, np.int64), np.zeros(1 << 12, np.int64)
    keys, sums = np.empty(1 << 11, np.int64), np.zeros((1 << 11, 4), np.int64)
    rows = 0
    for i in range(len(points)):
        if rows == len(keys):  # the table is half full
            keys = np.concatenate((keys, np.empty_like(keys)))
            sums = np.concatenate((sums, np.zeros_like(sums)))
            table_key = np.full(2 * len(table_key), FREE, np.int64)
            table_row = np.zeros(len(table_key), np.int64)
            fill_table(keys[:rows], table_key, table_row)
        x, y, z = (cell_of(points[i, 0], low[0], size), cell_of(points[i, 1], low[1], size),
                   cell_of(points[i, 2], low[2], size))
        key, mask = key_of(x, y, z), len(table_key) - 1
        place = _place(key, mask)
        while table_key[place] != FREE and table_key[place] != key:
            place = (place + 1) & mask
        if table_key[place] == FREE:
            table_key[place], table_row[place], keys[rows] = key, rows, key
            rows += 1
        row = table_row[place]
        sums[row, 0] += int(((points[i, 0] - low[0]) / size - (x - 1)) * _PARTS + 0.5)
        sums[row, 1] += int(((points[i, 1] - low[1]) / size - (y - 1)) * _PARTS + 0.5)
        sums[row, 2] += int(((points[i, 2] - low[2]) / size - (z - 1)) * _PARTS + 0.5)
        sums[row, 3] += 1
    means = np.empty((rows, 3))
    for row in range(rows):
        key = keys[row]
        cell = (key % (SPAN + 2), key // (SPAN + 2) % (SPAN + 2), key // (SPAN + 2) ** 2)
        for axis in range(3):
            part = sums[row, axis] / (_PARTS * sums[row, 3])
            means[row, axis] = low[axis] + (cell[axis] - 1 + part) * size
    return keys[:rows], means


@jit
def row_of(key: int, table_key: Indices, table_row: Indices) -> int:
    """Return the row of a key, or -1."""
    mask = len(table_key) - 1
    place = _place(key, mask)
    while table_key[place] != FREE:
        if table_key[place] == key:
            return table_row[place]
        place = (place + 1) & mask
    return -1


@jit
def _gather(
    x: int, y: int, z: int, first: Indices, table_key: Indices, table_row: Indices,
    found: Indices,
) -> int:
    """Fill the points (positions in the grid's order) of 27 cells; return how many, or -1 - needed.
    """
    count = 0
    for dz in range(-1, 2):
        for dy in range(-1, 2):
            for dx in range(-1, 2):
                row = row_of(key_of(x + dx, y + dy, z + dz), table_key, table_row)
                if row >= 0:
                    for p in range(first[row], first[row + 1]):
                        if count < len(found):
                            found[count] = p
                        count += 1
    return count if count <= len(found) else -1 - count


@jit
def _sort(values: Indices, count: int, limit: int, starts: Indices, out: Indices) -> None:
    """Fill `out` with the first `count` values, all in [0, limit), ascending.

    Squared distances on a surface are spread evenly, so they are counted into `starts` and all but
    in place then; where too many fall together they are sorted as any numbers.
    """
    buckets = len(starts) - 1
    factor = buckets / limit
    starts[:] = 0
    for k in range(count):
        starts[min(int(values[k] * factor), buckets - 1) + 1] += 1
    if count and starts.max() > _TOGETHER:
        out[:count] = values[:count]
        out[:count].sort()
        return
    for b in range(buckets):
        starts[b + 1] += starts[b]
    for k in range(count):
        b = min(int(values[k] * factor), buckets - 1)
        out[starts[b]] = values[k]
        starts[b] += 1
    for k in range(1, count):
        value, j = out[k], k - 1
        while j >= 0 and out[j] > value:
            out[j + 1] = out[j]
            j -= 1
        out[j + 1] = value


@jit
def points_within(
    points: Floats, rank: Indices, low: Floats, size: float, first: Indices, table_key: Indices,
    table_row: Indices, begin: int, end: int, radii: Floats, most: Indices, index: Indices,
    counts: Indices,
) -> None:
    """Fill the neighbours within `size`, an edge of the cells, of the points of cells begin to end.

    points : (N, 3) in the order of the cells.  rank : (N,) their positions in the cloud: rows of
    `index`, and what it is filled with, nearest first, equally near ones by rank.
    radii, most : (S,) of nested supports, ascending; their numbers fill `counts` (S, N).
    """
    found, near, order = (np.empty(1024, np.int64), np.empty(1024, np.int64),
                          np.empty(1024, np.int64))
    starts = np.empty(_BUCKETS + 1, np.int64)
    scale = _LEVELS / (size * size)
    limits = np.empty(len(radii), np.int64)
    for s in range(len(radii)):
        limits[s] = (int(radii[s] * radii[s] * scale * (1.0 + 1e-9)) + 1) * _RANKS
    for row in range(begin, end):
        i = first[row]
        x, y, z = (cell_of(points[i, 0], low[0], size), cell_of(points[i, 1], low[1], size),
                   cell_of(points[i, 2], low[2], size))
        total = _gather(x, y, z, first, table_key, table_row, found)
        if total < 0:
            found, near, order = (np.empty(-1 - total, np.int64), np.empty(-1 - total, np.int64),
                                  np.empty(-1 - total, np.int64))
            total = _gather(x, y, z, first, table_key, table_row, found)
        for i in range(first[row], first[row + 1]):
            px, py, pz = points[i, 0], points[i, 1], points[i, 2]
            used = 0
            for k in range(total):
                j = found[k]
                dx, dy, dz = points[j, 0] - px, points[j, 1] - py, points[j, 2] - pz
                dist2 = dx * dx + dy * dy + dz * dz
                if dist2 <= 1.5 * size * size:  # more would not fit into the number
                    near[used] = int(dist2 * scale + 0.5) * _RANKS + rank[j]
                    used += near[used] < limits[-1]
            _sort(near, used, limits[-1], starts, order)
            at, k = rank[i], 0
            for s in range(len(limits)):
                while k < used and order[k] < limits[s]:
                    k += 1
                counts[s, at] = min(k, most[s])
            for k in range(counts[-1, at]):
                index[at, k] = order[k] % _RANKS


@jit
def nearest_within(
    px: float, py: float, pz: float, points: Floats, low: Floats, size: float, first: Indices,
    table_key: Indices, table_row: Indices,
) -> int:
    """Return the position, in the grid's order, of the nearest point nearer than `size`, or -1."""
    x, y, z = cell_of(px, low[0], size), cell_of(py, low[1], size), cell_of(pz, low[2], size)
    best, at = size * size, -1
    for dz in range(-1, 2):
        for dy in range(-1, 2):
            for dx in range(-1, 2):
                row = row_of(key_of(x + dx, y + dy, z + dz), table_key, table_row)
                if row < 0:
                    continue
                for j in range(first[row], first[row + 1]):
                    ex, ey, ez = points[j, 0] - px, points[j, 1] - py, points[j, 2] - pz
                    dist2 = ex * ex + ey * ey + ez * ez
                    if dist2 < best:
                        best, at = dist2, j
    return at


@jit
def covariances(points: Floats, index: Indices, count: Indices, out: Floats) -> None:
    """Fill the covariance (N, 3, 3) of the first `count` neighbours of each point."""
    for i in range(len(points)):
        sx, sy, sz, xx, xy, xz, yy, yz, zz = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
        for k in range(count[i]):
            j = index[i, k]
            x, y, z = points[j, 0] - points[i, 0], points[j, 1] - points[i, 1], \
                points[j, 2] - points[i, 2]
            sx, sy, sz = sx + x, sy + y, sz + z
            xx, xy, xz = xx + x * x, xy + x * y, xz + x * z
            yy, yz, zz = yy + y * y, yz + y * z, zz + z * z
        n = float(max(count[i], 1))
        sx, sy, sz = sx / n, sy / n, sz / n
        out[i, 0, 0], out[i, 1, 1] = xx / n - sx * sx, yy / n - sy * sy
        out[i, 2, 2] = zz / n - sz * sz
        out[i, 0, 1] = out[i, 1, 0] = xy / n - sx * sy
        out[i, 0, 2] = out[i, 2, 0] = xz / n - sx * sz
        out[i, 1, 2] = out[i, 2, 1] = yz / n - sy * sz
