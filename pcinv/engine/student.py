"""A network of flow: taught by estimates without labels, measured by labels, asked for one pair."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from pcinv.engine.config import Config
from pcinv.engine.flow import Placed, count_in, interval_of, own_motion
from pcinv.engine.launch import pick_device
from pcinv.engine.lidar_flow import FlowStore
from pcinv.engine.lidar_scans import ScanPool
from pcinv.engine.lidar_views import draw_view, draw_yaw
from pcinv.engine.loading import load_model
from pcinv.errors import DatasetError, UsageError
from pcinv.metrics.flow import FlowScore
from pcinv.models.pillar_flow import PillarFlow
from pcinv.models.registry import weights_file
from pcinv.nn.pillars import ScanBatch
from pcinv.ops.ground import is_ground
from pcinv.sceneflow.clusters import cluster_points
from pcinv.sceneflow.rigid import median_flow
from pcinv.tasks import Labels
from pcinv.tasks import flow as task

SHOWN = ("epe", "three_way_epe", "epe_foreground_dynamic", "epe_foreground_static",
         "epe_background_static", "dynamic_iou", "dynamic_bucket_epe")
"""Figures of an evaluation, of those of `FlowScore`."""


@dataclass(frozen=True)
class Pairs:
    """What a step sees: pairs in the second sensor's frame, without ground.

    flow : (ΣN, 3) residual flow of the first scans' points as it is taught, NaN where it is not
        known.
    """

    first: ScanBatch
    second: ScanBatch
    flow: Float[Tensor, "total 3"]


class FlowLearner:
    """How a student learns; see `pcinv.engine.lidar.Learner`."""

    def __init__(self, config: Config, network: PillarFlow, scans: ScanPool,
                 held: ScanPool | None, folder: Path) -> None:
        self.count, self.network, self.scans, self.held = (
            config.data.num_points, network, scans, held)
        self.flows = FlowStore(folder, config.pretrain.flow_method, known=False)
        self.rows: Sequence[int] = range(len(scans))
        self.validated = held is not None

    def new_state(self, device: torch.device) -> dict[str, Tensor]:
        """Return sums of zero."""
        return task.new_state(Labels(()), device)

    def draw(self, seed: Sequence[int], rows: Sequence[int]) -> Pairs:
        """Return pairs in views of chance, the same of both scans, thinned out, from a seed."""
        rng = np.random.default_rng(seed)
        parts = [self._part(int(row), rng) for row in rows]
        first, second, flow = zip(*parts, strict=True)
        return Pairs(ScanBatch.of(first), ScanBatch.of(second), torch.cat(flow))

    def _part(self, row: int, rng: np.random.Generator) -> tuple[Tensor, Tensor, Tensor]:
        before, total = self.flows.towards(self.scans, row)
        moved, residual, other = residual_of(before, total, self.scans[row])
        view = draw_view(rng, draw_yaw(rng, np.pi))
        mine, theirs = (np.sort(rng.choice(len(points), min(self.count, len(points)),
                                           replace=False)) for points in (moved, other))
        return (_tensor(view.points(moved[mine])), _tensor(view.points(other[theirs])),
                _tensor(view.vectors(residual[mine])))

    def losses(self, model: Any, batch: Pairs, sums: dict[str, Tensor]) -> Tensor:
        """Return the loss of a batch, which is added to the sums."""
        device = next(self.network.parameters()).device
        found: Tensor = model(batch.first.to(device), batch.second.to(device))
        loss = task.loss(found.float(), batch.flow.to(device))
        task.update(sums, loss, len(batch.first))
        return loss

    def compute(self, sums: dict[str, Tensor]) -> dict[str, float]:
        """Return the mean loss."""
        return task.compute(sums)

    def validate(self, stop: Callable[[], bool]) -> dict[str, float]:
        """Return the figures of the pairs kept for validation; see `measure_student`."""
        if self.held is None:
            return {}
        return measure_student(self.network, self.held, self.flows, stop=stop)

    def after(self, step: int, total: int) -> None:
        """Do nothing: there is no target."""

    def finished(self, metrics: dict[str, float]) -> None:
        """Do nothing: a teacher leaves no way to collapse."""


def residual_of(before: Any, total: np.ndarray, after: Any) -> tuple[np.ndarray, ...]:
    """Return points off the ground in the second frame, their residual flow, the second scan's."""
    T, _ = own_motion(Placed(before), Placed(after))
    kept = ~is_ground(before.xyz)
    xyz = before.xyz[kept].astype(np.float64)
    moved = xyz @ T[:3, :3].T + T[:3, 3]
    return moved, xyz + total[kept] - moved, after.xyz[~is_ground(after.xyz)].astype(np.float64)


