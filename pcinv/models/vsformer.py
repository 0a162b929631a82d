"""VSFormer (Sun, Wang, Cai, Wen, IEEE TVCG 31(4), 2025): a cloud as a set of pictures of it.

arXiv 2409.09254. A small convolutional network describes each view; four transformer blocks let the
views attend to each other without being told which is which; the maximum and the mean over views go
to the head. There is no positional encoding and no class token, so any number of views will do.

The published method looks at renderings from fixed places. Here the pictures are drawn of points
(`pcinv.nn.splat`), and the cameras stand in the principal axes of the cloud, each in all four
choices of their signs: the set of views turns with the cloud. The axes of a cloud with equal
variances in two directions are arbitrary; for such clouds nothing is promised.

Letters: B batch, N points, V views, H pixels a side, C channels.
"""

from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from pcinv.checks import check_points, check_same_points
from pcinv.errors import ConfigError, InputError, ShapeError, unknown_name
from pcinv.geometry.normals import estimate_normals
from pcinv.geometry.pca_frames import PROPER_SIGNS, TILT, pca_frames
from pcinv.nn.backbone import Features, forward_by_size
from pcinv.nn.fused import at_a_time, chunks
from pcinv.nn.overrides import with_overrides
from pcinv.nn.splat import CHANNELS, cameras, splat
from pcinv.ops import record_margin


@dataclass(frozen=True)
class Hyper:
    """Sizes and choices of a network.

    num_points : points that the sizes were chosen for; other counts work.
    frames : "pca", or "world" for cameras that stand still: not invariant, to compare with.
    cameras : directions to look from, 6, 12 or 20; makes 12, 12 or 20 pictures.
    pixels, radius : of a picture's side, and of a point in it, in pixels.
    encoder : "small", or "alexnet" with the layers of the paper.
    channels : of the small encoder's layers, each followed by halving the picture.
    width, heads, blocks : of the transformer.  ratio : of its hidden layer.
    dropout_view, dropout_attention, dropout_mlp : of the encoder, the weights, the hidden layer.
    hidden : width of the head.
    normal_neighbours : neighbourhood from which normals are estimated where none are given.
    """

    num_points: int = 1024
    frames: Literal["pca", "world"] = "pca"
    cameras: int = 12
    pixels: int = 32
    radius: float = 1.5
    encoder: Literal["small", "alexnet"] = "small"
    channels: tuple[int, ...] = (16, 32, 64, 128)
    width: int = 128
    heads: int = 4
    blocks: int = 4
    ratio: int = 2
    dropout_view: float = 0.1
    dropout_attention: float = 0.1
    dropout_mlp: float = 0.1
    hidden: int = 256
    normal_neighbours: int = 32


SIZES = {
    "light": Hyper(),
    "paper": Hyper(cameras=20, pixels=224, radius=4.0, encoder="alexnet", width=512, heads=8,
                   dropout_view=0.5, dropout_mlp=0.5, hidden=512),
}

CACHED_PIXELS = 2**21
"""Pixels of pictures that are described at a time in evaluation."""


def small_encoder(hyper: Hyper) -> nn.Sequential:
    """Return 3x3 convolutions, each halving the picture, then the maximum: (G, 2, H, H) -> C."""
    layers: list[nn.Module] = []
    for before, width in zip((CHANNELS, *hyper.channels[:-1]), hyper.channels, strict=True):
        layers += [nn.Conv2d(before, width, 3, padding=1, bias=False), nn.BatchNorm2d(width),
                   nn.ReLU(), nn.MaxPool2d(2, ceil_mode=True)]
    return nn.Sequential(*layers, nn.AdaptiveMaxPool2d(1), nn.Flatten(),
                         nn.Dropout(hyper.dropout_view), nn.Linear(hyper.channels[-1], hyper.width))


