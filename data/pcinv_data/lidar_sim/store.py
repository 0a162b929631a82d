"""Writing a generated street in the layout of SemanticKITTI, with flow and boxes.

A scan's files are written one after the other, each aside and renamed, its boxes last; so what was
made before an interruption is whole and is not made again. `pcinv_data.lidar.street` reads it.
"""

from __future__ import annotations

import io
import json
import logging
import math
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np

from pcinv.errors import UsageError
from pcinv.types import Scan
from pcinv_data.lidar.kitti import camera_poses
from pcinv_data.lidar.street import BOXES, FLOW, boxes_text
from pcinv_data.lidar_sim.classes import RAW, RAW_MOVING
from pcinv_data.lidar_sim.sequence import VERSION, StreetSequence, lidar_sim

log = logging.getLogger(__name__)

MARK = "generated.json"
"""Settings of what is generated; only a folder with this file is ever replaced."""
SEQUENCE = "sequences/00"
FOLDERS = ("velodyne", "labels", FLOW, BOXES)
SLOW = 0.5
"""Things that are faster, in m/s, are written with SemanticKITTI's classes of what moves."""
_FOCAL, _CENTRE = 718.856, (607.1928, 185.2157)
_BASELINES = (0.0, -386.1448, 45.38225, -337.2877)


def make_lidar_sim(out: str | Path, *, scans: int = 100, seed: int = 0, beams: int = 64,
                   columns: int = 1024, rolling: bool = False, force: bool = False,
                   progress: Callable[[int, int], None] | None = None) -> dict[str, object]:
    """Write a generated street as `sequences/00` of a folder; see `lidar_sim` for the settings.

    What is there of the same settings is kept, and only what is missing is made; the folder may be
    made longer by asking for more scans.

    force : replace a street of other settings.
    progress : called with the number of scans that are there and of all.

    Returns the folder, the numbers of scans and of those made now, and the size of the clouds.
    Raises UsageError for a folder with something else, LimitError where nothing can be written.
    """
    from pcinv.engine.files import make_folder, write_atomic

    street = lidar_sim(scans, seed, beams=beams, columns=columns, rolling=rolling)
    out = Path(out)
    _check_place(out, street, force)
    folder = out / SEQUENCE
    for name in FOLDERS:
        make_folder(folder / name)
    write_atomic(out / MARK, (json.dumps(_settings(street), indent=1) + "\n").encode())
    made = points = 0
    for index, name in enumerate(street.names):
        if not (folder / BOXES / f"{name}.csv").is_file():
            write_scan(folder, name, street[index])
            made += 1
        points += (folder / "velodyne" / f"{name}.bin").stat().st_size // 16
        if progress is not None:
            progress(index + 1, scans)
        elif (index + 1) % 100 == 0:
            log.info("%d of %d scans", index + 1, scans)
    T = T_camera_scanner()
    write_atomic(folder / "calib.txt", _calibration(T).encode())
    write_atomic(folder / "times.txt", "".join(f"{t!r}\n" for t in street.stamps.tolist()).encode())
    rows = camera_poses(street.poses, T)[:, :3].reshape(scans, 12).tolist()
    write_atomic(folder / "poses.txt", "".join(" ".join(map(repr, row)) + "\n" for row in rows
                                               ).encode())
    return {"folder": str(out), "sequence": str(folder), "num_scans": scans, "num_made": made,
            "num_points": points}


def write_scan(folder: Path, name: str, scan: Scan) -> None:
    """Write the four files of a scan below the folder of its sequence."""
    from pcinv.engine.files import write_atomic

    rows = np.column_stack([scan.xyz, scan.intensity]).astype("<f4")
    write_atomic(folder / "velodyne" / f"{name}.bin", rows.tobytes())
    write_atomic(folder / "labels" / f"{name}.label", raw_labels(scan).tobytes())
    buffer = io.BytesIO()
    time = {} if scan.time is None else {"time": scan.time}
    np.savez(buffer, allow_pickle=False, flow=scan.flow, ring=scan.ring, **time)
    write_atomic(folder / FLOW / f"{name}.npz", buffer.getvalue())
    write_atomic(folder / BOXES / f"{name}.csv", boxes_text(scan.boxes).encode())


def raw_labels(scan: Scan) -> np.ndarray:
    """Return (N,) uint32 as label files have them: class below, object above."""
    raw = np.array(RAW)[scan.label]
    speed = np.hypot(*scan.boxes.velocity.T)
    moves = np.isin(scan.instance, scan.boxes.instance[speed > SLOW]) & (scan.instance > 0)
    for label, moving in RAW_MOVING.items():
        raw[moves & (scan.label == label)] = moving
    return (raw | (scan.instance << 16)).astype("<u4")


def T_camera_scanner() -> np.ndarray:
    """Return (4, 4), from the scanner to the camera beside it: x right, y down, z ahead."""
    yaw, pitch, roll = 0.0075, -0.0148, 0.0017
    c, s = math.cos(yaw), math.sin(yaw)
    e, f = math.cos(pitch), math.sin(pitch)
    g, h = math.cos(roll), math.sin(roll)
    small = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ np.array(
        [[e, 0, f], [0, 1, 0], [-f, 0, e]]) @ np.array([[1, 0, 0], [0, g, -h], [0, h, g]])
    T = np.eye(4)
    T[:3, :3] = np.array([[0, -1, 0], [0, 0, -1], [1, 0, 0]]) @ small
    T[:3, 3] = -0.0118, -0.0768, -0.2718
    return T


def _calibration(T: np.ndarray) -> str:
    lines = []
    for k, baseline in enumerate(_BASELINES):
        P = [_FOCAL, 0.0, _CENTRE[0], baseline, 0.0, _FOCAL, _CENTRE[1], 0.0, 0.0, 0.0, 1.0, 0.0]
        lines.append(f"P{k}: " + " ".join(map(repr, P)))
    lines.append("Tr: " + " ".join(map(repr, T[:3].ravel().tolist())))
    return "\n".join(lines) + "\n"


def _settings(street: StreetSequence) -> dict[str, object]:
    return {"name": "lidar_sim", "version": VERSION, "scans": len(street),
            **asdict(street.settings)}


def _check_place(out: Path, street: StreetSequence, force: bool) -> None:
    """Raise unless `out` is free, or holds the begin of the same street; `force` empties it."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    wanted = _settings(street)
    try:
        there = json.loads((out / MARK).read_text("utf-8"))
        known = there["name"] == "lidar_sim"
    except (OSError, ValueError, KeyError, TypeError):
        known = False
    if not known:
        raise UsageError("there is something else than a generated street", where=str(out),
                         hint="choose another folder")
    shorter = there.pop("scans", 0) <= wanted.pop("scans")
    if there == wanted and shorter:
        return
    if not force:
        differ = [k for k in wanted if there.get(k) != wanted[k]] or ["more scans"]
        raise UsageError(f"there is another street ({', '.join(differ)})", where=str(out),
                         hint="another folder, or --force to replace it")
    shutil.rmtree(out / SEQUENCE, ignore_errors=True)
