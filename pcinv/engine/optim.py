"""Optimiser and learning rate; the optimiser's state as plain tensors."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter

from pcinv.engine.config import OptimConfig
from pcinv.errors import CheckpointError

_FLOOR = 0.01
"""The cosine schedule ends at this share of the learning rate."""


def make_optimizer(config: OptimConfig, parameters: Iterable[Parameter]) -> torch.optim.Optimizer:
    """Return the configured optimiser."""
    if config.name == "sgd":
        return torch.optim.SGD(parameters, lr=config.lr, momentum=0.9, nesterov=True,
                               weight_decay=config.weight_decay)
    kind = torch.optim.AdamW if config.name == "adamw" else torch.optim.Adam
    return kind(parameters, lr=config.lr, weight_decay=config.weight_decay)


def learning_rate(config: OptimConfig, step: int, steps_per_epoch: int, epochs: int) -> float:
    """Return the learning rate of a step (counted from 0); it depends on nothing else."""
    warmup = min(round(config.warmup_epochs * steps_per_epoch), steps_per_epoch * epochs)
    if step < warmup:
        return config.lr * (step + 1) / warmup
    if config.schedule == "step":
        return config.lr * config.decay ** (step // steps_per_epoch // config.decay_epochs)
    if config.schedule == "cosine":
        done = (step - warmup) / max(1, steps_per_epoch * epochs - warmup)
        return config.lr * (_FLOOR + (1 - _FLOOR) * (1 + math.cos(math.pi * done)) / 2)
    return config.lr


def optimizer_state(
    optimizer: torch.optim.Optimizer,
) -> tuple[dict[str, Tensor], list[dict[str, Any]]]:
    """Return the optimiser's tensors by name, and its parameter groups as plain values."""
    state = optimizer.state_dict()
    tensors = {
        f"{index}.{name}": value
        for index, values in state["state"].items()
        for name, value in values.items()
        if value is not None
    }
    return tensors, state["param_groups"]


def restore_optimizer(
    optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor], groups: list[dict[str, Any]]
) -> None:
    """Put an optimiser over the same parameters back to a captured state.

    Raises
    ------
    CheckpointError where the state belongs to another set of parameters.
    """
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        index, _, name = key.partition(".")
        state.setdefault(int(index), {})[name] = value
    try:
        optimizer.load_state_dict({"state": state, "param_groups": groups})
    except (ValueError, KeyError, RuntimeError) as error:
        raise CheckpointError(f"the optimiser's state does not fit: {error}",
                              where="state.safetensors",
                              hint="resume with the configuration of the run") from error
