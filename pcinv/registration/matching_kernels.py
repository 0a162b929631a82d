"""Compiled loops over matrices of distances: smallest values, and differences of lengths."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from pcinv.ops.jit import jit

Floats = NDArray[np.float32]
Indices = NDArray[np.int64]
Flags = NDArray[np.uint8]

_LANES = 64


@jit
def _insert(value: float, at: int, values: Floats, places: Indices) -> None:
    """Put a value that is smaller than the last of `values`, which ascend, where it belongs."""
    k = len(values) - 1
    while k > 0 and values[k - 1] > value:
        values[k], places[k] = values[k - 1], places[k - 1]
        k -= 1
    values[k], places[k] = value, at


@jit
def _take(
    row: Floats, at: int, begin: int, end: int, row_value: Floats, row_place: Indices,
    column_value: Floats, column_place: Indices, worst: Floats,
) -> None:
    """Take in the columns begin to end of one row."""
    for c in range(begin, end):
        value = row[c]
        if value < row_value[-1]:
            _insert(value, c, row_value, row_place)
        if value < worst[c]:
            _insert(value, at, column_value[c], column_place[c])
            worst[c] = column_value[c, -1]


@jit
def keep_smallest(
    block: Floats, start: int, row_value: Floats, row_place: Indices, column_value: Floats,
    column_place: Indices, worst: Floats,
) -> None:
    """Take in rows start, start + 1, ... of a matrix: block (R, M).

    row_value, row_place : (N, W) the smallest of each row so far, ascending, and their columns.
    column_value, column_place : (M, W) of each column, and their rows.
    worst : (M,) the last of each of `column_value`.
    """
    last, width = row_value.shape[1] - 1, block.shape[1]
    for r in range(len(block)):
        at, row = start + r, block[r]
        for lanes in range(width // _LANES):  # a fixed number at once: the compiler vectorises
            limit, found = row_value[at, last], 0
            for c in range(_LANES):
                found += row[lanes * _LANES + c] < limit or row[lanes * _LANES + c] < worst[
                    lanes * _LANES + c]
            if found:  # rarely
                _take(row, at, lanes * _LANES, (lanes + 1) * _LANES, row_value[at], row_place[at],
                      column_value, column_place, worst)
        _take(row, at, width // _LANES * _LANES, width, row_value[at], row_place[at], column_value,
              column_place, worst)


@jit
def length_differences(
    x: Floats, y: Floats, start: int, stop: int, difference: Floats, near: Flags
) -> None:
    """Fill rows of | |x_i - x_j| - |y_i - y_j| | (K, K), and of |x_i - x_j| < 1. x, y : (3, K)."""
    one = np.float32(1.0)
    for i in range(start, stop):
        for j in range(x.shape[1]):
            a, b, c = x[0, j] - x[0, i], x[1, j] - x[1, i], x[2, j] - x[2, i]
            there = math.sqrt(a * a + b * b + c * c)
            a, b, c = y[0, j] - y[0, i], y[1, j] - y[1, i], y[2, j] - y[2, i]
            difference[i, j] = abs(there - math.sqrt(a * a + b * b + c * c))
            near[i, j] = there < one
