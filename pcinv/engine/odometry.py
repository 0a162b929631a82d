"""`pcinv.odometry`: a sequence of scans in, the pose of each out, with what is to be doubted."""

from __future__ import annotations

import dataclasses
import itertools
import logging
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from pcinv.engine.sequences import ScanSequence, open_sequence
from pcinv.engine.signals import StopRequest
from pcinv.engine.tracking import JsonLines, read_lines
from pcinv.errors import (
    DatasetError,
    FileFormatError,
    InputError,
    Interrupted,
    UsageError,
)
from pcinv.io.writing import check_place
from pcinv.metrics.trajectory import absolute_error, drift, step_errors
from pcinv.registration.odometry import Odometer, OdometryOptions, Step
from pcinv.registration.trajectories import trajectory_text, write_trajectory
from pcinv.types import Scan

logger = logging.getLogger(__name__)

_INTERVAL_S = 0.1
"""Between scans of which no stamps are known: nearly all sensors turn ten times a second."""


@dataclass(frozen=True)
class Odometry:
    """Where the sensor was.

    poses : (M, 4, 4) T_world_sensor; the world is the sensor's frame at the first scan.
    names, stamps : of the scans.
    lost : names of scans that fit nowhere; their poses are only expected ones.
    found_elsewhere : names of scans that were not where they were expected, and were found.
    open : name -> direction in the sensor's frame along which the scan could slide.
    skipped : name -> why, of scans that could not be read.
    time_ms_median : of a scan, reading it not included.
    path_length : metres.
    against_truth : errors where the sequence has poses of its own, else None: `ate_rmse` (m),
        `t_rel_percent`, `r_rel_deg_per_100m` (None for paths below 100 m), `step_m` and `step_deg`
        (largest error of a step), `step_m_median`, `step_deg_median`.
    poses_file : what was written.
    """

    poses: Float[np.ndarray, "m 4 4"]
    names: list[str]
    stamps: Float[np.ndarray, " m"] | None
    lost: list[str]
    found_elsewhere: list[str]
    open: dict[str, list[float]]
    skipped: dict[str, str]
    time_ms_median: float
    path_length: float
    against_truth: dict[str, float | None] | None
    poses_file: Path | None = None


def odometry(
    sequence: str | Path | ScanSequence,
    *,
    output: str | Path | None = None,
    layout: str | None = None,
    write_as: str = "kitti",
    options: OdometryOptions | None = None,
    limit: int | None = None,
    force: bool = False,
    callback: Callable[[int, int, Step], None] | None = None,
) -> Odometry:
    """Follow a LiDAR through a sequence of scans.

    Parameters
    ----------
    sequence : folder of any layout that `pcinv.open_sequence` knows, or an opened sequence.
    output : file for the poses. While it is made, `<output>.part` holds the scans that are done,
        and the same call goes on from there (within millimetres of an uninterrupted one, since the
        map is made anew from the scans that it still held).
    layout : of the folder; recognised where None.
    write_as : "kitti", 12 numbers a line, or "tum", which needs stamps.
    limit : at most so many scans.
    callback : called after each scan with its number, how many there are, and what was found.

    Scans that cannot be read are left out, named in `skipped`; one that fits nowhere keeps the pose
    that was expected, and is named in `lost`.

    Raises
    ------
    Interrupted after SIGINT or SIGTERM, with what is done in `<output>.part`.
    DatasetError for a folder without scans, UsageError for an output that is there.
    """
    options = options or OdometryOptions()
    scans: Any = sequence
    if isinstance(sequence, str | Path):
        scans = open_sequence(sequence, layout, on_error="skip")
    total = len(scans) if limit is None else min(limit, len(scans))
    if total == 0:
        raise DatasetError("no scans", where=str(scans.path), hint="pcinv info says what is there")
    if output is not None:
        check_place(Path(output), force=force)
        trajectory_text(np.eye(4)[None], None if scans.stamps is None else np.zeros(1), write_as)
    head = {"sequence": str(scans.path), "format": scans.format, "scans": total,
            "options": dataclasses.asdict(options)}
    part = None if output is None else Path(f"{output}.part")
    done = _read_part(part, head)
    odometer, rows, times = Odometer(options), done[:], []
    stream = None if part is None else _open_part(part, head, done)
    first = max(0, len(done) - options.keep)
    for earlier, row in pairwise([{"index": -1}, *done[:first]]):
        odometer.remember(_pose(row), _interval(scans, earlier["index"], row["index"]))
    start = first if not done else done[first]["index"] if first < len(done) else 0
    known = {row["index"]: row for row in done}
    with StopRequest() as stop:
        before = start - 1
        for index, scan in _read(scans, start, total):
            span, before = _interval(scans, before, index), index
            if index in known:
                odometer.replay(scan.xyz, _pose(known[index]), _times(scan), span)
                continue
            begun = time.perf_counter()
            step = odometer.add(scan.xyz, _times(scan), span)
            times.append(time.perf_counter() - begun)
            row = _row(index, scan.name, step)
            rows.append(row)
            if stream is not None:
                stream.write(row)
            if callback is not None:
                callback(index + 1, total, step)
            if stop.requested:
                raise Interrupted(f"interrupted after scan {scan.name}", where=str(part or ""),
                                  hint="the same command goes on" if part else "try again")
    if stream is not None:
        stream.close()
    found = _result(scans, rows, times)
    if output is None or part is None:
        return found
    write_trajectory(Path(output), found.poses, found.stamps, format=write_as, force=force)
    part.unlink()
    return dataclasses.replace(found, poses_file=Path(output))


