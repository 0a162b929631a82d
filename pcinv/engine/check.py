"""`pcinv.check`: measure the invariance that a backbone promises, of random or trained weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from pcinv.engine.check_lidar import check_lidar
from pcinv.engine.check_matching import NUM_POINTS, answers_of
from pcinv.engine.check_pose import Posed
from pcinv.engine.datasets import load_dataset
from pcinv.engine.launch import pick_device
from pcinv.engine.loading import hyper_of, load_model
from pcinv.errors import unknown_name
from pcinv.metrics.invariance import InvarianceReport, measure_invariance
from pcinv.models.registry import (
    LIDAR_NETWORKS,
    MATCHERS,
    POSE_NETWORKS,
    create_model,
    find_spec,
)

_DTYPES = {"float32": torch.float32, "float64": torch.float64}
_NUM_CLASSES = {"classification": 40, "part_segmentation": 50}


def check(
    target: str | Path = "risurconv",
    *,
    task: str = "classification",
    preset: str | None = None,
    dtype: str = "float32",
    rotations: int = 200,
    seed: int = 0,
    device: str = "auto",
) -> InvarianceReport:
    """Search for the largest change of an answer under rotation, shift, reordering and batch mates.

    The clouds are generated shapes, once with their exact normals and once with normals
    estimated after each change. Of a matcher, which needs normals that tell the sides, it is the
    descriptors that are compared, with exact normals alone; of an estimator of normals how these
    stand to the cloud; of a network of pairs where it puts the points of one cloud; of one of LiDAR
    scans its features at points, for order and batch mates alone. See `measure_invariance` for the
    search.

    Parameters
    ----------
    target : backbone (random weights), run folder or weights file.
    task, preset : of the backbone; a run has its own.
    dtype : "float32" or "float64"; precision of weights and coordinates.
    rotations : random rotations, before the climb from the worst.

    Raises
    ------
    UnknownNameError for an unknown dtype, task or preset; CheckpointError for damaged weights.
    """
    if dtype not in _DTYPES:
        raise unknown_name("dtype", dtype, _DTYPES)
    name = str(target)
    place = pick_device(device)
    if name in LIDAR_NETWORKS:
        torch.manual_seed(seed)
        made = create_model(name, task=LIDAR_NETWORKS[name].tasks[-1], preset=preset,
                            num_classes=19)
        return check_lidar(made.to(place, _DTYPES[dtype]), name, _DTYPES[dtype], seed)
    task = "pose" if name in POSE_NETWORKS else task
    num_categories = 0
    if name in MATCHERS:
        torch.manual_seed(seed)
        model, num_points = create_model(name, task="matching", preset=preset), NUM_POINTS[name]
    elif find_spec(name) is not None:
        torch.manual_seed(seed)
        parts = task == "part_segmentation"
        model = create_model(name, task=task, preset=preset, num_categories=16 if parts else 0,
                             num_classes=_NUM_CLASSES.get(task, 40))
        num_points, num_categories = int(hyper_of(model)["num_points"]), 16 if parts else 0
    else:
        loaded = load_model(target)
        model, name = loaded.model, loaded.meta.config.model.backbone
        if name in LIDAR_NETWORKS:
            return check_lidar(model.to(place, _DTYPES[dtype]), name, _DTYPES[dtype], seed)
        num_points, num_categories = loaded.meta.config.data.num_points, loaded.meta.num_categories
        if name in MATCHERS:
            num_points = NUM_POINTS[name]
    shapes = load_dataset("shapes", split="test", num_points=num_points, seed=seed)
    order = torch.randperm(len(shapes), generator=torch.Generator().manual_seed(seed)).tolist()

    def draw(i: int) -> tuple[torch.Tensor, torch.Tensor | None, int]:
        sample = shapes[order[i % len(order)]]
        normal = None if sample.normal is None else torch.from_numpy(sample.normal)
        return torch.from_numpy(sample.xyz), normal, sample.label % max(num_categories, 1)

    is_matcher = name in MATCHERS
    if is_matcher:
        model = answers_of(model, draw(-1)[:2])
    elif getattr(model, "task", "") == "normals":
        model = Slopes(model)
    elif getattr(model, "task", "") == "pose":
        model = Posed(model, draw(-1)[0])
    model = model.to(place, _DTYPES[dtype])
    report = measure_invariance(model, draw, backbone=name, rotations=rotations, seed=seed,
                                with_normals=(True,) if is_matcher else (True, False))
    if name in POSE_NETWORKS:  # of turns it promises nothing: it is there to measure them
        worst = max(error for kind, error in report.errors.items() if kind != "rotation")
        report = replace(report, max_error=worst, passed=worst <= report.tolerance)
    named = {Slopes: "normals", Posed: "pose"}
    return replace(report, task=named.get(type(model), report.task))


class Slopes(nn.Module):
    """What of a network's normals n does not turn with the cloud, nor change with their sign.

    (n . x)^2 and (n . C x)^2 at each point x relative to the mean, C being the scatter of all.
    """

    task = "part_segmentation"  # an answer for each point

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, xyz: Tensor, normal: Tensor | None = None) -> Tensor:
        n = self.model(xyz, normal)
        exact = xyz.double()
        local = exact - exact.mean(1, keepdim=True)
        spread = local.mT @ local / local.square().sum((1, 2), keepdim=True)
        both = torch.stack([local, local @ spread], dim=2).to(n.dtype)  # (B, N, 2, 3)
        slopes: Tensor = (both * n[:, :, None]).sum(-1).square()
        return slopes
