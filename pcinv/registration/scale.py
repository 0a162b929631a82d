"""How fine to work: the voxel of a pair of clouds, from the clouds alone.

All lengths of the registration count in voxels, so this is the one place where the size of things
enters. Nothing is assumed about units or sensors: the voxel is chosen so that the larger cloud
keeps a number of points that is enough to tell places apart and few enough to match quickly.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from jaxtyping import Float
from scipy.spatial import cKDTree

from pcinv.errors import InputError
from pcinv.ops import voxel_sample
from pcinv.ops.threads import each_alone
from pcinv.registration.grid import count_cells

TARGET_POINTS, FEWEST_POINTS = 5000, 1500
"""Points that the larger cloud keeps; real fragments of rooms at 5 cm have 1,400 to 7,000."""
GOOD_SPACINGS, MIN_SPACINGS = 3.5, 2.0
"""The voxel is not finer than so many spacings, which makes several points a voxel; where that
leaves too few points, not finer than the second number."""
_SAMPLE = 1000
_STEPS = 6
_CLOSE = 0.03
_FINEST = 2.0**-18
"""Share of the extent that the finest voxel has."""


def spacing(points: Float[np.ndarray, "n 3"]) -> float:
    """Return the median distance of a point to its nearest other point; 0 if most have a twin.

    points : (N, 3), at least two. About 1,000 points are looked at, chosen by their place in the
    cloud and not by their order.
    """
    local = points - points.mean(axis=0)
    some = local[np.lexsort(local.T)[:: -(-len(local) // _SAMPLE)]]
    tree = cKDTree(local, balanced_tree=False, compact_nodes=False)  # built twice as fast
    return float(np.median(tree.query(some, k=min(2, len(local)))[0][:, -1]))


def thin(points: Float[np.ndarray, "n 3"], voxel: float) -> Float[np.ndarray, "m 3"]:
    """Replace the points of each voxel by their mean; the grid begins at the centroid."""
    return np.asarray(voxel_sample(torch.tensor(points), voxel).xyz.numpy())


def choose_voxel(
    source: Float[np.ndarray, "n 3"], target: Float[np.ndarray, "m 3"],
    target_points: int = TARGET_POINTS, gap: float | None = None,
) -> float:
    """Return the voxel at which the larger of two clouds keeps about `target_points` points.

    gap : the larger of the two spacings, if it is known.

    It is not so fine that a voxel holds a point or two. Raises InputError where a cloud has no
    extent: all its points are at one place.
    """
    extents = [float(np.ptp(cloud, axis=0).max()) for cloud in (source, target)]
    for name, extent in zip(("source", "target"), extents, strict=True):
        if not extent > 0:
            raise InputError("all points are at one place", where=name,
                             hint="a cloud needs three points that are not on a line")
    clouds = list(zip((source, target), extents, strict=True))
    if gap is None:
        gap = max(spacing(source), spacing(target))
    floor = max(MIN_SPACINGS * gap, max(extents) * _FINEST)
    few, many = (max(each_alone(lambda one, count=count: _voxel_for(one[0], count, one[1]), clouds))
                 for count in (FEWEST_POINTS, target_points))
    return max(floor, many, min(GOOD_SPACINGS * gap, few))


def _voxel_for(points: Float[np.ndarray, "n 3"], count: int, extent: float) -> float:
    """Return the voxel that leaves `count` points, to a few per cent; 0 where there are fewer."""
    if len(points) <= count:
        return 0.0
    finest = extent * _FINEST
    low, voxel, high = finest, extent / math.sqrt(count), extent
    for _ in range(_STEPS):
        found = count_cells(points, voxel)
        if abs(found / count - 1) <= _CLOSE:
            break
        if found > count:
            low = voxel
        else:
            high = voxel
        guess = voxel * math.sqrt(found / count)  # surfaces: points fall with the square
        voxel = guess if low < guess < high else math.sqrt(low * high)
    return voxel
