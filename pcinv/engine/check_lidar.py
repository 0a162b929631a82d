"""What a network of LiDAR scans promises, measured: it knows no order of points, no batch mates."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from pcinv.metrics.invariance import TOLERANCES, InvarianceReport
from pcinv.nn.pillars import ScanBatch

_POINTS, _SCANS = 3000, 6


def check_lidar(model: nn.Module, name: str, dtype: torch.dtype, seed: int) -> InvarianceReport:
    """Return the worst relative change of what is said of points over orders and batch mates.

    That is features at points, or their flow until a scan that follows. Nothing is promised of
    turns and shifts: features are to follow these, see
    `pcinv.engine.lidar_eval.measure_equivariance`. The scans are made of flat ground and boxes.
    """
    network: Any = model.eval()
    generator = torch.Generator().manual_seed(seed)
    scans = [make_scan(generator).to(dtype) for _ in range(_SCANS)]
    device = next(model.parameters()).device
    errors = {"permutation": 0.0, "batch": 0.0}

    is_flow = getattr(network, "task", "") == "flow"
    if is_flow and not bool(network.head[-1].weight.any()):  # untrained: points add nothing yet
        torch.nn.init.normal_(network.head[-1].weight, generator=generator)
    step = torch.tensor([1.0, 0.2, 0.0, 0.0], dtype=dtype)

    def features(batch: list[Tensor], count: int) -> Tensor:
        seen = ScanBatch.of([scan.to(device) for scan in batch])
        with torch.inference_mode():
            if is_flow:
                after = ScanBatch.of([(scan + step).to(device) for scan in batch])
                found: Tensor = network(seen, after)
            else:
                found = network.forward_features(seen).points
        return found[:count].cpu()

    for k, scan in enumerate(scans):
        truth = features([scan], len(scan))
        order = torch.randperm(len(scan), generator=generator)
        others = [each[: _POINTS // (1 + k)] for j, each in enumerate(scans) if j != k]
        found = {"permutation": (features([scan[order]], len(scan)), truth[order]),
                 "batch": (features([scan, *others], len(scan)), truth)}
        for kind, (seen, expected) in found.items():
            error = float((seen - expected).abs().max() / truth.abs().max())
            errors[kind] = max(errors[kind], error)
    worst, tolerance = max(errors.values()), TOLERANCES[dtype]
    return InvarianceReport(
        backbone=name, task="flow" if is_flow else "features of points",
        dtype=str(dtype).removeprefix("torch."),
        errors=errors, max_error=worst, tolerance=tolerance, passed=worst <= tolerance,
        num_clouds=len(scans), num_rotations=0, tied_clouds=0, tied_rotations=0, tied_error=0.0,
        smallest_margin=float("inf"))


def make_scan(generator: torch.Generator) -> Tensor:
    """Return (N, 4) points of a ground and of boxes on it."""
    flat = (torch.rand(_POINTS // 2, 3, generator=generator) - 0.5) * torch.tensor([80.0, 80, 0.1])
    boxes = torch.randn(_POINTS // 2, 3, generator=generator) + (
        torch.rand(30, 3, generator=generator) * torch.tensor([40.0, 40, 1])
        - torch.tensor([20.0, 20, 0])).repeat_interleave(_POINTS // 60, 0)
    xyz = torch.cat([flat - torch.tensor([0, 0, 1.7]), boxes])
    return torch.cat([xyz, torch.rand(len(xyz), 1, generator=generator)], 1)
