"""Accuracies of class predictions, from a confusion matrix that adds up over batches."""

import torch
from jaxtyping import Float, Int
from torch import Tensor


def confusion_matrix(
    predicted: Int[Tensor, "*n"], target: Int[Tensor, "*n"], num_classes: int
) -> Int[Tensor, "c c"]:
    """Count pairs of classes: row is the true one, column the predicted one.

    predicted, target : int64 class indices in [0, C), of the same shape.
    """
    pairs = target.flatten() * num_classes + predicted.flatten()
    return torch.bincount(pairs, minlength=num_classes**2).view(num_classes, num_classes)


def overall_accuracy(confusion: Int[Tensor, "c c"]) -> float:
    """Return the share of right predictions, 0 where there are none at all."""
    return int(confusion.diagonal().sum()) / max(1, int(confusion.sum()))


def class_accuracy(confusion: Int[Tensor, "c c"]) -> Float[Tensor, "c"]:
    """Return (C,) float64 the share of each class that was recognised; NaN where not present."""
    return confusion.diagonal().double() / confusion.sum(1).double()


def mean_class_accuracy(confusion: Int[Tensor, "c c"]) -> float:
    """Return the mean of the class accuracies over the classes that are present."""
    present = confusion.sum(1) > 0
    return float(class_accuracy(confusion)[present].mean()) if present.any() else 0.0
