"""Damage as scans have it, of one cloud in the unit ball: pure functions, seeded by a generator.

Each takes a cloud, its normals and part labels along with it, and a severity, of which 0 is no
damage. The numbers that are drawn do not depend on the severity: of one generator, noise goes the
same way and further, and a point that is lost stays lost where a larger share is. Directions belong
to the cloud as it is given: damage it first and turn it then, and the damage turns along.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pcinv.checks import check_count, check_points, check_same_points
from pcinv.errors import InputError, ShapeError, unknown_name
from pcinv.geometry.features import safe_normalize
from pcinv.geometry.transforms import normalize_unit_ball


class Points(NamedTuple):
    """A cloud in the unit ball, and what its points carry; one row a point in each of them."""

    xyz: Float[Tensor, "n 3"]
    normal: Float[Tensor, "n 3"] | None = None
    part: Int[Tensor, " n"] | None = None


class Corruption(NamedTuple):
    """A row of the table.

    apply : (points, severity, generator, min_points) -> points, not scaled again.
    unit : what a severity counts.
    severities : those that are tried, rising; the first is the cloud as it is.
    bound : every severity is below it.
    """

    apply: Callable[[Points, float, torch.Generator | None, int], Points]
    unit: str
    severities: tuple[float, ...]
    bound: float


def corrupt(kind: str, points: Points, severity: float, generator: torch.Generator | None = None,
            min_points: int = 1) -> Points:
    """Damage a cloud and bring it into the unit ball again; severity 0 leaves it as it is.

    kind : of `CORRUPTIONS`.
    min_points : so many points are left, or all of them where there are fewer.

    Raises
    ------
    UnknownNameError for another kind; InputError for a severity that it does not have, no points,
    or values that are not finite; ShapeError for other shapes.
    """
    check_severity(kind, severity)
    if severity == 0:
        _check(points, severity, math.inf, min_points)
        return points
    damaged = CORRUPTIONS[kind].apply(points, severity, generator, min_points)
    return damaged._replace(xyz=normalize_unit_ball(damaged.xyz)[0])


def check_severity(kind: str, severity: float) -> None:
    """Raise UnknownNameError for another kind, InputError for a severity that it does not have."""
    if kind not in CORRUPTIONS:
        raise unknown_name("corruption", kind, CORRUPTIONS)
    _check_range(severity, CORRUPTIONS[kind].bound)


def noise(points: Points, severity: float, generator: torch.Generator | None = None,
          min_points: int = 1) -> Points:
    """Add Gaussian noise of this standard deviation, in radii; normals know nothing of it."""
    _check(points, severity, math.inf, min_points)
    xyz = points.xyz
    drawn = torch.randn(xyz.shape, generator=generator, dtype=torch.float64).to(xyz.device)
    return points._replace(xyz=(xyz.double() + severity * drawn).to(xyz.dtype))


def dropout(points: Points, severity: float, generator: torch.Generator | None = None,
            min_points: int = 1) -> Points:
    """Lose this share of the points at random; the others stay in their order."""
    _check(points, severity, 1.0, min_points)
    order = torch.randperm(len(points.xyz), generator=generator)
    return _keep(points, order[: _left(points, severity, min_points)])


def partial(points: Points, severity: float, generator: torch.Generator | None = None,
            min_points: int = 1) -> Points:
    """Cut this share of the points off with a plane whose direction is drawn at random.

    Of points at equal depth the first ones stay.
    """
    _check(points, severity, 1.0, min_points)
    order = _depth(points.xyz, generator).argsort(stable=True)
    return _keep(points, order[: _left(points, severity, min_points)])


def density(points: Points, severity: float, generator: torch.Generator | None = None,
            min_points: int = 1) -> Points:
    """Lose half of the points, more of them the farther along a direction drawn at random.

    Points are drawn one by one to stay, with odds that fall by e^severity from one end of the cloud
    to the other; severity 0 loses none. Source of the draw: Efraimidis and Spirakis, 2006.
    """
    _check(points, severity, math.inf, min_points)
    depth = _depth(points.xyz, generator)
    drawn = torch.rand(len(depth), generator=generator, dtype=torch.float64).to(depth.device)
    if severity == 0:
        return points
    depth = depth - depth.amin()
    place = depth / depth.amax().clamp_min(torch.finfo(depth.dtype).tiny)  # from 0 to 1
    # logarithm of the time at which a point arrives whose rate is e^(-severity place)
    arrival = (-torch.log1p(-drawn)).log() + severity * place
    order = arrival.argsort(stable=True)
    return _keep(points, order[: _left(points, 0.5, min_points)])


def outliers(points: Points, severity: float, generator: torch.Generator | None = None,
             min_points: int = 1) -> Points:
    """Put this share of the points anywhere in the unit ball, with normals that point anywhere.

    Part labels stay those of the points that were there.
    """
    _check(points, severity, 1.0, min_points)
    xyz, normal, _ = points
    count = len(xyz)
    order = torch.randperm(count, generator=generator)
    ways = safe_normalize(torch.randn(2, count, 3, generator=generator, dtype=torch.float64))
    radius = torch.rand(count, 1, generator=generator, dtype=torch.float64) ** (1 / 3)
    moved = torch.zeros(count, 1, dtype=torch.bool)
    moved[order[: count - _left(points, severity, min_points)]] = True
    moved = moved.to(xyz.device)
    return points._replace(
        xyz=torch.where(moved, (radius * ways[0]).to(xyz), xyz),
        normal=None if normal is None else torch.where(moved, ways[1].to(normal), normal))


CORRUPTIONS = {
    "noise": Corruption(noise, "standard deviation, in radii", (0.0, 0.01, 0.02, 0.04, 0.08),
                        math.inf),
    "dropout": Corruption(dropout, "share of the points lost", (0.0, 0.25, 0.5, 0.75, 0.9), 1.0),
    "partial": Corruption(partial, "share of the points cut off", (0.0, 0.1, 0.2, 0.35, 0.5), 1.0),
    "density": Corruption(density, "exponent of the fall, half lost", (0.0, 1.0, 2.0, 4.0, 8.0),
                          math.inf),
    "outliers": Corruption(outliers, "share of the points replaced", (0.0, 0.02, 0.05, 0.1, 0.2),
                           1.0),
}
"""Name -> row. A new one goes last: what is drawn for a cloud depends on the place in here."""


def _check(points: Points, severity: float, bound: float, min_points: int) -> None:
    xyz, normal, part = points
    check_points(xyz, batched=False)
    if normal is not None:
        check_same_points(normal, xyz, "normal")
    if part is not None and part.shape != xyz.shape[:1]:
        raise ShapeError(f"expected shape {tuple(xyz.shape[:1])}, got {tuple(part.shape)}",
                         where="part", hint="one label for each point")
    check_count(min_points, "min_points")
    _check_range(severity, bound)


def _check_range(severity: float, bound: float) -> None:
    if not 0 <= severity < bound:
        limit = "a number from 0" if bound == math.inf else f"a number from 0, below {bound:g}"
        raise InputError(f"severity is {severity}, expected {limit}", where="severity",
                         hint="0 does no damage")


def _left(points: Points, share: float, min_points: int) -> int:
    """Return how many points stay where this share is lost."""
    count = len(points.xyz)
    return max(count - round(share * count), min(min_points, count))


def _depth(xyz: Tensor, generator: torch.Generator | None) -> Float[Tensor, " n"]:
    """Return how far each point lies along a direction drawn at random."""
    way = safe_normalize(torch.randn(3, generator=generator, dtype=torch.float64))
    return xyz.double() @ way.to(xyz.device)


def _keep(points: Points, rows: Tensor) -> Points:
    """Return these points, in the order in which they were."""
    rows = rows.sort().values.to(points.xyz.device)
    xyz, normal, part = points
    return Points(xyz[rows], None if normal is None else normal[rows],
                  None if part is None else part[rows])
