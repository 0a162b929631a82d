"""Objectives of equivariant pretraining of LiDAR scans, after E-SSL3D.

Hegde, Lohit, Peng, Jones, Patel, arXiv 2404.11737. Features are to change as their input does:
a scan a little further off, larger or mirrored is told by contrast of its points, by how much it
is turned is told by a classifier, and what really moved is carried along by its flow.
"""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

TEMPERATURE = 0.07
"""Of contrast; the paper does not tell its own, PointContrast has this one."""
COLLAPSED = 0.5
"""Spread of features below which they say too little, as a share of that of random directions."""


def point_contrast(
    x: Float[Tensor, "k c"], y: Float[Tensor, "k c"], *, temperature: float = TEMPERATURE,
    reduction: str = "mean",
) -> Float[Tensor, ""]:
    """Return the contrast of matched points in two views, L_pnce.

    x, y : (K, C) features of the same points; their lengths do not matter.
    reduction : "sum" as in the paper, or "mean", the sum over K.

    -sum_i log(exp(x_i . y_i / t) / sum_k exp(x_i . y_k / t)): all K points are in the denominator.
    """
    logits = F.normalize(x, dim=1) @ F.normalize(y, dim=1).T / temperature  # (K, K)
    return F.cross_entropy(logits, torch.arange(len(x), device=x.device), reduction=reduction)


def rotation_bin(yaw: Float[Tensor, " b"], bins: int = 10) -> Int[Tensor, " b"]:
    """Return which of equal bins over [-pi / 2, pi / 2) an angle is in."""
    place = (yaw + math.pi / 2) / math.pi * bins
    return place.floor().long().clamp(0, bins - 1)


def cell_regression(
    y: Float[Tensor, "p c"], z: Float[Tensor, "p c"], *, cells: int | None = None
) -> Float[Tensor, ""]:
    """Return L_flow, the squared distance of directions: sum of ||z - y||^2 over cells.

    y : (P, C) predictions at the cells that are occupied in both scans.  z : (P, C) their targets,
    carried along by the flow; no gradient goes into them here, a caller detaches them.
    cells : the sum is divided by this, H * W in the paper; by P, the cells there are, where None.
    """
    apart = (F.normalize(y, dim=1) - F.normalize(z, dim=1)).square().sum()
    return apart / max(1, len(y) if cells is None else cells)


def ema_gamma(step: int, total: int, base: float) -> float:
    """Return how much of the target stays after step k of K, from `base` at 0 to 1 at the end.

    gamma = 1 - (1 - base) (cos(pi k / K) + 1) / 2, Grill et al., NeurIPS 2020 (BYOL).
    """
    return 1 - (1 - base) * (math.cos(math.pi * min(step, total) / max(1, total)) + 1) / 2


def feature_spread(features: Float[Tensor, "k c"]) -> float:
    """Return the mean deviation of a channel of directions, as a share of random directions'.

    0 where all features are the same, 1 where they point everywhere; below `COLLAPSED` the
    objective has found a way to ask nothing of them.
    """
    if len(features) < 2:
        return 0.0
    spread = F.normalize(features.detach().double(), dim=1).std(0, correction=0).mean()
    return float(spread * math.sqrt(features.shape[1]))
