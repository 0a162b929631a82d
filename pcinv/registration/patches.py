"""Patch descriptors of a prepared cloud: what training and registration have in common.

Key points are the points of the prepared cloud. What surrounds them is seen in a finer one, at half
the voxel; lengths are in units of the prepared cloud, so one network serves all sizes.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float

from pcinv.errors import InputError
from pcinv.models.cylinder_patch import CylinderPatch
from pcinv.models.point_patch import PointPatch
from pcinv.nn.cylinder_grid import plane_density
from pcinv.registration.prepare import Prepared, prepare
from pcinv.registration.shipped import load_shipped
from pcinv.registration.viewpoint import orient_towards

FINER = 2
"""Points of the finer cloud along a voxel."""
DETAIL_SUPPORT = (4, 60)
"""Radius, in voxels of the finer cloud, and neighbours of its normals: 10 cm in a room."""
DENSITY_SHARE = 0.64
"""The density that cells are compared to, as a share of that of planes: 1,600 / m² of the 2,500
that rooms have at 2.5 cm."""


class Detail(NamedTuple):
    """The finer cloud, in the frame and units of the prepared one.

    points, normals : (N, 3), normals turned as those of the prepared cloud.
    density : points per area that the grids take as full.
    """

    points: Float[np.ndarray, "n 3"]
    normals: Float[np.ndarray, "n 3"]
    density: float


def detail(cloud: Prepared) -> Detail:
    """Return the finer cloud of a prepared one, whose normals tell the sides."""
    fine = prepare(cloud.raw, cloud.voxel / FINER, (), DETAIL_SUPPORT)
    points = (fine.points * fine.unit + (fine.origin - cloud.origin)) / cloud.unit
    density = DENSITY_SHARE * plane_density(points)
    return Detail(points, _turned(points, fine.normals, cloud), density)


def _turned(
    points: Float[np.ndarray, "n 3"], normals: Float[np.ndarray, "n 3"], cloud: Prepared
) -> Float[np.ndarray, "n 3"]:
    """Return the normals turned to the camera, or as the nearest prepared point has it."""
    if cloud.view_point is not None:
        return orient_towards(points, normals, cloud.view_point)
    from scipy.spatial import cKDTree

    nearest = cKDTree(cloud.points).query(points)[1]
    facing = (cloud.normals[nearest] * normals).sum(1, keepdims=True)
    return np.where(facing < 0, -normals, normals)


def describe_patches(cloud: Prepared) -> torch.Tensor:
    """Return the descriptor (N, C) of each prepared point, on the CPU.

    Raises InputError where the cloud's network is no descriptor of patches, CheckpointError where
    none came with the package.
    """
    network = load_shipped("cylinder_patch") if cloud.descriptor is None else cloud.descriptor
    if not isinstance(network, CylinderPatch | PointPatch):
        raise InputError(f"a {type(network).__name__} describes no patches", where="descriptor",
                         hint="train one: pcinv train --backbone cylinder_patch")
    points, normals, density = detail(cloud)
    return network.describe_keys(points, normals, cloud.points, cloud.normals,
                                 density=density).cpu()
