"""A run folder of the tiny network, for tests of what shows runs."""

from pathlib import Path

import pytest

from helpers.tiny import create_tiny, load_tiny
from pcinv.engine import datasets, evaluator, loading
from pcinv.engine.config import from_tree
from pcinv.engine.trainer import train


def use_tiny(patch: pytest.MonkeyPatch) -> None:
    """Let the engine build the tiny network and data set, whatever their names."""
    patch.setattr(loading, "create_model", create_tiny)
    patch.setattr(datasets, "load_dataset", load_tiny)
    patch.setattr(evaluator, "load_dataset", load_tiny)


def train_tiny(folder: Path, task: str = "classification", epochs: int = 3, lr: float = 0.02
               ) -> Path:
    """Train a tiny network into a folder and return it."""
    config = from_tree({
        "model": {"task": task}, "data": {"num_points": 32},
        "augment": {"dropout": 0.0, "stretch": 1.0}, "optim": {"lr": lr, "warmup_epochs": 0},
        "train": {"epochs": epochs, "batch_size": 6, "device": "cpu"}})
    with pytest.MonkeyPatch.context() as patch:
        use_tiny(patch)
        return train(config, output=folder).path