def alexnet_encoder(hyper: Hyper) -> nn.Sequential:
    """Return the convolutions of AlexNet and 9216 -> 4096 -> C, as in the paper."""
    def conv(before: int, width: int, size: int, stride: int = 1) -> list[nn.Module]:
        pad = 2 if size > 3 else 1
        return [nn.Conv2d(before, width, size, stride, pad), nn.ReLU()]

    return nn.Sequential(
        *conv(CHANNELS, 64, 11, 4), nn.MaxPool2d(3, 2), *conv(64, 192, 5), nn.MaxPool2d(3, 2),
        *conv(192, 384, 3), *conv(384, 256, 3), *conv(256, 256, 3), nn.MaxPool2d(3, 2),
        nn.AdaptiveAvgPool2d(6), nn.Flatten(), nn.Dropout(hyper.dropout_view),
        nn.Linear(9216, 4096), nn.ReLU(), nn.Dropout(hyper.dropout_view),
        nn.Linear(4096, hyper.width))


ENCODERS = {"small": small_encoder, "alexnet": alexnet_encoder}


class Block(nn.Module):
    """Attention among views and a hidden layer, each normalised before: (B, V, C) -> the same."""

    def __init__(self, hyper: Hyper) -> None:
        super().__init__()
        c = hyper.width
        self.heads, self.dropout = hyper.heads, hyper.dropout_attention
        self.norm_1, self.norm_2 = nn.LayerNorm(c), nn.LayerNorm(c)
        self.qkv, self.out = nn.Linear(c, 3 * c), nn.Linear(c, c)
        self.mlp = nn.Sequential(
            nn.Linear(c, hyper.ratio * c), nn.GELU(), nn.Dropout(hyper.dropout_mlp),
            nn.Linear(hyper.ratio * c, c), nn.Dropout(hyper.dropout_mlp))

    def forward(self, x: Float[Tensor, "b v c"]) -> Float[Tensor, "b v c"]:
        b, v, c = x.shape
        split = self.qkv(self.norm_1(x)).view(b, v, 3, self.heads, -1)
        query, key, value = split.permute(2, 0, 3, 1, 4)  # (B, heads, V, C / heads) each
        mixed = F.scaled_dot_product_attention(
            query, key, value, dropout_p=self.dropout if self.training else 0.0)
        x = x + self.out(mixed.transpose(1, 2).reshape(b, v, c))
        out: Tensor = x + self.mlp(self.norm_2(x))
        return out


def pooled(views: Float[Tensor, "b v c"]) -> Float[Tensor, "b d"]:
    """Return the maximum and the mean over views, one after the other."""
    return torch.cat([views.amax(1), views.mean(1)], dim=-1)