def _read(scans: Any, start: int, total: int) -> Iterator[tuple[int, Scan]]:
    """Yield scans with their numbers, the next one read while one is worked on."""
    from concurrent.futures import ThreadPoolExecutor

    def read(index: int) -> Scan | InputError:
        try:
            found: Scan = scans[index]
            return found
        except InputError as error:
            return error

    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(read, start)
        for index in range(start, total):
            scan = waiting.result()
            if index + 1 < total:
                waiting = pool.submit(read, index + 1)
            if isinstance(scan, InputError):
                scans.skipped.setdefault(scans.names[index], scan.message)
                continue
            yield index, scan


def _times(scan: Scan) -> np.ndarray | None:
    return None if scan.is_deskewed else scan.time


def _interval(scans: Any, before: int, index: int) -> float:
    """Return the seconds between two scans; some may have been left out between them."""
    if before < 0:
        return _INTERVAL_S
    if scans.stamps is None:
        return _INTERVAL_S * (index - before)
    return max(1e-3, float(scans.stamps[index] - scans.stamps[before]))


def _row(index: int, name: str, step: Step) -> dict[str, Any]:
    way = step.open_direction
    return {"index": index, "name": name, "pose": step.T_world_sensor[:3].ravel().tolist(),
            "found_by": step.found_by, "open": None if way is None else np.round(way, 3).tolist()}


def _pose(row: dict[str, Any]) -> Float[np.ndarray, "4 4"]:
    return np.vstack([np.reshape(row["pose"], (3, 4)), [0.0, 0.0, 0.0, 1.0]])


def _read_part(part: Path | None, head: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the scans that are done; raise UsageError where they are those of another call."""
    if part is None or not part.is_file():
        return []
    lines = read_lines(part)
    if not lines:
        return []
    if lines[0] != head:
        raise UsageError("what was begun there is of another sequence, or with other options",
                         where=str(part), hint="remove this file, or choose another output")
    try:
        for row in lines[1:]:
            _pose(row), row["index"], row["name"], row["found_by"], row["open"]
    except (KeyError, ValueError, TypeError) as error:
        raise FileFormatError(f"not a scan of an odometry: {error}", where=str(part),
                              hint="remove this file; the scans are done again") from error
    return lines[1:]


def _open_part(part: Path, head: dict[str, Any], done: list[dict[str, Any]]) -> JsonLines:
    whole = part.read_bytes().rfind(b"\n") + 1 if part.is_file() else 0
    stream = JsonLines(part, whole)
    if whole == 0:
        stream.write(head)
    elif done:
        logger.info("%s: %d scans are done already", part, len(done))
    return stream


def _result(scans: Any, rows: list[dict[str, Any]], times: list[float]) -> Odometry:
    if not rows:
        raise DatasetError(f"none of {len(scans)} scans could be read", where=str(scans.path),
                           hint=next(iter(scans.skipped.values()), "pcinv info says more"))
    poses = np.stack([_pose(row) for row in rows])
    index = [row["index"] for row in rows]
    steps = np.linalg.norm(np.diff(poses[:, :3, 3], axis=0), axis=1)
    truth = None
    if scans.poses is not None and len(rows) > 1:
        truth = _against(poses, np.asarray(scans.poses)[index])
    return Odometry(
        poses=poses, names=[row["name"] for row in rows],
        stamps=None if scans.stamps is None else np.asarray(scans.stamps)[index],
        lost=[row["name"] for row in rows if row["found_by"] == "lost"],
        found_elsewhere=[row["name"] for row in rows if row["found_by"] == "register"],
        open={row["name"]: row["open"] for row in rows if row["open"] is not None},
        skipped=dict(itertools.islice(scans.skipped.items(), len(scans))),
        time_ms_median=1e3 * statistics.median(times) if times else 0.0,
        path_length=float(steps.sum()), against_truth=truth)


def _against(
    poses: Float[np.ndarray, "m 4 4"], truth: Float[np.ndarray, "m 4 4"]
) -> dict[str, float | None]:
    metres, degrees = step_errors(poses, truth)
    segments = drift(poses, truth)
    return {"ate_rmse": absolute_error(poses, truth)[0], "t_rel_percent": segments.t_rel_percent,
            "r_rel_deg_per_100m": segments.r_rel_deg_per_100m,
            "step_m": float(metres.max()), "step_deg": float(degrees.max()),
            "step_m_median": float(np.median(metres)), "step_deg_median": float(np.median(degrees))}
