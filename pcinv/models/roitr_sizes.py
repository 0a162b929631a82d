"""Sizes and choices of RoITr, and the named sets of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Hyper:
    """Sizes and choices of the network.

    widths, layers, neighbours : one entry a level, fine to coarse: channels, attention layers
        after the first, neighbours.  stride : points of a level for one of the next.
    inner : most channels inside an attention layer.  heads : of every attention.
    width, blocks : channels of the global transformer, and how often it attends.
    length : numbers of a descriptor, of superpoints and of points.
    sigma_distance, sigma_angle_deg, angles : of the geometric embedding; metres, degrees, count.
    patch : points of a patch.  iterations : of Sinkhorn.
    coarse : "best" for the best `pairs` pairs of patches, "near" for all within `distance` of each
        other but at least `pairs`.
    top, least : a pair of points must be among so many best of both, and more confident than this.
    symmetric : let no cloud see the other one first, see `GlobalTransformer`.
    compat : "fixed", or "official" for the first of equal distances in the order of the points,
        and sampling that starts at the first point; answers then depend on pose and order.
    """

    widths: tuple[int, ...] = (64, 128, 256, 256)
    layers: tuple[int, ...] = (1, 2, 2, 2)
    neighbours: tuple[int, ...] = (8, 16, 16, 16)
    stride: int = 4
    inner: int = 256
    heads: int = 4
    width: int = 256
    blocks: int = 3
    length: int = 256
    sigma_distance: float = 0.2
    sigma_angle_deg: float = 15.0
    angles: int = 3
    patch: int = 64
    iterations: int = 100
    coarse: Literal["best", "near"] = "best"
    pairs: int = 256
    distance: float = 0.75
    top: int = 3
    least: float = 0.05
    symmetric: bool = False
    compat: Literal["fixed", "official"] = "fixed"


SIZES: dict[str, Hyper] = {
    "light": Hyper(widths=(32, 64, 128, 128), layers=(1, 1, 1, 1), width=128, blocks=2, length=128,
                   symmetric=True),
    "paper": Hyper(),
    "paper_4dmatch": Hyper(
        widths=(128, 256, 512, 512), inner=512, width=512, length=512, coarse="near", pairs=128,
        top=2),
}
