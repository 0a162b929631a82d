"""Points on the surface of a mesh."""

from __future__ import annotations

import numpy as np

from pcinv import limits
from pcinv.errors import InputError, LimitError
from pcinv.io.assemble import split_origin
from pcinv.types import Mesh, PointCloud


def sample_surface(mesh: Mesh, count: int, seed: int, *, where: str = "mesh") -> PointCloud:
    """Sample `count` points uniformly by area, with the normals of their faces.

    The same mesh, count and seed give the same points. Barycentric weights come from the unit
    square folded along its diagonal.

    Raises
    ------
    InputError : a count below 1, no faces, or a total area of zero.
    """
    if count < 1:
        raise InputError(
            f"{count} points to sample, expected 1 or more", where="count", hint="choose 1 or more"
        )
    if count > limits.MAX_POINTS:
        raise LimitError(
            f"{count} points exceed MAX_POINTS = {limits.MAX_POINTS}",
            where="count",
            hint="sample fewer points",
        )
    if not len(mesh.faces):
        raise InputError(
            "the mesh has no faces to sample", where=where, hint="use its vertices as the cloud"
        )
    first, second, third = (mesh.vertices[mesh.faces[:, k]] for k in range(3))
    with np.errstate(over="ignore", invalid="ignore"):
        normal = np.cross(second - first, third - first)
        area = np.linalg.norm(normal, axis=1)
        total = area.sum()
    if not (np.isfinite(total) and total > 0):
        raise InputError(
            f"the total area of the {len(area)} faces is {total:g}, nothing can be sampled",
            where=where,
            hint="repair the mesh, or change its unit",
        )
    rng = np.random.default_rng(seed)
    place = np.cumsum(area)
    face = np.searchsorted(place, rng.random(count) * place[-1], side="right")
    u, v = rng.random((2, count, 1))
    fold = u + v > 1
    u, v = np.where(fold, 1 - u, u), np.where(fold, 1 - v, v)
    points = first[face] + u * (second - first)[face] + v * (third - first)[face]
    unit = (normal[face] / area[face, None]).astype(np.float32)
    xyz, origin = split_origin(points)
    return PointCloud(xyz, origin, {"normal": unit})
