"""Measuring networks of LiDAR scans: on a split, and how their features follow their input."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from pcinv.engine.evaluator import Evaluation
from pcinv.engine.launch import pick_device
from pcinv.engine.lidar_batches import input_of
from pcinv.engine.lidar_flow import FlowStore
from pcinv.engine.lidar_scans import ScanPool, load_scans
from pcinv.engine.lidar_tasks import measure_detection, measure_segmentation
from pcinv.engine.lidar_views import View, draw_yaw
from pcinv.engine.loading import LoadedModel, check_labels, load_model
from pcinv.engine.pretrain_steps import PretrainLearner
from pcinv.engine.student import measure_student
from pcinv.errors import UsageError
from pcinv.models.pillar_bev import PillarBEV
from pcinv.models.pillar_flow import PillarFlow
from pcinv.nn.pillars import ScanBatch
from pcinv.tasks import detection, segmentation

ROTATIONS = ("none", "z")
CHANGES = {
    "shift by 3.2 m": View(shift=(3.2, 0.0, 0.0)),
    "shift by 0.2 m": View(shift=(0.2, 0.0, 0.0)),
    "scale 1.05": View(scale=1.05),
    "flip": View(flip=True),
    "turn 9 deg": View(yaw=np.pi / 20),
    "turn 45 deg": View(yaw=np.pi / 4),
    "turn 90 deg": View(yaw=np.pi / 2),
}
"""Of `measure_equivariance`."""


def evaluate_lidar(
    target: str | Path | LoadedModel, *, dataset: str | None = None,
    root: str | Path | None = None, split: str = "test", rotation: str | None = None, seed: int = 0,
    device: str = "auto", limit: int | None = None, which: str = "best",
    watch: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Measure a network of LiDAR scans on a split; arguments and errors as of `pcinv.evaluate`.

    rotation : "none", or "z": each scan is turned by an angle of its own.
    watch : told how many scans are done, of all.
    """
    loaded = target if isinstance(target, LoadedModel) else load_model(target, which=which)
    meta, network = loaded.meta, loaded.model
    if not isinstance(network, PillarBEV | PillarFlow):
        raise UsageError(f"{meta.config.model.backbone} is no network of LiDAR scans",
                         where=str(target), hint="pcinv.evaluate measures all kinds")
    rotation = "none" if rotation is None else rotation
    if rotation not in ROTATIONS:
        raise UsageError(f"scans are not turned by '{rotation}'", where="rotation",
                         hint="none, or z: a street stays below its sky")
    config = meta.config
    if dataset is not None and dataset != config.data.dataset:
        config = replace(config, data=replace(config.data, dataset=dataset, root=None, options={}))
    config = replace(config, data=replace(
        config.data, limit=limit, root=config.data.root if root is None else str(root)))
    pool = load_scans(config, split, network.hyper.reach)
    task = config.model.task
    labels = pool.labels(task)
    check_labels(meta.labels, labels, loaded.path)
    network.to(pick_device(device))

    def views(row: int) -> View:
        return View() if rotation == "none" else View(
            yaw=draw_yaw(np.random.default_rng((seed, row)), np.pi))

    per_class: dict[str, float] = {}
    confusion = None
    if isinstance(network, PillarFlow):
        if rotation != "none":
            raise UsageError("pairs of scans are measured as they are", where="rotation",
                             hint="none")
        metrics = measure_student(network, pool, watch=watch)
    elif task == "segmentation":
        state = measure_segmentation(network, pool, labels, views, watch=watch)
        metrics, per_class = segmentation.compute(state), segmentation.per_class(state, labels)
        confusion = state["confusion"].tolist()
    elif task == "detection":
        frames, loss = measure_detection(network, pool, views, watch=watch)
        found = detection.scores(frames, labels)
        per_class = {name: row["ap"] for name, row in found.pop("by_class").items() if "ap" in row}
        metrics = {**found, "loss": loss}
    else:
        flows = FlowStore(Path(loaded.path).parent / "flow", config.pretrain.flow_method)
        learner = PretrainLearner(config, network, pool, pool, flows)
        metrics = learner.validate(lambda: False)
        network.eval()
    return Evaluation(
        run=str(loaded.path if isinstance(target, LoadedModel) else target),
        weights=str(loaded.path), metrics=metrics, per_class=per_class, confusion=confusion,
        rotation=rotation, dataset=config.data.dataset, split=split, num_samples=len(pool),
        normals="estimate", seed=seed)


@dataclass(frozen=True)
class Equivariance:
    """How point features follow a change of the scan.

    likeness : mean cosine of the features of a point before and after, less that of two points
        taken at random: 1 where they stay, 0 where they say nothing of the point any more.
    retrieved : share of points whose features are nearest to their own among `count` after.
    """

    likeness: float
    retrieved: float
    count: int


@torch.no_grad()
def measure_equivariance(
    network: PillarBEV, pool: ScanPool, *, scans: int = 8, count: int = 512, seed: int = 0
) -> dict[str, Equivariance]:
    """Return for each of `CHANGES` how the features of points follow it.

    Features at a point of the changed scan are held against those at the same point of the scan as
    it is, less their mean; the point's features should move with it. With `hyper.relative` a shift
    by whole cells is followed exactly, but for the border.
    """
    was_training, sums = network.training, {name: [0.0, 0.0, 0.0] for name in CHANGES}
    network.eval()
    rows = np.unique(np.linspace(0, len(pool) - 1, min(scans, len(pool))).round().astype(int))
    inner = network.hyper.reach * 0.6
    for row in rows.tolist():
        scan = pool[row]
        before = _features(network, input_of(scan, View()))
        near = np.flatnonzero(np.abs(scan.xyz[:, :2]).max(1) < inner)
        kept = near[_some(len(near), count, np.random.default_rng((seed, row)))]
        for name, view in CHANGES.items():
            after = _features(network, input_of(scan, view))
            likeness, retrieved = _compare(before[kept], after[kept])
            sums[name][0] += likeness
            sums[name][1] += retrieved
            sums[name][2] += 1
    network.train(was_training)
    return {name: Equivariance(a / n, b / n, count) for name, (a, b, n) in sums.items()}


def _some(total: int, count: int, rng: np.random.Generator) -> np.ndarray:
    """Return `count` of `total` rows at random; all where there are no more."""
    return np.arange(total) if total <= count else rng.choice(total, count, replace=False)


def _features(network: PillarBEV, cloud: Tensor) -> Tensor:
    device = next(network.parameters()).device
    return network.forward_features(ScanBatch.of([cloud]).to(device)).points.double()


def _compare(before: Tensor, after: Tensor) -> tuple[float, float]:
    before, after = (F.normalize(x - x.mean(0), dim=1) for x in (before, after))
    alike = before @ after.T
    own = alike.diagonal().mean()
    chance = (alike.sum() - alike.diagonal().sum()) / max(1, alike.numel() - len(alike))
    nearest = torch.eq(alike.argmax(1), torch.arange(len(alike), device=alike.device))
    return float((own - chance) / (1 - chance)), float(nearest.double().mean())

