"""Choosing a subset of the points of a cloud."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pcinv.checks import check_count, check_points
from pcinv.errors import InputError
from pcinv.ops.backends import fps_backend
from pcinv.ops.grouping import scatter_mean
from pcinv.ops.margins import record_margin, tracking
from pcinv.ops.order import canonical_order, centre, centroid

MAX_CELLS = 2**20
"""Voxels on each side of the centroid: three axes of 21 bits fill an int64 key."""
ON_EDGE = 2.0**-30
"""A point this close below the edge of a voxel (in voxels) counts as on it, hence above."""


def farthest_point_sample(
    xyz: Float[Tensor, "b n 3"], m: int, *, backend: str = "auto"
) -> Int[Tensor, "b m"]:
    """Choose m points greedily, each the farthest from those chosen before.

    xyz : (B, N, 3) float.  Returns (B, m) int64 positions without repeats.

    The first is the point farthest from the centroid, and equal distances (to about 1e-9) are
    decided by geometry: the answer does not depend on the order of the points. The first j of m
    samples are the answer for j.

    Raises
    ------
    InputError : m exceeds N, or coordinates are not finite.
    UnknownNameError : a backend that does not exist.

    Source: Eldar et al. 1997, the farthest point strategy.
    """
    check_points(xyz)
    _check_samples(m, xyz.shape[1])
    sample = fps_backend("reference" if tracking() else backend, xyz.device)
    points, _ = centre(xyz, xyz)
    order = canonical_order(points)
    ordered = points.gather(1, order[..., None].expand_as(points))
    return order.gather(1, sample(ordered, m))


def random_sample(
    xyz: Float[Tensor, "b n 3"], m: int, generator: torch.Generator
) -> Int[Tensor, "b m"]:
    """Choose m points at random, all subsets being equally likely, without repeats.

    xyz : (B, N, 3) float.  Returns (B, m) int64 positions. The same state of the generator gives
    the same positions, whatever the coordinates are; the first j of m are the answer for j.

    Raises
    ------
    InputError : m exceeds N, or coordinates are not finite.
    """
    check_points(xyz)
    _check_samples(m, xyz.shape[1])
    keys = torch.rand(xyz.shape[:2], generator=generator, device=generator.device,
                      dtype=torch.float64)
    return keys.argsort(dim=1, stable=True)[:, :m].to(xyz.device)


class VoxelSample(NamedTuple):
    """The answer of `voxel_sample`.

    xyz : (V, 3) mean of the points of each voxel, of the type of the input.
    counts : (V,) int64 number of points of each voxel.
    inverse : (N,) int64 voxel of each point.
    """

    xyz: Float[Tensor, "v 3"]
    counts: Int[Tensor, " v"]
    inverse: Int[Tensor, " n"]


def voxel_sample(xyz: Float[Tensor, "n 3"], size: float) -> VoxelSample:
    """Replace the points of each voxel by their mean.

    xyz : (N, 3) float.  size : edge of a voxel, in the units of the coordinates.

    The grid begins at the centroid of the cloud, so a translation does not change which points fall
    together, nor does the order of the points. A rotation does: the axes of the grid are those of
    the coordinates, and the result is not rotation-invariant.

    Raises
    ------
    InputError : the voxel is so small that the cloud spans over a million of them along an axis.
    """
    check_points(xyz, batched=False)
    if not size > 0:
        raise InputError(f"size is {size}, expected more than 0", where="size",
                         hint="give the edge of a voxel in the units of the coordinates")
    points, _ = centre(xyz[None], xyz[None])
    points = points - centroid(points)
    scaled = points[0] / size
    widest = float(scaled.abs().amax())
    if widest >= MAX_CELLS:
        raise InputError(
            f"voxel far too small: the cloud spans {2 * widest:.3g} voxels of {size:g}",
            where="size", hint=f"choose a size of at least {2 * widest * size / MAX_CELLS:.2g}")
    if tracking():
        edge = (scaled - scaled.round()).abs().amin()
        record_margin(float(edge) / max(widest, 1.0))
    cell = (scaled + ON_EDGE).floor().to(torch.int64) + MAX_CELLS
    key = (cell[:, 0] * (2 * MAX_CELLS) + cell[:, 1]) * (2 * MAX_CELLS) + cell[:, 2]
    _, inverse, counts = torch.unique(key, return_inverse=True, return_counts=True)
    origin = xyz.detach().double().mean(0)
    mean = scatter_mean(xyz.double() - origin, inverse, len(counts)) + origin
    return VoxelSample(mean.to(xyz.dtype), counts, inverse)


def _check_samples(m: int, count: int) -> None:
    check_count(m, "m")
    if m > count:
        raise InputError(f"{m} samples asked of a cloud of {count} points", where="m",
                         hint=f"choose m of at most {count}, or a denser cloud")
