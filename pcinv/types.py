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
