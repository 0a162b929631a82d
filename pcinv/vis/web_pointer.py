"""What clicks on the page and its box do: points are told and measured, clouds are cropped."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from pcinv.errors import InputError
from pcinv.vis.fit import decimals_of
from pcinv.vis.scene import Layer
from pcinv.vis.web_html import plain_text
from pcinv.vis.window_crop import save_crop
from pcinv.vis.window_tools import Cut, Eye, nearest_to_click, number_words, words_of_point

if TYPE_CHECKING:
    from pcinv.vis.web_page import Page

MARK = (213, 94, 0)
_HINT = "Click a point to read it, and another one to measure."


class Pointer:
    """Points that were clicked: the last two, with their distance."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.picked: list[tuple[Layer, int]] = []
        self.nodes: list[Any] = []
        with page.server.gui.add_folder("Point"):
            self.facts = page.server.gui.add_html(plain_text(_HINT))
            forget = page.server.gui.add_button("Clear")
        forget.on_click(lambda event: self.clear())
        page.server.scene.on_click()(self.on_click)

    def on_click(self, event: Any) -> None:
        """Take the point that a click means, if there is one."""
        eye, click = eye_of(event.client.camera, self.page), event.screen_pos
        at = (click[0] * eye.width, click[1] * eye.height)
        with self.page.lock:
            found = []
            for layer in self.page.scene.layers:
                row = nearest_to_click(layer.points, eye, at) if layer.visible else None
                if row is not None:
                    found.append((layer, row))
            best = nearest_to_click(np.array([layer.points[row] for layer, row in found]), eye,
                                    at) if found else None
            if best is not None:
                self.picked = [*self.picked[-1:], found[best]]
                self._show()

    def clear(self) -> None:
        """Forget the points."""
        with self.page.lock:
            self.picked = []
            self._show()

    def _show(self) -> None:
        page, scene = self.page, self.page.server.scene
        for node in self.nodes:
            node.remove()
        self.nodes = []
        if not self.picked:
            self.facts.content = plain_text(_HINT)
            return
        places = np.array([layer.points[row] for layer, row in self.picked], np.float64)
        words = words_of_point(page.scene, *self.picked[-1])
        self.nodes.append(scene.add_point_cloud(
            "/picked/points", page.placed(places), MARK, precision="float32",
            point_size=page.world_size(page.pixels + 6), point_shape="circle"))
        if len(places) == 2:
            step = places[1] - places[0]
            words += [f"between both  {number_words(float(np.linalg.norm(step)))}", *(
                f"d{axis}  {number_words(float(each))}"
                for axis, each in zip("xyz", step, strict=True))]
            self.nodes.append(scene.add_line_segments(
                "/picked/line", page.placed(places)[None], MARK, thickness=3.0,
                thickness_units="screen"))
        self.facts.content = plain_text("\n".join(words))


class Cropper:
    """A box, and a button that saves what is in it of the clouds that are shown."""

    def __init__(self, page: Page) -> None:
        self.page = page
        gui = page.server.gui
        low, high = page.scene.bounds()
        decimals = max(decimals_of(page.scene) - 3, 0)
        with gui.add_folder("Crop", expand_by_default=False):
            self.shown = gui.add_checkbox("show the box", False)
            self.sides = []
            for axis, a, b, start in zip("xyz", low, high, page.scene.origin, strict=True):
                a, b = _outward(float(a + start), float(b + start), decimals)
                side = gui.add_multi_slider(axis, a, b, 10.0**-decimals, (a, b))
                side.on_update(lambda event: self.draw())
                self.sides.append(side)
            save = gui.add_button("Save crop", hint="beside the file, never over another one")
        self.shown.on_update(lambda event: self.draw())
        save.on_click(lambda event: page.tried(event.client, self.save))
        self.node: Any = None

    def corners(self, whole: bool = False) -> Float[np.ndarray, "2 3"]:
        """Return the lower and the upper corner, in the scene's coordinates.

        whole : a side that was left at its end cuts nothing off: files reach beyond what is drawn.
        """
        found = np.array([side.value for side in self.sides], np.float64).T
        if whole:
            ends = np.array([(side.min, side.max) for side in self.sides]).T
            found = np.where(found == ends, [[-np.inf], [np.inf]], found)
        return np.asarray(found - self.page.scene.origin)

    def draw(self) -> None:
        """Draw the twelve edges of the box, or none."""
        with self.page.lock:
            if self.node is not None:
                self.node.remove()
                self.node = None
            if self.shown.value:
                self.node = self.page.server.scene.add_line_segments(
                    "/crop", self.page.placed(edges(self.corners())), MARK, thickness=2.0,
                    thickness_units="screen")

    def save(self, client: Any) -> str:
        """Write what is in the box, of whole files, and say where.

        Raises InputError where no cloud is shown, and what `save_crop` raises.
        """
        scene = self.page.scene
        clouds = [layer for layer in scene.layers if layer.visible and layer.faces is None]
        if not clouds:
            raise InputError("no cloud is shown", where="crop", hint="show a layer first")
        cuts = cuts_of(self.corners(whole=True))
        return "; ".join(save_crop(scene, layer, cuts, self.page.format) for layer in clouds)


def eye_of(camera: Any, page: Page) -> Eye:
    """Return how a client sees the scene, from the camera that it told the server."""
    back = _unit(np.asarray(camera.position) - np.asarray(camera.look_at))
    right = _unit(np.cross(camera.up_direction, back))
    position = np.asarray(camera.position) / page.scale + page.middle
    tall = 1 / np.tan(camera.fov / 2)
    rows = np.stack([tall / camera.aspect * right, tall * np.cross(back, right), -back, -back])
    matrix = np.eye(4)
    matrix[:, :3], matrix[:, 3] = rows, -rows @ position
    return Eye(matrix, camera.image_width, camera.image_height)


def edges(corners: Float[np.ndarray, "2 3"]) -> Float[np.ndarray, "12 2 3"]:
    """Return both ends of the edges of a box."""
    bits = np.stack(np.meshgrid([0, 1], [0, 1], [0, 1], indexing="ij"), axis=-1).reshape(8, 3)
    pairs = [(a, b) for a in bits for b in bits if (b - a).sum() == 1 and (b >= a).all()]
    return np.array([[[corners[bit, axis] for axis, bit in enumerate(end)] for end in pair]
                     for pair in pairs])


def cuts_of(corners: Float[np.ndarray, "2 3"]) -> list[Cut]:
    """Return a box as what two looks along the axes see in a rectangle, without perspective."""
    cuts = []
    for first, second in ((0, 1), (2, 1)):
        matrix = np.zeros((4, 4))
        matrix[0, first] = matrix[1, second] = matrix[3, 3] = 1.0
        (left, right), (low, high) = corners[:, first] + 1, 1 - corners[::-1, second]
        cuts.append(Cut(Eye(matrix, 2.0, 2.0), (left, low, right, high), True))
    return cuts


def _outward(low: float, high: float, decimals: int) -> tuple[float, float]:
    """Return round numbers around both."""
    step = 10.0**-decimals
    return (round(np.floor(low / step) * step, decimals),
            round(max(np.ceil(high / step), np.floor(low / step) + 1) * step, decimals))


def _unit(vector: np.ndarray) -> np.ndarray:
    return np.asarray(vector / np.linalg.norm(vector))
