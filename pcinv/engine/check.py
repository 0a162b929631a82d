"""`pcinv.check`: measure the invariance that a backbone promises, of random or trained weights."""

from __future__ import annotations

from pathlib import Path

import torch

from pcinv.engine.check_matching import NUM_POINTS, answers_of
from pcinv.engine.datasets import load_dataset
from pcinv.engine.launch import pick_device
from pcinv.engine.loading import hyper_of, load_model
from pcinv.errors import unknown_name
from pcinv.metrics.invariance import InvarianceReport, measure_invariance
from pcinv.models.registry import MATCHERS, create_model, find_spec

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
    descriptors that are compared, with exact normals alone. See `measure_invariance` for the
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
    model = model.to(pick_device(device), _DTYPES[dtype])
    return measure_invariance(model, draw, backbone=name, rotations=rotations, seed=seed,
                              with_normals=(True,) if is_matcher else (True, False))
