"""A small network and a few coarse scans of a street, for tests of what learns from scans."""

from pcinv.engine.config import Config, from_tree

NETWORK = {"reach": 16.0, "cell": 1.0, "channels": [8, 16, 16, 16], "projection": 16}
STREETS = {"streets": 1, "scans": 4, "every": 2, "test_streets": 1, "beams": 16, "columns": 128}


def tiny(task: str = "pretraining", **changes: dict) -> Config:
    """Return a configuration; changes : section -> keys."""
    tree = {
        "model": {"backbone": "pillar_bev", "task": task, "overrides": dict(NETWORK)},
        "data": {"dataset": "lidar_sim", "num_points": 400, "val_fraction": 0.0,
                 "options": dict(STREETS), "protocol": "none/none"},
        "optim": {"lr": 2e-3, "weight_decay": 0.01, "warmup_epochs": 0.0, "label_smoothing": 0.0},
        "train": {"epochs": 2, "batch_size": 2, "device": "cpu"},
        "pretrain": {"matches": 64},
    }
    for section, keys in changes.items():
        tree[section] = {**tree[section], **keys}
    return from_tree(tree)
