"""A cloud made ready for registration: thinned, with normals, features and what its camera saw.

Everything here is in the frame of the prepared cloud: coordinates are relative to its centroid and
divided by `unit`, so that the voxel is always `VOXEL`. So one set of constants, fitted on rooms at
5 cm, holds for sweeps of streets and for parts of a millimetre.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float, Int

from pcinv.geometry.symmetric import eigh3
from pcinv.registration.free_space import View, see
from pcinv.registration.grid import Grid, make_grid
from pcinv.registration.scale import thin
from pcinv.registration.sign_free import NeighbourTable, fpfh, neighbour_table, sign_free_fpfh

VOXEL = 0.05
"""Voxel of a prepared cloud. What follows is in the same units."""
SUPPORTS = ((5, 100), (7, 200))
"""Radius of the features in voxels, and neighbours at most."""
NORMAL_SUPPORT = (2, 30)
FEATURES = ("fpfh", "sign_free_fpfh", "patch")
"""Kinds of features; the second needs no orientation of the normals, the third is learned."""
SENSED = 1500
"""Points that are held against the view of the other cloud."""
REACH = 2 * VOXEL
"""Surfaces farther apart than this are not matched."""
_LINE = 1e-8
"""Share of the largest variance that the second one has at most on a line."""

Support = tuple[int, int]
Surface = tuple[Grid, Float[np.ndarray, "n 3"]]
"""Points by cells, to be found within `REACH`, and their normals in that order."""


@dataclass(frozen=True)
class Prepared:
    """One cloud of a pair.

    points : (N, 3) float64.  normals : (N, 3), turned to the view point where there is one.
    view_point : (3,) or None.  is_closed : the normals point out of a shape seen from all round.
    origin, unit : a prepared point p is at origin + unit * p in the file's frame.
    supports : of the features.  table : neighbours of these.
    raw : (M, 3) the points it was made from, in their frame.
    descriptor : the network for patches; None for the one that comes with the package.
    """

    points: Float[np.ndarray, "n 3"]
    normals: Float[np.ndarray, "n 3"]
    view_point: Float[np.ndarray, "3"] | None
    origin: Float[np.ndarray, "3"]
    unit: float
    supports: tuple[Support, ...]
    table: NeighbourTable
    raw: Float[np.ndarray, "m 3"] = field(repr=False)
    is_closed: bool = False
    descriptor: torch.nn.Module | None = field(default=None, repr=False)
    _described: dict[str, list[torch.Tensor]] = field(default_factory=dict, repr=False)

    @cached_property
    def view(self) -> View:
        """What the camera saw, if there is one, and what is held against the other camera."""
        return see(self.points, self.view_point, SENSED)

    @property
    def voxel(self) -> float:
        """Voxel in the units of the file."""
        return self.unit * VOXEL

    @property
    def is_oriented(self) -> bool:
        """Whether the normals tell the sides of the surface."""
        return self.view_point is not None or self.is_closed

    @cached_property
    def surface(self) -> Surface:
        """What the other cloud's points are matched to."""
        grid = make_grid(self.points, REACH)
        return grid, np.ascontiguousarray(self.normals[grid.rank])

    def features(self, kind: str = "fpfh") -> list[torch.Tensor]:
        """Return unit-length features (N, C) float32 of a kind of `FEATURES`.

        Of histograms: of each support, and of all together.
        """
        if kind not in self._described:
            self._described[kind] = self._describe(kind)
        return self._described[kind]

    def _describe(self, kind: str) -> list[torch.Tensor]:
        if kind == "patch":
            from pcinv.registration.patches import describe_patches  # brings the networks

            return [describe_patches(self)]
        describe = sign_free_fpfh if kind == "sign_free_fpfh" else fpfh
        values = torch.from_numpy(describe(self.points, self.normals, self.table))
        single = list(torch.nn.functional.normalize(values, dim=2).float())
        joint = torch.nn.functional.normalize(torch.cat(single, dim=1), dim=1)
        return [*single, joint] if len(single) > 1 else single


def surface_normals(
    points: Float[np.ndarray, "n 3"], index: Int[np.ndarray, "n k"], count: Int[np.ndarray, " n"]
) -> Float[np.ndarray, "n 3"]:
    """Return unit normals (N, 3) of either sign, from the first `count` neighbours of each.

    Neighbours on a line have no normal: it is 0, and not what rounding makes of it.
    """
    from pcinv.registration.grid_kernels import covariances

    spread = np.empty((len(points), 3, 3))
    covariances(points, index, count, spread)
    values, vectors = (part.numpy() for part in eigh3(torch.from_numpy(spread)))
    is_line = values[:, 1] <= _LINE * values[:, 2]
    return np.where(is_line[:, None], 0.0, vectors[..., 0])


def prepare(
    points: Float[np.ndarray, "n 3"], voxel: float, supports: tuple[Support, ...] = SUPPORTS,
    normal_support: Support = NORMAL_SUPPORT,
) -> Prepared:
    """Thin a cloud to the voxel and find its normals; where it was seen from is for later.

    points : (N, 3) float64, finite.  voxel : in the units of the points.
    supports : of the features, ascending.  normal_support : of the normals, not larger.
    """
    origin = points.mean(axis=0)
    unit = voxel / VOXEL
    small = thin(points - origin, voxel) / unit
    index, counts = neighbour_table(
        small, [(radius * VOXEL, most) for radius, most in (normal_support, *supports)])
    normals = surface_normals(small, index, counts[0])
    return Prepared(small, normals, None, origin, unit, supports, NeighbourTable(index, counts[1:]),
                    points)


def to_clouds(
    T_target_source: Float[np.ndarray, "4 4"], source: Prepared, target: Prepared
) -> Float[np.ndarray, "4 4"]:
    """Return a pose between prepared clouds as one between the clouds they were made from."""
    pose = np.array(T_target_source, dtype=np.float64)
    rotation = pose[:3, :3]
    pose[:3, 3] = target.unit * pose[:3, 3] + target.origin - rotation @ source.origin
    return pose


def to_prepared(
    T_target_source: Float[np.ndarray, "4 4"], source: Prepared, target: Prepared
) -> Float[np.ndarray, "4 4"]:
    """Return a pose between clouds as one between the prepared clouds made from them."""
    pose = np.array(T_target_source, dtype=np.float64)
    rotation = pose[:3, :3]
    pose[:3, 3] = (rotation @ source.origin + pose[:3, 3] - target.origin) / target.unit
    return pose
