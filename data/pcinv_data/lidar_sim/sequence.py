"""Sequences of scans of a generated street, each made when it is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from pcinv.errors import InputError
from pcinv.types import Boxes, Scan
from pcinv_data.lidar.sequence import ScanSequence
from pcinv_data.lidar_sim.classes import CLASS_NAMES, GROUND, THINGS
from pcinv_data.lidar_sim.sensor import (
    BEAMS,
    COLUMNS,
    NEAR,
    RATE,
    Echoes,
    directions,
    elevations,
    firing,
    returns,
)
from pcinv_data.lidar_sim.street import HALF_TURN, TURN, Scene, Street
from pcinv_data.lidar_sim.traffic import KNOTS, matrices
from pcinv_data.registry import check_range

VERSION = 1
"""To be raised with any change of what is drawn."""
MOST_SCANS = 1_000_000
_NOISE = 6


@dataclass(frozen=True)
class Settings:
    """What a sequence is made of; see `lidar_sim`."""

    seed: int
    beams: int
    columns: int
    rolling: bool
    noise: float
    dropout: bool
    max_range: float
    traffic: bool
    ego_speed: float | None


@dataclass(eq=False)
class StreetSequence(ScanSequence):
    """Scans of a generated street. settings : all that they depend on."""

    settings: Settings = field(kw_only=True)
    _scanner: Scanner = field(kw_only=True)

    def deskewed(self, index: int) -> Scan:
        """Return a scan with each point where its piece of surface was at the scan's stamp.

        The motion of the sensor and of the things is taken out; p + flow of it is where that piece
        is at the next stamp. A scan that is not rolling is returned as it is.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"scan {index} of {len(self)}")
        scan, at_stamp = self._scanner.made(index)
        return replace(scan, xyz=at_stamp.astype(np.float32), time=None, is_deskewed=True,
                       T_world_sensor=self.poses[index], stamp=float(self.stamps[index]))


def lidar_sim(scans: int = 100, seed: int = 0, *, beams: int = 64, columns: int = 1024,
              rolling: bool = False, noise: float = 0.02, dropout: bool = True,
              max_range: float = 80.0, traffic: bool = True, ego_speed: float | None = None
              ) -> StreetSequence:
    """Return a drive through a generated street, scanned ten times a second, with exact truth.

    scans : how many; a scan is the same for every number, and whatever was asked for before.
    beams : 16, 32, 64 or 128.  columns : of a turn.
    rolling : each column is fired at its own time, and `Scan.time` says when, -0.05 to 0.05 s about
        the stamp, at which the scanner looks ahead. Else all is fired at the stamp.
    noise : standard deviation of distances, in metres.  dropout : some rays measure nothing.
    traffic : others move.  ego_speed : of the scanner in m/s, 0 to 14; None for one that changes,
        stops and goes on.

    Labels are those of SemanticKITTI. `flow` of a point p of a scan that is not rolling takes it to
    where the same piece of surface is in the next scan's frame at its stamp. In a rolling scan p is
    in the frame of the sensor at its own time; flow is the motion from stamp to stamp, and begins
    at the place that `StreetSequence.deskewed` gives. Boxes are of the stamp: their headings are
    about the sensor's z axis, and each holds its thing also where that leans. The world is the
    frame of the sensor at the first stamp, as in KITTI.

    Raises InputError for a number out of its range.
    """
    check_range("scans", scans, 1, MOST_SCANS)
    check_range("seed", seed, 0, 2**63)
    if beams not in BEAMS:
        raise InputError(f"beams is {beams}, expected one of {', '.join(map(str, BEAMS))}",
                         where="beams", hint="64 is usual")
    check_range("columns", columns, *COLUMNS)
    for name, value, low, high in (("noise", noise, 0, 1), ("max_range", max_range, 10, 120),
                                   ("ego_speed", ego_speed, 0, 14)):
        if value is not None and not low <= value <= high:
            raise InputError(f"{name} is {value}, expected {low} to {high}", where=name,
                             hint=f"choose {low} to {high}")
    settings = Settings(seed, beams, columns, rolling, float(noise), dropout, float(max_range),
                        traffic, None if ego_speed is None else float(ego_speed))
    scanner = Scanner(settings)
    poses = scanner.street.poses(scans)
    poses = np.concatenate([np.eye(4)[None], np.linalg.inv(poses[0]) @ poses[1:]])
    return StreetSequence(
        name=f"street-{seed}", format="lidar_sim", path=Path(f"street-{seed}"),
        class_names=CLASS_NAMES, names=Names(scans), poses=poses,
        stamps=np.arange(scans) / RATE, num_jumps=0, skipped={}, notes=[], missing=[],
        _read=scanner.scan, settings=settings, _scanner=scanner)


