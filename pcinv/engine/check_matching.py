"""Matchers as `pcinv.check` sees networks: one cloud with normals in, a row for each point out."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from pcinv.errors import InputError
from pcinv.models.cylinder_patch import CylinderPatch
from pcinv.models.point_patch import PointPatch
from pcinv.models.roitr import RoITr

NUM_POINTS = {"cylinder_patch": 256, "risurconv_patch": 256, "roitr": 1024}
"""Points of the clouds: 1,024 make 16 superpoints."""


def answers_of(
    model: nn.Module, other: tuple[Float[Tensor, "n 3"], Float[Tensor, "n 3"] | None]
) -> nn.Module:
    """Return the matcher as a network of one cloud, which can be measured.

    other : points and normals of a cloud that stays as it is, for a matcher of pairs.
    """
    if isinstance(model, RoITr):
        return _Pairs(model, *other)
    if isinstance(model, CylinderPatch | PointPatch):
        return _Patches(model)
    raise InputError(f"a {type(model).__name__} matches nothing", where="target",
                     hint="pcinv models names those that do")


class _Patches(nn.Module):
    """The descriptor of each point: (B, N, C).

    Clouds are taken at a quarter of their size, which is exact, for patches that hold enough.
    """

    task = "matching"

    def __init__(self, model: CylinderPatch | PointPatch) -> None:
        super().__init__()
        self.model = model

    def forward(self, xyz: Float[Tensor, "b n 3"], normal: Float[Tensor, "b n 3"]
                ) -> Float[Tensor, "b n c"]:
        return torch.stack([
            self.model.describe_keys(points / 4, axes, points / 4, axes)
            for points, axes in zip(xyz.cpu().numpy(), normal.cpu().numpy(), strict=True)])


class _Pairs(nn.Module):
    """What RoITr knows of each point of a cloud beside another one: (B, N, 4 C).

    As the source and as the target: its descriptor, and that of the superpoint nearest to it.
    """

    task = "matching"

    def __init__(self, model: RoITr, xyz: Tensor, normal: Tensor | None) -> None:
        super().__init__()
        self.model = model
        self.register_buffer("xyz", xyz)
        self.register_buffer("normal", normal)

    def forward(self, xyz: Float[Tensor, "b n 3"], normal: Float[Tensor, "b n 3"]
                ) -> Float[Tensor, "b n c"]:
        return torch.stack([self._one(*cloud) for cloud in zip(xyz, normal, strict=True)])

    def _one(self, xyz: Tensor, normal: Tensor) -> Tensor:
        mine, other = (xyz, normal), (self.xyz, self.normal)
        rows = []
        for side in (self.model(*mine, *other)[0], self.model(*other, *mine)[1]):
            away = torch.cdist(xyz.double(), xyz.double()[side.node_index],
                               compute_mode="donot_use_mm_for_euclid_dist")
            rows += [F.normalize(side.point_desc, dim=1), side.node_desc[away.argmin(1)]]
        return torch.cat(rows, 1)
