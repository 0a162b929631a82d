"""Clouds and meshes in another frame, with all that belongs to them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from jaxtyping import Float

from pcinv.types import Mesh, PointCloud


def moved(item: PointCloud | Mesh, T_target_source: Float[np.ndarray, "4 4"]) -> PointCloud | Mesh:
    """Return the cloud or mesh in the target's frame; normals turn along, other attributes stay.

    T_target_source : (4, 4) rigid, or scale * R | t.  The float64 origin of a cloud and its view
        point are moved exactly.
    """
    linear, shift = T_target_source[:3, :3], T_target_source[:3, 3]
    rotation = linear / np.cbrt(np.linalg.det(linear))
    attributes = dict(item.attributes)
    if "normal" in attributes:
        normal = attributes["normal"]
        attributes["normal"] = (normal @ rotation.T).astype(normal.dtype)
    if isinstance(item, Mesh):
        return replace(item, vertices=item.vertices @ linear.T + shift, attributes=attributes)
    turned = item.xyz.astype(np.float64) @ linear.T
    seen = None if item.view_point is None else linear @ item.view_point + shift
    return PointCloud(turned.astype(np.float32), linear @ item.origin + shift, attributes, seen)
