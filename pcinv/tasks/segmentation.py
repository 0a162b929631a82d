"""Segmentation of LiDAR scans: a class for each point, -1 for points that have none."""

import torch
from torch import Tensor
from torch.nn import functional as F

from pcinv.metrics.semantic import class_iou, semantic_confusion, semantic_scores
from pcinv.tasks.batch import Labels


def num_outputs(labels: Labels) -> int:
    """Return the number of logits at each point."""
    return len(labels.class_names)


def loss(logits: Tensor, label: Tensor, weights: Tensor) -> Tensor:
    """Return the cross entropy of points with a class, (), weighed by class."""
    if not bool((label >= 0).any()):
        return logits.sum() * 0
    return F.cross_entropy(logits, label, weight=weights, ignore_index=-1)


def class_weights(counts: Tensor) -> Tensor:
    """Return weights from how many points each class has: one over the root of its share.

    Their mean over points is 1; a class that is never there weighs nothing.
    """
    share = counts.double() / counts.sum().clamp(min=1)
    weights = torch.where(share > 0, share.clamp(min=1e-6).rsqrt(), 0.0)
    return (weights / (weights * share).sum().clamp(min=1e-12)).float()


def new_state(labels: Labels, device: torch.device) -> dict[str, Tensor]:
    """Return sums of zero; states of the same labels add up entry by entry."""
    size = len(labels.class_names) + 1
    return {"loss": torch.zeros(2, dtype=torch.float64, device=device),
            "confusion": torch.zeros(size, size, dtype=torch.int64, device=device)}


def update(state: dict[str, Tensor], logits: Tensor, label: Tensor, losses: Tensor, count: int
           ) -> None:
    """Add the points of a batch of `count` scans."""
    known = torch.tensor([float(losses.detach()) * count, count], dtype=torch.float64)
    state["loss"] += known.to(state["loss"].device)
    state["confusion"] += semantic_confusion(logits.argmax(-1), label, logits.shape[1])


def compute(state: dict[str, Tensor]) -> dict[str, float]:
    """Return `miou` (absent classes as 0), `miou_present`, accuracy over points, mean loss."""
    total, count = state["loss"].tolist()
    return {**semantic_scores(state["confusion"]), "loss": total / max(1.0, count)}


def per_class(state: dict[str, Tensor], labels: Labels) -> dict[str, float]:
    """Return the IoU of each class that is present."""
    present = (state["confusion"][:, 1:].sum(0) > 0).tolist()
    values = class_iou(state["confusion"]).tolist()
    return {name: value for name, value, there in zip(labels.class_names, values, present,
                                                      strict=True) if there}
