"""Evaluation: the metrics of a trained network on a data set, under rotations of choice."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from pcinv.engine.clouds import Clouds, evaluation_loader
from pcinv.engine.datasets import labels_of, load_dataset, task_of_data
from pcinv.engine.launch import pick_device
from pcinv.engine.loading import LoadedModel, check_labels, load_model
from pcinv.engine.measure import measure
from pcinv.geometry.transforms import parse_protocol
from pcinv.tasks import LIDAR_TASKS, Batch, task_of

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Evaluation:
    """What a network reached on a data set.

    run : what was given.  weights : the file that was used.
    metrics : `oa`, `macc`, `loss`; for parts `instance_miou`, `class_miou`, `oa`, `loss`; for
        poses `mean_deg`, `median_deg`, `max_deg`, `within_5deg`, `within_10deg`, `loss`; of LiDAR
        scans those of `pcinv.tasks.segmentation`, `detection` and `pretraining`.
    per_class : accuracy, mean IoU, or mean angle, of each class that is present.
    confusion : counts, a row for each true class; None for parts and poses.
    normals : "data", or "estimate" where the network estimated them.
    """

    run: str
    weights: str
    metrics: dict[str, float]
    per_class: dict[str, float]
    confusion: list[list[int]] | None
    rotation: str
    dataset: str
    split: str
    num_samples: int
    normals: str
    seed: int


@dataclass(frozen=True)
class Prepared:
    """A network, and the clouds that it is to be measured on.

    run : what was given.  device : where the network is.
    clouds : turned; `clouds.source` has them as they are stored, with their names.
    """

    run: str
    loaded: LoadedModel
    clouds: Clouds
    dataset: str
    split: str
    device: torch.device


def evaluate(
    target: str | Path | LoadedModel,
    *,
    dataset: str | None = None,
    root: str | Path | None = None,
    split: str = "test",
    rotation: str | None = None,
    seed: int = 0,
    batch_size: int = 32,
    device: str = "auto",
    limit: int | None = None,
    which: str = "best",
    workers: int = 0,
) -> Evaluation:
    """Measure a run, checkpoint or weights file on a data set.

    Parameters
    ----------
    target : run folder, checkpoint folder, weights file, or a loaded network.
    dataset, root : data set; the one of the training where None.
    rotation : "none", "z" or "so3"; as the training's protocol tests where None. Each cloud has a
        rotation of its own that depends on `seed` and its index alone.
    limit : at most so many clouds.
    which : "best" or "last" checkpoint of a run folder.

    Raises
    ------
    CheckpointError for damaged weights, or a data set whose classes are not those of the training.
    DatasetError, UnknownNameError, DeviceError for what is not there.
    """
    loaded = target if isinstance(target, LoadedModel) else load_model(target, which=which)
    run = str(loaded.path if isinstance(target, LoadedModel) else target)
    if loaded.meta.config.model.task in LIDAR_TASKS:
        from pcinv.engine.lidar_eval import evaluate_lidar

        return replace(evaluate_lidar(loaded, dataset=dataset, root=root, split=split, seed=seed,
                                      rotation=rotation, device=device, limit=limit), run=run)
    prepared = prepare(loaded, dataset=dataset, root=root, split=split, rotation=rotation,
                       seed=seed, device=device, limit=limit)
    prepared = replace(prepared, run=run)
    return evaluate_prepared(prepared, batch_size=batch_size, workers=workers)


def prepare(
    target: str | Path | LoadedModel,
    *,
    dataset: str | None = None,
    root: str | Path | None = None,
    split: str = "test",
    rotation: str | None = None,
    seed: int = 0,
    device: str = "auto",
    limit: int | None = None,
    which: str = "best",
) -> Prepared:
    """Load a network and the clouds to measure it on; arguments and errors as of `evaluate`."""
    place = pick_device(device)
    loaded = target if isinstance(target, LoadedModel) else load_model(target, which=which)
    meta = loaded.meta
    loaded.model.to(place)
    config = meta.config
    data = config.data
    if dataset is None:
        dataset, options = data.dataset, data.options
        root = data.root if root is None else root
    else:
        options = data.options if dataset == data.dataset else {}
    source = load_dataset(
        dataset, root=None if root is None else str(root), split=split, num_points=data.num_points,
        seed=config.seed, val_fraction=data.val_fraction, limit=limit,
        task=task_of_data(config.model.task), **options,
    )
    check_labels(meta.labels, labels_of(source, config.model.task), loaded.path)
    rotation = parse_protocol(data.protocol).test if rotation is None else rotation
    is_given = meta.normals == "data" and source.has_normals
    if meta.normals == "data" and not is_given:
        logger.warning("%s has no normals, the network was trained with some: it estimates them",
                       dataset)
    # normals are never estimated ahead: the network sees turned points, as it would in use
    clouds = Clouds(source, rotation=rotation, seed=seed, normals="data" if is_given else "none",
                    pairs=config.model.task == "pose")
    run = str(loaded.path if isinstance(target, LoadedModel) else target)
    return Prepared(run, loaded, clouds, dataset, split, place)


def evaluate_prepared(
    prepared: Prepared, *, batch_size: int = 32, workers: int = 0,
    watch: Callable[[Batch, Tensor], None] | None = None,
) -> Evaluation:
    """Measure a network on the clouds that it came with.

    watch : is given each batch, as the network saw it, and its logits.
    """
    loaded, clouds, place = prepared.loaded, prepared.clouds, prepared.device
    meta = loaded.meta
    task = task_of(meta.config.model.task, loaded.model)
    state = measure(loaded.model, evaluation_loader(clouds, batch_size, workers, place), task,
                    meta.labels, device=place, num_categories=meta.num_categories, watch=watch)
    confusion = state.get("confusion")
    return Evaluation(
        run=prepared.run,
        weights=str(loaded.path),
        metrics=task.functions.compute(state),
        per_class=task.functions.per_class(state, meta.labels),
        confusion=None if confusion is None else confusion.tolist(),
        rotation=clouds.rotation, dataset=prepared.dataset, split=prepared.split,
        num_samples=len(clouds), normals="data" if clouds.normals == "data" else "estimate",
        seed=clouds.seed,
    )
