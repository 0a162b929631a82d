"""The body of PointNet (Qi et al., CVPR 2017): the same small network on every point, a maximum.

For its own classifier and segmenter, and to be looked through by several views of a cloud. The
answer does not depend on the order of the points; it does depend on their pose.

Letters: V views (clouds, where each is seen once), N points, C channels.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from pcinv.errors import ConfigError
from pcinv.nn.fused import at_a_time
from pcinv.nn.heads import PointHead, RowHead
from pcinv.nn.pooling import linear_norm_relu_max
from pcinv.nn.rows import LinearNorm, Map, norm_affine

Finish = Callable[[Tensor, list[Tensor]], Tensor]

CACHED_ROWS = 256
"""Points that the widest layer is computed for at a time in evaluation."""


@dataclass(frozen=True)
class PointNetSizes:
    """Sizes of a body and its head.

    num_points : points that the sizes were chosen for; other counts work.
    channels : of the layers on points; the maximum is taken of the last.
    head : hidden widths.
    t_nets : align the points, and the features of the layer `aligned`, by matrices that small
        networks predict, as published. They do not make the network invariant.
    """

    num_points: int
    channels: tuple[int, ...]
    head: tuple[int, ...]
    dropout: float = 0.3
    t_nets: bool = False
    aligned: int = 2


_POINTS = PointNetSizes(num_points=2048, channels=(64, 128, 128, 512, 2048),
                        head=(256, 256, 128), aligned=3)
_LIGHT_POINTS = PointNetSizes(num_points=1024, channels=(64, 64, 128, 512), head=(128, 128))

POINTNET_SIZES: dict[tuple[str, str], PointNetSizes] = {
    ("classification", "light"): PointNetSizes(
        num_points=1024, channels=(64, 64, 128, 512), head=(256, 128)),
    ("classification", "paper"): PointNetSizes(
        num_points=1024, channels=(64, 64, 64, 128, 1024), head=(512, 256)),
    ("part_segmentation", "light"): _LIGHT_POINTS,
    ("part_segmentation", "paper"): _POINTS,
    ("normals", "light"): _LIGHT_POINTS,
    ("normals", "paper"): _POINTS,
}


class TNet(nn.Module):
    """Predicts a matrix from all points: 64, 128, 1024, maximum, 512, 256; starts as identity.

    In: (V, N, K).  Out: (V, K, K).
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size
        self.points = nn.ModuleList((LinearNorm(size, 64), LinearNorm(64, 128)))
        self.top = LinearNorm(128, 1024)
        self.head = RowHead(1024, (512, 256), size * size, dropout=0.0)
        nn.init.zeros_(self.head.last.weight)
        with torch.no_grad():
            self.head.last.bias.copy_(torch.eye(size).flatten())

    def forward(self, x: Float[Tensor, "v n k"]) -> Float[Tensor, "v k k"]:
        v, n, _ = x.shape
        rows = x.reshape(v * n, -1)
        for layer in self.points:
            rows = layer.frozen(relu=True)(rows)
        pooled = maximum(self.top)(rows.view(v, n, -1))
        return self.head(pooled).view(v, self.size, self.size)


