"""Semantic segmentation of scans: intersection over union as the SemanticKITTI server counts it.

Labels are those of `Scan`: 0 to K - 1, and -1 for no class. Points without a true class never
count; saying "no class" of a point that has one is a miss. Source: semantic-kitti-api,
np_ioueval.py (Behley et al., ICCV 2019), whose class 0 is our -1.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor


def semantic_confusion(
    predicted: Int[Tensor, " n"], truth: Int[Tensor, " n"], num_classes: int
) -> Int[Tensor, "rows columns"]:
    """Return counts (K + 1, K + 1), a row for each predicted class, a column for each true one.

    Row and column 0 are of -1. Confusions of the parts of a data set add up.
    """
    size = num_classes + 1
    pairs = (predicted + 1) * size + (truth + 1)
    return torch.bincount(pairs.reshape(-1), minlength=size * size).view(size, size)


def class_iou(confusion: Int[Tensor, "rows columns"]) -> Float[Tensor, " k"]:
    """Return (K,) float64 TP / (TP + FP + FN) of each class; 0 for one that is never there."""
    counts = confusion.double().clone()
    counts[:, 0] = 0
    hit = counts.diagonal()
    missed, wrong = counts.sum(0) - hit, counts.sum(1) - hit
    iou: Tensor = (hit / (hit + missed + wrong + 1e-15))[1:]
    return iou


def semantic_scores(confusion: Int[Tensor, "rows columns"]) -> dict[str, float]:
    """Return `miou` over all classes, absent ones as 0; `miou_present`, of those that occur; `oa`.

    The first is the official figure; on data that lacks classes the second says more.
    """
    iou, present = class_iou(confusion), confusion[:, 1:].sum(0) > 0
    right = int(confusion.diagonal()[1:].sum())
    return {
        "miou": float(iou.mean()),
        "miou_present": float(iou[present].mean()) if bool(present.any()) else 0.0,
        "oa": right / max(1, int(confusion[:, 1:].sum())),
    }
