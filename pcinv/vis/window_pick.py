"""What the mouse does on the picture: choose points, measure between them, draw rectangles."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from pcinv.vis.scene import Layer, Scene
from pcinv.vis.window_stage import Stage
from pcinv.vis.window_tools import Cut, box_of, nearest_to_click, number_words, words_of_point

STILL = 4.0
"""Pixels that the mouse may move between press and release of a click."""


class Pointer:
    """The mouse over the picture.

    mode : "look", "point", "measure" or "crop".
    scene : what is shown; to be kept up to date.
    cut : the rectangle that was drawn, not yet used.
    """

    def __init__(self, gui: Any, stage: Stage, scene: Scene,
                 describe: Callable[[list[str]], None]) -> None:
        self._gui, self._stage, self._describe = gui, stage, describe
        self.mode = "look"
        self.scene = scene
        self.cut: Cut | None = None
        self._start: tuple[float, float] | None = None
        self._at: tuple[float, float] | None = None
        self._picked: list[tuple[Layer, int]] = []
        stage.widget.set_on_mouse(self._on_mouse)

    def clear(self) -> None:
        """Forget the rectangle and the points."""
        self.cut, self._start, self._picked = None, None, []
        self._stage.rectangle(None)
        self._stage.mark(np.zeros((0, 3)), None, False)
        self._describe([])

    def _on_mouse(self, event: Any) -> Any:
        kinds, frame = self._gui.MouseEvent.Type, self._stage.widget.frame
        at = (float(event.x - frame.x), float(event.y - frame.y))
        if event.type in (kinds.MOVE, kinds.DRAG) or self._at is None:
            self._at = at
        at = self._at  # of a click Open3D tells where the mouse is now, which may be farther on
        answer = self._gui.Widget.EventCallbackResult
        crop = self.mode == "crop"
        if event.type in (kinds.WHEEL, kinds.BUTTON_DOWN) and self.cut is not None:
            self.cut = None  # it belongs to the picture in which it was drawn
            self._stage.rectangle(None)
        if event.type == kinds.BUTTON_DOWN and event.is_button_down(self._gui.MouseButton.LEFT):
            self._start = at
            return answer.CONSUMED if crop else answer.IGNORED
        if self._start is None or event.type not in (kinds.DRAG, kinds.BUTTON_UP):
            return answer.IGNORED
        start, still = self._start, float(np.hypot(*np.subtract(at, self._start))) <= STILL
        if event.type == kinds.BUTTON_UP:
            self._start = None
        if crop:
            self._draw(start, at)
            return answer.CONSUMED
        control = event.is_modifier_down(self._gui.KeyModifier.CTRL)
        if event.type == kinds.BUTTON_UP and still and (self.mode != "look" or control):
            self._pick(at)
        return answer.IGNORED

    def _draw(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        box = box_of(start, end)
        wide = box[2] - box[0] > STILL and box[3] - box[1] > STILL
        self.cut = Cut(self._stage.eye(), box, True) if wide else None
        self._stage.rectangle(box if wide else None)

    def _pick(self, at: tuple[float, float]) -> None:
        """Take the point under the mouse, of all layers that are shown."""
        layers = [each for each in self.scene.layers if each.visible and len(each.points)]
        if not layers:
            return
        row = nearest_to_click(np.concatenate([each.points for each in layers]),
                               self._stage.eye(), at)
        if row is None:
            self._describe(["no point there"])
            return
        ends = np.cumsum([len(each.points) for each in layers])
        number = int(np.searchsorted(ends, row, side="right"))
        found = layers[number], row - int(ends[number] - len(layers[number].points))
        measured = self.mode == "measure" and len(self._picked) == 1
        self._picked = [*(self._picked if measured else []), found]
        self._show()

    def _show(self) -> None:
        places = np.stack([layer.points[row].astype(np.float64) for layer, row in self._picked])
        layer, row = self._picked[-1]
        words = words_of_point(self.scene, layer, row)
        if len(places) == 1:
            self._stage.mark(places, words[1] if self.mode != "measure" else "from here", False)
            self._describe(words)
            return
        step = places[1] - places[0]
        length = number_words(float(np.linalg.norm(step)))
        self._stage.mark(places, length, True)
        along = [f"d{axis}  {number_words(float(each))}"
                 for axis, each in zip("xyz", step, strict=True)]
        self._describe([f"distance {length}, in the units of the files", *along, *words])
