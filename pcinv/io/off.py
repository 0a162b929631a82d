"""OFF, COFF, NOFF and the glued headers of ModelNet40 ('OFF490 518 0')."""

from __future__ import annotations

import re
from typing import BinaryIO

import numpy as np

from pcinv.io.columns import as_color, coordinates
from pcinv.io.faces import fan
from pcinv.io.format import Array, Format, Raw
from pcinv.io.rows import scan_rows
from pcinv.io.source import Source
from pcinv.io.text import write_rows
from pcinv.types import Mesh, PointCloud

_KEYWORD = re.compile(rb"\s*(?:#[^\n]*\n\s*)*(ST)?(C)?(N)?(4)?(n)?OFF(?=[\s\d#])[ \t]*(BINARY)?")


def read_off(source: Source) -> Raw:
    """Read vertices, normals, colours, faces; the keyword may be missing or glued to the counts."""
    text = source.data
    kind = _KEYWORD.match(text)
    if kind and (kind[1] or kind[4] or kind[5] or kind[6]):
        raise source.error(
            "texture, 4D, nD and binary OFF are not supported",
            line=1,
            hint="export it as ascii OFF or PLY",
        )
    start = kind.end() if kind else 0
    rows = scan_rows(source, text[start:], 1 + text.count(b"\n", 0, start))
    if not len(rows) or not 2 <= rows.counts[0] <= 3:
        raise source.error(
            "no line with the numbers of vertices and faces",
            line=1,
            hint="an OFF file begins with OFF and a line like '8 6 0'",
        )
    line = int(rows.lines[0])
    if (
        not (rows.values[:2] == np.floor(rows.values[:2])).all()
        or np.abs(rows.values[:2]).max() > 2**53
    ):
        raise source.error(
            f"'{rows.values[0]:g} {rows.values[1]:g}' are not numbers of vertices and faces",
            line=line,
        )
    vertices, faces = int(rows.values[0]), int(rows.values[1])
    if vertices < 0 or faces < 0:
        raise source.error(f"the header promises {vertices} vertices and {faces} faces", line=line)
    source.check_room(
        vertices * 6 + faces * 4, source.size, f"{vertices} vertices and {faces} faces"
    )
    source.check_count(vertices, "vertices")
    if len(rows) - 1 < vertices + faces:
        raise source.error(
            f"{vertices} vertices and {faces} faces promised, {len(rows) - 1} rows are there",
            byte=source.size,
            hint="the file is cut off; get it again",
        )
    if len(rows) - 1 > vertices + faces:
        source.warn(f"{len(rows) - 1 - vertices - faces} rows behind the last face are ignored")
    if not vertices:
        raise source.error("the file holds no points", line=line)
    raw = _vertices(
        source, rows.part(1, vertices).table(source), bool(kind and kind[2]), bool(kind and kind[3])
    )
    part = rows.part(1 + vertices, faces)
    if not faces:
        return raw
    sizes = part.values[part.starts]
    bad = np.flatnonzero(~((sizes >= 0) & (sizes <= part.counts - 1) & (sizes == np.floor(sizes))))
    if len(bad):
        raise source.error(
            f"face {bad[0]} promises {sizes[bad[0]]:g} corners, the row has"
            f" {part.counts[bad[0]] - 1} numbers more",
            line=int(part.lines[bad[0]]),
        )
    count = sizes.astype(np.int64)
    place = np.repeat(part.starts + 1 - (np.cumsum(count) - count), count) + np.arange(count.sum())
    raw.faces = fan(part.values[place], count, vertices, source, lines=part.lines)
    return raw


def _vertices(source: Source, table: Array, colored: bool, with_normal: bool) -> Raw:
    """Split the vertex rows: x y z, then normals if NOFF, then colours if COFF."""
    need = 3 + 3 * with_normal + 3 * colored
    if table.shape[1] < need:
        raise source.error(f"vertices of {table.shape[1]} numbers, this kind of OFF needs {need}")
    attributes: dict[str, Array] = {}
    at = 3
    if with_normal:
        attributes["normal"] = table[:, 3:6].astype(np.float32)
        at = 6
    if colored:
        color = as_color(table[:, at : at + 3])
        if color is None:
            source.warn("vertex colours outside 0 to 255 are left out")
        else:
            attributes["color"] = color
    elif table.shape[1] > at:
        source.warn(f"{table.shape[1] - at} unnamed numbers of each vertex are left out")
    return Raw(table[:, :3], attributes)


def write_off(stream: BinaryIO, data: PointCloud | Mesh) -> list[str]:
    """Write ascii, NOFF with normals and COFF with colours."""
    columns = list(coordinates(data).T)
    kept = [n for n in ("normal", "color") if n in data.attributes]
    for name in kept:
        columns += list(data.attributes[name].T)
    if "color" in kept:
        columns.append(np.full(len(data), 255, np.uint8))  # alpha
    keyword = ("C" if "color" in kept else "") + ("N" if "normal" in kept else "") + "OFF"
    faces = data.faces if isinstance(data, Mesh) else np.zeros((0, 3), np.int64)
    stream.write(f"{keyword}\n{len(data)} {len(faces)} 0\n".encode("ascii"))
    write_rows(stream, columns)
    write_rows(stream, [np.full(len(faces), 3), *faces.T])
    return [n for n in data.attributes if n not in kept]


FORMATS = [
    Format(
        "off",
        (".off", ".coff", ".noff"),
        read_off,
        lambda s: bool(_KEYWORD.match(s.head)),
        write=write_off,
        writes_meshes=True,
        about="points and meshes, normals and colours",
    ),
]
