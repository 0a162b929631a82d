"""Which points of a LiDAR scan lie on the ground.

Cells of a polar grid have a low: the mean of their lowest points, lonely ones apart. The plane near
the sensor that most lows lie on, and few below, is the seed. From it the ground grows outward: a
cell is ground where its low is what its neighbours on the ground let expect, by a plane through
them. At last planes are fitted anew to the ground on all sides of each cell, which outliers hardly
move, and points near these are marked. So the ground may slope, bend and have kerbs.

The idea of ring-wise planes is that of Patchwork (Lim et al., RA-L 2021) and of the line fits of
Himmelsbach et al. (IV 2010); cells, seed and growth are our own.
"""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Bool, Float

from pcinv.errors import InputError, ShapeError

HEIGHT = 0.15
"""Metres above the ground up to which a point is on it: below the ankle of a person."""
DEPTH = 0.4
"""Metres below it: under that a point is a reflection."""
STEP = 0.2
"""Metres that a cell may be above what its neighbours let expect: a kerb."""
STEEPEST_DEG = 20.0
SEEDED = 15.0
"""Metres around the sensor in which one plane must hold at first."""
NEAR_SEED = 0.12


def is_ground(xyz: Float[np.ndarray, "n 3"], *, height: float = HEIGHT,
              sensor_height: float | None = None, steepest_deg: float = STEEPEST_DEG
              ) -> Bool[np.ndarray, " n"]:
    """Return which points (N,) of a scan lie on the ground.

    xyz : (N, 3) metres, z up to within `steepest_deg`, the sensor or its vehicle at the origin.
    height : metres above the ground up to which points count: nothing higher ever does.
    sensor_height : metres of the origin above the ground under it, to within 0.5 m; None: found.
    steepest_deg : slopes of the ground that are looked for.

    Points that are not finite are not on the ground; nor is any where no ground is found.

    Raises ShapeError, InputError for arguments of the wrong shape or size.

    >>> flat = np.stack([*np.meshgrid(np.linspace(-9, 9, 40), np.linspace(-9, 9, 40)),
    ...                  np.full((40, 40), -1.7)], -1).reshape(-1, 3)
    >>> bool(is_ground(flat).all()), bool(is_ground(flat + [0, 0, 0]).any())
    (True, True)
    """
    xyz = np.asarray(xyz)
    if xyz.ndim != 2 or xyz.shape[1] != 3:
        raise ShapeError(f"points of shape {xyz.shape}", where="xyz", hint="(N, 3)")
    if not 0 < height <= 1 or not 0 < steepest_deg <= 45:
        raise InputError(f"height = {height} m, steepest_deg = {steepest_deg}", where="height",
                         hint="above 0, up to 1 m and 45 degrees")
    from pcinv.ops import ground_kernels as kernels

    points = np.ascontiguousarray(xyz, np.float32)
    cells = kernels.SECTORS * kernels.RINGS
    cell, order = np.empty(len(points), np.int64), np.empty(len(points), np.int64)
    low, reach = np.zeros((cells, 4)), np.zeros(cells)
    kernels.lows(points, cell, order, low, reach)
    steepest = math.tan(math.radians(steepest_deg))
    mask, plane = np.zeros(len(points), bool), np.zeros(3)
    wanted, free = (0.0, math.inf) if sensor_height is None else (-float(sensor_height), 0.5)
    for within in (SEEDED, 3 * SEEDED, math.inf):  # farther where little is near
        if kernels.seed_plane(low, reach, within, NEAR_SEED, steepest, wanted, free, plane) >= 10:
            break
    else:
        return mask
    ground, fits = np.zeros(cells, bool), np.zeros((cells, 4))
    kernels.grow(low, reach, plane, within, STEP, steepest, ground, fits)
    kernels.mark(points, cell, low, ground, fits, height, DEPTH, mask)
    return mask


def remove_ground(xyz: Float[np.ndarray, "n 3"], **options: float | None
                  ) -> Float[np.ndarray, "m 3"]:
    """Return the points (M, 3) that do not lie on the ground; see `is_ground`."""
    return np.asarray(xyz)[~is_ground(xyz, **options)]  # type: ignore[arg-type]
