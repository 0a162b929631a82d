"""Scans to learn from: which ones there are in a split, and each when it is asked for.

Generated streets: a split is streets of its own. Files: a sequence is split in the order of time,
never by turns, since neighbouring scans are all but the same; SemanticKITTI's sequence 08 is what
is tested on where others are there to learn from.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Int

from pcinv.engine.config import Config
from pcinv.engine.providers import from_providers
from pcinv.engine.sequences import ScanSequence
from pcinv.errors import ConfigError, DatasetError, UsageError, nearest, unknown_name
from pcinv.metrics.flow import meta_classes
from pcinv.tasks import Labels
from pcinv.tasks.detection import CLASSES
from pcinv.types import Scan

logger = logging.getLogger(__name__)

STREETS = {"streets": 8, "scans": 25, "every": 5, "test_streets": 3, "beams": 32,
           "columns": 512, "seed": 0}
"""Of generated streets: how many to learn from, scans of each, one of so many in time."""
_VAL, _TEST = 10_000, 20_000
TEST_SHARE = 0.2
KEPT_BYTES = 1 << 30
"""Of scans that are kept once they were read or made."""
SPLITS = ("train", "val", "test")


class ScanPool:
    """Scans of a split.

    places : (sequence, index) of each.  reach : points farther off along x or y are left out.
    label_places : rows of `places` whose labels may be seen.
    """

    def __init__(self, sequences: Sequence[ScanSequence], places: Sequence[tuple[int, int]],
                 reach: float, label_fraction: float = 1.0) -> None:
        self.sequences, self.places, self.reach = sequences, list(places), reach
        count = max(1, round(label_fraction * len(self.places)))
        self.label_places = np.unique(np.linspace(0, len(self.places) - 1, count).round()
                                      .astype(int)).tolist()
        self._kept: dict[tuple[int, int], Scan] = {}
        self._bytes = 0
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self.places)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes of points."""
        return tuple(self.sequences[0].class_names)

    def labels(self, task: str) -> Labels:
        """Return what a network for this task tells apart.

        Raises DatasetError where the scans have no labels for it.
        """
        if task in ("pretraining", "flow"):
            return Labels(())
        first = self[0]
        if task == "segmentation":
            if first.label is None or not self.class_names:
                raise DatasetError("the scans have no classes of points", where="data.dataset",
                                   hint="semantickitti, nuscenes or lidar_sim")
            return Labels(self.class_names)
        if first.boxes is None:
            raise DatasetError("the scans have no boxes", where="data.dataset",
                               hint="argoverse2 or lidar_sim")
        return Labels(CLASSES)

    def __getitem__(self, row: int) -> Scan:
        """Return a scan; boxes have labels of `CLASSES`, -1 for others."""
        return self._get(*self.places[row])

    def before(self, row: int) -> Scan | None:
        """Return the scan before one, of the same sequence; None for the first of all."""
        sequence, index = self.places[row]
        return self._get(sequence, index - 1) if index > 0 else None

    def _get(self, sequence: int, index: int) -> Scan:
        kept = self._kept.get((sequence, index))
        if kept is not None:
            return kept
        source = self.sequences[sequence]
        scan = _within(source[index], self.reach)
        if scan.boxes is not None:
            scan = replace(scan, boxes=replace(
                scan.boxes, label=_detected(source.class_names)[scan.boxes.label]))
        size = sum(v.nbytes for v in vars(scan).values() if isinstance(v, np.ndarray))
        with self._lock:
            if self._bytes + size <= KEPT_BYTES:
                self._kept[sequence, index] = scan
                self._bytes += size
        return scan

    def class_counts(self) -> Int[np.ndarray, " k"]:
        """Return how many points of each class the scans with labels have; of up to 64 of them."""
        total = np.zeros(len(self.class_names), np.int64)
        rows = self.label_places
        for k in np.unique(np.linspace(0, len(rows) - 1, min(64, len(rows))).astype(int)):
            label = self[rows[k]].label
            if label is not None:
                total += np.bincount(label[label >= 0], minlength=len(total))
        return total


def thin(scan: Scan, rows: np.ndarray) -> Scan:
    """Return some of the points of a scan."""
    changed = {name: value[rows] for name, value in vars(scan).items()
               if isinstance(value, np.ndarray) and name != "T_world_sensor"}
    return replace(scan, **changed)


