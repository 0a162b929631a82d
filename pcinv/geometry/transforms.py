"""Rotation protocols and augmentations of one sample: pure functions, seeded by a generator.

None of them changes its input. Coordinates come out in the type in which they went in.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from pcinv.checks import check_points, check_same_points
from pcinv.errors import InputError, unknown_name
from pcinv.geometry.features import safe_normalize
from pcinv.geometry.rotation import random_rotation, random_rotation_z

ROTATION_KINDS = ("none", "z", "so3")
PROTOCOLS = ("none/none", "none/so3", "z/z", "z/so3", "so3/so3")


@dataclass(frozen=True)
class Protocol:
    """Which rotations the training samples get and which the test samples, of `ROTATION_KINDS`."""

    train: str
    test: str

    def __str__(self) -> str:
        return f"{self.train}/{self.test}"


def parse_protocol(text: str) -> Protocol:
    """Return the protocol of a name such as "z/so3" (in either case): train / test.

    Raises UnknownNameError unless it is one of `PROTOCOLS`.
    """
    name = text.strip().lower()
    if name not in PROTOCOLS:
        raise unknown_name("protocol", text, PROTOCOLS)
    train, test = name.split("/")
    return Protocol(train, test)


def draw_rotation(kind: str, generator: torch.Generator | None = None) -> Float[Tensor, "3 3"]:
    """Draw one float64 rotation: "none" identity, "z" about the z axis, "so3" Haar-uniform.

    Raises UnknownNameError for another kind.
    """
    if kind == "none":
        return torch.eye(3, dtype=torch.float64)
    if kind == "z":
        return random_rotation_z(generator=generator, dtype=torch.float64)
    if kind == "so3":
        return random_rotation(generator=generator, dtype=torch.float64)
    raise unknown_name("rotation", kind, ROTATION_KINDS)


def rotate(
    xyz: Float[Tensor, "n 3"],
    normal: Float[Tensor, "n 3"] | None,
    kind: str,
    generator: torch.Generator | None = None,
) -> tuple[Float[Tensor, "n 3"], Float[Tensor, "n 3"] | None]:
    """Rotate points and normals about the origin by one rotation of this kind.

    Raises UnknownNameError for another kind than `ROTATION_KINDS`, ShapeError for other shapes.
    """
    check_points(xyz, batched=False, min_points=0)
    if normal is not None:
        check_same_points(normal, xyz, "normal")
    rotation = draw_rotation(kind, generator)
    if kind == "none":
        return xyz, normal
    turned = (xyz.double() @ rotation.T.to(xyz.device)).to(xyz.dtype)
    if normal is None:
        return turned, None
    return turned, (normal.double() @ rotation.T.to(normal.device)).to(normal.dtype)


def scale(
    xyz: Float[Tensor, "n 3"],
    generator: torch.Generator | None = None,
    *,
    low: float = 0.8,
    high: float = 1.25,
) -> Float[Tensor, "n 3"]:
    """Multiply all coordinates by one number drawn from [low, high]."""
    return xyz * float(_uniform(1, low, high, generator))


def stretch(
    xyz: Float[Tensor, "n 3"],
    normal: Float[Tensor, "n 3"] | None,
    generator: torch.Generator | None = None,
    *,
    ratio: float = 1.5,
) -> tuple[Float[Tensor, "n 3"], Float[Tensor, "n 3"] | None]:
    """Multiply each coordinate by a number of its own, log-uniform in [1 / ratio, ratio].

    The largest distance from the origin stays what it was. Normals follow the surface: they are
    multiplied by the inverse numbers and made unit again.

    Raises InputError for a ratio below 1, ShapeError for other shapes.
    """
    check_points(xyz, batched=False, min_points=0)
    if ratio < 1:
        raise InputError(f"ratio is {ratio}, expected 1 or more", where="ratio",
                         hint="1 changes nothing")
    factor = _uniform(3, -math.log(ratio), math.log(ratio), generator).exp().to(xyz)
    stretched = xyz * factor
    if len(xyz):
        reach, before = stretched.norm(dim=-1).amax(), xyz.norm(dim=-1).amax()
        stretched = stretched * torch.where(reach > 0, before / reach, torch.ones_like(reach))
    if normal is None:
        return stretched, None
    check_same_points(normal, xyz, "normal")
    return stretched, safe_normalize(normal / factor)


def shift(
    xyz: Float[Tensor, "n 3"], generator: torch.Generator | None = None, *, extent: float = 0.1
) -> Float[Tensor, "n 3"]:
    """Move all points by one vector with entries drawn from [-extent, extent]."""
    return xyz + _uniform(3, -extent, extent, generator).to(xyz)


def jitter(
    xyz: Float[Tensor, "n 3"],
    generator: torch.Generator | None = None,
    *,
    sigma: float = 0.01,
    clip: float = 0.05,
) -> Float[Tensor, "n 3"]:
    """Add to every coordinate Gaussian noise of this sigma, clipped to [-clip, clip]."""
    noise = sigma * torch.randn(xyz.shape, generator=generator)
    return xyz + noise.clamp(-clip, clip).to(xyz)


def dropout_points(
    *arrays: Tensor | None, generator: torch.Generator | None = None, max_ratio: float = 0.875
) -> tuple[Tensor | None, ...]:
    """Drop a random part of the points; each dropped row becomes a copy of one that is kept.

    arrays : (N, ...) each, one row a point (coordinates, normals, labels), or None; all are treated
    alike, and N stays. The ratio is drawn from [0, max_ratio]; at least one point is kept.
    Source: Qi et al., PointNet++, 2017, whose ratio is 0.875.

    Raises InputError for arrays of different lengths.
    """
    count = _common_length(arrays)
    if count == 0:
        return arrays
    ratio = float(_uniform(1, 0.0, max_ratio, generator))
    draw = torch.rand(count, generator=generator)
    kept = draw >= ratio
    kept[draw.argmax()] = True
    first = int(kept.to(torch.uint8).argmax())
    index = torch.where(kept, torch.arange(count), first)
    return _take(arrays, index)


def shuffle(
    *arrays: Tensor | None, generator: torch.Generator | None = None
) -> tuple[Tensor | None, ...]:
    """Put the points into a random order, the same one for all arrays (N, ...); None stays None.

    Raises InputError for arrays of different lengths.
    """
    return _take(arrays, torch.randperm(_common_length(arrays), generator=generator))


def normalize_unit_ball(
    xyz: Float[Tensor, "*batch n 3"],
) -> tuple[Float[Tensor, "*batch n 3"], Float[Tensor, "*batch 3"], Float[Tensor, "*batch"]]:
    """Return the points less their mean and over the largest radius, with that mean and radius.

    xyz : (..., N, 3) float, N >= 1.  Returns points in the same type, and centre (..., 3) and
    radius (...,) in float64. Where all points are equal the radius is 0 and the points are zeros.

    Raises ShapeError and InputError for other shapes, no points or values that are not finite.
    """
    check_points(xyz.reshape(-1, *xyz.shape[-2:]) if xyz.dim() > 3 else xyz, batched=xyz.dim() != 2)
    exact = xyz.double()
    # about the first point: equal points have exactly their own mean, however far from the origin
    base = exact[..., :1, :]
    local = exact - base
    mean = local.mean(-2, keepdim=True)
    local = local - mean
    radius = local.norm(dim=-1).amax(-1)
    size = torch.where(radius > 0, radius, torch.ones_like(radius))
    return (local / size[..., None, None]).to(xyz.dtype), (base + mean).squeeze(-2), radius


def _uniform(count: int, low: float, high: float, generator: torch.Generator | None) -> Tensor:
    """Draw `count` numbers from [low, high]."""
    if not (math.isfinite(low) and math.isfinite(high) and low <= high):
        raise InputError(f"cannot draw from [{low}, {high}]", where="range",
                         hint="give finite limits, low <= high")
    return low + (high - low) * torch.rand(count, generator=generator, dtype=torch.float64)


def _common_length(arrays: tuple[Tensor | None, ...]) -> int:
    lengths = {len(a) for a in arrays if a is not None}
    if len(lengths) != 1:
        raise InputError(f"arrays of {sorted(lengths)} rows", where="arrays",
                         hint="one row a point in every array")
    return lengths.pop()


def _take(arrays: tuple[Tensor | None, ...], index: Tensor) -> tuple[Tensor | None, ...]:
    return tuple(None if a is None else a[index.to(a.device)] for a in arrays)
