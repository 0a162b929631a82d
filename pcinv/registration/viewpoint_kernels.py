"""Compiled loops of the view point search: what a cloud looks like from a place.

Clouds are (3, N), so that each coordinate is one run of memory. Loops without sums stand apart
from loops with sums: the compiler vectorises the former and must keep the order of the latter.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from pcinv.ops.jit import jit

Floats = NDArray[np.float64]
Ints = NDArray[np.int32]
Words = NDArray[np.uint64]

CELL = math.radians(3.0)
SIDE = 128  # cells: directions up to 192 degrees from the middle, more than there are
_EMPTY = 1e9
_REACH = 8  # cells between which an empty one is a hole
_STEEPEST = 0.2
# Abramowitz and Stegun 4.4.46: arccos(x) = sqrt(1 - x) times this, to 2e-8
_ARCCOS = (1.5707963050, -0.2145988016, 0.0889789874, -0.0501743046, 0.0308918810, -0.0170881256,
           0.0066700901, -0.0012624911)


@jit
def _look(
    points: Floats, normals: Floats, eye: Floats, direction: Floats, distance: Floats,
    facing: Floats,
) -> None:
    """Fill the directions (3, N), distances and |cos| (N,) of slant of all points from `eye`."""
    ex, ey, ez = eye[0], eye[1], eye[2]
    for k in range(points.shape[1]):
        x, y, z = points[0, k] - ex, points[1, k] - ey, points[2, k] - ez
        r = math.sqrt(x * x + y * y + z * z) + 1e-9
        x, y, z = x / r, y / r, z / r
        direction[0, k], direction[1, k], direction[2, k], distance[k] = x, y, z, r
        facing[k] = abs(x * normals[0, k] + y * normals[1, k] + z * normals[2, k])


@jit
def _mean_direction(direction: Floats) -> tuple[float, float, float]:
    x, y, z = 0.0, 0.0, 0.0
    for k in range(direction.shape[1]):
        x += direction[0, k]
        y += direction[1, k]
        z += direction[2, k]
    count = direction.shape[1]
    return x / count, y / count, z / count


@jit
def _project(direction: Floats, mx: float, my: float, mz: float, cell: Ints) -> None:
    """Fill the cell of each direction: azimuthal equidistant about the unit vector m."""
    if abs(mx) < 0.9:
        ux, uy, uz = 0.0, mz, -my
    else:
        ux, uy, uz = -mz, 0.0, mx
    size = math.sqrt(ux * ux + uy * uy + uz * uz)
    ux, uy, uz = ux / size, uy / size, uz / size
    vx, vy, vz = my * uz - mz * uy, mz * ux - mx * uz, mx * uy - my * ux
    half = SIDE // 2
    for k in range(direction.shape[1]):
        x, y, z = direction[0, k], direction[1, k], direction[2, k]
        cos = min(max(x * mx + y * my + z * mz, -1.0), 1.0)
        a, b = x * ux + y * uy + z * uz, x * vx + y * vy + z * vz
        c = abs(cos)
        angle = _ARCCOS[7]
        angle = angle * c + _ARCCOS[6]
        angle = angle * c + _ARCCOS[5]
        angle = angle * c + _ARCCOS[4]
        angle = angle * c + _ARCCOS[3]
        angle = angle * c + _ARCCOS[2]
        angle = angle * c + _ARCCOS[1]
        angle = (angle * c + _ARCCOS[0]) * math.sqrt(1.0 - c)
        angle = angle if cos >= 0.0 else math.pi - angle
        scale = angle / CELL / (math.sqrt(a * a + b * b) + 1e-9)
        row = np.int32(scale * a + half)
        cell[k] = row * SIDE + np.int32(scale * b + half)


@jit
def _draw(cell: Ints, distance: Floats, image: Floats, touched: Ints) -> int:
    """Put the nearest distance of each cell into the image; return how many cells were touched."""
    count = 0
    for k in range(cell.shape[0]):
        where = cell[k]
        nearest = image[where]
        if nearest == _EMPTY:
            touched[count] = where
            count += 1
        if distance[k] < nearest:
            image[where] = distance[k]
    return count


@jit
def _third_nearest(image: Floats, touched: Ints, count: int, third: Floats) -> None:
    """Fill the third smallest distance of the 3 x 3 cells about each touched cell."""
    for t in range(count):
        where = touched[t]
        a, b, c = _EMPTY, _EMPTY, _EMPTY
        for row in range(-SIDE, SIDE + 1, SIDE):
            for column in range(-1, 2):
                value = image[where + row + column]
                if value < a:
                    a, b, c = value, a, b
                elif value < b:
                    b, c = value, b
                elif value < c:
                    c = value
        third[where] = c


@jit
def _count_holes(touched: Ints, count: int, rows: Words) -> int:
    """Return the empty cells that have a touched one within reach in all four directions.

    rows : (128, 2) zeros, and zeros again afterwards; a bit is a cell.
    """
    one = np.uint64(1)
    first, last = SIDE, 0
    for t in range(count):
        row, column = touched[t] // SIDE, touched[t] % SIDE
        rows[row, column // 64] |= one << np.uint64(column % 64)
        first, last = min(first, row), max(last, row)
    holes = 0
    for row in range(first, last + 1):
        low, high = rows[row, 0], rows[row, 1]
        left0, left1 = np.uint64(0), np.uint64(0)  # a touched cell at one of the lower places
        right0, right1 = np.uint64(0), np.uint64(0)
        up0, up1 = np.uint64(0), np.uint64(0)
        down0, down1 = np.uint64(0), np.uint64(0)
        for step in range(1, _REACH + 1):
            s, back = np.uint64(step), np.uint64(64 - step)
            left0 |= low << s
            left1 |= (high << s) | (low >> back)
            right0 |= (low >> s) | (high << back)
            right1 |= high >> s
            if row - step >= first:
                up0 |= rows[row - step, 0]
                up1 |= rows[row - step, 1]
            if row + step <= last:
                down0 |= rows[row + step, 0]
                down1 |= rows[row + step, 1]
        for word in (left0 & right0 & up0 & down0 & ~low, left1 & right1 & up1 & down1 & ~high):
            while word:
                word &= word - one
                holes += 1
    for t in range(count):
        row, column = touched[t] // SIDE, touched[t] % SIDE
        rows[row, column // 64] = 0
    return holes


@jit
def _log(values: Floats, out: Floats) -> None:
    """Fill the natural logarithms of positive numbers, to 1e-9: the library's costs five times."""
    bits = values.view(np.int64)
    mantissa = (bits & ((1 << 52) - 1)) | (1023 << 52)
    exponent = (bits >> 52) - 1023
    base = mantissa.view(np.float64)
    for k in range(values.shape[0]):
        s = (base[k] - math.sqrt(2.0)) / (base[k] + math.sqrt(2.0))
        q = s * s
        series = s * (2.0 + q * (2 / 3 + q * (2 / 5 + q * (2 / 7 + q * (2 / 9 + q * (2 / 11))))))
        out[k] = (exponent[k] + 0.5) * math.log(2.0) + series


