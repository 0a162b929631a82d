"""How well networks take damaged clouds: their scores against the severity of each corruption."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from pcinv.engine.clouds import Clouds
from pcinv.engine.datasets import Dataset
from pcinv.engine.evaluator import Prepared, evaluate_prepared, prepare
from pcinv.engine.loading import LoadedModel, load_model
from pcinv.engine.seed import CORRUPT, generator
from pcinv.errors import UsageError
from pcinv.geometry.corruptions import CORRUPTIONS, Points, check_severity, corrupt
from pcinv.tasks import get_task
from pcinv.types import Sample

logger = logging.getLogger(__name__)

TASKS = ("classification", "part_segmentation", "normals")


@dataclass(frozen=True)
class Curve:
    """What one network reached.

    run : what was given.  weights : the file that was used.
    scores : corruption -> score at each of its severities.
    num_points : corruption -> points of the first cloud at each of its severities.
    normals : "data", or "estimate" where the network estimated them, or does without.
    """

    run: str
    weights: str
    backbone: str
    dataset: str
    num_samples: int
    normals: str
    scores: dict[str, list[float]]
    num_points: dict[str, list[int]]


@dataclass(frozen=True)
class Robustness:
    """What networks reached on the same damage.

    score : name of the metric, by which training chooses the best epoch, too.
    severities : corruption -> its severities; 0 is the clouds as they are.
    runs : a curve for each network.
    """

    task: str
    score: str
    rotation: str
    split: str
    seed: int
    severities: dict[str, list[float]]
    runs: list[Curve]


def evaluate_robustness(
    targets: Sequence[str | Path | LoadedModel],
    *,
    kinds: Sequence[str] = (),
    severities: Mapping[str, Sequence[float]] | None = None,
    rotation: str = "so3",
    seed: int = 0,
    batch_size: int = 32,
    workers: int = 0,
    callback: Callable[[int, int, str, str], None] | None = None,
    **options: Any,
) -> Robustness:
    """Measure networks on clouds that are damaged more and more.

    Each cloud is damaged by numbers that depend on `seed`, the corruption and its own index alone,
    brought into the unit ball again and then turned. So networks that were trained on one data set
    with one seed see the same clouds, and the damage is the same under every rotation. No cloud
    gets fewer points than each of the networks needs.

    Parameters
    ----------
    targets : run folders, checkpoint folders, weights files, or loaded networks, of one task.
    kinds : names of `pcinv.geometry.corruptions.CORRUPTIONS`; all of them where there are none.
    severities : corruption -> severities, in place of those of the table.
    rotation : of the damaged clouds, "none", "z" or "so3".
    callback : called with the measurements done, of all, and the network and corruption whose turn
        it is, "" for clouds without damage.
    options : dataset, root, split, device, limit, which; as of `pcinv.evaluate`.

    Raises
    ------
    UsageError for no network, networks of different tasks, or a task that is not of `TASKS`.
    UnknownNameError for another corruption, InputError for a severity that it does not have; else
    as `pcinv.evaluate`.
    """
    chosen = _severities(kinds, severities or {})
    loaded = [target if isinstance(target, LoadedModel)
              else load_model(target, which=options.get("which", "best")) for target in targets]
    task = _task_of(loaded)
    score = get_task(task).score
    least = max(_min_points(network) for network in loaded)
    # clouds without damage are the same for all corruptions, and measured once
    steps = list(dict.fromkeys(_step(kind, value) for kind, row in chosen.items() for value in row))
    curves: list[Curve] = []
    for target, network in zip(targets, loaded, strict=True):
        name = str(network.path if isinstance(target, LoadedModel) else target)
        prepared = prepare(network, rotation=rotation, seed=seed, **options)
        scores: dict[tuple[str, float], float] = {}
        counts: dict[tuple[str, float], int] = {}
        for step in steps:
            if callback is not None:
                callback(len(curves) * len(steps) + len(scores), len(loaded) * len(steps), name,
                         step[0])
            damaged = _damaged(prepared, *step, least)
            found = evaluate_prepared(damaged, batch_size=batch_size, workers=workers)
            scores[step] = found.metrics[score]
            counts[step] = len(damaged.clouds.source[0].xyz)
        by_kind = {kind: [_step(kind, value) for value in row] for kind, row in chosen.items()}
        curves.append(Curve(
            run=name, weights=found.weights, backbone=network.meta.config.model.backbone,
            dataset=found.dataset, num_samples=found.num_samples, normals=found.normals,
            scores={kind: [scores[step] for step in row] for kind, row in by_kind.items()},
            num_points={kind: [counts[step] for step in row] for kind, row in by_kind.items()}))
    _warn_of_other_data(curves)
    return Robustness(task, score, rotation, prepared.split, seed, chosen, curves)


class DamagedClouds:
    """A data set whose clouds are damaged, each by numbers of its own."""

    def __init__(self, source: Dataset, kind: str, severity: float, seed: int, min_points: int
                 ) -> None:
        self.source, self.kind, self.severity = source, kind, severity
        self.seed, self.min_points = seed, min_points
        self.class_names, self.labels = source.class_names, source.labels
        self.part_names, self.part_labels = source.part_names, source.part_labels
        self.has_normals = source.has_normals

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> Sample:
        sample = self.source[index]
        if self.severity == 0:
            return sample
        random = generator(self.seed, CORRUPT, list(CORRUPTIONS).index(self.kind), index)
        points = Points(torch.tensor(sample.xyz), _tensor(sample.normal), _tensor(sample.part))
        xyz, normal, part = corrupt(self.kind, points, self.severity, random, self.min_points)
        return replace(sample, xyz=xyz.numpy(), normal=None if normal is None else normal.numpy(),
                       part=None if part is None else part.numpy())


def _tensor(array: NDArray[Any] | None) -> Tensor | None:
    return None if array is None else torch.tensor(array)


def _damaged(prepared: Prepared, kind: str, severity: float, min_points: int) -> Prepared:
    clouds = prepared.clouds
    source = DamagedClouds(clouds.source, kind, severity, clouds.seed, min_points)
    return replace(prepared, clouds=Clouds(source, rotation=clouds.rotation, seed=clouds.seed,
                                           normals=clouds.normals))


def _step(kind: str, severity: float) -> tuple[str, float]:
    return (kind, severity) if severity > 0 else ("", 0.0)


def _severities(kinds: Sequence[str], given: Mapping[str, Sequence[float]]
                ) -> dict[str, list[float]]:
    """Return the severities of each corruption that is to be measured, all of them checked."""
    chosen = {}
    for kind in dict.fromkeys([*(kinds or CORRUPTIONS), *given]):
        check_severity(kind, 0.0)
        row = [float(value) for value in given.get(kind, CORRUPTIONS[kind].severities)]
        if not row:
            raise UsageError(f"no severity of {kind}", where="severities", hint="0, 0.1, 0.2")
        for value in row:
            check_severity(kind, value)
        chosen[kind] = row
    return chosen


def _task_of(networks: Sequence[LoadedModel]) -> str:
    if not networks:
        raise UsageError("no network", where="targets", hint="give a run folder")
    tasks = {network.meta.config.model.task: str(network.path) for network in networks}
    for task, path in tasks.items():
        if task not in TASKS:
            raise UsageError(f"a network for {task} is not measured on damaged clouds", where=path,
                             hint=f"give networks for {', '.join(TASKS)}")
    if len(tasks) > 1:
        raise UsageError(f"networks for {' and '.join(tasks)} have different scores",
                         where=list(tasks.values())[1], hint="measure them one by one")
    return next(iter(tasks))


def _min_points(network: LoadedModel) -> int:
    least: Any = network.model.min_points
    return int(least)


def _warn_of_other_data(curves: Sequence[Curve]) -> None:
    first = curves[0]
    for curve in curves[1:]:
        if (curve.dataset, curve.num_samples, curve.num_points) != (
                first.dataset, first.num_samples, first.num_points):
            logger.warning("%s was measured on other clouds than %s: another data set, or another "
                           "number of clouds or points", curve.run, first.run)
