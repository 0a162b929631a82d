"""A sequence of scans: what is known of it without reading one, and each scan when it is asked for.

A layout finds a `Listing`; `pcinv_data.lidar.rules` holds it against the rules, and what is left is
a `ScanSequence`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from pcinv.errors import InputError, UsageError
from pcinv.io.source import open_source
from pcinv.types import Scan

FIELDS = ("intensity", "time", "ring", "label", "instance", "flow", "is_ground", "boxes")


class SequenceWarning(UserWarning):
    """Something in a sequence that a person should know of, and that does not stop the reading."""


@dataclass
class Request:
    """What `open_sequence` was asked for.

    path : what `Layout.find` gave for this sequence.  sequence : its name.
    poses, times, flow : see `open_sequence`.  skip : go on without what is missing.
    """

    path: Path
    sequence: str
    poses: Path | None = None
    times: Path | None = None
    flow: Path | None = None
    skip: bool = False


@dataclass
class Listing:
    """What a layout tells of a sequence without reading a scan.

    names : of all scans, in their order.  read : position -> scan, without its pose and stamp.
    numbers : of the scans, where their names are numbers that must follow each other.
    poses : (P, 4, 4), stamps : (S,), in the order of their files, which `poses_file`, `times_file`
        name: P and S are held against the number of scans. Both by scan where no file is named.
    lacking : position -> (what is missing for this scan, where).
    notes : what a person should know.  missing : parts of the layout that are not there.
    """

    name: str
    path: Path
    names: list[str]
    read: Callable[[int], Scan]
    class_names: tuple[str, ...] = ()
    numbers: list[int] | None = None
    poses: np.ndarray | None = None
    stamps: np.ndarray | None = None
    poses_file: Path | None = None
    times_file: Path | None = None
    lacking: dict[int, tuple[str, str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)


@dataclass(eq=False)
class ScanSequence:
    """Scans of one sensor in the order of time, each read when it is asked for.

    name : of the sequence.  format : a key of `pcinv_data.lidar.LAYOUTS`.  path : its folder.
    class_names : what the labels of its scans stand for; empty where there are none.
    names : of the scans, without reading any.
    poses : (M, 4, 4) float64 T_world_sensor, or None.  The world is the frame in which the data set
        gives its poses: see the layout.
    stamps : (M,) float64 seconds, increasing, or None.
    num_jumps : neighbours whose poses are too far from each other to be true.
    skipped : name -> why, of what was left out with `on_error="skip"`; grows while scans are read.
    notes : what a person should know.  missing : parts of the layout that are not there.

    Scans are read whole and not kept, so that a loop takes the memory of one. `sequence[i]` raises
    for a damaged scan; a loop over the sequence leaves it out with `on_error="skip"`.
    """

    name: str
    format: str
    path: Path
    class_names: tuple[str, ...]
    names: Sequence[str]
    poses: np.ndarray | None
    stamps: np.ndarray | None
    num_jumps: int
    skipped: dict[str, str]
    notes: list[str]
    missing: list[str]
    _read: Callable[[int], Scan]
    _skip: bool = False

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Scan:
        """Read a scan, with its pose and stamp.

        Raises
        ------
        FileFormatError : its file is cut off, empty, or not of the format.
        InputError : it has no points, or some that are not finite.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"scan {index} of {len(self)}")
        scan = self._read(index)
        pose = None if self.poses is None else self.poses[index]
        if pose is not None and scan.T_world_sensor is not None:  # the scan's own origin
            pose = pose @ scan.T_world_sensor
        return replace(
            scan, T_world_sensor=scan.T_world_sensor if pose is None else pose,
            stamp=None if self.stamps is None else float(self.stamps[index]))

    def __iter__(self) -> Iterator[Scan]:
        return self._each(lambda index: self[index])

    def prefetch(self, workers: int = 1, ahead: int | None = None) -> Iterator[Scan]:
        """Iterate with threads that read the next scans while this one is worked on.

        workers : threads.
        ahead : scans that are read before they are asked for; one more than there are threads if
            None. Memory is that of so many scans and the one that is worked on.

        Raises UsageError for less than one of either, and what `sequence[i]` does.
        """
        ahead = workers + 1 if ahead is None else ahead
        if workers < 1 or ahead < 1:
            raise UsageError(f"workers = {workers}, ahead = {ahead}", where="prefetch",
                             hint="one or more of each")
        return self._prefetched(workers, ahead)

    def _prefetched(self, workers: int, ahead: int) -> Iterator[Scan]:
        pool = ThreadPoolExecutor(workers, "pcinv-scans")
        waiting: deque[Future[Scan]] = deque()
        asked = iter(range(len(self)))

        def ask() -> None:
            with suppress(StopIteration):
                waiting.append(pool.submit(self.__getitem__, next(asked)))

        def take(index: int) -> Scan:
            future = waiting.popleft()
            ask()
            return future.result()

        try:
            for _ in range(ahead):
                ask()
            yield from self._each(take)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _each(self, read: Callable[[int], Scan]) -> Iterator[Scan]:
        for index, name in enumerate(self.names):
            try:
                scan = read(index)
            except InputError as error:
                if not self._skip:
                    raise
                self.skipped.setdefault(name, error.message)
                continue
            yield scan

    def describe(self) -> dict[str, Any]:
        """Return what a person asks first, as plain values; reads the first scan only.

        name, format, path, num_scans, num_points and fields of the first scan, class_names, poses
        and stamps (whether there are any), path_length (m), duration (s), hz, num_jumps, skipped
        {name: why}, missing, notes.
        """
        first = next(iter(self), None)
        if first is None:
            raise InputError(f"none of {len(self)} scans can be read: "
                             + next(iter(self.skipped.values())), where=str(self.path),
                             hint="pcinv data verify says what is wrong")
        length = duration = hz = None
        if self.poses is not None:
            places = self.poses[:, :3, 3]
            length = float(np.linalg.norm(np.diff(places, axis=0), axis=1).sum())
        if self.stamps is not None and len(self) > 1:
            duration = float(self.stamps[-1] - self.stamps[0])
            hz = float(1 / np.median(np.diff(self.stamps)))
        return {
            "name": self.name, "format": self.format, "path": str(self.path),
            "num_scans": len(self), "num_points": len(first),
            "fields": [name for name in FIELDS if getattr(first, name) is not None],
            "class_names": list(self.class_names), "poses": self.poses is not None,
            "stamps": self.stamps is not None, "path_length": length, "duration": duration,
            "hz": hz, "num_jumps": self.num_jumps, "skipped": dict(self.skipped),
            "missing": list(self.missing), "notes": list(self.notes)}


def checked(scan: Scan, where: Path) -> Scan:
    """Return the scan if it has points and all of them are finite.

    Raises InputError, which names the first row at fault.
    """
    if not len(scan):
        raise InputError("the scan has no points", where=str(where),
                         hint='get the file again, or on_error="skip"')
    if not np.isfinite(scan.xyz).all():
        bad = ~np.isfinite(scan.xyz).all(1)
        raise InputError(f"{int(bad.sum())} of {len(scan)} points are not finite",
                         where=f"{where} (row {int(bad.argmax())})",
                         hint='get the file again, or on_error="skip"')
    return scan


def of_points(values: np.ndarray, count: int, file: Path, what: str) -> np.ndarray:
    """Return the values if there is one for each of the `count` points of a scan.

    Raises FileFormatError.
    """
    if len(values) != count:
        raise open_source(file).error(f"{len(values)} {what} for {count} points",
                                      hint="both files must be of one release; get both again")
    return values
