"""What every backbone returns, and how it takes clouds of different size."""

from typing import NamedTuple

from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from pcinv.checks import check_category, check_mask
from pcinv.errors import InputError


class Features(NamedTuple):
    """What a backbone knows of a cloud: one vector, one a point, one a centre.

    global_ : (B, C), or None for tasks on points.  per_point : (B, N, C), or None.
    centres : (B, S, C).
    """

    global_: Tensor | None
    per_point: Tensor | None
    centres: Tensor


def forward_by_size(
    model: nn.Module,
    xyz: Float[Tensor, "b n 3"],
    normal: Float[Tensor, "b n 3"] | None,
    mask: Bool[Tensor, "b n"],
    category: Int[Tensor, " b"] | None,
) -> Tensor:
    """Run a network on padded clouds, those of one size together, so that padding has no effect.

    mask : True where a row is a point. Logits of padding rows are zero.

    Raises ShapeError for a mask or categories of another shape, InputError for clouds of different
    size in training, where batch normalisation would see parts of the batch.
    """
    check_mask(mask, xyz)
    num_categories = getattr(model, "num_categories", 0)
    if num_categories:
        check_category(category, len(xyz), num_categories)
    counts = mask.sum(1)
    if model.training and bool((counts != counts[0]).any()):
        raise InputError("clouds of different size in training", where="mask",
                         hint="sample every cloud to the same number of points")
    logits: Tensor | None = None
    for count in counts.unique().tolist():
        rows = (counts == count).nonzero()[:, 0]
        keep = mask[rows]
        part = model(
            xyz[rows][keep].view(len(rows), count, 3),
            None if normal is None else normal[rows][keep].view(len(rows), count, 3),
            category=None if category is None else category[rows],
        )
        if logits is None:
            logits = part.new_zeros(*mask.shape[: part.dim() - 1], part.shape[-1])
        if part.dim() == 2:
            logits[rows] = part
        else:
            full = logits[rows]
            full[keep] = part.reshape(-1, part.shape[-1])
            logits[rows] = full
    if logits is None:
        raise InputError("a batch without clouds", where="xyz", hint="pass one cloud or more")
    return logits
