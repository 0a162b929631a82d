"""Named columns of a file to points and attributes, and back."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from pcinv.io.format import Array, Raw
from pcinv.io.source import Source
from pcinv.types import Mesh, PointCloud

XYZ = ("x", "y", "z")
NORMAL = ("nx", "ny", "nz")
COLOR = ("red", "green", "blue")
_NORMALS = (NORMAL, ("normal_x", "normal_y", "normal_z"), ("normalx", "normaly", "normalz"))
_COLORS = (COLOR, ("r", "g", "b"), ("diffuse_red", "diffuse_green", "diffuse_blue"))
_WHOLE = {"label", "labels", "class", "classification", "instance", "part", "ring", "semantic"}


def from_columns(columns: Mapping[str, Array], source: Source) -> Raw:
    """Gather x, y, z, normals and colours from columns of equal length; keep the rest by name."""
    by_name = {name.lower(): name for name in columns}
    used: set[str] = set()

    def take(names: Sequence[str]) -> Array | None:
        if not all(n in by_name and columns[by_name[n]].ndim == 1 for n in names):
            return None
        used.update(by_name[n] for n in names)
        return np.stack([columns[by_name[n]] for n in names], axis=1)

    xyz = take(XYZ)
    if xyz is None:
        names = ", ".join(list(columns)[:12]) or "none"
        raise source.error(
            f"no columns x, y, z (there are: {names})",
            hint="name the three coordinate columns x, y and z",
        )
    attributes: dict[str, Array] = {}
    normal = next((found for names in _NORMALS if (found := take(names)) is not None), None)
    if normal is not None:
        attributes["normal"] = normal.astype(np.float32)
    for parts in _COLORS:
        found = take(parts)
        if found is not None:
            color = as_color(found)
            if color is None:
                used.difference_update(by_name[n] for n in parts)
            else:
                attributes["color"] = color
            break
    for name, values in columns.items():
        if name not in used and name not in attributes:
            attributes[name] = np.ascontiguousarray(
                values.astype(values.dtype.newbyteorder("="), copy=False)
            )
    return Raw(xyz, attributes)


def as_color(values: Array) -> NDArray[np.uint8] | None:
    """Return (N, 3) colours as bytes, from bytes, 16 bits or floats in [0, 1]; else None."""
    if values.dtype == np.uint8:
        return np.ascontiguousarray(values)
    if not len(values) or not np.isfinite(values).all() or values.min() < 0:
        return None
    top, whole = values.max(), bool((values == np.floor(values)).all())
    if values.dtype.kind == "f" and top <= 1 and not (whole and top == 0):
        return np.round(values * 255).astype(np.uint8)
    if whole and top <= 255:
        return values.astype(np.uint8)
    if values.dtype == np.uint16:
        return (values >> 8).astype(np.uint8)
    return None


def from_table(table: Array, source: Source, names: Sequence[str] | None = None) -> Raw:
    """Turn an (N, C) table into points; without `names` the columns are known by their values."""
    if table.shape[1] < 3:
        raise source.error(f"rows of {table.shape[1]} numbers, at least x, y, z needed")
    columns = dict(zip(names or guess_names(table), table.T, strict=True))
    if names is not None and len(columns) != len(names):
        raise source.error("two columns have the same name", hint="name each column differently")
    for name, values in columns.items():
        columns[name] = _natural_type(name, values)
    return from_columns(columns, source)


def guess_names(table: Array) -> list[str]:
    """Name the columns of an (N, C) table: x y z, then unit normals or colours by their values."""
    rest = table.shape[1] - 3
    names = [f"column_{k + 1}" for k in range(3, table.shape[1])]
    if rest >= 3 and is_normal(table[:, 3:6]):
        names[:3] = NORMAL
    elif rest >= 3 and _is_color(table[:, 3:6]):
        names[:3] = COLOR
    elif rest == 4 and _is_color(table[:, 4:7]):  # the order of .pts files
        names = ["intensity", *COLOR]
    if rest == 4 and names[0] in (NORMAL[0], COLOR[0]) and _is_whole(table[:, 6]):
        names[3] = "label"
    return [*XYZ, *names]


def is_normal(vectors: Array) -> bool:
    """Tell whether vectors have unit length within 1e-3: nine in ten, and none longer.

    Data sets write a missing normal as 0 0 0, and an averaged one is shorter than 1 (ShapeNetPart:
    up to 6 % of the points).
    """
    with np.errstate(all="ignore"):
        length = np.linalg.norm(vectors.astype(np.float64), axis=1)
    length = length[length != 0]
    if not len(length) * 2 >= len(vectors) > 0 or not length.max() <= 1 + 1e-3:
        return False
    return bool((length >= 1 - 1e-3).mean() >= 0.9)


def _is_color(values: Array) -> bool:
    return (
        _is_whole(values) and bool(values.max(initial=0) <= 255) and bool(values.max(initial=0) > 1)
    )


def _is_whole(values: Array) -> bool:
    return bool(
        np.isfinite(values).all() and (values == np.floor(values)).all() and (values >= 0).all()
    )


def _natural_type(name: str, values: Array) -> Array:
    """Give a column of text or of a float table the type that its name and values call for."""
    if name.lower() in _WHOLE and _is_whole(values) and values.max(initial=0) < 2**53:
        return values.astype(np.int64)
    return values


def coordinates(data: PointCloud | Mesh) -> Array:
    """Return (N, 3) absolute coordinates, as float32 where that keeps every bit, else float64."""
    if isinstance(data, PointCloud):
        return data.xyz if not data.origin.any() else data.absolute()
    with np.errstate(over="ignore"):
        single = data.vertices.astype(np.float32)
    return single if np.array_equal(single, data.vertices) else data.vertices


def to_columns(data: PointCloud | Mesh) -> tuple[dict[str, Array], list[str]]:
    """Return x, y, z, normals, colours and the other attributes by name, and what cannot be named.

    Attributes of more than one column stay (N, C).
    """
    columns = dict(zip(XYZ, coordinates(data).T, strict=True))
    dropped = []
    for name, values in data.attributes.items():
        named = {"normal": NORMAL, "color": COLOR}.get(name)
        if named:
            columns.update(zip(named, values.T, strict=True))
            continue
        plain = re.sub(r"[^\w.:\-]", "_", name, flags=re.ASCII)
        if (
            values.dtype.kind not in "biuf"
            or values.ndim not in (1, 2)
            or not plain
            or plain.lower() in {n.lower() for n in columns}
            or plain.lower() in {*XYZ, *NORMAL, *COLOR, "rgb", "rgba", "_"}
        ):
            dropped.append(name)
        else:
            columns[plain] = values
    return columns, dropped


def narrowed(values: Array, kinds: Sequence[str]) -> Array | None:
    """Return `values` in their own type if `kinds` has it, else in the first that keeps all."""
    if values.dtype.newbyteorder("=").str[1:] in kinds:
        return values
    for kind in kinds:
        with np.errstate(all="ignore"):
            other = values.astype(kind)
            back = other.astype(values.dtype)
        if np.array_equal(back, values, equal_nan=values.dtype.kind == "f"):
            return other
    return None
