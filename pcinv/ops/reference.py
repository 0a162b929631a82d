"""Exact neighbours and samples in plain torch, on any device: what every backend is held to.

Coordinates come centred and in float64 (`order.centre`), squared distances are sums of squared
differences (|a|² + |b|² - 2ab loses all digits far from the origin), and memory is bounded: work is
done in chunks of rows, so that no (N, N) matrix exists for a large cloud.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pcinv.ops.margins import record_margin, tracking
from pcinv.ops.order import (
    canonical_order,
    pack,
    quantise,
    rank_bits,
    squared_distance,
)

MAX_BYTES, MAX_BYTES_ON_GPU = 2**27, 2**30
"""Memory ceiling of the temporary arrays of one chunk."""
BYTES_A_PAIR = 40
"""Float64 difference, its square, the running sum, the key, and what top-k copies."""


def knn(
    query: Float[Tensor, "b m 3"], points: Float[Tensor, "b n 3"], k: int, *,
    max_bytes: int | None = None,
) -> tuple[Float[Tensor, "b m k"], Int[Tensor, "b m k"]]:
    """Return squared distances and indices of the k nearest, ties in canonical order.

    query, points : (B, M, 3) and (B, N, 3) float64, centred.
    max_bytes : ceiling of temporary memory, below which clouds and rows are taken in chunks; a
        batch of small clouds is one chunk, since a GPU waits for each of many small operations.
    """
    many, count = points.shape[:2]
    order = canonical_order(points)
    bits = rank_bits(count)
    index = torch.empty(*query.shape[:2], k, dtype=torch.int64, device=points.device)
    if max_bytes is None:
        max_bytes = MAX_BYTES if points.device.type == "cpu" else MAX_BYTES_ON_GPU
    pairs = max(1, max_bytes // BYTES_A_PAIR)
    clouds = max(1, min(many, pairs // (count * query.shape[1])))  # at a time
    rows = max(1, min(query.shape[1], pairs // (clouds * count)))
    ranks = torch.arange(count, device=points.device)
    for b in range(0, many, clouds):
        some = order[b : b + clouds]
        x, y, z = points[b : b + clouds].gather(1, some[..., None].expand(-1, -1, 3)).unbind(-1)
        for start in range(0, query.shape[1], rows):
            part = query[b : b + clouds, start : start + rows, :, None]
            dist2 = (part[:, :, 0] - x[:, None]).square_()
            dist2 += (part[:, :, 1] - y[:, None]).square_()
            dist2 += (part[:, :, 2] - z[:, None]).square_()
            key = pack(dist2, ranks, bits).topk(k, dim=2, largest=False).values
            place = (key & ((1 << bits) - 1)).flatten(1)
            index[b : b + clouds, start : start + rows] = some.gather(1, place).view_as(key)
    batch = torch.arange(many, device=points.device)[:, None, None]
    return squared_distance(query[:, :, None], points[batch, index]), index


def farthest_point_sample(points: Float[Tensor, "b n 3"], m: int) -> Int[Tensor, "b m"]:
    """Return m positions by greedy farthest point sampling, from position 0 on; ties: first wins.

    points : (B, N, 3) float64, centred and *in canonical order*: position 0 is the outermost point,
        and the first of equal distances is the one that geometry prefers.

    Source: Eldar et al. 1997, the farthest point strategy.
    """
    index = points.new_zeros(len(points), m, dtype=torch.int64)
    nearest = torch.full(points.shape[:2], torch.inf, dtype=torch.float64, device=points.device)
    batch = torch.arange(len(points), device=points.device)
    if tracking():
        _record_runner_up(points, squared_distance(points, points.mean(1, keepdim=True)))
    for j in range(1, m):
        last = index[:, j - 1]
        dist2 = squared_distance(points, points[batch, last][:, None])
        nearest = torch.minimum(nearest, quantise(dist2))
        nearest[batch, last] = -1.0  # never again, also when only its duplicates are left
        index[:, j] = nearest.argmax(1)
        if tracking():
            _record_runner_up(points, nearest)
    return index


SAME = 1e-12
"""Points closer than this part of the radius are interchangeable, no choice between them counts."""


def _record_runner_up(points: Float[Tensor, "b n 3"], value: Float[Tensor, "b n"]) -> None:
    """Record the gap between the greatest distance and the next one of a different point."""
    batch = torch.arange(len(points), device=points.device)
    best = value.argmax(1)
    radius = (points - points.mean(1, keepdim=True)).norm(dim=2).amax(1)
    differ = (points - points[batch, best][:, None]).norm(dim=2) > SAME * radius[:, None]
    first = value[batch, best].sqrt()
    second = torch.where(differ, value, 0.0).amax(1).clamp_min(0).sqrt()
    choice = first > 0  # else only duplicates of samples are left
    if bool(choice.any()):
        record_margin(float(((first - second) / radius)[choice].amin()))


def cloud_radius(points: Float[Tensor, "n 3"]) -> float:
    """Return the greatest distance from the centroid."""
    return float((points - points.mean(0)).norm(dim=1).amax())

