"""The loss of classifiers on the prefixes of one vector."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pcinv.losses.classification import smoothed_cross_entropy


def nested_cross_entropy(
    logits: Float[Tensor, "b g k"],
    target: Int[Tensor, "b"],
    weights: Float[Tensor, "g"],
    smoothing: float = 0.0,
) -> Float[Tensor, "b"]:
    """Return the weighted sum over G prefixes of the cross entropy of each cloud.

    Kusupati et al., NeurIPS 2022, eq. 1.

    target : (B,) int64, class indices.
    """
    each = [smoothed_cross_entropy(one, target, smoothing) for one in logits.unbind(1)]
    losses = torch.stack(each, dim=1)  # (B, G)
    return (losses * weights.to(losses)).sum(1)
