"""Pillars: scans of any length as maps from above, and features of such maps back at points.

A map is (B, C, H, W): rows go along y, columns along x. Only cells that hold points are computed;
sums over points keep their order on CPU, so that a rerun is equal bit for bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from pcinv.errors import ConfigError, ShapeError
from pcinv.ops.ragged import to_padded

MAX_CELLS = 1024
"""Along a side of the map."""


@dataclass(frozen=True)
class ScanBatch:
    """Scans end to end.

    points : (ΣN, 4) float32 x, y, z in metres and intensity in [0, 1].
    offsets : (B + 1,) int64; scan b is points[offsets[b]:offsets[b + 1]].
    """

    points: Float[Tensor, "total 4"]
    offsets: Int[Tensor, " ends"]

    @staticmethod
    def of(scans: Sequence[Float[Tensor, "n 4"]]) -> ScanBatch:
        """Put scans end to end; (N, 3) ones get an intensity of zero."""
        rows = [F.pad(scan, (0, 4 - scan.shape[1])) for scan in scans]
        sizes = torch.tensor([0, *(len(scan) for scan in scans)])
        return ScanBatch(torch.cat(rows), sizes.cumsum(0).to(rows[0].device))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def scan(self) -> Int[Tensor, " total"]:
        """(ΣN,) the scan that each point is of."""
        places = torch.arange(len(self), device=self.points.device)
        return torch.repeat_interleave(places, self.offsets.diff(), output_size=len(self.points))

    def to(self, device: torch.device | str) -> ScanBatch:
        """Return the batch on another device."""
        return ScanBatch(self.points.to(device), self.offsets.to(device))


class Grid(NamedTuple):
    """A map's cells. low : its corner (x, y).  cell : their side, metres.  shape : (H, W) cells."""

    low: tuple[float, float]
    cell: float
    shape: tuple[int, int]

    @classmethod
    def around(cls, reach: float, cell: float) -> Grid:
        """Return the cells of a square around the sensor, `reach` metres to each side."""
        side = round(2 * reach / cell)
        return cls((-reach, -reach), cell, (side, side))

    def place(self, xyz: Float[Tensor, "total 3"]) -> Float[Tensor, "total 2"]:
        """Return where points are, in cells from the corner: column, row."""
        return (xyz[:, :2] - xyz.new_tensor(self.low)) / self.cell

    def on_map(self, points: Float[Tensor, "total c"]) -> Bool[Tensor, " total"]:
        """Return which points are on the map."""
        place = self.place(points)
        end = place.new_tensor(self.shape[::-1])
        return ((place >= 0) & (place < end)).all(1)

    def cells(
        self, xyz: Float[Tensor, "total 3"], scan: Int[Tensor, " total"]
    ) -> tuple[Int[Tensor, " total"], Bool[Tensor, " total"]]:
        """Return the cell of each point, counted through all scans; whether it is on the map."""
        column, row = self.place(xyz).floor().long().unbind(1)
        height, width = self.shape
        return (scan * height + row) * width + column, self.on_map(xyz)


def check_map(reach: float, cell: float, channels: tuple[int, ...]) -> None:
    """Raise ConfigError for sizes that make no map, and channels that make no U-Net."""
    side = 2 * reach / cell if cell > 0 else 0.0
    if not 8 <= side <= MAX_CELLS or abs(side / 8 - round(side / 8)) > 1e-6:
        raise ConfigError(f"{side:g} cells along a side of the map", where="model.reach",
                          hint=f"2 reach / cell is a multiple of 8, {MAX_CELLS} at most")
    if len(channels) != 4 or min(channels) < 8 or any(c % 8 for c in channels):
        raise ConfigError(f"channels are {list(channels)}", where="model.channels",
                          hint="four multiples of 8")


