"""Generated rooms, and the fragments that a depth camera carried through one would record."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from pcinv_data import depth_camera as camera
from pcinv_data.generate import interior
from pcinv_data.generate.clutter import large_thing, small_thing, turned
from pcinv_data.generate.interior import Furniture, Top
from pcinv_data.generate.meshes import Mesh, Rng, bent, block, placed, sheet, tube
from pcinv_data.generate.wall_things import wall_thing

FRAMES = 12
"""Images of a fragment."""
VOXEL = 0.025
"""One point of each cell of this size stays, in metres; as 3DMatch's fragments are used."""
LEAST_POINTS = 8000
MOST_TRIES = 400
CLEARANCE = 0.25
"""Distance that a camera keeps from all surfaces, in metres."""
_BUILDINGS, _RECORDINGS = 0, 1  # own random streams, so that other walks do not change the room


class Room(NamedTuple):
    """A room of triangles: floor at z = 0, its middle at x = y = 0, metres.

    triangles : (T, 3, 3).  thing : (T,) which thing each belongs to.
    dark : (things,) share of the pixels that the camera measures nothing for, by material.
    size : length along x, width along y, height.
    """

    triangles: np.ndarray
    thing: np.ndarray
    dark: np.ndarray
    size: tuple[float, float, float]


class Fragment(NamedTuple):
    """A fused recording, in the frame of its first camera, which is at the origin.

    points : (N, 3) float64, one a cell of `VOXEL`.
    dense : (M, 3) float64, all that were fused, 6 mm apart.
    T_room_fragment : (4, 4) float64.
    T_fragment_cameras : (F, 4, 4) where tracking had the cameras of all images; the first is here.
    """

    points: np.ndarray
    dense: np.ndarray
    T_room_fragment: np.ndarray
    T_fragment_cameras: np.ndarray


def make_room(seed: int) -> Room:
    """Generate a furnished room; the same for the same seed.

    It is 2.8 to 6.5 m long and 2.6 to 5 m wide, every third one with a corner cut out; with
    furniture along its walls and about in it, and clutter on all that is level.
    """
    rng = np.random.default_rng([seed, _BUILDINGS])
    size = (rng.uniform(2.8, 6.5), rng.uniform(2.6, 5.0), rng.uniform(2.3, 3.0))
    things = [*_shell(rng, size), *_furnish(rng, size)]
    dark = np.where(rng.random(len(things)) < 0.12, rng.uniform(0.3, 0.97, len(things)),
                    rng.uniform(0, 0.04, len(things)))
    return Room(np.concatenate(things), np.repeat(np.arange(len(things)), [len(m) for m in things]),
                dark, size)


def _shell(rng: Rng, size: tuple[float, float, float]) -> list[Mesh]:
    """The floor, the ceiling with what hangs from it, and the walls with what is on them."""
    x, y, z = size
    things = [sheet(rng, x + 1, y + 1, rng.uniform(0, 0.004), 0.6, 12),
              block(x + 1, y + 1, 0.1, (0, 0, z))]
    corners = [(-x / 2, y / 2), (x / 2, y / 2), (x / 2, -y / 2), (-x / 2, -y / 2)]
    if rng.random() < 0.35:
        u, v = rng.uniform(0, x / 4), rng.uniform(0, y / 4)
        corners[1:2] = [(u, y / 2), (u, v), (x / 2, v)]
    for start, end in zip(corners, [*corners[1:], corners[0]], strict=True):
        things += _wall(rng, np.array(start), np.array(end), z)
    for _ in range(rng.integers(3)):  # beams
        things.append(block(rng.uniform(0.1, 0.3), y, rng.uniform(0.1, 0.25),
                            (rng.uniform(-x / 2, x / 2), 0, z - 0.2)))
    for _ in range(rng.integers(3)):  # hanging lamps
        cord = tube([(0, 0, -0.2), (0, 0, 0), (0, 0, 0.1)], 0.01, 6)
        things.append(placed([placed([turned(rng, 0.3, 0.25)], (0, 0, -0.5)), cord],
                             (rng.uniform(-1, 1), rng.uniform(-1, 1), z)))
    return things


