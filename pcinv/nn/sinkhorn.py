"""Optimal transport between the points of two patches, with a slack row and column.

Scores become an assignment whose rows and columns have given sums, by scaling rows and columns in
turn. What the loss knows of the scores behind it follows from these sums alone: the gradient is the
solution of one small linear system, and not a walk back through all the iterations.

Source: Sarlin et al., SuperGlue, CVPR 2020, section 3.3; the gradient is that of the implicit
function theorem, as in Luise et al., NeurIPS 2018.

Letters: P pairs of patches, K and L points of a patch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from pcinv.nn.fused import chunks
from pcinv.ops.threads import in_shares

MASKED = -1e6
"""Score of what is not there."""
_CHUNK = 32
"""Pairs of patches worked on at a time: half a million numbers, which stay in the cache."""
_RANGE = 200.0
"""Scores of a wider range do not go through exp, for u and v may then leave float64."""


def sinkhorn(
    score: Float[Tensor, "p k l"], row_mask: Bool[Tensor, "p k"], column_mask: Bool[Tensor, "p l"],
    slack: Float[Tensor, ""], iterations: int,
) -> Float[Tensor, "p k1 l1"]:
    """Return the logarithm of the assignment, with a slack row and column behind the others.

    score : similarity of points.  slack : score of matching nothing.
    Rows and columns that are not masked sum to 1 after `exp`, the slack column to the number of
    rows and the slack row to that of columns: points that are not there have no part in it.
    The gradient is that of the assignment which iterations without end would reach.
    """
    if not len(score):
        return F.pad(score, (0, 1, 0, 1))
    rows, columns = F.pad(row_mask, (0, 1), value=True), F.pad(column_mask, (0, 1), value=True)
    inner = torch.cat((score, slack.expand(*score.shape[:2], 1)), 2)
    inner = torch.cat((inner, slack.expand(len(score), 1, inner.shape[2])), 1)
    inner = inner.masked_fill(~(rows[:, :, None] & columns[:, None]), MASKED)
    n_rows, n_columns = (m.sum(1, keepdim=True).to(score.dtype) for m in (row_mask, column_mask))
    mass_row = torch.cat((row_mask.to(score.dtype), n_columns), 1)
    mass_column = torch.cat((column_mask.to(score.dtype), n_rows), 1)
    log_assignment: Tensor = _Transport.apply(  # type: ignore[no-untyped-call]
        inner, mass_row, mass_column, iterations)
    return log_assignment


class _Transport(torch.autograd.Function):
    """Scores, masked, and the sums of rows and columns -> logarithm of the assignment."""

    @staticmethod
    def forward(
        ctx: Any, score: Tensor, mass_row: Tensor, mass_column: Tensor, iterations: int
    ) -> Tensor:
        if score.device.type != "cpu":
            found = _transport(score, mass_row, mass_column, iterations)
        else:
            def work(share: Sequence[slice]) -> list[Tensor]:
                return [_transport(score[part], mass_row[part], mass_column[part], iterations)
                        for part in share]

            shares = in_shares(work, chunks(len(score), _CHUNK))
            found = torch.cat([part for share in shares for part in share])
        ctx.save_for_backward(found, mass_row, mass_column)
        return found

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        """Solve what keeps the sums of rows and columns while the scores change.

        With A = exp(log assignment), r and c its sums, and G the gradient: [[diag r, A], [A^T,
        diag c]] [x; y] = [G 1; G^T 1], and the gradient of the scores is G - A o (x 1^T + 1 y^T).
        """
        found, mass_row, mass_column = ctx.saved_tensors
        is_there = (mass_row > 0)[:, :, None] & (mass_column > 0)[:, None]
        g = gradient.double() * is_there
        assigned = found.double().exp() * is_there
        row, column = assigned.sum(2, keepdim=True), assigned.sum(1)
        row = row.where(mass_row[..., None] > 0, 1.0)
        scaled = assigned / row
        reduced = torch.diag_embed(column.where(mass_column > 0, 1.0)) - assigned.mT @ scaled
        # x and y are determined but for a constant, which goes from one to the other
        reduced += column[:, :, None] * column[:, None] / column.sum(1).clamp_min(
            torch.finfo(torch.float64).tiny)[:, None, None]
        rest = g.sum(1) - (scaled.mT @ g.sum(2, keepdim=True))[..., 0]
        y = torch.linalg.solve(reduced, rest)
        x = (g.sum(2, keepdim=True) - assigned @ y[..., None]) / row
        return (g - assigned * (x + y[:, None])).to(gradient), None, None, None


def _transport(score: Tensor, mass_row: Tensor, mass_column: Tensor, iterations: int) -> Tensor:
    is_there = (mass_row > 0)[:, :, None] & (mass_column > 0)[:, None]
    top = score.amax((1, 2), keepdim=True)
    low = score.masked_fill(~is_there, torch.inf).amin((1, 2))
    if float((top[:, 0, 0] - low).amax()) < _RANGE:
        return _by_products(score, top, mass_row, mass_column, iterations)
    return _by_logarithms(score, mass_row, mass_column, iterations)


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
