"""A small descriptor of patches, on cylinder grids.

Four circular convolutions over the azimuths of a grid, the maximum and the mean over azimuths, two
linear layers: 32 numbers of length 1. A turn about the axis by whole azimuths changes nothing, and
the grid itself turns with the cloud (`pcinv.nn.cylinder_grid`), so neither does a rotation of the
cloud with its axes. A mirror image gets another descriptor.

The idea of a cylindrical patch with circular convolutions is that of SpinNet (Ao et al., CVPR 2021,
arXiv 2011.12149); grid, sizes and layers are ours.

Letters: B patches, K key points, N points, A azimuths, C channels.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from pcinv.checks import check_count
from pcinv.errors import ShapeError
from pcinv.nn.cylinder_grid import (
    AZIMUTHS,
    CHANNELS,
    DENSITY,
    HEIGHT_SCALE,
    RADIUS,
    cell_cloud,
    cylinder_grid,
    cylinder_grid_torch,
    grids,
    key_frames,
)
from pcinv.nn.overrides import with_overrides
from pcinv.nn.rows import LinearNorm, norm_affine
from pcinv.ops.threads import each_alone

Map = Callable[[Tensor], Tensor]
CHUNK, TORCH_CHUNK = 256, 4096
"""Key points described at a time, on the CPU (their grids, 3 MB, stay in the cache) and elsewhere.
"""
_FIRST_TEMPERATURE = 0.07


@dataclass(frozen=True)
class Hyper:
    """Sizes of the network, and of the grids that it is made for.

    width, hidden, length : channels of the convolutions, of the layer after them, of the answer.
    radius, height_scale : of the grids, see `cylinder_grid`.
    """

    width: int = 96
    hidden: int = 128
    length: int = 32
    radius: float = RADIUS
    height_scale: float = HEIGHT_SCALE


class AzimuthConv(nn.Module):
    """Convolution over three neighbouring azimuths, around the circle, and batch normalisation.

    In: (B, C_in, A).  Out: (B, C_out, A).
    """

    def __init__(self, width_in: int, width_out: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(width_in, width_out, 3, bias=False)
        self.norm = nn.BatchNorm1d(width_out)

    def forward(self, x: Float[Tensor, "b c a"]) -> Float[Tensor, "b d a"]:
        return self.frozen()(x)

    def frozen(self) -> Map:
        """Return the layer as one function; in evaluation its weights are folded once, here."""
        if self.training:
            return lambda x: self.norm(self.conv(_around(x)))
        scale, shift = norm_affine(self.norm)
        folded = partial(F.conv1d, weight=self.conv.weight * scale[:, None, None], bias=shift)
        return lambda x: folded(_around(x))


def _around(x: Float[Tensor, "b c a"]) -> Float[Tensor, "b c a2"]:
    """Repeat the last azimuth before the first, and the first after the last."""
    return F.pad(x, (1, 1), mode="circular")


class CylinderPatch(nn.Module):
    """The network; its random weights make a descriptor about as good as point histograms.

    log_scale : logarithm of the scale (1 / temperature) of the loss, which learns it.
    """

    min_points = 1

    def __init__(self, hyper: Hyper | None = None) -> None:
        super().__init__()
        self.hyper = hyper or Hyper()
        width, hidden = self.hyper.width, self.hyper.hidden
        self.first = AzimuthConv(CHANNELS, width)
        self.inner_1 = AzimuthConv(width, width)
        self.inner_2 = AzimuthConv(width, width)
        self.last = AzimuthConv(width, width)
        self.hidden = LinearNorm(2 * width, hidden, bias=False)
        self.out = nn.Linear(hidden, self.hyper.length)
        self.log_scale = nn.Parameter(torch.tensor(-math.log(_FIRST_TEMPERATURE)))

    def forward(self, grid: Float[Tensor, "b 200 16"]) -> Float[Tensor, "b d"]:
        """Return descriptors (B, length) of length 1. Raises ShapeError for other grids."""
        if grid.dim() != 3 or grid.shape[1:] != (CHANNELS, AZIMUTHS):
            raise ShapeError(f"expected shape (B, {CHANNELS}, {AZIMUTHS}), got"
                             f" {tuple(grid.shape)}", where="grid", hint="make it by cylinder_grid")
        return self.frozen()(grid)

    def patches(
        self, points: Float[np.ndarray, "n 3"], normals: Float[np.ndarray, "n 3"],
        key_points: Float[np.ndarray, "k 3"], key_axes: Float[np.ndarray, "k 3"], *,
        density: float = DENSITY,
    ) -> Float[Tensor, "k 200 16"]:
        """Return what `forward` takes: the `cylinder_grid` of each key point."""
        grid = cylinder_grid(points, normals, key_points, key_axes, radius=self.hyper.radius,
                             height_scale=self.hyper.height_scale, density=density)
        return torch.from_numpy(grid)

    def describe_keys(
        self, points: Float[np.ndarray, "n 3"], normals: Float[np.ndarray, "n 3"],
        key_points: Float[np.ndarray, "k 3"], key_axes: Float[np.ndarray, "k 3"], *,
        density: float = DENSITY,
    ) -> Float[Tensor, "k d"]:
        """Do as `describe`."""
        return describe(self, points, normals, key_points, key_axes, density=density)

    def frozen(self) -> Map:
        """Return the network as one function; in evaluation its weights are folded once, here."""
        first, inner_1, inner_2, last = (
            layer.frozen() for layer in (self.first, self.inner_1, self.inner_2, self.last))
        hidden = self.hidden.frozen(relu=True)

        def network(grid: Tensor) -> Tensor:
            x = F.relu(first(grid))  # (B, C, A)
            x = F.relu(x + inner_2(F.relu(inner_1(x))))
            x = F.relu(last(x))
            pooled = torch.cat((x.amax(2), x.mean(2)), 1)  # (B, 2 C)
            return F.normalize(self.out(hidden(pooled)), dim=1)

        return network


def build(
    name: str, *, task: str, num_classes: int, preset: str, num_categories: int,
    overrides: dict[str, Any],
) -> CylinderPatch:
    """Make the network; `overrides` are fields of `Hyper`. Raises ConfigError for others."""
    return CylinderPatch(with_overrides(Hyper(), overrides, name))


def describe(
    model: CylinderPatch, points: Float[np.ndarray, "n 3"], normals: Float[np.ndarray, "n 3"],
    key_points: Float[np.ndarray, "k 3"], key_axes: Float[np.ndarray, "k 3"], *,
    density: float = DENSITY, chunk: int | None = None,
) -> Float[Tensor, "k d"]:
    """Return the descriptor of each key point: (K, length), on the device of the model.

    In float64 where the weights are, else in float32.

    points, normals, key_points, key_axes, density : as with `cylinder_grid`. Normals and axes must
        point to the side that the sensor was on; from another side the descriptor is another.
    chunk : key points worked on at a time, of no matter but for rounding; None for what is fast.

    Batch normalisation is that of evaluation, whatever the mode of the model, which is left as it
    is. All key points without an axis get the same descriptor, that of an empty patch.

    Raises ShapeError, InputError as `cylinder_grid`, or for a chunk below 1.
    """
    if chunk is not None:
        check_count(chunk, "chunk")
    if any(part.training for part in model.modules()):
        model = copy.deepcopy(model).eval()
    key_points, key_axes = key_frames(key_points, key_axes)
    if model.out.weight.device.type != "cpu":
        return _describe_by_torch(model, points, normals, key_points, key_axes, density, chunk)
    hyper, dtype, step = model.hyper, model.out.weight.dtype, chunk or CHUNK
    wide = dtype == torch.float64
    cloud = cell_cloud(points, normals, hyper.radius)
    with torch.no_grad():
        network = model.frozen()

    def describe_some(start: int) -> Tensor:
        part = slice(start, start + step)
        grid = grids(cloud, key_points[part], key_axes[part], radius=hyper.radius,
                     height_scale=hyper.height_scale, density=density, wide=wide)
        found = network(torch.from_numpy(grid).to(dtype))
        return found if wide else found.float()

    # without key points there is one empty chunk: the answer has its columns
    return torch.cat(each_alone(describe_some, range(0, max(len(key_points), 1), step)))


def _describe_by_torch(
    model: CylinderPatch, points: Float[np.ndarray, "n 3"], normals: Float[np.ndarray, "n 3"],
    key_points: Float[np.ndarray, "k 3"], key_axes: Float[np.ndarray, "k 3"], density: float,
    chunk: int | None,
) -> Float[Tensor, "k d"]:
    """Do as `describe`, all on the device of the model."""
    hyper, weight, step = model.hyper, model.out.weight, chunk or TORCH_CHUNK
    wide = weight.dtype == torch.float64
    cloud, cloud_normals, places, axes = (
        torch.as_tensor(np.array(values, np.float64), device=weight.device)
        for values in (points, normals, key_points, key_axes))
    parts = []
    # Convolutions may round to 11 bits there: descriptors of a turned cloud would differ by 1e-3.
    with torch.no_grad(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        network = model.frozen()
        for start in range(0, max(len(places), 1), step):
            part = slice(start, start + step)
            grid = cylinder_grid_torch(
                cloud, cloud_normals, places[part], axes[part], radius=hyper.radius,
                height_scale=hyper.height_scale, density=density, wide=wide)
            found = network(grid.to(weight.dtype))
            parts.append(found if wide else found.float())
    return torch.cat(parts)
