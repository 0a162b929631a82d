"""The steps of pretraining: views of scans, losses of the objectives, the target that follows.

A step sees each scan in two views, A and B, that are turned by the same angle and differ in flip,
scale and shift: those are told by contrast, the angle is told by a classifier. The scan before is
seen in view A by the target, and its features are carried along by the flow to meet the scan's own.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from pcinv.engine.config import Config
from pcinv.engine.lidar_batches import draw_rows, input_of
from pcinv.engine.lidar_flow import FlowStore
from pcinv.engine.lidar_scans import ScanPool
from pcinv.engine.lidar_views import draw_view, draw_yaw
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
from pcinv.tasks import Labels, pretraining

logger = logging.getLogger(__name__)
_HELD = 77
FEWEST = 2
"""Points or cells that a loss is made of; a batch with fewer is passed over."""


@dataclass(frozen=True)
class Views:
    """What a step sees.

    a, b : views.  in_a, in_b : (K,) rows of their points that are the same points.
    yaw : (B,) by which a view A is turned; with `relative`, a third view by so much more.
    before, flow : the scans before in view A, and how their points move on; None where flow is off.
    """

    a: ScanBatch
    b: ScanBatch | None
    in_a: Int[Tensor, " k"]
    in_b: Int[Tensor, " k"]
    yaw: Float[Tensor, " b"]
    turned: ScanBatch | None
    before: ScanBatch | None
    flow: Float[Tensor, "total 3"] | None


class PretrainLearner:
    """How pretraining goes, step by step; see `pcinv.engine.lidar.Learner`."""

    validated = False
    def __init__(
        self, config: Config, network: PillarBEV, scans: ScanPool, held: ScanPool | None,
        flows: FlowStore,
    ) -> None:
        self.options, self.count = config.pretrain, config.data.num_points
        self.network, self.scans, self.held, self.flows = network, scans, held, flows
        self.rows: Sequence[int] = range(len(scans))

    def new_state(self, device: torch.device) -> dict[str, Tensor]:
        """Return sums of zero."""
        return pretraining.new_state(Labels(()), device)

    def compute(self, sums: dict[str, Tensor]) -> dict[str, float]:
        """Return the metrics of the sums."""
        return pretraining.compute(sums)

    def draw(self, seed: Sequence[int], rows: Sequence[int]) -> Views:
        """Return the views of some scans, from a seed."""
        return self._drawn(self.scans, seed, rows)

    def _drawn(self, pool: ScanPool, seed: Sequence[int], rows: Sequence[int]) -> Views:
        rng = np.random.default_rng(seed)
        parts = [self._views(pool, int(row), rng) for row in rows]

        def joined(name: str) -> ScanBatch | None:
            return ScanBatch.of([part[name] for part in parts]) if name in parts[0] else None

        def matched(view: str) -> Tensor:
            starts = np.cumsum([0, *(len(part[view]) for part in parts)])
            return torch.cat([part[f"in_{view}"] + int(start)
                              for part, start in zip(parts, starts, strict=False)])

        with_flow = "flow" in parts[0]
        return Views(
            ScanBatch.of([part["a"] for part in parts]), joined("b"), matched("a"), matched("b"),
            torch.tensor([part["yaw"] for part in parts]), joined("turned"), joined("before"),
            torch.cat([part["flow"] for part in parts]) if with_flow else None)

    def _views(self, pool: ScanPool, row: int, rng: np.random.Generator) -> dict[str, Any]:
        scan, yaw, options = pool[row], draw_yaw(rng), self.options
        first, second = draw_view(rng, yaw), draw_view(rng, yaw)
        rows_a, rows_b = draw_rows(scan, self.count, rng), draw_rows(scan, self.count, rng)
        clouds = {"a": input_of(scan, first, rows_a), "b": input_of(scan, second, rows_b)}
        _, *same = np.intersect1d(rows_a, rows_b, return_indices=True)
        on_map = np.ones(len(same[0]), bool)  # with both ends
        for cloud, rows in zip(clouds.values(), same, strict=True):
            on_map &= self.network.hyper.grid.on_map(cloud).numpy()[rows]
        chosen = np.flatnonzero(on_map)
        chosen = rng.choice(chosen, min(options.matches, len(chosen)), replace=False)
        in_a, in_b = (torch.from_numpy(rows[chosen]) for rows in same)
        part: dict[str, Any] = {**clouds, "in_a": in_a, "in_b": in_b, "yaw": yaw}
        if options.relative:
            more = draw_yaw(rng)
            part |= {"yaw": more, "turned": input_of(scan, draw_view(rng, yaw + more), rows_b)}
        if options.flow > 0:
            before, flow = self.flows.towards(pool, row)
            kept = draw_rows(before, self.count, rng)
            part |= {"before": input_of(before, first, kept),
                     "flow": torch.from_numpy(first.vectors(flow[kept]).astype(np.float32))}
        return part

    def losses(self, model: Any, views: Views, sums: dict[str, Tensor]) -> Tensor:
        """Return the loss of a batch; figures of its objectives are added to the sums."""
        options, heads = self.options, self.network.heads
        device = next(self.network.parameters()).device
        now = views.a.to(device)
        a: BevFeatures = model(now)
        total = a.map.sum() * 0.0
        figures: dict[str, float] = {}
        seen = [a]
        if options.contrast > 0 and views.b is not None and len(views.in_a) >= FEWEST:
            b: BevFeatures = model(views.b.to(device))
            seen.append(b)
            x = heads.of_points(a.points[views.in_a.to(device)].float())
            y = heads.of_points(b.points[views.in_b.to(device)].float())
            loss = point_contrast(x, y, temperature=options.temperature)
            total = total + options.contrast * loss
            figures |= {"contrast": float(loss.detach()), "retrieved": _retrieved(x, y),
                        "point_spread": feature_spread(x)}
        if options.rotation > 0:
            logits = self._rotation(model, seen, views).float()
            wanted = rotation_bin(views.yaw, self.network.hyper.bins).to(device)
            wanted = wanted.repeat(len(logits) // len(wanted))
            loss = F.cross_entropy(logits, wanted)
            total = total + options.rotation * loss
            right = torch.eq(logits.argmax(1), wanted).float().mean()
            figures |= {"rotation": float(loss.detach()), "rotation_right": float(right)}
        if options.flow > 0 and views.before is not None and views.flow is not None:
            y, z = self.carried(a, now, views.before.to(device), views.flow.to(device))
            if len(y) >= FEWEST:
                loss = cell_regression(y, z)
                total = total + options.flow * loss
                figures |= {"flow": float(loss.detach()), "cell_spread": feature_spread(y)}
        if "point_spread" not in figures:
            figures["point_spread"] = figures.get("cell_spread", feature_spread(a.points))
        pretraining.update(sums, figures, total, len(now))
        return total

    def _rotation(self, model: Any, seen: list[BevFeatures], views: Views) -> Tensor:
        """Return logits of the bins of an angle: of views A and B, or of a third against A."""
        if views.turned is None:
            each = torch.cat([view.bottleneck.mean((2, 3)) for view in seen])
            logits: Tensor = self.network.heads.absolute(each)
            return logits
        pooled = seen[0].bottleneck.mean((2, 3))
        other = model(views.turned.to(pooled.device)).bottleneck.mean((2, 3))
        between: Tensor = self.network.heads.between(torch.cat([pooled, other], dim=1))
        return between

    def carried(
        self, a: BevFeatures, now: ScanBatch, before: ScanBatch, flow: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return predictions and targets (P, C) at cells that the scan has and the flow fills."""
        network, grid = self.network, self.network.hyper.grid
        online = self.options.target == "online"
        encoder = network.backbone if online else network.target
        project = network.heads.of_cells if online else network.target_cells
        cells, inside = grid.cells(now.points[:, :3], now.scan)
        maps = rows_of(a.map)
        occupied = torch.zeros(len(maps), dtype=torch.bool, device=maps.device)
        occupied[cells[inside]] = True
        with torch.set_grad_enabled(online and torch.is_grad_enabled()):
            values, where = warp(rows_of(encoder(before).map), before, flow, grid)
            both = occupied[where]
            values, where = values[both], where[both]
            if len(where) < FEWEST:
                return values, values
            z = project(values.float())
        y = network.heads.of_cells(maps.index_select(0, where).float())
        return network.heads.predict(y) if self.options.predictor else y, z

    @torch.no_grad()
    def validate(self, stop: Callable[[], bool]) -> dict[str, float]:
        """Return the figures of the scans kept for validation, in the same views each time."""
        if self.held is None:
            return {}
        sums = self.new_state(next(self.network.parameters()).device)
        self.network.eval()
        for row in range(0, len(self.held), 2):
            rows = range(row, min(row + 2, len(self.held)))
            self.losses(self.network, self._drawn(self.held, (_HELD, row), rows), sums)
            if stop():
                break
        return pretraining.compute(sums)

    def after(self, step: int, total: int) -> None:
        """Let the target follow, after step `step` of `total`, counted from 0."""
        if self.options.flow > 0 and self.options.target == "ema":
            self.network.follow(ema_gamma(step, total, self.options.ema))

    def finished(self, metrics: dict[str, float]) -> None:
        """Warn where features have collapsed."""
        for name in ("point_spread", "cell_spread"):
            if metrics.get(name, 1.0) < COLLAPSED:
                logger.warning("features have collapsed: %s is %.2f, that of random directions 1",
                               name, metrics[name])


def _retrieved(x: Tensor, y: Tensor) -> float:
    """Return the share of rows of x that are nearest to their own row of y."""
    with torch.no_grad():
        nearest = (F.normalize(x, dim=1) @ F.normalize(y, dim=1).T).argmax(1)
        return float(torch.eq(nearest, torch.arange(len(x), device=x.device)).float().mean())
