"""Cross entropy for clouds and for points."""

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
