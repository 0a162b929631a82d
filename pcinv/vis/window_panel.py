"""The panel beside the picture: what is shown, what its colours mean, and what can be done."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pcinv.vis.colors import Legend, bar_colors
from pcinv.vis.fit import bar_number
from pcinv.vis.scene import Scene
from pcinv.vis.window_tools import cut_short, lines_of

WIDTH = 19
"""Of the panel, in heights of letters."""
LETTERS = 38
"""That fit in a line of the panel."""
MOST_ENTRIES = 24
LEAST_SIZE, MOST_SIZE = 1.0, 12.0
MODES = {"look": "Look", "point": "Point", "measure": "Measure", "crop": "Crop"}
HELP = (
    ("drag", "turn"),
    ("Ctrl and drag", "move sideways"),
    ("wheel", "nearer, farther"),
    ("R", "look as at first"),
    ("Ctrl and click", "what is known of a point"),
    ("P", "click on points"),
    ("M", "measure between two clicks"),
    ("X", "crop: drag a rectangle"),
    ("K, D, U", "keep its inside, drop it, undo crops"),
    ("W", "write the crop of the first cloud shown"),
    ("1 to 9", "show or hide a layer"),
    ("B", "before and after"),
    ("C", "next colours"),
    ("+, -", "larger points, smaller points"),
    ("L", "light or dark ground"),
    ("space", "play, pause"),
    ("left, right", "scan before, scan after; also , and ."),
    ("S", "save a picture in the working folder"),
    ("H", "this help"),
    ("Q, Esc", "close"),
)
"""Keys, and what they do."""


class Panel:
    """Widgets that the window gives their meaning; see `Viewer` for what they do.

    widget : the panel, to be placed in the window.
    status : what was said last.  help : what the keys do.  Both are placed over the picture.
    """

    def __init__(self, o3d: Any, em: int, scans: int) -> None:
        self._o3d, self._em = o3d, em
        self._gui = gui = o3d.visualization.gui
        self.widget = gui.ScrollableVert(0.4 * em, gui.Margins(0.6 * em, 0.6 * em, 0.6 * em,
                                                               0.6 * em))
        self._head, self._layers, self._legend = (gui.WidgetProxy() for _ in range(3))
        self.colors = gui.Combobox()
        self.size = gui.Slider(gui.Slider.DOUBLE)
        self.size.set_limits(LEAST_SIZE, MOST_SIZE)
        self.dark = gui.Checkbox("dark ground")
        self.modes = {mode: self._button(words) for mode, words in MODES.items()}
        for button in self.modes.values():
            button.toggleable = True
        self.keep, self.drop, self.undo, self.save = (
            self._button(words) for words in ("Keep", "Drop", "Undo", "Write"))
        self.scan = gui.Slider(gui.Slider.INT)
        self.scan.set_limits(1, max(scans, 2))
        self.before, self.play, self.after = (self._button(words) for words in ("<", "Play", ">"))
        self._point = gui.WidgetProxy()
        self.status, self.help = gui.Label(""), self._help()
        self.status.background_color = self.help.background_color = gui.Color(0.1, 0.1, 0.12, 0.9)
        self.status.visible = self.help.visible = False
        self._fill(scans)

    def _fill(self, scans: int) -> None:
        for widget in (self._head, self._layers, self._row("colours", self.colors), self._legend,
                       self._row("points", self.size), self.dark,
                       self._row(None, *self.modes.values())):
            self.widget.add_child(widget)
        self.crop = self._row("crop", self.keep, self.drop, self.undo, self.save)
        self.crop.visible = False
        self.widget.add_child(self.crop)
        if scans > 1:
            self.widget.add_child(self._row("scan", self.scan))
            self.widget.add_child(self._row(None, self.before, self.play, self.after))
        self.widget.add_child(self._label("H shows all keys"))
        self.widget.add_child(self._point)

    def place(self, context: Any, window: Any) -> Any:
        """Place the panel at the right, words below the picture, the keys in its middle.

        Returns what is left for the picture.
        """
        gui = self._gui
        wide = min(int(WIDTH * self._em), window.width // 2)
        picture = gui.Rect(window.x, window.y, window.width - wide, window.height)
        self.widget.frame = gui.Rect(picture.get_right(), window.y, wide, window.height)
        size = self.status.calc_preferred_size(context, gui.Widget.Constraints())
        self.status.frame = gui.Rect(window.x, window.get_bottom() - size.height, size.width,
                                     size.height)
        size = self.help.calc_preferred_size(context, gui.Widget.Constraints())
        self.help.frame = gui.Rect(picture.x + max(picture.width - size.width, 0) // 2,
                                   picture.y + max(picture.height - size.height, 0) // 2,
                                   size.width, size.height)
        return picture

    def say(self, words: str) -> None:
        """Show words below the picture."""
        self.status.text = lines_of(words, 100)
        self.status.visible = bool(words)

    def tell(self, scene: Scene) -> None:
        """Show title, notes and the number of points that are shown."""
        count = sum(len(layer.points) for layer in scene.layers if layer.visible)
        words = [scene.title or "pcinv", f"{count:,} points", *scene.notes]
        self._head.set_widget(self._column([self._label(lines_of(each, LETTERS))
                                            for each in words if each]))

    def list_layers(self, scene: Scene, toggled: Callable[[int], None]) -> None:
        """Show a check box for each layer, then for each of the lines; 1 to 9 are their keys."""
        boxes = []
        parts = [*((layer.name, len(layer.points), layer.visible) for layer in scene.layers),
                 *((lines.name, len(lines.start), lines.visible) for lines in scene.lines)]
        for number, (name, count, visible) in enumerate(parts):
            key = f"{number + 1}  " if number < 9 else ""
            box = self._gui.Checkbox(f"{key}{cut_short(name, LETTERS - 8)}")
            box.checked = visible
            box.tooltip = f"{name}: {count:,}"
            box.set_on_checked(lambda _, number=number: toggled(number))
            boxes.append(box)
        self._layers.set_widget(self._column(boxes))

    def list_colors(self, modes: Sequence[str], chosen: str) -> None:
        """Show the ways to colour, and which one is chosen."""
        self.colors.clear_items()
        for mode in modes:
            self.colors.add_item(mode)
        self.colors.selected_text = chosen

    def explain(self, legends: Sequence[Legend]) -> None:
        """Show what the colours mean."""
        self._legend.set_widget(self._column([part for legend in legends for part in (
            self._bar(legend) if legend.low is not None else self._swatches(legend))]))

    def describe(self, words: Sequence[str]) -> None:
        """Show what is known of a point."""
        self._point.set_widget(self._column([
            self._label(lines_of(each, LETTERS)) for each in words]))

    def choose(self, mode: str) -> None:
        """Show what the mouse does, and the buttons of the crop where it crops."""
        for name, button in self.modes.items():
            button.is_on = name == mode
        self.crop.visible = mode == "crop"

    def _bar(self, legend: Legend) -> list[Any]:
        low, high = float(legend.low or 0), float(legend.high or 0)
        width = int((WIDTH - 3) * self._em)
        image = np.broadcast_to(bar_colors(np.linspace(0, 1, width))[None], (self._em, width, 3))
        numbers = self._gui.Horiz()
        shown = (low, (low + high) / 2, high) if high > low else (low,)
        for number, value in enumerate(shown):
            if number:
                numbers.add_stretch()
            numbers.add_child(self._label(bar_number(value, high - low)))
        return [self._label(cut_short(legend.title, LETTERS)), self._image(image), numbers]

    def _swatches(self, legend: Legend) -> list[Any]:
        rows = [self._label(cut_short(legend.title, LETTERS))] if legend.title else []
        for words, color in legend.entries[:MOST_ENTRIES]:
            swatch = np.broadcast_to(np.array(color, np.uint8), (self._em, self._em, 3))
            rows.append(self._row(None, self._image(swatch),
                                  self._label(cut_short(words, LETTERS - 4))))
        if len(legend.entries) > MOST_ENTRIES:
            rows.append(self._label(f"and {len(legend.entries) - MOST_ENTRIES} more"))
        return rows

    def _help(self) -> Any:
        gui, em = self._gui, self._em
        columns = gui.Horiz(1.5 * em, gui.Margins(1.5 * em, em, 1.5 * em, em))
        for column in zip(*HELP, strict=True):
            columns.add_child(self._column([self._label(words) for words in column]))
        return columns

    def _image(self, pixels: np.ndarray) -> Any:
        image = self._o3d.geometry.Image(np.ascontiguousarray(pixels))
        return self._gui.ImageWidget(image)

    def _row(self, words: str | None, *widgets: Any) -> Any:
        row = self._gui.Horiz(0.4 * self._em)
        if words is not None:
            row.add_child(self._label(words))
        for widget in widgets:
            row.add_child(widget)
        return row

    def _column(self, widgets: Sequence[Any]) -> Any:
        column = self._gui.Vert(0.25 * self._em)
        for widget in widgets:
            column.add_child(widget)
        return column

    def _button(self, words: str) -> Any:
        button = self._gui.Button(words)
        button.horizontal_padding_em, button.vertical_padding_em = 0.5, 0.1
        return button

    def _label(self, words: str) -> Any:
        return self._gui.Label(words)
