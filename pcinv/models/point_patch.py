"""A backbone of shapes as a descriptor of patches: points around a key point in, 32 numbers out.

The patch is the ball around the key point, in units of its radius; of the points in it as many as
the backbone is made for are taken, evenly by their distance, so none of this depends on a pose.
Where there are fewer, fewer are taken, and the last one fills up.
The backbone is RISurConv, in small; its answer is the descriptor.

Letters: B patches, K key points, N points, M points of a patch.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from pcinv.errors import ShapeError
from pcinv.models.registry import create_model
from pcinv.nn.cylinder_grid import DENSITY, RADIUS, key_frames
from pcinv.nn.overrides import with_overrides
from pcinv.ops import knn, record_margin
from pcinv.ops.margins import tracking

CHUNK = 256
"""Key points described at a time."""
_MOST = 512
"""Points that are looked at around a key point: those of a plane at the usual density, and some."""
_SIZES = (4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)
"""Points that are taken, as many of these as there are: patches of one size are worked on together.
"""
_FIRST_TEMPERATURE = 0.07


@dataclass(frozen=True)
class Hyper:
    """Sizes of the network, and of the patches that it is made for.

    points, radius : of a patch.  length : of the descriptor.
    centres, neighbours, channels, head, embed : of RISurConv.
    """

    points: int = 96
    radius: float = RADIUS
    length: int = 32
    centres: tuple[int, ...] = (32, 16, 8, 4)
    neighbours: tuple[int, ...] = (8, 8, 8, 4)
    channels: tuple[int, ...] = (32, 64, 64, 128, 128)
    head: tuple[int, ...] = (64,)
    embed: int = 16


class PointPatch(nn.Module):
    """The network. log_scale : logarithm of the scale of the loss, which learns it."""

    min_points = 1
    symmetry = "SE(3)"

    def __init__(self, hyper: Hyper | None = None) -> None:
        super().__init__()
        self.hyper = h = hyper or Hyper()
        self.backbone = create_model(
            "risurconv", num_classes=h.length, centres=h.centres, neighbours=h.neighbours,
            channels=h.channels, head=h.head, embed=h.embed, dropout=0.0, num_points=h.points)
        self.log_scale = nn.Parameter(torch.tensor(-math.log(_FIRST_TEMPERATURE)))

    def forward(self, patch: Float[Tensor, "b m 6"]) -> Float[Tensor, "b d"]:
        """Return descriptors (B, length) of length 1. Raises ShapeError for other patches."""
        if patch.dim() != 3 or patch.shape[1:] != (self.hyper.points, 6):
            raise ShapeError(f"expected shape (B, {self.hyper.points}, 6), got"
                             f" {tuple(patch.shape)}", where="patch", hint="make it by patches")
        xyz, normal, mask = patch[..., :3], patch[..., 3:], None
        if not self.training:  # points twice at one place are neighbours in no order
            is_new = F.pad((patch[:, 1:] != patch[:, :-1]).any(2), (1, 0), value=True)
            if not bool(is_new.all()):
                few = is_new.sum(1, keepdim=True) < self.backbone.min_points
                mask = is_new | few
        return F.normalize(self.backbone(xyz, normal, mask), dim=1)

    def patches(
        self, points: Float[np.ndarray, "n 3"], normals: Float[np.ndarray, "n 3"],
        key_points: Float[np.ndarray, "k 3"], key_axes: Float[np.ndarray, "k 3"], *,
        density: float = DENSITY,
    ) -> Float[Tensor, "k m 6"]:
        """Return what `forward` takes: places over the radius, and normals.

        Arguments as with `cylinder_grid`; neither the axes nor the density come in. A key point
        that no point is near to has a patch of points at one place, without normals.
        """
        h, dtype = self.hyper, self.log_scale.dtype
        keys = torch.from_numpy(np.array(key_points, np.float64))
        if not len(keys):
            return torch.zeros(0, h.points, 6, dtype=dtype)
        cloud = torch.from_numpy(np.array(points, np.float64))
        axes = torch.from_numpy(np.nan_to_num(np.array(normals, np.float64)))
        found = knn(keys[None], cloud[None], min(_MOST, len(cloud)))
        inside = (found.dist2[0] < h.radius**2).sum(1, keepdim=True)
        sizes = torch.tensor(sorted({min(size, h.points) for size in _SIZES}))
        size = sizes[(torch.searchsorted(sizes, inside, right=True) - 1).clamp_min(0)]
        row = torch.minimum(torch.arange(h.points), size - 1)
        place = torch.minimum(row * inside // size, (inside - 1).clamp_min(0))  # (K, M)
        index = found.index[0].gather(1, place)
        if tracking():
            _record_margin(found.dist2[0].sqrt() / h.radius, place)
        patch = torch.cat(((cloud[index] - keys[:, None]) / h.radius, axes[index]), 2)
        return torch.where(inside[..., None] > 0, patch, 0.0).to(dtype)

    def describe_keys(
        self, points: Float[np.ndarray, "n 3"], normals: Float[np.ndarray, "n 3"],
        key_points: Float[np.ndarray, "k 3"], key_axes: Float[np.ndarray, "k 3"], *,
        density: float = DENSITY,
    ) -> Float[Tensor, "k d"]:
        """Return the descriptor of each key point, as `pcinv.models.cylinder_patch.describe`."""
        # in float64: what lies close together in a patch has few digits left of float32
        model = copy.deepcopy(self).eval().double()
        places, axes = key_frames(key_points, key_axes)
        parts = [self.log_scale.new_zeros(0, self.hyper.length)]
        with torch.no_grad():
            for start in range(0, len(places), CHUNK):
                part = slice(start, start + CHUNK)
                patch = model.patches(points, normals, places[part], axes[part])
                parts.append(model(patch.to(self.log_scale.device)).to(self.log_scale.dtype))
        return torch.cat(parts)


def _record_margin(away: Float[Tensor, "k n"], place: Tensor) -> None:
    """Record how close points are to changing places where one of the two is taken, or the ball.

    away : (K, N) distances of points in rising order, over the radius.  place : (K, M) ranks.
    """
    taken = torch.zeros_like(away, dtype=torch.bool).scatter_(1, place, True)
    inside = away < 1
    matters = (taken[:, 1:] != taken[:, :-1]) & inside[:, 1:]
    for gap in ((away[:, 1:] - away[:, :-1])[matters], (away - 1).abs()):
        if gap.numel():
            record_margin(float(gap.min()))


def build(
    name: str, *, task: str, num_classes: int, preset: str, num_categories: int,
    overrides: dict[str, Any],
) -> PointPatch:
    """Make the network; `overrides` are fields of `Hyper`. Raises ConfigError for others."""
    return PointPatch(with_overrides(Hyper(), overrides, name))
