"""SemanticKITTI: KITTI odometry with `labels/NNNNNN.label`, a uint32 a point.

The lower 16 bits are the class, the upper 16 the object. Of 34 classes in the files 19 are learned:
those that move are those that stand, and rare ones are left out. poses.txt lies in the sequence's
own folder; it is of the camera as KITTI's, and turned into the scanner's frame alike.
Behley, Garbade, Milioto, Quenzel, Behnke, Stachniss, Gall, ICCV 2019.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from pcinv.errors import FileFormatError
from pcinv.io.source import open_source
from pcinv.types import Scan
from pcinv_data.lidar import kitti
from pcinv_data.lidar.sequence import Listing, Request, of_points

LABELS = "labels"
CLASSES = ("car", "bicycle", "motorcycle", "truck", "other-vehicle", "person", "bicyclist",
           "motorcyclist", "road", "parking", "sidewalk", "other-ground", "building", "fence",
           "vegetation", "trunk", "terrain", "pole", "traffic-sign")
"""Of train ids 1 to 19, which are labels 0 to 18 of a `Scan`; train id 0, no class, is -1."""
TRAIN_OF_RAW = {
    0: 0, 1: 0, 10: 1, 11: 2, 13: 5, 15: 3, 16: 5, 18: 4, 20: 5, 30: 6, 31: 7, 32: 8, 40: 9, 44: 10,
    48: 11, 49: 12, 50: 13, 51: 14, 52: 0, 60: 9, 70: 15, 71: 16, 72: 17, 80: 18, 81: 19, 99: 0,
    252: 1, 253: 7, 254: 6, 255: 8, 256: 5, 257: 5, 258: 4, 259: 5}
"""The 34 classes of the files -> 0 (none) and 1 to 19."""
RAW_OF_TRAIN = (0, 10, 11, 15, 18, 20, 30, 31, 32, 40, 44, 48, 49, 50, 51, 70, 71, 72, 80, 81)
"""Train id -> the class that a file of predictions has."""
SPLITS = {"train": ("00", "01", "02", "03", "04", "05", "06", "07", "09", "10"), "val": ("08",),
          "test": tuple(f"{k:02d}" for k in range(11, 22))}

_TABLE = np.full(65536, -1, np.int64)
_TABLE[list(TRAIN_OF_RAW)] = list(TRAIN_OF_RAW.values())


def find(path: Path) -> dict[str, Path]:
    """Return name -> folder of the sequences with labels."""
    return {name: folder for name, folder in kitti.find(path).items()
            if (folder / LABELS).is_dir()}


def open_listing(request: Request) -> Listing:
    """List the scans of a sequence with their labels; one without is lacking."""
    folder = request.path.absolute()
    listing = kitti.list_scans(request, [
        folder / "poses.txt", folder.parent.parent / "poses" / f"{folder.name}.txt"])
    read, names = listing.read, listing.names
    files = [request.path / LABELS / f"{name}.label" for name in names]
    for position, file in enumerate(files):
        if not file.is_file():
            listing.lacking[position] = f"scan {names[position]} has no labels", str(file)
    listing.read = lambda position: _labelled(read(position), files[position])
    listing.class_names = CLASSES
    return listing


def _labelled(scan: Scan, file: Path) -> Scan:
    raw, instance = read_labels(file)
    of_points(raw, len(scan), file, "labels")
    train = _TABLE[raw]
    if train.min() < 0:
        row = int(train.argmin())
        raise FileFormatError(f"class {raw[row]} is none of the {len(TRAIN_OF_RAW)}",
                              where=f"{file} (row {row})", hint="get the file again")
    return replace(scan, label=train - 1, instance=instance)


def read_labels(file: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return the (N,) int64 classes of a file and the objects. Raises FileFormatError."""
    source = open_source(file)
    if source.size % 4:
        raise source.error(f"{source.size} bytes are not labels of 4 bytes",
                           byte=source.size - source.size % 4)
    source.check_count(source.size // 4, "labels")
    both = np.frombuffer(source.data, "<u4")
    return (both & 0xFFFF).astype(np.int64), (both >> 16).astype(np.int64)


def train_ids(raw: np.ndarray) -> np.ndarray:
    """Return the train ids, 0 to 19, of classes of the files. Raises FileFormatError."""
    raw = np.asarray(raw, np.int64)
    train = np.where((raw >= 0) & (raw < len(_TABLE)), _TABLE[raw % len(_TABLE)], -1)
    if train.size and train.min() < 0:
        raise FileFormatError(
            f"class {raw.flat[int(train.argmin())]} is none of the {len(TRAIN_OF_RAW)}",
            where="labels", hint="of four bytes the lower two are the class: raw & 0xFFFF")
    return train


def raw_ids(train: np.ndarray) -> np.ndarray:
    """Return the classes of the files of train ids 0 to 19, as a submission has them."""
    return np.asarray(RAW_OF_TRAIN)[np.asarray(train)]
