"""Clouds of different sizes: rows end to end with offsets, or padded to the longest with a mask."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from pcinv.errors import InputError, ShapeError


def to_padded(
    values: Float[Tensor, "total c"], offsets: Int[Tensor, " ends"]
) -> tuple[Float[Tensor, "b n c"], Bool[Tensor, "b n"]]:
    """Return (B, Nmax, C) and the mask (B, Nmax) of what is real; the rest is 0.

    values : (ΣN, C), cloud after cloud.  offsets : (B + 1,) int64 from 0 to ΣN, cloud b being
    values[offsets[b]:offsets[b + 1]].

    Raises
    ------
    InputError : offsets that do not ascend from 0 to ΣN.
    """
    if offsets.dim() != 1 or len(offsets) < 1:
        raise ShapeError(f"expected offsets (B + 1,), got {tuple(offsets.shape)}", where="offsets",
                         hint="the first row of each cloud, and the number of rows")
    sizes = offsets.diff()
    if int(offsets[0]) != 0 or int(offsets[-1]) != len(values) or bool((sizes < 0).any()):
        raise InputError(f"offsets {offsets.tolist()[:8]} do not ascend from 0 to {len(values)}",
                         where="offsets", hint="start with 0 and add the size of each cloud")
    longest = int(sizes.max()) if len(sizes) else 0
    position = torch.arange(longest, device=values.device)
    mask = position < sizes[:, None]
    padded = values.new_zeros(len(sizes), longest, values.shape[1])
    return padded.masked_scatter(mask[..., None], values), mask


def to_ragged(
    padded: Float[Tensor, "b n c"], mask: Bool[Tensor, "b n"]
) -> tuple[Float[Tensor, "total c"], Int[Tensor, " ends"]]:
    """Return the rows where the mask is True, cloud after cloud, and their offsets (B + 1,).

    Raises
    ------
    ShapeError : the mask does not fit.
    """
    if mask.shape != padded.shape[:2] or mask.dtype != torch.bool:
        raise ShapeError(f"expected a boolean mask {tuple(padded.shape[:2])}, "
                         f"got {mask.dtype} {tuple(mask.shape)}", where="mask",
                         hint="one truth value for each padded row")
    sizes = mask.sum(1)
    return padded[mask], torch.cat([sizes.new_zeros(1), sizes.cumsum(0)])
