"""Training on LiDAR scans: without labels, for segmentation, for detection. One loop for all three.

What a step sees depends on the seed, the epoch and the step alone; so a resumed run goes on as if
it had never stopped.
"""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from accelerate import Accelerator
from torch import Tensor

from pcinv.engine.checkpoint import load_weights
from pcinv.engine.config import Config
from pcinv.engine.lidar_batches import order_of
from pcinv.engine.lidar_flow import FlowStore
from pcinv.engine.lidar_scans import ScanPool, load_scans
from pcinv.engine.lidar_tasks import DetectionLearner, SegmentationLearner
from pcinv.engine.loading import build_model
from pcinv.engine.optim import make_optimizer
from pcinv.engine.pretrain_steps import PretrainLearner
from pcinv.engine.progress import Pace, Tick
from pcinv.engine.seed import seed_all
from pcinv.engine.session import Session
from pcinv.engine.signals import StopRequest
from pcinv.engine.steps import ahead, descend, interrupted, one_process
from pcinv.engine.student import FlowLearner
from pcinv.errors import CheckpointError, ConfigError
from pcinv.models.pillar_bev import PillarBEV
from pcinv.models.pillar_flow import PillarFlow
from pcinv.models.registry import LIDAR_NETWORKS
from pcinv.tasks import Labels

logger = logging.getLogger(__name__)
_ORDER, _VIEWS = 21, 22
FLOWS = "flow"
"""Folder in a run of flows that had to be computed."""


class Learner(Protocol):
    """How one task is trained.

    rows : scans to learn from.  validated : whether the best epoch is chosen by validation.
    draw : what a step takes, from a seed; no weights come in.
    losses : of a batch; what it reached is added to the sums of the epoch.
    validate : metrics of the scans kept for validation; none where there are none.
    after : what is done to the weights after a step.  finished : after an epoch.
    """

    rows: Sequence[int]
    validated: bool

    def new_state(self, device: torch.device) -> dict[str, Tensor]: ...

    def draw(self, seed: Sequence[int], rows: Sequence[int]) -> Any: ...

    def losses(self, model: Any, batch: Any, sums: dict[str, Tensor]) -> Tensor: ...

    def compute(self, sums: dict[str, Tensor]) -> dict[str, float]: ...

    def validate(self, stop: Callable[[], bool]) -> dict[str, float]: ...

    def after(self, step: int, total: int) -> None: ...

    def finished(self, metrics: dict[str, float]) -> None: ...


def check_lidar(config: Config) -> None:
    """Raise ConfigError where a network of LiDAR scans is asked for what it does not do."""
    if config.model.backbone not in LIDAR_NETWORKS:
        raise ConfigError(f"{config.model.backbone} is no network of LiDAR scans",
                          where="model.backbone", hint=" or ".join(LIDAR_NETWORKS))
    if config.model.head != "linear":
        raise ConfigError(f"the head {config.model.head} is for shapes", where="model.head",
                          hint="--set model.head=linear")
    if config.optim.balance > 0:
        raise ConfigError(f"the loss of {config.model.task} cannot be balanced",
                          where="optim.balance", hint="--set optim.balance=0")
    own = config.pretrain
    if config.model.task == "pretraining" and own.contrast + own.rotation + own.flow == 0:
        raise ConfigError("no objective is on", where="pretrain",
                          hint="--objective contrast, rotation or flow")


def load_pools(config: Config) -> tuple[ScanPool, ScanPool | None]:
    """Return the scans to learn from, and those kept for validation, if any."""
    check_lidar(config)
    reach = _build(config, Labels(())).hyper.reach
    held = load_scans(config, "val", reach) if config.data.val_fraction > 0 else None
    return load_scans(config, "train", reach), held


def _build(config: Config, labels: Labels) -> PillarBEV | PillarFlow:
    network = build_model(config, labels if labels.class_names else Labels(("",)), 0)
    if not isinstance(network, PillarBEV | PillarFlow):
        raise ConfigError(f"{config.model.backbone} is no network of LiDAR scans",
                          where="model.backbone", hint=" or ".join(LIDAR_NETWORKS))
    return network


