"""Argoverse 2 sensor logs: `LOG/sensors/lidar/<ns>.feather`, ego poses, boxes, scene flow.

Sweeps hold x y z (float16, made float32 here), intensity, laser_number and offset_ns in the frame
of the vehicle (x forward, y left, z up, origin on the rear axle), moved to the stamp of the sweep:
that frame is the sensor's here. The world is the city; ego poses are denser than sweeps, and the
one of exactly a sweep's stamp is taken. A pose is city_SE3_egovehicle.

Flow is how far each point moves to the next sweep, ego motion included: in one flow_labels.feather
beside the log's lists for its first sweep, or a file of each sweep's stamp in flow_labels/ or in a
folder that is named. Labels are those of the flow: annotated categories in alphabetical order.
Wilson et al., NeurIPS Datasets and Benchmarks 2021; Khatri et al., ECCV 2024 (flow).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from pcinv.errors import DatasetError, FileFormatError
from pcinv.registration.trajectories import MAX_SKEW, poses_of
from pcinv.types import Boxes, Scan
from pcinv_data.lidar.feather import read_feather
from pcinv_data.lidar.sequence import Listing, Request, checked, of_points

SCANS = "sensors/lidar"
CLASSES = (
    "ANIMAL", "ARTICULATED_BUS", "BICYCLE", "BICYCLIST", "BOLLARD", "BOX_TRUCK", "BUS",
    "CONSTRUCTION_BARREL", "CONSTRUCTION_CONE", "DOG", "LARGE_VEHICLE", "MESSAGE_BOARD_TRAILER",
    "MOBILE_PEDESTRIAN_CROSSING_SIGN", "MOTORCYCLE", "MOTORCYCLIST", "OFFICIAL_SIGNALER",
    "PEDESTRIAN", "RAILED_VEHICLE", "REGULAR_VEHICLE", "SCHOOL_BUS", "SIGN", "STOP_SIGN",
    "STROLLER", "TRAFFIC_LIGHT_TRAILER", "TRUCK", "TRUCK_CAB", "VEHICULAR_TRAILER", "WHEELCHAIR",
    "WHEELED_DEVICE", "WHEELED_RIDER")
"""Of flow categories 1 to 30, which are labels 0 to 29; category 0, none, is -1."""
POSE = ["qw", "qx", "qy", "qz", "tx_m", "ty_m", "tz_m"]
FLOW = ["flow_tx_m", "flow_ty_m", "flow_tz_m"]
_EXTRA = ("classes", "classes_0", "is_valid", "is_ground_0", "is_ground")


def find(path: Path) -> dict[str, Path]:
    """Return name -> folder of the logs; the folder may be a log's, or its sweeps'."""
    if path.name == "lidar" and path.absolute().parent.name == "sensors":
        path = path.absolute().parents[1]
    if _has_scans(path):
        return {path.absolute().name: path}
    for pattern in ("*", "*/*", "*/*/*"):
        logs = sorted(log for folder in path.glob(f"{pattern}/{SCANS}")
                      if _has_scans(log := folder.parents[1]))
        if logs:
            return {log.name: log for log in logs}
    return {}


def _has_scans(log: Path) -> bool:
    return next((log / SCANS).glob("*.feather"), None) is not None


def open_listing(request: Request) -> Listing:
    """List the sweeps of a log, with poses, boxes and flow where there are any."""
    log = request.path
    files = sorted((log / SCANS).glob("*.feather"), key=lambda file: (len(file.stem), file.stem))
    for file in files:
        if not (file.stem.isascii() and file.stem.isdigit()):
            raise DatasetError(f"'{file.name}' is not a stamp in nanoseconds", where=str(file),
                               hint="remove this file")
    stamps_ns = np.array([int(file.stem) for file in files], np.int64)
    boxes = _boxes_by_stamp(log / "annotations.feather")
    flow = _flow_files(request, files)

    def read(position: int) -> Scan:
        scan = read_sweep(files[position])
        if position in flow:
            scan = _with_flow(scan, flow[position])
        return scan if boxes is None else replace(scan, boxes=boxes(int(stamps_ns[position])))

    listing = Listing(log.absolute().name, log, [file.stem for file in files], read,
                      CLASSES if flow or boxes else (), stamps=stamps_ns * 1e-9)
    _take_poses(listing, log / "city_SE3_egovehicle.feather", stamps_ns)
    if boxes is None:
        listing.missing.append("annotations.feather")
    if not flow:
        listing.missing.append("scene flow")
    return listing


def read_sweep(file: Path) -> Scan:
    """Read a sweep; coordinates become float32. Raises FileFormatError, InputError."""
    table = read_feather(file, ["x", "y", "z"], ("intensity", "laser_number", "offset_ns"))
    xyz = np.stack([table[axis].astype(np.float32) for axis in "xyz"], 1)
    scan = Scan(xyz, file.stem, is_deskewed=True)
    if "intensity" in table:
        scan = replace(scan, intensity=table["intensity"].astype(np.float32) / 255)
    if "laser_number" in table:
        scan = replace(scan, ring=table["laser_number"].astype(np.uint8))
    if "offset_ns" in table:
        scan = replace(scan, time=(table["offset_ns"] * 1e-9).astype(np.float32))
    return checked(scan, file)


def _take_poses(listing: Listing, file: Path, stamps_ns: np.ndarray) -> None:
    if not file.is_file():
        listing.missing.append(file.name)
        return
    table = read_feather(file, ["timestamp_ns", *POSE])
    poses, known = _poses(table, file), table["timestamp_ns"].astype(np.int64)
    order = np.argsort(known, kind="stable")
    place = order[np.minimum(np.searchsorted(known[order], stamps_ns), len(known) - 1)]
    for position in np.flatnonzero(known[place] != stamps_ns):
        listing.lacking[int(position)] = f"no ego pose at {stamps_ns[position]}", str(file)
    listing.poses = poses[place]


def _poses(table: dict[str, np.ndarray], file: Path) -> np.ndarray:
    values = np.stack([table[name].astype(np.float64) for name in POSE], 1)
    if not len(values):
        raise FileFormatError("no poses", where=str(file), hint="get the file again")
    length = np.linalg.norm(values[:, :4], axis=1)
    bad = ~(np.isfinite(values).all(1) & (np.abs(length - 1) <= MAX_SKEW))
    if bad.any():
        raise FileFormatError("the pose is not a unit quaternion and a shift",
                              where=f"{file} (row {int(bad.argmax())})", hint="get the file again")
    return poses_of(values[:, :4], values[:, 4:])


def _boxes_by_stamp(file: Path) -> Callable[[int], Boxes] | None:
    """Return stamp -> boxes, or None without the file."""
    if not file.is_file():
        return None
    sizes = ["length_m", "width_m", "height_m"]
    table = read_feather(file, ["timestamp_ns", "track_uuid", "category", *sizes, *POSE],
                         ("num_interior_pts",))
    known = {name: k for k, name in enumerate(CLASSES)}
    unknown = sorted(set(map(str, table["category"])) - set(known))
    if unknown:
        raise FileFormatError(f"category {unknown[0][:60]} is none of the {len(CLASSES)}",
                              where=str(file), hint="get the file again")
    stamps = table["timestamp_ns"].astype(np.int64)
    poses = _poses(table, file) if len(stamps) else np.zeros((0, 4, 4))
    label = np.array([known[str(name)] for name in table["category"]], np.int64)
    tracks = np.unique(table["track_uuid"].astype(str), return_inverse=True)[1].reshape(-1) + 1
    size = np.stack([table[name].astype(np.float64) for name in sizes], 1)
    inside = table["num_interior_pts"].astype(np.int64) if "num_interior_pts" in table else None

    def boxes(stamp_ns: int) -> Boxes:
        rows = np.flatnonzero(stamps == stamp_ns)
        return Boxes(poses[rows, :3, 3], size[rows],
                     np.arctan2(poses[rows, 1, 0], poses[rows, 0, 0]), label[rows],
                     tracks[rows].astype(np.int64),
                     num_points=None if inside is None else inside[rows])

    return boxes


def _flow_files(request: Request, files: list[Path]) -> dict[int, Path]:
    """Return position -> file of its flow."""
    log = request.path
    folders = [log / "flow_labels"]
    if request.flow is not None:
        folders = [request.flow / log.absolute().name, request.flow]
    found = {position: folder / file.name for folder in reversed(folders)
             for position, file in enumerate(files) if (folder / file.name).is_file()}
    if request.flow is not None and not found:
        raise DatasetError(f"no flow of this log: no {files[0].name}", where=str(request.flow),
                           hint="the folder holds <stamp>.feather, or LOG/<stamp>.feather")
    if not found and (log / "flow_labels.feather").is_file():
        return {0: log / "flow_labels.feather"}
    return found


def _with_flow(scan: Scan, file: Path) -> Scan:
    table = read_feather(file, FLOW, _EXTRA)
    flow = np.stack([table[name].astype(np.float32) for name in FLOW], 1)
    of_points(flow, len(scan), file, "rows of flow")
    if "is_valid" in table:
        flow[~table["is_valid"].astype(bool)] = np.nan
    kind = next((table[name] for name in ("classes_0", "classes") if name in table), None)
    if kind is not None:
        kind = kind.astype(np.int64)
        if kind.min() < 0 or kind.max() > len(CLASSES):
            raise FileFormatError(f"categories from {kind.min()} to {kind.max()}, expected 0 to"
                                  f" {len(CLASSES)}", where=str(file), hint="get the file again")
    ground = next((table[name] for name in ("is_ground_0", "is_ground") if name in table), None)
    return replace(scan, flow=flow, label=None if kind is None else kind - 1,
                   is_ground=None if ground is None else ground.astype(bool))
