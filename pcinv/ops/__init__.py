"""Neighbours, sampling, grouping: the operations on points that every model is made of.

This is the only package that knows the backends. Every discrete decision is made in float64 and
ties are broken by geometry (`pcinv.ops.order`), so no result depends on the order of the points;
`track_margins` tells how far from a tie a computation stayed.
"""

from pcinv.ops.grouping import gather
from pcinv.ops.margins import Margins, record_margin, track_margins
from pcinv.ops.neighbours import Neighbours, knn
from pcinv.ops.sampling import farthest_point_sample

__all__ = [
    "Margins",
    "Neighbours",
    "farthest_point_sample",
    "gather",
    "knn",
    "record_margin",
    "track_margins",
]
