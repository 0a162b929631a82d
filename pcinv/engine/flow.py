"""`pcinv.flow`: two scans in, how each point moves out, the sensor's own motion apart."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from pcinv.engine.sequences import ScanSequence, open_sequence
from pcinv.errors import InputError, PcinvError, UsageError, unknown_name
from pcinv.io import read_cloud, write
from pcinv.io.writing import replacing
from pcinv.metrics.flow import DYNAMIC, FlowScore, is_close, meta_classes
from pcinv.ops.ground import is_ground
from pcinv.registration.odometry import Odometer
from pcinv.sceneflow.clusters import cluster_points
from pcinv.sceneflow.fast_nsf import fit_fast_nsf
from pcinv.sceneflow.floxels import fit_floxels
from pcinv.sceneflow.rigid import rigid_flow
from pcinv.types import PointCloud, Scan

METHODS = ("floxels", "student", "fast_nsf", "ego")
RANGE = 51.2
"""Half the side of the square around the sensor in which motion is looked for, metres."""
_INTERVAL_S = 0.1


@dataclass(frozen=True)
class Placed:
    """A scan, and where it stands in its sequence, if it is of one."""

    scan: Scan
    sequence: ScanSequence | None = None
    index: int = -1


@dataclass(frozen=True)
class SceneFlow:
    """How the points of a scan move until another one.

    xyz : (N, 3) the points, in the first sensor's frame.
    flow : (N, 3) total: p + flow is the place in the second sensor's frame.
    rigid : (N, 3) the part that the sensor's own motion makes of a point that stands still.
    is_moving : (N,) whether the rest, the point's own motion, is 5 cm in 0.1 s or more.
    is_ground : (N,) as it was found; the ground stands still.
    cluster : (N,) piece that a point belongs to, -1 for none.
    T_second_first : (4, 4) motion of the sensor; `ego_from` is "poses" or "scans".
    scans : names of all scans that were looked at, of them the first two are the pair.
    interval_s : between the two.  time_ms : stage -> milliseconds.
    scores : figures against the labels of the first scan, see `FlowScore.compute`, of the method
        and, to compare with, of "ego" and "zero" flow; None without labels.
    """

    xyz: Float[np.ndarray, "n 3"]
    flow: Float[np.ndarray, "n 3"]
    rigid: Float[np.ndarray, "n 3"]
    is_moving: Bool[np.ndarray, " n"]
    is_ground: Bool[np.ndarray, " n"]
    cluster: Int[np.ndarray, " n"]
    T_second_first: Float[np.ndarray, "4 4"]
    ego_from: str
    method: str
    scans: list[str]
    interval_s: float
    time_ms: dict[str, float]
    scores: dict[str, dict[str, Any]] | None

    @property
    def motion(self) -> Float[np.ndarray, "n 3"]:
        """(N, 3) own motion of each point until the second scan, in the first sensor's axes."""
        found: np.ndarray = (self.flow - self.rigid) @ self.T_second_first[:3, :3]
        return found

    def to_cloud(self) -> PointCloud:
        """Return the points with the columns flow, motion, speed (m/s), moving and cluster."""
        speed = np.linalg.norm(self.motion, axis=1) / self.interval_s
        return PointCloud(self.xyz.astype(np.float32), attributes={
            "flow": self.flow.astype(np.float32), "motion": self.motion.astype(np.float32),
            "speed": speed.astype(np.float32), "moving": self.is_moving.astype(np.uint8),
            "cluster": self.cluster.astype(np.int32)})


