"""A scene of what moves in a scan: grey what stands still, coloured what moves, with arrows."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from pcinv.types import PointCloud
from pcinv.vis.build import with_arrows
from pcinv.vis.colors import uniform
from pcinv.vis.scene import Scene, make_scene, thin, with_layers

if TYPE_CHECKING:
    from pcinv.engine.flow import SceneFlow

MOST_SHOWN = 300_000
RANGE = 51.2
"""Half the side of the square that is shown, metres: nothing farther is looked at."""
STILL, ARROWS = (170, 170, 170), (213, 94, 0)


def flow_scene(found: SceneFlow) -> Scene:
    """Return the points of the first scan in two layers, and arrows where moving ones go."""
    cloud = found.to_cloud()
    near = np.abs(cloud.xyz[:, :2]).max(axis=1) < RANGE
    layers = [("stands still", _part(cloud, near & ~found.is_moving))]
    if found.is_moving.any():
        layers.append(("moves", _part(cloud, near & found.is_moving)))
    scene = make_scene([layer for layer in layers if len(layer[1])], color_by="solid",
                       title=f"{found.scans[0]} to {found.scans[1]}")
    scene = thin(scene, MOST_SHOWN)
    names = [layer.name for layer in scene.layers]
    if "stands still" in names:
        scene = with_layers(scene, [(names.index("stands still"), {"color": STILL})])
    if "moves" not in names:
        return scene
    scene = with_arrows(scene, "motion")
    arrows = scene.lines[-1]
    colored = replace(arrows, name="motion", colors=uniform(ARROWS, len(arrows.start)))
    return replace(scene, lines=(*scene.lines[:-1], colored))


def _part(cloud: PointCloud, rows: np.ndarray) -> PointCloud:
    # what stands still has no arrows: without the column none are drawn
    keep = {name: values[rows] for name, values in cloud.attributes.items()}
    if not np.linalg.norm(keep["motion"], axis=1).max(initial=0.0) > 0 or not cloud.attributes[
            "moving"][rows].any():
        keep.pop("motion")
    return PointCloud(cloud.xyz[rows], cloud.origin, keep)
