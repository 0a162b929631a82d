"""A scene of one scan of a LiDAR: its classes in colours, boxes as lines, flow as arrows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float

from pcinv.types import Boxes, PointCloud, Scan
from pcinv.vis.build import MOST_ARROWS
from pcinv.vis.colors import kind_colors, uniform
from pcinv.vis.scene import Lines, Scene, drawn, make_scene

ATTRIBUTES = ("label", "instance", "intensity", "ring", "time", "is_ground", "flow")
FLOW_COLOR = (213, 94, 0)
LEAST_FLOW = 0.05
"""Metres a point must move to have an arrow."""
_CORNERS = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]) / 2
_EDGES = np.array([(a, b) for a in range(8) for b in range(a + 1, 8)
                   if np.abs(_CORNERS[a] - _CORNERS[b]).sum() == 1])


def scene_of_scan(scan: Scan, class_names: Sequence[str] = (), *, world: bool = False,
                  color_by: str = "auto", limit: int | None = None) -> Scene:
    """Return the scene of a scan, in the sensor's frame or, with its pose, in that of the world.

    class_names : what its labels stand for.
    color_by, limit : as of `pcinv.vis.scene.make_scene`.
    """
    T = scan.T_world_sensor if world and scan.T_world_sensor is not None else np.eye(4)
    origin = T[:3, 3].round()
    shown = {name: getattr(scan, name) for name in ATTRIBUTES if getattr(scan, name) is not None}
    cloud = PointCloud(_moved(scan.xyz, T, origin), origin, shown)
    scene = make_scene([(scan.name, cloud)], color_by=color_by, title=scan.name, limit=limit)
    layer = replace(scene.layers[0], words={"label": tuple(class_names)} if class_names else {})
    lines: list[Lines] = []
    if scan.boxes is not None and len(scan.boxes):
        lines.append(_box_lines(scan.boxes, T, scene.origin))
    if scan.flow is not None:
        length = np.linalg.norm(scan.flow, axis=1)
        rows = np.flatnonzero(length >= LEAST_FLOW)  # not where it is not known
        rows = rows[drawn(len(rows), min(1.0, MOST_ARROWS / max(len(rows), 1)))]
        if len(rows):
            start, end = scan.xyz[rows], scan.xyz[rows] + scan.flow[rows]
            lines.append(Lines("flow until the next scan", _moved(start, T, scene.origin),
                               _moved(end, T, scene.origin), uniform(FLOW_COLOR, len(rows))))
    return replace(scene, layers=(layer,), lines=tuple(lines))


def _moved(points: np.ndarray, T: Float[np.ndarray, "4 4"], origin: Float[np.ndarray, "3"]
           ) -> Float[np.ndarray, "n 3"]:
    """Return points (N, 3) in the target frame of T, relative to the origin, float32."""
    moved = points.astype(np.float64) @ T[:3, :3].T + (T[:3, 3] - origin)
    return np.asarray(moved, np.float32)


def _box_lines(boxes: Boxes, T: Float[np.ndarray, "4 4"], origin: Float[np.ndarray, "3"]) -> Lines:
    """Return the twelve edges of each box and a line to the middle of its front."""
    c, s = np.cos(boxes.yaw), np.sin(boxes.yaw)
    places = np.concatenate([_CORNERS, [[0, 0, 0], [0.5, 0, 0]]])[None] * boxes.size[:, None]
    x = c[:, None] * places[..., 0] - s[:, None] * places[..., 1]
    y = s[:, None] * places[..., 0] + c[:, None] * places[..., 1]
    corners = np.stack([x, y, places[..., 2]], -1) + boxes.centre[:, None]
    edges = np.concatenate([_EDGES, [[8, 9]]])
    start, end = (_moved(corners[:, edges[:, k]].reshape(-1, 3), T, origin) for k in (0, 1))
    colors = np.repeat(kind_colors(boxes.label), len(edges), axis=0)
    return Lines(f"{len(boxes)} boxes", start, end, colors)
