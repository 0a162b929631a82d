"""A person's own files and arrays, prepared for a network as the clouds of its training were."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pcinv.checks import check_count, check_points
from pcinv.engine.loading import LoadedModel
from pcinv.engine.seed import THIN, generator
from pcinv.errors import InputError, ShapeError
from pcinv.geometry.transforms import normalize_unit_ball
from pcinv.io import read_cloud
from pcinv.ops import farthest_point_sample
from pcinv.types import PointCloud

logger = logging.getLogger(__name__)

_DENSE = 8
"""Farthest points are chosen among at most this many times as many points."""

Input = str | os.PathLike[str] | NDArray[Any] | Tensor | PointCloud


@dataclass(frozen=True)
class PreparedInput:
    """A cloud as the network sees it, and what it was made from.

    name : path, or "input 3" for an array.  cloud : all its points, xyz : (N, 3) the same.
    chosen : (M,) rows of the points that the network sees.
    seen : (M, 3), centred, in the unit ball.  normal : (M, 3) of the file, or None.
    """

    name: str
    cloud: PointCloud
    xyz: Tensor
    chosen: Tensor
    seen: Tensor
    normal: Tensor | None


def prepare_input(
    item: Input, number: int, loaded: LoadedModel, *, points: int | None = None, seed: int = 0,
    quiet: bool = False,
) -> PreparedInput:
    """Read, thin, centre and scale a cloud, as the network was trained.

    number : of the input, by which an array is named.
    points : that the network sees; as in training where None.
    seed : of the sampling of meshes and of very dense clouds.
    quiet : do not warn of normals that are missing.

    Raises
    ------
    InputError for a cloud with too few points or without extent, FileFormatError for a bad file.
    """
    if points is not None:
        check_count(points, "points")
    count = loaded.meta.config.data.num_points if points is None else points
    name = name_of(item, number)
    cloud = _open(item, name, count, seed)
    least: Any = loaded.model.min_points
    if min(len(cloud), count) < least:
        raise InputError(f"{min(len(cloud), count)} points, the network needs {least}",
                         where=name, hint="use a denser cloud, or sample the mesh")
    xyz = torch.from_numpy(np.ascontiguousarray(cloud.xyz, dtype=np.float32))
    check_points(xyz, name, batched=False)
    chosen = _choose(xyz, count, seed)
    seen, _, radius = normalize_unit_ball(xyz[chosen])
    if not float(radius) > 0:
        raise InputError("all points are alike, the cloud has no extent", where=name,
                         hint="check the file")
    normal, lacking = None, None
    if loaded.meta.normals == "data":
        normal, lacking = _unit_normals(cloud)
    if lacking and not quiet:
        logger.warning(lacking, name)
    return PreparedInput(name, cloud, xyz, chosen, seen, None if normal is None else normal[chosen])


def name_of(item: Input, number: int) -> str:
    """Return the path of an input, or "input 3" for an array."""
    return str(item) if isinstance(item, str | os.PathLike) else f"input {number}"


def _open(item: Input, name: str, count: int, seed: int) -> PointCloud:
    if isinstance(item, PointCloud):
        return item
    if isinstance(item, str | os.PathLike):
        return read_cloud(item, points=_DENSE * count, seed=seed)
    array = np.asarray(item)
    if array.ndim != 2 or array.shape[1] != 3 or array.dtype.kind not in "fiu":
        raise ShapeError(f"expected numbers (N, 3), got {array.dtype} {array.shape}",
                         where=name, hint="one row of x, y, z for each point")
    wide = array.astype(np.float64)
    origin = wide[0] if len(wide) and np.isfinite(wide[0]).all() else np.zeros(3)
    return PointCloud((wide - origin).astype(np.float32), origin)


def _choose(xyz: Tensor, count: int, seed: int) -> Tensor:
    """Return the rows of the points that the network sees; all of them where there are few."""
    total = len(xyz)
    if total <= count:
        return torch.arange(total)
    rows = torch.arange(total)
    if total > _DENSE * count:
        drawn = torch.randperm(total, generator=generator(seed, THIN))[: _DENSE * count]
        rows = drawn.sort().values
    return rows[farthest_point_sample(xyz[rows][None], count)[0]]


def _unit_normals(cloud: PointCloud) -> tuple[Tensor | None, str | None]:
    """Return the cloud's normals at length one; or why it has none that can be used."""
    if cloud.normal is None:
        return None, "%s has no normals, the network was trained with some: it estimates them"
    normal = torch.from_numpy(np.ascontiguousarray(cloud.normal, dtype=np.float32))
    length = normal.norm(dim=-1, keepdim=True)
    if not torch.isfinite(length).all() or (length == 0).any():
        return None, "%s has normals that are zero or not finite: the network estimates all"
    return normal / length, None
