"""Nearest neighbours: k of them, or those within a radius."""

from typing import NamedTuple

from jaxtyping import Bool, Float, Int
from torch import Tensor

from pcinv.checks import check_count, check_points
from pcinv.errors import InputError, ShapeError
from pcinv.ops.backends import knn_backend
from pcinv.ops.margins import record_margin, tracking
from pcinv.ops.order import centre, quantise
from pcinv.ops.reference import SAME, cloud_radius


class Neighbours(NamedTuple):
    """The answer of `knn`, nearest first.

    dist2 : (B, M, k) squared distances, of the type of the query; they carry no gradient.
    index : (B, M, k) int64 positions in the points.
    """

    dist2: Float[Tensor, "b m k"]
    index: Int[Tensor, "b m k"]  # type: ignore[assignment]  # hides tuple.index, unused here


def knn(
    query: Float[Tensor, "b m 3"], points: Float[Tensor, "b n 3"], k: int, *,
    backend: str = "auto",
) -> Neighbours:
    """Return the k nearest points of each query, exactly.

    query, points : (B, M, 3) and (B, N, 3) float. A query that is among the points is its own
        first neighbour. Decisions are made in float64; equal distances (to about 1e-9) are ordered
        by geometry, so the answer does not depend on the order of the points.
    k : at most N.

    Raises
    ------
    InputError : k exceeds N, or coordinates are not finite.
    UnknownNameError : a backend that does not exist.
    """
    _, _, dist2, index = search(query, points, k, backend)
    return Neighbours(dist2.to(query.dtype), index)


def ball_query(
    query: Float[Tensor, "b m 3"], points: Float[Tensor, "b n 3"], radius: float, k: int, *,
    backend: str = "auto",
) -> tuple[Int[Tensor, "b m k"], Bool[Tensor, "b m k"]]:
    """Return the k nearest points and which of them lie within the radius, nearest first.

    radius : in the units of the coordinates; a point at the radius (to about 1e-9) is within.
    Returns index (B, M, k) and mask (B, M, k): where the mask is False, the point is farther away.
    Raises and ties are as with `knn`.
    """
    if not radius > 0:
        raise InputError(f"radius is {radius}, expected more than 0", where="radius",
                         hint="give a radius in the units of the coordinates")
    _, to, dist2, index = search(query, points, k, backend)
    limit = quantise(dist2.new_tensor(radius).square())
    if tracking():
        gap = (dist2.sqrt() - radius).abs().amin(dim=(1, 2))
        for cloud, value in zip(to, gap, strict=True):
            record_margin(float(value) / max(cloud_radius(cloud), radius))
    return index, quantise(dist2) <= limit


def search(
    query: Float[Tensor, "b m 3"], points: Float[Tensor, "b n 3"], k: int, backend: str
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Check, centre, find: what `knn` and its relatives share.

    Returns both centred clouds, dist2 in float64, and the indices.
    """
    check_points(query, "query")
    check_points(points, "points")
    if len(query) != len(points):
        raise ShapeError(f"{len(query)} clouds of queries for {len(points)} of points",
                         where="query", hint="give both the same batch size")
    check_count(k, "k")
    count = points.shape[1]
    if k > count:
        raise InputError(f"{k} neighbours asked of a cloud of {count} points", where="k",
                         hint=f"choose k of at most {count}, or a denser cloud")
    find = knn_backend(backend, query.device)
    at, to = centre(query, points)
    if not (tracking() and k < count):
        return at, to, *find(at, to, k)
    dist2, index = find(at, to, k + 1)  # one more: the first that is left out
    _record(to, index, dist2, k)
    return at, to, dist2[..., :k], index[..., :k]


def _record(
    points: Float[Tensor, "b n 3"], index: Int[Tensor, "b m k"], dist2: Float[Tensor, "b m k"],
    k: int,
) -> None:
    """Record the gap between the last neighbour and the first point left out."""
    gap = dist2[..., k].sqrt() - dist2[..., k - 1].sqrt()
    for cloud, pair, value in zip(points, index[..., k - 1 : k + 1], gap, strict=True):
        radius = cloud_radius(cloud)
        differ = (cloud[pair[:, 0]] - cloud[pair[:, 1]]).norm(dim=1) > SAME * radius
        if bool(differ.any()):
            record_margin(float(value[differ].amin().clamp_min(0) / radius))
