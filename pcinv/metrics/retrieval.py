"""How well vectors find others of their class: mean average precision, recall at k."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

_SCORES = 2**22
"""Scores worked on at a time."""


def average_precision(
    scores: Float[Tensor, "q n"], relevant: Bool[Tensor, "q n"]
) -> Float[Tensor, " q"]:
    """Return the average precision of each query; NaN for one without anything relevant.

    The mean, over what is relevant, of the share of relevant ones among those with its score or a
    higher one; so the order of equal scores does not matter.
    """
    order = scores.argsort(dim=1, descending=True)
    ranked, right = scores.gather(1, order), relevant.gather(1, order)
    count = ranked.shape[1]
    place = torch.arange(count, device=scores.device)
    # of equal scores all count as standing at the last place
    is_last = torch.cat((ranked[:, 1:] != ranked[:, :-1], torch.ones_like(right[:, :1])), dim=1)
    last = torch.where(is_last, place, count).flip(1).cummin(1).values.flip(1)
    precision = right.double().cumsum(1).gather(1, last) / (last + 1)
    return (precision * right).sum(1) / right.sum(1)


def found_within(
    scores: Float[Tensor, "q n"], relevant: Bool[Tensor, "q n"], k: int
) -> Bool[Tensor, " q"]:
    """Return whether something relevant is among the k highest scores of each query."""
    top = scores.topk(min(k, scores.shape[1]), dim=1).indices
    return relevant.gather(1, top).any(1)


def retrieval_metrics(
    vectors: Float[Tensor, "n d"], labels: Int[Tensor, " n"], ks: Sequence[int] = (1, 5, 10)
) -> dict[str, float]:
    """Let each vector search among all others by cosine; those of its label are relevant.

    Returns `map`, the mean average precision, and `recall_at_k`, the share of queries with one of
    their label among the k best. A vector without another of its label asks nothing.
    """
    unit = F.normalize(vectors, dim=-1)
    count, step = len(unit), max(1, _SCORES // max(1, len(unit)))
    precisions, hits = [], []
    for rows in torch.split(torch.arange(count, device=unit.device), step):
        others = torch.ones(len(rows), count, dtype=torch.bool, device=unit.device)
        others[torch.arange(len(rows)), rows] = False
        scores = (unit[rows] @ unit.T)[others].view(len(rows), count - 1)
        relevant = torch.eq(labels[rows, None], labels)[others].view(len(rows), count - 1)
        asks = relevant.any(1)
        precisions.append(average_precision(scores[asks], relevant[asks]))
        hits.append(torch.stack([found_within(scores[asks], relevant[asks], k) for k in ks], 1))
    recall = torch.cat(hits).double().mean(0).tolist()
    named = {f"recall_at_{k}": value for k, value in zip(ks, recall, strict=True)}
    return {"map": float(torch.cat(precisions).mean()), **named}
