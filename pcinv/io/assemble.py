"""From what a reader found to the containers that the rest of pcinv works on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pcinv.io.format import Array, Raw
from pcinv.io.source import Source
from pcinv.types import Mesh, PointCloud


def assemble(raw: Raw, source: Source) -> tuple[PointCloud | Mesh, int]:
    """Return the cloud or mesh, all finite, and the number of rows that were dropped for that.

    Raises
    ------
    FileFormatError : no point at all, no finite point, or coordinates that float32 cannot hold.
    """
    if not len(raw.xyz):
        raise source.error("the file holds no points")
    if raw.xyz.dtype.kind not in "biuf":
        raise source.error(f"coordinates of type {raw.xyz.dtype}, expected numbers")
    _check_attributes(raw, source)
    raw, dropped = _finite(raw, source)
    if raw.faces is not None and len(raw.faces):
        vertices = np.ascontiguousarray(raw.xyz, dtype=np.float64)
        return Mesh(vertices, raw.faces, raw.attributes), dropped
    if raw.origin is not None:
        xyz, origin = raw.xyz.astype(np.float32), raw.origin
    else:
        xyz, origin = split_origin(raw.xyz)
    if not np.isfinite(xyz).all():
        raise source.error(
            f"coordinates up to {np.abs(raw.xyz).max():.3g} are beyond float32",
            hint="change the unit of the coordinates",
        )
    cloud = PointCloud(np.ascontiguousarray(xyz), origin, raw.attributes, raw.view_point)
    return cloud, dropped


def split_origin(absolute: Array) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Split (N, 3) coordinates into float32 offsets and a float64 origin.

    The origin is zero, and the bits are kept, where all coordinates are float32 numbers; it is zero
    too where the cloud is not farther from zero than it is large. Otherwise it is the centre of the
    bounds, rounded to the power of ten below the cloud's size.
    """
    with np.errstate(all="ignore"):
        single = absolute.astype(np.float32)
        if absolute.dtype == np.float32 or np.array_equal(single.astype(absolute.dtype), absolute):
            return single, np.zeros(3)
        low, high = absolute.min(0).astype(np.float64), absolute.max(0).astype(np.float64)
        centre, diagonal = low / 2 + high / 2, float(np.linalg.norm(high - low))
        if not np.linalg.norm(centre) > diagonal:
            return single, np.zeros(3)
        step = 10.0 ** np.floor(np.log10(diagonal)) if diagonal > 0 else 0.0
        rounded = np.round(centre / step) * step if step > 0 else centre
        origin = np.where(np.isfinite(rounded), rounded, centre)
        return (absolute - origin).astype(np.float32), origin


def _check_attributes(raw: Raw, source: Source) -> None:
    for name, values in raw.attributes.items():
        if len(values) != len(raw.xyz):
            raise source.error(
                f"attribute {name} has {len(values)} rows, there are {len(raw.xyz)} points"
            )
        if name in ("normal", "color") and values.shape != (len(raw.xyz), 3):
            raise source.error(
                f"attribute {name} has shape {values.shape}, expected {(len(raw.xyz), 3)}"
            )


def _finite(raw: Raw, source: Source) -> tuple[Raw, int]:
    """Drop the rows whose coordinates are not finite, and the faces that use them."""
    good = np.asarray(np.isfinite(raw.xyz).all(1))
    if good.all():
        return raw, 0
    dropped, first = int((~good).sum()), int((~good).argmax())
    if not good.any():
        raise source.error(
            f"none of the {len(good)} points has finite coordinates",
            hint="the program that wrote the file failed; export it again",
        )
    source.warn(
        f"{dropped} of {len(good)} points are not finite (the first is row {first});"
        " they are dropped"
    )
    faces = raw.faces
    if faces is not None:
        place = np.cumsum(good) - 1
        faces = place[faces[good[faces].all(1)]]
    attributes = {name: values[good] for name, values in raw.attributes.items()}
    return Raw(raw.xyz[good], attributes, faces, raw.origin, raw.view_point), dropped
