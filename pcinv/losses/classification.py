"""Cross entropy for clouds and for points."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor


def smoothed_cross_entropy(
    logits: Float[Tensor, "b *n c"], target: Int[Tensor, "b *n"], smoothing: float = 0.0
) -> Float[Tensor, "b"]:
    """Return the cross entropy of each cloud, its points averaged, in float32 at least.

    The target distribution gives `smoothing` spread evenly over all classes, and the rest to the
    true class (Szegedy et al., CVPR 2016, section 7).

    logits : (B, C), or (B, N, C) for a label at each point.
    target : (B,) or (B, N) int64, class indices.
    """
    if not logits.dtype.itemsize >= 4:
        logits = logits.float()  # half precision overflows in the exponential sums
    each = F.cross_entropy(
        logits.flatten(0, -2), target.flatten(), reduction="none", label_smoothing=smoothing
    )
    return each.view(len(logits), -1).mean(1)


def log_prior(
    labels: Int[Tensor, " m"], num_classes: int, strength: float
) -> Float[Tensor, " c"]:
    """Return what to add to the logits in training so that rare classes are not passed over.

    With `strength` 1 the network learns logits whose largest is right equally often for every
    class (logit adjustment: Menon et al., ICLR 2021, eq. 10); with 0 nothing changes. A class
    without a single cloud counts as if it had one.

    labels : (M,) int64, class of each training cloud.
    """
    counts = torch.bincount(labels, minlength=num_classes).clamp_min(1).float()
    return strength * (counts / counts.sum()).log()