def flow(
    first: str | Path | Scan | Placed, second: str | Path | Scan | Placed, *,
    method: str = "floxels", around: int = 2, layout: str | None = None,
    weights: str | Path | None = None, device: str = "auto",
    callback: Callable[[str], None] | None = None,
) -> SceneFlow:
    """Estimate how the points of a scan move until another one, without labels.

    Parameters
    ----------
    first, second : scans, files of them, or scans with their place in a sequence. Poses are taken
        from the sequence that a file lies in; where there are none the sensor's motion is found
        from the scans themselves.
    method : "floxels", a voxel grid fitted to the scans around, with one rigid motion for each
        piece that moves; "student", a network that it has taught, which answers at once;
        "fast_nsf", a network of coordinates; "ego", where nothing moves.
    around : scans before the first and after it that Floxels looks at, where the sequence has
        them; the second one always is.
    layout : of the sequence; recognised where None.
    weights : run folder or file of a student; the one that comes with pcinv where None. It says
        nothing of points beyond 38.4 m (x or y), which then stand still.
    device : of the student: "auto", "cpu" or "cuda".
    callback : called with the name of each stage as it begins.

    Raises
    ------
    UnknownNameError for a method, UsageError for twice the same scan, or weights of no student.
    CheckpointError for weights that are not there or damaged, DeviceError for a device.
    InputError where a scan has too few points off the ground, or the sensor's motion is not found.
    """
    if method not in METHODS:
        raise unknown_name("method", method, METHODS, where="method")
    if weights is not None and method != "student":
        raise UsageError(f"{method} has no weights", where="weights", hint="method student")
    clock = _Clock(callback)
    if method == "student":
        from pcinv.engine.student import load_student

        with clock("network"):
            student = load_student(weights, device)
    with clock("read"):
        a, b = place(first, layout), place(second, layout)
    if a.sequence is not None and b.sequence is not None and a.index == b.index:
        raise UsageError("the two scans are the same", where=str(second),
                         hint="a scan and one after it")
    with clock("own motion"):
        T_second_first, ego_from = own_motion(a, b)
    xyz = a.scan.xyz.astype(np.float64)
    moved = xyz @ T_second_first[:3, :3].T + T_second_first[:3, 3]
    names, interval_s = [a.scan.name, b.scan.name], interval_of(a, b)
    residual, cluster = np.zeros_like(xyz), np.full(len(xyz), -1)
    with clock("ground"):
        ground = is_ground(a.scan.xyz)
    if method != "ego":
        rows = np.flatnonzero(~ground & (np.abs(xyz[:, :2]).max(axis=1) < RANGE))
        with clock("other scans"):
            others = {1: off_ground(b.scan)}
            if method == "floxels":
                more = _around(a, b, around, T_second_first)
                names += list(more)
                others |= dict(more.values())
        for what, count in (("first", len(rows)), ("second", len(others[1]))):
            if count < 50:
                raise InputError(f"{count} points of the {what} scan are off the ground",
                                 where=what, hint="is z up, and the sensor at the origin?")
        with clock(method):
            if method == "floxels":
                fit = fit_floxels(moved[rows], others)
                residual[rows], cluster[rows] = fit.flow, fit.cluster
            elif method == "student":
                from pcinv.engine.student import ask

                residual[rows], cluster[rows] = ask(student, moved[rows], others[1])
            else:
                residual[rows] = fit_fast_nsf(moved[rows], others[1])[0]
                cluster[rows] = cluster_points(moved[rows])
        if method == "floxels":
            with clock("rigid pieces"):
                residual[rows] = rigid_flow(moved[rows], fit.flow, fit.cluster, fit.fields,
                                            others[1])
    total = moved + residual - xyz
    scores = None
    if a.scan.flow is not None:
        scores = {name: score(a, found, moved - xyz, interval_s) for name, found in (
            (method, total), ("ego", moved - xyz), ("zero", np.zeros_like(xyz)))}
    speed = np.linalg.norm(residual, axis=1) * (_INTERVAL_S / interval_s)
    return SceneFlow(
        xyz=a.scan.xyz, flow=total, rigid=moved - xyz, is_moving=speed >= DYNAMIC, is_ground=ground,
        cluster=cluster, T_second_first=T_second_first, ego_from=ego_from, method=method,
        scans=names, interval_s=interval_s, time_ms=clock.time_ms, scores=scores)


def write_flow(path: str | Path, found: SceneFlow, *, force: bool = False) -> None:
    """Write a flow: arrays in a .npz, else a cloud with columns, see `SceneFlow.to_cloud`.

    Raises what `pcinv.write` does.
    """
    if Path(path).suffix.lower() != ".npz":
        write(path, found.to_cloud(), force=force)
        return
    with replacing(Path(path), force=force) as stream:
        np.savez_compressed(
            stream, points=found.xyz.astype(np.float32), flow=found.flow.astype(np.float32),
            rigid=found.rigid.astype(np.float32), moving=found.is_moving, ground=found.is_ground,
            cluster=found.cluster.astype(np.int32), T_second_first=found.T_second_first,
            interval_s=found.interval_s)