def start_from(network: PillarBEV | PillarFlow, source: str) -> None:
    """Give a network the backbone of a run or weights file.

    Raises CheckpointError for a backbone of other sizes, ConfigError for a network that has none.
    """
    if isinstance(network, PillarFlow):
        raise ConfigError("a network of flow does not begin with another run", where="model.init",
                          hint="pillar_bev does")
    weights = load_weights(source, "last")
    theirs = {name.removeprefix("backbone."): value for name, value in weights.tensors.items()
              if name.startswith("backbone.")}
    mine = network.backbone.state_dict()
    if {k: v.shape for k, v in mine.items()} != {k: v.shape for k, v in theirs.items()}:
        raise CheckpointError("the backbone there has other sizes", where=source,
                              hint="the same preset and overrides as in pretraining")
    for name in ("reach", "cell"):
        if weights.meta.hyper[name] != getattr(network.hyper, name):
            logger.warning("%s was %s in pretraining", name, weights.meta.hyper[name])
    network.backbone.load_state_dict(theirs)


def train_lidar(
    config: Config, pools: tuple[ScanPool, ScanPool | None], accelerator: Accelerator, run: Path,
    resumed: bool, stop: StopRequest, callback: Callable[[Tick], None] | None,
) -> int:
    """Train a network of LiDAR scans; return how many scans there were to learn from.

    Raises as `pcinv.engine.trainer.train`.
    """
    device = one_process(accelerator, "a network of LiDAR scans")
    scans, held = pools
    labels = scans.labels(config.model.task)
    seed_all(config.seed)
    network = _build(config, labels).to(device)
    if config.model.init is not None and not resumed:
        start_from(network, config.model.init)
    trained = [p for p in network.parameters() if p.requires_grad]
    optimizer = make_optimizer(config.optim, trained)
    session = Session(run, config, labels, network, optimizer, "none", 0, accelerator)
    sums = session.restore() if resumed else None
    learner = _learner(config, network, scans, held, labels, run)
    model, stepper = accelerator.prepare(network, optimizer)
    size = min(config.train.batch_size, len(scans))
    steps = -(-len(scans) // size)
    pace = Pace(session.step, config.train.epochs, steps)
    logger.info("%s: %d of %d scans, %d epochs of %d steps on %s",
                "resumed" if resumed else "started", len(learner.rows), len(scans), pace.epochs,
                steps, device)

    for epoch in range(session.epoch, pace.epochs):
        sums = learner.new_state(device) if sums is None else sums
        start, first = time.perf_counter(), session.batch
        model.train()
        if isinstance(network, PillarBEV) and network.hyper.probe:
            network.backbone.eval()
        order = order_of(learner.rows, steps * size, (config.seed, _ORDER, epoch))
        draw = functools.partial(_draw, learner, (config.seed, _VIEWS, epoch), order, size)
        for batch in ahead(draw, range(first, steps)):
            loss = learner.losses(model, batch, sums)
            descend(loss, trained, stepper, accelerator, config.optim, session, pace)
            learner.after(session.step - 1, pace.total)
            if stop.requested:
                session.save(sums, learner.compute(sums))
                raise interrupted(session)
            if callback is not None:
                callback(pace.tick(epoch, session.step, float(loss.detach())))
        time_s = max(time.perf_counter() - start, 1e-9)
        metrics = reached = learner.compute(sums)
        found = learner.validate(lambda: stop.requested)
        if stop.requested:  # validation is not whole
            session.save(sums, reached)
            raise interrupted(session)
        line = {"epoch": epoch + 1, "step": session.step, "lr": optimizer.param_groups[0]["lr"],
                **reached, **{f"val_{name}": value for name, value in found.items()},
                "time_s": round(time_s, 3),
                "scans_per_s": round((steps - first) * size / time_s, 2)}
        metrics = found or reached
        session.epoch, session.batch, sums = epoch + 1, 0, None
        session.finish_epoch(line, metrics, validated=learner.validated)
        learner.finished(reached)
        logger.info("epoch %d of %d: %s", epoch + 1, pace.epochs,
                    ", ".join(f"{name} {line[name]:.4g}" for name in line if name != "epoch"))
        if callback is not None:
            callback(pace.tick(epoch, session.step, reached["loss"], line))
    return len(learner.rows)


def _learner(config: Config, network: PillarBEV | PillarFlow, scans: ScanPool,
             held: ScanPool | None, labels: Labels, run: Path) -> Learner:
    if isinstance(network, PillarFlow):
        return FlowLearner(config, network, scans, held, run / FLOWS)
    if config.model.task == "pretraining":
        flows = FlowStore(run / FLOWS, config.pretrain.flow_method)
        return PretrainLearner(config, network, scans, held, flows)
    kind = SegmentationLearner if config.model.task == "segmentation" else DetectionLearner
    return kind(config, network, scans, held, labels)


def _draw(learner: Learner, seed: tuple[int, ...], order: Any, size: int, step: int) -> Any:
    return learner.draw((*seed, step), order[step * size:(step + 1) * size])
