"""Layers of training on a CPU that pass over memory as few times as they can.

Batch normalisation needs all rows before it can go on, and the same on the way back. Between these
two points a few thousand rows at a time go through everything, and stay in the cache. Values and
gradients are those of the plain formulas.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from pcinv.ops.threads import in_shares, parallel

Array = NDArray[Any]

CHUNK_ROWS = 4096
"""Rows that are worked on at a time."""
BLOCK_ROWS = 16384
"""Rows of one pass over memory."""


def is_fused(x: Tensor) -> bool:
    """Return whether the compiled loops take this tensor: on the CPU, in single or double."""
    return (x.device.type == "cpu" and x.dtype in (torch.float32, torch.float64)
            and not torch.is_autocast_enabled("cpu"))


def array(t: Tensor) -> Any:
    """Return the values as a contiguous numpy array that shares the memory where it can."""
    return t.detach().contiguous().numpy()


def batch_statistics(
    sums: Sequence[Array], count: int, norm: nn.BatchNorm1d
) -> tuple[Tensor, Tensor]:
    """Return the mean and 1 / sqrt(var + eps) of a batch, (C,) float64 each.

    sums : (2, C) each, which add up to the sum of z and of its squares over `count` rows.
    The running statistics of `norm` move towards those of the batch.
    """
    total = torch.from_numpy(np.sum(sums, axis=0))
    mean = total[0] / count
    var = (total[1] / count - mean.square()).clamp_min(0)
    momentum = norm.momentum
    if norm.running_mean is not None and norm.running_var is not None and momentum is not None:
        unbiased = var * (count / max(1, count - 1))
        with torch.no_grad():
            norm.running_mean.lerp_(mean.to(norm.running_mean), momentum)
            norm.running_var.lerp_(unbiased.to(norm.running_var), momentum)
    return mean, torch.rsqrt(var + norm.eps)


def norm_slopes(
    scale: Tensor, mean: Tensor, inverse: Tensor, grad_gamma: Tensor, grad_beta: Tensor, count: int
) -> tuple[Tensor, Tensor]:
    """Return level and slope, (C,) each: dz = scale d + level + slope z for z = the input of BN.

    From dz = scale (d - sum(d)/R - z_hat sum(d z_hat)/R), d being the gradient of the output.
    """
    slope = -scale * inverse * grad_gamma / count
    return -scale * grad_beta / count - slope * mean, slope


def at_a_time(count: int, x: Tensor) -> int:
    """Return how much of something is worked on at once, `count` being what a CPU's cache holds.

    On a GPU it is 64 times as much: there each piece costs the time of its launches.
    """
    return count if x.device.type == "cpu" else 64 * count


def chunks(rows: int, step: int) -> list[slice]:
    """Return consecutive slices of `step` rows, the last one shorter."""
    return [slice(first, min(first + step, rows)) for first in range(0, rows, step)]


class _BatchNorm:
    """Batch normalisation and ReLU of rows z (R, C), and its gradient, chunk by chunk.

    Sums are taken while the rows are made, by whoever makes them.
    """

    def __init__(self, gamma: Tensor, beta: Tensor, norm: nn.BatchNorm1d) -> None:
        self.gamma, self.beta, self.norm = gamma, beta, norm

    def finish(self, z: Tensor, sums: list[Array], residual: Tensor | None = None) -> Tensor:
        """Return ReLU(BN(z)), plus the residual.

        sums : (2, C) each, which add up to the sum of z and of its squares.
        """
        from pcinv.nn.kernels import affine_relu

        self.count = len(z)
        self.mean, self.inverse = batch_statistics(sums, self.count, self.norm)
        self.scale = self.gamma * self.inverse
        self.shift = self.beta - self.mean * self.scale
        out = torch.empty_like(z)
        values, outs = array(z), out.numpy()
        extra = np.empty((0, z.shape[1]), outs.dtype) if residual is None else array(residual)
        self.low = [array(t.to(z.dtype)) for t in (self.scale, self.shift)]
        parallel(lambda part: affine_relu(values[part], *self.low, extra[part], outs[part]),
                 chunks(len(z), BLOCK_ROWS))
        return out

    def begin_backward(self, grad: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        """Return the gradients of gamma and beta."""
        from pcinv.nn.kernels import add_gradient_sums

        grads, values = array(grad), array(z)

        def add(part: slice) -> Array:
            sums = np.zeros((2, z.shape[1]))
            add_gradient_sums(grads[part], values[part], *self.low, sums)
            return sums

        total = torch.from_numpy(np.sum(parallel(add, chunks(len(z), BLOCK_ROWS)), axis=0))
        grad_beta = total[0]
        grad_gamma = (total[1] - self.mean * total[0]) * self.inverse
        self.slopes = [array(t.to(z.dtype)) for t in norm_slopes(
            self.scale, self.mean, self.inverse, grad_gamma, grad_beta, self.count)]
        return grad_gamma.to(z.dtype), grad_beta.to(z.dtype)

    def backward(self, grad: Tensor, z: Tensor, out: Tensor) -> None:
        """Fill `out` with the gradient of some rows of z."""
        from pcinv.nn.kernels import norm_gradient

        norm_gradient(array(grad), array(z), *self.low, *self.slopes, out.numpy())


def linear_norm_relu(
    x: Float[Tensor, "r e"], linear: nn.Linear, norm: nn.BatchNorm1d
) -> Float[Tensor, "r c"]:
    """Return ReLU(BN(W x + b)) with the statistics of the rows; for training."""
    if not is_fused(x):
        return F.relu(norm(linear(x)), inplace=True)
    norm.num_batches_tracked.add_(1)
    y: Tensor = _LinearNormRelu.apply(  # type: ignore[no-untyped-call]
        x, linear.weight, linear.bias, norm.weight, norm.bias, norm)
    return y


class _LinearNormRelu(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, bias, gamma, beta, norm):  # type: ignore[no-untyped-def]
        from pcinv.nn.kernels import add_sums

        z = x.new_empty(len(x), len(weight))

        def work(parts: Sequence[slice]) -> Array:
            sums = np.zeros((2, len(weight)))
            for part in parts:
                if bias is None:
                    torch.mm(x[part], weight.t(), out=z[part])
                else:
                    torch.addmm(bias, x[part], weight.t(), out=z[part])
                add_sums(z[part].numpy(), sums)
            return sums

        batch_norm = _BatchNorm(gamma, beta, norm)
        out = batch_norm.finish(z, in_shares(work, chunks(len(x), CHUNK_ROWS)))
        ctx.save_for_backward(x, weight, z)
        ctx.batch_norm, ctx.has_bias = batch_norm, bias is not None
        return out

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx, grad):  # type: ignore[no-untyped-def]
        x, weight, z = ctx.saved_tensors
        grad = grad.contiguous()
        grad_gamma, grad_beta = ctx.batch_norm.begin_backward(grad, z)
        grad_x = x.new_empty(x.shape) if ctx.needs_input_grad[0] else None

        def work(parts: Sequence[slice]) -> Tensor:
            total = torch.zeros_like(weight)
            buffer = z.new_empty(min(CHUNK_ROWS, len(z)), z.shape[1])
            for part in parts:
                d = buffer[: len(z[part])]
                ctx.batch_norm.backward(grad[part], z[part], d)
                total.addmm_(d.t(), x[part])
                if grad_x is not None:
                    torch.mm(d, weight, out=grad_x[part])
            return total

        grad_weight = sum_of(in_shares(work, chunks(len(x), CHUNK_ROWS)))
        # a bias before batch normalisation changes nothing
        grad_bias = weight.new_zeros(len(weight)) if ctx.has_bias else None
        return grad_x, grad_weight, grad_bias, grad_gamma, grad_beta, None


def attend_norm_relu(
    x: Float[Tensor, "g k c"], weight: Float[Tensor, "m c"], bias: Float[Tensor, " m"], narrow: int,
    norm: nn.BatchNorm1d,
) -> Float[Tensor, "g k c"]:
    """Return x + ReLU(BN(attention_offsets(x, ...))) with the statistics of all rows."""
    if is_fused(x):
        norm.num_batches_tracked.add_(1)
        y: Tensor = _AttendNormRelu.apply(  # type: ignore[no-untyped-call]
            x, weight, bias, narrow, norm.weight, norm.bias, norm)
        return y
    offsets = attention_offsets(x, weight, bias, narrow)
    return x + F.relu(norm(offsets.flatten(0, 1)), inplace=True).view_as(x)


def attention_offsets(
    x: Float[Tensor, "g k c"], weight: Float[Tensor, "m c"], bias: Float[Tensor, " m"], narrow: int
) -> Float[Tensor, "g k c"]:
    """Return W x_j - sum_i A_ij (W V x_i) / sum_i A_ij for each group, A = softmax_j(q_i . k_j).

    weight, bias : of the four maps one below the other: query and key (`narrow` rows each), W V, W.
    """
    g, k, c = x.shape
    mapped = F.linear(x.reshape(g * k, c), weight, bias).view(g, k, -1)
    _, moved, total = _attend(mapped, narrow, c)
    # The second normalisation is one number a key: it waits until the sum is done.
    return torch.addcdiv(mapped[..., 2 * narrow + c :], moved, total, value=-1)


def _attend(mapped: Tensor, narrow: int, c: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return A (G, K query, K key), sum_i A_ij moved_i (G, K, C) and sum_i A_ij (G, K, 1)."""
    query, key, moved = mapped[..., : 2 * narrow + c].split((narrow, narrow, c), dim=-1)
    a = torch.bmm(query, key.transpose(1, 2)).softmax(dim=-1)
    return a, torch.bmm(a.transpose(1, 2), moved), (a.sum(1) + 1e-9)[..., None]


