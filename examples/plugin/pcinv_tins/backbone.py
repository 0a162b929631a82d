"""A small classifier that sees distances only, so turning or shifting a cloud changes nothing.

It takes a shape for its mirror image, since distances do not tell them apart.

Letters: B batch, N points, K neighbours, C channels.
"""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from pcinv.checks import check_points
from pcinv.nn.backbone import Features, forward_by_size
from pcinv.nn.overrides import with_overrides
from pcinv.ops import knn


@dataclass(frozen=True)
class Hyper:
    """Sizes. num_points : points of a cloud that the sizes were chosen for; others work."""

    num_points: int = 256
    neighbours: int = 8
    channels: int = 64


SIZES = {"light": Hyper(), "wide": Hyper(channels=128)}


class DistanceNet(nn.Module):
    """A network on each point's distances, the mean and the maximum over points, a linear layer."""

    symmetry = "SO(3)"
    needs_normals = False
    min_points = 2

    def __init__(self, hyper: Hyper, num_classes: int) -> None:
        super().__init__()
        self.hyper, self.task, self.num_categories = hyper, "classification", 0
        wide = hyper.channels
        self.points = nn.Sequential(nn.Linear(1 + hyper.neighbours, wide), nn.ReLU(),
                                    nn.Linear(wide, wide), nn.ReLU())
        self.head = nn.Linear(2 * wide, num_classes)

    def forward(
        self,
        xyz: Float[Tensor, "b n 3"],
        normal: Float[Tensor, "b n 3"] | None = None,
        mask: Bool[Tensor, "b n"] | None = None,
        category: Int[Tensor, " b"] | None = None,
    ) -> Float[Tensor, "b c"]:
        """Return logits; `normal` and `category` are taken, as of every backbone, and not used."""
        check_points(xyz, min_points=self.min_points)
        if mask is not None:
            return forward_by_size(self, xyz, normal, mask, category)
        return self.forward_head(self.forward_features(xyz, normal))

    def forward_features(
        self, xyz: Float[Tensor, "b n 3"], normal: Float[Tensor, "b n 3"] | None = None
    ) -> Features:
        """Return the vector of each cloud and of each point."""
        exact = xyz.double()  # the origin may be far away
        centred = (exact - exact.mean(1, keepdim=True)).to(self.head.weight.dtype)
        k = min(self.hyper.neighbours + 1, centred.shape[1])
        index = knn(centred, centred, k).index[..., 1:]  # (B, N, K); the first is the point itself
        near = torch.stack([cloud[rows] for cloud, rows in zip(centred, index, strict=True)])
        distance = (near - centred[:, :, None]).norm(dim=-1)  # (B, N, K)
        missing = self.hyper.neighbours - distance.shape[-1]
        distance = nn.functional.pad(distance, (0, missing))
        radius = centred.norm(dim=-1, keepdim=True)
        per_point = self.points(torch.cat((radius, distance), -1))  # (B, N, C)
        pooled = torch.cat((per_point.mean(1), per_point.amax(1)), -1)  # (B, 2C)
        return Features(pooled, per_point, per_point)

    def forward_head(self, features: Features, category: Tensor | None = None) -> Tensor:
        """Turn features into logits."""
        logits: Tensor = self.head(features.global_)
        return logits


def build(
    name: str, *, task: str, num_classes: int, preset: str, num_categories: int,
    overrides: dict[str, Any],
) -> DistanceNet:
    """Make the network; pcinv calls this with what `create_model` was given."""
    return DistanceNet(with_overrides(SIZES[preset], overrides, name), num_classes)
