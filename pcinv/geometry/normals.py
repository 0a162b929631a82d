"""Normals: estimated from the neighbours of each point, or taken from a mesh.

An estimated normal is the local reference axis of RIConv++ and RISurConv. To rounding it turns with
the cloud, and ignores its position and the order of its points: the farthest neighbour has weight
zero, so that ties for the last place among the neighbours do not matter; where the neighbours leave
an axis or a sign open, the direction from the centroid of the cloud decides; where that decides
nothing either, the point is reported as ambiguous.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from pcinv.checks import check_count, check_finite, check_points
from pcinv.errors import InputError, ShapeError, unknown_name
from pcinv.geometry.features import safe_normalize
from pcinv.geometry.symmetric import eigh3
from pcinv.ops import gather, knn, record_margin

_CHUNK = 2**21  # neighbours worked on at a time: 50 MB of differences in float64
_TINY = 1e-6  # lengths below this share of the radius decide no sign
_ROUNDING = 16.0  # a length may be wrong by this many roundings of the largest coordinate
_CONDITION = 4.0  # an axis that rounding may tilt by more than a quarter is not defined


@dataclass(frozen=True)
class Normals:
    """Estimated normals.

    normal : (B, N, 3) unit vectors in the type of the points.
    ambiguous : (B, N) True where the axis or its sign is arbitrary, so that a rotated cloud may
        get another one.
    gap : (B, N) float64, (second - smallest) / largest eigenvalue of the neighbourhood: 0 for a
        line or a ball, where the axis is the direction from the centroid, across the line if any.
    """

    normal: Float[Tensor, "b n 3"]
    ambiguous: Bool[Tensor, "b n"]
    gap: Float[Tensor, "b n"]


@dataclass(frozen=True)
class MeshNormals:
    """Unit normals of a mesh; zero where a face, or all faces of a vertex, have no area.

    face : (F, 3).  vertex : (V, 3), the mean of the faces around it, weighted by area.
    """

    face: Float[Tensor, "f 3"]
    vertex: Float[Tensor, "v 3"]


def estimate_normals(
    xyz: Float[Tensor, "b n 3"], k: int = 32, orient: Literal["centroid"] | None = "centroid"
) -> Normals:
    """Estimate a normal at each point from its k nearest points, itself included.

    With d_j = |x_j - x| and w_j = (d_max - d_j) / sum(d_max - d), this is the unit eigenvector
    of the smallest eigenvalue of sum_j w_j (x_j - x)(x_j - x)^T, computed in float64. No gradient.

    xyz : (B, N, 3) float, N >= 1.  k : reduced to N where there are fewer points.
    orient : "centroid" turns each normal away from the centroid of its cloud, or, where it is
        orthogonal to that direction, away from the weighted mean of its neighbours; None leaves
        the signs arbitrary.

    Raises ShapeError, InputError for other shapes, values that are not finite, or k < 1;
    UnknownNameError for another orientation.
    Source: Zhang et al., RIConv++, IJCV 2022, eq. 1; the orientation and the fallbacks are ours.
    """
    check_points(xyz)
    check_count(k, "k")
    if orient not in ("centroid", None):
        raise unknown_name("orientation", str(orient), ("centroid",), where="orient")
    exact = xyz.detach().double()
    rounding = _ROUNDING * torch.finfo(xyz.dtype).eps * exact.abs().amax((1, 2))  # (B,)
    base = exact[:, :1]  # near the points, so that the mean of far ones is not rounded
    exact = exact - base
    radial = exact - exact.mean(1, keepdim=True)  # (B, N, 3)
    k = min(k, xyz.shape[1])
    index = knn(exact, exact, k).index
    step = max(1, _CHUNK // (k * len(xyz)))
    parts = [
        _estimate(exact, radial, rows, index[:, rows], rounding[:, None], orient is not None)
        for rows in map(lambda start: slice(start, start + step), range(0, xyz.shape[1], step))
    ]
    normal, ambiguous, gap = (torch.cat(part, dim=1) for part in zip(*parts, strict=True))
    return Normals(normal.to(xyz.dtype), ambiguous, gap)


def _estimate(
    xyz: Tensor, radial: Tensor, rows: slice, index: Tensor, rounding: Tensor, orient: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Return normal (B, R, 3), ambiguous (B, R) and gap (B, R) of these rows."""
    radius = radial.norm(dim=-1).amax(1, keepdim=True)  # (B, 1)
    away = radial[:, rows]
    offset = gather(xyz, index) - xyz[:, rows, None]  # (B, R, K, 3)
    distance = offset.norm(dim=-1)
    reach = distance.amax(-1, keepdim=True)
    weight = reach - distance
    total = weight.sum(-1, keepdim=True)
    weight = torch.where(total > 0, weight / total, torch.ones_like(weight))
    values, vectors = eigh3((weight.unsqueeze(-1) * offset).mT @ offset)

    first, second, third = values.clamp_min(0).unbind(-1)
    axis, along = vectors[..., 0], vectors[..., 2]
    solver = _ROUNDING * torch.finfo(values.dtype).eps * third
    is_axis = second - first > _effect(second, rounding) + solver
    is_line = ~is_axis & (third - second > _effect(third, rounding) + solver)
    across = away - torch.where(is_line, (away * along).sum(-1), 0.0).unsqueeze(-1) * along
    slack = _TINY * radius + rounding
    across = torch.where((across.norm(dim=-1) > slack).unsqueeze(-1), across, away)
    is_radial = ~is_axis & (across.norm(dim=-1) > slack)
    axis = torch.where(is_radial.unsqueeze(-1), safe_normalize(across), axis)
    ambiguous = ~is_axis & ~is_radial

    if orient:
        height = (away * axis).sum(-1)
        by_centroid = height.abs() > slack
        smallest = height.abs() / radius.clamp_min(torch.finfo(radius.dtype).tiny)
        record_margin(float(smallest.min()))
        lean = -(weight * (offset @ axis.unsqueeze(-1)).squeeze(-1)).sum(-1)
        by_lean = lean.abs() > _TINY * reach.squeeze(-1) + rounding
        sign = torch.where(by_centroid, height, torch.where(by_lean, lean, torch.ones_like(lean)))
        axis = torch.where((sign < 0).unsqueeze(-1), -axis, axis)
        ambiguous = ambiguous | ~(by_centroid | by_lean)
    gap = (second - first) / torch.where(third > 0, third, torch.ones_like(third))
    return axis, ambiguous, gap


