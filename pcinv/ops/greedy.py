"""Farthest point sampling on the CPU in numpy, equal to the reference to the last index."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from pcinv.ops.order import RANK_BITS
from pcinv.ops.threads import parallel

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]

MATRIX_POINTS = 2048
"""Up to this size all distances of a cloud are computed at once (32 MiB)."""
MATRIX_BYTES = 2**26
"""Matrices of a batch are made in groups of clouds that together stay below this."""


def farthest_point_sample(points: torch.Tensor, m: int) -> torch.Tensor:
    """Return (B, m) positions for centred float64 clouds in canonical order, from position 0 on."""
    clouds = points.numpy()
    count = clouds.shape[1]
    if count > MATRIX_POINTS:
        return torch.from_numpy(np.stack([_by_rows(cloud, m) for cloud in clouds]))
    group = max(1, MATRIX_BYTES // (8 * count * count))
    parts = [_by_matrix(clouds[i : i + group], m) for i in range(0, len(clouds), group)]
    return torch.from_numpy(np.concatenate(parts))


def _quantise(dist2: Floats) -> None:
    """Round squared distances in place as `order.quantise` does."""
    bits = dist2.view(np.int64)
    bits += 1 << (RANK_BITS - 1)
    bits &= -(1 << RANK_BITS)


def _distances(cloud: Floats) -> Floats:
    """Return the rounded squared distances (N, N), with -1 from each point to itself."""
    from scipy.spatial.distance import cdist

    dist2: Floats = cdist(cloud, cloud, "sqeuclidean")
    _quantise(dist2)
    np.fill_diagonal(dist2, -1.0)
    return dist2


def _by_matrix(clouds: Floats, m: int) -> Indices:
    """Sample (G, m) positions in step, each step being a look-up in the matrix of its cloud."""
    group, count = clouds.shape[:2]
    matrix = np.concatenate(parallel(_distances, list(clouds)))
    base = np.arange(group) * count
    index = np.zeros((m, group), dtype=np.int64)
    nearest = matrix[base]
    for j in range(1, m):
        last = nearest.argmax(axis=1)
        index[j] = last
        np.minimum(nearest, matrix[base + last], out=nearest)
    return index.T.copy()


def _by_rows(cloud: Floats, m: int) -> Indices:
    """Sample m positions of one cloud, computing the distances to each new sample."""
    columns = np.ascontiguousarray(cloud.T)
    index = np.zeros(m, dtype=np.int64)
    nearest = np.full(len(cloud), np.inf)
    dist2, part = np.empty_like(nearest), np.empty_like(nearest)
    for j in range(1, m):
        last = index[j - 1]
        np.square(np.subtract(columns[0], columns[0, last], out=dist2), out=dist2)
        for axis in (1, 2):
            np.square(np.subtract(columns[axis], columns[axis, last], out=part), out=part)
            dist2 += part
        _quantise(dist2)
        np.minimum(nearest, dist2, out=nearest)
        nearest[last] = -1.0
        index[j] = nearest.argmax()
    return index
