"""nuScenes: `samples/LIDAR_TOP/*.pcd.bin` and `sweeps/LIDAR_TOP`, with the tables of `v1.0-*/`.

Scans are five float32 a point: x y z intensity (0 to 255) ring, in the scanner's frame with x right
and y forward. That is turned into x forward, y left here, and the poses with it: T_world_sensor is
global <- ego <- scanner <- the turned frame. The world is the map of the city (global). The authors
have taken the ego motion out of the sweeps. Stamps are in the names, in microseconds.

Without tables the scans of one recording are a sequence, and there are no poses. With them a
sequence is a scene: key frames, and the sweeps between them where `sweeps/LIDAR_TOP` is there;
boxes and lidarseg labels, 16 classes of 32, of the key frames. Caesar et al., CVPR 2020.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np

from pcinv.errors import DatasetError, FileFormatError
from pcinv.io.lidar_bin import read_bin5
from pcinv.io.source import open_source
from pcinv.types import Scan
from pcinv_data.lidar import nuscenes_tables
from pcinv_data.lidar.nuscenes_boxes import read_boxes
from pcinv_data.lidar.sequence import Listing, Request, checked, of_points

SENSOR = "LIDAR_TOP"
CLASSES = ("barrier", "bicycle", "bus", "car", "construction_vehicle", "motorcycle", "pedestrian",
           "traffic_cone", "trailer", "truck", "driveable_surface", "other_flat", "sidewalk",
           "terrain", "manmade", "vegetation")
TRAIN_OF_RAW = (0, 0, 7, 7, 7, 0, 7, 0, 0, 1, 0, 0, 8, 0, 2, 3, 3, 4, 5, 0, 0, 6, 9, 10, 11, 12, 13,
                14, 15, 0, 16, 0)
"""The 32 classes of lidarseg -> 0 (none) and 1 to 16, as the official challenge has them."""
T_SCANNER_SENSOR = np.array([[0.0, -1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
"""From x forward, y left to nuScenes' x right, y forward."""
_NAME = re.compile(r"(.+)__LIDAR_TOP__(\d{10,18})\.pcd\.bin")


def find(path: Path) -> dict[str, Path]:
    """Return the scenes of the tables, or the recordings, each with the folder that is given."""
    folders = scan_folders(path)
    if not folders and not path.exists() and scan_folders(path.parent):  # FOLDER/SCENE
        return {name: folder for name, folder in find(path.parent).items() if name == path.name}
    if not folders:
        return {}
    scenes = nuscenes_tables.scenes(folders[0].parents[1])
    if scenes:
        return dict.fromkeys(scenes, path)
    return dict.fromkeys(sorted({recording for recording, _, _ in _scans(folders)}), path)


def scan_folders(path: Path) -> list[Path]:
    """Return the folders of scans: that of key frames, and that of the sweeps if it is there."""
    path = path.absolute()
    if path.name == SENSOR:
        found = [path]
    else:
        found = [path / part for part in (SENSOR, f"samples/{SENSOR}", f"sweeps/{SENSOR}")]
    return [folder for folder in found if next(folder.glob("*.pcd.bin"), None) is not None]


def _scans(folders: list[Path]) -> list[tuple[str, int, Path]]:
    """Return (recording, stamp in microseconds, file) of all scans, in the order of time."""
    found = []
    for folder in folders:
        for file in folder.glob("*.pcd.bin"):
            told = _NAME.fullmatch(file.name)
            if not told:
                raise DatasetError(f"'{file.name}' is not RECORDING__LIDAR_TOP__STAMP.pcd.bin",
                                   where=str(file), hint="keep the names of the data set")
            found.append((told[1], int(told[2]), file))
    return sorted(found)


def open_listing(request: Request) -> Listing:
    """List the scans of a scene or a recording."""
    folders = scan_folders(request.path)
    root = folders[0].parents[1]
    scenes = nuscenes_tables.scenes(root)
    if not scenes:
        return _recording(request, folders)
    name = request.sequence
    rows, with_labels = nuscenes_tables.read_scene(root, scenes[name], SENSOR,
                                                   (root / "sweeps" / SENSOR).is_dir())
    if not rows:
        raise DatasetError(f"the tables list no scans of {name}", where=str(scenes[name].folder),
                           hint="get the tables again")
    files = [root / row.filename for row in rows]
    poses = np.stack([row.T_world_scanner @ T_SCANNER_SENSOR for row in rows])
    boxes = read_boxes(scenes[name].folder,
                       {row.sample: row.stamp_us * 1e-6 for row in rows if row.sample}, CLASSES)

    def read(position: int) -> Scan:
        row = rows[position]
        scan = _labelled(read_scan(files[position]), row.labels, root)
        return scan if boxes is None or row.sample is None else replace(
            scan, boxes=boxes.at(row.sample, poses[position]))

    listing = Listing(name, root, [file.name.removesuffix(".pcd.bin") for file in files], read,
                      CLASSES if with_labels or boxes is not None else (), poses=poses,
                      stamps=np.array([row.stamp_us for row in rows], np.int64) * 1e-6)
    for position, file in enumerate(files):
        if not file.is_file():
            listing.lacking[position] = "the tables list this scan, and it is not there", str(file)
    listing.missing += [] if with_labels else ["lidarseg"]
    listing.missing += [] if boxes is not None else ["boxes (sample_annotation)"]
    listing.missing += [] if (root / "sweeps" / SENSOR).is_dir() else ["sweeps/LIDAR_TOP"]
    return listing


def _recording(request: Request, folders: list[Path]) -> Listing:
    scans = _scans(folders)
    chosen = [(stamp, file) for recording, stamp, file in scans if recording == request.sequence]
    return Listing(request.sequence, request.path,
                   [file.name.removesuffix(".pcd.bin") for _, file in chosen],
                   lambda position: read_scan(chosen[position][1]),
                   stamps=np.array([stamp for stamp, _ in chosen], np.int64) * 1e-6,
                   missing=["poses (the tables v1.0-*)"])


def read_scan(file: Path) -> Scan:
    """Read a scan, turned to x forward, y left. Raises FileFormatError, InputError."""
    source = open_source(file)
    raw = read_bin5(source)
    xyz = np.stack([raw.xyz[:, 1], -raw.xyz[:, 0], raw.xyz[:, 2]], 1)
    ring = raw.attributes["ring"]
    if not ((ring >= 0) & (ring < 256)).all():
        raise source.error("the fifth column is no ring number", hint="is this a scan of nuScenes?")
    return checked(Scan(xyz, file.name.removesuffix(".pcd.bin"), ring=ring.astype(np.uint8),
                        intensity=raw.attributes["intensity"] / np.float32(255),
                        is_deskewed=True), file)


def _labelled(scan: Scan, labels: str | None, root: Path) -> Scan:
    if labels is None:
        return scan
    file = root / labels
    raw = np.frombuffer(open_source(file).data, np.uint8)
    of_points(raw, len(scan), file, "labels")
    if raw.max() >= len(TRAIN_OF_RAW):
        raise FileFormatError(f"class {raw.max()} is none of the {len(TRAIN_OF_RAW)}",
                              where=f"{file} (row {int(raw.argmax())})", hint="get the file again")
    return replace(scan, label=np.asarray(TRAIN_OF_RAW, np.int64)[raw] - 1)
