"""What keys and buttons make of a scene; nothing of windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from pcinv.vis.colors import mode_of, modes
from pcinv.vis.scene import Scene, take, with_layers
from pcinv.vis.window_tools import Cut, Eye, inside, stays

AFTER, BEFORE = ", moved", ", as it was"
"""How names of layers end that show a cloud after a transform and before it."""
LEAST_SEEN = 0.9
"""Share of what was seen of a cloud that still has to be seen when it is moved."""


def color_modes(scene: Scene) -> list[str]:
    """Return the ways in which the scene can be coloured."""
    known = dict.fromkeys(mode for layer in scene.layers for mode in modes(layer))
    return list(dict.fromkeys([*known, mode_of(scene, scene.layers[0])]))


def toggled(scene: Scene, number: int) -> Scene:
    """Return the scene with a layer shown or hidden; numbers of lines follow those of layers."""
    if number < len(scene.layers):
        return with_layers(scene, [(number, {"visible": not scene.layers[number].visible})])
    lines = list(scene.lines)
    number -= len(scene.layers)
    if number < len(lines):
        lines[number] = replace(lines[number], visible=not lines[number].visible)
    return replace(scene, lines=tuple(lines))


def swapped(scene: Scene) -> Scene | None:
    """Return the scene before a transform where it shows it after, and the other way round.

    None where it has no before and after.
    """
    if not any(layer.name.endswith(BEFORE) for layer in scene.layers):
        return None
    before = any(layer.visible and layer.name.endswith(BEFORE) for layer in scene.layers)
    return with_layers(scene, [(k, {"visible": layer.name.endswith(AFTER) == before})
                               for k, layer in enumerate(scene.layers)
                               if layer.name.endswith((BEFORE, AFTER))])


def leaves_view(scene: Scene, other: Scene, eye: Eye) -> bool:
    """Return whether the cloud that is moved is seen less in the other scene, before or after.

    Not where it was hardly in the picture at first: a person who looks at a detail stays there.
    """
    return _seen(other, eye) < LEAST_SEEN * _seen(scene, eye)


def _seen(scene: Scene, eye: Eye) -> float:
    """Return the share of the points that are moved, and shown, which lie within the picture."""
    shown = [layer.points for layer in scene.layers
             if layer.visible and layer.name.endswith((BEFORE, AFTER)) and len(layer.points)]
    box = (0.0, 0.0, eye.width, eye.height)
    return float(inside(np.concatenate(shown), eye, box).mean()) if shown else 1.0


def cropped(scene: Scene, cuts: Sequence[Cut]) -> Scene:
    """Return the scene with what cuts leave of its clouds; meshes stay whole."""
    layers = tuple(layer if layer.faces is not None
                   else take(layer, np.flatnonzero(stays(layer.points, cuts)))
                   for layer in scene.layers)
    return replace(scene, layers=layers)


def like(scene: Scene, old: Scene) -> Scene:
    """Return a scene that shows and colours what another one of the same sequence does."""
    shown = [(number, {"visible": before.visible}) for number, (before, _) in enumerate(
        zip(old.layers, scene.layers, strict=False))]
    mode = old.color_by if old.color_by in color_modes(scene) else "height"
    return with_layers(replace(scene, color_by=mode), shown)
