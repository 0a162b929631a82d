"""Angles between estimated and true rotations, added up so that parts of a data set join exactly.

A median and a maximum cannot be added up; a histogram can. Its bins are a hundredth of a degree,
and so fine are the two.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pcinv.geometry.orthogonal import matrix_to_sixd, sixd_to_matrix
from pcinv.geometry.rotation import geodesic_angle

BINS_PER_DEG = 100
BINS = 180 * BINS_PER_DEG + 1
"""The last one holds 180 degrees."""


def rotation_errors_deg(
    estimated: Float[Tensor, "*batch 3 3"], true: Float[Tensor, "*batch 3 3"]
) -> Float[Tensor, "*batch"]:
    """Return the angle between each estimate and the truth, in degrees, 0 to 180, in float64.

    An estimate that is not quite a rotation is made one of its first two columns.
    """
    rotation = sixd_to_matrix(matrix_to_sixd(estimated.double()))
    return geodesic_angle(rotation, true.double()).rad2deg()


def angle_histogram(angle_deg: Float[Tensor, "*batch"]) -> Int[Tensor, " bins"]:
    """Count angles of 0 to 180 degrees in bins of a hundredth of a degree, (BINS,) int64."""
    place = (angle_deg * BINS_PER_DEG).long().clamp(0, BINS - 1)
    return torch.bincount(place.flatten(), minlength=BINS)


def median_deg(histogram: Int[Tensor, " bins"]) -> float:
    """Return the median angle to half a bin: the lower of the two in the middle; 0 of nothing."""
    return _angle_of_rank(histogram, (int(histogram.sum()) + 1) // 2)


def max_deg(histogram: Int[Tensor, " bins"]) -> float:
    """Return the largest angle to half a bin; 0 of nothing."""
    return _angle_of_rank(histogram, int(histogram.sum()))


def share_below(histogram: Int[Tensor, " bins"], limit_deg: float) -> float:
    """Return the share of angles below a whole number of hundredths of a degree; 0 of nothing."""
    total = int(histogram.sum())
    return int(histogram[: round(limit_deg * BINS_PER_DEG)].sum()) / total if total else 0.0


def _angle_of_rank(histogram: Int[Tensor, " bins"], rank: int) -> float:
    """Return the middle of the bin that holds the angle of this rank, counted from 1."""
    if rank < 1:
        return 0.0
    place = int((histogram.cumsum(0) >= rank).to(torch.uint8).argmax())
    return (place + 0.5) / BINS_PER_DEG if place < BINS - 1 else 180.0
