"""Intersection over union of part labels, as PointNet++ reports it for ShapeNetPart.

The IoU of a shape is the mean over the parts of its category; a part that is neither present nor
predicted counts 1 (Qi et al., NeurIPS 2017, code of part_seg/evaluate.py).
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def restrict(
    logits: Float[Tensor, "b n p"], allowed: Bool[Tensor, "b p"]
) -> Int[Tensor, "b n"]:
    """Return the best part of each point among those that its category has.

    logits : (B, N, P) float.  allowed : (B, P) bool, the parts of each cloud's category.
    """
    return logits.masked_fill(~allowed[:, None], -torch.inf).argmax(-1)


def shape_iou(
    predicted: Int[Tensor, "b n"], target: Int[Tensor, "b n"], allowed: Bool[Tensor, "b p"]
) -> Float[Tensor, "b"]:
    """Return (B,) float64 the mean IoU of each shape over the parts of its category."""
    parts = torch.arange(allowed.shape[1], device=predicted.device)
    is_predicted = predicted[..., None] == parts  # (B, N, P)
    is_target = target[..., None] == parts
    both = (is_predicted & is_target).sum(1).double()  # (B, P)
    either = (is_predicted | is_target).sum(1).double()
    iou = torch.where(either > 0, both / either.clamp(min=1), 1.0)
    return (iou * allowed).sum(1) / allowed.sum(1)


def instance_miou(iou_sum: Float[Tensor, "k"], count: Float[Tensor, "k"]) -> float:
    """Return the mean IoU over all shapes, from sums and counts of each category."""
    return float(iou_sum.sum() / count.sum().clamp(min=1))


def class_miou(iou_sum: Float[Tensor, "k"], count: Float[Tensor, "k"]) -> float:
    """Return the mean over the categories that are present of their shapes' mean IoU."""
    present = count > 0
    return float((iou_sum[present] / count[present]).mean()) if present.any() else 0.0
