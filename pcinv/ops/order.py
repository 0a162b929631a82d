"""The order of the points of a cloud that depends on its geometry alone, and the width of a tie.

Every discrete decision of this package (which neighbour, which sample) is made on squared distances
in float64, rounded to 30 bits. Two distances that agree to about 1e-9 are a tie, and the point that
comes first in the *canonical order* wins: farther from the cloud's centroid first, then the smaller
x, y, z. So no answer depends on the order in which points are stored; exact duplicates are
interchangeable. The distance to the centroid does not change with the pose; the last resort, x, y
and z, does, and is only reached by points that have equal distances to all that counts.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pcinv.errors import InputError

RANK_BITS = 22
"""Low bits of a float64 that rounding clears, and that then hold the rank of a point."""
TIE = 2.0**-29
"""Relative gap of squared distances at or below which two rows are looked at more closely."""
MAX_EXTENT = 1e150


def centre(
    query: Float[Tensor, "b m 3"], points: Float[Tensor, "b n 3"]
) -> tuple[Float[Tensor, "b m 3"], Float[Tensor, "b n 3"]]:
    """Return both clouds in float64, relative to the middle of the bounding box of `points`.

    The middle of the box, unlike a mean, is the same to the last bit for any order of the points.
    """
    query, points = query.detach().double(), points.detach().double()
    low, high = points.amin(1, keepdim=True), points.amax(1, keepdim=True)
    middle = low + (high - low) / 2
    query, points = query - middle, points - middle
    extent = max(float(query.abs().amax()), float(points.abs().amax()))
    if not extent <= MAX_EXTENT:
        raise InputError(f"a cloud of radius {extent:.3g}: its squared distances overflow",
                         where="points", hint="rescale the cloud")
    return query, points


def quantise(dist2: Float[Tensor, "*shape"], bits: int = RANK_BITS) -> Float[Tensor, "*shape"]:
    """Round squared distances (float64, >= 0) by `bits` binary digits: equal values are ties."""
    return ((dist2.view(torch.int64) + (1 << (bits - 1))) & -(1 << bits)).view(torch.float64)


def rank_bits(count: int) -> int:
    """Return how many bits hold a rank among `count` points; 22 up to four million."""
    return max(RANK_BITS, (count - 1).bit_length())


def pack(
    dist2: Float[Tensor, "*shape"], rank: Int[Tensor, "*shape"], bits: int
) -> Int[Tensor, "*shape"]:
    """Return integer keys that sort by rounded squared distance, and ties by rank."""
    return quantise(dist2, bits).view(torch.int64) | rank


def centroid(points: Float[Tensor, "b n 3"]) -> Float[Tensor, "b 1 3"]:
    """Return the mean of centred points, the same to the last bit for any order of the points.

    The sum is done in integers (fixed point, 62 bits less the bits of N), where order is no matter.
    """
    bits = min(61 - points.shape[1].bit_length(), 52)
    size = points.abs().amax(dim=(1, 2), keepdim=True)
    exponent = (size.view(torch.int64) >> 52) + 1 - bits
    unit = (exponent.clamp_min(1) << 52).view(torch.float64)  # a power of two
    total = (points / unit).to(torch.int64).sum(1, keepdim=True)
    return total.double() * (unit / points.shape[1])


def squared_distance(
    a: Float[Tensor, "*shape 3"], b: Float[Tensor, "*shape 3"]
) -> Float[Tensor, "*shape"]:
    """Return |a - b|² from differences; written out, since fused sums round differently."""
    x, y, z = (a - b).unbind(-1)
    return x * x + y * y + z * z


def canonical_order(points: Float[Tensor, "b n 3"]) -> Int[Tensor, "b n"]:
    """Return the indices of centred float64 points in canonical order, outermost point first."""
    dist2 = quantise(squared_distance(points, centroid(points)))
    value, order = dist2.sort(dim=1, descending=True)
    tied = (value[:, 1:] == value[:, :-1]).any(1).nonzero()[:, 0]
    if len(tied):
        order[tied] = _lexicographic(points[tied], dist2[tied])
    return order


def _lexicographic(
    points: Float[Tensor, "b n 3"], dist2: Float[Tensor, "b n"]
) -> Int[Tensor, "b n"]:
    """Sort by dist2 (descending), then x, y, z: stable sorts from the last key to the first."""
    order = torch.argsort(points[..., 2], dim=1, stable=True)
    for key, descending in ((points[..., 1], False), (points[..., 0], False), (dist2, True)):
        step = torch.argsort(key.gather(1, order), dim=1, stable=True, descending=descending)
        order = order.gather(1, step)
    return order


def inverse(order: Int[Tensor, "b n"]) -> Int[Tensor, "b n"]:
    """Return the rank of each point in `order`."""
    rank = torch.empty_like(order)
    positions = torch.arange(order.shape[1], device=order.device)
    return rank.scatter_(1, order, positions.expand_as(order))
