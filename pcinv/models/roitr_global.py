"""The global transformer of RoITr: superpoints of two clouds attend to themselves and each other.

Where superpoints are enters by distances and angles alone (the geometric structure embedding of
GeoTransformer, Qin et al., CVPR 2022), which each rotation leaves as they are. What the positions
tell a superpoint is kept in a stream of its own, and is added to queries and keys across clouds
("position-aware cross-attention").

A linear map of sines and cosines of a number x in [0, 2 R], of frequencies of at most 1, is a
smooth function of x: R + 30 Chebyshev polynomials give it to the last bit of float64, R + 15 to
that of float32. So an embedding costs a product with these instead of one with all the sines.

Letters: N superpoints of a cloud, C channels, H heads.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from pcinv.geometry.features import angle
from pcinv.nn.fused import chunks

_PAIRS = 1024
"""Pairs embedded at a time on the CPU."""
_MOST = 64.0
"""Half the range of x up to which polynomials pay."""


class Structure(NamedTuple):
    """Distances over sigma_d, (N, N), and angles over sigma_a, (N, N, 3), all in float64."""

    distance: Tensor
    angle: Tensor


@torch.no_grad()
def structure_of(
    xyz: Float[Tensor, "n 3"], near: Int[Tensor, "n k"], sigma_distance: float,
    sigma_angle_deg: float,
) -> Structure:
    """Measure the superpoints of a cloud.

    xyz : (N, 3) float64, metres.  near : (N, 3) positions of the nearest superpoints of each; the
        angles of a pair (i, j) are those at i between j and these.
    """
    offset = xyz[None] - xyz[:, None]  # (N, N, 3), i to j
    anchor = xyz[near] - xyz[:, None]  # (N, 3, 3)
    between = angle(anchor[:, None], offset[:, :, None])
    return Structure(offset.norm(dim=2) / sigma_distance,
                     between * (180 / math.pi / sigma_angle_deg))


def sinusoids(x: Float[Tensor, "*shape"], count: int) -> Float[Tensor, "*shape c"]:
    """Return sin and cos of x over 10000^(2 t / C), interleaved. Source: GeoTransformer, eq. 1."""
    frequency = _frequencies(count).to(x)
    phase = x[..., None] * frequency
    return torch.stack((phase.sin(), phase.cos()), -1).flatten(-2)


def _frequencies(count: int) -> Tensor:
    step = torch.arange(0, count, 2, dtype=torch.float64) / count
    return torch.exp(step * -math.log(1e4))


def polynomials_for(count: int, half: float, dtype: torch.dtype) -> Float[Tensor, "c p"]:
    """Return the Chebyshev coefficients of `sinusoids` on [0, 2 half], float64.

    Only as many as can be seen in a sum of this type.
    """
    terms = math.ceil(half + 6 * half ** (1 / 3)) + 20
    place = (np.arange(2 * terms) + 0.5) * np.pi / (2 * terms)
    x = torch.from_numpy(half * (np.cos(place) + 1))
    basis = np.cos(np.arange(terms)[:, None] * place) / terms  # (P, 2 P)
    basis[0] /= 2
    found = sinusoids(x, count).t() @ torch.from_numpy(basis).t()
    seen = (found.abs().amax(0) > torch.finfo(dtype).eps / 16).nonzero()[:, 0]
    return found[:, : max(int(seen[-1]) + 1, 2)]


def _chebyshev(u: Float[Tensor, " m"], terms: int) -> Float[Tensor, "p m"]:
    found = u.new_empty(terms, len(u))
    found[0], found[1] = 1, u
    for i in range(2, terms):
        torch.mul(found[i - 1], u, out=found[i])
        found[i].mul_(2).sub_(found[i - 2])
    return found


class GeometricEmbedding(nn.Module):
    """E_ij = W_d sinusoids(distance) + max over the angles of W_a sinusoids(angle): (N, N, C)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.distance, self.angle = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, structure: Structure) -> Float[Tensor, "n n c"]:
        n, k = structure.angle.shape[1:]
        far = _Map(self.distance, structure.distance)
        turned = _Map(self.angle, structure.angle)
        distance, angles = structure.distance.reshape(n * n), structure.angle.reshape(n * n, k)
        parts = []
        step = _PAIRS if distance.device.type == "cpu" else 64 * _PAIRS
        for part in chunks(n * n, step):
            top = turned(angles[part, 0])
            for x in range(1, k):
                top = torch.maximum(top, turned(angles[part, x]))
            parts.append(far(distance[part]) + top)
        return torch.cat(parts).view(n, n, -1)


class _Map:
    """W sinusoids(x) + b as a function of x, for x of some range."""

    def __init__(self, linear: nn.Linear, values: Tensor) -> None:
        self.linear, self.half = linear, max(float(values.amax()) / 2, 1.0)
        if self.half <= _MOST:
            dtype = linear.weight.dtype
            basis = polynomials_for(linear.in_features, self.half, dtype).to(values.device)
            self.weight = linear.weight.double() @ basis
            bias = F.pad(linear.bias.double()[:, None], (0, basis.shape[1] - 1))
            self.weight = (self.weight + bias).to(dtype)  # T_0 is 1

    def __call__(self, x: Float[Tensor, " m"]) -> Float[Tensor, "m c"]:
        dtype = self.linear.weight.dtype
        if self.half > _MOST:
            y: Tensor = self.linear(sinusoids(x, self.linear.in_features).to(dtype))
            return y
        return _chebyshev((x / self.half - 1).to(dtype), self.weight.shape[1]).t() @ self.weight.t()


