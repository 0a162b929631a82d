"""Losses of a detector of centres: focal loss of a map of heat, L1 of boxes at true centres.

Zhou, Wang, Krahenbuhl, arXiv 1904.07850 (CenterNet); Yin, Zhou, Krahenbuhl, CVPR 2021
(CenterPoint).
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

ALPHA, BETA = 2, 4
_WEIGHTS = (1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.2, 0.2)
"""Of offset, height, size, heading; of velocity less, which one scan does not show."""


def heat_loss(
    logits: Float[Tensor, "b k h w"], heat: Float[Tensor, "b k h w"]
) -> Float[Tensor, " b"]:
    """Return the focal loss of each scan, over the number of its centres.

    heat : 1 at true centres, less around them.
    """
    certain, unsure = F.logsigmoid(logits), F.logsigmoid(-logits)
    share = logits.sigmoid()
    at_centre = heat == 1
    hit = certain * (1 - share) ** ALPHA * at_centre
    miss = unsure * share ** ALPHA * (1 - heat) ** BETA * ~at_centre
    count = at_centre.sum((1, 2, 3)).clamp(min=1)
    return -(hit + miss).sum((1, 2, 3)) / count


def box_loss(
    box: Float[Tensor, "b 10 h w"], cells: Int[Tensor, " m"], wanted: Float[Tensor, "m 10"],
    scan: Int[Tensor, " m"],
) -> Float[Tensor, " b"]:
    """Return the L1 distance of each scan at its true centres, over their number.

    cells : places in H * W.  scan : (M,) which scan each is of.  wanted : NaN where not known.
    """
    found = box.flatten(2)[scan, :, cells]  # (M, 10)
    known = torch.isfinite(wanted)
    apart = torch.where(known, found - wanted.nan_to_num(), 0.0).abs()
    each = (apart * apart.new_tensor(_WEIGHTS)).sum(1)
    count = torch.bincount(scan, minlength=len(box)).clamp(min=1)
    return each.new_zeros(len(box)).index_add(0, scan, each) / count
