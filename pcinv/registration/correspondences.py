"""Which points of two clouds look alike: features that are in the k best of each other.

Distances decide, to about 1e-9; the order of the points never does. Where features are so alike
that it is open which of them are among the k best, none of the tied ones counts: a match that
has more than k equally good partners tells nothing. So both clouds are treated alike, and
matching the other way round gives the same pairs.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from pcinv.checks import check_count, check_finite
from pcinv.errors import InputError, ShapeError
from pcinv.ops.order import MAX_EXTENT, quantise
from pcinv.ops.threads import in_shares

_BLOCK = 128
"""Rows of the matrix of distances that are held at a time on the CPU: they stay in the cache."""
_HELD = 2**24
"""Entries that are held elsewhere."""
_ROWS = 2**14
_SPARE = 2  # candidates beyond the k + 1 that decide: they show what the matrix product left open


class Matches(NamedTuple):
    """Pairs of rows, nearest features first.

    source_index, target_index : (K,) int64 rows of the two sets of features.
    distance : (K,) Euclidean distance of the features, of their type.
    """

    source_index: Int[Tensor, " k"]
    target_index: Int[Tensor, " k"]
    distance: Float[Tensor, " k"]


@torch.no_grad()
def mutual_matches(
    source: Float[Tensor, "n c"], target: Float[Tensor, "m c"], k: int = 2, limit: int = 2500
) -> Matches:
    """Return the pairs of features that are in the k best of each other, nearest first.

    source, target : (N, C) and (M, C) features, normalised as they shall be compared.
    k : a pair counts if at most k features of the target, itself among them, are as near to its
        source feature as it is, and the same the other way round.
    limit : at most so many pairs, the nearest. Equal distances are ordered by a + b of the two
        features, then by |a - b|, entry by entry.

    A few rows of the matrix of distances are held at a time, for clouds of any size. Works on the
    device of the features.

    Raises ShapeError, InputError for other shapes, values that are not finite, or k, limit < 1.
    Source: reciprocal matching, as in Choy et al., FCGF, ICCV 2019; k > 1 keeps more pairs where
    the overlap is small.

    >>> rows = torch.eye(3)
    >>> found = mutual_matches(rows, rows.flip(0) * torch.tensor([[0.7], [0.8], [0.9]]), k=1)
    >>> found.source_index.tolist(), found.target_index.tolist()
    ([0, 1, 2], [2, 1, 0])
    """
    _check(source, target)
    check_count(k, "k")
    check_count(limit, "limit")
    if not (len(source) and len(target)):
        none = torch.zeros(0, dtype=torch.int64, device=source.device)
        return Matches(none, none, source.new_zeros(0))
    a, b = source.double(), target.double()
    with torch.autocast(a.device.type, enabled=False):
        there, back = _both_ways(a, b, k + 1 + _SPARE)
        column, dist2, bound = _nearest(a, b, k, there)
        _, _, bound_back = _nearest(b, a, k, back)
    is_mutual = (dist2 < bound[:, None]) & (dist2 < bound_back[column])
    row, place = is_mutual.nonzero(as_tuple=True)
    column, dist2 = column[row, place], dist2[row, place]
    order = _order(dist2, a[row], b[column])[:limit]
    return Matches(row[order], column[order], dist2[order].sqrt().to(source.dtype))


def _check(source: Tensor, target: Tensor) -> None:
    for name, rows in (("source", source), ("target", target)):
        if rows.dim() != 2 or not rows.is_floating_point() or not rows.shape[1]:
            raise ShapeError(f"expected floating point (N, C), got {rows.dtype} "
                             f"{tuple(rows.shape)}", where=name, hint="one row for each point")
        check_finite(rows, name)
        if len(rows) and not float(rows.abs().max()) <= MAX_EXTENT:
            raise InputError(f"a feature of size {float(rows.abs().max()):.3g}", where=name,
                             hint="normalise the features")
    if source.shape[1] != target.shape[1]:
        raise ShapeError(f"features of length {source.shape[1]} and {target.shape[1]}",
                         where="target", hint="describe both clouds in the same way")
    if source.device != target.device:
        raise InputError(f"features on {source.device} and {target.device}", where="target",
                         hint="move both to one device")


class _Candidates(NamedTuple):
    """What a matrix product suggests: column (N, W), and what all other distances exceed (N,)."""

    column: Int[Tensor, "n w"]
    beyond: Float[Tensor, " n"]


def _nearest(
    a: Tensor, b: Tensor, k: int, suggested: _Candidates
) -> tuple[Tensor, Tensor, Tensor]:
    """Return candidates (N, W), their squared distances, and a bound (N,), exclusive.

    Exactly the rows of b below the bound are in the k best of the row of a, and all are among the
    candidates. Distances are computed anew, from differences; where the product leaves open what is
    among the k best, once more from one in double precision.
    """
    column, beyond = suggested
    dist2, last = _exact(a, b, column, k)
    unsure = (~(last <= beyond)).nonzero()[:, 0]
    if len(unsure):
        column[unsure], beyond[unsure] = _candidates(a[unsure], b, column.shape[1])
        dist2[unsure], last[unsure] = _exact(a[unsure], b, column[unsure], k)
    return column, dist2, torch.minimum(last, beyond)


def _exact(a: Tensor, b: Tensor, column: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Return the squared distances (N, W) of rows to their candidates, and the k + 1st of each."""
    dist2 = torch.empty(column.shape, dtype=a.dtype, device=a.device)
    for rows in torch.arange(len(a), device=a.device).split(_ROWS):
        dist2[rows] = quantise((a[rows, None] - b[column[rows]]).square().sum(-1))
    if column.shape[1] <= k:
        return dist2, torch.full_like(dist2[:, 0], torch.inf)
    return dist2, dist2.kthvalue(k + 1).values


