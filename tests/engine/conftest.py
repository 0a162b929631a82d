"""Runs of the engine on the tiny network and data set."""

import os

import pytest
from helpers.tiny import create_tiny, load_tiny

from pcinv.engine import datasets, evaluator, loading
from pcinv.engine.config import Config, from_tree
from pcinv.engine.trainer import train


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch, request):
    """Do not wait for the disk: only a power cut could tell the difference."""
    if "synced" not in request.node.name:
        monkeypatch.setattr(os, "fsync", lambda descriptor: None)


def use_tiny(patch: pytest.MonkeyPatch) -> None:
    """Let the engine build the tiny network and data set, whatever their names."""
    patch.setattr(loading, "create_model", create_tiny)
    patch.setattr(datasets, "load_dataset", load_tiny)
    patch.setattr(evaluator, "load_dataset", load_tiny)


def small_config(**sections) -> Config:
    """Return a small configuration with changes: small_config(train={...})."""
    tree = {
        "data": {"num_points": 32},
        "augment": {"dropout": 0.1, "stretch": 1.0},
        "optim": {"lr": 0.02, "warmup_epochs": 1},
        "train": {"epochs": 4, "batch_size": 6, "device": "cpu"},
    }
    for name, values in sections.items():
        tree[name] = {**tree.get(name, {}), **values} if isinstance(values, dict) else values
    return from_tree(tree)


@pytest.fixture
def tiny(monkeypatch):
    use_tiny(monkeypatch)


@pytest.fixture
def make_config():
    return small_config


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """Return a function from a task to the folder of a run that many tests may read."""
    runs = {}

    def run(task):
        if task not in runs:
            config = small_config(model={"task": task}, train={"epochs": 12})
            with pytest.MonkeyPatch.context() as patch:
                use_tiny(patch)
                runs[task] = train(config, output=tmp_path_factory.mktemp(task)).path
        return runs[task]

    return run