class PointNetBody(nn.Module):
    """Points of views to features, and features to logits.

    num_outputs : logits, of a view or of each of its points.
    """

    def __init__(
        self, sizes: PointNetSizes, task: str, num_outputs: int, num_categories: int = 0
    ) -> None:
        super().__init__()
        if task == "normals":
            num_outputs, num_categories = 3, 0
        self.task, self.num_categories, self.aligned = task, num_categories, sizes.aligned
        *inner, last = sizes.channels
        if not inner or (sizes.t_nets and not 1 <= sizes.aligned <= len(inner)):
            raise ConfigError(f"{len(sizes.channels)} layers, of which {sizes.aligned} is aligned",
                              where="model.channels", hint="two or more; not the last is aligned")
        self.layers = nn.ModuleList(
            LinearNorm(before, width) for before, width in zip((3, *inner), inner, strict=False)
        )
        self.top = LinearNorm(inner[-1], last)
        self.align_points = TNet(3) if sizes.t_nets else None
        self.align_features = TNet(inner[sizes.aligned - 1]) if sizes.t_nets else None
        if task == "classification":
            self.width = last
            self.head: RowHead | PointHead = RowHead(last, sizes.head, num_outputs, sizes.dropout)
        else:
            self.width = sizes.head[0]
            self.head = PointHead((last, *sizes.channels), num_categories, sizes.head, num_outputs,
                                  sizes.dropout)

    def shared(self, xyz: Float[Tensor, "b n 3"]) -> tuple[Tensor, ...]:
        """Return what all views of a cloud have in common: nothing."""
        return ()

    def forward(self, xyz: Float[Tensor, "v n 3"]) -> Tensor:
        """Return the vector of each view (V, C), or of each of its points (V, N, C).

        The latter is the first linear map of the head, before the category is added.
        """
        return self.frozen()(xyz)

    def frozen(self) -> Map:
        """Return `forward` as one function; in evaluation its weights are folded once, here."""
        layers = [layer.frozen(relu=True) for layer in self.layers]
        finish = self._pool() if isinstance(self.head, RowHead) else self._join(self.head)

        def look(xyz: Tensor) -> Tensor:
            v, n, _ = xyz.shape
            if self.align_points is not None:
                xyz = xyz @ self.align_points(xyz)
            x, seen = xyz.reshape(v * n, 3), []
            for depth, layer in enumerate(layers, start=1):
                x = layer(x)  # (V*N, C)
                seen.append(x)
                if self.align_features is not None and depth == self.aligned:
                    of_view = x.view(v, n, -1)
                    x = (of_view @ self.align_features(of_view)).view(v * n, -1)
            return finish(x.view(v, n, -1), seen)

        return look

    def _pool(self) -> Finish:
        """Return the function that takes the maximum of the last layer, for one vector a view."""
        pool = maximum(self.top)
        return lambda x, seen: pool(x)

    def _join(self, head: PointHead) -> Finish:
        """Return the function from all layers to one vector a point.

        The last layer has no activation, as published, so that in evaluation its linear map and
        the head's are one: the widest layer is needed for its maximum only.
        """
        if self.training:
            def train(x: Tensor, seen: list[Tensor]) -> Tensor:
                v, n, _ = x.shape
                last = self.top(x.view(v * n, -1)).view(v, n, -1)
                return head.join(last.amax(1), *(part.view(v, n, -1) for part in seen), last)

            return train
        scale, shift = norm_affine(self.top.norm)
        weight = self.top.linear.weight * scale[:, None]
        bias = torch.addcmul(shift, self.top.linear.bias, scale)
        of_cloud, *others, own = head.columns()[: len(head.widths)]
        aligned_last = self.align_features is not None and self.aligned == len(self.layers)
        own, constant = own @ weight, F.linear(bias, own, head.first.linear.bias)

        def join(x: Tensor, seen: list[Tensor]) -> Tensor:
            v, n, _ = x.shape
            pooled = _rows_maximum(x, weight) + bias
            rows = F.linear(pooled, of_cloud, constant)[:, None]
            maps = [*others, own]
            if not aligned_last:  # what the two last maps take is the same
                maps[-2:] = [others[-1] + own]
            for part, columns in zip((*seen[: len(maps) - 1], x), maps, strict=True):
                rows = rows + F.linear(part, columns).view(v, n, -1)
            return rows

        return join

    def answer(self, rows: Tensor, category: Int[Tensor, " v"] | None = None) -> Tensor:
        """Turn the vectors of views, or of their points, into logits."""
        if isinstance(self.head, RowHead):
            return self.head(rows)
        told = None
        if self.num_categories and category is not None:
            told = F.one_hot(category, self.num_categories).to(rows)
        return self.head(rows, told)


def maximum(layer: LinearNorm) -> Map:
    """Return the function max over the points of ReLU(BN(W x + b)), (V, N, C) -> (V, D).

    What the maximum is taken of is stored for a few points only.
    """
    if layer.training:
        pool = linear_norm_relu_max
        return lambda x: pool(layer.linear, layer.norm, math.gcd(len(x), 8))(x, None, None)
    scale, shift = norm_affine(layer.norm)
    weight = layer.linear.weight * scale[:, None]
    bias = torch.addcmul(shift, layer.linear.bias, scale)
    return lambda x: F.relu(_rows_maximum(x, weight) + bias)


def _rows_maximum(x: Float[Tensor, "v n c"], weight: Tensor) -> Tensor:
    """Return the maximum over the points of W x, (V, D), some points at a time."""
    if torch.is_grad_enabled():
        return F.linear(x, weight).amax(1)
    parts = [F.linear(part, weight).amax(1) for part in x.split(at_a_time(CACHED_ROWS, x), dim=1)]
    return parts[0] if len(parts) == 1 else torch.stack(parts).amax(0)