def make_clip(seed: int = 0, scans: int = 8, *, beams: int = 16, columns: int = 256,
              **settings: object) -> list[Scan]:
    """Return a few coarse scans, for tests; settings are those of `lidar_sim`."""
    return list(lidar_sim(scans, seed, beams=beams, columns=columns, **settings))  # type: ignore


class Names(Sequence[str]):
    """The names of scans, without a list of them."""

    def __init__(self, count: int) -> None:
        self.count_of_scans = count

    def __len__(self) -> int:
        return self.count_of_scans

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [f"{k:06d}" for k in range(*index.indices(len(self)))]
        return f"{range(len(self))[index]:06d}"


class Scanner:
    """Makes scan after scan of a street."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.street = Street(settings.seed, settings.max_range, settings.traffic,
                             settings.ego_speed)
        self.elevation = elevations(settings.beams)
        self.azimuth, self.time = firing(settings.columns)
        self.rays = directions(self.azimuth, self.elevation)

    def __reduce__(self) -> tuple[type[Scanner], tuple[Settings]]:
        return Scanner, (self.settings,)  # other processes draw the street anew

    def scan(self, index: int) -> Scan:
        """Return a scan without its pose and stamp."""
        return self.made(index)[0]

    def made(self, index: int) -> tuple[Scan, np.ndarray]:
        """Return a scan without its pose and stamp, and where its points (N, 3) were at that."""
        settings, scene = self.settings, self.street.scene(index)
        echoes = self.fire(scene)
        rng = np.random.default_rng([settings.seed, _NOISE, index])
        kept, distance, intensity = returns(echoes, settings.noise, settings.dropout, rng)
        echoes = Echoes(*(values[kept] for values in echoes))
        rays = self.rays[echoes.column, echoes.ring]
        xyz = (rays * distance[kept, None]).astype(np.float32)
        at_stamp, after = self.carried(scene, echoes, xyz.astype(np.float64))
        number = np.r_[scene.number, 0]  # row -1 is the street
        instance = np.where(echoes.label < len(THINGS), number[echoes.owner], 0)
        scan = Scan(
            xyz, f"{index:06d}", intensity=intensity[kept],
            time=self.time[echoes.column].astype(np.float32) if settings.rolling else None,
            ring=echoes.ring.astype(np.uint8), label=echoes.label, instance=instance,
            flow=(after - at_stamp).astype(np.float32), is_ground=np.isin(echoes.label, GROUND),
            boxes=_boxes(scene, echoes.owner, settings.max_range),
            is_deskewed=not settings.rolling)
        return scan, at_stamp

    def fire(self, scene: Scene) -> Echoes:
        """Return what the rays of a turn meet, without noise."""
        from pcinv_data.lidar_sim.turn_kernels import turn

        shape = len(self.azimuth), len(self.elevation)
        distance, cosine, shine = np.full(shape, np.inf), np.ones(shape), np.zeros(shape)
        label, owner = np.zeros(shape, np.int64), np.full(shape, -1)
        knots = HALF_TURN + self.time * KNOTS if self.settings.rolling \
            else np.full(len(self.time), float(HALF_TURN))
        turn(scene.sensor[:TURN + 1], self.azimuth, knots, self.elevation, scene.parts,
             scene.groups, scene.tracks[:, :TURN + 1], scene.field, NEAR, self.settings.max_range,
             distance, label, owner, cosine, shine)
        met = np.isfinite(distance)
        column, ring = np.nonzero(met)
        return Echoes(column, ring, distance[met], label[met], owner[met], cosine[met], shine[met])

    def carried(self, scene: Scene, echoes: Echoes, points: np.ndarray
                ) -> tuple[np.ndarray, np.ndarray]:
        """Return where points (N, 3) of the sensor's frame are at the stamp and at the next one."""
        now, after = matrices(scene.sensor[[HALF_TURN, TURN + 1]])
        back, after = np.linalg.inv(now), np.linalg.inv(after)
        moves = np.r_[scene.moves, False][echoes.owner]  # row -1 is the street
        poses = matrices(scene.tracks[:, [HALF_TURN, TURN + 1]])
        if not self.settings.rolling:
            world, at_stamp = points @ now[:3, :3].T + now[:3, 3], points
        else:
            knots = HALF_TURN + self.time * KNOTS
            fired = matrices(_between(scene.sensor[None], np.zeros(len(knots), np.int64), knots))
            world = _apply(fired[echoes.column], points)
            own = matrices(_between(scene.tracks, echoes.owner[moves],
                                    knots[echoes.column[moves]]))
            to_stamp = poses[echoes.owner[moves], 0] @ np.linalg.inv(own)
            world[moves] = _apply(to_stamp, world[moves])
            at_stamp = world @ back[:3, :3].T + back[:3, 3]
        onward = poses[:, 1] @ np.linalg.inv(poses[:, 0])  # from stamp to stamp, in the map
        moved = world.copy()
        moved[moves] = _apply(onward[echoes.owner[moves]], world[moves])
        return at_stamp, moved @ after[:3, :3].T + after[:3, 3]