def _effect(value: Tensor, rounding: Tensor) -> Tensor:
    """Return the gap below this eigenvalue that rounding of the points could make.

    Moving each point by e tilts the eigenvectors by about e sqrt(value) / gap.
    """
    return _CONDITION * rounding * (value.sqrt() + rounding)


def mesh_normals(vertices: Float[Tensor, "v 3"], faces: Int[Tensor, "f 3"]) -> MeshNormals:
    """Return the normals of the faces and of the vertices, outward for counter-clockwise faces.

    vertices : (V, 3) float.  faces : (F, 3) int64, every index in [0, V).

    Raises ShapeError for other shapes, InputError for values that are not finite or an index out
    of range.
    """
    for name, array in (("vertices", vertices), ("faces", faces)):
        if array.dim() != 2 or array.shape[1] != 3:
            raise ShapeError(f"expected rows of three, got shape {tuple(array.shape)}", where=name,
                             hint="vertices are (V, 3) coordinates, faces (F, 3) vertex indices")
    check_finite(vertices, "vertices")
    outside = (faces < 0) | (faces >= len(vertices))
    if outside.any():
        row = int(outside.any(1).nonzero()[0, 0])
        raise InputError(f"face {row} names a vertex outside [0, {len(vertices)})", where="faces",
                         hint="indices start at 0")
    a, b, c = vertices[faces.long()].unbind(1)
    doubled_area = torch.linalg.cross(b - a, c - a)
    vertex = torch.zeros_like(vertices)
    for corner in range(3):
        vertex = vertex.index_add(0, faces[:, corner].long(), doubled_area)
    return MeshNormals(safe_normalize(doubled_area), safe_normalize(vertex))
