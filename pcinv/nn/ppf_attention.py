"""Attention of a point to its neighbours, which it knows by their point pair features.

The layer of RoITr (Yu et al., CVPR 2023, arXiv 2303.08231, "PPF attention mechanism"). The scores
and the answer hold maps of the four features of a pair alone: W_p (W_e f + b_e) + b_p is affine in
f, so four numbers a pair take the place of C channels a pair, in exact algebra. Features of points
are mapped before they are gathered: N products, not M K.

Letters: N points, M centres among them, K neighbours, C channels, H heads.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from pcinv.checks import check_count
from pcinv.errors import ConfigError, ShapeError
from pcinv.geometry.features import point_pair_features
from pcinv.nn.fused import array, chunks, is_fused
from pcinv.ops.threads import in_shares

CHUNK = 512
"""Centres worked on at a time: their rows stay in the cache."""
_PPF_CHUNK = 1024


class Hood(NamedTuple):
    """Which points each centre attends to.

    node : (M,) int64 positions of the centres among the N points; None where all N are centres.
    index : (M, K) int64 positions of the neighbours.  ppf : (M, K, 4), see `ppf_coordinates`.
    """

    node: Tensor | None
    index: Tensor  # type: ignore[assignment]  # hides tuple.index, unused here
    ppf: Tensor


def ppf_coordinates(
    offset: Float[Tensor, "*batch 3"], normal: Float[Tensor, "*#batch 3"],
    other: Float[Tensor, "*#batch 3"],
) -> Float[Tensor, "*batch 4"]:
    """Return |d| and the angles (n, d), (n_j, d), (n, n_j) over pi, each in [0, 1].

    offset : d, neighbour minus centre, metres.  normal, other : normals of centre and neighbour;
        their signs matter. Angles with a vector of length 0 are 0.

    Source: RoITr, eq. 1; Drost et al., CVPR 2010.
    """
    feature = point_pair_features(torch.zeros_like(offset), normal, offset, other)
    return feature * feature.new_tensor([1.0, *[1 / math.pi] * 3])


@torch.no_grad()
def hood_of(
    xyz: Float[Tensor, "n 3"], normal: Float[Tensor, "n 3"], node: Int[Tensor, " m"] | None,
    index: Int[Tensor, "m k"],
) -> Hood:
    """Return the neighbourhoods with their features, which carry no gradient.

    xyz : (N, 3) float64: differences are taken before they are rounded to the type of `normal`.
    """
    centres = xyz if node is None else xyz[node]
    axes = normal if node is None else normal[node]

    def describe(share: Sequence[slice]) -> list[Tensor]:
        found = []
        for part in share:
            offset = (xyz[index[part]] - centres[part, None]).to(normal.dtype)
            found.append(ppf_coordinates(offset, axes[part, None], normal[index[part]]))
        return found

    step = _PPF_CHUNK if xyz.device.type == "cpu" else max(1, len(index))
    shares = in_shares(describe, chunks(len(index), step)) if xyz.device.type == "cpu" else [
        describe(chunks(len(index), step))]
    return Hood(node, index, torch.cat([part for share in shares for part in share]))


class LocalPPFAttention(nn.Module):
    """The PPF attention layer: features of N points -> features of M centres.

    With x = W_in f of all points and e_ij = W_e ppf_ij,

        score_ij = q_i . (k_j + W_p e_ij) / sqrt(C / H),  z_i = sum_j softmax_j(score)_ij
        (v_j + W_g e_ij),  out = W_out LayerNorm(W_merge z_i + x_i)

    width : channels C inside, a multiple of the heads.
    """

    def __init__(self, width_in: int, width_out: int, width: int, heads: int = 4) -> None:
        super().__init__()
        check_count(heads, "heads")
        if width % heads:
            raise ConfigError(f"{width} channels for {heads} heads", where="model.heads",
                              hint="choose a number of heads that divides the channels")
        self.heads, self.width = heads, width
        self.map_in = nn.Linear(width_in, width)
        self.embed = nn.Linear(4, width)
        self.query, self.key, self.value, self.pair_key, self.pair_value, self.merge = (
            nn.Linear(width, width) for _ in range(6))
        self.norm = nn.LayerNorm(width)
        self.map_out = nn.Linear(width, width_out)

    def forward(self, features: Float[Tensor, "n c"], hood: Hood) -> Float[Tensor, "m d"]:
        """Return one row for each centre. Raises ShapeError for features of another width."""
        if features.dim() != 2 or features.shape[1] != self.map_in.in_features:
            raise ShapeError(f"expected (N, {self.map_in.in_features}), got "
                             f"{tuple(features.shape)}", where="features",
                             hint="one row for each point that the neighbourhoods speak of")
        h, c = self.heads, self.width
        own_weight, own_bias, to_weight, to_bias, merge, bias = self._fold()
        at = features if hood.node is None else features[hood.node]
        shared = F.linear(features, to_weight, to_bias)  # (N, 2 C): keys, values
        own = F.linear(at, own_weight, own_bias)  # (M, 2 C + 5 H): x, query and what meets the ppf
        x = own[:, :c]
        if is_fused(features):
            gathered = _Attention.apply(  # type: ignore[no-untyped-call]
                own, shared, hood.index, hood.ppf, h)
        else:
            _, query, pair_query, constant = torch.split(own, [c, c, 4 * h, h], 1)
            gathered = torch.cat(_attend(query, pair_query, constant, shared, hood.index,
                                         hood.ppf, h), 1)
        out: Tensor = self.map_out(self.norm(F.linear(gathered, merge, bias) + x))
        return out

    def _fold(self) -> tuple[Tensor, ...]:
        """Put successive linear maps together: c³ products, of no weight beside those of rows."""
        h, c = self.heads, self.width
        scale = (c // h) ** -0.5
        x, b = self.map_in.weight, self.map_in.bias
        query, query_bias = self.query.weight * scale, self.query.bias * scale
        query, query_bias = query @ x, torch.addmv(query_bias, query, b)
        pair = self.pair_key.weight @ self.embed.weight  # A_p (C, 4)
        constant = torch.addmv(self.pair_key.bias, self.pair_key.weight, self.embed.bias)
        meets = torch.cat((_by_head(pair, h), _by_head(constant[:, None], h)), 1).t()  # (5 H, C)
        own_weight = torch.cat((x, query, meets @ query))
        own_bias = torch.cat((b, query_bias, meets @ query_bias))
        to = torch.cat((self.key.weight, self.value.weight))
        to_bias = torch.addmv(torch.cat((self.key.bias, self.value.bias)), to, b)
        given = self.pair_value.weight @ self.embed.weight  # A_g (C, 4)
        given_bias = torch.addmv(self.pair_value.bias, self.pair_value.weight, self.embed.bias)
        merge = self.merge.weight
        bias = torch.addmv(self.merge.bias, merge, given_bias)  # the weights of attention sum to 1
        merge = torch.cat((merge, merge @ _by_head(given, h)), 1)  # (C, C + 4 H)
        return own_weight, own_bias, to @ x, to_bias, merge, bias


class _Attention(torch.autograd.Function):
    """What `_attend` returns, side by side, by compiled loops over the centres.

    own : (M, 2 C + 5 H), see `LocalPPFAttention`.  shared : (N, 2 C).  The loops leave out what is
    the same for all neighbours, as it changes no softmax.
    """

    @staticmethod
    def forward(
        ctx: Any, own: Tensor, shared: Tensor, index: Tensor, ppf: Tensor, heads: int
    ) -> Tensor:
        from pcinv.nn.ppf_kernels import attend

        c = shared.shape[1] // 2
        out = own.new_empty(len(own), c + 4 * heads)
        inputs = [array(t) for t in (own, shared, index, ppf)]

        def work(share: Sequence[slice]) -> None:
            for part in share:
                attend(inputs[0][part], inputs[1], inputs[2][part], inputs[3][part], heads,
                       c // heads, out[part].numpy())

        in_shares(work, chunks(len(own), CHUNK))
        ctx.save_for_backward(own, shared, index, ppf)
        ctx.heads = heads
        return out

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        from pcinv.nn.ppf_kernels import attend_back

        own, shared, index, ppf = (array(t) for t in ctx.saved_tensors)
        c, given = shared.shape[1] // 2, array(gradient)
        back = torch.zeros_like(ctx.saved_tensors[0], memory_format=torch.contiguous_format)

        def work(share: Sequence[slice]) -> Tensor:
            found = torch.zeros_like(ctx.saved_tensors[1])  # neighbours are shared between shares
            for part in share:
                attend_back(own[part], shared, index[part], ppf[part], ctx.heads, c // ctx.heads,
                            given[part], back[part].numpy(), found.numpy())
            return found

        shares = in_shares(work, chunks(len(own), CHUNK))
        return back, torch.stack(shares).sum(0) if len(shares) > 1 else shares[0], None, None, None


def _by_head(maps: Float[Tensor, "c f"], heads: int) -> Float[Tensor, "c hf"]:
    """Return a matrix whose columns f of head h hold the rows of that head alone."""
    c, f = maps.shape
    blocks = maps.view(heads, c // heads, f)
    columns: Tensor = torch.block_diag(*blocks)  # type: ignore[no-untyped-call]
    return columns


def _attend(
    query: Tensor, pair_query: Tensor, constant: Tensor, shared: Tensor, index: Tensor,
    ppf: Tensor, heads: int,
) -> tuple[Tensor, Tensor]:
    """Return sum_j a_ij v_j (G, C) and sum_j a_ij ppf_ij (G, 4 H), head after head."""
    g, k = index.shape
    near = shared.index_select(0, index.reshape(-1)).view(g, k, 2, heads, -1)
    score = (near[:, :, 0] * query.view(g, 1, heads, -1)).sum(-1)  # (G, K, H)
    score = score + (ppf[:, :, None] * pair_query.view(g, 1, heads, 4)).sum(-1) + constant[:, None]
    weight = score.softmax(1)
    hidden = (weight[..., None] * near[:, :, 1]).sum(1).view(g, -1)
    return hidden, torch.einsum("gkh,gkf->ghf", weight, ppf).reshape(g, 4 * heads)