@jit
def _project_about_mean(direction: Floats, cell: Floats) -> float:
    """Fill the cells of an image about the mean direction; return the length of that mean."""
    x, y, z = _mean_direction(direction)
    length = math.sqrt(x * x + y * y + z * z) + 1e-9
    _project(direction, x / length, y / length, z / length, cell)
    return length


@jit
def view_cues(
    points: Floats, normals: Floats, roughness: Floats, eyes: Floats, out: Floats
) -> None:
    """Fill the cues (Q, 12) of the cloud as seen from each place, in the order of the table.

    points, normals : (3, N), a unit of length of 1 m at 5 cm spacing.  roughness : (N,) logarithms.
    eyes : (Q, 3).
    """
    n = points.shape[1]
    direction, distance, facing, logs = np.empty((3, n)), np.empty(n), np.empty(n), np.empty(n)
    cell, touched = np.empty(n, np.int32), np.empty(n, np.int32)
    image, third = np.full(SIDE * SIDE, _EMPTY), np.empty(SIDE * SIDE)
    rows = np.zeros((SIDE, 2), np.uint64)
    rough_sum, rough_square = 0.0, 0.0
    for k in range(n):
        rough_sum += roughness[k]
        rough_square += roughness[k] * roughness[k]
    rough_variance = rough_square / n - (rough_sum / n) ** 2
    for q in range(eyes.shape[0]):
        _look(points, normals, eyes[q], direction, distance, facing)
        concentration = _project_about_mean(direction, cell)
        count = _draw(cell, distance, image, touched)
        _third_nearest(image, touched, count, third)
        _log(distance, logs)
        hidden, deep, grazing, far = 0, 0, 0, 0
        nearest, range_sum, facing_sum = _EMPTY, 0.0, 0.0
        log_sum, log_square, log_rough = 0.0, 0.0, 0.0
        for k in range(n):
            r, c, log = distance[k], facing[k], logs[k]
            slant = r * CELL / max(c, _STEEPEST)
            hidden += image[cell[k]] < r - 0.1 - slant
            deep += third[cell[k]] < r - 0.15 - 2.0 * slant
            grazing += c < _STEEPEST
            far += r > 3.5
            nearest = min(nearest, r)
            range_sum += r
            facing_sum += c
            log_sum += log
            log_square += log * log
            log_rough += log * roughness[k]
        holes = _count_holes(touched, count, rows)
        for t in range(count):
            image[touched[t]] = _EMPTY
        variance = log_square / n - (log_sum / n) ** 2
        covariance = log_rough / n - log_sum / n * rough_sum / n
        out[q, 0] = hidden / n
        out[q, 1] = deep / n
        out[q, 2] = holes / (count + holes + 1.0)
        out[q, 3] = facing_sum / n
        out[q, 4] = grazing / n
        out[q, 5] = far / n
        out[q, 6] = concentration
        out[q, 7] = nearest
        out[q, 8] = math.log(range_sum / n)
        out[q, 9] = covariance / math.sqrt(max(variance, 1e-12) * max(rough_variance, 1e-12))
        out[q, 10] = math.log(count + 1.0)
        out[q, 11] = math.sqrt(max(variance, 0.0))
