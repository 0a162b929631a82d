"""The process that draws pictures by Open3D and the machine's graphics driver, without a window.

    python -m pcinv.vis.offscreen JOB.json

A driver that hangs or ends the process takes this one with it and not its parent; see `picture`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from pcinv.io.open3d import import_open3d
from pcinv.vis.camera import FIELD_OF_VIEW_DEG
from pcinv.vis.colors import coloring
from pcinv.vis.scene import Layer, Lines, Scene
from pcinv.vis.store import load_scene


def main(job: str) -> None:
    """Draw one picture for each camera of a job, as `0.npy`, `1.npy`... in the job's folder."""
    told = json.loads(Path(job).read_text("utf-8"))
    folder = Path(job).parent
    o3d = import_open3d()
    renderer = o3d.visualization.rendering.OffscreenRenderer(told["width"], told["height"])
    renderer.scene.set_background([1.0, 1.0, 1.0, 1.0])
    renderer.scene.view.set_post_processing(False)  # colours stay what the legend says
    add_scene(o3d, renderer.scene, load_scene(folder / "scene.npz"), told["point_size"])
    for number, (eye, target, up, near, far) in enumerate(told["cameras"]):
        renderer.scene.set_lighting(renderer.scene.LightingProfile.NO_SHADOWS,
                                    np.subtract(target, eye))  # from the eye
        renderer.setup_camera(FIELD_OF_VIEW_DEG, target, eye, up, near, far)
        image = np.asarray(renderer.render_to_image())
        np.save(folder / f"{number}.npy", image[:, :, :3])


def add_scene(o3d: Any, into: Any, scene: Scene, point_size: float) -> None:
    """Add what is visible of a scene to Open3D's."""
    for number, layer in enumerate(scene.layers):
        if layer.visible and len(layer.points):
            geometry, material = layer_geometry(o3d, layer, coloring(scene, layer).colors,
                                                point_size)
            into.add_geometry(f"layer {number}", geometry, material)
    for number, lines in enumerate(scene.lines):
        if lines.visible and len(lines.start):
            into.add_geometry(f"lines {number}", *lines_geometry(o3d, lines))


def layer_geometry(o3d: Any, layer: Layer, colors: np.ndarray, point_size: float
                   ) -> tuple[Any, Any]:
    """Return a cloud or mesh in Open3D's terms, and how it is painted."""
    material = o3d.visualization.rendering.MaterialRecord()
    shown = o3d.utility.Vector3dVector(colors / 255.0)
    if layer.faces is None:
        cloud = o3d.geometry.PointCloud(o3d.utility.Vector3dVector(layer.points))
        cloud.colors = shown
        material.shader, material.point_size = "defaultUnlit", point_size
        return cloud, material
    mesh = o3d.geometry.TriangleMesh(o3d.utility.Vector3dVector(layer.points),
                                     o3d.utility.Vector3iVector(layer.faces))
    mesh.vertex_colors = shown
    mesh.compute_vertex_normals()
    material.shader = "defaultLit"
    return mesh, material


def lines_geometry(o3d: Any, lines: Lines) -> tuple[Any, Any]:
    """Return lines in Open3D's terms, and how they are painted."""
    count = len(lines.start)
    ends = np.concatenate([lines.start, lines.end])
    each = np.stack([np.arange(count), np.arange(count) + count], axis=1)
    shown = o3d.geometry.LineSet(o3d.utility.Vector3dVector(ends), o3d.utility.Vector2iVector(each))
    shown.colors = o3d.utility.Vector3dVector(lines.colors / 255.0)
    material = o3d.visualization.rendering.MaterialRecord()
    material.shader, material.line_width = "unlitLine", 2.0
    return shown, material


if __name__ == "__main__":
    main(sys.argv[1])
