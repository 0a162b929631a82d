"""Data sets by name, from every installed package that offers some: see `engine.providers`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Protocol

import numpy as np

from pcinv.engine.config import Config
from pcinv.engine.providers import from_providers as from_providers
from pcinv.errors import ConfigError, DatasetError
from pcinv.tasks import Labels
from pcinv.types import Sample


class Dataset(Protocol):
    """What a data set offers; clouds are centred and lie in the unit ball.

    labels : (M,) class index of each cloud.
    part_names : class index -> its part labels.  part_labels : part label -> name.
    """

    class_names: Sequence[str]
    labels: Any
    part_names: Any
    part_labels: Any

    @property
    def has_normals(self) -> bool:
        """Whether every cloud carries normals."""

    def __len__(self) -> int:
        """Return the number of clouds."""

    def __getitem__(self, index: int) -> Sample:
        """Return one cloud."""


def load_dataset(name: str, **options: Any) -> Dataset:
    """Load a data set by name from the first package that knows it.

    Raises
    ------
    UnknownNameError where no package knows the name, DependencyError where there is no package.
    DatasetError for a folder that is not the data set, or one without a single cloud.
    """
    dataset: Dataset = from_providers("load_dataset", name, **options)
    if len(dataset) == 0:
        raise DatasetError(f"data set '{name}' has no clouds",
                           where=str(options.get("root") or name),
                           hint="pcinv data verify says what is missing")
    return dataset


def load_split(config: Config, split: str) -> Dataset:
    """Load a split of the configured data set ("train", "val", "trainval" or "test")."""
    data = config.data
    return load_dataset(
        data.dataset, root=data.root, split=split, num_points=data.num_points, seed=config.seed,
        val_fraction=data.val_fraction, limit=data.limit, task=task_of_data(config.model.task),
        **data.options,
    )


def task_of_data(task: str) -> str:
    """Return the task that a data set must be for: any classified shapes serve the other ones."""
    return "classification" if task in ("pose", "normals") else task


def labels_of(dataset: Dataset, task: str) -> Labels:
    """Return the names of classes and parts that a network for this task tells apart.

    Raises
    ------
    DatasetError where the data set has no labels for the task.
    """
    classes = tuple(dataset.class_names)
    if len(classes) == 0:
        raise DatasetError("the data set has no classes", where="data.dataset",
                           hint="choose a data set with class labels")
    values = np.asarray(dataset.labels)
    if values.min() < 0 or values.max() >= len(classes):
        raise DatasetError(f"class labels from {values.min()} to {values.max()}, "
                           f"expected 0 to {len(classes) - 1}", where="data.dataset",
                           hint="choose a data set in which every cloud has a class")
    if task != "part_segmentation":
        return Labels(classes)
    if not dataset.part_labels or not dataset.part_names:
        raise DatasetError("the data set has no part labels", where="model.task",
                           hint="choose a data set with parts, or --set model.task=classification")
    parts = tuple(tuple(dataset.part_names[i]) for i in range(len(classes)))
    return Labels(classes, tuple(dataset.part_labels), parts)


def pick_normals(config: Config, dataset: Dataset) -> Literal["data", "estimate", "none"]:
    """Return where a network's normals come from: "data", "estimate" or "none".

    Raises
    ------
    ConfigError where the data's normals are asked for and there are none, or to be learned.
    """
    wanted = config.data.normals
    if config.model.task == "normals" and (wanted not in ("auto", "data")
                                           or not dataset.has_normals):
        raise ConfigError("normals are learned of those of the data", where="data.normals",
                          hint="a data set with normals, as shapes, and data.normals=data")
    if wanted == "auto":
        return "data" if dataset.has_normals else "estimate"
    if wanted == "data" and not dataset.has_normals:
        raise ConfigError(f"data set '{config.data.dataset}' has no normals", where="data.normals",
                          hint="--set data.normals=estimate")
    return wanted
