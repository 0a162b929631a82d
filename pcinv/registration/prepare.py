"""A cloud made ready for registration: thinned, with normals, features and what its camera saw.

Everything here is in the frame of the prepared cloud: coordinates are relative to its centroid and
divided by `unit`, so that the voxel is always `VOXEL`. So one set of constants, fitted on rooms at
5 cm, holds for sweeps of streets and for parts of a millimetre.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from pcinv.geometry.symmetric import eigh3
from pcinv.registration.free_space import View, see
from pcinv.registration.scale import thin
from pcinv.registration.sign_free import NeighbourTable, fpfh, neighbour_table, sign_free_fpfh

VOXEL = 0.05
"""Voxel of a prepared cloud. What follows is in the same units."""
SUPPORTS = ((5, 100), (7, 200))
"""Radius of the features in voxels, and neighbours at most."""
NORMAL_SUPPORT = (2, 30)
SENSED = 1500
"""Points that are held against the view of the other cloud."""
ONE_THREAD = 1
"""Of small_gicp: with more, the order of its sums changes from run to run; nor is it faster."""


@dataclass(frozen=True)
class Prepared:
    """One cloud of a pair.

    points : (N, 3) float64.  normals : (N, 3), turned to the view point where there is one.
    view_point : (3,) or None.
    origin, unit : a prepared point p is at origin + unit * p in the file's frame.
    table : neighbours of the largest support.
    """

    points: Float[np.ndarray, "n 3"]
    normals: Float[np.ndarray, "n 3"]
    view_point: Float[np.ndarray, "3"] | None
    origin: Float[np.ndarray, "3"]
    unit: float
    table: NeighbourTable
    _described: dict[Any, torch.Tensor] = field(default_factory=dict, repr=False)

    @cached_property
    def view(self) -> View | None:
        """What the camera saw, or None."""
        return None if self.view_point is None else see(self.points, self.view_point, SENSED)

    @cached_property
    def surface(self) -> tuple[Any, Any]:
        """The cloud and search tree of small_gicp, with covariances."""
        import small_gicp

        return small_gicp.preprocess_points(self.points, VOXEL, 10, ONE_THREAD)

    def features(self, support: tuple[int, int], *, sign_free: bool = False) -> torch.Tensor:
        """Return unit-length features (N, 33) float32 of a radius in voxels and a number."""
        key = (support, sign_free)
        if key not in self._described:
            self._described[key] = self._describe(support, sign_free)
        return self._described[key]

    def _describe(self, support: tuple[int, int], sign_free: bool) -> torch.Tensor:
        describe = sign_free_fpfh if sign_free else fpfh
        values = torch.from_numpy(describe(
            self.points, self.normals, narrowed(self.points, self.table, *support)))
        return torch.nn.functional.normalize(values, dim=1).float()


def narrowed(
    points: Float[np.ndarray, "n 3"], table: NeighbourTable, radius: float, most: int
) -> NeighbourTable:
    """Return the table of a smaller support: neighbours are listed nearest first.

    radius : in voxels.
    """
    index = table.index[:, :most]
    inside = np.zeros(index.shape, dtype=bool)
    for start in range(0, len(points), 4096):
        part = slice(start, start + 4096)
        offset = points[index[part]] - points[part, None]
        dist2 = np.einsum("nki,nki->nk", offset, offset)
        inside[part] = dist2 <= (radius * VOXEL) ** 2 * (1 + 1e-9)
    count = np.minimum(inside.sum(axis=1), table.count)
    return NeighbourTable(np.ascontiguousarray(index), count)


def surface_normals(
    points: Float[np.ndarray, "n 3"], table: NeighbourTable
) -> Float[np.ndarray, "n 3"]:
    """Return unit normals (N, 3) of either sign, from the neighbours within two voxels."""
    near = narrowed(points, table, *NORMAL_SUPPORT)
    weight = (np.arange(near.index.shape[1]) < near.count[:, None]).astype(np.float64)
    offset = points[near.index] - points[:, None]
    total = weight.sum(axis=1)[:, None]
    mean = np.einsum("nk,nki->ni", weight, offset) / total
    offset -= mean[:, None]
    spread = np.einsum("nk,nki,nkj->nij", weight, offset, offset, optimize=True) / total[..., None]
    return np.ascontiguousarray(eigh3(torch.from_numpy(spread))[1][..., 0].numpy())


def prepare(points: Float[np.ndarray, "n 3"], voxel: float) -> Prepared:
    """Thin a cloud to the voxel and find its normals; where it was seen from is for later.

    points : (N, 3) float64, finite.  voxel : in the units of the points.
    """
    origin = points.mean(axis=0)
    unit = voxel / VOXEL
    small = thin(points - origin, voxel) / unit
    radius, most = max(SUPPORTS)
    table = neighbour_table(small, radius * VOXEL, most)
    normals = surface_normals(small, table)
    return Prepared(small, normals, None, origin, unit, table)
