"""Compiled loops behind attention over point pair features.

Letters: N points, M centres, K neighbours, H heads, D channels of a head.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pcinv.ops.jit import jit

Array = NDArray[Any]


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
def _softmax(score: Array) -> None:
    """Replace the scores by their softmax."""
    top, total = score[0], score.dtype.type(0)
    for j in range(1, len(score)):
        top = max(top, score[j])
    for j in range(len(score)):
        score[j] = np.exp(score[j] - top)
        total += score[j]
    for j in range(len(score)):
        score[j] /= total


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
            _softmax(score)
            hidden = out[i, first : first + width]
            for j in range(k):
                a = score[j]
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
            _softmax(weight)
            mean = zero
            for j in range(k):
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
