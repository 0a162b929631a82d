"""STL, ascii and binary; corners at the same place become one vertex."""

from __future__ import annotations

import re
import struct
from typing import BinaryIO

import numpy as np

from pcinv.io.columns import coordinates
from pcinv.io.format import Array, Format, Raw
from pcinv.io.places import distinct_places
from pcinv.io.rows import scan_rows
from pcinv.io.source import Source
from pcinv.types import Mesh, PointCloud

_HEADER = 84
_TRIANGLE = np.dtype([("normal", "<f4", (3,)), ("corner", "<f4", (3, 3)), ("attribute", "<u2")])
_ASCII = re.compile(rb"\s*solid\b[^\n]*\n\s*(facet|endsolid)\b", re.IGNORECASE)
_WORDS = re.compile(
    rb"^[ \t]*(solid\b[^\n]*|facet\s+normal\b[^\n]*|outer\s+loop|endloop|endfacet|"
    rb"endsolid\b[^\n]*|vertex\b)",
    re.IGNORECASE | re.MULTILINE,
)


def read_stl(source: Source) -> Raw:
    """Read triangles; the vertices are those that differ."""
    corners = (
        _read_ascii(source)
        if _ASCII.match(source.head) and not _fits(source)
        else _read_binary(source)
    )
    if not len(corners):
        raise source.error("the file holds no triangles")
    corners = corners.reshape(-1, 3)
    first, vertex = distinct_places(corners)
    return Raw(corners[first], faces=vertex.reshape(-1, 3))


def _count(source: Source) -> int:
    return int(struct.unpack_from("<I", source.head, 80)[0]) if len(source.head) >= _HEADER else -1


def _fits(source: Source) -> bool:
    """Tell whether the binary count is exactly what the file's size calls for."""
    return _count(source) > 0 and source.size == _HEADER + _count(source) * _TRIANGLE.itemsize


def _read_binary(source: Source) -> Array:
    if source.size < _HEADER:
        raise source.error(
            f"{source.size} bytes are less than the header of a binary STL file ({_HEADER})"
        )
    count = _count(source)
    source.check_room(_HEADER + count * _TRIANGLE.itemsize, source.size, f"{count} triangles")
    source.check_count(count, "triangles")
    if not _fits(source):
        source.warn(
            f"{source.size - _HEADER - count * _TRIANGLE.itemsize} bytes behind the last triangle"
            " are ignored"
        )
    corners: Array = np.frombuffer(source.data, _TRIANGLE, count, _HEADER)["corner"]
    return corners


def _read_ascii(source: Source) -> Array:
    text = source.data
    if not re.search(rb"^\s*endsolid", text[-4096:], re.IGNORECASE | re.MULTILINE):
        raise source.error(
            "no line endsolid at the end",
            byte=source.size,
            hint="the file is cut off; get it again",
        )
    rows = scan_rows(source, _WORDS.sub(b"", text))
    if not len(rows):
        return np.zeros((0, 3))
    table = rows.table(source, 3)
    facets = len(re.findall(rb"^\s*facet\b", text, re.IGNORECASE | re.MULTILINE))
    if len(table) != 3 * facets:
        raise source.error(f"{len(table)} corners for {facets} triangles", line=int(rows.lines[-1]))
    return table


def write_stl(stream: BinaryIO, data: PointCloud | Mesh) -> list[str]:
    """Write binary; float32 is all that the format has."""
    if not isinstance(data, Mesh):
        return []
    triangles = np.zeros(len(data.faces), _TRIANGLE)
    corners = data.vertices[data.faces]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    length = np.linalg.norm(normal, axis=1, keepdims=True)
    triangles["normal"] = np.divide(normal, length, out=np.zeros_like(normal), where=length > 0)
    triangles["corner"] = corners
    stream.write(b"pcinv".ljust(80) + struct.pack("<I", len(triangles)))
    stream.write(triangles.tobytes())
    lost = ["digits beyond float32"] if coordinates(data).dtype == np.float64 else []
    return lost + list(data.attributes)


FORMATS = [
    Format(
        "stl",
        (".stl",),
        read_stl,
        lambda s: _fits(s) or bool(_ASCII.match(s.head)),
        write=write_stl,
        writes_clouds=False,
        writes_meshes=True,
        about="meshes, float32 corners",
    ),
]
