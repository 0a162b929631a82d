"""Wavefront OBJ: vertices and faces; materials and textures are not opened."""

from __future__ import annotations

import re
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from pcinv.io.columns import as_color, coordinates
from pcinv.io.faces import fan
from pcinv.io.format import Format, Raw
from pcinv.io.rows import Rows, scan_rows
from pcinv.io.source import Source
from pcinv.io.text import write_rows
from pcinv.types import Mesh, PointCloud

_KNOWN = re.compile(
    rb"(v|vt|vn|vp|f|l|p|o|g|s|usemtl|mtllib|usemap|maplib|cstype|deg|surf|curv2?|parm|end|mg|bevel|lod|c_interp|"
    rb"d_interp|shadow_obj|trace_obj|call|csh|trim|hole|scrv|sp|con|bmat|step|stech|ctech)(\s|$)"
)
_VERTEX = re.compile(rb"^[ \t]*v[ \t]", re.MULTILINE)


def read_obj(source: Source) -> Raw:
    """Read v, vn and f; negative indices count back from the last vertex before the face."""
    text = source.data.replace(b"\r\n", b"\n").replace(b"\\\n", b" ")
    lines = [line.strip() for line in text.split(b"\n")]
    for number, line in enumerate(lines, 1):
        if line and line[0] != 35 and not _KNOWN.match(line):  # 35 is #
            raise source.error(
                f"unknown line '{line[:40].decode('utf-8', 'replace')}'",
                line=number,
                hint="lines of an OBJ file begin with v, vn, vt, f, ...",
            )
    vertices = scan_rows(source, _only(lines, b"v"))
    if not len(vertices):
        raise source.error("no line begins with v: the file holds no points")
    table = vertices.table(source)
    if table.shape[1] < 3:
        raise source.error(f"vertices of {table.shape[1]} numbers", line=int(vertices.lines[0]))
    raw = Raw(table[:, :3])
    color = as_color(table[:, 3:6]) if table.shape[1] == 6 else None
    if color is not None:
        raw.attributes["color"] = color
    listed = _only(lines, b"f")
    faces = scan_rows(source, re.sub(rb"/[^ \t\n]*", b"", listed))
    if len(faces):
        raw.faces = fan(
            _corners(source, faces, vertices.lines),
            faces.counts,
            len(table),
            source,
            lines=faces.lines,
            base=1,
        )
    normals = scan_rows(source, _only(lines, b"vn"))
    if len(normals) == len(table) and _is_shared(source, listed, faces):
        raw.attributes["normal"] = normals.table(source, 3).astype(np.float32)
    return raw


def _only(lines: list[bytes], mark: bytes) -> bytes:
    """Return the text with all other lines blank, so that lines keep their numbers."""
    marks = (mark + b" ", mark + b"\t")
    skip = len(mark)
    return b"\n".join([line[skip:] if line.startswith(marks) else b"" for line in lines])


def _corners(source: Source, faces: Rows, vertex_lines: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return indices from 0; negative ones count back from the vertices before the face."""
    if (faces.values == 0).any():
        row = int(
            np.searchsorted(np.cumsum(faces.counts), (faces.values == 0).argmax(), side="right")
        )
        raise source.error("vertex index 0; OBJ counts from 1", line=int(faces.lines[row]))
    before = np.repeat(np.searchsorted(vertex_lines, faces.lines), faces.counts)
    return np.where(faces.values > 0, faces.values - 1, faces.values + before)


def _is_shared(source: Source, listed: bytes, faces: Rows) -> bool:
    """Tell whether each corner uses the normal of its vertex's number."""
    if not len(faces):
        return True
    last = re.sub(rb"[^ \t\n/]+/[^ \t\n/]*/", b"", listed)
    return b"/" not in last and np.array_equal(scan_rows(source, last).values, faces.values)


def write_obj(stream: BinaryIO, data: PointCloud | Mesh) -> list[str]:
    """Write vertices, their normals and faces."""
    write_rows(stream, list(coordinates(data).T), row="v %s %s %s")
    normal = data.attributes.get("normal")
    if normal is not None:
        write_rows(stream, list(normal.T), row="vn %s %s %s")
    if isinstance(data, Mesh):
        first, second, third = (data.faces + 1).T
        if normal is None:
            write_rows(stream, [first, second, third], row="f %s %s %s")
        else:
            write_rows(
                stream, [first, first, second, second, third, third], row="f %s//%s %s//%s %s//%s"
            )
    return [name for name in data.attributes if name != "normal"]


FORMATS = [
    Format(
        "obj",
        (".obj",),
        read_obj,
        lambda s: b"\0" not in s.head and bool(_VERTEX.search(s.head)),
        write=write_obj,
        writes_clouds=False,
        writes_meshes=True,
        about="meshes; materials and textures are not read",
    ),
]
