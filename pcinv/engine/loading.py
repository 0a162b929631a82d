"""From weights to a network that is ready to use."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pcinv.engine import config as configs
from pcinv.engine.checkpoint import ModelMeta, Weights, load_weights
from pcinv.engine.config import Config
from pcinv.errors import CheckpointError, ConfigError
from pcinv.models.registry import create_model
from pcinv.nn.headed import with_head
from pcinv.tasks import Labels, get_task


@dataclass(frozen=True)
class LoadedModel:
    """A network in evaluation mode, what it belongs to, and the file it came from."""

    model: nn.Module
    meta: ModelMeta
    path: Path


def build_model(config: Config, labels: Labels, num_categories: int) -> nn.Module:
    """Make the configured network with random weights.

    Raises
    ------
    ConfigError where its clouds would have too few points, or the head does not fit.
    """
    num_outputs = get_task(config.model.task).functions.num_outputs(labels)
    model = create_model(
        config.model.backbone, task=config.model.task, preset=config.model.preset,
        num_classes=num_outputs, num_categories=num_categories, **config.model.overrides,
    )
    least: Any = model.min_points
    if config.data.num_points < least:
        raise ConfigError(f"{config.data.num_points} points, {config.model.backbone} needs {least}",
                          where="data.num_points", hint=f"--set data.num_points={least}")
    head, options = config.model.head, config.model.head_options
    if head != "linear":
        return with_head(model, head, num_outputs, config.data.num_points, options)
    if options:
        raise ConfigError("the head linear takes no options", where="model.head_options",
                          hint="--set model.head=matryoshka, or relative")
    return model


def hyper_of(model: nn.Module) -> dict[str, Any]:
    """Return the network's hyper-parameters as plain JSON values."""
    fields: Any = model.hyper
    hyper: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(fields)))
    return hyper


def load_model(
    path: str | Path, *, which: str = "best", device: torch.device | str = "cpu"
) -> LoadedModel:
    """Load a network from a run folder, a checkpoint folder or a weights file.

    which : "best" or "last", for a run folder.

    Raises
    ------
    CheckpointError for damaged files, or weights that this version's backbone does not fit.
    """
    weights = load_weights(path, which)
    meta = weights.meta
    model = build_model(meta.config, meta.labels, meta.num_categories)
    check_same(meta.hyper, hyper_of(model), "hyper-parameters", weights.path)
    put_weights(model, weights)
    return LoadedModel(model.to(device).eval(), meta, weights.path)


def put_weights(model: nn.Module, weights: Weights) -> None:
    """Copy weights into a network; every tensor must be there, of the right shape and finite."""
    mine = model.state_dict()
    faults = [f"{name} is missing" for name in mine.keys() - weights.tensors.keys()]
    faults += [f"{name} is unknown" for name in weights.tensors.keys() - mine.keys()]
    for name in mine.keys() & weights.tensors.keys():
        value = weights.tensors[name]
        if value.shape != mine[name].shape:
            faults.append(f"{name} is {tuple(value.shape)}, not {tuple(mine[name].shape)}")
        elif not torch.isfinite(value).all():
            faults.append(f"{name} is not finite")
    if faults:
        raise CheckpointError(f"the weights do not fit the network: {_few(sorted(faults))}",
                              where=str(weights.path),
                              hint="use the weights with their own backbone")
    model.load_state_dict(weights.tensors)


def check_same(saved: Any, wanted: Any, what: str, path: Path) -> None:
    """Raise `CheckpointError` that lists the differing fields, unless both trees are equal."""
    lines = configs.differing(saved, wanted)
    if lines:
        raise CheckpointError(f"{what} differ: {_few(lines)}", where=str(path),
                              hint="use the configuration of the run, or train anew")


def check_labels(saved: Labels, given: Labels, path: Path) -> None:
    """Raise `CheckpointError` unless the data has the network's classes and parts, in order."""
    pairs = {"class": (saved.class_names, given.class_names),
             "part": (saved.part_names, given.part_names)}
    for kind, (mine, other) in pairs.items():
        if mine == other:
            continue
        lost, new = [n for n in mine if n not in other], [n for n in other if n not in mine]
        said = [f"{len(lost)} known to the network only ({_few(lost)})"] if lost else []
        said += [f"{len(new)} in the data only ({_few(new)})"] if new else []
        raise CheckpointError(f"{kind} names differ: {', '.join(said) or 'in another order'}",
                              where=str(path), hint="evaluate on the data set of the training")
    if saved.category_parts != given.category_parts:
        raise CheckpointError("the parts of some classes differ", where=str(path),
                              hint="evaluate on the data set of the training")


def _few(lines: list[str]) -> str:
    more = f"; and {len(lines) - 5} more" if len(lines) > 5 else ""
    return "; ".join(lines[:5]) + more
