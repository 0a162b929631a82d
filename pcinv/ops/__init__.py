"""Neighbours, sampling, grouping: the operations on points that every model is made of.

This is the only package that knows the backends. Every discrete decision is made in float64 and
ties are broken by geometry (`pcinv.ops.order`), so no result depends on the order of the points;
`track_margins` tells how far from a tie a computation stayed.
"""

from pcinv.ops.backends import Backend, available_backends
from pcinv.ops.grouping import gather, interpolate, scatter_mean
from pcinv.ops.margins import Margins, record_margin, track_margins
from pcinv.ops.neighbours import Neighbours, ball_query, knn
from pcinv.ops.ragged import to_padded, to_ragged
from pcinv.ops.sampling import (
    VoxelSample,
    farthest_point_sample,
    random_sample,
    voxel_sample,
)

__all__ = [
    "Backend",
    "Margins",
    "Neighbours",
    "VoxelSample",
    "available_backends",
    "ball_query",
    "farthest_point_sample",
    "gather",
    "interpolate",
    "knn",
    "random_sample",
    "record_margin",
    "scatter_mean",
    "to_padded",
    "to_ragged",
    "track_margins",
    "voxel_sample",
]
