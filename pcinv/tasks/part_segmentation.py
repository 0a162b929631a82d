"""Part segmentation: a part for each point of a cloud whose category is known."""

import torch
from torch import Tensor

from pcinv.errors import DatasetError
from pcinv.losses import smoothed_cross_entropy
from pcinv.metrics.segmentation import class_miou, instance_miou, restrict, shape_iou
from pcinv.tasks.batch import Batch, Labels


def num_outputs(labels: Labels) -> int:
    """Return the number of logits at each point."""
    return len(labels.part_names)


def loss(logits: Tensor, batch: Batch, smoothing: float) -> Tensor:
    """Return the loss of each cloud, (B,), its points averaged, from logits (B, N, P)."""
    return smoothed_cross_entropy(logits, _parts(batch), smoothing)


def new_state(labels: Labels, device: torch.device) -> dict[str, Tensor]:
    """Return sums of zero; states of the same labels add up entry by entry."""
    count = len(labels.class_names)
    return {
        "loss": torch.zeros((), dtype=torch.float64, device=device),
        "iou": torch.zeros(count, dtype=torch.float64, device=device),
        "count": torch.zeros(count, dtype=torch.int64, device=device),
        "right": torch.zeros((), dtype=torch.int64, device=device),
        "points": torch.zeros((), dtype=torch.int64, device=device),
    }


def update(
    state: dict[str, Tensor], logits: Tensor, batch: Batch, losses: Tensor, labels: Labels
) -> None:
    """Add the predictions and losses of one batch to the state."""
    allowed = labels.allowed.to(logits.device)[batch.label]  # (B, P)
    predicted, target = restrict(logits, allowed), _parts(batch)
    iou = shape_iou(predicted, target, allowed)
    state["loss"] += losses.detach().double().sum()
    # one cloud after the other on CPU: the sum keeps its order, so that a rerun is bit-equal
    state["iou"].index_add_(0, batch.label, iou)
    state["count"] += torch.bincount(batch.label, minlength=len(labels.class_names))
    state["right"] += torch.eq(predicted, target).sum()
    state["points"] += predicted.numel()


def compute(state: dict[str, Tensor]) -> dict[str, float]:
    """Return instance and class mIoU, accuracy over points, and mean loss."""
    return {
        "instance_miou": instance_miou(state["iou"], state["count"]),
        "class_miou": class_miou(state["iou"], state["count"]),
        "oa": int(state["right"]) / max(1, int(state["points"])),
        "loss": float(state["loss"]) / max(1, int(state["count"].sum())),
    }


def per_class(state: dict[str, Tensor], labels: Labels) -> dict[str, float]:
    """Return the mean IoU of the shapes of each category that is present."""
    sums, counts = state["iou"].tolist(), state["count"].tolist()
    rows = zip(labels.class_names, sums, counts, strict=True)
    return {name: total / count for name, total, count in rows if count}


def _parts(batch: Batch) -> Tensor:
    if batch.part is None:
        raise DatasetError("clouds without part labels", where="data.dataset",
                           hint="choose a data set with parts, or model.task=classification")
    return batch.part
