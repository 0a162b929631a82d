"""Choosing a subset of the points of a cloud."""

from jaxtyping import Float, Int
from torch import Tensor

from pcinv.checks import check_count, check_points
from pcinv.errors import InputError
from pcinv.ops.backends import fps_backend
from pcinv.ops.margins import tracking
from pcinv.ops.order import canonical_order, centre


def farthest_point_sample(
    xyz: Float[Tensor, "b n 3"], m: int, *, backend: str = "auto"
) -> Int[Tensor, "b m"]:
    """Choose m points greedily, each the farthest from those chosen before.

    xyz : (B, N, 3) float.  Returns (B, m) int64 positions without repeats.

    The first is the point farthest from the centroid, and equal distances (to about 1e-9) are
    decided by geometry: the answer does not depend on the order of the points. The first j of m
    samples are the answer for j.

    Raises
    ------
    InputError : m exceeds N, or coordinates are not finite.
    UnknownNameError : a backend that does not exist.

    Source: Eldar et al. 1997, the farthest point strategy.
    """
    check_points(xyz)
    check_count(m, "m")
    count = xyz.shape[1]
    if m > count:
        raise InputError(f"{m} samples asked of a cloud of {count} points", where="m",
                         hint=f"choose m of at most {count}, or a denser cloud")
    sample = fps_backend("reference" if tracking() else backend, xyz.device)
    points, _ = centre(xyz, xyz)
    order = canonical_order(points)
    ordered = points.gather(1, order[..., None].expand_as(points))
    return order.gather(1, sample(ordered, m))
