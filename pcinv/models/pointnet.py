"""PointNet (Qi, Su, Mo, Guibas, CVPR 2017), arXiv 1612.00593: a baseline that is not invariant.

The same small network on every point and a maximum (eq. 1). Order and position of the points do not
matter, rotations do: `pcinv check pointnet` shows by how much. At the paper's size two T-Nets align
the points and their features by matrices that they predict from the cloud; they turn with nothing
exactly. Their regularisation, 0.001 |I - A A^T|^2, is not part of the loss here.
"""

from dataclasses import replace
from typing import Any

from pcinv.nn.overrides import with_overrides
from pcinv.nn.pointnet import POINTNET_SIZES, PointNetBody
from pcinv.nn.views import PlainNetwork


def build(
    name: str, *, task: str, num_classes: int, preset: str, num_categories: int,
    overrides: dict[str, Any],
) -> PlainNetwork:
    """Make the network of a row of the registry."""
    hyper = replace(POINTNET_SIZES[task, preset], t_nets=preset == "paper")
    hyper = with_overrides(hyper, overrides, name)
    body = PointNetBody(hyper, task, num_classes, num_categories)
    return PlainNetwork(body, hyper, task, num_classes, num_categories)
