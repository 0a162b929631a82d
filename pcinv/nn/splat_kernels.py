"""Compiled loops that draw pictures of clouds.

Letters: G pictures, N points, H pixels a side.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pcinv.ops.jit import jit

Array = NDArray[Any]


@jit
def draw(
    offset: Array, nearest: Array, near: Array, shade: Array, radius: float, reach: int,
    surface: float, faint: float, out: Array
) -> None:
    """Fill `out` (G, 2, H, H) as `pcinv.nn.splat.splat` says; it comes as zeros.

    offset : (G, N, 2) from the nearest pixel to the point.  nearest : (G, N, 2) int32, right and
    up.  near, shade : (G, N).  reach : pixels that a disc can go beyond the nearest one.
    """
    pixels = out.shape[-1]
    kind = out.dtype.type
    one, zero, edge = kind(1), kind(0), kind(radius)
    hidden, faintly = kind(1 / surface), kind(faint)
    total = np.empty((pixels, pixels), out.dtype)
    for g in range(out.shape[0]):
        front, facing = out[g, 0], out[g, 1]
        total[:] = faintly
        for is_last in (False, True):
            for i in range(offset.shape[1]):
                x, y = offset[g, i, 0], offset[g, i, 1]
                value, facet = near[g, i], shade[g, i]
                for up in range(-reach, reach + 1):
                    row = pixels - 1 - nearest[g, i, 1] - up
                    if row < 0 or row >= pixels:
                        continue
                    for right in range(-reach, reach + 1):
                        column = nearest[g, i, 0] + right
                        if column < 0 or column >= pixels:
                            continue
                        across, along = x - kind(right), y - kind(up)
                        cover = min(one, edge - np.sqrt(across * across + along * along))
                        if cover <= zero:
                            continue
                        if not is_last:
                            front[row, column] = max(front[row, column], cover * value)
                            continue
                        shown = one - (front[row, column] - cover * value) * hidden
                        if shown > zero:
                            total[row, column] += cover * shown
                            facing[row, column] += cover * shown * facet
        for row in range(pixels):
            for column in range(pixels):
                facing[row, column] /= total[row, column]
