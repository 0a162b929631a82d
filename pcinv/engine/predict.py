"""Prediction: what a trained network says about a person's own files and arrays."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pcinv.checks import check_count, check_points
from pcinv.engine.checkpoint import ModelMeta
from pcinv.engine.launch import pick_device
from pcinv.engine.loading import LoadedModel, load_model
from pcinv.engine.seed import THIN, generator
from pcinv.errors import InputError, NonFiniteError, ShapeError, UsageError, unknown_name
from pcinv.geometry.transforms import normalize_unit_ball
from pcinv.io import read_cloud
from pcinv.metrics.segmentation import restrict
from pcinv.ops import farthest_point_sample, knn
from pcinv.types import PointCloud

logger = logging.getLogger(__name__)

_DENSE = 8
"""Farthest points are chosen among at most this many times as many points."""

Input = str | os.PathLike[str] | NDArray[Any] | Tensor | PointCloud


@dataclass(frozen=True)
class Prediction:
    """What one cloud is.

    file : path, or "input 3" for an array.
    label, confidence : the likeliest class and its probability; for parts the given category and
        the mean probability of the points' parts.
    top : the likeliest classes, each with `label` and `confidence`; empty for parts.
    num_points, num_used : points of the file, and of these the ones that the network saw.
    normals : "data" where the network saw the file's normals, "estimate" where it saw none.
    labels : (N,) int64 part label of each point of the file; None for classes.
    part_names : name of each part label.
    cloud : the points that `labels` belongs to; None for classes.
    """

    file: str
    label: str | None
    confidence: float
    num_points: int
    num_used: int
    normals: str
    top: list[dict[str, Any]] = field(default_factory=list)
    labels: NDArray[np.int64] | None = None
    part_names: tuple[str, ...] = ()
    cloud: PointCloud | None = None


def predict(
    target: str | Path | LoadedModel,
    inputs: Sequence[Input],
    *,
    points: int | None = None,
    seed: int = 0,
    device: str = "auto",
    top: int = 5,
    category: str | None = None,
    which: str = "best",
) -> list[Prediction]:
    """Predict the class of each input, or the part of each of its points.

    Parameters
    ----------
    target : run folder, checkpoint folder, weights file, or a loaded network.
    inputs : files of any format that `pcinv.read` knows, arrays (N, 3), or clouds. Meshes are
        sampled. Position and size do not matter.
    points : points that the network sees; as in training where None.
    seed : of the sampling of meshes and of very dense clouds.
    top : how many of the likeliest classes are listed.
    category : class of the inputs; for part segmentation with more than one class.

    Raises
    ------
    InputError for a cloud with too few points or without extent, FileFormatError for a bad file.
    CheckpointError for damaged weights.  UsageError where the category is missing.
    """
    if points is not None:
        check_count(points, "points")
    check_count(top, "top")
    place = pick_device(device)
    loaded = target if isinstance(target, LoadedModel) else load_model(target, which=which)
    network, meta = loaded.model.to(place), loaded.meta
    kind = _category(meta, category)
    count = meta.config.data.num_points if points is None else points
    said = []
    for number, item in enumerate(inputs):
        cloud, name = _open(item, number, count, seed)
        least: Any = network.min_points
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
        normal = _unit_normals(cloud, name) if meta.normals == "data" else None
        if normal is not None:
            normal = normal[chosen][None].to(place)
        told = None if not meta.num_categories else torch.tensor([kind], device=place)
        with torch.inference_mode():
            logits = network(seen[None].to(place), normal, category=told)[0].float().cpu()
        if not torch.isfinite(logits).all():
            raise NonFiniteError("the network's output is not finite", where=name,
                                 hint="look at this cloud; try another checkpoint")
        common = {"file": name, "num_points": len(cloud), "num_used": len(chosen),
                  "normals": "estimate" if normal is None else "data"}
        if meta.config.model.task == "part_segmentation":
            said.append(_parts(meta, kind, logits, xyz, chosen, cloud, common))
        else:
            said.append(_classes(meta, logits, top, common))
    return said


def _classes(meta: ModelMeta, logits: Tensor, top: int, common: dict[str, Any]) -> Prediction:
    names = meta.labels.class_names
    values, order = logits.softmax(-1).sort(descending=True, stable=True)
    ranked = [{"label": names[i], "confidence": v}
              for i, v in zip(order[:top].tolist(), values[:top].tolist(), strict=True)]
    return Prediction(label=names[int(order[0])], confidence=float(values[0]), top=ranked, **common)


def _parts(
    meta: ModelMeta,
    kind: int,
    logits: Tensor,
    xyz: Tensor,
    chosen: Tensor,
    cloud: PointCloud,
    common: dict[str, Any],
) -> Prediction:
    """Label the chosen points, and every other point as the nearest of these."""
    allowed = meta.labels.allowed[kind]
    best = restrict(logits[None], allowed[None])[0]
    share = logits.masked_fill(~allowed, -torch.inf).softmax(-1).amax(-1)
    labels = best
    if len(chosen) < len(xyz):
        labels = best[knn(xyz[None], xyz[chosen][None], 1).index[0, :, 0]]
        labels[chosen] = best
    return Prediction(label=meta.labels.class_names[kind], confidence=float(share.mean()),
                      labels=labels.numpy(), part_names=meta.labels.part_names, cloud=cloud,
                      **common)


def _category(meta: ModelMeta, name: str | None) -> int:
    """Return the index of the category; a network with one class needs no name."""
    names = meta.labels.class_names
    if name is not None:
        if name not in names:
            raise unknown_name("category", name, names)
        return names.index(name)
    if meta.num_categories:
        raise UsageError("the network must be told the category of the files", where="category",
                         hint=f"one of {', '.join(names)}")
    return 0


def _open(item: Input, number: int, count: int, seed: int) -> tuple[PointCloud, str]:
    if isinstance(item, PointCloud):
        return item, f"input {number}"
    if isinstance(item, str | os.PathLike):
        return read_cloud(item, points=_DENSE * count, seed=seed), str(item)
    array = np.asarray(item)
    if array.ndim != 2 or array.shape[1] != 3 or array.dtype.kind not in "fiu":
        raise ShapeError(f"expected numbers (N, 3), got {array.dtype} {array.shape}",
                         where=f"input {number}", hint="one row of x, y, z for each point")
    wide = array.astype(np.float64)
    origin = wide[0] if len(wide) and np.isfinite(wide[0]).all() else np.zeros(3)
    return PointCloud((wide - origin).astype(np.float32), origin), f"input {number}"


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


def _unit_normals(cloud: PointCloud, name: str) -> Tensor | None:
    """Return the cloud's normals at length one; None where it has none that can be used."""
    if cloud.normal is None:
        logger.warning("%s has no normals, the network was trained with some: it estimates them",
                       name)
        return None
    normal = torch.from_numpy(np.ascontiguousarray(cloud.normal, dtype=np.float32))
    length = normal.norm(dim=-1, keepdim=True)
    if not torch.isfinite(length).all() or (length == 0).any():
        logger.warning("%s has normals that are zero or not finite: the network estimates all",
                       name)
        return None
    unit: Tensor = normal / length
    return unit