def _wall(rng: Rng, start: np.ndarray, end: np.ndarray, height: float) -> list[Mesh]:
    along = end - start
    length, angle = math.hypot(*along), math.atan2(along[1], along[0])
    middle = (start + end) / 2

    def on_wall(mesh: Mesh, share: float, up: float = 0.0) -> Mesh:
        at = middle + share * along
        return placed([mesh], (at[0], at[1], up), angle)

    # a little too large, so that there are no gaps between uneven walls
    plaster = sheet(rng, length + 0.06, height + 0.06, rng.uniform(0, 0.004), 0.5, 10)
    things = [on_wall(placed([plaster], about_x=math.pi / 2), 0.0, height / 2)]
    if rng.random() < 0.6:
        things.append(on_wall(block(length, 0.03, 0.1), 0.0))  # skirting
    things += [on_wall(wall_thing(rng, height), rng.uniform(-0.42, 0.42))
               for _ in range(rng.poisson(1.3 * length))]
    if rng.random() < 0.4:  # a pillar
        things.append(on_wall(block(rng.uniform(0.15, 0.6), rng.uniform(0.2, 0.8), height),
                              rng.uniform(-0.45, 0.45)))
    return things


_ALONG_WALLS: tuple[Callable[[Rng], Furniture], ...] = (
    interior.cabinet, interior.cabinet, interior.shelf, interior.shelf, interior.counter,
    interior.sofa, interior.bed, interior.table, interior.table)


def _furnish(rng: Rng, size: tuple[float, float, float]) -> list[Mesh]:
    x, y, _ = size
    things: list[Mesh] = []
    tops: list[tuple[Top, tuple[float, float], float]] = []
    taken: list[tuple[float, float]] = []

    def add(piece: Furniture, at: tuple[float, float], angle: float, gap: float) -> None:
        if all(math.dist(at, other) > gap for other in taken):
            things.append(placed([bent(rng, piece[0], 0.12)], (*at, 0), angle))
            tops.extend((top, at, angle) for top in piece[1])
            taken.append(at)

    for _ in range(rng.integers(6, 13)):
        piece = _ALONG_WALLS[rng.integers(len(_ALONG_WALLS))](rng)
        side, askew = rng.integers(4), rng.normal(0, 0.03)
        u, v = rng.uniform(-x / 2 + 0.5, x / 2 - 0.5), rng.uniform(-y / 2 + 0.5, y / 2 - 0.5)
        at = ((u, y / 2 - 0.4), (x / 2 - 0.4, v), (u, 0.4 - y / 2), (0.4 - x / 2, v))[side]
        add(piece, at, -side * math.pi / 2 + askew, 0.7)
    for _ in range(rng.integers(8, 22)):
        kind = rng.integers(8)
        piece = ((large_thing(rng), []) if kind > 4 else interior.sofa(rng) if kind == 4
                 else interior.table(rng) if kind == 3 else interior.chair(rng))
        add(piece, (rng.uniform(-x / 2 + 0.4, x / 2 - 0.4), rng.uniform(-y / 2 + 0.4, y / 2 - 0.4)),
            rng.uniform(0, 2 * math.pi), 0.35)
    for top, at, angle in tops:
        for _ in range(rng.poisson(6 + 14 * top.x * top.y)):
            thing = small_thing(rng) if rng.random() < 0.9 else large_thing(rng)
            place = (top.at[0] + rng.uniform(-0.5, 0.5) * top.x,
                     top.at[1] + rng.uniform(-0.5, 0.5) * top.y, top.at[2])
            smaller = placed([thing], place, scale=1.0 if rng.random() < 0.9 else 0.5)
            things.append(placed([smaller], (*at, 0), angle))
    things += [placed([small_thing(rng)], (rng.uniform(-x / 2, x / 2), rng.uniform(-y / 2, y / 2),
                                           0)) for _ in range(rng.integers(2, 20))]
    return things


def scan_room(room: Room, seed: int, count: int = 8) -> list[Fragment]:
    """Record fragments along a walk through a room; the same for the same room and seed.

    count : how many; fewer are returned from a room too narrow for the camera.
    """
    rng = np.random.default_rng([seed, _RECORDINGS])
    walk = _Walk(room, rng)
    fragments: list[Fragment] = []
    for _ in range(MOST_TRIES):
        if len(fragments) == count:
            break
        pose = walk.step()
        if pose is None:
            continue
        found = _record(room, pose, rng)
        if len(found.points) >= LEAST_POINTS:
            fragments.append(found)
            walk.arrive()
    return fragments


