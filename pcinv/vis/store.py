"""Scenes on disk, for the process that draws them: arrays and JSON, nothing that is executed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from pcinv.vis.scene import Layer, Lines, Scene

_LAYER = ("points", "faces", "rows")
_LINES = ("start", "end", "colors")


def save_scene(path: str | Path, scene: Scene) -> None:
    """Write a scene; the file appears whole or not at all."""
    arrays = {"origin": scene.origin}
    head: dict[str, Any] = {"color_by": scene.color_by, "title": scene.title,
                            "notes": scene.notes, "up": scene.up, "ends": scene.ends, "layers": [],
                            "lines": []}
    for k, layer in enumerate(scene.layers):
        for part in _LAYER:
            if getattr(layer, part) is not None:
                arrays[f"layer/{k}/{part}"] = getattr(layer, part)
        for j, values in enumerate(layer.attributes.values()):
            arrays[f"layer/{k}/attribute/{j}"] = values
        head["layers"].append({
            "name": layer.name, "total": layer.total, "color": layer.color, "file": layer.file,
            "visible": layer.visible, "attributes": list(layer.attributes), "words": layer.words})
    for k, lines in enumerate(scene.lines):
        for part in _LINES:
            arrays[f"lines/{k}/{part}"] = getattr(lines, part)
        head["lines"].append({"name": lines.name, "visible": lines.visible})
    target = Path(path)
    aside = target.with_name(target.name + ".part")
    with open(aside, "wb") as stream:
        np.savez(stream, allow_pickle=False, head=np.array(json.dumps(head)), **arrays)
    aside.replace(target)


def load_scene(path: str | Path) -> Scene:
    """Read what `save_scene` wrote."""
    with np.load(path, allow_pickle=False) as kept:
        head = json.loads(str(kept["head"]))
        layers = tuple(Layer(
            told["name"], kept[f"layer/{k}/points"], _maybe(kept, f"layer/{k}/faces"),
            {name: kept[f"layer/{k}/attribute/{j}"] for j, name in enumerate(told["attributes"])},
            _maybe(kept, f"layer/{k}/rows"), told["total"], tuple(told["color"]), told["visible"],
            told["file"], {name: tuple(words) for name, words in told["words"].items()})
            for k, told in enumerate(head["layers"]))
        lines = tuple(Lines(told["name"], visible=told["visible"], **{
            part: kept[f"lines/{k}/{part}"] for part in _LINES})
            for k, told in enumerate(head["lines"]))
        return Scene(layers, lines, kept["origin"], head["color_by"], head["title"],
                     tuple(head["notes"]), head["up"],
                     {mode: (low, high) for mode, (low, high) in head["ends"].items()})


def _maybe(kept: Any, name: str) -> np.ndarray | None:
    return kept[name] if name in kept.files else None
