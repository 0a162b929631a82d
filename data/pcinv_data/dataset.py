"""What a loader returns: arrays in memory, one `Sample` an item.

`Source` is the raw side (which shapes there are, and how to read some of them), `Dataset` the
prepared side (fixed number of points, centred, scaled into the unit ball).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from pcinv.errors import InputError
from pcinv.types import Sample


@dataclass(frozen=True)
class Raw:
    """One shape as it is stored. xyz : (N, 3).  normal : (N, 3) or None.  part : (N,) or None."""

    xyz: np.ndarray
    normal: np.ndarray | None = None
    part: np.ndarray | None = None


@dataclass(frozen=True)
class Request:
    """What a loader is asked for: the folder, its official part, and the loader's own options."""

    root: Path
    part: str  # "train" or "test"
    num_points: int = 1024
    seed: int = 0
    options: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Source:
    """The shapes of one official part of a data set, before any is read.

    labels : (M,) class index of each shape.  names : M names.  files : M paths, for messages.
    read : yields the shapes of the given positions, in that order.
    missing : files that the lists name but the folder lacks.
    validation : (M,) bool where the data set has an official validation split.
    part_names : global part ids of each class.  part_labels : global part id -> `class/part`.
    """

    layout: str
    class_names: list[str]
    labels: np.ndarray
    names: list[str]
    files: list[str]
    read: Callable[[Sequence[int]], Iterator[Raw]]
    missing: list[str] = field(default_factory=list)
    validation: np.ndarray | None = None
    part_names: dict[int, list[int]] | None = None
    part_labels: list[str] | None = None


@dataclass(frozen=True)
class Dataset:
    """A split in memory; picklable, so that loader workers can hold it.

    xyz : (M, N, 3) float32.  normal : (M, N, 3) float32 or None.  part : (M, N) int64 or None.
    labels : (M,) int64 class index.  names : what a person recognises each shape by.
    part_names : class index -> its global part ids.  part_labels : global part id -> name.
    """

    name: str
    split: str
    task: str
    layout: str
    class_names: list[str]
    labels: np.ndarray
    names: list[str]
    xyz: np.ndarray
    normal: np.ndarray | None = None
    part: np.ndarray | None = None
    part_names: dict[int, list[int]] | None = None
    part_labels: list[str] | None = None

    @property
    def has_normals(self) -> bool:
        """Whether every sample carries normals (all do, or none)."""
        return self.normal is not None

    @property
    def num_parts(self) -> int:
        """Number of global part ids; 0 where the data set has none."""
        return len(self.part_labels or ())

    @property
    def num_points(self) -> int:
        """Points a sample."""
        return self.xyz.shape[1]

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> Sample:
        return Sample(
            xyz=self.xyz[index], label=int(self.labels[index]), name=self.names[index],
            normal=None if self.normal is None else self.normal[index],
            part=None if self.part is None else self.part[index])

    def __iter__(self) -> Iterator[Sample]:
        return (self[i] for i in range(len(self)))


def unit_ball(xyz: np.ndarray, where: str) -> np.ndarray:
    """Centre (N, 3) points on their mean and divide by the largest radius; float32.

    Raises InputError for points that are not finite or all alike.
    """
    points = np.asarray(xyz, dtype=np.float64)
    bad = ~np.isfinite(points).all(1)
    if bad.any():
        raise InputError(f"{int(bad.sum())} of {len(bad)} points are not finite", where=where,
                         hint="repair or remove this file")
    points = points - points.mean(0)
    radius = float(np.sqrt((points * points).sum(1).max()))
    if not radius > 0:
        raise InputError("all points are alike, so the shape has no size", where=where,
                         hint="remove this file")
    return (points / radius).astype(np.float32)