class FeedForward(nn.Module):
    """LayerNorm(x + W_2 ReLU(W_1 x)), twice as wide inside."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.widen, self.narrow = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Float[Tensor, "n c"]) -> Float[Tensor, "n c"]:
        y: Tensor = self.norm(x + self.narrow(F.relu(self.widen(x))))
        return y


def _heads(x: Float[Tensor, "n c"], heads: int) -> Float[Tensor, "h n d"]:
    return x.view(len(x), heads, -1).transpose(0, 1)


class SelfAttention(nn.Module):
    """Geometry-aware self-attention: features, and what the positions tell each superpoint."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.place_key, self.place_value = (
            nn.Linear(width, width) for _ in range(5))
        self.merge, self.norm, self.forward_ = (
            nn.Linear(width, width), nn.LayerNorm(width), FeedForward(width))
        self.place_merge, self.place_norm, self.place_forward = (
            nn.Linear(width, width), nn.LayerNorm(width), FeedForward(width))

    def forward(
        self, x: Float[Tensor, "n c"], embedding: Float[Tensor, "n n c"]
    ) -> tuple[Float[Tensor, "n c"], Float[Tensor, "n c"]]:
        """Return the features, and the positions."""
        n, c = x.shape
        h, d = self.heads, c // self.heads
        query, key, value = (_heads(m(x), h) for m in (self.query, self.key, self.value))
        query = query * d**-0.5
        # W_p E is never made: the query is carried to the side of E, (N, H, C)
        place = self.place_key.weight.view(h, d, c)
        carried = torch.bmm(query, place).transpose(0, 1)
        constant = (query * self.place_key.bias.view(h, 1, d)).sum(-1, keepdim=True)
        score = torch.bmm(query, key.mT) + constant
        score = score + torch.bmm(carried, embedding.mT).transpose(0, 1)  # (H, N, N)
        hidden = torch.bmm(score.softmax(-1), value).transpose(0, 1).reshape(n, c)
        x = self.forward_(self.norm(self.merge(hidden) + x))
        itself = torch.eye(n, dtype=torch.bool, device=x.device)
        weight = score.masked_fill(itself, -torch.inf).softmax(-1)
        seen = torch.bmm(weight.transpose(0, 1), embedding)  # (N, H, C)
        given = torch.bmm(seen.transpose(0, 1), self.place_value.weight.view(h, d, c).mT)
        given = given.transpose(0, 1).reshape(n, c) + self.place_value.bias
        return x, self.place_forward(self.place_norm(self.place_merge(given)))


class CrossAttention(nn.Module):
    """Position-aware cross-attention: queries and keys know positions, values do not."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.merge = (
            nn.Linear(width, width) for _ in range(4))
        self.norm, self.forward_ = nn.LayerNorm(width), FeedForward(width)

    def forward(
        self, x: Float[Tensor, "n c"], place: Float[Tensor, "n c"], other: Float[Tensor, "m c"],
        other_place: Float[Tensor, "m c"],
    ) -> Float[Tensor, "n c"]:
        n, c = x.shape
        query = _heads(self.query(x + place), self.heads) * (c // self.heads) ** -0.5
        key = _heads(self.key(other + other_place), self.heads)
        weight = torch.bmm(query, key.mT).softmax(-1)
        hidden = torch.bmm(weight, _heads(self.value(other), self.heads))
        y: Tensor = self.forward_(self.norm(self.merge(hidden.transpose(0, 1).reshape(n, c)) + x))
        return y


class GlobalTransformer(nn.Module):
    """[self, cross] times `blocks`, the same weights for both clouds.

    symmetric : let both clouds look at the other one as it was before. Otherwise, as published,
        the source looks first and the target then sees its answer: swapping the clouds then gives
        other numbers.
    """

    def __init__(
        self, width_in: int, width: int, heads: int, blocks: int, symmetric: bool
    ) -> None:
        super().__init__()
        self.symmetric = symmetric
        self.map_in, self.map_out = nn.Linear(width_in, width), nn.Linear(width, width_in)
        self.embedding = GeometricEmbedding(width)
        self.selfs = nn.ModuleList(SelfAttention(width, heads) for _ in range(blocks))
        self.crosses = nn.ModuleList(CrossAttention(width, heads) for _ in range(blocks))

    def forward(
        self, source: Float[Tensor, "n c"], target: Float[Tensor, "m c"],
        source_embedding: Tensor, target_embedding: Tensor,
    ) -> tuple[Float[Tensor, "n c"], Float[Tensor, "m c"]]:
        """Return the features of the superpoints of both clouds."""
        x, y = self.map_in(source), self.map_in(target)
        for attend, across in zip(self.selfs, self.crosses, strict=True):
            x, x_place = attend(x, source_embedding)
            y, y_place = attend(y, target_embedding)
            before = x
            x = across(x, x_place, y, y_place)
            y = across(y, y_place, before if self.symmetric else x, x_place)
        return self.map_out(x), self.map_out(y)