class _Walk:
    """Places of a camera: mostly a step and a turn from the last one, by chance somewhere else."""

    def __init__(self, room: Room, rng: Rng) -> None:
        from scipy.spatial import cKDTree

        self.room, self.rng = room, rng
        self.surfaces = cKDTree(_scatter(room.triangles, 60_000, rng))
        self.last: tuple[np.ndarray, float, float] | None = None
        self.next: tuple[np.ndarray, float, float] | None = None

    def step(self) -> np.ndarray | None:
        """Return T_room_camera (4, 4) of a place worth recording from, or None."""
        rng, (x, y, z) = self.rng, self.room.size
        if self.last is None or rng.random() < 0.12:
            self.last = (np.array([rng.uniform(-0.4, 0.4) * x, rng.uniform(-0.4, 0.4) * y,
                                   rng.uniform(0.9, 1.8)]),
                         rng.uniform(0, 2 * math.pi), rng.uniform(-0.6, 0.05))
        at = self.last[0] + rng.normal(0, (0.35, 0.35, 0.12))
        azimuth = self.last[1] + rng.normal(0, 0.45)
        pitch = float(np.clip(self.last[2] + rng.normal(0, 0.2), -0.9, 0.2))
        inside = (np.abs(at[:2]) < (x / 2 - 0.2, y / 2 - 0.2)).all() and 0.6 < at[2] < z - 0.3
        pose = camera.look(at, azimuth, pitch)
        if inside and self.surfaces.query(at)[0] > CLEARANCE and self._worth(pose):
            self.next = (at, azimuth, pitch)
            return pose
        if rng.random() < 0.2:
            self.last = None
        return None

    def arrive(self) -> None:
        """Go on from the place of the last step."""
        self.last = self.next

    def _worth(self, pose: np.ndarray) -> bool:
        """Tell whether the view is full, not too near, and, mostly, not of bare walls."""
        sight = camera.render(self.room.triangles, pose, step=8)
        seen = np.isfinite(sight.z)
        if seen.mean() < 0.6:
            return False
        z = sight.z[seen]
        if not 1.1 < np.median(z) < 3.0 or np.quantile(z, 0.05) < camera.NEAR:
            return False
        counts = np.bincount(self.room.thing[sight.triangle[seen]])
        return bool(np.sort(counts)[-2:].sum() < 0.6 * len(z) or self.rng.random() > 0.85)


def _scatter(triangles: np.ndarray, count: int, rng: Rng) -> np.ndarray:
    """Return (count, 3) points on triangles, uniform by area."""
    edges = triangles[:, 1:] - triangles[:, :1]
    cross = np.cross(edges[:, 0], edges[:, 1])
    areas = np.sqrt((cross * cross).sum(1)).cumsum()
    which = np.searchsorted(areas, rng.random(count) * areas[-1])
    uv = rng.random((count, 2))
    uv = np.where(uv.sum(1, keepdims=True) > 1, 1 - uv, uv)
    return np.asarray(triangles[which, 0] + (edges[which] * uv[..., None]).sum(1))


def _record(room: Room, pose: np.ndarray, rng: Rng) -> Fragment:
    """Record and fuse images along a short shaky path that begins near `pose`.

    What is fused is laid by the poses that tracking would give, which drift by some millimetres.
    """
    at = pose[:3, 3]
    azimuth, pitch = math.atan2(pose[1, 2], pose[0, 2]), math.asin(pose[2, 2])
    move = rng.normal(size=3) * rng.uniform(0.1, 0.5) * [1, 1, 0.4]
    turn, rise, roll = rng.normal(0, (0.42, 0.2, 0.08))
    lens = camera.draw_lens(rng)
    images, poses, drift = [], [], np.zeros(6)
    for share in np.linspace(0, 1, FRAMES):
        shake, tremble = rng.normal(0, 0.012, 3), rng.normal(0, 0.008, 3)
        here = camera.look(at + share * move + shake, azimuth + share * turn + tremble[0],
                           pitch + share * rise + tremble[1], roll + tremble[2])
        sight = camera.render(room.triangles, here)
        dark = room.dark[room.thing[np.maximum(sight.triangle, 0)]]
        images.append(camera.measure(sight, dark, lens, rng))
        poses.append(_shifted(here, drift))
        drift = drift + rng.normal(0, 0.0012 * lens.noise, 6) * [1, 1, 1, 0.6, 0.6, 0.6]
    cameras = np.linalg.inv(poses[0]) @ np.stack(poses)
    dense = camera.fuse(np.stack(images), cameras)
    return Fragment(camera.thin(dense, VOXEL, rng), dense, poses[0], cameras)


def _shifted(pose: np.ndarray, drift: np.ndarray) -> np.ndarray:
    """Return a pose moved by drift[:3] metres and turned by the vector drift[3:] in radians."""
    from scipy.spatial.transform import Rotation

    moved = pose.copy()
    moved[:3, :3] = pose[:3, :3] @ Rotation.from_rotvec(drift[3:]).as_matrix()
    moved[:3, 3] += drift[:3]
    return moved
