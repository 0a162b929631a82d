"""PoseNet (Zhou, Barnes, Lu, Yang, Li, CVPR 2019, section 5.2): the rotation between two clouds.

arXiv 1812.07035. One small PointNet, without batch normalisation, describes both clouds, which hold
the same thing in two poses; which point belongs to which is not told. Two layers turn the two
descriptions into the numbers of a representation of SO(3), and these are decoded.

Shifts and the order of the points change nothing: each cloud is centred, and a maximum has no
order. Turning a cloud does not turn the answer exactly; that is learned.

Letters: B pairs, N points, C channels.
"""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from pcinv.checks import check_mask, check_points
from pcinv.errors import InputError, ShapeError
from pcinv.geometry.representations import as_matrix, get_representation
from pcinv.nn.backbone import Features
from pcinv.nn.fused import chunks
from pcinv.nn.overrides import with_overrides


@dataclass(frozen=True)
class Hyper:
    """Sizes and choices of a network.

    num_points : points that the sizes were chosen for; other counts work.
    channels : of the layers at each point, the last one pooled.  hidden : width before the answer.
    representation : how the answer is written, of `pcinv.geometry.representations`.
    slope : of the leaky ReLU below zero.
    """

    num_points: int = 1024
    channels: tuple[int, ...] = (64, 128, 1024)
    hidden: int = 512
    representation: str = "6d"
    slope: float = 0.01


SIZES = {
    "light": Hyper(channels=(64, 128, 512), hidden=256),
    "paper": Hyper(),
}

CACHED_ROWS = 4096
"""Points whose last layer is computed at a time: 16 MiB at the paper's width."""


class PointMax(nn.Module):
    """Linear layer at each point, then the maximum over points: (B, N, C) -> (B, D).

    Only the points that hold a maximum matter to the gradient, so the layer is computed again for
    these alone, D of them a cloud, and its values at all others are never kept.
    """

    def __init__(self, width_in: int, width_out: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width_in, width_out)

    def forward(self, x: Float[Tensor, "b n c"], mask: Bool[Tensor, "b n"] | None = None) -> Tensor:
        weight, bias = self.linear.weight, self.linear.bias
        found = []
        with torch.no_grad():
            for part in chunks(len(x), max(1, CACHED_ROWS // x.shape[1])):
                rows = x[part]
                # (G, D, N): maxima along the last axis are twice as fast; the bias moves none
                z = torch.bmm(weight.expand(len(rows), -1, -1), rows.mT)
                if mask is not None:
                    z = z.masked_fill(~mask[part, None], -torch.inf)
                found.append(z.max(-1))
            top, row = torch.cat([f.values for f in found]), torch.cat([f.indices for f in found])
        if not torch.is_grad_enabled():
            return top + bias
        picked = x.gather(1, row[..., None].expand(-1, -1, x.shape[-1]))  # (B, D, C)
        return (picked * weight).sum(-1) + bias


class RotationHead(nn.Module):
    """Linear layer and decoding: a vector of any leading shape -> a rotation (..., 3, 3).

    A representation trained on bare numbers gives those in training, which need not be a rotation.
    """

    def __init__(self, width_in: int, representation: str) -> None:
        super().__init__()
        self.representation = get_representation(representation, "model.representation")
        self.linear = nn.Linear(width_in, self.representation.width)

    def forward(self, x: Float[Tensor, "*batch c"]) -> Float[Tensor, "*batch 3 3"]:
        numbers = self.linear(x)
        numbers = numbers.to(torch.promote_types(numbers.dtype, torch.float32))
        if self.representation.is_raw and self.training:
            return as_matrix(numbers)
        return self.representation.decode(numbers)


class PoseNet(nn.Module):
    """Rotation R with second = first R^T + a shift; see `Hyper` and the module's docstring."""

    symmetry = "T(3)"
    needs_normals = False
    min_points = 1
    task = "pose"
    num_categories = 0

    def __init__(self, hyper: Hyper) -> None:
        super().__init__()
        self.hyper = hyper
        *widths, pooled = hyper.channels
        self.point = nn.ModuleList(
            nn.Linear(before, width) for before, width in zip((3, *widths), widths, strict=False))
        self.pool = PointMax((3, *widths)[-1], pooled)
        self.join = nn.Linear(2 * pooled, hyper.hidden)
        self.head = RotationHead(hyper.hidden, hyper.representation)

    def forward(
        self,
        xyz: Float[Tensor, "b n 3"],
        second: Float[Tensor, "b m 3"],
        mask: Bool[Tensor, "b n"] | None = None,
        second_mask: Bool[Tensor, "b m"] | None = None,
    ) -> Float[Tensor, "b 3 3"]:
        """Return the rotation that turns each first cloud into the second.

        xyz, second : coordinates of any origin; the scale is that of the training data (unit ball).
        mask, second_mask : True where a row is a point.

        Raises
        ------
        ShapeError, InputError : wrong shapes, values that are not finite, clouds without points.
        """
        return self.forward_head(self.forward_features(xyz, second, mask, second_mask))

    def forward_features(
        self, xyz: Float[Tensor, "b n 3"], second: Float[Tensor, "b m 3"],
        mask: Bool[Tensor, "b n"] | None = None, second_mask: Bool[Tensor, "b m"] | None = None,
    ) -> Features:
        """Return the vector of each pair (B, 2 C), and those of its clouds as two centres."""
        check_points(xyz, min_points=self.min_points)
        check_points(second, "second", min_points=self.min_points)
        if len(xyz) != len(second):
            raise ShapeError(f"{len(xyz)} first and {len(second)} second clouds", where="second",
                             hint="one second cloud for each first one")
        for rows, cloud, name in ((mask, xyz, "mask"), (second_mask, second, "second_mask")):
            if rows is not None:
                check_mask(rows, cloud, name)
        clouds = torch.stack([self.describe(xyz, mask), self.describe(second, second_mask)], dim=1)
        return Features(clouds.flatten(1), None, clouds)

    def describe(
        self, xyz: Float[Tensor, "b n 3"], mask: Bool[Tensor, "b n"] | None = None
    ) -> Float[Tensor, "b c"]:
        """Return the vector of each cloud."""
        x = centred(xyz, mask).to(self.pool.linear.weight.dtype)
        for layer in self.point:
            x = F.leaky_relu(layer(x), self.hyper.slope)
        pooled: Tensor = self.pool(x, mask)
        return pooled

    def forward_head(self, features: Features) -> Float[Tensor, "b 3 3"]:
        """Turn features into rotations."""
        x = F.leaky_relu(self.join(features.global_), self.hyper.slope)
        rotation: Tensor = self.head(x)
        return rotation


def centred(xyz: Float[Tensor, "b n 3"], mask: Bool[Tensor, "b n"] | None) -> Tensor:
    """Return float64 coordinates about the mean of each cloud; its origin may be far away."""
    exact = xyz.double()
    if mask is None:
        return exact - exact.mean(1, keepdim=True)
    if not bool(mask.any(1).all()):
        raise InputError("a cloud of padding alone", where="mask", hint="leave it out")
    inside = mask[..., None]
    total = torch.where(inside, exact, 0.0).sum(1, keepdim=True)
    return exact - total / inside.sum(1, keepdim=True)


def build(
    name: str, *, task: str, num_classes: int, preset: str, num_categories: int,
    overrides: dict[str, Any],
) -> PoseNet:
    """Make the network of a row of the registry."""
    return PoseNet(with_overrides(SIZES[preset], overrides, name))