def _apply(T: np.ndarray, points: np.ndarray) -> np.ndarray:
    return np.asarray(np.einsum("nij,nj->ni", T[:, :3, :3], points) + T[:, :3, 3])


def _between(tracks: np.ndarray, row: np.ndarray, knots: np.ndarray) -> np.ndarray:
    """Return tracks (O, K, 6) at knots (N,), as the kernel has them."""
    k = np.minimum(knots.astype(np.int64), TURN - 1)
    share = (knots - k)[:, None]
    return np.asarray(tracks[row, k] + share * (tracks[row, k + 1] - tracks[row, k]))


def _boxes(scene: Scene, owner: np.ndarray, reach: float) -> Boxes:
    """Return the boxes of all things within reach at the stamp, in the sensor's frame."""
    sensor = matrices(scene.sensor[HALF_TURN])
    R = sensor[:3, :3]
    counts = np.bincount(owner[owner >= 0], minlength=len(scene.number))
    poses = matrices(scene.tracks[:, HALF_TURN])
    steps = scene.tracks[:, HALF_TURN + 1, :3] - scene.tracks[:, HALF_TURN - 1, :3]
    velocity = (steps * KNOTS / 2 @ R)[:, :2]
    away = np.linalg.norm(scene.tracks[:, HALF_TURN, :3] - sensor[:3, 3], axis=1)
    rows = np.flatnonzero((away < reach) | (counts > 0))
    turns = R.T @ poses[rows, :3, :3]
    yaw = np.arctan2(turns[:, 1, 0], turns[:, 0, 0])
    c, s = np.cos(yaw), np.sin(yaw)
    own = np.zeros((len(rows), 3, 3))  # from the sensor to the box
    own[:, 0, 0], own[:, 0, 1], own[:, 1, 0], own[:, 1, 1], own[:, 2, 2] = c, s, -s, c, 1
    corners = np.array([scene.drawings[row].corners for row in rows]).reshape(len(rows), -1, 3)
    corners = corners @ (own @ turns).transpose(0, 2, 1)
    low, high = corners.min(1), corners.max(1)
    places = (scene.tracks[rows, HALF_TURN, :3] - sensor[:3, 3]) @ R
    centre = places + ((low + high)[:, None] / 2 @ own)[:, 0]
    labels = np.array([scene.drawings[row].label for row in rows], np.int64)
    return Boxes(centre, high - low, yaw, labels, scene.number[rows], velocity[rows], counts[rows])
