"""The maximum over a graph's edges of activated, normalised sums a_j + b_i, without the edges.

For N K edges of D channels the sums z_ij = a_j + b_i are never stored. Batch normalisation needs
their mean and variance, the maximum their extreme; the gradient of z is affine in z but for the
extremes. With dz = level + slope z + s at the extremes,

    db_i = K level + slope (sum_j a_j + K b_i) + s_i
    da_j = n_j (level + slope a_j) + slope sum_i b_i + sum s_i over the extremes that j is,

n_j being the number of points i that have j as a neighbour, over which the sums of da_j run.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from pcinv.nn.fused import array, batch_statistics, is_fused, norm_slopes
from pcinv.nn.rows import norm_affine
from pcinv.ops.grouping import gather
from pcinv.ops.threads import parallel


def edge_norm_max(
    a: Float[Tensor, "v n d"], b: Float[Tensor, "v n d"], index: Int[Tensor, "v n k"],
    norm: nn.BatchNorm1d, slope: float,
) -> Float[Tensor, "v n d"]:
    """Return the maximum over the neighbours j of LeakyReLU(BN(a_j + b_i)).

    slope : of the activation where it is negative, 0 or more.
    """
    is_compiled = is_fused(a)
    if norm.training:
        if is_compiled:
            norm.num_batches_tracked.add_(1)
            y: Tensor = _EdgeNormMax.apply(  # type: ignore[no-untyped-call]
                a, b, index, norm.weight, norm.bias, norm, slope)
            return y
        z = gather(a, index) + b[:, :, None]
        v, n, k, d = z.shape
        return F.leaky_relu(norm(z.view(v * n * k, d)).view(v, n, k, d), slope).amax(2)
    scale, shift = norm_affine(norm)
    if is_compiled and not torch.is_grad_enabled():
        top, *_ = _extremes(a, b, index, scale, is_training=False)
    else:
        z = gather(a, index)
        top = torch.where(scale >= 0, z.amax(2), z.amin(2)) + b
    return F.leaky_relu(torch.addcmul(shift, top, scale), slope)


def _extremes(
    a: Tensor, b: Tensor, index: Tensor, scale: Tensor, *, is_training: bool
) -> tuple[Tensor, Tensor, Tensor, list[Any]]:
    """Return the extreme of each point (V, N, D), whose a it is, sum_j a_j, and sums over edges."""
    from pcinv.nn.edge_kernels import edge_extremes

    a, b = a.detach().contiguous(), b.detach().contiguous()
    v, d = len(a), a.shape[2]
    sign = array(torch.where(scale.detach() < 0, -1, 1).to(a.dtype))
    top = torch.empty_like(a)
    some = a.shape if is_training else (v, 0, 0)
    place, total = torch.empty(some, dtype=torch.int32), a.new_empty(some)
    arrays = [array(t) for t in (a, b, index, top, place, total)]

    def work(view: int) -> Any:
        a_, b_, index_, top_, place_, total_ = (t[view] for t in arrays)
        sums = np.zeros((2, d if is_training else 0))
        edge_extremes(a_, b_, index_, sign, top_, place_, total_, sums)
        return sums

    return top, place, total, parallel(work, range(v))


class _EdgeNormMax(torch.autograd.Function):
    """Training on a CPU; `norm` brings its running statistics."""

    @staticmethod
    def forward(ctx, a, b, index, gamma, beta, norm, slope):  # type: ignore[no-untyped-def]
        top, place, total, sums = _extremes(a, b, index, gamma, is_training=True)
        edges = index.numel()
        mean, inverse = (t.to(a.dtype) for t in batch_statistics(sums, edges, norm))
        scale = gamma * inverse
        y = F.leaky_relu(torch.addcmul(beta - mean * scale, top, scale), slope)
        ctx.save_for_backward(a, b, index, gamma, mean, inverse, top, place, total, y)
        ctx.slope = slope
        return y

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx, grad):  # type: ignore[no-untyped-def]
        from pcinv.nn.edge_kernels import spread_edges

        a, b, index, gamma, mean, inverse, top, place, total, y = ctx.saved_tensors
        v, n, k = index.shape
        grad = torch.where(y > 0, grad, ctx.slope * grad)
        grad_beta = grad.sum((0, 1))
        grad_gamma = ((top - mean) * inverse * grad).sum((0, 1))
        scale = gamma * inverse
        level, slope = norm_slopes(scale, mean, inverse, grad_gamma, grad_beta, v * n * k)
        extreme_grad = scale * grad
        around, extreme = torch.zeros_like(total), torch.zeros_like(total)
        count = total.new_zeros(v, n)
        arrays = [array(t) for t in (b, index, extreme_grad, place, around, extreme, count)]
        parallel(lambda view: spread_edges(*(t[view] for t in arrays)), range(v))
        grad_b = torch.addcmul(extreme_grad, total + k * b, slope).add_(k * level)
        degree = count[..., None]
        grad_a = extreme.add_(slope * around).add_(degree * torch.addcmul(level, a, slope))
        return grad_a, grad_b, None, grad_gamma, grad_beta, None, None