def _within(scan: Scan, reach: float) -> Scan:
    near = np.abs(scan.xyz[:, :2]).max(axis=1) < reach
    if not near.any():
        raise DatasetError(f"no point of the scan is within {reach:g} m", where=scan.name,
                           hint="is the sensor at the origin, and z up?")
    return thin(scan, np.flatnonzero(near))


def _detected(class_names: Sequence[str]) -> Int[np.ndarray, " c"]:
    """Return the detected class of each class of a data set, and -1 at the end, for none."""
    meta = meta_classes(tuple(class_names))
    return np.append(np.where(meta > 0, meta - 1, -1), -1)


def load_scans(config: Config, split: str, reach: float) -> ScanPool:
    """Return the scans of a split ("train", "val" or "test") of the configured data.

    reach : points farther off along x or y are left out, metres.

    Raises
    ------
    UnknownNameError for a split or data set, UsageError without a folder.
    DatasetError without a scan.
    ConfigError for an option that the data does not take.
    """
    if split not in SPLITS:
        raise unknown_name("split", split, SPLITS)
    data = config.data
    if data.dataset == "lidar_sim" and data.root is None:
        sequences, places = _streets(config, split)
    else:
        sequences, places = _files(config, split)
    if not places:
        raise DatasetError(f"no scans in split '{split}'", where=str(data.root or data.dataset),
                           hint="more scans, or another data.val_fraction")
    if data.limit is not None and len(places) > data.limit:
        kept = np.linspace(0, len(places) - 1, data.limit).round().astype(int)
        places = [places[k] for k in kept]
    fraction = data.label_fraction if split == "train" else 1.0
    return ScanPool(sequences, places, reach, fraction)


def _streets(config: Config, split: str) -> tuple[list[ScanSequence], list[tuple[int, int]]]:
    options = STREETS | config.data.options
    for key in options:
        if key not in STREETS:
            near = nearest(key, STREETS) or list(STREETS)
            raise ConfigError(f"unknown option '{key}'", where=f"data.options.{key}",
                              hint=f"did you mean {' or '.join(near)}?")
        if not isinstance(options[key], int) or isinstance(options[key], bool) or options[key] < 0:
            raise ConfigError(f"{key} is {options[key]!r}", where=f"data.options.{key}",
                              hint="a whole number")
    count = options["streets"] if split == "train" else options["test_streets"]
    if split == "val":
        count = max(1, round(options["streets"] * config.data.val_fraction))
    first = options["seed"] + {"train": 0, "val": _VAL, "test": _TEST}[split]
    length, every = options["scans"], max(1, options["every"])
    made = [from_providers("generate_sequence", "lidar_sim", scans=length * every + 1,
                           seed=first + k, beams=options["beams"], columns=options["columns"])
            for k in range(count)]
    return made, [(k, 1 + every * i) for k in range(count) for i in range(length)]


def _files(config: Config, split: str) -> tuple[list[ScanSequence], list[tuple[int, int]]]:
    data = config.data
    if data.root is None:
        raise UsageError(f"{data.dataset} needs the folder of your copy", where="data.root",
                         hint="--root DIR")
    layout = {"kitti-odometry": "kitti"}.get(data.dataset, data.dataset)
    there: dict[str, Path] = from_providers("list_sequences", data.root, format=layout)
    official = data.dataset == "semantickitti" and "08" in there and len(there) > 1
    if data.dataset == "semantickitti":
        there = {name: path for name, path in there.items() if int(name) < 11}
    sequences: list[ScanSequence] = []
    places: list[tuple[int, int]] = []
    for name, path in there.items():
        if official and (name == "08") != (split == "test"):
            continue
        found = from_providers("open_sequence", str(path), format=layout, sequence=name,
                               **data.options)
        rows = range(len(found)) if official and split == "test" else _of_time(
            len(found), split, data.val_fraction, 0.0 if official else TEST_SHARE)
        places += [(len(sequences), index) for index in rows]
        sequences.append(found)
    return sequences, places


def _of_time(count: int, split: str, val_fraction: float, test_share: float) -> range:
    """Return the scans of a split: first those to learn from, then validation, then test."""
    test = count - round(test_share * count)
    val = test - round(val_fraction * test)
    return {"train": range(val), "val": range(val, test), "test": range(test, count)}[split]
