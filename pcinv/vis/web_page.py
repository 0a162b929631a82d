"""What the page of `pcinv.vis.web` shows: the scene, and a panel of what can be changed."""

from __future__ import annotations

import html
import io
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from pcinv.errors import PcinvError
from pcinv.vis.camera import FIELD_OF_VIEW_DEG, camera_for
from pcinv.vis.colors import coloring, mode_of
from pcinv.vis.compose import compose, legends_of
from pcinv.vis.fit import lightened, pixels_of, radius_of
from pcinv.vis.frames import Frames
from pcinv.vis.scene import Layer, Scene, with_layers
from pcinv.vis.web_html import legend_html, padded
from pcinv.vis.web_pointer import Cropper, Pointer
from pcinv.vis.window_play import Player
from pcinv.vis.window_state import color_modes, like
from pcinv.vis.window_tools import file_words

MOST_POINTS = 2_000_000
MOST_FACES = 500_000
RADIUS = 10.0
"""Of any scene on the page, whose limits of depth and distance are for rooms."""
PAGE_HEIGHT = 900
"""Of a usual page, in pixels: what sizes of points are told in."""
PICTURE_LIMIT_S = 30.0


class Page:
    """The state of a page; all that have it open share it.

    scene : what is shown, with at most `MOST_POINTS` points.
    scale, middle : from coordinates of the scene to those of the page.
    """

    def __init__(self, what: Scene | Frames, look: str | tuple[float, ...], up: str,
                 point_size: float | None, format: str | None = None) -> None:
        self.player = Player(what) if isinstance(what, Frames) else None
        first = what.scene(0) if isinstance(what, Frames) else what
        self.scene = lightened(first, MOST_POINTS, MOST_FACES)
        self.scene = replace(self.scene, color_by=mode_of(self.scene, self.scene.layers[0]))
        self.format = what.format if isinstance(what, Frames) else format
        low, high = self.scene.bounds()
        self.middle = (low + high) / 2
        self.scale = RADIUS / radius_of(low, high)
        self.camera = camera_for(self.scene, look, up, aspect=1.0)
        self.pixels = pixels_of(self.scene) if point_size is None else point_size
        self.lock = threading.RLock()  # callbacks come from several threads

    def placed(self, points: Float[np.ndarray, "*n 3"]) -> Float[np.ndarray, "*n 3"]:
        """Return where points of the scene are on the page."""
        return np.asarray((points - self.middle) * self.scale, np.float32)

    def world_size(self, pixels: float) -> float:
        """Return how large something is on the page that has so many pixels at first."""
        distance = float(np.linalg.norm(self.placed(self.camera.eye)))
        return pixels * distance * float(  # viser takes half of what a point covers
            np.tan(np.radians(FIELD_OF_VIEW_DEG) / 2)) / PAGE_HEIGHT

    def fill(self, server: Any) -> None:
        """Put everything on the page of a server."""
        self.server = server
        server.gui.configure_theme(show_logo=False, show_share_button=False)
        server.gui.set_panel_label("pcinv")
        server.gui.main_panel.dock_right()
        server.scene.set_up_direction(tuple(self.camera.up))
        start = server.initial_camera
        start.fov = float(np.radians(FIELD_OF_VIEW_DEG))
        start.position = self.placed(self.camera.eye)
        start.look_at = self.placed(self.camera.target)
        self.nodes: list[Any] = []
        self.head = server.gui.add_html("")
        if self.player is not None:
            self._add_sequence(self.player)
        with server.gui.add_folder("Layers"):
            self.toggles = [self._add_toggle(k, each) for k, each in enumerate(
                (*self.scene.layers, *self.scene.lines))]
        with server.gui.add_folder("Colour"):
            mode = server.gui.add_dropdown("by", color_modes(self.scene),
                                           initial_value=self.scene.color_by)
            mode.on_update(lambda event: self.recolor(event.target.value))
            self.legend = server.gui.add_html("")
        with server.gui.add_folder("View"):
            size = server.gui.add_slider("point size", 0.5, max(12.0, self.pixels), 0.1,
                                         float(self.pixels))
            size.on_update(lambda event: self.resize(event.target.value))
            reset = server.gui.add_button("Reset view")
            reset.on_click(lambda event: self.reset_view(event.client))
            picture = server.gui.add_button("Save picture")
            picture.on_click(lambda event: self.tried(event.client, self.save_picture))
        self.pointer = Pointer(self)
        self.cropper = Cropper(self)
        self.show(self.scene)

    def _add_toggle(self, number: int, each: Any) -> Any:
        count = len(each.points if isinstance(each, Layer) else each.start)
        tick = self.server.gui.add_checkbox(each.name, each.visible, hint=f"{count:,}")
        tick.on_update(lambda event: self.toggle(number, event.target.value))
        return tick

    def _add_sequence(self, player: Player) -> None:
        gui, count = self.server.gui, len(player.frames)
        with gui.add_folder("Scans"):
            self.slider = gui.add_slider("number", 1, count, 1, 1)
            self.slider.on_update(lambda event: self.go(event.target.value - 1))
            back, on = gui.add_button("Step back"), gui.add_button("Step on")
            back.on_click(lambda event: self.step(-1))
            on.on_click(lambda event: self.step(1))
            self.play = gui.add_checkbox("play", False)
            self.play.on_update(lambda event: self.set_playing(event.target.value))

    def show(self, scene: Scene) -> None:
        """Put a scene in the place of the one that is shown."""
        with self.lock, self.server.atomic():
            self.scene = scene
            for node in self.nodes:
                node.remove()
            self.nodes = [self._add_layer(k, layer) for k, layer in enumerate(scene.layers)]
            self.nodes += [self.server.scene.add_line_segments(
                f"/lines/{k}", self.placed(np.stack([each.start, each.end], axis=1)),
                np.repeat(each.colors[:, None], 2, axis=1), thickness=2.0,
                thickness_units="screen", visible=each.visible)
                for k, each in enumerate(scene.lines)]
            self._write()

    def _add_layer(self, number: int, layer: Layer) -> Any:
        colors, name = coloring(self.scene, layer).colors, f"/layers/{number}"
        if layer.faces is None:
            return self.server.scene.add_point_cloud(
                name, self.placed(layer.points), colors, precision="float32", visible=layer.visible,
                point_size=self.world_size(self.pixels), point_shape="circle",
                point_shading="flat")  # colours as the legend has them
        from trimesh import Trimesh

        corners = layer.faces.reshape(-1)  # of its own for each face: its edges stay sharp
        mesh = Trimesh(self.placed(layer.points[corners]), np.arange(len(corners)).reshape(-1, 3),
                       vertex_colors=colors[corners], process=False)
        return self.server.scene.add_mesh_trimesh(name, mesh, visible=layer.visible)

    def toggle(self, number: int, visible: bool) -> None:
        """Show or hide a layer; numbers of lines follow those of layers."""
        with self.lock:
            if number < len(self.scene.layers):
                self.scene = with_layers(self.scene, [(number, {"visible": visible})])
            else:
                lines = list(self.scene.lines)
                at = number - len(self.scene.layers)
                lines[at] = replace(lines[at], visible=visible)
                self.scene = replace(self.scene, lines=tuple(lines))
            self.nodes[number].visible = visible
            self._write()

    def recolor(self, mode: str) -> None:
        """Colour all layers in another way."""
        with self.lock:
            self.scene = replace(self.scene, color_by=mode)
            for number, layer in enumerate(self.scene.layers):
                if layer.faces is None:
                    self.nodes[number].colors = coloring(self.scene, layer).colors
                else:
                    self.nodes[number].remove()
                    self.nodes[number] = self._add_layer(number, layer)
            self._write()

    def resize(self, pixels: float) -> None:
        """Draw points of another size."""
        with self.lock:
            self.pixels = pixels
            for node, layer in zip(self.nodes, self.scene.layers, strict=False):
                if layer.faces is None:
                    node.point_size = self.world_size(pixels)

    def reset_view(self, client: Any) -> None:
        """Take the camera of a client back to where it was at first."""
        with client.atomic():
            client.camera.up_direction = self.camera.up
            client.camera.position = self.placed(self.camera.eye)
            client.camera.look_at = self.placed(self.camera.target)

    def save_picture(self, client: Any) -> str:
        """Send a client what it sees, with title and legend, and say so."""
        from PIL import Image

        camera = client.camera
        shot = client.get_render(camera.image_height, camera.image_width, transport_format="png",
                                 timeout=PICTURE_LIMIT_S)
        stream = io.BytesIO()
        Image.fromarray(compose(_on_white(shot), self.scene)).save(stream, "PNG")
        name = f"pcinv-{file_words(self.scene.title)}.png"
        client.send_file_download(name, stream.getvalue(), save_immediately=True)
        return f"{name} is sent to the browser"

    def tried(self, client: Any, work: Callable[[Any], str]) -> None:
        """Do what a client asked for, and tell it what came of it."""
        try:
            self.tell(work(client), client)
        except TimeoutError:
            self.tell("the browser sent no picture", client, failed=True)
        except PcinvError as error:
            self.tell(str(error), client, failed=True)

    def tell(self, words: str, client: Any = None, failed: bool = False) -> None:
        """Show words to a client, or to all."""
        clients = [client] if client is not None else self.server.get_clients().values()
        for each in clients:
            each.add_notification("Not done" if failed else "Done", words,
                                  color="red" if failed else "green",
                                  auto_close_seconds=None if failed else 8.0)

    def go(self, number: int) -> None:
        """Ask for a scan of the sequence."""
        with self.lock:
            if self.player is not None and number != self.player.at:
                self.player.go(number)

    def step(self, by: int) -> None:
        """Ask for the scan so many after this one, and stop playing."""
        self.play.value = False
        with self.lock:
            if self.player is not None:
                self.player.step(by)

    def set_playing(self, on: bool) -> None:
        """Have the scans follow one another, or stay."""
        with self.lock:
            if self.player is not None:
                self.player.playing = on

    def tick(self, now_s: float) -> None:
        """Show a scan that has arrived; to be called again and again."""
        if self.player is None:
            return
        with self.lock:
            try:
                found = self.player.poll(now_s)
            except PcinvError as error:
                self.player.playing = self.play.value = False
                self.tell(str(error), failed=True)
                return
            if found is not None:
                self.pointer.clear()
                self.show(like(lightened(found, MOST_POINTS, MOST_FACES), self.scene))
                self.slider.value = self.player.at + 1
                for tick, layer in zip(self.toggles, self.scene.layers, strict=False):
                    tick.label = layer.name

    def _write(self) -> None:
        """Write title, notes and legends; names of files are text and never HTML."""
        notes = "".join(f"<div>{html.escape(note)}</div>" for note in self.scene.notes)
        self.head.content = padded(f"<b>{html.escape(self.scene.title)}</b>{notes}")
        self.legend.content = padded("".join(map(legend_html, legends_of(self.scene))))


def _on_white(image: UInt8[np.ndarray, "h w c"]) -> UInt8[np.ndarray, "h w 3"]:
    if image.shape[2] == 3:
        return image
    share = image[..., 3:] / 255.0
    return np.asarray(np.round(image[..., :3] * share + 255 * (1 - share)), np.uint8)
