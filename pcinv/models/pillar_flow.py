"""PillarFlow: how the points of a scan move until the next one, told at once by a network.

Both scans become pillars by the same layers, as in FastFlow3D (Jund et al., RA-L 2022, arXiv
2103.01306). Where that network has to find out by itself what a shift is, this one compares each
pillar of the first scan with those of the second around it, as PWC-Net does for pictures (Sun et
al., CVPR 2018, arXiv 1709.02371): a U-Net sees both maps and the likenesses and says how much to
trust each shift, their mean is where the pillar goes, and each point adds a little of its own. It
is taught by estimates that need no labels, as ZeroFlow (Vedder et al., ICLR 2024, arXiv 2305.10424)
is; the teacher is `pcinv.flow`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from pcinv.errors import ConfigError
from pcinv.nn.bev_unet import BevUNet, conv
from pcinv.nn.overrides import with_overrides
from pcinv.nn.pillars import (
    Grid,
    PillarEncoder,
    ScanBatch,
    check_map,
    rows_of,
    sample_map,
    to_map,
)


@dataclass(frozen=True)
class Hyper:
    """Hyper-parameters.

    reach : half the side of the map around the sensor, metres; beyond it nothing moves.
    cell : side of a cell, metres; a multiple of 8 of them makes the map.
    channels : of the map at full size, and after each of three halvings.
    blocks : pairs of convolutions after each halving.
    hidden : width of the layers of points.
    window : cells to each side in which a pillar is looked for.
    compared : numbers of a pillar that are compared.
    """

    reach: float = 38.4
    cell: float = 0.4
    channels: tuple[int, ...] = (24, 32, 48, 64)
    blocks: int = 1
    hidden: int = 64
    window: int = 6
    compared: int = 16

    @property
    def grid(self) -> Grid:
        """The cells of the map."""
        return Grid.around(self.reach, self.cell)


PRESETS = {
    "light": Hyper(),
    "large": Hyper(reach=51.2, cell=0.2, channels=(32, 64, 128, 256), blocks=2, hidden=128,
                   window=16, compared=32),
}
SHARPNESS = 8.0
"""Factor of likenesses before the softmax, at first."""


class PillarFlow(nn.Module):
    """Two scans in one frame, without ground, to the residual flow of the first one's points."""

    symmetry = "none"
    needs_normals = False
    min_points = 1
    steps: Tensor

    def __init__(self, hyper: Hyper) -> None:
        super().__init__()
        self.hyper, self.task = hyper, "flow"
        channels, side = hyper.channels[0], 2 * hyper.window + 1
        self.pillars = PillarEncoder(hyper.grid, channels, relative=True)
        self.stem = nn.Sequential(conv(channels, channels), conv(channels, channels))
        self.compare = nn.Linear(channels, hyper.compared)
        self.tell = nn.Linear(side * side, channels)
        self.join = conv(3 * channels, channels, size=1)
        self.unet = BevUNet(hyper.channels, hyper.blocks)
        self.trust = nn.Linear(channels, side * side)
        self.sharpness = nn.Parameter(torch.tensor(SHARPNESS))
        self.head = nn.Sequential(
            nn.Linear(3 * channels + 2, hyper.hidden), nn.LayerNorm(hyper.hidden), nn.ReLU(),
            nn.Linear(hyper.hidden, hyper.hidden), nn.ReLU(), nn.Linear(hyper.hidden, 3))
        for layer in (self.trust, self.head[-1]):  # likeness alone decides at first
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        side_steps = torch.arange(-hyper.window, hyper.window + 1)
        rows, columns = torch.meshgrid(side_steps, side_steps, indexing="ij")
        steps = torch.stack([columns.flatten(), rows.flatten()], 1) * hyper.cell  # (S, 2) metres
        self.register_buffer("steps", steps, persistent=False)

    def forward(self, first: ScanBatch, second: ScanBatch) -> Float[Tensor, "total 3"]:
        """Return how far each point of the first scans moves by itself until the second, metres.

        first, second : as many scans, those of a pair in one frame (the sensor's own motion taken
            out), without ground.
        """
        before, own = self.pillars(first)  # (B, C, H, W), (ΣN, C)
        after, _ = self.pillars(second)
        grid = self.hyper.grid
        place, inside = grid.cells(first.points[:, :3], first.scan)
        cells, of_point = torch.unique(place[inside], return_inverse=True)  # (P,), (ΣN inside,)
        # in use pairs are seen one by one: libraries round convolutions by the size of the batch,
        # which group norm on maps that are mostly empty makes a hundred times as much
        size = len(before) if self.training else 1
        parts = zip(before.split(size), after.split(size), strict=True)
        maps = [torch.cat([self.stem(x), self.stem(y)], 1) for x, y in parts]
        both = torch.cat(maps)  # (B, 2C, H, W)
        filled, there = grid.cells(second.points[:, :3], second.scan)
        likeness = self._likeness(both, cells, filled[there])  # (P, S)
        told = to_map(self.tell(likeness), cells, len(both), grid)
        joined = torch.cat([both, told], 1).split(size)
        seen = torch.cat([self.unet(self.join(part))[0] for part in joined])
        trusted = self.trust(rows_of(seen).index_select(0, cells)) + self.sharpness * likeness
        shift = trusted.softmax(1) @ self.steps.to(trusted)  # (P, 2) metres
        at_points = sample_map(torch.cat([both[:, :both.shape[1] // 2], seen], 1), first, grid)
        mine = shift.new_zeros(len(own), 2)
        mine[inside] = shift[of_point]
        more = self.head(torch.cat([at_points, own, mine], 1))
        flow: Tensor = F.pad(mine, (0, 1)) + more
        return flow * inside[:, None]

    def _likeness(self, both: Float[Tensor, "b c2 h w"], cells: Int[Tensor, " p"],
                  filled: Int[Tensor, " q"]) -> Float[Tensor, "p s"]:
        """Return the cosines of pillars of the first scan and of all cells around in the second.

        cells : of the pillars.  filled : cells of the second's points; all others give 0.
        """
        b, _, h, w = both.shape
        window = self.hyper.window
        mine, theirs = (F.normalize(self.compare(rows_of(maps)), dim=1)
                        for maps in both.chunk(2, dim=1))
        is_filled = theirs.new_zeros(len(theirs), 1).index_fill(0, filled, 1.0)
        theirs = theirs * is_filled
        wide = F.pad(theirs.view(b, h, w, -1), (0, 0, window, window, window, window))
        flat = wide.reshape(-1, wide.shape[-1])  # an empty margin around
        scan, row, column = cells // (h * w), cells // w % h, cells % w
        corner = (scan * wide.shape[1] + row) * wide.shape[2] + column
        one = mine.index_select(0, cells)[:, :, None]
        across = torch.arange(2 * window + 1, device=cells.device)
        return torch.cat([
            (flat[corner[:, None] + down * wide.shape[2] + across] @ one)[..., 0]
            for down in range(2 * window + 1)], dim=1)


def build(
    name: str, *, task: str, num_classes: int, preset: str, num_categories: int,
    overrides: dict[str, Any],
) -> PillarFlow:
    """Make the network; see `pcinv.models.registry.create_model`.

    Raises ConfigError for sizes that make no map or window.
    """
    hyper = with_overrides(PRESETS[preset], overrides, name)
    check_map(hyper.reach, hyper.cell, hyper.channels)
    if not 1 <= hyper.window <= 32 or hyper.compared < 1:
        raise ConfigError(f"window is {hyper.window}, compared {hyper.compared}",
                          where="model.window", hint="1 to 32 cells, one number at least")
    return PillarFlow(hyper)
