"""From descriptors to correspondences, coarse to fine: patches, pairs of patches, pairs of points.

In all matrices the target gives the rows and the source the columns, as in the published code.

Letters: N points, S superpoints of the target, R of the source, K points of a patch, P pairs.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

_EPS = 1e-8


class Pairs(NamedTuple):
    """Superpoints that look alike, best first. target, source : (P,) int64.  score : (P,)."""

    target: Tensor
    source: Tensor
    score: Tensor


def patches_of(
    owner: Int[Tensor, " n"], dist: Float[Tensor, " n"], rank: Int[Tensor, " n"], tie: float,
    count: int, size: int,
) -> Int[Tensor, "s k"]:
    """Return the nearest `size` of the points that each superpoint owns; N where there are fewer.

    owner, dist : (N,) nearest superpoint of each point, and how far it is.
    rank, tie : order of points whose distances differ by no more than `tie`.
    """
    n = len(owner)
    order = dist.argsort(stable=True)
    order = order[owner[order].argsort(stable=True)]
    owners, dists = owner[order], dist[order]
    new = (owners.diff() != 0) | (dists.diff() > tie)
    group = F.pad(new.cumsum(0), (1, 0))
    order = order[(group * n + rank[order]).argsort()]
    first = torch.searchsorted(owners, torch.arange(count, device=owner.device))
    place = torch.arange(n, device=owner.device) - first[owners]
    patch = owner.new_full((count, size), n)
    kept = place < size
    patch[owners[kept], place[kept]] = order[kept]
    return patch


def coarse_scores(
    target: Float[Tensor, "s c"], source: Float[Tensor, "r c"], target_mask: Bool[Tensor, " s"],
    source_mask: Bool[Tensor, " r"],
) -> Float[Tensor, "s r"]:
    """Return exp(-|f - g|²) of unit vectors, normalised over rows and over columns; 0 if masked.

    target_mask, source_mask : True where a superpoint has points.
    """
    dist2 = (2 - 2 * target @ source.t()).clamp_min(1e-12)
    score = torch.exp(-dist2) * target_mask[:, None] * source_mask
    by_row = score / (score.sum(1, keepdim=True) + _EPS)
    return by_row * (score / (score.sum(0, keepdim=True) + _EPS))


def best_pairs(score: Float[Tensor, "s r"], limit: int) -> Pairs:
    """Return the `limit` best entries above 0."""
    value, place = score.flatten().topk(min(limit, score.numel()))
    place, value = place[value > 0], value[value > 0]
    return Pairs(place // score.shape[1], place % score.shape[1], value)


def near_pairs(
    target: Float[Tensor, "s c"], source: Float[Tensor, "r c"], target_mask: Bool[Tensor, " s"],
    source_mask: Bool[Tensor, " r"], distance: float, least: int,
) -> Pairs:
    """Return all pairs of unit vectors within `distance`, or the `least` nearest if more.

    Source: the adaptive superpoint matching of the 4DMatch model; the score is exp(-|f - g|).
    """
    dist = (2 - 2 * target @ source.t()).clamp_min(1e-12).sqrt()
    dist = dist.masked_fill(~(target_mask[:, None] & source_mask), torch.inf)
    count = max(int((dist <= distance).sum()), least)
    value, place = dist.flatten().topk(min(count, dist.numel()), largest=False)
    place, value = place[value < torch.inf], value[value < torch.inf]
    return Pairs(place // dist.shape[1], place % dist.shape[1], (-value).exp())


def fine_pairs(
    log_assignment: Float[Tensor, "p k1 l1"], row_mask: Bool[Tensor, "p k"],
    column_mask: Bool[Tensor, "p l"], top: int, least: float,
) -> tuple[Int[Tensor, " q"], Int[Tensor, " q"], Int[Tensor, " q"], Float[Tensor, " q"]]:
    """Return pair, row, column and confidence of what is among the `top` of its row and column.

    least : confidence that must be exceeded. Of equal confidences all count or none does.
    """
    z = log_assignment[:, :-1, :-1].exp()
    z = z * (row_mask[:, :, None] & column_mask[:, None])
    by_row = z.topk(min(top, z.shape[2]), dim=2).values[..., -1:]
    by_column = z.topk(min(top, z.shape[1]), dim=1).values[:, -1:]
    pair, row, column = ((z >= by_row) & (z >= by_column) & (z > least)).nonzero(as_tuple=True)
    return pair, row, column, z[pair, row, column]
