"""Runs of the engine on the tiny network and data set."""

import pytest

from helpers.tiny import create_tiny, load_tiny
from pcinv.engine import datasets, evaluator, loading
from pcinv.engine.config import Config, from_tree


@pytest.fixture
def tiny(monkeypatch):
    """Let the engine build the tiny network and data set, whatever their names."""
    monkeypatch.setattr(loading, "create_model", create_tiny)
    monkeypatch.setattr(datasets, "load_dataset", load_tiny)
    monkeypatch.setattr(evaluator, "load_dataset", load_tiny)


@pytest.fixture
def make_config():
    """Return a function that makes a small configuration with changes: make_config(train={...})."""

    def make(**sections) -> Config:
        tree = {
            "data": {"num_points": 32, "protocol": "so3/so3"},
            "optim": {"lr": 0.02, "warmup_epochs": 1},
            "train": {"epochs": 4, "batch_size": 6, "device": "cpu"},
        }
        for name, values in sections.items():
            tree[name] = {**tree.get(name, {}), **values} if isinstance(values, dict) else values
        return from_tree(tree)

    return make
