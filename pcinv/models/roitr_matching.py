"""From descriptors to correspondences, coarse to fine: patches, pairs of patches, pairs of points.

In all matrices the target gives the rows and the source the columns, as in the published code.

Letters: N points, S superpoints of the target, R of the source, K points of a patch, P pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from pcinv.nn.fused import chunks
from pcinv.ops.threads import in_shares

MASKED = -1e6
"""Score of what is not there."""
_EPS = 1e-8
_CHUNK = 32
"""Pairs of patches worked on at a time: half a million numbers, which stay in the cache."""
_RANGE = 200.0
"""Scores of a wider range do not go through exp, for u and v may then leave float64."""


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


def sinkhorn(
    score: Float[Tensor, "p k l"], row_mask: Bool[Tensor, "p k"], column_mask: Bool[Tensor, "p l"],
    slack: Float[Tensor, ""], iterations: int,
) -> Float[Tensor, "p k1 l1"]:
    """Return the logarithm of the assignment, with a slack row and column behind the others.

    score : similarity of points.  slack : score of matching nothing.
    Rows and columns that are not masked sum to 1 after `exp`, the slack column to the number of
    rows and the slack row to that of columns: points that are not there have no part in it.

    Source: Sarlin et al., SuperGlue, CVPR 2020, section 3.3.
    """
    def work(share: Sequence[slice]) -> list[Tensor]:
        return [_sinkhorn(score[part], row_mask[part], column_mask[part], slack, iterations)
                for part in share]

    if not len(score):
        return F.pad(score, (0, 1, 0, 1))
    if torch.is_grad_enabled() and (score.requires_grad or slack.requires_grad):
        return torch.cat(work([slice(0, len(score))]))
    if score.device.type != "cpu":
        return torch.cat(work([slice(0, len(score))]))
    shares = in_shares(work, chunks(len(score), _CHUNK))
    return torch.cat([part for share in shares for part in share])


def _sinkhorn(
    score: Tensor, row_mask: Tensor, column_mask: Tensor, slack: Tensor, iterations: int
) -> Tensor:
    rows, columns = F.pad(row_mask, (0, 1), value=True), F.pad(column_mask, (0, 1), value=True)
    is_there = rows[:, :, None] & columns[:, None]
    inner = torch.cat((score, slack.expand(*score.shape[:2], 1)), 2)
    inner = torch.cat((inner, slack.expand(len(score), 1, inner.shape[2])), 1)
    inner = inner.masked_fill(~is_there, MASKED)
    n_rows, n_columns = (m.sum(1, keepdim=True).to(score.dtype) for m in (row_mask, column_mask))
    mass_row = torch.cat((row_mask.to(score.dtype), n_columns), 1)
    mass_column = torch.cat((column_mask.to(score.dtype), n_rows), 1)
    if not inner.requires_grad:
        top = inner.amax((1, 2), keepdim=True)
        low = inner.masked_fill(~is_there, torch.inf).amin((1, 2))
        if float((top[:, 0, 0] - low).amax()) < _RANGE:
            return _by_products(inner, top, mass_row, mass_column, iterations)
    return _by_logarithms(inner, mass_row, mass_column, iterations)


def _by_products(
    score: Tensor, top: Tensor, mass_row: Tensor, mass_column: Tensor, iterations: int
) -> Tensor:
    """Scale rows and columns of exp(score) in float64: a tenth of the time of logarithms."""
    kernel = (score - top).double().exp()
    back = kernel.mT.contiguous()
    row, column = mass_row.double()[..., None], mass_column.double()[..., None]
    u, v = torch.ones_like(row), torch.ones_like(column)
    for _ in range(iterations):
        # what is masked has no mass, and an empty row of the kernel
        u = row / torch.bmm(kernel, v).clamp_min_(1e-300)
        v = column / torch.bmm(back, u).clamp_min_(1e-300)
    lowest = torch.finfo(torch.float64).tiny
    scale = u.clamp_min(lowest).log() + v.clamp_min(lowest).log().mT
    return (score.double() - top + scale).to(score.dtype)


def _by_logarithms(
    score: Tensor, mass_row: Tensor, mass_column: Tensor, iterations: int
) -> Tensor:
    log_row, log_column = (
        torch.where(mass > 0, mass.clamp_min(1).log(), MASKED) for mass in (mass_row, mass_column))
    u, v = torch.zeros_like(log_row), torch.zeros_like(log_column)
    for _ in range(iterations):
        u = log_row - torch.logsumexp(score + v[:, None], 2)
        v = log_column - torch.logsumexp(score + u[:, :, None], 1)
    return score + u[:, :, None] + v[:, None]


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
