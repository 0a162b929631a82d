"""Compiled loops behind attention over point pair features, and tie-stable farthest points.

Letters: N points, M centres, K neighbours, H heads, D channels of a head.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pcinv.ops.jit import jit

Array = NDArray[Any]

_TAKEN = int(np.float64(-1.0).view(np.int64))
"""The bits of -1.0: less than those of any squared distance."""


@jit
def _total(product: Array) -> Any:
    """Return the sum in pairs, which vectors can do; overwrites its argument."""
    half = product.shape[0]
    while half % 2 == 0:
        half //= 2
        for c in range(half):
            product[c] += product[half + c]
    total = product[0]
    for c in range(1, half):
        total += product[c]
    return total


@jit
def attend(
    own: Array, shared: Array, index: Array, ppf: Array, heads: int, width: int, out: Array
) -> None:
    """Fill the columns of `out` (M, C + 4 H) with sum_j a_ij v_j, then with sum_j a_ij ppf_ij.

    a = softmax_j(query . key_j + pair_query . ppf_ij), head by head; C = H D.
    own : (M, 2 C + 4 H or more), from column C on the query (scaled), then the pair query.
    shared : (N, 2 C) keys, then values.  index : (M, K).  ppf : (M, K, 4).  width : D.
    """
    channels, k = heads * width, index.shape[1]
    score = np.empty(k, own.dtype)
    product = np.empty(width, own.dtype)
    zero = own.dtype.type(0)
    for i in range(index.shape[0]):
        for c in range(out.shape[1]):
            out[i, c] = zero
        for h in range(heads):
            first, pair = h * width, 2 * channels + 4 * h
            moment = channels + 4 * h
            query = own[i, channels + first : channels + first + width]
            p0, p1, p2, p3 = own[i, pair], own[i, pair + 1], own[i, pair + 2], own[i, pair + 3]
            for j in range(k):
                key = shared[index[i, j], first : first + width]
                total = (p0 * ppf[i, j, 0] + p1 * ppf[i, j, 1]) + (
                    p2 * ppf[i, j, 2] + p3 * ppf[i, j, 3])
                for c in range(width):
                    product[c] = query[c] * key[c]
                total += _total(product)
                score[j] = total
            top = score[0]
            for j in range(1, k):
                top = max(top, score[j])
            total = zero
            for j in range(k):
                score[j] = np.exp(score[j] - top)
                total += score[j]
            hidden = out[i, first : first + width]
            for j in range(k):
                a = score[j] / total
                start = channels + first
                value = shared[index[i, j], start : start + width]
                for c in range(width):
                    hidden[c] += a * value[c]
                for f in range(4):
                    out[i, moment + f] += a * ppf[i, j, f]


@jit
def attend_back(
    own: Array, shared: Array, index: Array, ppf: Array, heads: int, width: int, grad: Array,
    grad_own: Array, grad_shared: Array,
) -> None:
    """Carry the gradient of what `attend` fills back: set `grad_own`, add to `grad_shared`.

    grad : (M, C + 4 H).  grad_own : of the shape of `own`, zeros.  grad_shared : (N, 2 C).
    The other arguments are those of `attend`; the weights are computed once more.
    """
    channels, k = heads * width, index.shape[1]
    weight = np.empty(k, own.dtype)
    back = np.empty(k, own.dtype)
    product = np.empty(width, own.dtype)
    zero = own.dtype.type(0)
    for i in range(index.shape[0]):
        for h in range(heads):
            first, pair = h * width, 2 * channels + 4 * h
            start, moment = channels + first, channels + 4 * h
            query = own[i, start : start + width]
            above = grad[i, first : first + width]
            p0, p1, p2, p3 = own[i, pair], own[i, pair + 1], own[i, pair + 2], own[i, pair + 3]
            g0, g1, g2, g3 = (grad[i, moment], grad[i, moment + 1], grad[i, moment + 2],
                              grad[i, moment + 3])
            for j in range(k):
                f0, f1, f2, f3 = ppf[i, j, 0], ppf[i, j, 1], ppf[i, j, 2], ppf[i, j, 3]
                key = shared[index[i, j], first : first + width]
                value = shared[index[i, j], start : start + width]
                for c in range(width):
                    product[c] = query[c] * key[c]
                weight[j] = ((p0 * f0 + p1 * f1) + (p2 * f2 + p3 * f3)) + _total(product)
                for c in range(width):
                    product[c] = above[c] * value[c]
                back[j] = ((g0 * f0 + g1 * f1) + (g2 * f2 + g3 * f3)) + _total(product)
            top = weight[0]
            for j in range(1, k):
                top = max(top, weight[j])
            total = zero
            for j in range(k):
                weight[j] = np.exp(weight[j] - top)
                total += weight[j]
            mean = zero
            for j in range(k):
                weight[j] /= total
                mean += weight[j] * back[j]
            grad_query = grad_own[i, start : start + width]
            for j in range(k):
                a, score = weight[j], weight[j] * (back[j] - mean)
                key = shared[index[i, j], first : first + width]
                grad_key = grad_shared[index[i, j], first : first + width]
                grad_value = grad_shared[index[i, j], start : start + width]
                for c in range(width):
                    grad_query[c] += score * key[c]
                for c in range(width):
                    grad_key[c] += score * query[c]
                for c in range(width):
                    grad_value[c] += a * above[c]
                for f in range(4):
                    grad_own[i, pair + f] += score * ppf[i, j, f]


@jit
def stable_farthest(axes: Array, tie: float, nearest: Array, index: Array) -> None:
    """Fill `index` with positions, each as far from all before as any, to within `tie`.

    axes : (3, N) float64, in the order in which ties are decided: the first one wins.
    nearest : (N,) int64, the bits of infinity; working memory.

    Squared distances are kept as the integers that their bits are: the order is the same.
    """
    x, y, z = axes[0], axes[1], axes[2]
    count = x.shape[0]
    dist2 = np.empty(count)
    bits = dist2.view(np.int64)
    limit = np.empty(1)
    limit_bits = limit.view(np.int64)
    last = 0
    for j in range(index.shape[0]):
        index[j] = last
        nearest[last] = _TAKEN
        px, py, pz = x[last], y[last], z[last]
        for i in range(count):
            dx, dy, dz = x[i] - px, y[i] - py, z[i] - pz
            dist2[i] = dx * dx + dy * dy + dz * dz
        best = np.int64(_TAKEN)
        for i in range(count):
            nearest[i] = min(nearest[i], bits[i])
            best = max(best, nearest[i])
        if best < 0:  # all are taken
            return
        limit_bits[0] = best
        limit[0] = max(np.sqrt(limit[0]) - tie, 0.0) ** 2
        # rounding of the root must not put the limit above the best itself
        floor = min(limit_bits[0], best)
        last = 0
        while nearest[last] < floor:
            last += 1
