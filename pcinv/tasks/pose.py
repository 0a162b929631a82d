"""Pose: the rotation R between two clouds of one thing, P2 = P1 R^T, whose points do not pair up.

A network gives R (B, 3, 3). Where a shape looks the same after a turn there is no one right answer:
read the figures class by class.
"""

import torch
from torch import Tensor

from pcinv.errors import DatasetError
from pcinv.losses.pose import rotation_matrix_loss
from pcinv.metrics.rotation_errors import (
    BINS,
    angle_histogram,
    max_deg,
    median_deg,
    rotation_errors_deg,
    share_below,
)
from pcinv.tasks.batch import Batch, Labels


def num_outputs(labels: Labels) -> int:
    """Return the number of entries of a rotation."""
    return 9


def loss(estimated: Tensor, batch: Batch, smoothing: float) -> Tensor:
    """Return the mean squared difference of matrix entries of each pair, (B,)."""
    return rotation_matrix_loss(estimated, _rotation(batch).to(estimated))


def new_state(labels: Labels, device: torch.device) -> dict[str, Tensor]:
    """Return sums of zero; states of the same labels add up entry by entry."""
    count = len(labels.class_names)
    return {
        "loss": torch.zeros((), dtype=torch.float64, device=device),
        "angle": torch.zeros(count, dtype=torch.float64, device=device),
        "count": torch.zeros(count, dtype=torch.int64, device=device),
        "histogram": torch.zeros(BINS, dtype=torch.int64, device=device),
    }


def update(
    state: dict[str, Tensor], estimated: Tensor, batch: Batch, losses: Tensor, labels: Labels
) -> None:
    """Add the estimates and losses of one batch to the state."""
    angle = rotation_errors_deg(estimated, _rotation(batch))
    state["loss"] += losses.detach().double().sum()
    # one pair after the other on CPU: the sum keeps its order, so that a rerun is bit-equal
    state["angle"].index_add_(0, batch.label, angle)
    state["count"] += torch.bincount(batch.label, minlength=len(labels.class_names))
    state["histogram"] += angle_histogram(angle)


def compute(state: dict[str, Tensor]) -> dict[str, float]:
    """Return angles in degrees, shares of pairs within 5 and 10 degrees, and the mean loss."""
    count, histogram = max(1, int(state["count"].sum())), state["histogram"]
    return {
        "mean_deg": float(state["angle"].sum()) / count,
        "median_deg": median_deg(histogram),
        "max_deg": max_deg(histogram),
        "within_5deg": share_below(histogram, 5),
        "within_10deg": share_below(histogram, 10),
        "loss": float(state["loss"]) / count,
    }


def per_class(state: dict[str, Tensor], labels: Labels) -> dict[str, float]:
    """Return the mean angle in degrees of each class that is present."""
    rows = zip(labels.class_names, state["angle"].tolist(), state["count"].tolist(), strict=True)
    return {name: total / count for name, total, count in rows if count}


def _rotation(batch: Batch) -> Tensor:
    if batch.rotation is None:
        raise DatasetError("clouds without a second cloud", where="model.task",
                           hint="the engine makes the pairs where the task is pose")
    return batch.rotation
