"""Which implementation answers: one table, one choice."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from pcinv.errors import unknown_name
from pcinv.ops import greedy, reference, trees

KNN: dict[str, Callable[[Tensor, Tensor, int], Tensor]] = {
    "reference": reference.knn,
    "scipy": lambda query, points, k: trees.knn(query, points, k, trees.scipy_tree),
}
FPS: dict[str, Callable[[Tensor, int], Tensor]] = {
    "reference": reference.farthest_point_sample,
    "numpy": greedy.farthest_point_sample,
}


def knn_backend(name: str, device: torch.device) -> Callable[[Tensor, Tensor, int], Tensor]:
    """Return the function for `name`; "auto" is the fastest exact one that needs no extra."""
    if name == "auto":
        name = "scipy" if device.type == "cpu" else "reference"
    if name not in KNN:
        raise unknown_name("backend", name, ["auto", *KNN])
    return KNN[name]


def fps_backend(name: str, device: torch.device) -> Callable[[Tensor, int], Tensor]:
    """Return the function for `name`; "auto" is the fastest exact one that needs no extra."""
    if name == "auto":
        name = "numpy" if device.type == "cpu" else "reference"
    if name not in FPS:
        raise unknown_name("backend", name, ["auto", *FPS])
    return FPS[name]
