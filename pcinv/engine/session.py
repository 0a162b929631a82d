"""The state of a training that a checkpoint keeps, and how it gets there and back."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from pcinv.engine import runs, seed
from pcinv.engine.checkpoint import (
    SCHEMA_VERSION,
    ModelMeta,
    Normals,
    Progress,
    find_checkpoint,
    list_checkpoints,
    load_state,
    point_to,
    prune,
    save_checkpoint,
)
from pcinv.engine.config import Config
from pcinv.engine.loading import check_labels, check_same, hyper_of, put_weights
from pcinv.engine.measure import State
from pcinv.engine.optim import optimizer_state, restore_optimizer
from pcinv.engine.tracking import JsonLines
from pcinv.tasks import Labels, task_of

logger = logging.getLogger(__name__)


class Session:
    """Counters of a training, and its network, optimiser and metrics file.

    step : completed steps.  epoch : completed epochs.  batch : completed steps of the next epoch.
    """

    def __init__(
        self,
        run: Path,
        config: Config,
        labels: Labels,
        network: nn.Module,
        optimizer: torch.optim.Optimizer,
        normals: Normals,
        num_categories: int,
        accelerator: Accelerator,
    ) -> None:
        self.run, self.config, self.labels = run, config, labels
        self.network, self.optimizer, self.accelerator = network, optimizer, accelerator
        self.normals, self.num_categories = normals, num_categories
        self.task = task_of(config.model.task, network)
        self.step = self.epoch = self.batch = 0
        self.best: tuple[float, float] | None = None  # score, -loss
        self.metrics_bytes = 0

    @property
    def is_first(self) -> bool:
        """Whether this process is the one that writes."""
        return bool(self.accelerator.is_main_process)

    def add_up(self, state: State) -> State:
        """Return the sums of all processes together."""
        if self.accelerator.num_processes == 1:
            return state
        # in one order in all processes: sums that were read from a file come in any order
        return {name: self.accelerator.reduce(state[name], "sum") for name in sorted(state)}

    def restore(self) -> State | None:
        """Go back to the newest checkpoint; return the sums of an epoch that was begun.

        A run that was stopped before its first checkpoint starts anew.

        Raises
        ------
        CheckpointError where it is damaged, or of another data set or network.
        """
        if not list_checkpoints(self.run):
            return None
        checkpoint = find_checkpoint(self.run, "last")
        weights, state, progress = load_state(checkpoint)
        mine, saved = self._describe({}), weights.meta
        check_labels(saved.labels, mine.labels, checkpoint)
        check_same(saved.hyper, mine.hyper, "hyper-parameters", checkpoint)
        check_same({"normals": saved.normals}, {"normals": mine.normals}, "data", checkpoint)
        put_weights(self.network, weights)
        restore_optimizer(self.optimizer, _under("optimizer", state), progress.optimizer)
        if self.accelerator.scaler is not None and progress.scaler is not None:
            self.accelerator.scaler.load_state_dict(progress.scaler)
        self.step, self.epoch, self.batch = progress.step, progress.epoch, progress.batch
        if progress.best_score is not None and progress.best_loss is not None:
            self.best = progress.best_score, -progress.best_loss
        self.metrics_bytes = progress.metrics_bytes
        rank, world = self.accelerator.process_index, self.accelerator.num_processes
        if progress.processes == world:
            seed.restore({name: rows[rank] for name, rows in _under("random", state).items()})
        else:
            logger.warning("resumed with %d processes instead of %d: not bit for bit the same run",
                           world, progress.processes)
            seed.seed_all(self.config.seed + self.step, rank)
        if not self.batch:
            return None
        device = self.accelerator.device
        sums = {name: value.to(device) for name, value in _under("sums", state).items()}
        return sums if self.is_first else {name: torch.zeros_like(v) for name, v in sums.items()}

    def save(self, sums: State | None, metrics: dict[str, float]) -> Path | None:
        """Write a checkpoint and let `last` name it; all processes call this, the first one writes.

        sums : of the epoch that was begun, None after a whole one.
        """
        random = {name: value[None] for name, value in seed.capture().items()}
        if self.accelerator.num_processes > 1:
            device = self.accelerator.device
            random = {name: self.accelerator.gather(v.to(device)) for name, v in random.items()}
        if sums is not None:
            sums = self.add_up(sums)
        if not self.is_first:
            return None
        tensors, groups = optimizer_state(self.optimizer)
        state = {**_over("optimizer", tensors), **_over("random", random),
                 **_over("sums", sums or {})}
        scaler = self.accelerator.scaler
        progress = Progress(
            step=self.step, epoch=self.epoch, batch=self.batch, optimizer=groups,
            processes=self.accelerator.num_processes,
            scaler=None if scaler is None else scaler.state_dict(),
            metrics_bytes=self.metrics_bytes,
            best_score=None if self.best is None else self.best[0],
            best_loss=None if self.best is None else -self.best[1],
        )
        weights = self.network.state_dict()
        folder = save_checkpoint(self.run, weights, state, self._describe(metrics), progress)
        point_to(self.run, "last", folder)
        return folder

    def finish_epoch(
        self, line: dict[str, Any], metrics: dict[str, float], validated: bool
    ) -> None:
        """Write the epoch's line and checkpoint; `best` moves with a better validation score.

        Without validation the newest epoch is the best one.
        """
        if self.is_first:
            stream = JsonLines(self.run / runs.METRICS, self.metrics_bytes)
            stream.write(line)
            self.metrics_bytes = stream.position
            stream.close()
        reached = metrics[self.task.score], -metrics["loss"]
        is_best = not validated or self.best is None or reached > self.best
        if is_best:
            self.best = reached
        folder = self.save(None, metrics)
        if folder is not None:
            if is_best:
                point_to(self.run, "best", folder)
            prune(self.run, self.config.train.keep_checkpoints)

    def _describe(self, metrics: dict[str, float]) -> ModelMeta:
        return ModelMeta(
            schema_version=SCHEMA_VERSION, config=self.config, hyper=hyper_of(self.network),
            labels=self.labels, normals=self.normals, num_categories=self.num_categories,
            step=self.step, epoch=self.epoch, metrics=metrics, versions=runs.versions(),
        )


def _over(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}.{name}": value for name, value in tensors.items()}


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    start = f"{prefix}."
    return {name.removeprefix(start): v for name, v in tensors.items() if name.startswith(start)}
