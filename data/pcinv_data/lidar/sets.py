"""The one table of data sets of LiDAR sequences, and the checking of a copy."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pcinv.errors import PcinvError
from pcinv_data.lidar.layouts import list_sequences, open_sequence
from pcinv_data.manifest import Manifest, read_manifest

MAX_SCANS = 200
"""Scans that are read whole, spread evenly over all."""


@dataclass(frozen=True)
class SequenceSet:
    """One row of the table.

    format : its key in `LAYOUTS`.  tasks : what it has the truth of.
    most : sequences of which the lists are read to check a copy; spread evenly over all.
    needs_root : it is a copy of files. Those that do not are generated.
    """

    name: str
    format: str
    manifest_name: str
    tasks: tuple[str, ...] = ("odometry",)
    most: int = 10_000
    needs_root: bool = True

    @property
    def manifest(self) -> Manifest:
        """Terms, layout and sizes."""
        return read_manifest(self.manifest_name)


SEQUENCE_SETS: dict[str, SequenceSet] = {
    row.name: row for row in (
        SequenceSet("kitti-odometry", "kitti", "kitti_odometry"),
        SequenceSet("semantickitti", "semantickitti", "semantickitti"),
        SequenceSet("nuscenes", "nuscenes", "nuscenes", most=10),  # tables of 2 GB are read anew
        SequenceSet("argoverse2", "argoverse2", "argoverse2", ("odometry", "flow")),
        SequenceSet("lidar_sim", "lidar_sim", "lidar_sim", ("odometry", "flow"), needs_root=False),
    )
}


def check_copy(name: str, root: Path) -> tuple[list[str], list[str], dict[str, int]]:
    """Return the problems of a copy, notes on it, and how many sequences and scans there are.

    The lists of up to `most` sequences are read, and some scans of each.

    Raises DependencyError where a package is missing that reads them.
    """
    format = SEQUENCE_SETS[name].format
    problems: list[str] = []
    notes: list[str] = []
    try:
        there = list_sequences(root, format)
    except PcinvError as error:
        return [_text(error)], notes, {}
    chosen = spread(len(there), SEQUENCE_SETS[name].most)
    scans, read = 0, 0
    for sequence, folder in (list(there.items())[k] for k in chosen):
        try:
            found = open_sequence(folder, format, sequence=sequence)
        except PcinvError as error:
            _tell(problems, error)
            continue
        scans += len(found)
        notes += [f"{sequence}: no {part}" for part in found.missing]
        notes += [f"{sequence}: {note}" for note in found.notes]
        for k in spread(len(found), max(2, MAX_SCANS // len(chosen))):
            read += 1
            try:
                found[k]
            except PcinvError as error:
                _tell(problems, error)
    if len(chosen) < len(there):
        notes.append(f"{len(chosen)} of {len(there)} sequences were looked at")
    if read < scans:
        notes.append(f"{read} of {scans} scans were read whole")
    return problems, notes, {"sequences": len(there), "scans": scans}


def spread(count: int, most: int) -> list[int]:
    """Return at most so many whole numbers below the count, evenly spread, with both ends."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).astype(int)).tolist()


def _tell(problems: list[str], error: PcinvError) -> None:
    if error.exit_code == 4:
        raise error
    problems.append(_text(error))


def _text(error: PcinvError) -> str:
    return f"{error.where}: {error.message}" if error.where else error.message
