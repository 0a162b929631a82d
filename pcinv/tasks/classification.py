"""Shape classification: one class for a cloud."""

import torch
from torch import Tensor

from pcinv.losses import smoothed_cross_entropy
from pcinv.metrics.classification import (
    class_accuracy,
    confusion_matrix,
    mean_class_accuracy,
    overall_accuracy,
)
from pcinv.tasks.batch import Batch, Labels


def num_outputs(labels: Labels) -> int:
    """Return the number of logits."""
    return len(labels.class_names)


def loss(logits: Tensor, batch: Batch, smoothing: float) -> Tensor:
    """Return the loss of each cloud, (B,), from logits (B, C)."""
    return smoothed_cross_entropy(logits, batch.label, smoothing)


def new_state(labels: Labels, device: torch.device) -> dict[str, Tensor]:
    """Return sums of zero; states of the same labels add up entry by entry."""
    count = len(labels.class_names)
    return {
        "loss": torch.zeros((), dtype=torch.float64, device=device),
        "confusion": torch.zeros(count, count, dtype=torch.int64, device=device),
    }


def update(
    state: dict[str, Tensor], logits: Tensor, batch: Batch, losses: Tensor, labels: Labels
) -> None:
    """Add the predictions and losses of one batch to the state."""
    predicted = logits.argmax(-1)
    state["loss"] += losses.detach().double().sum()
    state["confusion"] += confusion_matrix(predicted, batch.label, len(labels.class_names))


def compute(state: dict[str, Tensor]) -> dict[str, float]:
    """Return overall accuracy, mean class accuracy and mean loss."""
    confusion = state["confusion"]
    return {
        "oa": overall_accuracy(confusion),
        "macc": mean_class_accuracy(confusion),
        "loss": float(state["loss"]) / max(1, int(confusion.sum())),
    }


def per_class(state: dict[str, Tensor], labels: Labels) -> dict[str, float]:
    """Return the accuracy of each class that is present."""
    values = class_accuracy(state["confusion"]).tolist()
    return {name: v for name, v in zip(labels.class_names, values, strict=True) if v == v}
