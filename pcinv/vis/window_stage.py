"""The picture in the window: a scene in Open3D's terms, its camera, and marks on it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Float

from pcinv.vis.camera import FIELD_OF_VIEW_DEG, camera_for
from pcinv.vis.colors import coloring, uniform
from pcinv.vis.fit import radius_of
from pcinv.vis.offscreen import layer_geometry, lines_geometry
from pcinv.vis.scene import Layer, Lines, Scene
from pcinv.vis.window_tools import Box, Eye

RADIUS = 10.0
"""Of the scene in the window: Open3D draws nothing that is nearer to its eye than 0.1."""
LIGHT, DARK = (1.0, 1.0, 1.0, 1.0), (0.07, 0.07, 0.09, 1.0)
MOST_SMOOTH = 200_000
"""Points whose edges are smoothed, which takes a driver without a graphics card thrice as long."""
MARK = (230, 0, 120)
MARK_SIZE = 12.0
REDRAWS_S = (0.0, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.2, 3.3, 5.0)
"""After a change, when it is drawn: drivers skip pictures, and Open3D (0.20) does not notice."""


class Stage:
    """What Open3D draws of a scene.

    widget : what shows it, to be placed in the window.
    """

    def __init__(self, o3d: Any, window: Any, scene: Scene) -> None:
        gui, rendering = o3d.visualization.gui, o3d.visualization.rendering
        self._o3d, self._window = o3d, window
        self.widget = gui.SceneWidget()
        self.widget.scene = rendering.Open3DScene(window.renderer)
        self.widget.scene.view.set_post_processing(False)  # colours stay what the legend says
        if sum(len(layer.points) for layer in scene.layers) > MOST_SMOOTH:
            self.widget.scene.view.set_sample_count(1)
        low, high = replace(scene, layers=tuple(
            replace(layer, visible=True) for layer in scene.layers)).bounds()
        self._middle = (low + high) / 2
        self._scale = RADIUS / radius_of(low, high)
        self._materials: dict[str, Any] = {}
        self._due: list[float] = []
        self._labels: list[Any] = []
        self.dark(False)

    def touch(self) -> None:
        """Have the window drawn again, soon and some more times."""
        now = time.monotonic()
        self._due = [now + later for later in REDRAWS_S]

    def is_due(self) -> bool:
        """Return whether the window has to be drawn now; to be asked again and again."""
        now = time.monotonic()
        left = [at for at in self._due if at > now]
        due, self._due = len(left) < len(self._due), left
        if due:
            self.widget.force_redraw()
        return due

    def show(self, scene: Scene, point_size: float) -> None:
        """Draw a scene in place of what is drawn; hidden layers are there as well, and hidden."""
        self.widget.scene.clear_geometry()
        self._materials.clear()
        for number, layer in enumerate(scene.layers):
            if len(layer.points):
                colors = coloring(scene, layer).colors
                shown = replace(layer, points=self._inner(layer.points))
                self._add(f"layer {number}", layer.visible,
                          *layer_geometry(self._o3d, shown, colors, self._pixels(point_size)))
        for number, lines in enumerate(scene.lines):
            if len(lines.start):
                moved = replace(lines, start=self._inner(lines.start), end=self._inner(lines.end))
                self._add(f"lines {number}", lines.visible, *lines_geometry(self._o3d, moved))

    def show_or_hide(self, scene: Scene) -> None:
        """Show the layers and lines that are visible now, and hide the others."""
        parts: Sequence[tuple[str, Sequence[Layer | Lines]]] = (
            ("layer", scene.layers), ("lines", scene.lines))
        for kind, each in parts:
            for number, part in enumerate(each):
                if f"{kind} {number}" in self._materials:
                    self.widget.scene.show_geometry(f"{kind} {number}", part.visible)
        self.touch()

    def resize_points(self, point_size: float) -> None:
        """Draw points so many pixels wide."""
        for name, material in self._materials.items():
            if name.startswith("layer"):
                material.point_size = self._pixels(point_size)
                self.widget.scene.modify_geometry_material(name, material)
        self.touch()

    def dark(self, dark: bool) -> None:
        """Draw on a dark ground, or on a light one."""
        self.widget.scene.set_background(DARK if dark else LIGHT)
        self.touch()

    def look(self, scene: Scene, look: str | tuple[float, ...], up: str) -> None:
        """Look at all that is visible."""
        frame = self.widget.frame
        camera = camera_for(scene, look, up, aspect=max(frame.width, 1) / max(frame.height, 1))
        target, eye = self._inner(np.stack([camera.target, camera.eye]))
        self.widget.setup_camera(FIELD_OF_VIEW_DEG, self.widget.scene.bounding_box, target)
        self.widget.look_at(target, eye, camera.up)
        self.widget.scene.set_lighting(self.widget.scene.LightingProfile.NO_SHADOWS, target - eye)
        self.touch()

    def eye(self) -> Eye:
        """Return how the scene is seen at this moment."""
        camera, frame = self.widget.scene.camera, self.widget.frame
        inner = np.diag([*[self._scale] * 3, 1.0])
        inner[:3, 3] = -self._scale * self._middle
        matrix = (np.asarray(camera.get_projection_matrix(), np.float64)
                  @ np.asarray(camera.get_view_matrix(), np.float64) @ inner)
        return Eye(matrix, frame.width, frame.height)

    def mark(self, places: Float[np.ndarray, "n 3"], words: str | None, joined: bool) -> None:
        """Mark places (N, 3) in place of those that are marked, with words beside the last.

        joined : by a line, with the words at its middle.
        """
        for label in self._labels:
            self.widget.remove_3d_label(label)
        self._labels = []
        self._remove("marks")
        self._remove("mark line")
        if not len(places):
            return
        inner = self._inner(places)
        self._add("marks", True, *layer_geometry(
            self._o3d, Layer("", inner), uniform(MARK, len(inner)), self._pixels(MARK_SIZE)))
        if joined:
            line = Lines("", inner[:-1], inner[1:], uniform(MARK, len(inner) - 1))
            self._add("mark line", True, *lines_geometry(self._o3d, line))
        if words:
            at = inner.mean(axis=0) if joined else inner[-1]
            label = self.widget.add_3d_label(at, f"  {words}")
            label.color = self._o3d.visualization.gui.Color(*(np.array(MARK) / 255))
            self._labels.append(label)

    def rectangle(self, box: Box | None) -> None:
        """Draw the edges of a rectangle of the picture, or none."""
        self._remove("rectangle")
        if box is not None:
            corners = self._inner(self.eye().corners(box))
            edges = Lines("", corners, np.roll(corners, -1, axis=0), uniform(MARK, 4))
            self._add("rectangle", True, *lines_geometry(self._o3d, edges))

    def picture(self, then: Callable[[np.ndarray], None]) -> None:
        """Have the next picture drawn, and hand it (H, W, 3) over."""
        self.widget.scene.scene.render_to_image(lambda image: then(np.asarray(image)))
        self.widget.force_redraw()

    def _add(self, name: str, visible: bool, geometry: Any, material: Any) -> None:
        self.touch()
        self.widget.scene.add_geometry(name, geometry, material)
        self.widget.scene.show_geometry(name, visible)
        self._materials[name] = material

    def _remove(self, name: str) -> None:
        self.touch()
        if self._materials.pop(name, None) is not None:
            self.widget.scene.remove_geometry(name)

    def _pixels(self, size: float) -> float:
        return float(size * self._window.scaling)

    def _inner(self, points: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 3"]:
        return np.asarray((points - self._middle) * self._scale, np.float32)

