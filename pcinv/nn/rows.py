"""Layers over rows: every point, neighbour or cloud is a row of channels, (rows, C).

Point-wise layers are matrix products, so batch normalisation folds into the weights in
evaluation, and normalise-activate-maximum needs one pass over the neighbours in training.
"""

from collections.abc import Callable, Sequence
from functools import partial

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from pcinv.nn.fused import (
    at_a_time,
    attend_norm_relu,
    attention_offsets,
    is_fused,
    linear_norm_relu,
    norm_slopes,
)
from pcinv.ops.threads import in_shares

Map = Callable[[Tensor], Tensor]

_CACHED_WEIGHTS = 2**20
"""Attention weights worked on at a time: 4 MiB."""


class LinearNorm(nn.Module):
    """Linear map, batch normalisation and, if asked for, ReLU; one matrix product in evaluation.

    In: (rows, C_in).  Out: (rows, C_out).
    """

    def __init__(self, width_in: int, width_out: int, *, bias: bool = True) -> None:
        super().__init__()
        self.linear = nn.Linear(width_in, width_out, bias=bias)
        self.norm = nn.BatchNorm1d(width_out)

    def forward(self, x: Tensor) -> Tensor:
        return self.frozen()(x)

    def frozen(self, *, relu: bool = False) -> Map:
        """Return the map as one function; in evaluation its weights are folded once, here."""
        if self.training:
            if relu:
                return lambda x: linear_norm_relu(x, self.linear, self.norm)
            return lambda x: self.norm(self.linear(x))
        scale, shift = norm_affine(self.norm)
        if self.linear.bias is not None:
            shift = torch.addcmul(shift, self.linear.bias, scale)
        folded = partial(F.linear, weight=self.linear.weight * scale[:, None], bias=shift)
        return (lambda x: F.relu(folded(x), inplace=True)) if relu else folded


def norm_affine(norm: nn.BatchNorm1d) -> tuple[Tensor, Tensor]:
    """Return the scale and shift, (C,) each, that batch normalisation applies in evaluation."""
    scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
    return scale, torch.addcmul(norm.bias, norm.running_mean, scale, value=-1)


def _attend_apart(
    parts: Sequence[Tensor], weight: Tensor, bias: Tensor, narrow: int
) -> list[Tensor]:
    """Return `attention_offsets` of each part, on several threads where no gradient is wanted."""
    def attend(share: Sequence[Tensor]) -> list[Tensor]:
        return [attention_offsets(part, weight, bias, narrow) for part in share]

    if len(parts) > 1 and not torch.is_grad_enabled() and is_fused(parts[0]):
        return [y for share in in_shares(attend, parts) for y in share]
    return attend(parts)


