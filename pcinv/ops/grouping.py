"""Fetching the rows of neighbours, and spreading rows over the points around them."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pcinv.checks import check_count
from pcinv.errors import InputError, ShapeError
from pcinv.ops.neighbours import search


def gather(
    features: Float[Tensor, "b n c"], index: Int[Tensor, "b *rows"]
) -> Float[Tensor, "b *rows c"]:
    """Return features[b, index[b, ...]]: the rows that an index (B, M) or (B, M, k) points at.

    One `index_select` over the flattened batch: forward and backward together it takes a third of
    the time of `torch.gather` and three quarters of that of indexing with two tensors.

    Raises
    ------
    ShapeError : the batch sizes differ.
    """
    batch, count, width = features.shape
    if len(index) != batch:
        raise ShapeError(f"index of {len(index)} clouds for features of {batch}", where="index",
                         hint="give both the same batch size")
    base = torch.arange(batch, device=index.device) * count
    rows = (index + base.view(batch, *[1] * (index.dim() - 1))).reshape(-1)
    flat = features.reshape(batch * count, width)
    return flat.index_select(0, rows).view(*index.shape, width)


def interpolate(
    fine: Float[Tensor, "b m 3"], coarse: Float[Tensor, "b n 3"], features: Float[Tensor, "b n c"],
    k: int = 3, *, backend: str = "auto",
) -> Float[Tensor, "b m c"]:
    """Carry features from the coarse points to the fine ones, weighted by 1 / distance².

    fine, coarse : (B, M, 3) and (B, N, 3) float.  features : (B, N, C) float, at the coarse points.
    k : how many coarse points each fine one hears; all of them where there are fewer.
    The result is differentiable in the features; the weights are constants.

    Raises
    ------
    ShapeError : features do not belong to the coarse points.
    InputError : coordinates are not finite.

    Source: Qi et al. 2017, PointNet++, eq. 2 (p = 2, k = 3).
    """
    if features.shape[:2] != coarse.shape[:2]:
        raise ShapeError(f"features of {tuple(features.shape[:2])} points (B, N), but the coarse "
                         f"cloud has {tuple(coarse.shape[:2])}", where="features",
                         hint="one row of features for each coarse point")
    check_count(k, "k")
    _, _, dist2, index = search(fine, coarse, min(k, coarse.shape[1]), backend)
    # relative to the farthest of the k, so that the scale of the cloud does not matter
    farthest = dist2[..., -1:]
    ratio = torch.where(farthest > 0, dist2 / farthest.clamp_min(1e-300), 1.0)
    weight = 1.0 / ratio.clamp_min(NEAREST)
    weight = (weight / weight.sum(-1, keepdim=True)).to(features.dtype)
    return torch.einsum("bmk,bmkc->bmc", weight, gather(features, index))


NEAREST = 1e-10
"""A coarse point this much nearer (in squared distance) than the k-th counts as coincident."""


def scatter_mean(
    values: Float[Tensor, "n c"], index: Int[Tensor, " n"], count: int
) -> Float[Tensor, "g c"]:
    """Return the mean of the values of each group, (count, C); 0 for a group without members.

    index : (N,) int64, the group of each row, in [0, count).

    Raises
    ------
    ShapeError : index does not have one entry for each row.
    InputError : a group out of range.
    """
    if index.shape != values.shape[:1]:
        raise ShapeError(f"{len(index)} groups for {len(values)} rows", where="index",
                         hint="give one group for each row")
    low, high = (int(index.min()), int(index.max())) if len(index) else (0, 0)
    if low < 0 or high >= max(count, 1):
        raise InputError(f"groups {low} to {high}, expected 0 to {count - 1}", where="index",
                         hint="give the number of groups as count")
    total = values.new_zeros(count, values.shape[1])
    total = total.scatter_add(0, index[:, None].expand_as(values), values)
    members = torch.bincount(index, minlength=count).clamp_min(1)
    return total / members[:, None].to(values.dtype)
