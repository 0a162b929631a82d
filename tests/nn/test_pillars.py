"""Must hold 16 (carrying features along a flow), and maps of scans from above."""

import pytest
import torch

from pcinv.errors import ShapeError
from pcinv.nn.pillars import (
    Grid,
    PillarEncoder,
    ScanBatch,
    average,
    rows_of,
    sample_map,
    to_map,
    warp,
)

GRID = Grid((-4.0, -4.0), 0.5, (16, 16))


def one_point_a_cell(seed=0, margin=3):
    """Points at the middles of cells, away from the border, in order of chance."""
    side = torch.arange(margin, 16 - margin)
    rows, columns = torch.meshgrid(side, side, indexing="ij")
    place = torch.stack([columns.flatten(), rows.flatten()], 1) + 0.5
    order = torch.randperm(len(place), generator=torch.Generator().manual_seed(seed))
    xy = place[order].float() * 0.5 - 4
    return torch.cat([xy, torch.zeros(len(xy), 2)], 1)


@pytest.mark.parametrize("cells", [(0, 0), (1, 0), (-2, 3), (3, -3)])
def test_16_a_flow_of_whole_cells_shifts_the_map(cells):
    before = ScanBatch.of([one_point_a_cell(), one_point_a_cell(1)])
    maps = torch.randn(2, 5, 16, 16, dtype=torch.float64)
    flow = torch.tensor([[0.5 * cells[0], 0.5 * cells[1], 0.0]]).repeat(len(before.points), 1)
    values, where = warp(rows_of(maps), before, flow, GRID)
    carried = to_map(values, where, 2, GRID)
    inside = torch.zeros(16, 16, dtype=torch.bool)
    inside[3:13, 3:13] = True
    wanted = torch.roll(maps * inside, (cells[1], cells[0]), (2, 3))
    assert torch.equal(carried, wanted)


def test_16_several_sources_are_averaged_a_share_for_each_point():
    points = torch.tensor([[0.1, 0.1, 0, 0], [0.2, 0.2, 0, 0], [1.1, 0.1, 0, 0]])
    maps = torch.zeros(1, 1, 16, 16)
    maps[0, 0, 8, 8], maps[0, 0, 8, 10] = 3.0, 9.0
    flow = torch.tensor([[1.0, 1.0, 0], [1.0, 1.0, 0], [0.0, 1.0, 0]])
    values, where = warp(rows_of(maps), ScanBatch.of([points]), flow, GRID)
    assert where.tolist() == [10 * 16 + 10] and float(values) == pytest.approx((3 + 3 + 9) / 3)


def test_points_that_leave_or_whose_flow_is_not_known_are_left_out():
    points = torch.tensor([[0.1, 0.1, 0, 0], [0.6, 0.1, 0, 0], [9.0, 0.1, 0, 0]])
    flow = torch.tensor([[9.0, 0, 0], [float("nan"), 0, 0], [-8.0, 0, 0]])
    values, _ = warp(torch.ones(256, 2), ScanBatch.of([points]), flow, GRID)
    assert len(values) == 0


def test_sampling_at_the_middle_of_a_cell_is_the_cell():
    batch = ScanBatch.of([one_point_a_cell(), one_point_a_cell(2)[:7]])
    maps = torch.randn(2, 3, 16, 16)
    cells, inside = GRID.cells(batch.points[:, :3], batch.scan)
    assert bool(inside.all())
    found = sample_map(maps, batch, GRID)
    assert torch.allclose(found, rows_of(maps)[cells], atol=1e-5)


def test_sampling_of_a_plane_is_linear():
    grid_x = (torch.arange(16) + 0.5) * 0.5 - 4
    maps = grid_x.expand(1, 1, 16, 16).contiguous()
    points = torch.rand(50, 4) * 6 - 3
    found = sample_map(maps, ScanBatch.of([points]), GRID)[:, 0]
    assert torch.allclose(found, points[:, 0], atol=1e-5)


def test_averages():
    values = torch.tensor([[1.0], [3.0], [5.0]])
    assert average(values, torch.tensor([0, 0, 2]), 3).flatten().tolist() == [2, 0, 5]


@pytest.mark.parametrize("relative", [False, True])
def test_the_order_of_points_and_batch_mates_do_not_matter(relative):
    torch.manual_seed(0)
    encoder = PillarEncoder(GRID, 8, relative).double()
    scans = [torch.randn(60, 4, dtype=torch.float64), torch.randn(20, 4, dtype=torch.float64)]
    maps, points = encoder(ScanBatch.of(scans))
    order = torch.randperm(60)
    again, moved = encoder(ScanBatch.of([scans[0][order]]))
    assert torch.allclose(maps[:1], again, atol=1e-12)
    assert torch.allclose(points[:60][order], moved, atol=1e-12)


def test_batches():
    batch = ScanBatch.of([torch.zeros(3, 3), torch.ones(2, 4)])
    assert batch.points.shape == (5, 4) and batch.offsets.tolist() == [0, 3, 5]
    assert batch.scan.tolist() == [0, 0, 0, 1, 1] and len(batch) == 2
    with pytest.raises(ShapeError, match="expected"):
        PillarEncoder(GRID, 8, False)(ScanBatch(torch.zeros(5, 3), batch.offsets))


def test_a_scan_off_the_map_is_an_empty_map():
    maps, points = PillarEncoder(GRID, 8, False)(ScanBatch.of([torch.full((4, 4), 50.0)]))
    assert not maps.any() and torch.isfinite(points).all()
