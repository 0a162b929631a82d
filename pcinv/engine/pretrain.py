"""Pretraining of LiDAR backbones without labels: `pcinv.pretrain`, and the steps of it.

A step sees each scan in two views, A and B, that are turned by the same angle and differ in flip,
scale and shift: those are told by contrast, the angle is told by a classifier. The scan before is
seen in view A by the target, and its features are carried along by the flow to meet the scan's own.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from pcinv.engine.config import Config
from pcinv.engine.lidar_batches import draw_rows, input_of, order_of
from pcinv.engine.lidar_flow import FlowStore
from pcinv.engine.lidar_scans import ScanPool, thin
from pcinv.engine.lidar_views import draw_view, draw_yaw
from pcinv.engine.progress import Tick
from pcinv.engine.trainer import Run, train
from pcinv.losses.lidar_ssl import (
    COLLAPSED,
    cell_regression,
    ema_gamma,
    feature_spread,
    point_contrast,
    rotation_bin,
)
from pcinv.models.pillar_bev import BevFeatures, PillarBEV
from pcinv.nn.pillars import ScanBatch, rows_of, warp
from pcinv.tasks import pretraining

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Views:
    """What a step sees.

    a, b : views.  in_a, in_b : (K,) rows of their points that are the same points.
    yaw : (B,) by which a view A is turned; with `relative`, a third view by so much more.
    before, flow : the scans before in view A, and how their points move on; None where flow is off.
    """

    a: ScanBatch
    b: ScanBatch
    in_a: Int[Tensor, " k"]
    in_b: Int[Tensor, " k"]
    yaw: Float[Tensor, " b"]
    turned: ScanBatch | None
    before: ScanBatch | None
    flow: Float[Tensor, "total 3"] | None


def pretrain(
    config: Config | None = None, *, output: str | Path | None = None,
    resume: str | Path | None = None, force: bool = False,
    callback: Callable[[Tick], None] | None = None,
) -> Run:
    """Pretrain a LiDAR backbone without labels; arguments and errors are those of `pcinv.train`.

    config : with model.backbone = "pillar_bev" and objectives in `pretrain`; the task is set here.
    """
    if config is not None:
        config = replace(config, model=replace(config.model, task="pretraining"))
    return train(config, output=output, resume=resume, force=force, callback=callback)


class PretrainLearner:
    """Views, losses and the target of pretraining; see `pcinv.engine.lidar`."""

    functions = pretraining
    validated = False

    def __init__(self, config: Config, network: PillarBEV, scans: ScanPool, held: ScanPool | None,
                 flows: FlowStore) -> None:
        self.options, self.count = config.pretrain, config.data.num_points
        self.network, self.scans, self.held, self.flows = network, scans, held, flows
        self.rows: Sequence[int] = range(len(scans))
        self.batch_size = config.train.batch_size

    def start(self) -> None:
        """Do nothing: a fresh network is ready."""

    def draw(self, seed: Sequence[int], rows: Sequence[int], held: bool = False) -> Views:
        """Return the views of some scans, from a seed."""
        rng = np.random.default_rng(seed)
        pool = self.held if held and self.held is not None else self.scans
        parts = [self._views(pool, int(row), rng) for row in rows]
        starts_a = np.cumsum([0, *(len(part["a"]) for part in parts)])
        starts_b = np.cumsum([0, *(len(part["b"]) for part in parts)])

        def joined(name: str) -> ScanBatch | None:
            clouds = [part[name] for part in parts if name in part]
            return ScanBatch.of(clouds) if clouds else None

        a, b = joined("a"), joined("b")
        if a is None or b is None:
            raise ValueError("no scans to draw views of")
        flows = [part["flow"] for part in parts if "flow" in part]
        return Views(
            a, b, torch.cat([part["in_a"] + s for part, s in zip(parts, starts_a, strict=False)]),
            torch.cat([part["in_b"] + s for part, s in zip(parts, starts_b, strict=False)]),
            torch.tensor([part["yaw"] for part in parts]), joined("turned"), joined("before"),
            torch.cat(flows) if flows else None)

    def _views(self, pool: ScanPool, row: int, rng: np.random.Generator) -> dict[str, Any]:
        scan, yaw = pool[row], draw_yaw(rng)
        first, second = draw_view(rng, yaw), draw_view(rng, yaw)
        rows_a, rows_b = draw_rows(scan, self.count, rng), draw_rows(scan, self.count, rng)
        part: dict[str, Any] = {"a": input_of(scan, first, rows_a),
                                "b": input_of(scan, second, rows_b), "yaw": yaw}
        _, in_a, in_b = np.intersect1d(rows_a, rows_b, return_indices=True)
        # both ends of a match lie on the map
        grid = self.network.hyper.grid
        on_map = np.ones(len(in_a), bool)
        for name, kept in (("a", in_a), ("b", in_b)):
            cloud = part[name][kept]
            on_map &= grid.cells(cloud, torch.zeros(len(cloud), dtype=torch.int64))[1].numpy()
        chosen = np.flatnonzero(on_map)
        chosen = rng.choice(chosen, min(self.options.matches, len(chosen)), replace=False)
        part |= {"in_a": torch.from_numpy(in_a[chosen]), "in_b": torch.from_numpy(in_b[chosen])}
        if self.options.relative:
            more = draw_yaw(rng)
            part |= {"yaw": more, "turned": input_of(scan, draw_view(rng, yaw + more), rows_b)}
        before = pool.before(row) if self.options.flow > 0 else None
        if self.options.flow > 0:
            if before is None:  # the first of all: it stays where it is
                before = replace(scan, flow=np.zeros_like(scan.xyz))
            flow = self.flows.of(before, scan)
            kept = draw_rows(before, self.count, rng)
            before = thin(before, kept)
            part |= {"before": input_of(before, first),
                     "flow": torch.from_numpy(first.vectors(flow[kept]).astype(np.float32))}
        return part

    def losses(self, model: Any, views: Views) -> tuple[Tensor, dict[str, float]]:
        """Return the loss of a batch, and figures of its objectives."""
        options, device = self.options, self.network.pillar_device
        zero = torch.zeros((), device=device)
        total, figures = zero, {}
        a: BevFeatures = model(views.a.to(device))
        if options.contrast > 0:
            b: BevFeatures = model(views.b.to(device))
            heads = self.network.heads
            x = heads.of_points(a.points[views.in_a.to(device)].float())
            y = heads.of_points(b.points[views.in_b.to(device)].float())
            loss = point_contrast(x, y, temperature=options.temperature)
            total = total + options.contrast * loss
            with torch.no_grad():
                alike = torch.nn.functional.normalize(x, dim=1) @ \
                    torch.nn.functional.normalize(y, dim=1).T
                right = torch.eq(alike.argmax(1), torch.arange(len(x), device=device))
            figures |= {"contrast": float(loss.detach()), "point_spread": feature_spread(x),
                        "retrieved": float(right.float().mean())}
        if options.rotation > 0:
            logits = self._rotation(model, a, views)
            wanted = rotation_bin(views.yaw, self.network.hyper.bins).to(device)
            loss = torch.nn.functional.cross_entropy(logits.float(), wanted)
            total = total + options.rotation * loss
            figures |= {"rotation": float(loss.detach()), "rotation_right": float(
                torch.eq(logits.argmax(1), wanted).float().mean())}
        if options.flow > 0 and views.before is not None and views.flow is not None:
            y, z = self._carried(a, views.before.to(device), views.flow.to(device))
            loss = cell_regression(y, z)
            total = total + options.flow * loss
            figures |= {"flow": float(loss.detach()), "cell_spread": feature_spread(y)}
        if options.contrast == 0 and options.flow == 0:
            figures["point_spread"] = feature_spread(a.points)
        elif options.contrast == 0:
            figures["point_spread"] = figures["cell_spread"]
        return total, figures

    def _rotation(self, model: Any, a: BevFeatures, views: Views) -> Tensor:
        """Return logits of the bins of an angle: of view A, or of a third view against A."""
        pooled = a.bottleneck.mean((2, 3))
        if views.turned is None:
            logits: Tensor = self.network.heads.absolute(pooled)
            return logits
        other = model(views.turned.to(pooled.device)).bottleneck.mean((2, 3))
        between: Tensor = self.network.heads.between(torch.cat([pooled, other], dim=1))
        return between

    def _carried(self, now: BevFeatures, before: ScanBatch, flow: Tensor) -> tuple[Tensor, Tensor]:
        """Return predictions and targets (P, C) at cells that the scan has and that flow fills."""
        network, grid = self.network, self.network.hyper.grid
        online = self.options.target == "online"
        encoder = network.backbone if online else network.target
        project = network.heads.of_cells if online else network.target_cells
        with torch.set_grad_enabled(online and torch.is_grad_enabled()):
            carried, cells = warp(rows_of(encoder(before).map), before, flow, grid)
            z = project(carried.float())
        occupied = (rows_of(now.map) * 0).sum(1)  # zeros, one a cell
        own, inside = grid.cells(self._points[:, :3], self._scan)
        occupied = occupied.detach().index_fill(0, own[inside], 1.0)
        both = occupied[cells] > 0
        y = network.heads.of_cells(rows_of(now.map)[cells[both]].float())
        return network.heads.predict(y) if self.options.predictor else y, z[both]
