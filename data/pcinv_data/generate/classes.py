"""The table of generated classes, and the drawing of one cloud of a class."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pcinv.errors import unknown_name
from pcinv_data.generate import basic, furniture, mechanical, vessels
from pcinv_data.generate.primitives import Piece
from pcinv_data.generate.union import sample_union


@dataclass(frozen=True)
class ShapeClass:
    """One class: what builds it, the names of its parts, and whether the result is mirrored."""

    build: Callable[[np.random.Generator], list[Piece]]
    parts: tuple[str, ...]
    mirrored: bool = False


CLASSES: dict[str, ShapeClass] = {
    "chair": ShapeClass(furniture.chair, ("seat", "back", "leg", "arm")),
    "stool": ShapeClass(furniture.stool, ("seat", "leg", "rung")),
    "table": ShapeClass(furniture.table, ("top", "leg")),
    "desk": ShapeClass(furniture.desk, ("top", "drawer", "panel")),
    "bed": ShapeClass(furniture.bed, ("mattress", "board", "frame", "pillow")),
    "sofa": ShapeClass(furniture.sofa, ("seat", "back", "arm", "leg")),
    "bookshelf": ShapeClass(furniture.bookshelf, ("side", "shelf", "back")),
    "lamp": ShapeClass(furniture.lamp, ("base", "pole", "shade")),
    "bottle": ShapeClass(vessels.bottle, ("body", "neck", "cap")),
    "mug": ShapeClass(vessels.mug, ("body", "handle")),
    "bowl": ShapeClass(vessels.bowl, ("body", "foot")),
    "vase": ShapeClass(vessels.vase, ("body", "neck")),
    "jug": ShapeClass(vessels.jug, ("body", "handle", "spout", "lid")),
    "bolt": ShapeClass(mechanical.bolt, ("head", "shank")),
    "nut": ShapeClass(mechanical.nut, ("body", "collar")),
    "flange": ShapeClass(mechanical.flange, ("plate", "hub")),
    "gear": ShapeClass(mechanical.gear, ("body", "tooth")),
    "bracket": ShapeClass(mechanical.bracket, ("base", "wall", "rib")),
    "elbow": ShapeClass(mechanical.elbow, ("pipe", "collar")),
    "beam": ShapeClass(mechanical.beam, ("flange", "web")),
    "spring_right": ShapeClass(mechanical.spring_right, ("coil",)),
    "spring_left": ShapeClass(mechanical.spring_right, ("coil",), mirrored=True),
    "sphere": ShapeClass(basic.sphere, ("surface",)),
    "ellipsoid": ShapeClass(basic.ellipsoid, ("surface",)),
    "cone": ShapeClass(basic.cone, ("surface",)),
    "cylinder": ShapeClass(basic.cylinder, ("surface",)),
    "torus": ShapeClass(basic.torus, ("surface",)),
    "prism": ShapeClass(basic.prism, ("surface",)),
}
CLASS_NAMES = list(CLASSES)
PART_LABELS = [f"{name}/{part}" for name, kind in CLASSES.items() for part in kind.parts]
"""Global part id -> `class/part`."""
FIRST_PART = dict(zip(CLASSES, np.cumsum([0, *(len(c.parts) for c in CLASSES.values())]).tolist(),
                      strict=False))


def part_ids() -> dict[int, list[int]]:
    """Return the global part ids of each class index."""
    return {i: [FIRST_PART[name] + k for k in range(len(CLASSES[name].parts))]
            for i, name in enumerate(CLASS_NAMES)}


def draw_shape(name: str, num_points: int, rng: np.random.Generator
               ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw one shape of a class: points (N, 3), outward normals (N, 3), global parts (N,)."""
    if name not in CLASSES:
        raise unknown_name("shape class", name, CLASSES)
    kind = CLASSES[name]
    points, normals, parts = sample_union(kind.build(rng), num_points, rng)
    if kind.mirrored:
        points, normals = points * [-1.0, 1.0, 1.0], normals * [-1.0, 1.0, 1.0]
    return points, normals, parts + FIRST_PART[name]
