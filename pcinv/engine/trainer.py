"""Training: a straight line from a configuration to a run folder.

The order of the data and each cloud's augmentation depend on the seed, the epoch and the cloud
alone, and the learning rate on the step alone; so what a checkpoint has to keep is small, and a
resumed run continues as if it had never stopped.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from torch import Tensor

from pcinv.engine import runs
from pcinv.engine.anchors import give_anchors
from pcinv.engine.checkpoint import load_weights
from pcinv.engine.clouds import Clouds, EpochOrder, evaluation_loader, iterate, training_loader
from pcinv.engine.config import Config, dump_config, flatten, to_tree
from pcinv.engine.datasets import Dataset, labels_of, load_split, pick_normals
from pcinv.engine.files import write_atomic
from pcinv.engine.launch import any_process, make_accelerator, share_buffers
from pcinv.engine.loading import build_model, check_same
from pcinv.engine.measure import State, measure, outputs
from pcinv.engine.memory import keep_freed_memory
from pcinv.engine.nonfinite import report_non_finite
from pcinv.engine.optim import learning_rate, make_optimizer
from pcinv.engine.progress import Pace, Tick
from pcinv.engine.scans import load_rooms
from pcinv.engine.seed import seed_all
from pcinv.engine.session import Session
from pcinv.engine.signals import StopRequest
from pcinv.errors import (
    ConfigError,
    DatasetError,
    Interrupted,
    LimitError,
    PcinvError,
    UsageError,
    unknown_name,
)
from pcinv.geometry.transforms import parse_protocol
from pcinv.losses import log_prior
from pcinv.models.registry import LIDAR_NETWORKS
from pcinv.tasks import LIDAR_TASKS, task_of

logger = logging.getLogger(__name__)

# What may change when a run is resumed; all else decides its result.
_FREE_KEYS = ("train.epochs", "train.workers", "train.device", "train.keep_checkpoints")


@dataclass(frozen=True)
class Run:
    """A finished training.

    path : the run folder.  weights : the weights of the best epoch.
    metrics : of the best epoch on the validation part (on the training part, where there is none).
    last_metrics : the same of the last epoch.
    rotation : how the clouds of the validation part were turned.
    num_samples : clouds in the training part.
    """

    path: Path
    weights: Path
    metrics: dict[str, float]
    last_metrics: dict[str, float]
    rotation: str
    dataset: str
    num_samples: int


def train(
    config: Config | None = None,
    *,
    output: str | Path | None = None,
    resume: str | Path | None = None,
    force: bool = False,
    callback: Callable[[Tick], None] | None = None,
) -> Run:
    """Train a network, or go on with an interrupted run.

    Parameters
    ----------
    config : what to train; with `resume` it may be None, or differ in length, device and workers.
    output : the run folder; a new one below `runs/` where None.
    resume : folder of a run to go on with, bit for bit as if it had not stopped (on CPU).
    force : use an output folder that is not empty.
    callback : called after each step and each epoch, in the first process.

    Raises
    ------
    Interrupted after SIGINT or SIGTERM, with the state saved.
    NonFiniteError for a loss or gradient that is not finite; the batch is in the run folder.
    LimitError where memory or the disk is full; older checkpoints stay.
    ConfigError, CheckpointError, DatasetError for what does not fit together.
    """
    if resume is not None:
        if output is not None:
            raise UsageError("output and resume exclude each other", where="output",
                             hint="a resumed run goes on in its own folder")
        config = _resumed_config(Path(resume), config)
    elif config is None:
        raise UsageError("neither a configuration nor a run to resume", where="config",
                         hint="pcinv.train(Config())")
    _check_backbone(config)
    if config.model.init is not None and resume is None:
        _check_start(config)
    accelerator = make_accelerator(config.train)
    load, work = _ways(config.model.task)
    train_data = load(config)  # before anything is written
    run = _open(accelerator, config, output, resume, force)
    log = run / runs.LOG if accelerator.is_main_process else None
    with runs.log_to(log), StopRequest() as stop:
        try:
            return work(config, train_data, accelerator, run, resume is not None, stop, callback)
        except torch.OutOfMemoryError as error:
            raise LimitError("out of GPU memory", where="train.batch_size",
                             hint="--set train.batch_size with half as many clouds") from error
        except RuntimeError as error:
            if stop.requested and "DataLoader worker" in str(error):
                raise Interrupted("interrupted, and the loader's workers with it; the last "
                                  "checkpoint stands", where=str(run),
                                  hint=f"pcinv train --resume {run}") from error
            raise
        except PcinvError as error:
            logger.info("stopped: %s", error)
            raise


def _check_backbone(config: Config) -> None:
    """Raise where a network of LiDAR scans is asked for a task that it does not do."""
    name, task = config.model.backbone, config.model.task
    if name in LIDAR_NETWORKS and task not in LIDAR_NETWORKS[name].tasks:
        raise unknown_name("task", task, LIDAR_NETWORKS[name].tasks, where=f"backbone {name}")


def _check_start(config: Config) -> None:
    """Raise where the run to begin with is not there, or nothing can begin with one."""
    if config.model.task not in LIDAR_TASKS:
        raise ConfigError(f"{config.model.backbone} does not begin with another run",
                          where="model.init", hint="networks of LiDAR scans do, pillar_bev")
    load_weights(str(config.model.init), "last")


def _ways(task: str) -> tuple[Callable[[Config], Any], Callable[..., Run]]:
    """Return what loads the data of a task, and what trains on them."""
    if task == "matching":
        return load_rooms, _train_matching
    if task in LIDAR_TASKS:
        from pcinv.engine.lidar import load_pools

        return load_pools, _train_lidar
    return lambda config: load_split(config, "train"), _train


def _train_lidar(config: Config, pools: Any, accelerator: Accelerator, run: Path, *rest: Any
                 ) -> Run:
    from pcinv.engine.lidar import train_lidar

    count = train_lidar(config, pools, accelerator, run, *rest)
    best = load_weights(run, "best")
    return Run(run, best.path, best.meta.metrics, load_weights(run, "last").meta.metrics,
               "none", config.data.dataset, count)


def _train_matching(config: Config, rooms: Any, accelerator: Accelerator, run: Path, *rest: Any
                    ) -> Run:
    from pcinv.engine.matching import train_matching

    count = train_matching(config, rooms, accelerator, run, *rest)
    best = load_weights(run, "best")
    return Run(run, best.path, best.meta.metrics, load_weights(run, "last").meta.metrics,
               "none", config.data.dataset, count)


def _train(
    config: Config,
    train_data: Dataset,
    accelerator: Accelerator,
    run: Path,
    resumed: bool,
    stop: StopRequest,
    callback: Callable[[Tick], None] | None,
) -> Run:
    device, rank, world = accelerator.device, accelerator.process_index, accelerator.num_processes
    if device.type == "cpu":
        keep_freed_memory()
    protocol = parse_protocol(config.data.protocol)

    # data
    labels = labels_of(train_data, config.model.task)
    is_parts, is_pose = (config.model.task == name for name in ("part_segmentation", "pose"))
    num_categories = len(labels.class_names) if is_parts and len(labels.class_names) > 1 else 0

    # network
    seed_all(config.seed)  # every process starts from the same weights
    network = build_model(config, labels, num_categories).to(device)
    task = task_of(config.model.task, network)
    normals = "none" if is_pose else pick_normals(config, train_data)
    optimizer = make_optimizer(config.optim, network.parameters())
    seed_all(config.seed, rank)

    prior = None
    if config.optim.balance > 0:
        if config.model.task != "classification":
            raise ConfigError(f"the loss of {config.model.task} cannot be balanced",
                              where="optim.balance",
                              hint="--set optim.balance=0")
        prior = log_prior(torch.as_tensor(train_data.labels), len(labels.class_names),
                          config.optim.balance).to(device)

    # batches
    clouds = Clouds(train_data, rotation=protocol.train, seed=config.seed, augment=config.augment,
                    normals=normals, pairs=is_pose)
    give_anchors(network, clouds)
    order = EpochOrder(len(clouds), config.train.batch_size, config.seed, rank, world)
    sizes = order.sizes()
    if not sizes:
        raise DatasetError(f"{len(clouds)} clouds are too few to train on", where="data.limit",
                           hint=f"at least {2 * world} are needed")
    loader = training_loader(clouds, order, config.train.workers, device)
    val_loader = None
    if config.data.val_fraction > 0:
        val_clouds = Clouds(load_split(config, "val"), rotation=protocol.test, seed=config.seed,
                            normals="data" if normals == "data" else "none", pairs=is_pose)
        val_loader = evaluation_loader(val_clouds, config.train.batch_size, config.train.workers,
                                       device, rank, world)

    session = Session(run, config, labels, network, optimizer, normals, num_categories, accelerator)
    sums = session.restore() if resumed else None
    model, stepper = accelerator.prepare(network, optimizer)
    pace = Pace(session.step, config.train.epochs, len(sizes))
    logger.info("%s: %d clouds, %d epochs of %d steps on %s, %d process(es)",
                "resumed" if resumed else "started", len(clouds), pace.epochs, len(sizes), device,
                world)

    for epoch in range(session.epoch, pace.epochs):
        order.set_epoch(epoch, first=session.batch)
        sums = task.functions.new_state(labels, device) if sums is None else sums
        epoch_start, num_clouds = time.perf_counter(), 0
        model.train()
        for batch in iterate(loader):
            batch = batch.to(device)
            size = sizes[session.batch]
            rate = learning_rate(config.optim, session.step, len(sizes), pace.epochs)
            for group in optimizer.param_groups:
                group["lr"] = rate
            logits = outputs(model, batch, num_categories).float()
            adjusted = logits if prior is None else logits + prior
            losses = task.functions.loss(adjusted, batch, config.optim.label_smoothing)
            loss = losses.sum() * world / size  # gradients are averaged over the processes
            stepper.zero_grad(set_to_none=True)
            accelerator.backward(loss)
            norm = accelerator.clip_grad_norm_(
                model.parameters(), config.optim.grad_clip or math.inf)
            unsound, leave = any_process(
                accelerator, not is_sound(accelerator, loss, norm), stop.requested)
            if unsound:
                raise report_non_finite(run, batch, network, loss=loss, norm=norm, epoch=epoch,
                                        step=session.step, rank=rank)
            stepper.step()
            task.functions.update(sums, logits.detach(), batch, losses, labels)
            session.step, session.batch = session.step + 1, session.batch + 1
            num_clouds += size
            if leave:
                raise _stopped(session, sums)
            if callback is not None and session.is_first:
                callback(pace.tick(epoch, session.step, float(loss.detach())))

        time_s = max(time.perf_counter() - epoch_start, 1e-9)
        metrics = trained = task.functions.compute(session.add_up(sums))
        line = {"epoch": epoch + 1, "step": session.step, "lr": optimizer.param_groups[0]["lr"],
                **trained}
        if val_loader is not None:
            share_buffers(accelerator, network)
            state = measure(network, val_loader, task, labels, device=device,
                            num_categories=num_categories,
                            stop=lambda: stop.requested and world == 1)
            if stop.requested and world == 1:
                raise _stopped(session, sums)
            metrics = task.functions.compute(session.add_up(state))
            line |= {f"val_{name}": value for name, value in metrics.items()}
        line |= {"time_s": round(time_s, 3), "clouds_per_s": round(num_clouds / time_s, 2)}
        session.epoch, session.batch, sums = epoch + 1, 0, None
        session.finish_epoch(line, metrics, validated=val_loader is not None)
        logger.info("epoch %d of %d: %s", epoch + 1, pace.epochs,
                    ", ".join(f"{name} {line[name]:.4g}" for name in line if name != "epoch"))
        if callback is not None and session.is_first:
            callback(pace.tick(epoch, session.step, trained["loss"], line))
        if any_process(accelerator, stop.requested)[0] and session.epoch < pace.epochs:
            raise _interrupted(session)

    accelerator.wait_for_everyone()
    best = load_weights(run, "best")
    return Run(run, best.path, best.meta.metrics, load_weights(run, "last").meta.metrics,
               protocol.test, config.data.dataset, len(clouds))


def _stopped(session: Session, sums: State) -> Interrupted:
    """Save the state in the middle of an epoch and return the error to raise."""
    session.save(sums, session.task.functions.compute(session.add_up(sums)))
    return _interrupted(session)


def _interrupted(session: Session) -> Interrupted:
    return Interrupted(f"interrupted after step {session.step}, in epoch {session.epoch + 1}; "
                       "the state is saved",
                       where=str(session.run), hint=f"pcinv train --resume {session.run}")


def is_sound(accelerator: Accelerator, loss: Tensor, norm: Tensor) -> bool:
    """Return whether a step may be made from this loss and norm of the gradient."""
    scaler = accelerator.scaler
    if scaler is not None and scaler.get_scale() > 1:
        return bool(torch.isfinite(loss))  # an overflow of scaled gradients lowers the scale
    return bool(torch.isfinite(loss + norm))


def _resumed_config(run: Path, wanted: Config | None) -> Config:
    """Return the configuration to go on with: `wanted` may differ from the run's in some keys."""
    _, saved = runs.open_run(run)
    if wanted is None:
        return saved
    mine, other = flatten(to_tree(saved)), flatten(to_tree(wanted))
    for key in _FREE_KEYS:
        mine.pop(key), other.pop(key)
    check_same(mine, other, "configurations", run / runs.CONFIG)
    return wanted


def _open(
    accelerator: Accelerator,
    config: Config,
    output: str | Path | None,
    resume: str | Path | None,
    force: bool,
) -> Path:
    """Return the run folder in every process; the first one makes it."""
    paths = [""]
    if accelerator.is_main_process:
        if resume is not None:
            paths[0] = str(resume)
            write_atomic(Path(resume) / runs.CONFIG, dump_config(config).encode())
        else:
            run = runs.create_run(config, output, str(accelerator.device), force=force)
            paths[0] = str(run)
    if accelerator.num_processes > 1:
        broadcast_object_list(paths)
    return Path(paths[0])
