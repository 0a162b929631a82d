"""A tiny classifier that keeps the whole contract of a backbone; runs of it, shapes to search."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from helpers.clouds import haar
from helpers.tiny import TinyHyper
from helpers.tiny_run import use_tiny
from pcinv.engine import loading
from pcinv.engine.config import from_tree
from pcinv.engine.trainer import train
from pcinv.io import read_cloud, write
from pcinv.nn.backbone import Features
from pcinv.types import PointCloud


class TinyEncoder(nn.Module):
    """Quantiles of the radii of a cloud, two layers: invariant, quick, with dropout."""

    symmetry = "O(3)"
    min_points = 4
    needs_normals = False
    task = "classification"
    num_categories = 0

    def __init__(self, num_classes: int, hyper: TinyHyper | None = None) -> None:
        super().__init__()
        self.hyper = hyper = hyper or TinyHyper()
        self.first = nn.Linear(9, hyper.width)
        self.norm = nn.BatchNorm1d(hyper.width) if hyper.norm else nn.Identity()
        self.drop = nn.Dropout(hyper.dropout)
        self.second = nn.Linear(hyper.width, hyper.width)
        self.head = nn.Linear(hyper.width, num_classes)

    def forward(self, xyz, normal=None, mask=None, category=None):
        return self.forward_head(self.forward_features(xyz, normal))

    def forward_features(self, xyz, normal=None):
        radius = (xyz.double() - xyz.double().mean(1, keepdim=True)).norm(dim=-1)
        share = torch.linspace(0, 1, 9, dtype=radius.dtype, device=xyz.device)
        shape = radius.quantile(share, dim=1).T.to(self.first.weight.dtype)  # (B, 9)
        z = self.second(self.drop(self.norm(self.first(shape)).relu()))
        return Features(z, None, z[:, None])

    def forward_head(self, features, category=None):
        return self.head(features.global_)


def create_encoder(name, *, task="classification", num_classes=40, preset=None, num_categories=0,
                   **overrides):
    """Stand in for `pcinv.models.registry.create_model`."""
    return TinyEncoder(num_classes, TinyHyper(**overrides))


def use_encoder(patch: pytest.MonkeyPatch) -> None:
    """Let the engine build the tiny encoder and data set, whatever their names."""
    use_tiny(patch)
    patch.setattr(loading, "create_model", create_encoder)


def train_encoder(folder: Path, head: str = "matryoshka", seed: int = 0) -> Path:
    """Train a tiny encoder into a folder, with prefixes of 4, 8 and 16, and return the folder."""
    options = {"nesting": [4, 8, 16]} if head == "matryoshka" else {}
    config = from_tree({
        "model": {"head": head, "head_options": options}, "data": {"num_points": 32},
        "augment": {"dropout": 0.0, "stretch": 1.0}, "optim": {"lr": 0.02, "warmup_epochs": 0},
        "train": {"epochs": 6, "batch_size": 6, "device": "cpu"}, "seed": seed})
    with pytest.MonkeyPatch.context() as patch:
        use_encoder(patch)
        return train(config, output=folder).path


def write_shapes(folder: Path, count: int = 6, seed: int = 0) -> list[Path]:
    """Write clouds of different shape, a<k>.ply, into a folder and the folder sub in it."""
    rng = np.random.default_rng(seed)
    (folder / "sub").mkdir(parents=True, exist_ok=True)
    files = []
    for k in range(count):
        cloud = rng.normal(size=(60, 3)) * rng.uniform(0.05, 1, 3)
        files.append(folder / ("sub" if k % 2 else "") / f"a{k}.ply")
        write(files[-1], PointCloud(cloud.astype(np.float32)))
    return files


def write_turned(file: Path, target: Path, seed: int = 0) -> Path:
    """Write a copy that is turned, shifted, scaled, and in another order."""
    rng = np.random.default_rng(seed)
    xyz = read_cloud(file).absolute()
    moved = 3 * xyz[rng.permutation(len(xyz))] @ haar(rng).T + [10, -20, 5]
    write(target, PointCloud(moved.astype(np.float32)))
    return target