def _offsets_across(
    x: Float[Tensor, "g k c"], weight: Tensor, bias: Tensor, narrow: int, groups: int
) -> Float[Tensor, "g k c"]:
    """Do as `attention_offsets`, but normalise over the same place of `groups` successive groups.

    So the published code does; its tensors have one axis more than the layer was written for.
    """
    g, k, c = x.shape
    query, key, moved, own = F.linear(x, weight, bias).split((narrow, narrow, c, c), dim=-1)
    a = torch.bmm(query, key.transpose(1, 2)).softmax(dim=-1)
    total = a.view(g // groups, groups, k, k).sum(1, keepdim=True)
    a = a / (total.expand(-1, groups, k, k).reshape(g, k, k) + 1e-9)
    return own - torch.bmm(a.transpose(1, 2), moved)


class OffsetAttention(nn.Module):
    """Attention of the points of each group to each other, kept as an offset (PCT, eq. 5-8).

    A_ij = softmax_j(q_i . k_j), then normalised over the queries i; r_j = sum_i A_ij v_i;
    out = x + ReLU(BN(W (x - r))).

    In and out: (G, K, C), G groups of K points.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.query = nn.Linear(width, width // 4, bias=False)
        self.key = nn.Linear(width, width // 4, bias=False)
        self.value = nn.Linear(width, width)
        self.offset = LinearNorm(width, width)

    def forward(self, x: Float[Tensor, "g k c"], across: int = 1) -> Float[Tensor, "g k c"]:
        """Attend within each group.

        across : the published code sums the second normalisation over this many consecutive
            groups instead of over the queries (its tensors have one axis more than the layer
            was written for); 1 for the formula above.
        """
        return self.frozen(across)(x)

    def frozen(self, across: int = 1) -> Map:
        """Return the layer as one function; its weights are put together once, here."""
        offset, value = self.offset.linear, self.value
        narrow = len(self.query.weight)
        # W (x - r) = W x - sum_i A_ij (W V x_i): one product for all four maps, and r never exists.
        weight = torch.cat((
            self.query.weight, self.key.weight, offset.weight @ value.weight, offset.weight
        ))
        bias = torch.cat((
            value.bias.new_zeros(2 * narrow), offset.weight @ value.bias, offset.bias
        ))
        if not self.training:
            weight, bias = self._fold(weight, bias, len(value.weight))

        def attend(x: Tensor) -> Tensor:
            g, k, c = x.shape
            if across > 1:
                y = _offsets_across(x, weight, bias, narrow, across)
                if self.training:
                    y = self.offset.norm(y.view(g * k, c)).view(g, k, c)
                return x + F.relu(y, inplace=True)
            if self.training:
                return attend_norm_relu(x, weight, bias, narrow, self.offset.norm)
            step = max(1, at_a_time(_CACHED_WEIGHTS, x) // (k * k))
            parts = _attend_apart(x.split(step), weight, bias, narrow)
            return x + F.relu(torch.cat(parts) if len(parts) > 1 else parts[0], inplace=True)

        return attend

    def _fold(self, weight: Tensor, bias: Tensor, c: int) -> tuple[Tensor, Tensor]:
        """Put the normalisation of evaluation into the two maps that end in it."""
        scale, shift = norm_affine(self.offset.norm)
        narrow = len(weight) - 2 * c
        scale = torch.cat((scale.new_ones(narrow), scale, scale))
        shift = torch.cat((shift.new_zeros(narrow + c), shift))
        return weight * scale[:, None], torch.addcmul(shift, bias, scale)


class _NormReluMax(torch.autograd.Function):
    """max over K of ReLU(BN(z)) from the extremes of z: the normalised z is never stored."""

    @staticmethod
    def forward(ctx, z, weight, bias, running_mean, running_var, momentum, eps):  # type: ignore[no-untyped-def]
        g, k, c = z.shape
        mean, var = torch.batch_norm_update_stats(
            z.view(g * k, c), running_mean, running_var, momentum
        )
        inverse = torch.rsqrt(var + eps)
        # BN rises with z where its weight is positive and falls where it is negative.
        top = z.amax(1)
        if bool((weight < 0).any()):
            top = torch.where(weight >= 0, top, z.amin(1))
        scale = weight * inverse
        y = torch.addcmul(bias - mean * scale, top, scale).relu_()
        ctx.save_for_backward(z, top, y, weight, mean, inverse)
        return y

    @staticmethod
    def backward(ctx, grad):  # type: ignore[no-untyped-def]
        z, top, y, weight, mean, inverse = ctx.saved_tensors
        g, k, _ = z.shape
        grad = grad * (y > 0)
        grad_bias = grad.sum(0)
        grad_weight = ((top - mean) * inverse * grad).sum(0)
        scale = weight * inverse
        level, slope = norm_slopes(scale, mean, inverse, grad_weight, grad_bias, g * k)
        dz = torch.addcmul(level, z, slope)
        is_top = torch.eq(z, top[:, None], out=torch.empty_like(z))  # 1 at the extremes, else 0
        dz.addcmul_(is_top, (scale * grad / is_top.sum(1))[:, None])
        return dz, grad_weight, grad_bias, None, None, None, None


def norm_relu_max(z: Float[Tensor, "g k c"], norm: nn.BatchNorm1d) -> Float[Tensor, "g c"]:
    """Normalise with the statistics of z, activate, take the maximum over K; for training."""
    norm.num_batches_tracked.add_(1)
    y: Tensor = _NormReluMax.apply(  # type: ignore[no-untyped-call]
        z, norm.weight, norm.bias, norm.running_mean, norm.running_var, norm.momentum, norm.eps
    )
    return y


def flat_index(index: Int[Tensor, "b s k"], count: int) -> Int[Tensor, " r"]:
    """Number the rows of a batch of clouds of `count` points through, cloud after cloud."""
    first = count * torch.arange(len(index), device=index.device)
    return (index + first[:, None, None]).reshape(-1)
