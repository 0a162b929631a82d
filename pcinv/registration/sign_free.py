"""Fast point feature histograms, plain and without any need for oriented normals.

Both describe a point by 33 numbers: histograms of three angles between its normal and those of its
neighbours, to which those of the neighbours are added. The plain ones need normals that all point
to the same side of the surface, as seen from a camera; the sign-free ones do not change if any
normal is turned round, and in return cannot tell convex from concave.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int

from pcinv.checks import check_count, check_points, check_same_points
from pcinv.errors import ShapeError
from pcinv.ops import ball_query
from pcinv.ops.threads import parallel

LENGTH = 33
_ROWS = 1024


class NeighbourTable(NamedTuple):
    """The neighbours of each point, nearest first, the point itself included.

    index : (N, K) int64 positions; those after the first `count` of a row mean nothing.
    count : (N,) int64.
    """

    index: Int[np.ndarray, "n k"]  # type: ignore[assignment]  # hides tuple.index, unused here
    count: Int[np.ndarray, " n"]  # type: ignore[assignment]


def neighbour_table(
    points: Float[np.ndarray, "n 3"], radius: float, max_neighbours: int = 100
) -> NeighbourTable:
    """Return the nearest points within the radius of each point, itself included.

    points : (N, 3).  radius : five voxels is a good choice for these features.
    max_neighbours : at most so many, the nearest, itself included.

    Raises ShapeError, InputError for other shapes, values that are not finite, or a radius or
    number <= 0. Ties are broken by geometry, as in `pcinv.ops`.
    """
    cloud = torch.from_numpy(np.ascontiguousarray(points, np.float64))
    check_points(cloud, "points", batched=False)
    check_count(max_neighbours, "max_neighbours")
    k = min(max_neighbours, len(cloud))
    index, inside = ball_query(cloud[None], cloud[None], radius, k)
    return NeighbourTable(index[0].numpy(), inside[0].sum(1).numpy())


def fpfh(
    points: Float[np.ndarray, "n 3"], normals: Float[np.ndarray, "n 3"], table: NeighbourTable
) -> Float[np.ndarray, "n 33"]:
    """Return the fast point feature histogram of each point: (N, 33) float64.

    points : (N, 3).  normals : (N, 3) unit vectors, turned to the side of the camera.
    table : the neighbours of each point, by `neighbour_table`.

    Each of the three blocks of eleven totals 200; 100 where there is no neighbour at another
    place; 0 where there is none. Equal to Open3D's with the same neighbours.

    Raises ShapeError, InputError for other shapes, or values that are not finite.
    Source: Rusu et al., ICRA 2009; weights 1 / distance² as in Open3D and PCL.
    """
    return _describe(points, normals, table, sign_free=False)


def sign_free_fpfh(
    points: Float[np.ndarray, "n 3"], normals: Float[np.ndarray, "n 3"], table: NeighbourTable
) -> Float[np.ndarray, "n 33"]:
    """Return histograms (N, 33) that do not change, to the last bit, when normals turn round.

    Arguments, totals and errors are as with `fpfh`. Of each pair, the normal closer to the line
    between the points is turned along the line, the other to the side of the first; so the angles
    fill half the range of the plain ones, with as many bins.
    """
    return _describe(points, normals, table, sign_free=True)


def _describe(
    points: Float[np.ndarray, "n 3"], normals: Float[np.ndarray, "n 3"], table: NeighbourTable,
    sign_free: bool,
) -> Float[np.ndarray, "n 33"]:
    from pcinv.registration import kernels  # compiled on first use

    p = np.ascontiguousarray(points, np.float64)
    n = np.ascontiguousarray(normals, np.float64)
    check_points(torch.from_numpy(p), "points", batched=False)
    check_same_points(torch.from_numpy(n), torch.from_numpy(p), "normals")
    index, count = (np.ascontiguousarray(part, np.int64) for part in table)
    if (index.ndim != 2 or len(index) != len(p) or count.shape != (len(p),)
            or index.min() < 0 or index.max() >= len(p) or count.max() > index.shape[1]):
        raise ShapeError(f"neighbours {index.shape} of {len(p)} points", where="table",
                         hint="make it with neighbour_table from the same points")
    simple, out = np.zeros((2, len(p), LENGTH))

    def fill(pass_: Callable[[int, int], None]) -> None:
        starts = range(0, len(p), _ROWS)
        parallel(lambda start: pass_(start, min(start + _ROWS, len(p))), starts)

    fill(lambda start, stop: kernels.simple_histograms(
        p, n, index, count, start, stop, sign_free, simple))
    fill(lambda start, stop: kernels.weighted_histograms(
        p, simple, index, count, start, stop, out))
    return out
