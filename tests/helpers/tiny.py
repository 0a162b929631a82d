"""A tiny network and data set, so that tests of the engine take milliseconds a step."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from pcinv.types import Sample

CLASSES = ("ball", "disc", "rod")
EXTENTS = ((1, 1, 1), (1, 1, 0.02), (1, 0.02, 0.02))


@dataclass(frozen=True)
class TinyHyper:
    """Hyper-parameters of `TinyNetwork`."""

    width: int = 16
    dropout: float = 0.1
    norm: bool = True


class TinyNetwork(nn.Module):
    """Extents and radii, a shared layer, mean pooling: invariant, quick, with dropout.

    Takes what every backbone takes; clouds have one size here, so the mask is left alone.
    """

    symmetry = "O(3)"
    min_points = 4
    needs_normals = False

    def __init__(self, task: str, num_outputs: int, num_categories: int, hyper: TinyHyper) -> None:
        super().__init__()
        self.task, self.hyper, self.num_categories = task, hyper, num_categories
        self.first = nn.Linear(4, hyper.width)
        self.norm = nn.BatchNorm1d(hyper.width) if hyper.norm else nn.Identity()
        self.drop = nn.Dropout(hyper.dropout)
        both = 2 if task == "part_segmentation" else 1
        self.last = nn.Linear(both * hyper.width + num_categories, num_outputs)

    def forward(self, xyz, normal=None, mask=None, category=None):
        centred = xyz - xyz.mean(1, keepdim=True)
        extent = torch.linalg.svdvals(centred)[:, None].expand_as(xyz) / xyz.shape[1] ** 0.5
        point = torch.cat([centred.norm(dim=-1, keepdim=True), extent], -1)  # (B, N, 4)
        point = self.norm(self.first(point).transpose(1, 2)).transpose(1, 2).relu()
        whole = self.drop(point.mean(1))  # (B, C)
        if self.task == "part_segmentation":
            whole = whole[:, None].expand_as(point)
            features = [point, whole]
        else:
            features = [whole]
        if self.num_categories:
            told = nn.functional.one_hot(category, self.num_categories).to(whole)
            features.append(told[:, None].expand(-1, xyz.shape[1], -1))
        return self.last(torch.cat(features, -1))


def create_tiny(name, *, task="classification", num_classes=40, preset=None, num_categories=0,
                **overrides):
    """Stand in for `pcinv.models.registry.create_model`."""
    return TinyNetwork(task, num_classes, num_categories, TinyHyper(**overrides))


class TinyData:
    """Clouds of three kinds, seeded; a label for each half of the cloud as its part."""

    def __init__(self, count=20, num_points=32, seed=0, normals=False, class_names=CLASSES):
        self.class_names = list(class_names)
        self.part_names = {0: [0, 1], 1: [2, 3], 2: [4]}
        self.part_labels = ["ball/in", "ball/out", "disc/in", "disc/out", "rod/all"]
        self.labels = np.arange(count) % 3
        self.num_points, self.seed, self.has_normals = num_points, seed, normals

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        rng = np.random.default_rng((self.seed, index))
        label = int(self.labels[index])
        xyz = rng.normal(size=(self.num_points, 3)) * EXTENTS[label]
        xyz -= xyz.mean(0)
        radius = np.linalg.norm(xyz, axis=1)
        xyz = (xyz / radius.max()).astype(np.float32)
        outer = (radius > np.median(radius)).astype(np.int64)
        part = {0: outer, 1: 2 + outer, 2: np.full_like(outer, 4)}[label]
        normal = xyz / np.linalg.norm(xyz, axis=1, keepdims=True) if self.has_normals else None
        return Sample(xyz, label, f"cloud{index}", normal, part)


def load_tiny(name, *, root=None, split="train", num_points=32, seed=0, val_fraction=0.1,
              limit=None, task="classification", **options):
    """Stand in for `pcinv.engine.datasets.load_dataset`."""
    count = {"train": 20, "val": 6, "test": 9}[split]
    return TinyData(min(limit or count, count), num_points, ("train", "val", "test").index(split),
                    **options)