@torch.no_grad()
def measure_student(
    network: PillarFlow, pool: ScanPool, flows: FlowStore | None = None, *,
    stop: Callable[[], bool] = lambda: False, watch: Callable[[int, int], None] | None = None,
) -> dict[str, float]:
    """Return the figures `SHOWN` of a pool, and of the sensor's own motion beside them.

    flows : what is taken for the truth where a scan has no flow; None: such scans do not count.

    Raises DatasetError where there is nothing to measure against.
    """
    network.eval()
    mine: FlowScore | None = None
    for row in range(len(pool)):
        before, after = pool.before(row), pool[row]
        if before is None:
            continue
        place = Placed(before, pool.sequences[pool.places[row][0]])
        if before.flow is None:
            if flows is None:
                continue
            place = replace(place, scan=replace(before, flow=flows.towards(pool, row)[1]))
        T, _ = own_motion(place, Placed(after))
        rigid = before.xyz @ T[:3, :3].T + T[:3, 3] - before.xyz
        found = rigid.copy()
        rows = np.flatnonzero(~is_ground(before.xyz))
        other = after.xyz[~is_ground(after.xyz)]
        found[rows] += ask(network, before.xyz[rows] + rigid[rows], other)[0]
        if mine is None:
            interval_s = interval_of(place, Placed(after))
            mine, ego = FlowScore(interval_s), FlowScore(interval_s)
        count_in(mine, place, found, rigid)
        count_in(ego, place, rigid, rigid)
        if watch is not None:
            watch(row + 1, len(pool))
        if stop():
            break
    if mine is None or not mine.sums.get("points"):
        raise DatasetError("no scan has a flow to measure against", where="data.dataset",
                           hint="argoverse2 with labels, or lidar_sim")
    figures, still = mine.compute(), ego.compute()
    known = {name: float(figures[name]) for name in SHOWN if figures[name] is not None}
    if still["epe_foreground_dynamic"] is not None:
        known["epe_foreground_dynamic_ego"] = float(still["epe_foreground_dynamic"])
    return {"dynamic_iou": 0.0, **known}


def load_student(weights: str | Path | None, device: str) -> PillarFlow:
    """Return the network of a run or file, or the one that comes with pcinv, ready to be asked.

    Raises UsageError for weights of another network, CheckpointError for damaged or missing ones.
    """
    return _student(str(weights or weights_file("pillar_flow"))).to(pick_device(device))


@lru_cache(maxsize=1)
def _student(weights: str) -> PillarFlow:
    network = load_model(weights).model
    if not isinstance(network, PillarFlow):
        raise UsageError("this network estimates no flow", where=weights,
                         hint="pcinv train --backbone pillar_flow makes one that does")
    return network


@torch.no_grad()
def ask(network: PillarFlow, moved: Float[np.ndarray, "n 3"], other: Float[np.ndarray, "m 3"]
        ) -> tuple[Float[np.ndarray, "n 3"], Int[np.ndarray, " n"]]:
    """Return the residual flow of points towards other ones, (N, 3), and their pieces, (N,).

    moved, other : in one frame, without ground.  A piece moves as its points do in the median; what
        is beyond the reach of the network stands still.
    """
    device = next(network.parameters()).device
    found = network(*(ScanBatch.of([_tensor(points)]).to(device) for points in (moved, other)))
    cluster = cluster_points(moved)
    return median_flow(moved, found.double().cpu().numpy(), cluster), cluster


def _tensor(values: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))
