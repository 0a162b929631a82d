"""Prediction: what a trained network says about a person's own files and arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pcinv.checks import check_count
from pcinv.engine.checkpoint import ModelMeta
from pcinv.engine.inputs import Input, PreparedInput, prepare_input
from pcinv.engine.launch import pick_device
from pcinv.engine.loading import LoadedModel, load_model
from pcinv.errors import NonFiniteError, UsageError, unknown_name
from pcinv.metrics.segmentation import restrict
from pcinv.ops import knn
from pcinv.tasks import LIDAR_TASKS
from pcinv.types import PointCloud


@dataclass(frozen=True)
class Prediction:
    """What one cloud is.

    file : path, or "input 3" for an array.
    label, confidence : the likeliest class and its probability; for parts the given category and
        the mean probability of the points' parts; for normals None and not a number.
    top : the likeliest classes, each with `label` and `confidence`; empty for parts and normals.
    num_points, num_used : points of the file, and of these the ones that the network saw.
    normals : "data" where the network saw the file's normals, "estimate" where it saw none;
        "answer" where they are what it was asked for.
    labels : (N,) int64 part label of each point of the file; None for classes.
    part_names : name of each part label.
    cloud : the points that `labels` belongs to, or that the normals were put on; None for classes.
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
    """Predict the class of each input, or the part or the normal of each of its points.

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
    CheckpointError for damaged weights.  UsageError where the category is missing, or where the
    network is one of poses.
    """
    if points is not None:
        check_count(points, "points")
    check_count(top, "top")
    place = pick_device(device)
    loaded = target if isinstance(target, LoadedModel) else load_model(target, which=which)
    network, meta = loaded.model.to(place), loaded.meta
    if meta.config.model.task == "pose":
        raise UsageError("a network of poses looks at two clouds, not at one", where="target",
                         hint="pcinv eval RUN measures it; pcinv register A B aligns two files")
    if meta.config.model.task == "flow":
        raise UsageError("a network of flow looks at two scans, not at one", where="target",
                         hint="pcinv flow A B --method student --weights RUN")
    if meta.config.model.task in LIDAR_TASKS:
        raise UsageError("a network of LiDAR scans is not asked about single files", where="target",
                         hint="pcinv eval RUN measures it")
    kind = _category(meta, category)
    is_normals = meta.config.model.task == "normals"
    said = []
    for number, item in enumerate(inputs):
        made = prepare_input(item, number, loaded, points=points, seed=seed, quiet=is_normals)
        normal = None if made.normal is None else made.normal[None].to(place)
        told = None if not meta.num_categories else torch.tensor([kind], device=place)
        with torch.inference_mode():
            logits = network(made.seen[None].to(place), normal, category=told)[0].float().cpu()
        if not torch.isfinite(logits).all():
            raise NonFiniteError("the network's output is not finite", where=made.name,
                                 hint="look at this cloud; try another checkpoint")
        common = {"file": made.name, "num_points": len(made.xyz), "num_used": len(made.chosen),
                  "normals": "estimate" if normal is None else "data"}
        if meta.config.model.task == "part_segmentation":
            said.append(_parts(meta, kind, logits, made, common))
        elif is_normals:
            said.append(_normals(logits, made, common))
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
    made: PreparedInput,
    common: dict[str, Any],
) -> Prediction:
    """Label the chosen points, and every other point as the nearest of these."""
    allowed = meta.labels.allowed[kind]
    best = restrict(logits[None], allowed[None])[0]
    share = logits.masked_fill(~allowed, -torch.inf).softmax(-1).amax(-1)
    labels = best
    if len(made.chosen) < len(made.xyz):
        seen = made.xyz[made.chosen]
        labels = best[knn(made.xyz[None], seen[None], 1).index[0, :, 0]]
        labels[made.chosen] = best
    return Prediction(label=meta.labels.class_names[kind], confidence=float(share.mean()),
                      labels=labels.numpy(), part_names=meta.labels.part_names,
                      cloud=made.cloud, **common)


def _normals(normal: Tensor, made: PreparedInput, common: dict[str, Any]) -> Prediction:
    """Put normals on the chosen points, and on every other point that of the nearest of these.

    Their sign is not known: each is turned away from the centroid.
    """
    normal = torch.where((normal * made.seen).sum(-1, keepdim=True) < 0, -normal, normal)
    if len(made.chosen) < len(made.xyz):
        seen = made.xyz[made.chosen]
        nearest = knn(made.xyz[None], seen[None], 1).index[0, :, 0]
        nearest[made.chosen] = torch.arange(len(made.chosen))
        normal = normal[nearest]
    else:
        normal = normal[made.chosen.argsort()]
    attributes = {**made.cloud.attributes, "normal": normal.numpy()}
    return Prediction(label=None, confidence=float("nan"),
                      cloud=replace(made.cloud, attributes=attributes),
                      **{**common, "normals": "answer"})


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
