"""Compiled loops over distance fields: their making, and values with gradients at many points."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pcinv.ops.jit import jit

Floats = NDArray[np.float32]
FAR = np.float32(1e12)


@jit
def spread_distance(square: Floats) -> None:
    """Turn zeros and `FAR` on a grid into squared distances in cells to the nearest zero.

    Source: Felzenszwalb, Huttenlocher, Distance transforms of sampled functions, 2012: lower
    envelopes of parabolas, one axis after the other.
    """
    nx, ny, nz = square.shape
    longest = max(nx, ny, nz)
    row, place, start = np.empty(longest, np.float32), np.empty(longest, np.int64), np.empty(
        longest + 1, np.float64)
    for x in range(nx):
        for y in range(ny):
            _envelope(square[x, y], row, place, start)
    for x in range(nx):
        for z in range(nz):
            _envelope(square[x, :, z], row, place, start)
    for y in range(ny):
        for z in range(nz):
            _envelope(square[:, y, z], row, place, start)


@jit
def _envelope(line: Floats, row: Floats, place: NDArray[np.int64], start: NDArray[np.float64]
              ) -> None:
    count = len(line)
    last = -1
    for q in range(count):
        row[q] = line[q]
        if line[q] >= FAR:
            continue
        while last >= 0:
            v = place[last]
            s = ((row[q] + q * q) - (row[v] + v * v)) / (2.0 * (q - v))
            if s > start[last]:
                break
            last -= 1
        last += 1
        place[last] = q
        start[last] = -np.inf if last == 0 else s
    if last < 0:
        return
    k = 0
    for q in range(count):
        while k < last and start[k + 1] < q:
            k += 1
        line[q] = (q - place[k]) * (q - place[k]) + row[place[k]]


@jit
def sample(
    field: Floats, low: NDArray[np.float64], cell: float, xyz: NDArray[np.float64],
    value: NDArray[np.float64], gradient: NDArray[np.float64],
) -> None:
    """Fill the trilinear value of a grid at points, and its gradient; points beyond are clipped.

    The value at grid index i belongs to low + (i + 1/2) cell.
    """
    nx, ny, nz = field.shape
    for n in range(len(xyz)):
        fx = min(max((xyz[n, 0] - low[0]) / cell - 0.5, 0.0), nx - 1.001)
        fy = min(max((xyz[n, 1] - low[1]) / cell - 0.5, 0.0), ny - 1.001)
        fz = min(max((xyz[n, 2] - low[2]) / cell - 0.5, 0.0), nz - 1.001)
        i, j, k = int(fx), int(fy), int(fz)
        a, b, c = fx - i, fy - j, fz - k
        v000, v001 = field[i, j, k], field[i, j, k + 1]
        v010, v011 = field[i, j + 1, k], field[i, j + 1, k + 1]
        v100, v101 = field[i + 1, j, k], field[i + 1, j, k + 1]
        v110, v111 = field[i + 1, j + 1, k], field[i + 1, j + 1, k + 1]
        v00, v01 = v000 + (v100 - v000) * a, v001 + (v101 - v001) * a
        v10, v11 = v010 + (v110 - v010) * a, v011 + (v111 - v011) * a
        v0, v1 = v00 + (v10 - v00) * b, v01 + (v11 - v01) * b
        value[n] = v0 + (v1 - v0) * c
        gradient[n, 0] = (
            ((v100 - v000) * (1 - b) + (v110 - v010) * b) * (1 - c)
            + ((v101 - v001) * (1 - b) + (v111 - v011) * b) * c) / cell
        gradient[n, 1] = ((v10 - v00) * (1 - c) + (v11 - v01) * c) / cell
        gradient[n, 2] = (v1 - v0) / cell


@jit
def gather(
    theta: NDArray[np.float64], ids: NDArray[np.int32], weight: Floats, flow: NDArray[np.float64]
) -> None:
    """Fill flow_i = sum over the 8 corners of weight theta[id]."""
    for i in range(len(ids)):
        x = y = z = 0.0
        for k in range(8):
            w, v = weight[i, k], ids[i, k]
            x += w * theta[v, 0]
            y += w * theta[v, 1]
            z += w * theta[v, 2]
        flow[i, 0], flow[i, 1], flow[i, 2] = x, y, z


@jit
def scatter(
    gradient: NDArray[np.float64], ids: NDArray[np.int32], weight: Floats,
    out: NDArray[np.float64],
) -> None:
    """Add weight gradient_i to the corners of each point: the transpose of `gather`."""
    out[:] = 0.0
    for i in range(len(ids)):
        for k in range(8):
            w, v = weight[i, k], ids[i, k]
            out[v, 0] += w * gradient[i, 0]
            out[v, 1] += w * gradient[i, 1]
            out[v, 2] += w * gradient[i, 2]


@jit
def add_distance(
    value: NDArray[np.float64], slope: NDArray[np.float64], cap: float, share: float, step: float,
    gradient: NDArray[np.float64],
) -> float:
    """Add the gradient of share * sum of min(value, cap) for points moved step times the flow."""
    total = 0.0
    for i in range(len(value)):
        if value[i] >= cap:
            total += cap
            continue
        total += value[i]
        for c in range(3):
            gradient[i, c] += share * step * slope[i, c]
    return total * share


@jit
def add_cluster(
    flow: NDArray[np.float64], cluster: NDArray[np.int64], count: NDArray[np.int64], share: float,
    mean: NDArray[np.float64], pull: NDArray[np.float64], gradient: NDArray[np.float64],
) -> float:
    """Add the gradient of share * sum of |flow_i - mean flow of its cluster|; return its value.

    cluster : -1 for points of none.  mean, pull : (clusters, 3) to work in.
    """
    mean[:] = 0.0
    pull[:] = 0.0
    for i in range(len(flow)):
        k = cluster[i]
        if k >= 0:
            for c in range(3):
                mean[k, c] += flow[i, c] / count[k]
    total = 0.0
    for i in range(len(flow)):
        k = cluster[i]
        if k < 0:
            continue
        x, y, z = flow[i, 0] - mean[k, 0], flow[i, 1] - mean[k, 1], flow[i, 2] - mean[k, 2]
        length = np.sqrt(x * x + y * y + z * z)
        total += length
        if length > 1e-9:
            x, y, z = share * x / length, share * y / length, share * z / length
            gradient[i, 0] += x
            gradient[i, 1] += y
            gradient[i, 2] += z
            pull[k, 0] += x / count[k]
            pull[k, 1] += y / count[k]
            pull[k, 2] += z / count[k]
    for i in range(len(flow)):
        k = cluster[i]
        if k >= 0:
            for c in range(3):
                gradient[i, c] -= pull[k, c]
    return total * share


@jit
def add_length(flow: NDArray[np.float64], share: float, gradient: NDArray[np.float64]) -> float:
    """Add the gradient of share * sum of |flow_i|; return its value."""
    total = 0.0
    for i in range(len(flow)):
        x, y, z = flow[i, 0], flow[i, 1], flow[i, 2]
        length = np.sqrt(x * x + y * y + z * z)
        total += length
        if length > 1e-9:
            gradient[i, 0] += share * x / length
            gradient[i, 1] += share * y / length
            gradient[i, 2] += share * z / length
    return total * share
