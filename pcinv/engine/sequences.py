"""Sequences of LiDAR scans, from every installed package that can read some."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from pcinv.engine.providers import from_providers
from pcinv.types import Scan


class ScanSequence(Protocol):
    """Scans of one sensor in the order of time, each read when it is asked for.

    name, format, path : of the sequence, of its layout, its folder.
    class_names : what the labels of its scans stand for; empty where there are none.
    names : of the scans, without reading any.
    poses : (M, 4, 4) float64 T_world_sensor, or None.  stamps : (M,) float64 seconds, or None.
    skipped : name -> why, of what was left out.  notes : what a person should know.
    """

    name: str
    format: str
    path: Any
    class_names: Sequence[str]
    names: Sequence[str]
    poses: Any
    stamps: Any
    skipped: dict[str, str]
    notes: list[str]

    def __len__(self) -> int:
        """Return the number of scans."""

    def __getitem__(self, index: int) -> Scan:
        """Read a scan, with its pose and stamp."""

    def __iter__(self) -> Iterator[Scan]:
        """Read one scan after the other."""

    def prefetch(self, workers: int = 1, ahead: int | None = None) -> Iterator[Scan]:
        """Iterate, with threads that read the next scans meanwhile."""

    def describe(self) -> dict[str, Any]:
        """Return what a person asks first, as plain values."""


def open_sequence(path: str | os.PathLike[str], format: str | None = None, **options: Any
                  ) -> ScanSequence:
    """Open a sequence of LiDAR scans in a data set's own layout; only its lists are read.

    path : the folder of a sequence, or one that holds sequences.
    format : "kitti", "semantickitti", "nuscenes", "argoverse2", "scene-flow" or "plain"; None: what
        the folder looks like.
    options : `sequence`, which one of several; `poses` and `times`, files of a plain folder;
        `flow`, a folder of Argoverse 2; `on_error="skip"` to leave out scans that are damaged,
        missing or without a pose, told in `skipped`. See `pcinv_data.lidar.open_sequence`.

    Raises
    ------
    DatasetError : the folder is no such sequence, or not a whole one.
    FileFormatError : a damaged file, where its scan or list is read.
    UsageError, UnknownNameError : a wrong option, format or sequence, or several and none chosen.
    DependencyError : the layout needs a package that is not installed.

    >>> scans = open_sequence("kitti", sequence="00")  # doctest: +SKIP
    >>> [len(scan) for scan in scans.prefetch()]  # doctest: +SKIP
    [124668, 124605, 124478, 124167]
    """
    found: ScanSequence = from_providers("open_sequence", os.fspath(path), format=format, **options)
    return found
