"""The data set `tins`: cylinders, cones and boxes of random proportions, generated when asked."""

from __future__ import annotations

import numpy as np

from pcinv.errors import unknown_name
from pcinv_data import Dataset
from pcinv_data.dataset import unit_ball

CLASSES = ["box", "cone", "cylinder"]
SPLITS = {"train": (0, 60), "val": (1, 15), "trainval": (0, 60), "test": (2, 30)}
"""Split -> own stream of random numbers, clouds."""


def list_datasets() -> list[str]:
    """Return the names that `load_dataset` knows."""
    return ["tins"]


def load_dataset(
    name: str, root: str | None = None, split: str = "train", *, num_points: int = 256,
    seed: int = 0, limit: int | None = None, task: str = "classification", **options: object,
) -> Dataset:
    """Return a split. Raises UnknownNameError for other names, so that other packages are asked."""
    if name not in list_datasets():
        raise unknown_name("data set", name, list_datasets())
    if split not in SPLITS:
        raise unknown_name("split", split, SPLITS)
    stream, count = SPLITS[split]
    count = min(count, limit or count)
    random = np.random.default_rng([seed, stream])
    labels = np.arange(count) % len(CLASSES)
    clouds = [unit_ball(draw(CLASSES[k], num_points, random), CLASSES[k]) for k in labels]
    return Dataset(
        name=name, split=split, task=task, layout="generated", class_names=list(CLASSES),
        labels=labels, names=[f"{CLASSES[k]}_{i:03d}" for i, k in enumerate(labels)],
        xyz=np.stack(clouds))


def draw(kind: str, count: int, random: np.random.Generator) -> np.ndarray:
    """Return (count, 3) points on the surface of one shape that stands on the xy plane."""
    height, width = random.uniform(0.5, 2.0, 2)
    if kind == "box":
        xyz = random.uniform(-0.5, 0.5, (count, 3))
        side = random.integers(0, 3, count)
        xyz[np.arange(count), side] = random.choice([-0.5, 0.5], count)
        return xyz * [width, 1.0, height]
    angle, share = random.uniform(0, 2 * np.pi, count), random.uniform(0, 1, count)
    radius = 0.5 * width * (np.sqrt(share) if kind == "cone" else np.ones(count))
    up = height * (1 - np.sqrt(share) if kind == "cone" else share)
    return np.stack((radius * np.cos(angle), radius * np.sin(angle), up), 1)
