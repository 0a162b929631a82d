"""The levels of RoITr: which points are kept, who is near whom; and the layers on them.

Scans that were thinned on a grid are full of distances that are equal, and a rotated copy in
float32 breaks such ties by its rounding. So distances that differ by less than `TIE` radii of the
cloud are taken for equal, and of equal ones the point farther from the centroid comes first: no
decision depends on the pose, nor on the order of the points. With `compat="official"` the first in
the list comes first, and sampling starts there.

Letters: N points, M points of a level, S of the coarsest, K neighbours, C channels.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from pcinv.nn.ppf_attention import Hood, LocalPPFAttention, hood_of
from pcinv.ops import knn
from pcinv.ops.order import canonical_order, centre, inverse, squared_distance

TIE = 2.0**-19
"""Share of the radius below which distances are equal: ten times the rounding of float32."""
_SPARE = 4  # neighbours looked at beyond those wanted: the point itself, and where a tie may end
_NEAR = 1e-8  # metres added to distances that are divided by
_INTERPOLATED = 3


class Cloud(NamedTuple):
    """Points to decide on. xyz : (N, 3) float64.  rank : (N,) order of ties.  tie : metres."""

    xyz: Tensor
    rank: Tensor
    tie: float

    def take(self, index: Tensor) -> Cloud:
        """Return the points at these positions, which keep their ranks."""
        return Cloud(self.xyz[index], self.rank[index], self.tie)


class Level(NamedTuple):
    """One level of a cloud of N points, M of which it keeps.

    cloud : its points.  node : (M,) positions in the cloud of N points, the level's own order.
    down : attention to the level before (to itself on the first one).  own : to the level itself.
    up, weight : (M, 3) which points of the next level are interpolated, and how; None on the last.
    """

    cloud: Cloud
    node: Tensor
    down: Hood
    own: Hood
    up: Tensor | None
    weight: Tensor | None


def cloud_of(xyz: Float[Tensor, "n 3"], *, official: bool = False) -> Cloud:
    """Centre a cloud in float64 and find the order of its ties."""
    points = centre(xyz[None], xyz[None])[0]
    if official:
        return Cloud(points[0], torch.arange(len(xyz), device=xyz.device), 0.0)
    rank = inverse(canonical_order(points))[0]
    radius = float(squared_distance(points[0], points[0].mean(0)).amax().sqrt())
    return Cloud(points[0], rank, TIE * radius)


def nearest(
    query: Float[Tensor, "m 3"], points: Cloud, k: int, itself: Int[Tensor, " m"] | None = None
) -> tuple[Float[Tensor, "m k"], Int[Tensor, "m k"]]:
    """Return distance and position of the k nearest points, all where there are fewer.

    itself : position of each query among the points, which is left out.
    """
    return _nearest(query, points, k, itself, k + _SPARE)


def _nearest(
    query: Tensor, points: Cloud, k: int, itself: Tensor | None, width: int
) -> tuple[Tensor, Tensor]:
    width, count = min(width, len(points.xyz)), len(points.xyz) - (itself is not None)
    k = min(k, count)
    found = knn(query[None], points.xyz[None], width)
    dist, index = found.dist2[0].sqrt(), found.index[0]
    if itself is not None:
        if bool((index[:, 0] == itself).all()):
            dist, index = dist[:, 1:], index[:, 1:]
        else:  # among more points at one place than are looked at, it may be missing
            last = (index == itself[:, None]).to(torch.uint8).argsort(dim=1, stable=True)
            dist, index = (t.gather(1, last)[:, :-1] for t in (dist, index))
    if k == count or points.tie == 0:
        return dist[:, :k], index[:, :k]
    gap = dist.diff(dim=1) > points.tie
    is_open = ~gap[:, k - 1]
    if bool(is_open.any()):
        rows = is_open.nonzero()[:, 0]
        dist, index = dist.clone(), index.clone()
        endless = ~gap[rows, k - 1 :].any(1)
        if bool(endless.any()) and width < len(points.xyz):
            some = rows[endless]
            mine = None if itself is None else itself[some]
            dist[some, :k], index[some, :k] = _nearest(query[some], points, k, mine, 2 * width)
            rows = rows[~endless]
        group = F.pad(gap[rows].cumsum(1), (1, 0))
        order = (group * len(points.xyz) + _place(points.rank)[index[rows]]).argsort(1)
        dist[rows], index[rows] = dist[rows].gather(1, order), index[rows].gather(1, order)
    return dist[:, :k], index[:, :k]


def _place(rank: Tensor) -> Tensor:
    """Return the ranks of some points of a cloud as 0, 1, ... among themselves."""
    return inverse(rank.argsort()[None])[0]


def farthest(cloud: Cloud, count: int) -> Int[Tensor, " m"]:
    """Return farthest point samples, the first in the order of ties first of all; nested."""
    order = cloud.rank.argsort()
    points = cloud.xyz[order]
    if points.device.type == "cpu":
        from pcinv.ops.kernels import stable_farthest

        index = torch.empty(count, dtype=torch.int64)
        left = torch.full((len(points),), torch.inf, dtype=torch.float64).view(torch.int64)
        stable_farthest(points.t().contiguous().numpy(), cloud.tie, left.numpy(), index.numpy())
        return order[index]
    return order[_farthest(points, cloud.tie, count)]


def _farthest(points: Float[Tensor, "n 3"], tie: float, count: int) -> Int[Tensor, " m"]:
    """Do as `stable_farthest`, on any device."""
    found = [torch.zeros((), dtype=torch.int64, device=points.device)]
    left = torch.full_like(points[:, 0], torch.inf)
    for _ in range(count - 1):
        left = torch.minimum(left, squared_distance(points, points[found[-1]]))
        left[found[-1]] = -1.0
        floor = (left.amax().clamp_min(0).sqrt() - tie).clamp_min(0).square()
        found.append((left >= torch.minimum(floor, left.amax())).to(torch.uint8).argmax())
    return torch.stack(found)


@torch.no_grad()
def levels_of(
    cloud: Cloud, normal: Float[Tensor, "n 3"], neighbours: tuple[int, ...], stride: int
) -> list[Level]:
    """Sample a cloud to N, N // stride, N // stride², ... points, and find who is near whom.

    normal : (N, 3), of the type of the network.  neighbours : one count for each level.
    """
    count, nodes = len(cloud.xyz), [torch.arange(len(cloud.xyz), device=cloud.xyz.device)]
    # farthest point samples are nested: those of a coarser level are the first of the finer one
    order = farthest(cloud, count // stride)
    nodes += [order[: count // stride**level] for level in range(1, len(neighbours))]
    points = [cloud.take(node) for node in nodes]
    axes = [normal[node] for node in nodes]
    levels = []
    for i, (node, k) in enumerate(zip(nodes, neighbours, strict=True)):
        here = torch.arange(len(node), device=node.device)
        own = hood_of(points[i].xyz, axes[i], None, nearest(points[i].xyz, points[i], k, here)[1])
        down, up, weight = own, None, None
        if i:
            # positions in the finer level: the samples themselves, or the first of these
            at = node if i == 1 else here
            index = nearest(points[i].xyz, points[i - 1], k, at)[1]
            down = hood_of(points[i - 1].xyz, axes[i - 1], at, index)
        if i + 1 < len(nodes):
            dist, up = nearest(points[i].xyz, points[i + 1], _INTERPOLATED)
            weight = 1 / (dist + _NEAR)
            weight = (weight / weight.sum(1, keepdim=True)).to(normal.dtype)
        levels.append(Level(points[i], node, down, own, up, weight))
    return levels


class PPFBlock(nn.Module):
    """PPF attention layer (PAL): ReLU(LayerNorm(attention(x)) + x) within a level."""

    def __init__(self, width: int, inner: int, heads: int) -> None:
        super().__init__()
        self.attention = LocalPPFAttention(width, width, inner, heads)
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Float[Tensor, "m c"], hood: Hood) -> Float[Tensor, "m c"]:
        return F.relu(self.norm(self.attention(x, hood)) + x)


class LinearLayerNorm(nn.Module):
    """ReLU(LayerNorm(linear map))."""

    def __init__(self, width_in: int, width_out: int) -> None:
        super().__init__()
        self.linear, self.norm = nn.Linear(width_in, width_out), nn.LayerNorm(width_out)

    def forward(self, x: Float[Tensor, "m c"]) -> Float[Tensor, "m d"]:
        return F.relu(self.norm(self.linear(x)))


class Encoder(nn.Module):
    """At each level one attention abstraction layer (AAL) to the finer one, then PALs.

    widths, layers : channels and number of PALs of each level.  inner : most channels inside.
    """

    def __init__(
        self, widths: tuple[int, ...], layers: tuple[int, ...], inner: int, heads: int
    ) -> None:
        super().__init__()
        self.down, self.blocks = nn.ModuleList(), nn.ModuleList()
        for before, width, count in zip((1, *widths[:-1]), widths, layers, strict=True):
            self.down.append(LocalPPFAttention(before, width, min(width, inner), heads))
            self.blocks.append(nn.ModuleList(
                PPFBlock(width, min(width, inner), heads) for _ in range(count)))

    def forward(self, levels: list[Level]) -> list[Tensor]:
        """Return the features of each level, fine to coarse: (M, C)."""
        x = torch.ones_like(levels[0].own.ppf[:, 0, :1])  # (N, 1): shape alone tells points apart
        found = []
        for level, down, blocks in zip(levels, self.down, self.blocks, strict=True):
            x = down(x, level.down)
            for block in blocks:  # type: ignore[attr-defined]
                x = block(x, level.own)
            found.append(x)
        return found


class Decoder(nn.Module):
    """From the coarsest level to the points: interpolate, add what the encoder had, one PAL.

    As in the published code it starts from the encoder, not from the global transformer.
    """

    def __init__(self, widths: tuple[int, ...], inner: int, heads: int) -> None:
        super().__init__()
        top = widths[-1]
        self.mean, self.head = nn.Linear(top, top), LinearLayerNorm(2 * top, top)
        self.skips = nn.ModuleList(LinearLayerNorm(w, w) for w in widths[:-1])
        self.ups = nn.ModuleList(
            LinearLayerNorm(coarse, fine)
            for fine, coarse in pairwise(widths))
        self.blocks = nn.ModuleList(PPFBlock(w, min(w, inner), heads) for w in widths)

    def forward(self, levels: list[Level], features: list[Tensor]) -> Float[Tensor, "n c"]:
        """Return the features of the points from those of all levels."""
        x: Tensor = features[-1]
        mean = F.relu(self.mean(x.mean(0, keepdim=True))).expand_as(x)
        x = self.blocks[-1](self.head(torch.cat((x, mean), 1)), levels[-1].own)
        for i in reversed(range(len(levels) - 1)):
            level = levels[i]
            if level.up is None or level.weight is None:
                continue
            coarse = self.ups[i](x)
            x = self.skips[i](features[i])
            for j in range(level.up.shape[1]):
                x = torch.addcmul(x, coarse[level.up[:, j]], level.weight[:, j, None])
            x = self.blocks[i](x, level.own)
        return x