class PillarEncoder(nn.Module):
    """Points to a map of pillars, C channels; the point's own features come along.

    Of a point: x, y, z, intensity, how far it is from the mean of its pillar (3) and from the
    pillar's middle (2). `relative` leaves out x and y, so that a shift by whole cells is followed
    exactly (up to the border).
    """

    def __init__(self, grid: Grid, channels: int, relative: bool) -> None:
        super().__init__()
        self.grid, self.relative = grid, relative
        self.points = nn.Sequential(nn.Linear(7 if relative else 9, channels),
                                    nn.LayerNorm(channels), nn.ReLU())
        self.pillars = nn.Linear(2 * channels, channels)

    def forward(self, batch: ScanBatch) -> tuple[Float[Tensor, "b c h w"], Float[Tensor, "n c"]]:
        """Return the map (B, C, H, W), zero where there are no points, and points (ΣN, C)."""
        if batch.points.dim() != 2 or batch.points.shape[1] != 4:
            raise ShapeError(f"points are {tuple(batch.points.shape)}, expected (N, 4)",
                             where="points", hint="x, y, z, intensity; ScanBatch.of pads with 0")
        xyz, scan = batch.points[:, :3], batch.scan
        cells, inside = self.grid.cells(xyz, scan)
        kept, row = torch.unique(cells[inside], return_inverse=True)  # (P,), (ΣN inside,)
        mean = average(xyz[inside], row, len(kept))
        from_mean = torch.zeros_like(xyz)
        from_mean[inside] = xyz[inside] - mean[row]
        from_middle = (self.grid.place(xyz) % 1 - 0.5) * self.grid.cell
        half = self.grid.cell * max(self.grid.shape) / 2
        absolute = [] if self.relative else [xyz[:, :2] / half]
        inputs = torch.cat([*absolute, xyz[:, 2:] / 3, batch.points[:, 3:], from_mean, from_middle],
                           dim=1)
        points = self.points(inputs)  # (ΣN, C)
        own = points[inside]
        top = own.new_zeros(len(kept), own.shape[1]).scatter_reduce(
            0, row[:, None].expand_as(own), own, "amax", include_self=False)
        pillars = self.pillars(torch.cat([top, average(own, row, len(kept))], dim=1))  # (P, C)
        return self.dense(pillars, kept, len(batch)), points

    def dense(
        self, rows: Float[Tensor, "p c"], cells: Int[Tensor, " p"], count: int
    ) -> Float[Tensor, "b c h w"]:
        """Return the map of `count` scans that has these rows at these cells."""
        return to_map(rows, cells, count, self.grid)


def average(
    values: Float[Tensor, "n c"], row: Int[Tensor, " n"], count: int
) -> Float[Tensor, "p c"]:
    """Return the mean of the values of each row, (count, C); 0 for rows without any."""
    index = row[:, None].expand_as(values)
    return values.new_zeros(count, values.shape[1]).scatter_reduce(
        0, index, values, "mean", include_self=False)


def to_map(
    rows: Float[Tensor, "p c"], cells: Int[Tensor, " p"], count: int, grid: Grid
) -> Float[Tensor, "b c h w"]:
    """Return the map (count, C, H, W) that has these rows at these cells, zero elsewhere."""
    height, width = grid.shape
    flat = rows.new_zeros(count * height * width, rows.shape[1]).index_copy(0, cells, rows)
    return flat.view(count, height, width, -1).permute(0, 3, 1, 2)


def rows_of(maps: Float[Tensor, "b c h w"]) -> Float[Tensor, "cells c"]:
    """Return the cells of maps as rows (B * H * W, C), counted as `Grid.cells` does."""
    return maps.permute(0, 2, 3, 1).reshape(-1, maps.shape[1])


def sample_map(
    maps: Float[Tensor, "b c h w"], batch: ScanBatch, grid: Grid
) -> Float[Tensor, "total c"]:
    """Return the maps at points by bilinear interpolation between middles of cells, (ΣN, C).

    Beyond the border a map is zero.
    """
    size = maps.new_tensor(grid.shape[::-1])
    where, mask = to_padded(grid.place(batch.points) / size * 2 - 1, batch.offsets)
    found = F.grid_sample(maps, where[:, None].to(maps.dtype), align_corners=False)  # (B, C, 1, N)
    return found[:, :, 0].transpose(1, 2)[mask]


def warp(
    values: Float[Tensor, "cells c"], before: ScanBatch, flow: Float[Tensor, "total 3"], grid: Grid
) -> tuple[Float[Tensor, "p c"], Int[Tensor, " p"]]:
    """Carry features of cells along with the points in them.

    values : rows of the maps of `before`, as `rows_of` has them.  flow : (ΣN, 3) of its points.

    Returns
    -------
    Rows (P, C), for each cell that points come to the mean of the cells that they come from, a
    share for each point; and these cells (P,). E-SSL3D, section on flow (arXiv 2404.11737).
    """
    scan = before.scan
    source, known = grid.cells(before.points[:, :3], scan)
    target, stays = grid.cells(before.points[:, :3] + flow, scan)
    moved = known & stays & torch.isfinite(flow).all(1)
    cells, row = torch.unique(target[moved], return_inverse=True)
    return average(values.index_select(0, source[moved]), row, len(cells)), cells