def _both_ways(a: Tensor, b: Tensor, width: int) -> tuple[_Candidates, _Candidates]:
    """Return the candidates of each row of a among those of b, and the other way round."""
    if a.device.type != "cpu":
        return (_candidates(a, b, min(width, len(b))), _candidates(b, a, min(width, len(a))))
    from pcinv.registration.matching_kernels import keep_smallest  # compiled on first use

    widths = min(width, len(b)), min(width, len(a))
    left, right = (part.float().contiguous() for part in _factors(a, b))
    right = right.T.contiguous()
    row_value = np.full((len(a), widths[0]), np.inf, np.float32)
    row_place = np.zeros(row_value.shape, np.int64)

    def work(starts: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        value = np.full((len(b), widths[1]), np.inf, np.float32)
        place, worst = np.zeros(value.shape, np.int64), np.full(len(b), np.inf, np.float32)
        for start in starts:
            block = (left[start : start + _BLOCK] @ right).numpy()
            keep_smallest(block, start, row_value, row_place, value, place, worst)
        return value, place

    shares = in_shares(work, range(0, len(a), _BLOCK))
    value, place = (torch.from_numpy(np.concatenate(part, axis=1))
                    for part in zip(*shares, strict=True))
    column_value, best = value.topk(widths[1], dim=1, largest=False)
    size_a, size_b = a.square().sum(1), b.square().sum(1)
    rounding = 2 * left.shape[1] * torch.finfo(torch.float32).eps * (size_a.max() + size_b.max())
    return (_with_bound(torch.from_numpy(row_place), torch.from_numpy(row_value), len(b), rounding),
            _with_bound(place.gather(1, best), column_value, len(a), rounding))


def _with_bound(column: Tensor, value: Tensor, count: int, rounding: Tensor) -> _Candidates:
    """Return candidates of which the last may be too large by rounding; none is beyond all."""
    if value.shape[1] == count:
        return _Candidates(column, torch.full_like(value[:, 0], torch.inf, dtype=torch.float64))
    return _Candidates(column, value.amax(1).double() - rounding)


def _candidates(a: Tensor, b: Tensor, width: int) -> _Candidates:
    """Return candidates by a product in double precision."""
    found = []
    left, right = _factors(a, b)
    rounding = 2 * left.shape[1] * torch.finfo(a.dtype).eps
    for rows in torch.arange(len(a), device=a.device).split(max(1, _HELD // len(b))):
        value, column = (left[rows] @ right.mT).topk(width, largest=False)
        error = rounding * (a[rows].square().sum(1).max() + b.square().sum(1).max())
        found.append(_with_bound(column, value, len(b), error))
    return _Candidates(*(torch.cat(part) for part in zip(*found, strict=True)))


def _factors(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Return matrices (N, C + 2) and (M, C + 2) whose product is |a - b|²."""
    one_a, one_b = torch.ones_like(a[:, :1]), torch.ones_like(b[:, :1])
    size_a, size_b = (part.square().sum(1, keepdim=True) for part in (a, b))
    return torch.cat([-2 * a, one_a, size_a], dim=1), torch.cat([b, size_b, one_b], dim=1)


def _order(dist2: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """Return the pairs by ascending distance; ties by what does not change when a and b swap."""
    value, order = dist2.sort(stable=True)
    same = value[1:] == value[:-1]
    tied = torch.zeros_like(dist2, dtype=torch.bool)
    tied[1:] |= same
    tied[:-1] |= same
    if not tied.any():
        return order
    rows = order[tied]
    keys = torch.cat([a[rows] + b[rows], (a[rows] - b[rows]).abs()], dim=1)
    rank = torch.unique(keys, dim=0, return_inverse=True)[1]  # sorted entry by entry
    by_rank = rank.argsort(stable=True)
    again = by_rank[dist2[rows][by_rank].argsort(stable=True)]
    order[tied] = rows[again]
    return order
