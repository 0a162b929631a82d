"""Loss of descriptors that are to be matched: InfoNCE over corresponding places, both ways.

Source: van den Oord, Li, Vinyals, arXiv 1807.03748; negatives of both clouds, as in Choy et al.,
FCGF, ICCV 2019.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

_NEVER = -1e4
"""Logit of what does not count; finite, so that a row of such has a gradient of 0."""


def matching_loss(
    source: Float[Tensor, "k c"], target: Float[Tensor, "k c"], scale: Tensor,
    source_places: Float[Tensor, "k 3"], target_places: Float[Tensor, "k 3"],
    pair: Int[Tensor, " k"], radius: float,
) -> tuple[Float[Tensor, " k"], Float[Tensor, " k"]]:
    """Return the loss of each correspondence, and whether it was found: 1 or 0.

    source, target : (K, C) of unit length; rows k belong together.
    scale : factor of the cosines, 1 / temperature.
    source_places, target_places : (K, 3) where they are, each in the frame of its cloud.
    pair : (K,) number of the pair of clouds that each belongs to.
    radius : what is nearer than this to a place, on either side, does not count against it.

    Each row is told from all others of the batch on the other side, and from those of its own cloud
    on its own side. Found means that no row of the other cloud of its pair is more alike.
    """
    logits = source @ target.T * scale
    same = pair[:, None] == pair
    itself = torch.eye(len(pair), dtype=torch.bool, device=pair.device)
    near = same & ~itself & ((torch.cdist(source_places, source_places) < radius)
                             | (torch.cdist(target_places, target_places) < radius))
    across = logits.masked_fill(near, _NEVER)
    beside = near | itself | ~same
    own = [(side @ side.T * scale).masked_fill(beside, _NEVER) for side in (source, target)]
    right = torch.arange(len(pair), device=pair.device)
    there = F.cross_entropy(torch.cat([across, own[0]], 1), right, reduction="none")
    back = F.cross_entropy(torch.cat([across.T, own[1]], 1), right, reduction="none")
    found = across.masked_fill(~same, _NEVER).argmax(1) == right
    return (there + back) / 2, found.float()
