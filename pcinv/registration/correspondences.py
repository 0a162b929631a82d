"""Which points of two clouds look alike: features that are in the k best of each other.

Distances decide, to about 1e-9; the order of the points never does. Where features are so alike
that it is open which of them are among the k best, none of the tied ones counts: a match that
has more than k equally good partners tells nothing. So both clouds are treated alike, and
matching the other way round gives the same pairs.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pcinv.checks import check_count, check_finite
from pcinv.errors import InputError, ShapeError
from pcinv.ops.order import MAX_EXTENT, quantise

_BLOCK = {"cpu": 2**19, "cuda": 2**24}  # squared distances held at a time: 2 MB stay in the cache
_ROWS = 2**14
_LANES = 16
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

    Half a million distances are held at a time on the CPU, for clouds of any size. Works on the
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
    column, dist2, bound = _nearest(a, b, k)
    _, _, bound_back = _nearest(b, a, k)
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


def _nearest(a: Tensor, b: Tensor, k: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return candidates (N, k + 1 + spare), their squared distances, and a bound (N,), exclusive.

    Exactly the rows of b below the bound are in the k best of the row of a, and all are among
    the candidates. Candidates come from a matrix product, in single precision where that decides,
    else in double; their distances are then computed anew, from differences.
    """
    width = min(k + 1 + _SPARE, len(b))
    column = torch.empty(len(a), width, dtype=torch.int64, device=a.device)
    dist2 = torch.empty(len(a), width, dtype=a.dtype, device=a.device)
    bound = torch.empty(len(a), dtype=a.dtype, device=a.device)
    left = torch.arange(len(a), device=a.device)
    is_cpu = a.device.type == "cpu"
    step = min(max(1, _BLOCK["cpu" if is_cpu else "cuda"] // len(b)), _ROWS)
    for dtype in (torch.float32, torch.float64) if is_cpu else (torch.float64,):
        base = torch.cat([b, b.square().sum(1, keepdim=True)], dim=1).to(dtype)
        unsure = [left[:0]]
        for rows in torch.split(left, step):
            found, beyond = _candidates(a[rows].to(dtype), base, width)
            exact = quantise((a[rows, None] - b[found]).square().sum(-1))
            last = exact.kthvalue(k + 1).values if width > k else torch.full_like(beyond, torch.inf)
            unsure.append(rows[~(last <= beyond)])
            column[rows], dist2[rows], bound[rows] = found, exact, torch.minimum(last, beyond)
        left = torch.cat(unsure)
        if not len(left):
            break
    return column, dist2, bound


def _candidates(a: Tensor, base: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """Return the nearest `width` rows of b by a matrix product, and what all others exceed.

    base : (M, C + 1) rows of b and their squared lengths.
    """
    with torch.autocast(a.device.type, enabled=False):
        rows = torch.cat([-2 * a, torch.ones_like(a[:, :1])], dim=1)
        value, column = _smallest(rows @ base.mT, width)  # |b|² - 2 a.b
    size = a.square().sum(1)
    if width == len(base):
        return column, torch.full_like(size, torch.inf, dtype=torch.float64)
    rounding = 2 * (base.shape[1] + 1) * torch.finfo(a.dtype).eps
    error = rounding * (size + base[:, -1].max())
    return column, (size + value[:, -1] - error).double()


def _smallest(values: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return the smallest `count` values of each row, ascending, and their columns.

    Of columns that are `lanes` apart only the smallest is sorted at first: four times as fast.
    """
    lanes = values.shape[1] // _LANES
    if lanes < 4 * count:
        return values.topk(count, largest=False)
    whole = lanes * _LANES
    best = values[:, :whole].reshape(-1, _LANES, lanes).amin(1).topk(count, largest=False)
    column = best.indices[:, :, None] + lanes * torch.arange(_LANES, device=values.device)
    rest = torch.arange(whole, values.shape[1], device=values.device).expand(len(values), -1)
    column = torch.cat([column.flatten(1), rest], dim=1)
    value, place = values.gather(1, column).topk(count, largest=False)
    return value, column.gather(1, place)


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
