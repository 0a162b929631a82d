"""Pictures in a notebook: what `pcinv view --screenshot` writes, as an image that shows there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from pcinv.errors import UsageError
from pcinv.types import Mesh, PointCloud
from pcinv.vis.build import as_item, before_and_after, check_colors
from pcinv.vis.scene import Scene, labelled, make_scene, with_layers
from pcinv.vis.software import draw as draw_scene

if TYPE_CHECKING:
    from PIL.Image import Image

Shown = PointCloud | Mesh | np.ndarray | str | Path


def draw(*items: Shown, names: Sequence[str] | None = None, color_by: str = "auto",
         labels: np.ndarray | None = None, transform: Float[np.ndarray, "4 4"] | None = None,
         title: str = "", limit: int = 500_000, **view: Any) -> Image:
    """Return a picture of clouds, meshes, arrays (N, 3) or files, for a notebook to show.

    names : of the items in the legend.
    color_by : see `pcinv.vis.colors.coloring`.
    labels : (N,) whole numbers, one for each point of the first item.
    transform : (4, 4) that takes the first of two items to the second.
    view : `width`, `height`, `look`, `up`, `turn_deg`, `point_size`; see `pcinv.vis.software.draw`.

    Raises UsageError for a transform of other than two items, and as `make_scene`, `check_colors`.

    >>> import numpy as np
    >>> draw(np.random.default_rng(0).normal(size=(500, 3)), width=320, height=240).size
    (320, 240)
    """
    from PIL.Image import fromarray

    scene = _scene(items, names, transform, color_by, title, limit)
    if labels is not None:
        scene = with_layers(scene, [(0, vars(labelled(scene.layers[0], "label", labels)))])
        scene = replace(scene, color_by="label" if color_by == "auto" else color_by)
    check_colors(scene)
    return fromarray(draw_scene(scene, **{"width": 800, "height": 600, **view}))


def _scene(items: Sequence[Shown], names: Sequence[str] | None,
           transform: Float[np.ndarray, "4 4"] | None, color_by: str, title: str, limit: int
           ) -> Scene:
    told = names or [Path(item).name if isinstance(item, str | Path) else f"cloud {k + 1}"
                     for k, item in enumerate(items)]
    found = [(name, as_item(item)) for name, item in zip(told, items, strict=True)]
    if transform is not None:
        if len(found) != 2:
            raise UsageError(f"a transform takes a first cloud to a second; {len(found)} are given",
                             where="transform", hint="draw(a, b, transform=T)")
        found = before_and_after(found, transform)[:2]
    return make_scene(found, color_by=color_by, title=title, limit=limit)
