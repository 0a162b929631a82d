"""What stands on a backbone of LiDAR scans: heads of pretraining, segmentation and detection."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pcinv.nn.bev_unet import conv


def mlp(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    """Return a projector, as BYOL has it: linear, batch norm, ReLU, linear."""
    return nn.Sequential(nn.Linear(inputs, hidden), nn.BatchNorm1d(hidden), nn.ReLU(),
                         nn.Linear(hidden, outputs))


class PretrainHeads(nn.Module):
    """Projector of points, projector and predictor of cells, classifier of rotations.

    points, cells, bottleneck : channels that come in.  bins : rotations that are told apart.
    """

    def __init__(self, points: int, cells: int, bottleneck: int, width: int, bins: int) -> None:
        super().__init__()
        self.of_points = mlp(points, 2 * width, width)
        self.of_cells = mlp(cells, 2 * width, width)
        self.predict = mlp(width, 2 * width, width)
        self.absolute = _classifier(bottleneck, bins)
        self.between = _classifier(2 * bottleneck, bins)


def _classifier(inputs: int, bins: int) -> nn.Sequential:
    """Return a classifier of pooled maps.

    Group norm leaves means of whole maps all but the same: without batch norm before it nothing is
    learned (loss at log(bins) after 600 steps).
    """
    return nn.Sequential(nn.BatchNorm1d(inputs), nn.Linear(inputs, 128), nn.ReLU(),
                         nn.Linear(128, bins))


class SegmentationHead(nn.Module):
    """A class for each point: linear where the backbone is frozen, else with a layer between."""

    def __init__(self, channels: int, num_classes: int, linear: bool) -> None:
        super().__init__()
        layers: list[nn.Module] = [] if linear else [
            nn.Linear(channels, channels), nn.LayerNorm(channels), nn.ReLU()]
        self.layers = nn.Sequential(nn.BatchNorm1d(channels), *layers,
                                    nn.Linear(channels, num_classes))

    def forward(self, points: Float[Tensor, "total c"]) -> Float[Tensor, "total k"]:
        """Return logits (ΣN, K)."""
        logits: Tensor = self.layers(points)
        return logits


class Centres(NamedTuple):
    """What a detector says of each cell of a map.

    heat : (B, K, H, W) logits of a centre of each class.
    box : (B, 10, H, W) offset of the centre in cells (2), height (1), log size (3), sine and cosine
        of the heading (2), velocity (2).
    """

    heat: Tensor
    box: Tensor


class CentreHead(nn.Module):
    """Centres of boxes (CenterPoint, Yin, Zhou, Krahenbuhl, CVPR 2021): one trunk, two branches."""

    def __init__(self, channels: int, num_classes: int, linear: bool) -> None:
        super().__init__()
        self.trunk = nn.Identity() if linear else conv(channels, 64)
        width = channels if linear else 64
        self.heat, self.box = nn.Conv2d(width, num_classes, 1), nn.Conv2d(width, 10, 1)
        # a tenth of certainty at the start, as of focal loss
        nn.init.constant_(self.heat.bias, -math.log((1 - 0.1) / 0.1))  # type: ignore[arg-type]

    def forward(self, maps: Float[Tensor, "b c h w"]) -> Centres:
        """Return maps of centres and boxes."""
        x = self.trunk(maps)
        return Centres(self.heat(x), self.box(x))


@torch.no_grad()
def follow(target: nn.Module, online: nn.Module, gamma: float) -> None:
    """Move the weights of a target towards the online ones: ξ <- γ ξ + (1 - γ) θ."""
    for mine, other in zip(target.parameters(), online.parameters(), strict=True):
        mine.lerp_(other, 1 - gamma)
