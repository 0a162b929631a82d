"""The steps of learning from labelled scans: segmentation, and detection."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pcinv.engine.config import Config
from pcinv.engine.lidar_batches import LabelledBatch, draw_rows, labelled
from pcinv.engine.lidar_scans import ScanPool
from pcinv.engine.lidar_views import View, draw_view, draw_yaw
from pcinv.errors import DatasetError
from pcinv.metrics.detection import Frame, take
from pcinv.models.pillar_bev import PillarBEV
from pcinv.nn.lidar_heads import Centres
from pcinv.tasks import Labels, detection, segmentation

TURN = np.pi / 4
"""Largest angle by which a scan is turned to either side in training."""


class LabelledLearner:
    """What both tasks have in common; see `pcinv.engine.lidar.Learner`."""

    def __init__(self, config: Config, network: PillarBEV, scans: ScanPool, held: ScanPool | None,
                 labels: Labels) -> None:
        self.count, self.network, self.labels = config.data.num_points, network, labels
        self.scans, self.held = scans, held
        self.rows: Sequence[int] = scans.label_places
        self.validated = held is not None

    def draw(self, seed: Sequence[int], rows: Sequence[int]) -> LabelledBatch:
        """Return views of some scans, thinned out, from a seed."""
        rng = np.random.default_rng(seed)
        scans = [self.scans[int(row)] for row in rows]
        views = [draw_view(rng, draw_yaw(rng, TURN)) for _ in scans]
        return labelled(scans, views, [draw_rows(scan, self.count, rng) for scan in scans])

    def after(self, step: int, total: int) -> None:
        """Do nothing: there is no target."""

    def finished(self, metrics: dict[str, float]) -> None:
        """Do nothing: labels leave no way to collapse."""


class SegmentationLearner(LabelledLearner):
    """Cross entropy of points, weighed by one over the root of how often a class occurs."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.weights = segmentation.class_weights(torch.from_numpy(self.scans.class_counts()))

    def new_state(self, device: torch.device) -> dict[str, Tensor]:
        """Return sums of zero."""
        return segmentation.new_state(self.labels, device)

    def losses(self, model: Any, batch: LabelledBatch, sums: dict[str, Tensor]) -> Tensor:
        """Return the loss of a batch; what it reached is added to the sums."""
        device = next(self.network.parameters()).device
        if batch.label is None:
            raise DatasetError("a scan without classes of points", where="data.root",
                               hint="leave out scans without labels")
        logits, label = model(batch.scans.to(device)).float(), batch.label.to(device)
        loss = segmentation.loss(logits, label, self.weights.to(device))
        segmentation.update(sums, logits.detach(), label, loss, len(batch.scans))
        return loss

    def compute(self, sums: dict[str, Tensor]) -> dict[str, float]:
        """Return the metrics of the sums."""
        return segmentation.compute(sums)

    def validate(self, stop: Callable[[], bool]) -> dict[str, float]:
        """Return the metrics of the scans kept for validation."""
        if self.held is None:
            return {}
        return segmentation.compute(measure_segmentation(
            self.network, self.held, self.labels, lambda row: View(), stop))


class DetectionLearner(LabelledLearner):
    """Focal loss of centres, L1 of boxes."""

    def new_state(self, device: torch.device) -> dict[str, Tensor]:
        """Return sums of zero."""
        return {"loss": torch.zeros(2, dtype=torch.float64, device=device)}

    def losses(self, model: Any, batch: LabelledBatch, sums: dict[str, Tensor]) -> Tensor:
        """Return the loss of a batch, which is added to the sums."""
        device = next(self.network.parameters()).device
        if batch.boxes is None:
            raise DatasetError("a scan without boxes", where="data.root",
                               hint="leave out scans without boxes")
        centres: Centres = model(batch.scans.to(device))
        each = detection.loss(centres, targets_on(device, batch, self.network))
        total, count = float(each.detach().sum()), len(each)
        sums["loss"] += torch.tensor([total, count], dtype=torch.float64, device=device)
        return each.mean()

    def compute(self, sums: dict[str, Tensor]) -> dict[str, float]:
        """Return the mean loss."""
        total, count = sums["loss"].tolist()
        return {"loss": total / max(1.0, count), "map": 0.0}

    def validate(self, stop: Callable[[], bool]) -> dict[str, float]:
        """Return the metrics of the scans kept for validation."""
        if self.held is None:
            return {}
        frames, loss = measure_detection(self.network, self.held, lambda row: View(), stop)
        found = detection.scores(frames, self.labels)
        found.pop("by_class")
        return {**found, "loss": loss}


def targets_on(device: torch.device, batch: LabelledBatch, network: PillarBEV
               ) -> detection.Targets:
    """Return what the maps of a batch should say."""
    made = detection.make_targets(batch.boxes or [], network.hyper.grid, len(detection.CLASSES))
    return detection.Targets(*(tensor.to(device) for tensor in made))


@torch.no_grad()
def measure_segmentation(
    network: PillarBEV, pool: ScanPool, labels: Labels, views: Callable[[int], View],
    stop: Callable[[], bool] = lambda: False, watch: Callable[[int, int], None] | None = None,
) -> dict[str, Tensor]:
    """Return the sums of a pool: all points within reach count."""
    device = next(network.parameters()).device
    state = segmentation.new_state(labels, device)
    even = torch.ones(len(labels.class_names), device=device)
    network.eval()
    for row in range(len(pool)):
        batch = labelled([pool[row]], [views(row)], [slice(None)])
        if batch.label is None:
            continue
        logits: Any = network(batch.scans.to(device))
        label = batch.label.to(device)
        segmentation.update(state, logits, label, segmentation.loss(logits, label, even), 1)
        if watch is not None:
            watch(row + 1, len(pool))
        if stop():
            break
    return state


@torch.no_grad()
def measure_detection(
    network: PillarBEV, pool: ScanPool, views: Callable[[int], View],
    stop: Callable[[], bool] = lambda: False, watch: Callable[[int, int], None] | None = None,
) -> tuple[list[Frame], float]:
    """Return what is in the scans of a pool and what was found, and the mean loss."""
    device = next(network.parameters()).device
    grid, frames, losses = network.hyper.grid, [], []
    network.eval()
    for row in range(len(pool)):
        batch = labelled([pool[row]], [views(row)], [slice(None)])
        if batch.boxes is None:
            continue
        centres: Any = network(batch.scans.to(device))
        losses.append(float(detection.loss(centres, targets_on(device, batch, network))))
        found, score = detection.decode(centres, grid)[0]
        truth = detection.visible(batch.boxes[0], grid)
        frames.append(Frame(take(truth, np.arange(len(truth))), found, score))
        if watch is not None:
            watch(row + 1, len(pool))
        if stop():
            break
    return frames, float(np.mean(losses)) if losses else 0.0
