"""RISurConv (Zhang, Yang, Xiang, ECCV 2024) and RIConv++ (Zhang, Hua, Yeung, IJCV 2022).

arXiv 2408.06110 and arXiv 2202.13094.

A layer describes the K neighbours of each centre by rotation-invariant features in cyclic order,
lets them attend to each other, joins what the neighbours carry and takes the maximum; then the
centres attend to each other. Coordinates enter the network in no other way. RIConv++ is the same
without attention and with 8 features for 14.

Letters: B batch, N points, S centres, K neighbours, C channels, L levels.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from pcinv.checks import check_category, check_points, check_same_points
from pcinv.errors import InputError
from pcinv.geometry.normals import estimate_normals
from pcinv.geometry.symmetric import eigh3
from pcinv.nn.backbone import Features, forward_by_size
from pcinv.nn.fused import chunks, is_fused
from pcinv.nn.overrides import with_overrides
from pcinv.nn.points import Points
from pcinv.nn.pooling import linear_norm_relu_max
from pcinv.nn.risp import cyclic_order, riconv_features, risp_features
from pcinv.nn.rows import LinearNorm, OffsetAttention, flat_index
from pcinv.ops import record_margin
from pcinv.ops.threads import in_shares


@dataclass(frozen=True)
class Hyper:
    """Sizes and choices of a network.

    num_points : points that the sizes were chosen for; other counts work.
    centres, neighbours, channels : one entry a level, fine to coarse. A classifier has one more
        entry in `channels`, for the layer over all that remains.
    head : hidden widths.  embed : channels of the embedded features of a neighbour.
    features : "risp14" (RISurConv) or "riconv8" (RIConv++).
    attention : attend among neighbours and among centres.
    signed_angles : RIConv++ only; False for its published weights.
    normal_neighbours : neighbourhood from which normals are estimated where none are given.
    compat : "fixed", or "official" for the arithmetic of the published code, whose answers
        depend on shifts, point order, axis signs and batch mates.
    """

    num_points: int
    centres: tuple[int, ...]
    neighbours: tuple[int, ...]
    channels: tuple[int, ...]
    head: tuple[int, ...]
    embed: int = 64
    dropout: float = 0.4
    features: Literal["risp14", "riconv8"] = "risp14"
    attention: bool = True
    signed_angles: bool = True
    normal_neighbours: int = 32
    compat: Literal["fixed", "official"] = "fixed"


SIZES: dict[tuple[str, str], Hyper] = {
    ("classification", "paper"): Hyper(
        num_points=1024, centres=(1024, 512, 256, 128), neighbours=(8, 16, 32, 64),
        channels=(32, 64, 128, 256, 512), head=(256, 128),
    ),
    ("classification", "light"): Hyper(
        num_points=1024, centres=(256, 128, 64, 32), neighbours=(16, 16, 16, 16),
        channels=(32, 64, 128, 256, 512), head=(256, 128), embed=32,
    ),
    ("part_segmentation", "paper"): Hyper(
        num_points=2048, centres=(512, 256, 128, 64), neighbours=(8, 16, 32, 64),
        channels=(64, 128, 256, 512), head=(128,),
    ),
    ("part_segmentation", "light"): Hyper(
        num_points=1024, centres=(256, 128, 64, 32), neighbours=(16, 16, 16, 16),
        channels=(32, 64, 128, 256), head=(128,), embed=32,
    ),
}

CACHED_ROWS = 4096
"""Neighbours worked on at a time in evaluation."""
FEATURE_COUNTS = {"risp14": 14, "riconv8": 8}
DECODER_NEIGHBOURS = {"risp14": (64, 32, 32, 32), "riconv8": (8, 16, 32, 32)}
"""Coarse neighbours that a fine point takes features from, coarsest level first."""


def describe_neighbours(
    source: Points, centre: Points, index: Int[Tensor, "b s k"], hyper: Hyper
) -> tuple[Float[Tensor, "f b s k"], Int[Tensor, "b s k"]]:
    """Put each centre's neighbours into cyclic order and compute their features.

    index : the neighbours among `source`, nearest first. Returns the features, and the index in
    cyclic order.
    """
    b, s, k = index.shape
    flat = index.reshape(b, s * k).expand(3, b, s * k)
    offset = source.xyz.gather(-1, flat).view(3, b, s, k) - centre.xyz[..., None]
    angle, order = cyclic_order(offset, centre.axis, centre_last=hyper.compat == "fixed")
    offset = offset.gather(-1, order.expand_as(offset))
    index = index.gather(-1, order)
    normal = source.axis.gather(-1, index.reshape(b, s * k).expand(3, b, s * k)).view(3, b, s, k)
    if hyper.features == "riconv8":
        signed = hyper.signed_angles and hyper.compat == "fixed"
        return riconv_features(offset, normal, centre.axis, angle, signed=signed), index
    stride = 2 if s >= 1024 else 1
    return risp_features(offset, normal, centre.axis, stride), index


class SurfaceConv(nn.Module):
    """The RISurConv operator (ECCV 2024, section 3.2): features of neighbours -> centres.

    carried : channels that the neighbours carry from the layer before, 0 for none.
    """

    def __init__(self, carried: int, width: int, hyper: Hyper) -> None:
        super().__init__()
        count, embed = FEATURE_COUNTS[hyper.features], hyper.embed
        has_bias = hyper.features == "riconv8"
        # The published RISurConv has nothing between its two embedding layers.
        self.activate_between = has_bias or hyper.compat == "fixed"
        self.across_centres = hyper.compat == "official"
        self.embed_1 = LinearNorm(count, embed // 2, bias=has_bias)
        self.embed_2 = LinearNorm(embed // 2, embed, bias=has_bias)
        self.attend_neighbours = OffsetAttention(embed) if hyper.attention else None
        self.merge = nn.Linear(embed, width)
        self.carry = nn.Linear(carried, width, bias=False) if carried else None
        self.norm = nn.BatchNorm1d(width)
        self.attend_centres = OffsetAttention(width) if hyper.attention else None

    def forward(
        self,
        features: Float[Tensor, "f b s k"],
        index: Int[Tensor, "b s k"],
        carried: Float[Tensor, "b n c"] | None,
    ) -> Float[Tensor, "b s d"]:
        _, b, s, k = features.shape
        wide, rows = None, None  # what the neighbours carry, (B*N, C), and who carries which
        if carried is not None and self.carry is not None:
            # A linear map commutes with the gather: N products instead of S * K.
            wide = self.carry(carried).flatten(0, 1)
            rows = flat_index(index, carried.shape[1])
        pool = linear_norm_relu_max(self.merge, self.norm, clouds=b)
        embed_1 = self.embed_1.frozen(relu=self.activate_between)
        embed_2 = self.embed_2.frozen(relu=True)
        attend = None
        if self.attend_neighbours is not None:
            attend = self.attend_neighbours.frozen(across=s if self.across_centres else 1)

        def describe(first: int, last: int) -> Tensor:
            """Centres `first` to `last` of the B*S: their neighbours' features -> (G, C)."""
            part = slice(first * k, last * k)
            x = embed_1(features.reshape(-1, b * s * k)[:, part].t())  # (G*K, E/2)
            x = embed_2(x).view(last - first, k, -1)  # (G, K, E)
            if attend is not None:
                x = attend(x)
            return pool(x, wide, None if rows is None else rows[part])

        # In evaluation groups are independent: pieces that stay in the cache are twice as fast.
        pieces = [slice(0, b * s)]
        if not self.training and not self.across_centres:
            pieces = chunks(b * s, max(1, CACHED_ROWS // k))

        def describe_all(share: Sequence[slice]) -> list[Tensor]:
            return [describe(piece.start, piece.stop) for piece in share]

        if len(pieces) > 1 and not torch.is_grad_enabled() and is_fused(features):
            parts = [part for share in in_shares(describe_all, pieces) for part in share]
        else:
            parts = describe_all(pieces)
        y = torch.cat(parts).view(b, s, -1)  # (B, S, C)
        return y if self.attend_centres is None else self.attend_centres(y)


class Encoder(nn.Module):
    """Farthest point samples of the cloud, each level described from the one before."""

    def __init__(self, hyper: Hyper) -> None:
        super().__init__()
        self.hyper = hyper
        widths = hyper.channels[: len(hyper.centres)]
        self.layers = nn.ModuleList(
            SurfaceConv(carried, width, hyper)
            for carried, width in zip((0, *widths[:-1]), widths, strict=True)
        )

    def forward(self, cloud: Points) -> tuple[list[Points], list[Tensor]]:
        """Return the points of each level, the cloud first, and the features of all but it."""
        levels: list[Points] = [cloud]
        carried: list[Tensor] = []
        order = cloud.sampling_order(
            self.hyper.centres, from_first=self.hyper.compat == "official"
        )
        for layer, count, k in zip(
            self.layers, self.hyper.centres, self.hyper.neighbours, strict=True
        ):
            # Farthest point samples are nested: a coarser level is the start of the same order.
            has_all = count > order.shape[1]
            centre = cloud if has_all else cloud.take(order[:, :count])
            index = centre.neighbours(levels[-1], k)
            features, index = describe_neighbours(levels[-1], centre, index, self.hyper)
            carried.append(layer(features, index, carried[-1] if carried else None))
            levels.append(centre)
        return levels, carried


class GlobalConv(nn.Module):
    """The last layer of the classifier: one centre, the mean, and all points its neighbours.

    The sign of the cloud's axis is arbitrary, so both are evaluated and the maximum taken.
    """

    def __init__(self, carried: int, width: int, hyper: Hyper) -> None:
        super().__init__()
        self.hyper = hyper
        self.layer = SurfaceConv(carried, width, hyper)

    def forward(self, points: Points, carried: Float[Tensor, "b n c"]) -> Float[Tensor, "b d"]:
        b, n = points.xyz.shape[1:]
        mean = points.xyz.mean(-1, keepdim=True)  # (3, B, 1)
        offset = points.xyz - mean
        distance = offset.norm(dim=0)
        weight = distance.amax(-1, keepdim=True) - distance
        # No matrix product: geometry keeps its precision under autocast.
        spread = ((weight * offset)[:, None] * offset).sum(-1)  # (3, 3, B)
        values, vectors = eigh3(spread.permute(2, 0, 1).double())
        gap = (values[:, 1] - values[:, 0]) / values[:, 2].clamp_min(torch.finfo(values.dtype).tiny)
        record_margin(gap.amin())
        axis = vectors[..., 0].t()[..., None].to(offset)  # (3, B, 1)
        index = torch.arange(n, device=offset.device).expand(b, 1, n)
        if self.hyper.compat == "official":  # features of absolute coordinates, one sign
            centre = Points(torch.zeros_like(mean), axis)
            features, index = describe_neighbours(points, centre, index, self.hyper)
            return self.layer(features, index, carried)[:, 0]
        twice = Points(*(torch.cat((t, t), dim=1) for t in points))
        centre = Points(mean.repeat(1, 2, 1), torch.cat((axis, -axis), dim=1))
        features, index = describe_neighbours(twice, centre, index.repeat(2, 1, 1), self.hyper)
        out = self.layer(features, index, carried.repeat(2, 1, 1))[:, 0]  # (2B, C)
        return torch.maximum(out[:b], out[b:])


class Head(nn.Sequential):
    """Hidden layers with batch norm, ReLU and dropout, then one linear layer."""

    def __init__(self, width_in: int, hidden: tuple[int, ...], width_out: int, dropout: float):
        layers: list[nn.Module] = []
        for before, width in zip((width_in, *hidden[:-1]), hidden, strict=True):
            layers += [LinearNorm(before, width), nn.ReLU(), nn.Dropout(dropout)]
        super().__init__(*layers, nn.Linear(hidden[-1], width_out))


class RISurConv(nn.Module):
    """Classifier or part segmenter; see `Hyper` and the module's docstring.

    num_classes : classes, or parts of all categories together.
    num_categories : categories of which a part segmenter is told one, 0 for none.
    """

    symmetry = "SO(3)"
    needs_normals = False
    min_points = 4

    def __init__(
        self, hyper: Hyper, task: str, num_classes: int, num_categories: int = 0
    ) -> None:
        super().__init__()
        self.hyper, self.task = hyper, task
        self.num_classes, self.num_categories = num_classes, num_categories
        self.encoder = Encoder(hyper)
        if task == "classification":
            self.pool = GlobalConv(hyper.channels[-2], hyper.channels[-1], hyper)
            if hyper.compat == "official" and hyper.attention:
                layer = nn.TransformerEncoderLayer(hyper.channels[-1], 8, 2048, dropout=0.05)
                self.transformer = nn.TransformerEncoder(layer, 3, enable_nested_tensor=False)
            self.head = Head(hyper.channels[-1], hyper.head, num_classes, hyper.dropout)
        else:
            c0, c1, c2, c3 = hyper.channels
            self.decoder = nn.ModuleList(
                SurfaceConv(carried, width, hyper)
                for carried, width in ((c3, c3), (c3, c3), (c2, c2), (c1, c1))
            )
            self.skips = nn.ModuleList(
                LinearNorm(w, out) for w, out in ((c3 + c2, c3), (c3 + c1, c2), (c2 + c0, c1))
            )
            self.head = Head(c1 + num_categories, hyper.head, num_classes, hyper.dropout)

    def forward(
        self,
        xyz: Float[Tensor, "b n 3"],
        normal: Float[Tensor, "b n 3"] | None = None,
        mask: Bool[Tensor, "b n"] | None = None,
        category: Int[Tensor, " b"] | None = None,
    ) -> Tensor:
        """Return logits: (B, classes), or (B, N, parts) for part segmentation.

        xyz : coordinates of any origin; the scale is that of the training data (unit ball).
        normal : unit vectors; estimated from the points where None.
        mask : True where a row is a point. Clouds of different size are computed apart, so
            padding cannot change an answer; evaluation only.
        category : object category of each cloud, for a part segmenter that has some.

        Raises
        ------
        ShapeError, InputError : wrong shapes, values that are not finite, fewer than
            `min_points` points, one cloud in training.
        """
        check_points(xyz, min_points=self.min_points)
        if normal is not None:
            check_same_points(normal, xyz, "normal")
        if mask is not None:
            return forward_by_size(self, xyz, normal, mask, category)
        return self.forward_head(self.forward_features(xyz, normal), category)

    def forward_features(
        self, xyz: Float[Tensor, "b n 3"], normal: Float[Tensor, "b n 3"] | None = None
    ) -> Features:
        """Return the vector of each cloud, or of each point for part segmentation."""
        if self.training and len(xyz) == 1:
            raise InputError("a batch of one cloud in training", where="xyz",
                             hint="batch normalisation needs two or more; or call model.eval()")
        cloud = self.prepare(xyz, normal)
        levels, carried = self.encoder(cloud)
        if self.task == "classification":
            pooled = self.pool(levels[-1], carried[-1])
            if hasattr(self, "transformer"):
                pooled = self.transformer(pooled[:, None])[:, 0]  # the batch is its sequence
            return Features(pooled, None, carried[-1])
        up = carried[-1]
        skips = [*carried[-2::-1], None]
        wanted = DECODER_NEIGHBOURS[self.hyper.features]
        for i, (layer, skip, k) in enumerate(zip(self.decoder, skips, wanted, strict=True)):
            coarse, fine = levels[-1 - i], levels[-2 - i]
            index = fine.neighbours(coarse, k)
            features, index = describe_neighbours(coarse, fine, index, self.hyper)
            up = layer(features, index, up)
            if skip is not None:
                b, s, _ = up.shape
                rows = torch.cat((up, skip), dim=-1).view(b * s, -1)
                up = self.skips[i].frozen(relu=True)(rows).view(b, s, -1)
        return Features(None, up, carried[-1])

    def forward_head(self, features: Features, category: Tensor | None = None) -> Tensor:
        """Turn features into logits."""
        if features.per_point is None:
            logits: Tensor = self.head(features.global_)
            return logits
        rows = features.per_point
        b, n, _ = rows.shape
        if self.num_categories:
            check_category(category, b, self.num_categories)
            told = F.one_hot(category, self.num_categories).to(rows)
            rows = torch.cat((rows, told[:, None].expand(b, n, -1)), dim=-1)
        per_point: Tensor = self.head(rows.reshape(b * n, -1)).view(b, n, -1)
        return per_point

    def prepare(self, xyz: Tensor, normal: Tensor | None) -> Points:
        """Centre the cloud (in float64: its origin may be far away) and find its normals."""
        dtype = self.head[-1].weight.dtype
        if self.hyper.compat == "fixed":
            exact = xyz.double()
            xyz = exact - exact.mean(1, keepdim=True)
        xyz = xyz.to(dtype)
        if normal is None:
            normal = estimate_normals(xyz.detach(), k=self.hyper.normal_neighbours).normal
        return Points(
            xyz.permute(2, 0, 1).contiguous(), normal.to(dtype).permute(2, 0, 1).contiguous()
        )


def build(
    name: str, *, task: str, num_classes: int, preset: str, num_categories: int,
    overrides: dict[str, Any],
) -> RISurConv:
    """Make the network of a row of the registry."""
    hyper = SIZES[task, preset]
    if name == "riconvpp":
        hyper = replace(hyper, features="riconv8", attention=False)
    return RISurConv(with_overrides(hyper, overrides, name), task, num_classes, num_categories)
