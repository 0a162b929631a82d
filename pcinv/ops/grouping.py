"""Fetching the rows of neighbours."""

import torch
from jaxtyping import Float, Int
from torch import Tensor


def gather(
    features: Float[Tensor, "b n c"], index: Int[Tensor, "b *rows"]
) -> Float[Tensor, "b *rows c"]:
    """Return features[b, index[b, ...]]: rows of features for a (B, M) or (B, M, k) index."""
    batch, count, width = features.shape
    shape = (batch,) + (1,) * (index.dim() - 1)
    base = (torch.arange(batch, device=index.device) * count).view(shape)
    flat = features.reshape(batch * count, width)
    return flat.index_select(0, (index + base).reshape(-1)).view(*index.shape, width)
