"""Training of what is matched: places that scans of the same room have in common."""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from accelerate import Accelerator
from torch import Tensor, nn

from pcinv.engine.config import Config
from pcinv.engine.loading import build_model
from pcinv.engine.optim import make_optimizer
from pcinv.engine.progress import Pace, Tick
from pcinv.engine.scans import Scans, split_rooms
from pcinv.engine.seed import seed_all
from pcinv.engine.session import Session
from pcinv.engine.signals import StopRequest
from pcinv.engine.steps import ahead, descend, interrupted, one_process
from pcinv.errors import Interrupted
from pcinv.tasks import Labels
from pcinv.tasks.matching import compute, new_state, update

logger = logging.getLogger(__name__)
_DRAWN = 11  # stream of what steps see


class Learner(Protocol):
    """How one kind of network is trained.

    start : what is done to the weights before the first step; False where it was stopped.
    draw : what a step takes, from a seed; no weights come in.
    losses : one for each thing that was to be matched, and whether it was, or how much of it.
    validate : metrics on the scans kept for validation, see `pcinv.tasks.matching`.
    """

    def start(self, seed: int, stop: Callable[[], bool]) -> bool: ...

    def draw(self, seed: Sequence[int], pairs: int) -> Any: ...

    def losses(self, model: nn.Module, batch: Any) -> tuple[Tensor, Tensor]: ...

    def validate(self) -> dict[str, float]: ...


def learner_of(name: str, network: nn.Module, scans: Scans, held: Scans) -> Learner:
    """Return how the network of this name is trained."""
    if name == "roitr":
        from pcinv.engine.matching_pairs import PairLearner

        return PairLearner(network, scans, held)
    from pcinv.engine.matching_patches import PatchLearner

    return PatchLearner(network, scans, held)


def train_matching(
    config: Config, rooms: list[Any], accelerator: Accelerator, run: Path, resumed: bool,
    stop: StopRequest, callback: Callable[[Tick], None] | None,
) -> int:
    """Train on scanned rooms; return how many pairs there are.

    A step takes `train.batch_size` clouds, two a pair. Best is the highest inlier ratio of mutual
    matches on the rooms kept for validation.

    Raises as `pcinv.engine.trainer.train`.
    """
    device = one_process(accelerator, "matching")
    jobs = max(1, config.train.workers)
    train_rooms, val_rooms = split_rooms(rooms, config.data.val_fraction)
    logger.info("preparing %d rooms", len(rooms))
    scans = Scans(train_rooms, config.seed, scales=config.augment.scale, jobs=jobs)
    held = Scans(val_rooms, config.seed, jobs=jobs)

    seed_all(config.seed)
    network = build_model(config, Labels(()), 0).to(device)
    trained = list(network.parameters())
    optimizer = make_optimizer(config.optim, trained)
    session = Session(run, config, Labels(()), network, optimizer, "estimate", 0, accelerator)
    sums = session.restore() if resumed else None
    learner = learner_of(config.model.backbone, network, scans, held)
    if not resumed and not learner.start(config.seed, lambda: stop.requested):
        raise Interrupted("interrupted before the first step; there is nothing to keep",
                          where=str(run), hint="the same command with --force begins anew")
    model, stepper = accelerator.prepare(network, optimizer)
    pairs = max(1, config.train.batch_size // 2)
    steps = -(-len(scans.pairs) // pairs)
    pace = Pace(session.step, config.train.epochs, steps)
    logger.info("%s: %d fragments, %d pairs, %d epochs of %d steps on %s",
                "resumed" if resumed else "started", len(scans.fragments), len(scans.pairs),
                pace.epochs, steps, device)

    for epoch in range(session.epoch, pace.epochs):
        sums = new_state(session.labels, device) if sums is None else sums
        start, first = time.perf_counter(), session.batch
        model.train()
        draw = functools.partial(_draw, learner, (config.seed, _DRAWN, epoch), pairs)
        for batch in ahead(draw, range(first, steps)):
            losses, found = learner.losses(model, batch)
            loss = losses.mean()
            descend(loss, trained, stepper, accelerator, config.optim, session, pace)
            update(sums, losses, found)
            if stop.requested:
                session.save(sums, compute(sums))
                raise interrupted(session)
            if callback is not None:
                callback(pace.tick(epoch, session.step, float(loss.detach())))
        time_s = max(time.perf_counter() - start, 1e-9)
        reached = compute(sums)
        metrics = {**learner.validate(), "loss": reached["loss"]}
        line = {"epoch": epoch + 1, "step": session.step, "lr": optimizer.param_groups[0]["lr"],
                **reached, **{f"val_{name}": value for name, value in metrics.items()
                              if name != "loss"},
                "time_s": round(time_s, 3),
                "pairs_per_s": round((steps - first) * pairs / time_s, 2)}
        session.epoch, session.batch, sums = epoch + 1, 0, None
        session.finish_epoch(line, metrics, validated=True)
        logger.info("epoch %d of %d: %s", epoch + 1, pace.epochs,
                    ", ".join(f"{name} {line[name]:.4g}" for name in line if name != "epoch"))
        if callback is not None:
            callback(pace.tick(epoch, session.step, reached["loss"], line))
        if stop.requested and session.epoch < pace.epochs:
            raise interrupted(session)
    return len(scans.pairs)


def _draw(learner: Learner, seed: tuple[int, ...], pairs: int, step: int) -> Any:
    return learner.draw((*seed, step), pairs)
