"""Where a LiDAR was: each scan is laid on a local map of those before it.

Sources: adaptive threshold, constant-velocity prediction and motion compensation, Vizzo et al.,
RA-L 2023 (KISS-ICP); voxels of normal distributions as a map, Koide et al., ICRA 2021 (VGICP), by
the library small_gicp. What is ours: a scan that does not fit where it is expected is looked for
anywhere (`pcinv.register` against the last one), and directions that a scan leaves open are told.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from pcinv.errors import InputError
from pcinv.geometry.rigid import se3_exp, se3_log
from pcinv.ops.ground import is_ground

MIN_POINTS = 100
"""Of a thinned scan; fewer leave a pose open."""
_STRANGE, _LOST = 0.65, 0.5
"""Shares of what usually is matched, below which a scan is not where it was expected, and lost."""
_FIRST = 0.15
"""Share of matched points that is asked of the second scan, before it is known what is usual."""
_ROUGH = 4
"""Cells of the rough map, by which a scan is found farther from where it is expected."""
_SHIFTS = [np.zeros(3), *(
    np.array([far * math.cos(way), far * math.sin(way), 0.0])
    for far in (0.75, 1.5, 3.0) for way in np.arange(8) * math.pi / 4)]
"""From where the second scan is looked for: nothing is known yet of how fast the sensor is."""
_ROUNDS = 3
"""Times that a scan is laid on the map, where its own motion was not the one expected."""
_NEAR_M, _NEAR_RAD = 0.02, 2e-3
_OPEN = 0.007
"""Share of the best determined direction below which one counts as open."""


@dataclass(frozen=True)
class OdometryOptions:
    """How scans are laid on the map; metres and seconds.

    voxel : side of the cells of the map.  thin : side of the cells that a scan is thinned to.
    min_range, max_range : of the points that are looked at.
    deskew : undo the motion within a scan where its points carry times.
    first_threshold : farthest match of the first scans; later ones learn it from how far
        predictions were off.
    min_motion : deviations below it teach nothing.
    keep : scans after which cells that no scan has touched are forgotten.
    threads : of the processor.
    """

    voxel: float = 0.5
    thin: float = 0.5
    min_range: float = 2.0
    max_range: float = 100.0
    deskew: bool = True
    first_threshold: float = 2.0
    min_motion: float = 0.1
    keep: int = 100
    threads: int = 2


@dataclass(frozen=True)
class Step:
    """What was found of a scan.

    T_world_sensor : (4, 4) its pose; the world is the frame of the first scan's sensor.
    matched : share of the thinned points off the ground that lie near their cell of the map; the
        ground fits anywhere, and the rings on it best where nothing has moved.
    threshold : farthest match that was looked for, metres.
    open_direction : (3,) in the sensor's frame, along which the scan can slide; or None.
    found_by : "start", "map", "register" where it was not where it was expected and was found
        anyway, or "lost": then the pose is the expected one.
    """

    T_world_sensor: Float[np.ndarray, "4 4"]
    matched: float
    threshold: float
    open_direction: Float[np.ndarray, "3"] | None
    found_by: str


class Odometer:
    """A map that scans are laid on, one after the other."""

    def __init__(self, options: OdometryOptions | None = None) -> None:
        import small_gicp

        self.options = options or OdometryOptions()
        self._gicp = small_gicp
        self._map, self._rough = self._new_maps()
        self._first: tuple[np.ndarray, np.ndarray, float] | None = None
        self.poses: deque[np.ndarray] = deque(maxlen=1)
        self._rate = torch.zeros(6, dtype=torch.float64)
        self._last: np.ndarray | None = None
        self._square, self._count = self.options.first_threshold**2, 1
        self._usual: float | None = None

    def add(
        self, xyz: Float[np.ndarray, "n 3"], time: Float[np.ndarray, "n"] | None = None,
        interval_s: float = 0.1,
    ) -> Step:
        """Lay a scan on the map, and put it in.

        xyz : (N, 3) in the sensor's frame.  time : (N,) seconds relative to the scan's stamp.
        interval_s : since the scan before.

        Raises InputError for a scan with too few points in range.
        """
        moved = expected = self._expected(interval_s)
        thin = self._thin(xyz, time, moved, interval_s)
        cloud = self._prepare(thin)
        if not self.poses:
            step = Step(np.eye(4), 1.0, self.options.first_threshold, None, "start")
            self._first = None if time is None else (xyz, time, interval_s)
        else:
            step = self._lay(cloud, thin, self.poses[-1] @ expected)
            for _ in range(_ROUNDS - 1):
                found = np.linalg.inv(self.poses[-1]) @ step.T_world_sensor
                if time is None or not self.options.deskew or _is_near(found, moved):
                    break
                # the motion within the scan was another one than expected
                moved = found
                self._begin_again(moved)
                thin = self._thin(xyz, time, moved, interval_s)
                cloud = self._prepare(thin)
                step = self._lay(cloud, thin, step.T_world_sensor)
            self._first = None
            if step.found_by != "lost":
                usual = step.matched if self._usual is None else self._usual
                self._usual = 0.9 * usual + 0.1 * step.matched
            if step.found_by == "map":
                self._learn(np.linalg.inv(self.poses[-1] @ expected) @ step.T_world_sensor)
        self._insert(cloud, step.T_world_sensor)
        self._append(step.T_world_sensor, interval_s)
        self._last = thin
        return step

    def _begin_again(self, moved: Float[np.ndarray, "4 4"]) -> None:
        """Make the map of the first scan anew, now that its motion is known."""
        if self._first is not None:
            self._map, self._rough = self._new_maps()
            self._last = self._thin(*self._first[:2], moved, self._first[2])
            self._insert(self._prepare(self._last), self.poses[-1])

    def replay(
        self, xyz: Float[np.ndarray, "n 3"], pose: Float[np.ndarray, "4 4"],
        time: Float[np.ndarray, "n"] | None = None, interval_s: float = 0.1,
    ) -> None:
        """Put a scan of known pose in, to go on from there; as of `add`."""
        moved = np.linalg.inv(self.poses[-1]) @ pose if self.poses else np.eye(4)
        if self.poses:
            self._begin_again(moved)
            self._first = None
        elif time is not None:
            self._first = xyz, time, interval_s
        self._last = self._thin(xyz, time, moved, interval_s)
        self._insert(self._prepare(self._last), pose)
        self.remember(pose, interval_s)

    def remember(self, pose: Float[np.ndarray, "4 4"], interval_s: float = 0.1) -> None:
        """Take the pose of a scan into account that the map has forgotten anyway."""
        if self.poses:
            self._learn(np.linalg.inv(self.poses[-1] @ self._expected(interval_s)) @ pose)
        self._append(pose, interval_s)

    def _append(self, pose: Float[np.ndarray, "4 4"], interval_s: float) -> None:
        if self.poses:
            moved = torch.from_numpy(np.linalg.inv(self.poses[-1]) @ pose)
            self._rate = se3_log(moved) / interval_s
        self.poses.append(pose)

    @property
    def threshold(self) -> float:
        """Return the root mean square of how far predictions were off, metres (eq. 5)."""
        return math.sqrt(self._square / self._count)

    def _new_maps(self) -> tuple[Any, Any]:
        found = [self._gicp.GaussianVoxelMap(size * self.options.voxel) for size in (1, _ROUGH)]
        for each in found:
            each.set_lru(self.options.keep, 10)
        return found[0], found[1]

    def _insert(self, cloud: Any, pose: Float[np.ndarray, "4 4"]) -> None:
        self._map.insert(cloud, pose)
        self._rough.insert(cloud, pose)

    def _expected(self, interval_s: float) -> Float[np.ndarray, "4 4"]:
        """Return the motion of an interval if the sensor goes on as it did in the last one."""
        found: np.ndarray = se3_exp(self._rate * interval_s).numpy()
        return found

    def _thin(
        self, xyz: np.ndarray, time: np.ndarray | None, moved: np.ndarray, interval_s: float
    ) -> Float[np.ndarray, "n 3"]:
        """Return the points in range, without the motion of the sensor, thinned."""
        options = self.options
        points = np.asarray(xyz, dtype=np.float64)
        distance = np.linalg.norm(points, axis=1)
        near = (distance >= options.min_range) & (distance <= options.max_range)
        points = points[near]
        if options.deskew and time is not None:
            points = deskew(points, time[near] / interval_s, moved)
        thin = self._gicp.voxelgrid_sampling(points, options.thin, options.threads).points()[:, :3]
        if len(thin) < MIN_POINTS:
            raise InputError(f"{len(thin)} places between {options.min_range} and "
                             f"{options.max_range} m, {MIN_POINTS} are needed", where="scan",
                             hint="a scan of more points, or other ranges")
        return np.asarray(thin)

    def _prepare(self, thin: Float[np.ndarray, "n 3"]) -> Any:
        cloud = self._gicp.PointCloud(thin)
        self._gicp.estimate_covariances(cloud, num_neighbors=10, num_threads=self.options.threads)
        return cloud

    def _lay(self, cloud: Any, thin: np.ndarray, expected: Float[np.ndarray, "4 4"]) -> Step:
        reach = 3 * self.threshold
        standing = thin[~is_ground(thin)]
        above = self._gicp.PointCloud(standing if len(standing) >= MIN_POINTS else thin)
        found, kind, usual = self._align(cloud, expected, reach), "map", self._usual
        matched = self._matched(above, found)
        strange = _FIRST if usual is None else _STRANGE * usual
        if usual is None or matched < strange:
            # cells of the fine map hold a scan only where it nearly lies already
            for shift in _SHIFTS if usual is None else _SHIFTS[:1]:
                start = expected.copy()
                start[:3, 3] += expected[:3, :3] @ shift
                rough = self._align(cloud, start, reach, self._rough)
                other = self._align(cloud, np.asarray(rough.T_target_source), reach)
                share = self._matched(above, other)
                if share > matched:
                    found, matched = other, share
        anywhere = self._anywhere(thin) if matched < strange else None
        if anywhere is not None:
            other = self._align(cloud, anywhere, self.options.first_threshold)
            share = self._matched(above, other)
            if share > matched:
                found, matched, kind = other, share, "register"
        if matched < (_FIRST if usual is None else _LOST * usual):
            return Step(expected, matched, reach, None, "lost")
        return Step(np.asarray(found.T_target_source), matched, reach,
                    open_direction(np.asarray(found.H)), kind)

    def _matched(self, above: Any, found: Any) -> float:
        near = self._gicp.align(
            self._map, above, np.asarray(found.T_target_source), max_iterations=1,
            max_correspondence_distance=self.options.voxel, num_threads=self.options.threads)
        return int(near.num_inliers) / int(above.size())

    def _align(self, cloud: Any, start: np.ndarray, reach: float, among: Any = None) -> Any:
        return self._gicp.align(
            self._map if among is None else among, cloud, start, max_correspondence_distance=reach,
            max_iterations=50, rotation_epsilon=1e-4, translation_epsilon=1e-4,
            num_threads=self.options.threads)

    def _anywhere(self, thin: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "4 4"] | None:
        """Return where the scan is if it is looked for near the last one, or None."""
        from pcinv.registration.pipeline import register

        if self._last is None:
            return None
        result = register(thin, self._last)
        if result.verdict != "trusted":
            return None
        found: np.ndarray = self.poses[-1] @ result.transform
        return found

    def _learn(self, deviation: Float[np.ndarray, "4 4"]) -> None:
        """Take into account how far a prediction was off (eq. 3 and 4)."""
        turn = float(torch.linalg.vector_norm(se3_log(torch.from_numpy(deviation))[3:]))
        size = float(np.linalg.norm(deviation[:3, 3])) + 2 * self.options.max_range * math.sin(
            turn / 2)
        if size > self.options.min_motion:
            self._square, self._count = self._square + size**2, self._count + 1


def _is_near(first: Float[np.ndarray, "4 4"], second: Float[np.ndarray, "4 4"]) -> bool:
    """Return whether two motions of an interval are so near that points need not be moved again."""
    away = se3_log(torch.from_numpy(np.linalg.inv(first) @ second)).numpy()
    return bool(np.linalg.norm(away[:3]) < _NEAR_M and np.linalg.norm(away[3:]) < _NEAR_RAD)


def deskew(
    xyz: Float[np.ndarray, "n 3"], fraction: Float[np.ndarray, "n"], moved: Float[np.ndarray, "4 4"]
) -> Float[np.ndarray, "n 3"]:
    """Return points in the sensor's frame at the scan's stamp: p <- exp(fraction log moved) p.

    fraction : (N,) time of each point relative to the stamp, in scan intervals.
    moved : (4, 4) motion of the sensor in one interval, T_before_now.
    """
    rate = se3_log(torch.from_numpy(moved))
    grid = np.linspace(fraction.min(), fraction.max(), 65) if len(fraction) else np.zeros(1)
    pose = se3_exp(torch.from_numpy(grid)[:, None] * rate).numpy()  # (65, 4, 4)
    width = grid[-1] - grid[0]
    place = (fraction - grid[0]) / width * (len(grid) - 1) if width > 0 else np.zeros(len(fraction))
    low = np.clip(place.astype(np.int64), 0, max(0, len(grid) - 2))
    share = (place - low)[:, None]
    # between neighbours on the grid straight lines are exact to 1e-7 of the distance
    first = np.einsum("nij,nj->ni", pose[low, :3, :3], xyz) + pose[low, :3, 3]
    high = np.minimum(low + 1, len(grid) - 1)
    second = np.einsum("nij,nj->ni", pose[high, :3, :3], xyz) + pose[high, :3, 3]
    found: np.ndarray = (1 - share) * first + share * second
    return found


def open_direction(information: Float[np.ndarray, "6 6"]) -> Float[np.ndarray, "3"] | None:
    """Return the direction along which a scan can slide on the map, or None where it holds.

    information : (6, 6) of the fit in the sensor's frame, rotation before translation.
    """
    turn, both, shift = information[:3, :3], information[:3, 3:], information[3:, 3:]
    left = shift - both.T @ np.linalg.pinv(turn) @ both
    values, vectors = np.linalg.eigh((left + left.T) / 2)
    if values[0] >= _OPEN * values[-1]:
        return None
    direction = vectors[:, 0]
    found: np.ndarray = direction * np.sign(direction[np.abs(direction).argmax()])
    return found
