"""Cylinder grids: the patch around a key point, as numbers that turn with the cloud.

A key point with an axis (its normal, turned to the sensor) sees the points within a cylinder about
the axis. Each is shared among the nodes of a grid of 5 rings, 10 heights and 16 azimuths; azimuth 0
is where the points lean to. So the grid of a turned cloud is the same, nothing is drawn at random,
and the density matters only through the count that a plane would have.

Lengths are in the units of the points; the defaults are for a room in metres with a point in each
2.5 cm, or any other cloud scaled to that. Letters: N points, K key points.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from pcinv.checks import check_points
from pcinv.errors import InputError, ShapeError
from pcinv.geometry.features import safe_normalize
from pcinv.ops import voxel_sample
from pcinv.ops.grouping import scatter_mean
from pcinv.ops.threads import parallel

RINGS, HEIGHTS, AZIMUTHS = 5, 10, 16
CHANNELS = 4 * RINGS * HEIGHTS
"""Of an azimuth: occupancy, then it times the mean normal along the axis, radially, tangentially;
of each, ring by ring, all heights."""
RADIUS, HEIGHT_SCALE, DENSITY = 0.3, 0.06, 1600.0
DENSITY_RADIUS = 0.1

_CORE, _RIM = 1 / 15, 0.1
"""Shares of the radius over which weights rise: 2 cm and 3 cm of 30 cm."""
_LEAST_LEAN = 1e-12
"""Times radius³: what rounding leaves of points that lean nowhere."""
_LEAST_NORMAL = 1e-6
"""Normals whose mean is shorter cancel out."""
_CELLS = 2
"""Cells of the search that the radius is long."""
_ROWS = 64
"""Key points that a thread takes at a time."""
_PAIRS = 1 << 21
"""Pairs of a key point and a point worked on at a time, in torch."""


class CellCloud(NamedTuple):
    """A cloud in the order of cells, float64: points and normals (N, 3), cell of each, grid."""

    points: Float[np.ndarray, "n 3"]
    normals: Float[np.ndarray, "n 3"]
    keys: Int[np.ndarray, " n"]
    low: Float[np.ndarray, "3"]
    size: float


def cell_cloud(
    points: Float[np.ndarray, "n 3"], normals: Float[np.ndarray, "n 3"], radius: float = RADIUS
) -> CellCloud:
    """Sort a cloud for `grids`; arguments and errors are as with `cylinder_grid`."""
    from pcinv.nn.cylinder_grid_kernels import cell_keys  # compiled on first use

    p, n = (part.numpy() for part in _checked(_tensor(points), _tensor(normals)))
    _check_positive(radius=radius)
    low, size = p.min(axis=0), radius / _CELLS
    keys = np.empty(len(p), np.int64)
    cell_keys(p, low, size, keys)
    order = np.argsort(keys, kind="stable")
    return CellCloud(p[order], n[order], keys[order], low, size)


def cylinder_grid(
    points: Float[np.ndarray, "n 3"], normals: Float[np.ndarray, "n 3"],
    key_points: Float[np.ndarray, "k 3"], key_axes: Float[np.ndarray, "k 3"], *,
    radius: float = RADIUS, height_scale: float = HEIGHT_SCALE, density: float = DENSITY,
) -> Float[np.ndarray, "k 200 16"]:
    """Return the cylinder grid of each key point: (K, 200, 16) float32, `CHANNELS` x azimuths.

    points, normals : (N, 3), normals of unit length, turned to the sensor; one that is not finite
        counts as none (0, 0, 0).
    key_points, key_axes : (K, 3) of any length; a key point whose axis is zero or not finite has a
        grid of zeros.
    radius : of the cylinder, and half its height.  height_scale : nodes are evenly spaced in
        asinh(height / height_scale).
    density : points that a plane has per area, see `plane_density`. A cell with half as many as a
        plane has there is occupied by 1 - 1/e.

    A point has no weight at the axis and at the hull of the cylinder, so the grid is continuous.
    Where the points around a key point lean to no side (in a lattice, say), azimuth 0 is arbitrary:
    then the grid of a turned cloud may be another.

    Raises ShapeError, InputError for other shapes, coordinates that are not finite, no points, or
    a length or density that is not above 0.
    """
    cloud = cell_cloud(points, normals, radius)
    return grids(cloud, key_points, key_axes, radius=radius, height_scale=height_scale,
                 density=density)


def key_frames(
    key_points: Float[np.ndarray, "k 3"], key_axes: Float[np.ndarray, "k 3"]
) -> tuple[Float[np.ndarray, "k 3"], Float[np.ndarray, "k 3"]]:
    """Check key points; return them and their axes, of length 1 or 0, in float64."""
    places, axes = _key_frames(_tensor(key_points), _tensor(key_axes))
    return places.numpy(), axes.numpy()


def grids(
    cloud: CellCloud, key_points: Float[np.ndarray, "k 3"], key_axes: Float[np.ndarray, "k 3"], *,
    radius: float = RADIUS, height_scale: float = HEIGHT_SCALE, density: float = DENSITY,
    wide: bool = False,
) -> Float[np.ndarray, "k 200 16"]:
    """Do as `cylinder_grid`, with a cloud that was sorted once for several calls.

    wide : return float64.
    """
    from pcinv.nn import cylinder_grid_kernels as kernels

    _check_positive(radius=radius, height_scale=height_scale, density=density)
    places, axes = key_frames(key_points, key_axes)
    out = np.zeros((len(places), CHANNELS, AZIMUTHS), np.float64 if wide else np.float32)

    def fill(begin: int) -> None:
        kernels.fill_grids(
            *cloud, places, axes, begin, min(begin + _ROWS, len(places)), float(radius),
            float(height_scale), _CORE * radius, _RIM * radius, _LEAST_LEAN * radius**3,
            _plane_count(radius, density), (RINGS, HEIGHTS, AZIMUTHS), out)

    parallel(fill, range(0, len(places), _ROWS))
    return out


def cylinder_grid_torch(
    points: Float[Tensor, "n 3"], normals: Float[Tensor, "n 3"], key_points: Float[Tensor, "k 3"],
    key_axes: Float[Tensor, "k 3"], *, radius: float = RADIUS, height_scale: float = HEIGHT_SCALE,
    density: float = DENSITY, wide: bool = False,
) -> Float[Tensor, "k 200 16"]:
    """Do as `cylinder_grid` in torch, on the device of the points; equal to about 1e-6.

    wide : return float64.

    Decisions and sums are in float64. Each key point looks at each point: on a CPU the compiled
    loops are many times as fast. On a GPU the order of the sums may change the last bits.
    """
    _check_positive(radius=radius, height_scale=height_scale, density=density)
    p, n = _checked(points, normals)
    places, axes = _key_frames(key_points, key_axes)
    out = p.new_zeros((len(places), CHANNELS, AZIMUTHS),
                      dtype=torch.float64 if wide else torch.float32)
    step = max(1, _PAIRS // len(p))
    for first in range(0, len(places), step):
        a = axes[first:first + step]
        offset = p - places[first:first + step, None]  # (K, N, 3), every point: no search to trust
        height = torch.einsum("knc,kc->kn", offset, a)
        across = offset - height[..., None] * a[:, None]
        rho = across.norm(dim=2)
        inside = (rho < radius) & (height.abs() < radius) & a.any(1, keepdim=True)
        key, index = inside.nonzero().unbind(1)
        height, across, rho = height[inside], across[inside], rho[inside]
        weight = (radius - rho) * (radius - height.abs())
        lean = torch.zeros_like(a).index_add_(0, key, weight[:, None] * across)
        frame = _frames(a, lean, _LEAST_LEAN * radius**3)
        total = p.new_zeros(len(a) * RINGS * HEIGHTS * AZIMUTHS, 4)
        _add(total, n[index], key, height, across, frame[key], radius, height_scale)
        out[first:first + step] = _occupied(total, _plane_count(radius, density))
    return out


def _frames(axes: Tensor, lean: Tensor, least: float) -> Tensor:
    """Return axis, direction of azimuth 0 and of azimuth 90 degrees: (K, 3, 3); see the kernels."""
    lean = lean - (lean * axes).sum(1, keepdim=True) * axes
    other = torch.eye(3, dtype=axes.dtype, device=axes.device)[(axes[:, 0].abs() >= 0.9).long()]
    other = other - (other * axes).sum(1, keepdim=True) * axes
    zero = torch.where(lean.norm(dim=1, keepdim=True) > least, lean, other)
    zero = zero / zero.norm(dim=1, keepdim=True)
    return torch.stack((axes, zero, torch.linalg.cross(axes, zero)), 1)


def _add(
    total: Tensor, normals: Tensor, key: Tensor, height: Tensor, across: Tensor, frame: Tensor,
    radius: float, height_scale: float,
) -> None:
    """Share each of P points among the 8 nearest nodes of its key point: total (K L H A, 4)."""
    rho = across.norm(dim=1)
    local = torch.einsum("pij,pj->pi", frame, across)  # (P, 3): 0, x, y
    normal = torch.einsum("pij,pj->pi", frame, normals)
    radial = local[:, 1:] / torch.where(rho > 0, rho, 1.0)[:, None]
    along, (nx, ny), (ux, uy) = normal[:, 0], normal[:, 1:].unbind(1), radial.unbind(1)
    value = torch.stack((torch.ones_like(rho), along, nx * ux + ny * uy, ny * ux - nx * uy), 1)
    core, rim = _CORE * radius, _RIM * radius
    weight = ((rho / core).clamp_max(1) * ((radius - rho) / rim).clamp_max(1)
              * ((radius - height.abs()) / rim).clamp_max(1))
    turn = torch.atan2(uy, ux) * (AZIMUTHS / (2 * math.pi))
    ring = rho * (RINGS / radius) - 0.5
    level = (height / height_scale).asinh() / math.asinh(radius / height_scale)
    level = (level + 1) * (0.5 * (HEIGHTS - 1))
    a, r, h = turn.floor(), ring.floor(), level.floor().clamp(0, HEIGHTS - 2)
    for corner in range(8):
        i, j, k = corner & 1, corner >> 1 & 1, corner >> 2
        share = weight
        for at, low, up in ((turn, a, i), (ring, r, j), (level, h, k)):
            share = share * (at - low if up else 1 - (at - low))
        node = (key * RINGS + (r.long() + j).clamp(0, RINGS - 1)) * HEIGHTS + h.long() + k
        node = node * AZIMUTHS + (a.long() + i) % AZIMUTHS
        total.index_add_(0, node, share[:, None] * value)


def _occupied(total: Tensor, plane: float) -> Float[Tensor, "k 200 16"]:
    """Return occupancies, and these times mean normals. plane : see `_plane_count`."""
    total = total.view(-1, RINGS, HEIGHTS, AZIMUTHS, 4)
    count = total[..., :1]
    widths = 2 * torch.arange(RINGS, device=total.device) + 1
    occupied = 1 - (-2 * count / (plane * widths.view(RINGS, 1, 1, 1))).exp()
    mean = torch.where(count > 0, total[..., 1:] / count, 0.0)
    cells = torch.cat((occupied, occupied * mean), -1)  # (K, L, H, A, 4)
    return cells.permute(0, 4, 1, 2, 3).reshape(len(total), CHANNELS, AZIMUTHS).float()


def key_points(
    points: Float[np.ndarray, "n 3"], normals: Float[np.ndarray, "n 3"], voxel: float = 0.05
) -> tuple[Float[np.ndarray, "k 3"], Float[np.ndarray, "k 3"]]:
    """Return the mean of the points of each voxel and their mean normal, of length 1: (K, 3) each.

    points, normals : (N, 3), as with `cylinder_grid`. Where normals are missing or cancel out, the
        axis is zero. Which points fall together: see `pcinv.ops.voxel_sample`.

    Raises ShapeError, InputError for other shapes, or coordinates that are not finite.
    """
    p, n = _checked(_tensor(points), _tensor(normals))
    sample = voxel_sample(p, voxel)
    mean = scatter_mean(n, sample.inverse, len(sample.counts))
    length = mean.norm(dim=1, keepdim=True)
    axes = torch.where(length > _LEAST_NORMAL, mean / length, 0.0)
    return sample.xyz.numpy(), axes.numpy()


def plane_density(points: Float[np.ndarray, "n 3"], radius: float = DENSITY_RADIUS) -> float:
    """Estimate how many points a plane has per area in this cloud: the `density` of its grids.

    It is the median, over the points, of how many others are within the radius, over pi radius²;
    one where they are farther apart. A cloud thinned to one point a voxel has more than 1 / voxel²,
    1.5 in the mean over all slants, since a slanted plane cuts more voxels: of 3DMatch fragments,
    thinned to 2.5 cm, it is 2200 to 2700 / m², and the default density, 1600, is 0.64 of that.

    Raises ShapeError, InputError as `cylinder_grid`.
    """
    from pcinv.nn.cylinder_grid_kernels import count_within

    cloud = cell_cloud(points, np.zeros(np.shape(points)), radius)
    counts = np.empty(len(cloud.points), np.int64)

    def count(begin: int) -> None:
        count_within(cloud.points, *cloud[2:], float(radius), begin,
                     min(begin + 16 * _ROWS, len(counts)), counts)

    parallel(count, range(0, len(counts), 16 * _ROWS))
    return max(float(np.median(counts)), 1.0) / (math.pi * radius**2)


def _plane_count(radius: float, density: float) -> float:
    """Return the points that a plane has in one azimuth of the innermost ring."""
    return density * math.pi * (radius / RINGS) ** 2 / AZIMUTHS


def _tensor(values: Float[np.ndarray, "n 3"]) -> Tensor:
    return torch.from_numpy(np.array(values, np.float64))


def _checked(
    points: Tensor, normals: Tensor, names: tuple[str, str] = ("points", "normals"), least: int = 1
) -> tuple[Tensor, Tensor]:
    """Return both in float64, normals that are not finite as 0; raise for what is no cloud."""
    check_points(points, names[0], min_points=least, batched=False)
    if normals.shape != points.shape:
        raise ShapeError(f"expected shape {tuple(points.shape)} like {names[0]}, got"
                         f" {tuple(normals.shape)}", where=names[1], hint="one vector for each")
    normals = normals.detach().to(points.device, torch.float64)
    is_vector = torch.isfinite(normals).all(1, keepdim=True)
    return points.detach().double(), torch.where(is_vector, normals, 0.0)


def _key_frames(key_points: Tensor, key_axes: Tensor) -> tuple[Tensor, Tensor]:
    """Do as `key_frames` with tensors."""
    places, axes = _checked(key_points, key_axes, ("key_points", "key_axes"), least=0)
    return places, safe_normalize(axes)


def _check_positive(**values: float) -> None:
    for name, value in values.items():
        if not 0 < value < math.inf:
            raise InputError(f"{name} is {value}, expected more than 0", where=name,
                             hint="a number above 0, in the units of the points")
