"""PillarFlow: how the points of a scan move until the next one, told at once by a network.

The form of FastFlow3D (Jund et al., RA-L 2022, arXiv 2103.01306): both scans become pillars by the
same layers, a U-Net sees the two maps together, and each point of the first reads what is at its
place. Smaller than the published one, and not told where on the map a pillar is. It is taught by
estimates that need no labels, as ZeroFlow (Vedder et al., ICLR 2024, arXiv 2305.10424) is; the
teacher is `pcinv.flow`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pcinv.nn.bev_unet import BevUNet, conv
from pcinv.nn.overrides import with_overrides
from pcinv.nn.pillars import Grid, PillarEncoder, ScanBatch, check_map, sample_map


@dataclass(frozen=True)
class Hyper:
    """Hyper-parameters.

    reach : half the side of the map around the sensor, metres; beyond it nothing moves.
    cell : side of a cell, metres; a multiple of 8 of them makes the map.
    channels : of the map at full size, and after each of three halvings.
    blocks : pairs of convolutions after each halving.
    hidden : width of the layers of points.
    """

    reach: float = 38.4
    cell: float = 0.4
    channels: tuple[int, ...] = (32, 48, 64, 96)
    blocks: int = 1
    hidden: int = 96

    @property
    def grid(self) -> Grid:
        """The cells of the map."""
        side = round(2 * self.reach / self.cell)
        return Grid((-self.reach, -self.reach), self.cell, (side, side))


PRESETS = {
    "light": Hyper(),
    "large": Hyper(reach=51.2, cell=0.2, channels=(32, 64, 128, 256), blocks=2, hidden=128),
}


class PillarFlow(nn.Module):
    """Two scans in one frame, without ground, to the residual flow of the first one's points."""

    symmetry = "none"
    needs_normals = False
    min_points = 1

    def __init__(self, hyper: Hyper) -> None:
        super().__init__()
        self.hyper, self.task = hyper, "flow"
        channels = hyper.channels[0]
        self.pillars = PillarEncoder(hyper.grid, channels, relative=True)
        self.join = conv(2 * channels, channels, size=1)
        self.unet = BevUNet(hyper.channels, hyper.blocks)
        self.head = nn.Sequential(
            nn.Linear(4 * channels, hyper.hidden), nn.LayerNorm(hyper.hidden), nn.ReLU(),
            nn.Linear(hyper.hidden, hyper.hidden), nn.ReLU(), nn.Linear(hyper.hidden, 3))
        nn.init.zeros_(self.head[-1].weight)  # nothing moves at first
        nn.init.zeros_(self.head[-1].bias)

    def forward(self, first: ScanBatch, second: ScanBatch) -> Float[Tensor, "total 3"]:
        """Return how far each point of the first scans moves by itself until the second, metres.

        first, second : as many scans, those of a pair in one frame (the sensor's own motion taken
            out), without ground.
        """
        before, own = self.pillars(first)  # (B, C, H, W), (ΣN, C)
        after, _ = self.pillars(second)
        both = torch.cat([before, after], dim=1)
        # in use pairs are seen one by one: libraries round convolutions by the size of the batch,
        # which group norm on maps that are mostly empty makes a hundred times as much
        shares = both.split(len(both) if self.training else 1)
        seen = torch.cat([self.unet(self.join(share))[0] for share in shares])
        at_points = sample_map(torch.cat([both, seen], dim=1), first, self.hyper.grid)  # (ΣN, 3C)
        flow: Tensor = self.head(torch.cat([at_points, own], dim=1))
        return flow * self.hyper.grid.on_map(first.points)[:, None]


def build(
    name: str, *, task: str, num_classes: int, preset: str, num_categories: int,
    overrides: dict[str, Any],
) -> PillarFlow:
    """Make the network; see `pcinv.models.registry.create_model`.

    Raises ConfigError for sizes that make no map.
    """
    hyper = with_overrides(PRESETS[preset], overrides, name)
    check_map(hyper.reach, hyper.cell, hyper.channels)
    return PillarFlow(hyper)
