"""Normals: the direction of the surface at each point, of which the sign does not matter.

A network gives unit vectors (B, N, 3) that turn with the cloud. The data's normals are what it is
measured by; they are never given to it.
"""

import torch
from torch import Tensor

from pcinv.errors import DatasetError
from pcinv.geometry.features import angle, safe_normalize
from pcinv.tasks.batch import Batch, Labels


def num_outputs(labels: Labels) -> int:
    """Return the number of coordinates at each point."""
    return 3


def loss(estimated: Tensor, batch: Batch, smoothing: float) -> Tensor:
    """Return the mean of 1 - (n . n^)^2 over the points of each cloud, (B,)."""
    cosine = (safe_normalize(estimated) * _normal(batch).to(estimated)).sum(-1)
    return (1 - cosine.square()).mean(1)


def new_state(labels: Labels, device: torch.device) -> dict[str, Tensor]:
    """Return sums of zero; states of the same labels add up entry by entry."""
    count = len(labels.class_names)
    return {
        "loss": torch.zeros((), dtype=torch.float64, device=device),
        "angle": torch.zeros(count, dtype=torch.float64, device=device),
        "count": torch.zeros(count, dtype=torch.int64, device=device),
        "within": torch.zeros(count, dtype=torch.float64, device=device),
    }


def update(
    state: dict[str, Tensor], estimated: Tensor, batch: Batch, losses: Tensor, labels: Labels
) -> None:
    """Add the estimates and losses of one batch to the state."""
    error = unoriented_angle_deg(estimated, _normal(batch))
    state["loss"] += losses.detach().double().sum()
    # one cloud after the other on CPU: the sum keeps its order, so that a rerun is bit-equal
    state["angle"].index_add_(0, batch.label, error.mean(1))
    state["within"].index_add_(0, batch.label, (error < 10).double().mean(1))
    state["count"] += torch.bincount(batch.label, minlength=len(labels.class_names))


def compute(state: dict[str, Tensor]) -> dict[str, float]:
    """Return the mean angle, the share of points within 10 degrees, and the mean loss."""
    count = max(1, int(state["count"].sum()))
    return {
        "mean_deg": float(state["angle"].sum()) / count,
        "within_10deg": float(state["within"].sum()) / count,
        "loss": float(state["loss"]) / count,
    }


def per_class(state: dict[str, Tensor], labels: Labels) -> dict[str, float]:
    """Return the mean angle of the shapes of each class that is present, in degrees."""
    sums, counts = state["angle"].tolist(), state["count"].tolist()
    rows = zip(labels.class_names, sums, counts, strict=True)
    return {name: total / count for name, total, count in rows if count}


def unoriented_angle_deg(estimated: Tensor, truth: Tensor) -> Tensor:
    """Return the angle between two directions up to their signs, (...,) float64 in [0, 90]."""
    between = torch.rad2deg(angle(estimated.detach().double(), truth.double()))
    return torch.minimum(between, 180 - between)


def _normal(batch: Batch) -> Tensor:
    if batch.normal is None:
        raise DatasetError("clouds without normals", where="data.dataset",
                           hint="normals are learned of data that has them, as shapes")
    return batch.normal
