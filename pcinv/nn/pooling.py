"""The last step of a surface convolution: map, join what is carried, normalise, activate, maximum.

For R = G K rows of C channels the mapped values z are never stored: batch normalisation needs their
mean and variance, the maximum their extremes. The gradient of z is affine in z but for the
extremes, so it need not exist either: with z = W x + b + carried, and dz = level + slope z + s,
s being non-zero at the extremes only,

    dx = (W^T diag(slope) W) x + W^T (level + slope (b + carried)) + W^T s
    dW = level (sum x)^T + diag(slope) sum z x^T + sum s x^T

where products over all rows are of E x E, not C x E, numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from pcinv.nn.fused import CHUNK_ROWS, array, batch_statistics, chunks, is_fused, norm_slopes
from pcinv.nn.rows import norm_affine, norm_relu_max
from pcinv.ops.threads import in_shares, parallel

Pool = Callable[[Tensor, Tensor | None, Tensor | None], Tensor]


def linear_norm_relu_max(linear: nn.Linear, norm: nn.BatchNorm1d, clouds: int = 1) -> Pool:
    """Return the function max over K of ReLU(BN(W x + b + carried[rows])), (G, K, E) -> (G, C).

    It takes x, `carried` (N, C) or None, and `rows` (G K,): which row of it each row of x carries.
    The weights are put together once, here.

    clouds : equal consecutive parts of x and of `carried` that have nothing to do with each other;
        in training they share the work.
    """
    if norm.training:
        return partial(_train, linear, norm, clouds)
    scale, shift = norm_affine(norm)
    sign = torch.where(scale.detach() < 0, -1, 1).to(scale.dtype)

    def pool(x: Tensor, carried: Tensor | None, rows: Tensor | None) -> Tensor:
        if torch.is_grad_enabled() or not is_fused(x):
            z = _mapped(x, linear, carried, rows)
            top = torch.where(scale >= 0, z.amax(1), z.amin(1))
        else:
            top, _, _ = _extremes(x, linear, carried, rows, sign, is_training=False)
        return F.relu(torch.addcmul(shift, top, scale))

    return pool


def _train(
    linear: nn.Linear, norm: nn.BatchNorm1d, clouds: int, x: Tensor, carried: Tensor | None,
    rows: Tensor | None,
) -> Tensor:
    if not is_fused(x):
        return norm_relu_max(_mapped(x, linear, carried, rows), norm)
    norm.num_batches_tracked.add_(1)
    if carried is None or rows is None:
        carried, rows = x.new_zeros(0, len(linear.weight)), torch.zeros(0, dtype=torch.int64)
    y: Tensor = _LinearNormReluMax.apply(  # type: ignore[no-untyped-call]
        x, linear.weight, linear.bias, carried, rows, norm.weight, norm.bias, linear, norm, clouds)
    return y


def _mapped(
    x: Tensor, linear: nn.Linear, carried: Tensor | None, rows: Tensor | None
) -> Tensor:
    """Return W x + b + carried[rows], (G, K, C), on any device and in any precision."""
    z: Tensor = linear(x)
    if carried is None or rows is None:
        return z
    # An embedding, not an index: its gradient needs no index for each channel.
    return z + F.embedding(rows, carried).view_as(z)


def _extremes(
    x: Tensor, linear: nn.Linear, carried: Tensor | None, rows: Tensor | None, sign: Tensor, *,
    is_training: bool,
) -> tuple[Tensor, Tensor, list[Any]]:
    """Return the extreme of z in each group (G, C), its row, and sums (2, C) of z and z^2.

    The sums are for training only.
    """
    from pcinv.nn.kernels import group_extremes

    g, k, _ = x.shape
    c = len(sign)
    top, place = x.new_empty(g, c), torch.empty(g, c, dtype=torch.int32)
    step = max(1, CHUNK_ROWS // k)
    no_rows = carried is None or rows is None
    extra = np.empty((0, c), top.numpy().dtype) if no_rows else array(carried)
    index = np.empty(0, np.int64) if no_rows else array(rows)
    signs, tops, places = array(sign), top.numpy(), place.numpy()
    weight, bias = linear.weight.detach().t(), linear.bias.detach()
    x = x.detach().contiguous()

    def work(parts: Sequence[slice]) -> Any:
        sums = np.zeros((2, c if is_training else 0))
        buffer = x.new_empty(min(step, g) * k, c)
        for part in parts:
            some = x[part].view(-1, x.shape[-1])
            z = torch.addmm(bias, some, weight, out=buffer[: len(some)]).view(-1, k, c)
            group_extremes(z.numpy(), extra, index[part.start * k : part.stop * k], signs,
                           tops[part], places[part], sums)
        return sums

    sums = in_shares(work, chunks(g, step)) if is_training else [work(chunks(g, step))]
    return top.mul_(sign), place, sums


class _LinearNormReluMax(torch.autograd.Function):
    """Training on a CPU; `norm` brings its running statistics, `linear` the weights once more."""

    @staticmethod
    def forward(ctx, x, weight, bias, carried, rows, gamma, beta, linear, norm, clouds):  # type: ignore[no-untyped-def]
        g, k, _ = x.shape
        sign = torch.where(gamma < 0, -1, 1).to(gamma.dtype)
        top, place, sums = _extremes(x, linear, carried, rows, sign, is_training=True)
        mean, inverse = (t.to(x.dtype) for t in batch_statistics(sums, g * k, norm))
        scale = gamma * inverse
        y = torch.addcmul(beta - mean * scale, top, scale).relu_()
        ctx.save_for_backward(x, weight, bias, carried, rows, gamma, mean, inverse, top, place, y)
        ctx.clouds = clouds
        return y

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx, grad):  # type: ignore[no-untyped-def]
        from pcinv.nn.kernels import spread_extremes

        x, weight, bias, carried, rows, gamma, mean, inverse, top, place, y = ctx.saved_tensors
        g, k, e = x.shape
        c, n, clouds = len(weight), len(carried), ctx.clouds
        grad = grad * (y > 0)
        grad_beta = grad.sum(0)
        grad_gamma = ((top - mean) * inverse * grad).sum(0)
        scale = gamma * inverse
        level, slope = norm_slopes(scale, mean, inverse, grad_gamma, grad_beta, g * k)
        sloped = slope[:, None] * weight  # diag(slope) W, (C, E)
        constant = (level + slope * bias) @ weight
        flat = x.reshape(g * k, e)
        grad_x = F.linear(flat, sloped.t() @ weight, constant).view(g, k, e)
        moved = carried @ sloped  # (N, E)
        grad_weights = x.new_zeros(clouds, c, e)
        grad_carried, sum_x = torch.zeros_like(carried), x.new_zeros(n, e)
        count = x.new_zeros(n)
        arrays = [array(t) for t in (x, rows.view(clouds, -1) if n else rows, weight, moved,
                                      scale * grad, place, grad_x, grad_weights, grad_carried,
                                      sum_x, count)]
        groups, points = g // clouds, n // clouds

        def work(b: int) -> None:
            mine, own = slice(b * groups, (b + 1) * groups), slice(b * points, (b + 1) * points)
            xs, index, w, move, gs, places, gx, gw, gc, sx, ct = arrays
            spread_extremes(xs[mine], index[b] - b * points if n else index, w, move[own],
                            gs[mine], places[mine], gx[mine], gw[b], gc[own], sx[own], ct[own])

        parallel(work, range(clouds))
        grad_weight = grad_weights.sum(0)
        total = flat.sum(0)
        grad_weight += torch.outer(level + slope * bias, total) + sloped @ (flat.t() @ flat)
        if n:
            grad_weight += slope[:, None] * (carried.t() @ sum_x)
            grad_carried += count[:, None] * (level + slope * bias)
            grad_carried += sum_x @ sloped.t()
            grad_carried += (count[:, None] * carried) * slope
        # A bias before batch normalisation changes nothing.
        return (grad_x, grad_weight, torch.zeros_like(bias), grad_carried, None, grad_gamma,
                grad_beta, None, None, None)
