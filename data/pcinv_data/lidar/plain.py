"""Any folder of scans in formats that `pcinv.read` knows: `s2.pcd` comes before `s10.pcd`.

Poses, T_world_sensor, are taken from `poses.txt` in the folder or a file that is named: KITTI's 12
numbers a line, but of the sensor itself, or TUM's 8, which have stamps as well. `times.txt` has
seconds. Rows that are not finite are left out, with a warning, as `pcinv.read` does: scans of
organised clouds have them wherever nothing was hit.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from pcinv.errors import InputError
from pcinv.io import read
from pcinv.registration.pair_list import clouds_of
from pcinv.registration.trajectories import read_number_lines, read_trajectory
from pcinv.types import Mesh, PointCloud, Scan
from pcinv_data.lidar.rules import gaps
from pcinv_data.lidar.sequence import Listing, Request, checked

TIMES = ("time", "t", "timestamp", "time_offset", "offset_time")
RINGS = ("ring", "laser_number", "laser", "channel")
LABELS = ("label", "labels", "class", "classification")
LONGEST_NUMBER = 8
"""Digits of a number that counts scans; longer ones are stamps."""


def find(path: Path) -> dict[str, Path]:
    """Return the folder itself, if there is a scan in it."""
    if not path.is_dir():
        return {}
    try:
        clouds_of(path, least=1)
    except InputError:
        return {}
    return {path.absolute().name: path}


def open_listing(request: Request) -> Listing:
    """List the scans of a folder, with poses and stamps where there are any."""
    folder = request.path
    files = [folder / name for name in clouds_of(folder, least=1)]
    listing = Listing(folder.absolute().name, folder, [file.stem for file in files],
                      lambda position: read_scan(files[position]))
    poses = request.poses or folder / "poses.txt"
    if request.poses is not None or poses.is_file():
        found = read_trajectory(poses)
        listing.poses, listing.poses_file = found.poses, poses
        if found.stamps is not None:
            listing.stamps, listing.times_file = found.stamps, poses
    else:
        listing.missing.append("poses.txt")
    times = request.times or folder / "times.txt"
    if request.times is not None or times.is_file():
        listing.stamps, listing.times_file = read_number_lines(times, (1,))[0][:, 0], times
    elif listing.stamps is None:
        listing.missing.append("times.txt")
    counted = [_number(file.stem) for file in files]
    jumps = gaps([n for n in counted if n is not None]) if None not in counted else []
    if jumps:
        listing.notes.append(f"the names jump {len(jumps)} times, first from {jumps[0][0]} to"
                             f" {jumps[0][1]}")
    return listing


def _number(stem: str) -> int | None:
    digits = stem[len(stem.rstrip("0123456789")):]
    return int(digits) if 0 < len(digits) <= LONGEST_NUMBER else None


def read_scan(file: Path) -> Scan:
    """Read a scan of any format. Raises FileFormatError, and InputError for a mesh."""
    cloud = read(file)
    if isinstance(cloud, Mesh):
        raise InputError("a mesh is not a scan", where=str(file),
                         hint="pcinv sample makes a cloud of it")
    scan = Scan(cloud.xyz, file.stem, intensity=_intensity(cloud), **_attributes(cloud))
    return checked(scan, file)


def _attributes(cloud: PointCloud) -> dict[str, Any]:
    """Return the fields of a scan that the attributes of a cloud have, under their usual names."""
    there = {name.lower(): values for name, values in cloud.attributes.items()
             if values.dtype.kind in "biuf"}

    def first(names: tuple[str, ...], kinds: str) -> np.ndarray | None:
        return next((there[name] for name in names if name in there and there[name].ndim == 1
                     and there[name].dtype.kind in kinds), None)

    time, ring, label = first(TIMES, "f"), first(RINGS, "iuf"), first(LABELS, "iu")
    if ring is not None and not (0 <= ring.min() and ring.max() <= 255):
        ring = None
    instance, flow = first(("instance",), "iu"), there.get("flow")
    found: dict[str, Any] = {
        "time": None if time is None else (time - time.min()).astype(np.float32),
        "ring": None if ring is None else ring.astype(np.uint8),
        "label": None if label is None else label.astype(np.int64),
        "instance": None if instance is None else instance.astype(np.int64),
        "flow": flow.astype(np.float32) if flow is not None and flow.shape == cloud.xyz.shape
        else None}
    if cloud.origin.any():  # points of this scan are relative to it
        found["T_world_sensor"] = np.eye(4)
        found["T_world_sensor"][:3, 3] = cloud.origin
    return found


def _intensity(cloud: PointCloud) -> np.ndarray | None:
    """Return intensity in [0, 1]: whole numbers by their type, others by 255 if beyond 1."""
    values = cloud.attributes.get("intensity")
    if values is None or values.ndim != 1 or values.dtype.kind not in "uif":
        return None
    most = {"u1": 255.0, "u2": 65535.0}.get(values.dtype.str[1:])
    if most is None:
        top = float(values.max(initial=0))
        most = 1.0 if top <= 1 else 255.0 if top <= 255 else 65535.0 if top <= 65535 else top
    return np.clip(values.astype(np.float32) / np.float32(most), 0, 1)
