"""Which implementation answers: one table for each operation, one choice, one list for `doctor`.

The defaults were chosen by measurement (benchmarks/ops.py). Neighbours: scipy's tree is always
there, the fastest from 100,000 points on, and within a factor of two of the fastest below; pykdtree
and open3d win for few neighbours in small clouds and lose elsewhere, so they have no backend.
Samples: a loop compiled by numba, exact and faster than torch_quickfps and fpsample below 10,000
points; those two decide in float32 and leave the exact sequence. On CUDA neighbours are found in
plain torch, and samples by the same loop on the CPU.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from pcinv.errors import DependencyError, DeviceError, unknown_name
from pcinv.ops import extras, greedy, reference, trees

Knn = Callable[[Tensor, Tensor, int], tuple[Tensor, Tensor]]
Fps = Callable[[Tensor, int], Tensor]


def _scipy_knn(query: Tensor, points: Tensor, k: int) -> tuple[Tensor, Tensor]:
    return trees.knn(query, points, k, trees.scipy_tree)


KNN: dict[str, Knn] = {
    "reference": reference.knn,
    "scipy": _scipy_knn,
    "cluster": extras.cluster_knn,
}
FPS: dict[str, Fps] = {
    "reference": reference.farthest_point_sample,
    "numba": greedy.farthest_point_sample,
    "quickfps": extras.quickfps,
    "cluster": extras.cluster_fps,
}
CPU_ONLY = ("scipy",)


def knn_backend(name: str, device: torch.device) -> Knn:
    """Return the neighbour search called `name`; "auto" is the default of the device.

    Raises
    ------
    UnknownNameError : there is no such backend.
    DeviceError : it does not work on this device.
    """
    default = "scipy" if device.type == "cpu" else "reference"
    return KNN[_choose(name, default, list(KNN), device)]


def fps_backend(name: str, device: torch.device) -> Fps:
    """Return the farthest point sampling called `name`; raises as `knn_backend`."""
    return FPS[_choose(name, "numba", list(FPS), device)]


def _choose(name: str, default: str, known: list[str], device: torch.device) -> str:
    if name == "auto":
        return default
    if name not in known:
        raise unknown_name("backend", name, ["auto", *known])
    if name in CPU_ONLY and device.type != "cpu":
        raise DeviceError(f"the backend '{name}' works on the CPU, the points are on {device}",
                          where="backend", hint="backend='auto', or move the points with .cpu()")
    return name


@dataclass(frozen=True)
class Backend:
    """One row of the table that `pcinv doctor` prints."""

    operation: str
    name: str
    available: bool
    default: bool
    note: str


def available_backends() -> list[Backend]:
    """Return every backend, whether it can be used here, and which is the default on the CPU."""
    rows = []
    tables = (("knn", list(KNN), "scipy"), ("farthest_point_sample", list(FPS), "numba"))
    for operation, names, default in tables:
        for name in names:
            note = NOTES[name]
            available = True
            if name in extras.PACKAGES:
                try:
                    extras.load(name)
                except DependencyError as error:
                    available, note = False, error.hint or ""
            rows.append(Backend(operation, name, available, name == default, note))
    return rows


NOTES = {
    "reference": "exact, torch, any device; the default for neighbours on CUDA",
    "scipy": "exact, k-d tree, CPU",
    "numba": "exact, on the CPU for any device",
    "quickfps": "torch_quickfps: decides in float32",
    "cluster": "torch_cluster: which of equally distant points is left to it",
}
