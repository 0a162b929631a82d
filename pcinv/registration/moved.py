"""Clouds and meshes in another frame, with all that belongs to them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from jaxtyping import Float

from pcinv.types import Mesh, PointCloud


def moved(item: PointCloud | Mesh, T_target_source: Float[np.ndarray, "4 4"]) -> PointCloud | Mesh:
    """Return the cloud or mesh in the target's frame; normals turn along, other attributes stay.

    T_target_source : (4, 4) rigid.  The float64 origin of a cloud is moved exactly.
    """
    rotation, shift = T_target_source[:3, :3], T_target_source[:3, 3]
    attributes = dict(item.attributes)
    if "normal" in attributes:
        normal = attributes["normal"]
        attributes["normal"] = (normal @ rotation.T).astype(normal.dtype)
    if isinstance(item, Mesh):
        return replace(item, vertices=item.vertices @ rotation.T + shift, attributes=attributes)
    turned = item.xyz.astype(np.float64) @ rotation.T
    return PointCloud(turned.astype(np.float32), rotation @ item.origin + shift, attributes)
