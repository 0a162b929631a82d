"""The window: what it shows, and what keys, buttons and time do to it."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from pcinv.errors import PcinvError
from pcinv.vis.camera import camera_for
from pcinv.vis.colors import mode_of
from pcinv.vis.compose import legends_of
from pcinv.vis.frames import Frames
from pcinv.vis.scene import Scene
from pcinv.vis.software import touching
from pcinv.vis.window_crop import save_crop, save_image
from pcinv.vis.window_panel import LEAST_SIZE, MOST_SIZE, Panel
from pcinv.vis.window_pick import Pointer
from pcinv.vis.window_play import Player
from pcinv.vis.window_stage import Stage
from pcinv.vis.window_state import color_modes, cropped, leaves_view, like, swapped, toggled
from pcinv.vis.window_tools import Cut

SIZE = 1280, 800
DIGITS = ("ONE", "TWO", "THREE", "FOUR", "FIVE", "SIX", "SEVEN", "EIGHT", "NINE")


class Viewer:
    """A window of Open3D with a scene in it.

    scene : what is drawn.  whole : the same before `cuts` were made.
    frames : a sequence of which the scene is the first scan, or None.
    look, up, point_size, format : as of `pcinv.vis.window.show`.
    ready : called when the first picture is drawn.  said : with what a person is told.
    closed : ends the process.
    """

    def __init__(
        self, o3d: Any, scene: Scene, frames: Frames | None, look: str | list[float], up: str,
        point_size: float | None, format: str | None, *, ready: Callable[[], None],
        said: Callable[[str], None], closed: Callable[[], None],
    ) -> None:
        self._view = (look if isinstance(look, str) else tuple(look)), up
        self._format, self._ready, self._said, self._closed = format, ready, said, closed
        self.scene = self.whole = replace(scene, color_by=mode_of(scene, scene.layers[0]))
        self.cuts: list[Cut] = []
        self.player = None if frames is None else Player(frames)
        self._worker = ThreadPoolExecutor(1, "pcinv-crop")
        self._writing: Future[str] | None = None
        self._failed: set[str] = set()
        self._looked = self._drawn = False
        self._gui = o3d.visualization.gui
        self.window = self._gui.Application.instance.create_window(f"{scene.title} - pcinv", *SIZE)
        if point_size is None:
            point_size = touching(scene, camera_for(scene, *self._view), *SIZE)
        self.size = float(np.clip(round(point_size, 1), LEAST_SIZE, MOST_SIZE))
        self.stage = Stage(o3d, self.window, self.scene)
        self.panel = Panel(o3d, self.window.theme.font_size, 1 if frames is None else len(frames))
        self.pointer = Pointer(self._gui, self.stage, self.scene, self._describe)
        for widget in (self.stage.widget, self.panel.widget, self.panel.status, self.panel.help):
            self.window.add_child(widget)
        self._keys = self._connect()
        self.panel.choose(self.pointer.mode)
        self._refresh()

    def _connect(self) -> dict[int, Callable[[], Any]]:
        """Have widgets and the window call what they stand for, and return the same for keys."""
        panel = self.panel
        panel.size.double_value = self.size
        panel.size.set_on_value_changed(self.resize)
        panel.dark.set_on_checked(self.stage.dark)
        panel.colors.set_on_selection_changed(lambda mode, _: self.color(mode))
        panel.scan.set_on_value_changed(lambda number: self.go(int(number) - 1))
        self.window.set_on_key(self._on_key)
        self.window.set_on_layout(self._on_layout)
        self.window.set_on_tick_event(self._on_tick)
        self.window.set_on_close(self.close)
        buttons: list[tuple[Any, Callable[[], Any], str]] = [
            (panel.modes["look"], lambda: self.choose("look"), ""),
            (panel.modes["point"], lambda: self.choose("point"), "P"),
            (panel.modes["measure"], lambda: self.choose("measure"), "M"),
            (panel.modes["crop"], lambda: self.choose("crop"), "X"),
            (panel.keep, lambda: self.cut(True), "K"),
            (panel.drop, lambda: self.cut(False), "D"),
            (panel.undo, self.uncut, "U"),
            (panel.save, self.write_crop, "W"),
            (panel.before, lambda: self.step(-1), "LEFT COMMA"),
            (panel.after, lambda: self.step(1), "RIGHT PERIOD"),
            (panel.play, self.play, "SPACE"),
            (None, self.next_color, "C"),
            (None, self.reset, "R"),
            (None, lambda: self.resize(self.size + 1), "PLUS EQUALS"),
            (None, lambda: self.resize(self.size - 1), "MINUS UNDERSCORE"),
            (None, self.before_and_after, "B"),
            (None, self.darken, "L"),
            (None, lambda: self.stage.picture(self._save_image), "S"),
            (None, self.help, "H"),
            (None, self.close, "Q ESCAPE"),
        ]
        for button, action, _ in buttons:
            if button is not None:
                button.set_on_clicked(action)
        keys = {key: action for _, action, each in buttons for key in each.split()}
        for number, digit in enumerate(DIGITS):
            keys[digit] = partial(self.toggle, number)
        return {int(getattr(self._gui.KeyName, key)): action for key, action in keys.items()}

    def _on_key(self, event: Any) -> bool:
        action = self._keys.get(int(event.key))
        if action is not None and event.type == self._gui.KeyEvent.Type.DOWN:
            action()
            self._touch()
        return action is not None

    def _on_layout(self, context: Any) -> None:
        self.stage.widget.frame = self.panel.place(context, self.window.content_rect)
        if not self._looked:
            self._looked = True
            self.reset()

    def _on_tick(self) -> bool:
        """Take over what has been read or written meanwhile; return whether to draw again."""
        if not self._drawn:
            self._drawn = True
            self.stage.picture(lambda _: self._ready())
            return True
        try:
            if self._writing is not None and self._writing.done():
                done, self._writing = self._writing, None
                self.say(done.result())
            scene = None if self.player is None else self.player.poll(time.monotonic())
            if scene is not None:
                self._next_scan(scene)
        except (PcinvError, OSError) as error:
            playing = self.player is not None and self.player.playing
            self.say(str(error), aloud=not playing or str(error) not in self._failed)
            self._failed.add(str(error))  # a scan that is played again and again fails each time
        return self.stage.is_due()

    def _touch(self) -> None:
        self.window.set_needs_layout()
        self.stage.touch()

    def _next_scan(self, scene: Scene) -> None:
        self.scene = self.whole = like(scene, self.whole)
        self.cuts = []
        self._refresh()
        self.say(scene.title, aloud=self.player is None or not self.player.playing)

    def _refresh(self) -> None:
        """Draw the scene again, with the colours that it has now."""
        self.stage.show(self.scene, self.size)
        self.pointer.clear()
        self.panel.list_colors(color_modes(self.scene), self.scene.color_by)
        if self.player is not None:
            self.panel.scan.int_value = self.player.at + 1
        self._list_layers()

    def _list_layers(self) -> None:
        self.pointer.scene = self.scene
        self.panel.tell(self.scene)
        self.panel.list_layers(self.scene, self.toggle)
        self.panel.explain(legends_of(self.scene))
        self._touch()

    def _show(self, change: Callable[[Scene], Scene]) -> None:
        """Show and hide layers, of what is drawn and of the same before it was cut."""
        self.scene, self.whole = change(self.scene), change(self.whole)
        self.stage.show_or_hide(self.scene)
        self._list_layers()

    def say(self, words: str, aloud: bool = True) -> None:
        """Tell the person something.

        aloud : on the console as well.
        """
        self.panel.say(words)
        self._touch()
        if aloud:
            self._said(words)

    def _describe(self, words: list[str]) -> None:
        self.panel.describe(words)
        self._touch()
        if words:
            self._said("; ".join(words))

    def toggle(self, number: int) -> None:
        """Show or hide a layer or, their numbers follow, lines."""
        self._show(lambda scene: toggled(scene, number))

    def before_and_after(self) -> None:
        """Show the source as it was in place of where it was moved to, or the other way round."""
        other = swapped(self.scene)
        if other is None:
            self.say("there is no before and after: pcinv view a b --transform T.txt shows them")
            return
        leaves = leaves_view(self.scene, other, self.stage.eye())
        self._show(lambda scene: swapped(scene) or scene)
        if leaves:
            self.reset()

    def color(self, mode: str) -> None:
        """Colour in one of the ways of the list."""
        self.scene, self.whole = (replace(each, color_by=mode)
                                  for each in (self.scene, self.whole))
        self._refresh()

    def next_color(self) -> None:
        """Colour in the next way of the list."""
        known = color_modes(self.scene)
        self.color(known[(known.index(self.scene.color_by) + 1) % len(known)])

    def resize(self, size: float) -> None:
        """Draw points so many pixels wide."""
        self.size = float(np.clip(size, LEAST_SIZE, MOST_SIZE))
        self.panel.size.double_value = self.size
        self.stage.resize_points(self.size)

    def darken(self) -> None:
        """Draw on the other ground."""
        self.panel.dark.checked = not self.panel.dark.checked
        self.stage.dark(self.panel.dark.checked)

    def reset(self) -> None:
        """Look as at first."""
        self.stage.look(self.scene, *self._view)

    def help(self) -> None:
        """Show or hide the keys."""
        self.panel.help.visible = not self.panel.help.visible

    def choose(self, mode: str) -> None:
        """Have the mouse point, measure or crop; the same again has it look."""
        self.pointer.mode = "look" if mode == self.pointer.mode else mode
        self.panel.choose(self.pointer.mode)
        self.pointer.clear()

    def cut(self, keep: bool) -> None:
        """Keep, or drop, what is inside the rectangle, of all clouds."""
        if self.pointer.cut is None:
            self.say("there is no rectangle: X, then drag one")
            return
        cuts = [*self.cuts, replace(self.pointer.cut, keep=keep)]
        left = cropped(self.whole, cuts)
        if not any(len(layer.points) for layer in left.layers):
            self.say("nothing would be left")
            return
        self.cuts, self.scene = cuts, left
        self._refresh()
        count = sum(len(layer.points) for layer in left.layers)
        self.say(f"{count:,} points are left; W writes the crop of the first cloud, U undoes")

    def uncut(self) -> None:
        """Show all that was cropped away."""
        self.cuts, self.scene = [], self.whole
        self._refresh()

    def write_crop(self) -> None:
        """Write the crop of the first cloud that is shown, from its whole file, beside it."""
        shown = [each for each in self.whole.layers if each.visible and each.faces is None]
        if not self.cuts or not shown or self._writing is not None:
            self.say("nothing is cropped: X, drag a rectangle, then K or D")
            return
        self.say(f"writing the crop of {shown[0].name}")
        self._writing = self._worker.submit(save_crop, self.whole, shown[0], list(self.cuts),
                                            self._format)

    def _save_image(self, image: np.ndarray) -> None:
        try:
            self.say(save_image(self.scene, image))
        except (PcinvError, OSError) as error:
            self.say(str(error))

    def go(self, number: int) -> None:
        """Show a scan of the sequence."""
        if self.player is not None:
            self.player.go(number)

    def step(self, by: int) -> None:
        """Show the scan so many after this one."""
        if self.player is not None:
            self.player.step(by)
            self.panel.play.text = "Play"

    def play(self) -> None:
        """Show one scan after the other, or stop that."""
        if self.player is not None:
            self.player.playing = not self.player.playing
            self.panel.play.text = "Pause" if self.player.playing else "Play"

    def close(self) -> bool:
        """End the process, once what is being written is."""
        self._worker.shutdown()
        self._closed()  # taking Open3D's engine down would crash (0.20)
        return True
