"""Which side of a surface is its outside, where a shape was seen from all round.

A model, or a part scanned on a turntable, has no view point, but it has an outside: what can be
seen from far away. It is looked at from 98 directions. A closed surface is seen from one side only;
a sheet that a camera saw once is seen from both, and its votes cancel.
"""

from __future__ import annotations

from itertools import product
from math import gcd

import numpy as np
import torch
from jaxtyping import Float

from pcinv.geometry.symmetric import eigh3

CLOSED = 0.4
"""Share of the votes that agree from which on a surface is taken as closed: generated models have
0.4 to 0.9, or less where they are two voxels thin; scans from one place 0.0 to 0.39, 97 of 100
below 0.31."""
_CELL = 1.5
"""Width of a cell of the image, in voxels: so wide that a surface has no holes."""
_TOLERANCE = 1.0
"""How far, in voxels, a point may lie behind the nearest of its cell, seen at right angles."""
_STEEPEST = 0.2
_STEPS = [np.array(d, np.float64) for d in product(range(-2, 3), repeat=3)
          if any(d) and gcd(*d) == 1]
_DIRECTIONS = np.stack([step / np.linalg.norm(step) for step in _STEPS])


def orient_outward(
    points: Float[np.ndarray, "n 3"], normals: Float[np.ndarray, "n 3"], voxel: float
) -> tuple[Float[np.ndarray, "n 3"], float]:
    """Return the normals turned to the side that is seen from outside, and how sure that is.

    points : (N, 3), thinned to the voxel.  normals : (N, 3) unit vectors of any sign.

    The second value is the share of the votes that agree, from 0 to 1, in the mean over the points
    that are seen at all: near 1 for a closed surface, near 0 for a sheet. A point that is not seen
    keeps its normal. Directions are fixed to the principal axes: the answer turns with the cloud.
    """
    local = points - points.mean(0)
    axes = eigh3(torch.from_numpy(local.T @ local))[1].numpy()
    local, turned = local @ axes / voxel, normals @ axes
    votes, weight = np.zeros(len(points)), np.zeros(len(points))
    for direction in _DIRECTIONS:
        facing = turned @ direction
        seen = _seen(local, direction, np.abs(facing))
        votes[seen] += facing[seen]
        weight[seen] += np.abs(facing[seen])
    some = weight > 0
    sure = float((np.abs(votes[some]) / weight[some]).mean()) if some.any() else 0.0
    return np.where(votes[:, None] < 0, -normals, normals), sure


def _seen(
    local: Float[np.ndarray, "n 3"], direction: Float[np.ndarray, "3"],
    slant: Float[np.ndarray, " n"],
) -> Float[np.ndarray, " n"]:
    """Return which points nothing hides, looked at from far away in a direction."""
    across = np.cross(direction, np.eye(3)[np.abs(direction).argmin()])
    across /= np.linalg.norm(across)
    image = np.rint(local @ np.stack([across, np.cross(direction, across)], 1) / _CELL)
    image -= image.min(0)
    flat = (image[:, 0] * (image[:, 1].max() + 1) + image[:, 1]).astype(np.int64)
    cells, cell = np.unique(flat, return_inverse=True)
    depth = -local @ direction
    nearest = np.full(len(cells), np.inf)
    np.minimum.at(nearest, cell, depth)
    steep = np.maximum(slant, _STEEPEST)
    behind = _TOLERANCE + _CELL * np.sqrt(1 - steep**2) / steep
    return np.asarray(depth - nearest[cell] <= behind)