def place(item: str | Path | Scan | Placed, layout: str | None = None) -> Placed:
    """Return a scan with the sequence that it is of, looked for in the folders above its file."""
    if isinstance(item, Placed):
        return item
    if isinstance(item, Scan):
        return Placed(item)
    path = Path(item)
    for folder in path.parents[:4]:
        try:
            sequence = open_sequence(folder, layout)
            names = list(sequence.names)
        except PcinvError:
            continue
        found = [k for k, name in enumerate(names) if name in (path.stem, path.name)]
        if len(found) == 1:
            return Placed(sequence[found[0]], sequence, found[0])
    cloud = read_cloud(path)
    return Placed(Scan(xyz=cloud.absolute().astype(np.float32), name=path.stem))


def own_motion(a: Placed, b: Placed) -> tuple[Float[np.ndarray, "4 4"], str]:
    """Return T_second_first of the sensor, and what it comes from: "poses" or "scans".

    Raises InputError where there are no poses, and the scans do not fit each other.
    """
    before, after = a.scan.T_world_sensor, b.scan.T_world_sensor
    if before is not None and after is not None:
        return np.linalg.inv(after) @ before, "poses"
    odometer = Odometer()
    odometer.add(a.scan.xyz)
    step = odometer.add(b.scan.xyz)
    if step.found_by == "lost":
        raise InputError(f"the scans do not fit each other: {step.matched:.0%} of the points have "
                         "a partner", where=b.scan.name, hint="scans that are nearer in time")
    return np.linalg.inv(step.T_world_sensor), "scans"


def score(
    a: Placed, found: Float[np.ndarray, "n 3"], rigid: Float[np.ndarray, "n 3"], interval_s: float
) -> dict[str, Any]:
    """Return the figures of a flow of a labelled scan: points in 70 x 70 m, off the ground."""
    sums = FlowScore(interval_s)
    count_in(sums, a, found, rigid)
    return sums.compute()


def count_in(
    sums: FlowScore, a: Placed, found: Float[np.ndarray, "n 3"], rigid: Float[np.ndarray, "n 3"]
) -> None:
    """Add the flow of a labelled scan to the sums: points in 70 x 70 m, off the ground."""
    scan = a.scan
    counted = is_close(scan.xyz)
    if scan.is_ground is not None:
        counted &= ~scan.is_ground
    category = np.zeros(len(scan), np.int64)
    if scan.label is not None and a.sequence is not None:
        of_class = np.append(meta_classes(list(a.sequence.class_names)), 0)  # -1: no class
        category = of_class[scan.label]
    truth = scan.flow if scan.flow is not None else np.full((len(scan), 3), np.nan)
    sums.add(found, truth, rigid, category, counted)


def _around(
    a: Placed, b: Placed, around: int, T_second_first: Float[np.ndarray, "4 4"]
) -> dict[str, tuple[int, Float[np.ndarray, "m 3"]]]:
    """Return name -> (scans later, the scan in the second's frame) of the others near the first."""
    found: dict[str, tuple[int, np.ndarray]] = {}
    sequence, step = a.sequence, b.index - a.index
    if sequence is None or b.sequence is None or sequence.poses is None or b.index < 0:
        return found
    base = a.scan.T_world_sensor
    for offset in range(-around, around + 1):
        index = a.index + offset * step
        if offset in (0, 1) or not 0 <= index < len(sequence):
            continue
        scan = sequence[index]
        if scan.T_world_sensor is None or base is None:
            continue
        motion = T_second_first @ np.linalg.inv(base) @ scan.T_world_sensor
        points = off_ground(scan)
        found[scan.name] = offset, points @ motion[:3, :3].T + motion[:3, 3]
    return found


def off_ground(scan: Scan) -> Float[np.ndarray, "m 3"]:
    """Return the points of a scan that are not the ground's."""
    xyz = scan.xyz.astype(np.float64)
    points: np.ndarray = xyz[~is_ground(scan.xyz)]
    return points


def interval_of(a: Placed, b: Placed) -> float:
    """Return the seconds between two scans, a tenth where that is not known."""
    if a.scan.stamp is None or b.scan.stamp is None or a.scan.stamp == b.scan.stamp:
        return _INTERVAL_S
    return abs(b.scan.stamp - a.scan.stamp)


class _Clock:
    """Context for each stage: tells that it begins, and keeps how long it took."""

    def __init__(self, callback: Callable[[str], None] | None) -> None:
        self.callback = callback
        self.time_ms: dict[str, float] = {}

    def __call__(self, stage: str) -> _Clock:
        self.stage = stage
        return self

    def __enter__(self) -> None:
        if self.callback is not None:
            self.callback(self.stage)
        self.start = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self.time_ms[self.stage] = 1e3 * (time.perf_counter() - self.start)
