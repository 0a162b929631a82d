"""PillarBEV: a backbone of LiDAR scans in pure PyTorch, pillars and a U-Net seen from above.

The light form of the encoder of E-SSL3D (Hegde, Lohit, Peng, Jones, Patel, arXiv 2404.11737), which
has sparse convolutions in 3D; pillars are those of PointPillars (Lang et al., CVPR 2019). What it
takes and gives differs from networks of shapes: `ScanBatch` goes in, scans of any length end to
end, metres, x forward and z up, and `BevFeatures` come out. Task "pretraining" adds the parts of
the objectives, a slowly following copy of the encoder among them.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pcinv.nn.bev_unet import BevUNet
from pcinv.nn.lidar_heads import CentreHead, Centres, PretrainHeads, SegmentationHead, follow
from pcinv.nn.overrides import with_overrides
from pcinv.nn.pillars import Grid, PillarEncoder, ScanBatch, check_map, sample_map

TASKS = ("pretraining", "segmentation", "detection")


@dataclass(frozen=True)
class Hyper:
    """Hyper-parameters.

    reach : half the side of the map around the sensor, metres.
    cell : side of a cell, metres; a multiple of 8 of them makes the map.
    channels : of the map at full size, and after each of three halvings.
    blocks : pairs of convolutions after each halving.
    relative : points are not told where they are on the map, only where in their pillar.
    probe : the backbone stays as it is, and the head is linear.
    """

    reach: float = 25.6
    cell: float = 0.4
    channels: tuple[int, ...] = (32, 64, 128, 128)
    blocks: int = 1
    relative: bool = False
    probe: bool = False
    projection: int = 64
    bins: int = 10

    @property
    def grid(self) -> Grid:
        """The cells of the map."""
        return Grid.around(self.reach, self.cell)


PRESETS = {
    "light": Hyper(),
    "large": Hyper(reach=51.2, channels=(48, 96, 192, 192), blocks=2),
}


class BevFeatures(NamedTuple):
    """map : (B, C, H, W).  points : (ΣN, 2C) map at the point, and the point's own.

    bottleneck : (B, C3, H / 8, W / 8).
    """

    map: Float[Tensor, "b c h w"]
    points: Float[Tensor, "total d"]
    bottleneck: Float[Tensor, "b d h8 w8"]


class Encoder(nn.Module):
    """Scans to features of cells and points."""

    def __init__(self, hyper: Hyper) -> None:
        super().__init__()
        self.grid = hyper.grid
        self.pillars = PillarEncoder(self.grid, hyper.channels[0], hyper.relative)
        self.unet = BevUNet(hyper.channels, hyper.blocks)

    def forward(self, batch: ScanBatch) -> BevFeatures:
        """Return the features of a batch."""
        pillars, own = self.pillars(batch)  # (B, C, H, W), (ΣN, C)
        maps, bottleneck = self.unet(pillars)
        at_points = sample_map(maps, batch, self.grid)  # (ΣN, C)
        return BevFeatures(maps, torch.cat([at_points, own], dim=1), bottleneck)


class PillarBEV(nn.Module):
    """The backbone with what a task puts on it."""

    symmetry = "none"
    tasks = TASKS
    needs_normals = False
    min_points = 1

    def __init__(self, hyper: Hyper, task: str, num_classes: int) -> None:
        super().__init__()
        self.hyper, self.task = hyper, task
        self.backbone = Encoder(hyper)
        channels = hyper.channels[0]
        if task == "pretraining":
            self.heads = PretrainHeads(2 * channels, channels, hyper.channels[-1],
                                       hyper.projection, hyper.bins)
            self.target = copy.deepcopy(self.backbone)
            self.target_cells = copy.deepcopy(self.heads.of_cells)
            self.target.requires_grad_(False)
            self.target_cells.requires_grad_(False)
        elif task == "segmentation":
            self.head: nn.Module = SegmentationHead(2 * channels, num_classes, hyper.probe)
        else:
            self.head = CentreHead(channels, num_classes, hyper.probe)
        if hyper.probe:
            self.backbone.requires_grad_(False)

    def forward_features(self, batch: ScanBatch) -> BevFeatures:
        """Return the features of cells and points."""
        features: BevFeatures = self.backbone(batch)
        return features

    def forward_head(self, features: BevFeatures) -> Tensor | Centres:
        """Return logits of points (ΣN, K), or maps of centres and boxes."""
        of_points = self.task == "segmentation"
        answer: Tensor | Centres = self.head(features.points if of_points else features.map)
        return answer

    def forward(self, batch: ScanBatch) -> Tensor | Centres | BevFeatures:
        """Return what the task asks of each scan; in pretraining the features."""
        features = self.forward_features(batch)
        return features if self.task == "pretraining" else self.forward_head(features)

    def follow(self, gamma: float) -> None:
        """Move the target of pretraining towards the encoder: ξ <- γ ξ + (1 - γ) θ."""
        follow(self.target, self.backbone, gamma)
        follow(self.target_cells, self.heads.of_cells, gamma)


def build(
    name: str, *, task: str, num_classes: int, preset: str, num_categories: int,
    overrides: dict[str, Any],
) -> PillarBEV:
    """Make the network; see `pcinv.models.registry.create_model`.

    Raises ConfigError for sizes that make no map.
    """
    hyper = with_overrides(PRESETS[preset], overrides, name)
    check_map(hyper.reach, hyper.cell, hyper.channels)
    return PillarBEV(hyper, task, num_classes)
