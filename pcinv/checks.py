"""Checks of arguments that raise typed errors; used at the public edges of the library."""

from __future__ import annotations

import torch
from torch import Tensor

from pcinv.errors import InputError, ShapeError


def check_points(
    xyz: Tensor, name: str = "xyz", *, min_points: int = 1, batched: bool = True
) -> None:
    """Raise unless `xyz` is a finite floating point (B, N, 3), or (N, 3) when not `batched`."""
    expected = "(B, N, 3)" if batched else "(N, 3)"
    if not isinstance(xyz, Tensor):
        raise ShapeError(f"expected a tensor {expected}, got {type(xyz).__name__}", where=name,
                         hint="torch.as_tensor(array, dtype=torch.float32)")
    if xyz.dim() != (3 if batched else 2) or xyz.shape[-1] != 3:
        raise ShapeError(f"expected shape {expected}, got {tuple(xyz.shape)}", where=name,
                         hint="points are rows of x, y, z"
                         + ("; add a batch axis with xyz[None]" if batched else ""))
    if not xyz.is_floating_point():
        raise ShapeError(f"expected floating point coordinates, got {xyz.dtype}", where=name,
                         hint=f"{name}.float()")
    if batched and not len(xyz):
        raise InputError("a batch without clouds", where=name, hint="pass one cloud or more")
    if xyz.shape[-2] < min_points:
        raise InputError(f"{xyz.shape[-2]} points, at least {min_points} needed", where=name,
                         hint="use a denser cloud")
    check_finite(xyz, name)


def check_finite(values: Tensor, name: str) -> None:
    """Raise unless every value is finite; the error counts the rows at fault."""
    if not torch.isfinite(values).all():
        flat = values.reshape(-1, values.shape[-1]) if values.dim() > 1 else values[:, None]
        bad = (~torch.isfinite(flat)).any(-1)
        first = int(bad.nonzero()[0, 0])
        raise InputError(
            f"{int(bad.sum())} of {len(bad)} rows are not finite (the first is row {first})",
            where=name, hint="drop these points, or repair the file they come from",
        )


def check_same_points(other: Tensor, xyz: Tensor, name: str) -> None:
    """Raise unless `other` has the leading shape of `xyz` (one row a point) and 3 columns."""
    if other.shape != xyz.shape:
        raise ShapeError(
            f"expected shape {tuple(xyz.shape)} like the points, got {tuple(other.shape)}",
            where=name, hint="one vector for each point",
        )
    check_finite(other, name)


def check_mask(mask: Tensor, xyz: Tensor, name: str = "mask") -> None:
    """Raise unless `mask` tells of each row of the clouds `xyz` whether it is a point."""
    if mask.dtype != torch.bool or mask.shape != xyz.shape[:-1]:
        raise ShapeError(
            f"expected bool {tuple(xyz.shape[:-1])} like the points, got {mask.dtype} "
            f"{tuple(mask.shape)}", where=name, hint="True where a row is a point")


def check_category(category: Tensor | None, clouds: int, num_categories: int) -> None:
    """Raise unless a network that is told one of `num_categories` is told one for each cloud."""
    hint = f"pass one of {num_categories} classes for each cloud"
    if category is None:
        raise InputError("the category of each object is missing", where="category", hint=hint)
    if category.shape != (clouds,):
        raise ShapeError(f"categories of shape {tuple(category.shape)} for {clouds} clouds",
                         where="category", hint=hint)
    if bool(((category < 0) | (category >= num_categories)).any()):
        raise InputError(f"categories {int(category.min())} to {int(category.max())}",
                         where="category", hint=f"0 to {num_categories - 1}")


def check_count(value: int, name: str, *, low: int = 1, high: int | None = None) -> None:
    """Raise unless low <= value <= high."""
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    if not is_whole or value < low or (high is not None and value > high):
        limit = f"{low} or more" if high is None else f"{low} to {high}"
        raise InputError(f"{name} is {value}, expected {limit}", where=name, hint=f"choose {limit}")
