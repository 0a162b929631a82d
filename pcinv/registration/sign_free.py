"""Fast point feature histograms, plain and without any need for oriented normals.

Both describe a point by 33 numbers: histograms of three angles between its normal and those of its
neighbours, to which those of the neighbours are added. The plain ones need normals that all point
to the same side of the surface, as seen from a camera; the sign-free ones do not change if any
normal is turned round, and in return cannot tell convex from concave.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int

from pcinv.checks import check_count, check_points, check_same_points
from pcinv.errors import InputError, ShapeError
from pcinv.ops.order import canonical_order, centre
from pcinv.ops.threads import parallel
from pcinv.registration.grid import make_grid, neighbours_within

LENGTH = 33
_ROWS = 1024


class NeighbourTable(NamedTuple):
    """The neighbours of each point, nearest first, the point itself included.

    index : (N, K) int64 positions; those after the first `count` of a row mean nothing.
    counts : (S, N) int64, of each of S nested supports, ascending.
    """

    index: Int[np.ndarray, "n k"]  # type: ignore[assignment]  # hides tuple.index, unused here
    counts: Int[np.ndarray, "s n"]


def neighbour_table(
    points: Float[np.ndarray, "n 3"], supports: Sequence[tuple[float, int]]
) -> NeighbourTable:
    """Return the nearest points within a radius of each point, itself included.

    points : (N, 3).
    supports : one or more (radius, most) with both ascending: of each, at most so many neighbours,
        the nearest. Five voxels and 100 are a good choice for these features.

    Raises ShapeError, InputError for other shapes, values that are not finite, a radius or number
    <= 0, or supports that do not ascend. Of equally near points (to about 1e-11 of the radius
    squared) those come first that are farther from the centroid, whatever order they are stored in.
    """
    cloud = torch.from_numpy(np.array(points, np.float64))
    check_points(cloud, "points", batched=False)
    radii, most = zip(*supports, strict=True)
    for radius, number in supports:
        check_count(number, "max_neighbours")
        if not 0 < radius < np.inf:
            raise InputError(f"radius is {radius}, expected more than 0", where="radius",
                             hint="several times the distance between neighbouring points")
    if list(radii) != sorted(radii) or list(most) != sorted(most):
        raise InputError(f"supports {list(supports)}", where="supports", hint="smallest first")
    local, _ = centre(cloud[None], cloud[None])
    order = canonical_order(local)[0].numpy()
    index, counts = neighbours_within(make_grid(local[0].numpy()[order], radii[-1]), radii,
                                      [min(number, len(order)) for number in most])
    by_point = np.empty_like(index), np.empty_like(counts)
    by_point[0][order], by_point[1][:, order] = order[index], counts
    return NeighbourTable(*by_point)


def fpfh(
    points: Float[np.ndarray, "n 3"], normals: Float[np.ndarray, "n 3"], table: NeighbourTable
) -> Float[np.ndarray, "s n 33"]:
    """Return the fast point feature histogram of each point for each support: (S, N, 33) float64.

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
) -> Float[np.ndarray, "s n 33"]:
    """Return histograms (S, N, 33) that do not change, to the last bit, when normals turn round.

    Arguments, totals and errors are as with `fpfh`. Of each pair, the normal closer to the line
    between the points is turned along the line, the other to the side of the first; so the angles
    fill half the range of the plain ones, with as many bins.
    """
    return _describe(points, normals, table, sign_free=True)


def _describe(
    points: Float[np.ndarray, "n 3"], normals: Float[np.ndarray, "n 3"], table: NeighbourTable,
    sign_free: bool,
) -> Float[np.ndarray, "s n 33"]:
    from pcinv.registration import kernels  # compiled on first use

    p = np.ascontiguousarray(points, np.float64)
    n = np.ascontiguousarray(normals, np.float64)
    check_points(torch.from_numpy(p), "points", batched=False)
    check_same_points(torch.from_numpy(n), torch.from_numpy(p), "normals")
    index, counts = (np.ascontiguousarray(part, np.int64) for part in table)
    if (index.ndim != 2 or len(index) != len(p) or counts.ndim != 2 or counts.shape[1] != len(p)
            or index.min() < 0 or index.max() >= len(p) or counts.max() > index.shape[1]):
        raise ShapeError(f"neighbours {index.shape} of {len(p)} points", where="table",
                         hint="make it with neighbour_table from the same points")
    simple, out = np.zeros((2, len(counts), len(p), LENGTH))

    def fill(pass_: Callable[[int, int], None]) -> None:
        starts = range(0, len(p), _ROWS)
        parallel(lambda start: pass_(start, min(start + _ROWS, len(p))), starts)

    fill(lambda start, stop: kernels.simple_histograms(
        p, n, index, counts, start, stop, sign_free, simple))
    for support, count in enumerate(counts):
        fill(lambda start, stop, s=support, c=count: kernels.weighted_histograms(  # type: ignore
            p, simple[s], index, c, start, stop, out[s]))
    return out
