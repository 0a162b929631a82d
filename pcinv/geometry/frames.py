"""Frames of whole clouds from principal axes, with their ambiguity reported.

Principal axes have no sign, and no direction at all where two eigenvalues coincide. The four proper
sign choices are one set that turns with the cloud; a small gap between eigenvalues cannot be
repaired, so it comes with the frame.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from pcinv.checks import check_points
from pcinv.geometry.symmetric import eigh3

_SIGNS = ((1.0, 1.0, 1.0), (1.0, -1.0, -1.0), (-1.0, 1.0, -1.0), (-1.0, -1.0, 1.0))


@dataclass(frozen=True)
class Frame:
    """Principal axes of each cloud; constants to autograd.

    axes : (B, 3, 3) rotation with the axes as columns, the longest first; the signs are arbitrary.
    centre : (B, 3) the mean of the points.
    eigenvalues : (B, 3) variances along the axes, descending, in the units of the points squared.
    gap : (B, 2) (first - second, second - third) over the first eigenvalue; 0 where that is 0.
    is_ambiguous : (B,) True where a gap is so small that the axes are not to be relied on.
    """

    axes: Float[Tensor, "b 3 3"]
    centre: Float[Tensor, "b 3"]
    eigenvalues: Float[Tensor, "b 3"]
    gap: Float[Tensor, "b 2"]
    is_ambiguous: Bool[Tensor, "b"]


def pca_frame(xyz: Float[Tensor, "b n 3"], *, min_gap: float = 1e-3) -> Frame:
    """Return the principal axes of each cloud, computed in float64, in the type of the points.

    xyz : (B, N, 3) float.  min_gap : relative gap below which the frame counts as ambiguous. Noise
    of relative size e tilts the axes by about e / gap.

    No gradient passes: that of eigenvectors is not finite where eigenvalues coincide.

    Raises ShapeError, InputError for other shapes or values that are not finite.
    """
    check_points(xyz)
    exact = xyz.detach().double()
    base = exact[:, :1]
    local = exact - base
    mean = local.mean(1, keepdim=True)
    local = local - mean
    values, vectors = eigh3(local.mT @ local / xyz.shape[1])
    values, vectors = values.flip(-1).clamp_min(0), vectors.flip(-1)
    third = torch.linalg.cross(vectors[..., 0], vectors[..., 1])  # det +1
    axes = torch.stack([vectors[..., 0], vectors[..., 1], third], dim=-1)
    first = values[:, :1]
    gap = (values[:, :-1] - values[:, 1:]) / torch.where(first > 0, first, torch.ones_like(first))
    centre = (base + mean).squeeze(1)
    is_ambiguous = (gap < min_gap).any(-1)
    return Frame(axes.to(xyz), centre.to(xyz), values.to(xyz), gap.to(xyz), is_ambiguous)


def frame_variants(axes: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch 4 3 3"]:
    """Return the four frames that differ from this one by signs and keep its handedness.

    axes : (..., 3, 3) with the axes as columns.
    """
    signs = torch.tensor(_SIGNS, dtype=axes.dtype, device=axes.device)
    return axes.unsqueeze(-3) * signs.unsqueeze(-2)
