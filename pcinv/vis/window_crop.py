"""The files that a window writes: crops of whole clouds, pictures; never over another file."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from pcinv.errors import InputError
from pcinv.io import FormatWarning, read, write
from pcinv.io.formats import format_named, format_of_suffix
from pcinv.io.writing import replacing
from pcinv.types import PointCloud
from pcinv.vis.scene import Layer, Scene
from pcinv.vis.window_tools import Cut, crop_whole, file_words, next_free


def save_crop(scene: Scene, layer: Layer, cuts: Sequence[Cut], format: str | None = None) -> str:
    """Read the file of a layer again, write what the cuts leave of it, and say where.

    The new file is beside the old one, or in the working folder where that is closed.

    Raises InputError for a mesh, a layer without a file, a crop without points, and what
    `pcinv.io.read` and `write` raise.
    """
    if layer.file is None or layer.faces is not None:
        raise InputError("a crop needs a cloud that was read from a file", where=layer.name,
                         hint="hide this layer: the first cloud that is shown is saved")
    cloud = read(layer.file, format=format)
    if not isinstance(cloud, PointCloud):
        raise InputError("this is a mesh now", where=layer.file, hint="open it again")
    left = crop_whole(cloud, layer, scene.origin, cuts)
    source = Path(layer.file)
    suffix, kind = _format_of(source, format)
    folder = source.parent if os.access(source.parent, os.W_OK) else Path.cwd()
    place = next_free(folder, f"{source.stem}-crop", suffix)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", FormatWarning)
        write(place, left, format=kind)
    lost = [str(each.message) for each in caught if issubclass(each.category, FormatWarning)]
    return "; ".join([f"{len(left):,} of {len(cloud):,} points are in {place}", *lost])


def save_image(scene: Scene, image: UInt8[np.ndarray, "h w 3"]) -> str:
    """Write what the window shows, with title, legend and notes, to the working folder."""
    from PIL import Image

    from pcinv.vis.compose import compose

    place = next_free(Path.cwd(), f"pcinv-{file_words(scene.title)}", ".png")
    with replacing(place) as stream:
        Image.fromarray(compose(np.ascontiguousarray(image[:, :, :3]), scene)).save(stream, "PNG")
    return f"picture {place}"


def _format_of(source: Path, format: str | None) -> tuple[str, str | None]:
    """Return suffix and format of the crop: those of the file, or ply where these hold no cloud."""
    chosen = format_of_suffix(source) if format is None else format_named(format)
    if chosen is None or chosen.write is None or not chosen.writes_clouds:
        return ".ply", None
    return source.suffix, format
