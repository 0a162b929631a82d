"""Training of descriptors that are matched: corresponding patches of scans of the same place."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from pcinv.engine.config import Config
from pcinv.engine.loading import build_model
from pcinv.engine.memory import keep_freed_memory
from pcinv.engine.optim import learning_rate, make_optimizer
from pcinv.engine.progress import Pace, Tick
from pcinv.engine.scans import PatchBatch, Scans, evenly, split_rooms
from pcinv.engine.seed import seed_all
from pcinv.engine.session import Session
from pcinv.engine.signals import StopRequest
from pcinv.errors import ConfigError, Interrupted, NonFiniteError
from pcinv.losses.matching import matching_loss
from pcinv.tasks import Labels
from pcinv.tasks.matching import IN_COMMON, compute, matching_metrics, new_state, update

logger = logging.getLogger(__name__)

PATCHES = 192
"""Corresponding patches of a pair in a step."""
APART = 0.15
"""Places nearer than this do not count against each other, in units of prepared clouds."""
VAL_PAIRS = 24
"""Pairs that are matched as a whole after each epoch."""
MOST_SCALE = 50.0
"""Largest 1 / temperature."""


def train_matching(
    config: Config, rooms: list[Any], accelerator: Accelerator, run: Path, resumed: bool,
    stop: StopRequest, callback: Callable[[Tick], None] | None,
) -> int:
    """Train on scanned rooms; return how many pairs there are.

    A step takes `train.batch_size` clouds, two a pair. Best is the highest inlier ratio of mutual
    matches on the rooms kept for validation.

    Raises as `pcinv.engine.trainer.train`.
    """
    if accelerator.num_processes > 1:
        raise ConfigError("matching trains in one process", where="torchrun",
                          hint="start it without torchrun")
    device = accelerator.device
    if device.type == "cpu":
        keep_freed_memory()
    jobs = max(1, config.train.workers)
    train_rooms, val_rooms = split_rooms(rooms, config.data.val_fraction)
    logger.info("preparing %d rooms", len(rooms))
    scans = Scans(train_rooms, config.seed, scales=config.augment.scale, jobs=jobs)
    held = Scans(val_rooms, config.seed, jobs=jobs)

    seed_all(config.seed)
    network = build_model(config, Labels(()), 0).to(device)
    optimizer = make_optimizer(config.optim, network.parameters())
    session = Session(run, config, Labels(()), network, optimizer, "estimate", 0, accelerator)
    sums = session.restore() if resumed else None
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
        for batch in ahead(scans, config.seed, epoch, range(first, steps), pairs):
            rate = learning_rate(config.optim, session.step, steps, pace.epochs)
            for group in optimizer.param_groups:
                group["lr"] = rate
            losses, found = losses_of(model, network, batch, device)
            loss = losses.mean()
            stepper.zero_grad(set_to_none=True)
            accelerator.backward(loss)
            norm = accelerator.clip_grad_norm_(model.parameters(),
                                               config.optim.grad_clip or math.inf)
            if not torch.isfinite(loss + norm):
                raise NonFiniteError(f"loss {float(loss):.3g}, gradient {float(norm):.3g}",
                                     where=f"epoch {epoch + 1}, step {session.step}",
                                     hint="a lower rate: --set optim.lr=1e-3")
            stepper.step()
            update(sums, losses, found)
            session.step, session.batch = session.step + 1, session.batch + 1
            if stop.requested:
                session.save(sums, compute(sums))
                raise _interrupted(session)
            if callback is not None:
                callback(pace.tick(epoch, session.step, float(loss.detach())))
        time_s = max(time.perf_counter() - start, 1e-9)
        trained = compute(sums)
        metrics = {**validate(network, held), "loss": trained["loss"]}
        line = {"epoch": epoch + 1, "step": session.step, "lr": optimizer.param_groups[0]["lr"],
                **trained, **{f"val_{name}": value for name, value in metrics.items()
                              if name != "loss"},
                "time_s": round(time_s, 3),
                "pairs_per_s": round((steps - first) * pairs / time_s, 2)}
        session.epoch, session.batch, sums = epoch + 1, 0, None
        session.finish_epoch(line, metrics, validated=True)
        logger.info("epoch %d of %d: %s", epoch + 1, pace.epochs,
                    ", ".join(f"{name} {line[name]:.4g}" for name in line if name != "epoch"))
        if callback is not None:
            callback(pace.tick(epoch, session.step, trained["loss"], line))
        if stop.requested and session.epoch < pace.epochs:
            raise _interrupted(session)
    return len(scans.pairs)


def ahead(
    scans: Scans, seed: int, epoch: int, steps: range, pairs: int
) -> Iterator[PatchBatch]:
    """Yield the batches of an epoch; the next one is made while one is worked on."""
    with ThreadPoolExecutor(1) as pool:
        waiting = None
        for step in steps:
            made = waiting or pool.submit(scans.batch, (seed, 11, epoch, step), pairs, PATCHES)
            waiting = pool.submit(scans.batch, (seed, 11, epoch, step + 1), pairs, PATCHES) \
                if step + 1 < steps.stop else None
            yield made.result()


def losses_of(
    model: nn.Module, network: Any, batch: PatchBatch, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Return the loss of each correspondence, and whether it was found."""
    batch = PatchBatch(*(part.to(device) for part in batch))
    described = model(torch.cat([batch.source, batch.target])).float()
    source, target = described.chunk(2)
    scale = network.log_scale.exp().clamp(max=MOST_SCALE)
    return matching_loss(source, target, scale, batch.source_places, batch.target_places,
                         batch.pair, APART)


def validate(network: Any, scans: Scans) -> dict[str, float]:
    """Match whole pairs and return how many matches are right."""
    from pcinv.models.cylinder_patch import describe
    from pcinv.registration.correspondences import mutual_matches

    described: dict[int, Tensor] = {}
    ratios = []
    for pair in evenly(scans.pairs, VAL_PAIRS):
        for number in (pair.source, pair.target):
            if number not in described:
                fragment = scans.fragments[number]
                described[number] = describe(network, *fragment[:2], *fragment[3:5],
                                             density=fragment.density).cpu()
        source, target = scans.fragments[pair.source], scans.fragments[pair.target]
        found = mutual_matches(described[pair.source], described[pair.target], k=1)
        pose = np.linalg.inv(target.T_room_fragment) @ source.T_room_fragment
        moved = source.keys[found.source_index.numpy()] @ pose[:3, :3].T + pose[:3, 3]
        off = np.linalg.norm(moved - target.keys[found.target_index.numpy()], axis=1)
        ratios.append(float((off < IN_COMMON).mean()) if len(off) else 0.0)
    return matching_metrics(ratios)


def _interrupted(session: Session) -> Interrupted:
    return Interrupted(f"interrupted after step {session.step}; the state is saved",
                       where=str(session.run), hint=f"pcinv train --resume {session.run}")