class _AttendNormRelu(torch.autograd.Function):
    """Keeps x, the offsets and the weights of attention; the maps are computed once more."""

    @staticmethod
    def forward(ctx, x, weight, bias, narrow, gamma, beta, norm):  # type: ignore[no-untyped-def]
        from pcinv.nn.kernels import add_sums

        g, k, c = x.shape
        x = x.contiguous()
        offsets, attention = torch.empty_like(x), x.new_empty(g, k, k)
        step = max(1, CHUNK_ROWS // k)

        def work(parts: Sequence[slice]) -> Array:
            sums = np.zeros((2, c))
            buffer = x.new_empty(min(step, g) * k, len(weight))
            for part in parts:
                flat = x[part].view(-1, c)
                mapped = torch.addmm(bias, flat, weight.t(), out=buffer[: len(flat)])
                mapped = mapped.view(-1, k, len(weight))
                attention[part], moved, total = _attend(mapped, narrow, c)
                own = mapped[..., 2 * narrow + c :]
                torch.addcdiv(own, moved, total, value=-1, out=offsets[part])
                add_sums(offsets[part].view(-1, c).numpy(), sums)
            return sums

        batch_norm = _BatchNorm(gamma, beta, norm)
        sums = in_shares(work, chunks(g, step))
        out = batch_norm.finish(offsets.view(-1, c), sums, x.view(-1, c))
        ctx.save_for_backward(x, weight, bias, attention, offsets)
        ctx.narrow, ctx.batch_norm = narrow, batch_norm
        return out.view_as(x)

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx, grad):  # type: ignore[no-untyped-def]
        x, weight, bias, attention, offsets = ctx.saved_tensors
        g, k, c = x.shape
        n, inner = ctx.narrow, 2 * ctx.narrow + c
        grad, grad_x = grad.contiguous(), torch.empty_like(x)
        grad_gamma, grad_beta = ctx.batch_norm.begin_backward(
            grad.view(-1, c), offsets.view(-1, c))
        step = max(1, CHUNK_ROWS // k)
        rows = min(step, g) * k

        def work(parts: Sequence[slice]) -> tuple[Tensor, Tensor]:
            total_weight, total_bias = torch.zeros_like(weight), torch.zeros_like(bias)
            buffer, d_buffer = x.new_empty(rows, inner), x.new_empty(rows, c)
            grad_buffer = x.new_empty(rows, len(weight))
            for part in parts:
                flat, a = x[part].view(-1, c), attention[part]
                d = d_buffer[: len(flat)]
                ctx.batch_norm.backward(grad[part].view(-1, c), offsets[part].view(-1, c), d)
                grads = grad_buffer[: len(flat)]
                mapped = torch.addmm(bias[:inner], flat, weight[:inner].t(),
                                     out=buffer[: len(flat)])
                _map_gradients(mapped.view(-1, k, inner), a, d.view(-1, k, c), n,
                               grads.view(-1, k, len(weight)))
                torch.addmm(grad[part].view(-1, c), grads, weight, out=grad_x[part].view(-1, c))
                total_weight.addmm_(grads.t(), flat)
                total_bias += grads.sum(0)
            return total_weight, total_bias

        weights, biases = zip(*in_shares(work, chunks(g, step)), strict=True)
        return grad_x, sum_of(weights), sum_of(biases), None, grad_gamma, grad_beta, None


def _map_gradients(mapped: Tensor, a: Tensor, d: Tensor, narrow: int, out: Tensor) -> None:
    """Fill `out` (G, K, M) with the gradients of the four maps.

    mapped : (G, K, 2 narrow + C) query, key and moved.  a : (G, K, K) weights of attention.
    d : (G, K, C) gradient of own - sum_i A_ij moved_i / sum_i A_ij.
    """
    c = d.shape[-1]
    query, key, moved = mapped.split((narrow, narrow, c), dim=-1)
    total = (a.sum(1) + 1e-9)[..., None]
    d_r = d / total  # minus the gradient of sum_i A_ij moved_i
    r = torch.bmm(a.transpose(1, 2), moved)
    d_total = (r * d_r).sum(-1) / total[..., 0]
    d_a = torch.baddbmm(d_total[:, None], moved, d_r.transpose(1, 2), alpha=-1)
    d_logits = a * (d_a - (a * d_a).sum(-1, keepdim=True))
    to_query, to_key, to_moved, to_own = out.split((narrow, narrow, c, c), dim=-1)
    to_query.copy_(torch.bmm(d_logits, key))
    to_key.copy_(torch.bmm(d_logits.transpose(1, 2), query))
    torch.neg(torch.bmm(a, d_r), out=to_moved)
    to_own.copy_(d)


def sum_of(parts: Sequence[Tensor]) -> Tensor:
    """Return the sum of the parts, in their order."""
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total
