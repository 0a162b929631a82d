"""Compiled loops of the cylinder grids: points near a key point, by cells, and their soft counts.

Letters: N points in the order of their cells, K key points, L rings, H heights, A azimuths.
Everything is done in float64: the grids of a turned cloud then differ by what its coordinates lost.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pcinv.ops.jit import jit

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]

SPAN = 1 << 20
"""Cells along each axis; points beyond the last one are in the last one."""


@jit
def _cell(value: float, low: float, size: float) -> int:
    return int(min(max(math.floor((value - low) / size), 0.0), SPAN - 1.0))


@jit
def cell_keys(points: Floats, low: Floats, size: float, keys: Indices) -> None:
    """Fill the number of the cell of each point (N, 3): cells along x are numbered in a row."""
    for i in range(len(points)):
        x, y, z = (_cell(points[i, 0], low[0], size), _cell(points[i, 1], low[1], size),
                   _cell(points[i, 2], low[2], size))
        keys[i] = (z * SPAN + y) * SPAN + x


@jit
def _runs_in_box(
    keys: Indices, low: Floats, size: float, px: float, py: float, pz: float, ex: float, ey: float,
    ez: float, runs: Indices,
) -> tuple[int, int]:
    """Fill where the points of the cells of a box begin and end; return how many runs and points.

    p, e : middle of the box and half its edges.  runs : (R, 2), one for each row of cells at least.
    """
    x0, x1 = _cell(px - ex, low[0], size), _cell(px + ex, low[0], size)
    y0, y1 = _cell(py - ey, low[1], size), _cell(py + ey, low[1], size)
    z0, z1 = _cell(pz - ez, low[2], size), _cell(pz + ez, low[2], size)
    count, total = 0, 0
    for z in range(z0, z1 + 1):
        for y in range(y0, y1 + 1):
            row = (z * SPAN + y) * SPAN
            begin = np.searchsorted(keys, row + x0)
            end = begin
            while end < len(keys) and keys[end] <= row + x1:
                end += 1
            if end > begin:
                runs[count, 0], runs[count, 1] = begin, end
                count += 1
                total += end - begin
    return count, total


@jit
def _rows(reach: float, size: float) -> int:
    """Return how many rows of cells a box of half-edges `reach` can touch at most."""
    return int(2.0 * reach / size + 3.0) ** 2


@jit
def count_within(
    points: Floats, keys: Indices, low: Floats, size: float, radius: float, begin: int, end: int,
    counts: Indices,
) -> None:
    """Fill how many other points lie within the radius of points begin to end."""
    runs = np.empty((_rows(radius, size), 2), np.int64)
    for i in range(begin, end):
        px, py, pz = points[i, 0], points[i, 1], points[i, 2]
        count, _ = _runs_in_box(keys, low, size, px, py, pz, radius, radius, radius, runs)
        found = 0
        for r in range(count):
            for j in range(runs[r, 0], runs[r, 1]):
                x, y, z = points[j, 0] - px, points[j, 1] - py, points[j, 2] - pz
                found += x * x + y * y + z * z <= radius * radius
        counts[i] = found - 1


@jit
def _find(
    points: Floats, runs: Indices, count: int, place: Floats, axis: Floats, radius: float,
    found: Indices, offset: Floats, lean: Floats,
) -> int:
    """Find the points within the cylinder; return how many.

    found : their positions.  offset : (5, N) their part across the axis, their height and radius.
    lean : (3,) filled with sum (R - radius)(R - |height|) (part across the axis).
    """
    px, py, pz = place[0], place[1], place[2]
    ax, ay, az = axis[0], axis[1], axis[2]
    used, sx, sy, sz = 0, 0.0, 0.0, 0.0
    for r in range(count):
        for j in range(runs[r, 0], runs[r, 1]):
            x, y, z = points[j, 0] - px, points[j, 1] - py, points[j, 2] - pz
            height = x * ax + y * ay + z * az
            x, y, z = x - height * ax, y - height * ay, z - height * az
            square = x * x + y * y + z * z
            if square < radius * radius and abs(height) < radius:
                rho = math.sqrt(square)
                weight = (radius - rho) * (radius - abs(height))
                sx, sy, sz = sx + weight * x, sy + weight * y, sz + weight * z
                offset[0, used], offset[1, used], offset[2, used] = x, y, z
                offset[3, used], offset[4, used], found[used] = height, rho, j
                used += 1
    lean[0], lean[1], lean[2] = sx, sy, sz
    return used


@jit
def _set_frame(axis: Floats, lean: Floats, least: float, frame: Floats) -> None:
    """Fill the right-handed frame (3, 3): axis, direction of azimuth 0, of azimuth 90 degrees.

    Where the points lean by no more than `least` any direction will do, the same for each cloud.
    """
    along = lean[0] * axis[0] + lean[1] * axis[1] + lean[2] * axis[2]
    tx, ty, tz = lean[0] - along * axis[0], lean[1] - along * axis[1], lean[2] - along * axis[2]
    if not tx * tx + ty * ty + tz * tz > least * least:
        c = 0 if abs(axis[0]) < 0.9 else 1
        tx, ty, tz = -axis[c] * axis[0], -axis[c] * axis[1], -axis[c] * axis[2]
        tx, ty = (tx + 1.0, ty) if c == 0 else (tx, ty + 1.0)
    length = math.sqrt(tx * tx + ty * ty + tz * tz)
    tx, ty, tz = tx / length, ty / length, tz / length
    for c in range(3):
        frame[0, c] = axis[c]
    frame[1, 0], frame[1, 1], frame[1, 2] = tx, ty, tz
    frame[2, 0] = axis[1] * tz - axis[2] * ty
    frame[2, 1] = axis[2] * tx - axis[0] * tz
    frame[2, 2] = axis[0] * ty - axis[1] * tx


@jit
def _locate(
    normals: Floats, found: Indices, count: int, offset: Floats, frame: Floats, radius: float,
    height_scale: float, core: float, rim: float, shape: tuple[int, int, int], value: Floats,
) -> None:
    """Fill value (7, N): weight, normal along the axis, radially and tangentially, grid places."""
    rings, heights, azimuths = shape
    a, t, b = frame[0], frame[1], frame[2]
    unit, per_turn = 1.0 / math.asinh(radius / height_scale), azimuths / (2.0 * math.pi)
    for k in range(count):
        x, y, z, height, rho = (offset[0, k], offset[1, k], offset[2, k], offset[3, k],
                                offset[4, k])
        j = found[k]
        nx, ny, nz = normals[j, 0], normals[j, 1], normals[j, 2]
        px, py = x * t[0] + y * t[1] + z * t[2], x * b[0] + y * b[1] + z * b[2]
        mx, my = nx * t[0] + ny * t[1] + nz * t[2], nx * b[0] + ny * b[1] + nz * b[2]
        inverse = 1.0 / rho if rho > 0.0 else 0.0
        value[0, k] = (min(1.0, rho / core) * min(1.0, (radius - rho) / rim)
                       * min(1.0, (radius - abs(height)) / rim))
        value[1, k] = nx * a[0] + ny * a[1] + nz * a[2]
        value[2, k], value[3, k] = (mx * px + my * py) * inverse, (my * px - mx * py) * inverse
        turn = math.atan2(py, px) * per_turn
        value[4, k] = turn + azimuths if turn < 0.0 else turn
        value[5, k] = rho * rings / radius - 0.5
        level = abs(height) / height_scale
        level = math.log(level + math.sqrt(level * level + 1.0)) * unit  # asinh
        value[6, k] = ((level if height >= 0.0 else -level) + 1.0) * (0.5 * (heights - 1))


@jit
def _add(value: Floats, count: int, total: Floats) -> None:
    """Share each point among the 8 nearest nodes: total (L, H, A, 4)."""
    rings, heights, azimuths, _ = total.shape
    for k in range(count):
        w, n0, n1, n2 = value[0, k], value[1, k], value[2, k], value[3, k]
        i, f = int(value[4, k]), value[4, k] - int(value[4, k])
        i -= azimuths if i >= azimuths else 0  # a hair below 0 became a whole turn
        r, g = math.floor(value[5, k]), value[5, k] - math.floor(value[5, k])
        inner, outer = max(r, 0), min(r + 1, rings - 1)
        h = min(int(value[6, k]), heights - 2)
        e = value[6, k] - h
        for corner in range(8):
            share = w * (g if corner & 1 else 1.0 - g) * (e if corner & 2 else 1.0 - e)
            share *= f if corner & 4 else 1.0 - f
            node = total[outer if corner & 1 else inner, h + 1 if corner & 2 else h,
                         (i + 1) % azimuths if corner & 4 else i]
            node[0] += share
            node[1] += share * n0
            node[2] += share * n1
            node[3] += share * n2


@jit
def _finish(total: Floats, plane: float, out: Any) -> None:
    """Fill out (4 L H, A) with occupancies, and with these times mean normals.

    plane : points that a plane has in the innermost ring of a sector.
    """
    rings, heights, azimuths, _ = total.shape
    for r in range(rings):
        for h in range(heights):
            s = r * heights + h
            for i in range(azimuths):
                count = total[r, h, i, 0]
                if count > 0.0:
                    occupied = 1.0 - math.exp(-2.0 * count / (plane * (2 * r + 1)))
                    out[s, i] = occupied
                    for c in range(1, 4):
                        out[c * rings * heights + s, i] = occupied * (total[r, h, i, c] / count)


@jit
def fill_grids(
    points: Floats, normals: Floats, keys: Indices, low: Floats, size: float, places: Floats,
    axes: Floats, begin: int, end: int, radius: float, height_scale: float, core: float, rim: float,
    least: float, plane: float, shape: tuple[int, int, int], out: Any,
) -> None:
    """Fill the grids of key points begin to end: out (K, 4 L H, A), zeros before.

    points, normals, keys : (N, 3), (N, 3), (N,) by cells of edge `size` from `low` on, ascending.
    places, axes : (K, 3); a key point whose axis is zero keeps zeros.
    core, rim : lengths over which weights rise from 0, from the axis and from the hull.
    least : see `_set_frame`.  plane : see `_finish`.
    """
    rings, heights, azimuths = shape
    runs = np.empty((_rows(1.5 * radius, size), 2), np.int64)
    room = 4096
    found, offset, value = np.empty(room, np.int64), np.empty((5, room)), np.empty((7, room))
    total = np.empty((rings, heights, azimuths, 4))
    lean, frame = np.empty(3), np.empty((3, 3))
    for k in range(begin, end):
        ax, ay, az = axes[k, 0], axes[k, 1], axes[k, 2]
        if ax == 0.0 and ay == 0.0 and az == 0.0:
            continue
        # The box around the cylinder reaches up to sqrt(2) R from the key point: its edge does.
        ex = radius * (abs(ax) + math.sqrt(ay * ay + az * az))
        ey = radius * (abs(ay) + math.sqrt(ax * ax + az * az))
        ez = radius * (abs(az) + math.sqrt(ax * ax + ay * ay))
        count, near = _runs_in_box(keys, low, size, places[k, 0], places[k, 1], places[k, 2], ex,
                                   ey, ez, runs)
        if near > room:
            room = 2 * near
            found, offset, value = (np.empty(room, np.int64), np.empty((5, room)),
                                    np.empty((7, room)))
        used = _find(points, runs, count, places[k], axes[k], radius, found, offset, lean)
        _set_frame(axes[k], lean, least, frame)
        _locate(normals, found, used, offset, frame, radius, height_scale, core, rim, shape, value)
        total[:] = 0.0
        _add(value, used, total)
        _finish(total, plane, out[k])
