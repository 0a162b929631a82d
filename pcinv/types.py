"""Plain containers that the layers of pcinv hand to each other. Imports numpy only."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class PointCloud:
    """Points near a float64 origin, with named attributes.

    Coordinates of real scans can be so far from zero (UTM: 5e6 m) that float32 merges points
    1 cm apart; so points are float32 relative to `origin`, which travels along in float64.

    xyz : (N, 3) float32, in the file's own units, relative to `origin`.
    origin : (3,) float64.
    attributes : name -> (N,) or (N, C) array; `normal` is (N, 3) float32, `color` (N, 3) uint8,
        others keep the file's type and name.
    view_point : (3,) float64 place of the sensor in the file's own frame, as `absolute` is, or None
        where nothing is known of it.
    """

    xyz: np.ndarray
    origin: np.ndarray = field(default_factory=lambda: np.zeros(3))
    attributes: dict[str, np.ndarray] = field(default_factory=dict)
    view_point: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.xyz)

    @property
    def normal(self) -> np.ndarray | None:
        """(N, 3) float32 normals, or None where the file has none."""
        return self.attributes.get("normal")

    def absolute(self) -> np.ndarray:
        """Return the (N, 3) float64 coordinates in the file's own frame."""
        return np.asarray(self.xyz.astype(np.float64) + self.origin)


@dataclass(frozen=True)
class Mesh:
    """A triangle mesh as read from a file; larger faces are split into fans.

    vertices : (V, 3) float64.  faces : (F, 3) int64, every index in [0, V).
    attributes : per-vertex arrays, named as in `PointCloud`.
    """

    vertices: np.ndarray
    faces: np.ndarray
    attributes: dict[str, np.ndarray] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.vertices)


@dataclass(frozen=True)
class Sample:
    """One item of a data set.

    xyz : (N, 3) float32, centred on its mean and scaled into the unit ball.
    normal : (N, 3) float32 unit vectors, or None where the data has none.
    label : class index, or -1.  part : (N,) int64 part labels, or None.
    name : what a person would recognise it by (file stem, shape id).
    """

    xyz: np.ndarray
    label: int
    name: str
    normal: np.ndarray | None = None
    part: np.ndarray | None = None


@dataclass(frozen=True)
class Scan:
    """One sweep of a LiDAR, in the frame of the sensor at `stamp`: x forward, y left, z up; metres.

    The sensor's frame is the vehicle's where a data set gives its points in that (Argoverse 2).
    Only pairs of scene flow from stereo pictures keep other axes, those of their files.

    xyz : (N, 3) float32.  intensity : (N,) float32 in [0, 1], or None.
    time : (N,) float32 seconds of each point relative to `stamp`, or None where all are of one
        instant or the file does not say; `is_deskewed` tells which.
    ring : (N,) uint8 beam, or None.
    label : (N,) int64 class, an index of the sequence's `class_names`, -1 for no class; or None.
    instance : (N,) int64 object, 0 for none, or None.
    flow : (N, 3) float32 how far each point moves until the next scan, in the frames of both
        sensors: p + flow is its place in the next scan's frame; NaN where it is not known. Or None.
    is_ground : (N,) bool, or None.
    boxes : what is around, or None.
    T_world_sensor : (4, 4) float64, or None where no pose is known. The world is the frame in which
        the data set gives its poses, and stays the same for a sequence.
    stamp : seconds, or None.  name : what a person would recognise it by (the file's stem).
    is_deskewed : the motion within the sweep has been taken out, or there was none.
    """

    xyz: np.ndarray
    name: str = ""
    intensity: np.ndarray | None = None
    time: np.ndarray | None = None
    ring: np.ndarray | None = None
    label: np.ndarray | None = None
    instance: np.ndarray | None = None
    flow: np.ndarray | None = None
    is_ground: np.ndarray | None = None
    boxes: Boxes | None = None
    T_world_sensor: np.ndarray | None = None
    stamp: float | None = None
    is_deskewed: bool = False

    def __len__(self) -> int:
        return len(self.xyz)


@dataclass(frozen=True)
class Boxes:
    """Objects around a sensor, in its frame.

    centre : (M, 3) float64.  size : (M, 3) float64 length along the heading, width, height.
    yaw : (M,) float64 heading about z, 0 along x.  label : (M,) int64 class, as of `Scan`.
    instance : (M,) int64.  velocity : (M, 2) float64 over ground in the sensor's axes, m/s, or
        None.  num_points : (M,) int64 points inside, or None.
    """

    centre: np.ndarray
    size: np.ndarray
    yaw: np.ndarray
    label: np.ndarray
    instance: np.ndarray
    velocity: np.ndarray | None = None
    num_points: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.centre)
