"""The body of DGCNN (Wang et al., ACM TOG 38(5), 2019): convolutions on the edges of a graph.

For its own classifier and segmenter, and to be looked through by several views of a cloud. An edge
from x_i to its neighbour x_j carries [x_j - x_i, x_i]; its linear map is a_j + b_i with a = W1 x
and b = (W2 - W1) x, so that products are of points and not of edges. Batch normalisation and
activation are monotone: of all edges only the extreme is needed.

Letters: V views (clouds, where each is seen once), N points, K neighbours, C and D channels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from pcinv.nn.edge_pooling import edge_norm_max
from pcinv.nn.fused import array, is_fused
from pcinv.nn.heads import PointHead, RowHead, activated
from pcinv.nn.rows import LinearNorm, norm_affine
from pcinv.ops import gather, knn, record_margin
from pcinv.ops.margins import tracking
from pcinv.ops.order import canonical_order
from pcinv.ops.threads import parallel

SLOPE = 0.2
"""Negative slope of the activations."""


@dataclass(frozen=True)
class DGCNNSizes:
    """Sizes of a body and its head.

    num_points : points that the sizes were chosen for; other counts work.
    neighbours : edges of each point, the point itself among them.
    edges : width of each edge convolution.
    deep : so many of them, the first ones, have two layers.
    embedding : width of the layer on all edge convolutions together.
    head : hidden widths.
    dynamic : look for new neighbours among the features before each convolution, as published;
        else the graph of the points serves them all, and all views.
    t_net : align the points by a matrix that a small network predicts, as published for parts.
    edge_pool : over the neighbours, "max" as published, "mean" as in the frame averaged network.
    keep_points : give the points themselves to the embedding too, as the frame averaged one does.
    """

    num_points: int
    neighbours: int
    edges: tuple[int, ...]
    embedding: int
    head: tuple[int, ...]
    dropout: float = 0.5
    deep: int = 0
    dynamic: bool = True
    t_net: bool = False
    edge_pool: Literal["max", "mean"] = "max"
    keep_points: bool = False


_POINTS = DGCNNSizes(num_points=2048, neighbours=40, edges=(64, 64, 64), deep=2,
                     embedding=1024, head=(256, 256, 128), t_net=True)
_LIGHT_POINTS = DGCNNSizes(num_points=1024, neighbours=16, edges=(32, 64, 64), embedding=256,
                           head=(128, 128), dynamic=False)

DGCNN_SIZES: dict[tuple[str, str], DGCNNSizes] = {
    ("classification", "light"): DGCNNSizes(
        num_points=1024, neighbours=16, edges=(32, 32, 64, 128), embedding=256,
        head=(256, 128), dynamic=False),
    ("classification", "paper"): DGCNNSizes(
        num_points=1024, neighbours=20, edges=(64, 64, 128, 256), embedding=1024,
        head=(512, 256)),
    ("part_segmentation", "light"): _LIGHT_POINTS,
    ("part_segmentation", "paper"): _POINTS,
    ("normals", "light"): _LIGHT_POINTS,
    ("normals", "paper"): replace(_POINTS, num_points=512),
}


class EdgeConv(nn.Module):
    """Layers on the edges, then the maximum or mean over the neighbours (eq. 7, 8).

    In: (V, N, C) and the neighbours (V, N, K).  Out: (V, N, D).
    """

    def __init__(self, width_in: int, widths: tuple[int, ...], pool: str = "max") -> None:
        super().__init__()
        self.pool = pool
        self.layers = nn.ModuleList(
            LinearNorm(before, width, bias=False)
            for before, width in zip((2 * width_in, *widths), widths, strict=False)
        )

    def forward(self, x: Float[Tensor, "v n c"], index: Int[Tensor, "v n k"]) -> Tensor:
        first, *others = self.layers
        of_neighbour, of_point = first.linear.weight.chunk(2, dim=1)
        both = F.linear(x, torch.cat((of_neighbour, of_point - of_neighbour)))
        a, b = both.chunk(2, dim=-1)  # (V, N, D) each
        if not others and self.pool == "max":
            return edge_norm_max(a, b, index, first.norm, SLOPE)
        if self.training:
            z = gather(a, index) + b[:, :, None]
            rows = F.leaky_relu(first.norm(z.flatten(0, 2)), SLOPE)
        else:  # the affine map of each point, not of each edge
            scale, shift = norm_affine(first.norm)
            z = gather(a * scale, index) + torch.addcmul(shift, b, scale)[:, :, None]
            rows = F.leaky_relu(z.flatten(0, 2), SLOPE, inplace=not torch.is_grad_enabled())
        for layer in others:
            rows = activated(layer, rows, SLOPE)
        edges = rows.view(*index.shape, -1)  # (V, N, K, D)
        return edges.mean(2) if self.pool == "mean" else edges.amax(2)


class EdgeTNet(nn.Module):
    """Predicts a 3x3 matrix from the edges of the points; starts as the identity."""

    def __init__(self) -> None:
        super().__init__()
        self.edges = EdgeConv(3, (64, 128))
        self.points = LinearNorm(128, 1024, bias=False)
        self.head = RowHead(1024, (512, 256), 9, 0.0, SLOPE, bias=(False, False, True))
        nn.init.zeros_(self.head.last.weight)
        with torch.no_grad():
            self.head.last.bias.copy_(torch.eye(3).flatten())

    def forward(
        self, xyz: Float[Tensor, "v n 3"], index: Int[Tensor, "v n k"]
    ) -> Float[Tensor, "v 3 3"]:
        v, n, _ = xyz.shape
        rows = self.edges(xyz, index).flatten(0, 1)
        pooled = activated(self.points, rows, SLOPE).view(v, n, -1).amax(1)
        return self.head(pooled).view(v, 3, 3)


class DGCNNBody(nn.Module):
    """Points of views to features, and features to logits.

    num_outputs : logits, of a view or of each of its points.
    """

    def __init__(
        self, sizes: DGCNNSizes, task: str, num_outputs: int, num_categories: int = 0
    ) -> None:
        super().__init__()
        if task == "normals":
            num_outputs, num_categories = 3, 0
        self.task, self.num_categories, self.sizes = task, num_categories, sizes
        widths = sizes.edges
        self.align = EdgeTNet() if sizes.t_net else None
        self.convs = nn.ModuleList(
            EdgeConv(before, (width,) * (2 if i < sizes.deep else 1), sizes.edge_pool)
            for i, (before, width) in enumerate(zip((3, *widths), widths, strict=False))
        )
        total = sum(widths) + (3 if sizes.keep_points else 0)
        self.embedding = LinearNorm(total, sizes.embedding, bias=False)
        if task == "classification":
            self.width = 2 * sizes.embedding
            bias = (False, *(True for _ in sizes.head))
            self.head: RowHead | PointHead = RowHead(
                self.width, sizes.head, num_outputs, sizes.dropout, SLOPE, bias)
        else:
            told = 64 if num_categories else 0
            self.width = sizes.head[0]
            self.tell = LinearNorm(num_categories, told, bias=False) if told else None
            self.head = PointHead((sizes.embedding, *widths), told, sizes.head, num_outputs,
                                  sizes.dropout, SLOPE, bias=False)

    def shared(self, xyz: Float[Tensor, "b n 3"]) -> tuple[Tensor, ...]:
        """Return what all views of a cloud have in common: its graph (B, N, K), and an order of
        the points (B, N) that depends on geometry alone, by which ties are broken."""
        index = knn(xyz, xyz, min(self.sizes.neighbours, xyz.shape[1])).index
        if not self.sizes.dynamic:
            return (index,)
        exact = xyz.detach().double()
        return index, canonical_order(exact - exact.mean(1, keepdim=True))

    def frozen(self) -> Callable[..., Tensor]:
        """Return `forward` as a function."""
        return self

    def forward(
        self, xyz: Float[Tensor, "v n 3"], index: Int[Tensor, "v n k"],
        order: Int[Tensor, "v n"] | None = None,
    ) -> Tensor:
        """Return the vector of each view (V, C), or of each of its points (V, N, C).

        The latter is the first linear map of the head, before the category is added.
        """
        v, n, _ = xyz.shape
        x, seen, is_graph = xyz, [], True
        if self.align is not None:
            x, is_graph = xyz @ self.align(xyz, index), False
        points = x
        for conv in self.convs:
            if order is not None and not is_graph:
                index = nearest_features(x, index.shape[-1], order)
            x, is_graph = conv(x, index), False
            seen.append(x)
        wide = torch.cat((points, *seen) if self.sizes.keep_points else seen, dim=-1)
        rows = activated(self.embedding, wide.view(v * n, -1), SLOPE).view(v, n, -1)
        if isinstance(self.head, RowHead):
            return torch.cat((rows.amax(1), rows.mean(1)), dim=-1)
        pooled = rows.mean(1) if self.sizes.edge_pool == "mean" else rows.amax(1)
        return self.head.join(pooled, *seen)

    def answer(self, rows: Tensor, category: Int[Tensor, " v"] | None = None) -> Tensor:
        """Turn the vectors of views, or of their points, into logits."""
        if isinstance(self.head, RowHead):
            return self.head(rows)
        told = None
        if self.tell is not None and category is not None:
            told = activated(self.tell, F.one_hot(category, self.num_categories).to(rows), SLOPE)
        logits = self.head(rows, told)
        return 2 * logits.sigmoid() - 1 if self.task == "normals" else logits  # as published


def nearest_features(
    x: Float[Tensor, "v n c"], k: int, order: Int[Tensor, "v n"]
) -> Int[Tensor, "v n k"]:
    """Return the k nearest points of each point among the features, itself included.

    order : (V, N) by which equal distances are decided.

    Distances are computed in the precision of the features, but at least in single. Rounding
    decides between neighbours that are as near as that; the narrowest decision is recorded.
    """
    v, n, _ = x.shape
    x = x.detach()
    wanted = min(k + 1, n) if tracking() else k
    with torch.autocast(x.device.type, enabled=False):
        x = x if x.dtype == torch.float64 else x.float()
        x = (x - x.mean(1, keepdim=True)).gather(1, order[..., None].expand_as(x))  # in order
        if is_fused(x):
            place, dist2 = _nearest_compiled(x, wanted)
        else:
            square = x.square().sum(-1)
            full = torch.baddbmm(square[:, :, None] + square[:, None], x, x.mT, alpha=-2)
            dist2, place = full.topk(wanted, dim=-1, largest=False)
    if wanted > k:
        gap = dist2[..., k] - dist2[..., k - 1]
        radius = x.square().sum(-1).amax(1)[:, None]
        record_margin(float((gap / radius.clamp_min(torch.finfo(x.dtype).tiny)).amin()))
        place = place[..., :k]
    index = torch.empty_like(place)
    batch = torch.arange(v, device=x.device)[:, None]
    index[batch, order] = order[batch[..., None], place]
    return index


def _nearest_compiled(x: Tensor, k: int) -> tuple[Tensor, Tensor]:
    from pcinv.nn.edge_kernels import nearest_columns

    v, n, _ = x.shape
    # zeros: what is not finite has no nearest, and must not become an index of no point
    place, best = torch.zeros(v, n, k, dtype=torch.int64), x.new_empty(v, n, k)

    def search(view: int) -> None:
        rows = x[view]
        square = rows.square().sum(-1)
        dist2 = torch.addmm(square[:, None] + square, rows, rows.t(), alpha=-2)
        nearest_columns(array(dist2), place[view].numpy(), best[view].numpy())

    parallel(search, range(v))
    return place, best