class VSFormer(nn.Module):
    """Classifier; see `Hyper` and the module's docstring."""

    needs_normals = False
    min_points = 4
    task = "classification"
    num_categories = 0

    def __init__(self, hyper: Hyper, num_classes: int) -> None:
        super().__init__()
        if hyper.encoder not in ENCODERS:
            raise unknown_name("encoder", hyper.encoder, ENCODERS, where="model.encoder")
        if hyper.width % hyper.heads or hyper.pixels < 2 or hyper.radius < 1:
            raise ConfigError(
                f"{hyper.pixels} pixels, points of radius {hyper.radius}, {hyper.heads} heads for "
                f"{hyper.width} channels", where="model.overrides",
                hint="pixels >= 2, radius >= 1, width a multiple of heads")
        self.hyper, self.num_classes = hyper, num_classes
        self.symmetry = "SO(3)" if hyper.frames == "pca" else "none"
        self.num_views = len(PROPER_SIGNS) * len(cameras(hyper.cameras))
        self.encoder = ENCODERS[hyper.encoder](hyper)
        self.blocks = nn.Sequential(*(Block(hyper) for _ in range(hyper.blocks)))
        self.head = nn.Sequential(
            nn.BatchNorm1d(2 * hyper.width), nn.ReLU(), nn.Linear(2 * hyper.width, hyper.hidden),
            nn.BatchNorm1d(hyper.hidden), nn.ReLU(), nn.Linear(hyper.hidden, num_classes))

    def forward(
        self,
        xyz: Float[Tensor, "b n 3"],
        normal: Float[Tensor, "b n 3"] | None = None,
        mask: Bool[Tensor, "b n"] | None = None,
        category: Int[Tensor, " b"] | None = None,
    ) -> Tensor:
        """Return logits (B, classes).

        xyz : coordinates of any origin and scale.
        normal : unit vectors, of which the sign does not matter; estimated where None.
        mask : True where a row is a point; evaluation only.
        category : not used.

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
        return self.forward_head(self.forward_features(xyz, normal))

    def forward_features(
        self, xyz: Float[Tensor, "b n 3"], normal: Float[Tensor, "b n 3"] | None = None
    ) -> Features:
        """Return the vector of each cloud (B, 2 C), and those of its views (B, V, C)."""
        if self.training:
            return self.describe(self.pictures(xyz, normal))
        step = max(1, at_a_time(CACHED_PIXELS, xyz) // (self.num_views * self.hyper.pixels**2))
        described = [
            self.describe(self.pictures(xyz[part], None if normal is None else normal[part]))
            for part in chunks(len(xyz), step)]
        views = torch.cat([some.centres for some in described])
        return Features(pooled(views), None, views)

    def forward_head(self, features: Features) -> Tensor:
        """Turn features into logits."""
        logits: Tensor = self.head(features.global_)
        return logits

    def describe(self, pictures: Float[Tensor, "b v 2 h h"]) -> Features:
        """Return the features of clouds of which there are pictures, any number V >= 1 of each."""
        if pictures.dim() != 5 or pictures.shape[2] != CHANNELS or not pictures.shape[1]:
            raise ShapeError(f"pictures {tuple(pictures.shape)}, expected (B, V, 2, H, H)",
                             where="pictures", hint="pcinv.nn.splat draws them")
        if self.training and len(pictures) == 1:
            raise InputError("a batch of one cloud in training", where="xyz",
                             hint="batch normalisation needs two or more; or call model.eval()")
        b, v = pictures.shape[:2]
        # channels last: convolutions on a CPU are twice as fast
        flat = pictures.flatten(0, 1).contiguous(memory_format=torch.channels_last)
        views = self.blocks(self.encoder(flat).view(b, v, -1))  # (B, V, C)
        return Features(pooled(views), None, views)

    def pictures(
        self, xyz: Float[Tensor, "b n 3"], normal: Float[Tensor, "b n 3"] | None = None
    ) -> Float[Tensor, "b v 2 h h"]:
        """Return what the cameras see of each cloud, centred and scaled into the unit ball."""
        frames = pca_frames(xyz, group="SE3")
        local = xyz.detach().double() - frames.centre[:, None]
        radius = local.norm(dim=-1).amax(1)[:, None, None]
        local = local / torch.where(radius > 0, radius, 1.0)
        if normal is None:
            normal = estimate_normals(local.to(xyz), k=self.hyper.normal_neighbours).normal
        if self.hyper.frames == "pca":
            axes = frames.axes
            record_margin(TILT * float(frames.gap.amin()))
        else:
            axes = torch.diag_embed(local.new_tensor(PROPER_SIGNS)).expand(len(xyz), -1, -1, -1)
        sides = cameras(self.hyper.cameras).to(axes)  # (C, 3, 3)
        axes = (axes[:, :, None] @ sides).flatten(1, 2)  # (B, V, 3, 3)
        dtype = next(self.encoder.parameters()).dtype
        return splat(local, normal.to(dtype), axes, pixels=self.hyper.pixels,
                     radius=self.hyper.radius)


def build(
    name: str, *, task: str, num_classes: int, preset: str, num_categories: int,
    overrides: dict[str, Any],
) -> VSFormer:
    """Make the network of a row of the registry."""
    return VSFormer(with_overrides(SIZES[preset], overrides, name), num_classes)
