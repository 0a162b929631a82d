"""PLY: ascii and binary of both byte orders, points and polygons (Turk, 1994)."""

from __future__ import annotations

from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from pcinv.io.columns import from_columns, narrowed, to_columns
from pcinv.io.faces import fan
from pcinv.io.format import Array, Format, Raw
from pcinv.io.ply_header import NAMES, VECTOR, Element, Header, Property, read_header
from pcinv.io.rows import Rows, scan_rows
from pcinv.io.source import Source
from pcinv.types import Mesh, PointCloud

_CORNERS = ("vertex_indices", "vertex_index")


def read_ply(source: Source) -> Raw:
    """Read the vertices with all their properties, and the faces as triangles."""
    header = read_header(source)
    least = sum(e.count * e.least_bytes(header.ascii) for e in header.elements)
    room = source.size - header.body + header.ascii  # the last separator may be missing
    promised = " and ".join(f"{e.count} elements '{e.name}'" for e in header.elements)
    source.check_room(least, room, promised)
    for element in header.elements:
        source.check_count(element.count, f"elements '{element.name}'")
    columns, corners = (_read_ascii if header.ascii else _read_binary)(source, header)
    for name, width in header.vectors.items():
        parts = [f"{name}_{k}" for k in range(min(width, len(columns)))]
        if width == len(parts) > 0 and all(p in columns for p in parts):
            columns[name] = np.stack([columns.pop(p) for p in parts], axis=1)
    raw = from_columns(columns, source)
    if corners is not None:
        raw.faces = fan(*corners, len(raw.xyz), source)
    return raw


_Corners = tuple[Array, Array]  # all vertex indices, and the number of them in each face


def _corner_list(element: Element) -> str | None:
    """Return the name of the list that holds the corners of the faces."""
    if element.name != "face":
        return None
    return next((p.name for p in element.properties if p.name in _CORNERS and p.count_type), None)


def _no_lists(element: Element, source: Source) -> None:
    if element.name == "vertex" and any(p.count_type for p in element.properties):
        raise source.error(
            "the vertices have a list property", hint="export the vertices with plain properties"
        )


def _read_binary(source: Source, header: Header) -> tuple[dict[str, Array], _Corners | None]:
    at, columns, corners = header.body, {}, None
    for element in header.elements:
        _no_lists(element, source)
        if any(p.count_type for p in element.properties):
            found, at = _binary_lists(source, element, at)
            corners = found or corners
            continue
        kind = np.dtype([(p.name, p.type) for p in element.properties])
        source.check_room(
            element.count * kind.itemsize,
            source.size - at,
            f"{element.count} {element.name} of {kind.itemsize} bytes from byte {at} on",
        )
        rows = np.frombuffer(source.data, kind, element.count, at)
        at += element.count * kind.itemsize
        if element.name == "vertex":
            columns = {p.name: rows[p.name] for p in element.properties}
    if at < source.size:
        source.warn(f"{source.size - at} bytes behind the last element are ignored")
    return columns, corners


def _binary_lists(source: Source, element: Element, at: int) -> tuple[_Corners | None, int]:
    """Read a binary element with lists from byte `at`: its corners, and where it ends."""
    wanted = _corner_list(element)
    if not element.count:
        return None, at
    _, second, first = _walk(source, element, at, 1)
    lengths = [first[p.name][0] if p.count_type else 0 for p in element.properties]
    if (
        second - at < 2**16 and at + element.count * (second - at) <= source.size
    ):  # mostly all rows are alike
        kind = _row_type(element, lengths)
        rows = np.frombuffer(source.data, kind, element.count, at)
        if all(
            (rows[f"{p.name} count"] == n).all()
            for p, n in zip(element.properties, lengths, strict=True)
            if p.count_type
        ):
            found = None
            if wanted:
                listed = rows[wanted].reshape(element.count, -1)
                found = listed.reshape(-1), np.full(element.count, listed.shape[1])
            return found, at + element.count * kind.itemsize
    places, end, counts = _walk(source, element, at, element.count)
    if not wanted:
        return None, end
    item = next(p.type for p in element.properties if p.name == wanted)
    sizes = np.array(counts[wanted])
    start = np.repeat(np.array(places) - (np.cumsum(sizes) - sizes) * item.itemsize, sizes)
    bytes_at = (start + np.arange(len(start)) * item.itemsize)[:, None] + np.arange(item.itemsize)
    values = np.frombuffer(source.data, np.uint8)[bytes_at].reshape(-1).view(item)
    return (values, sizes), end


def _row_type(element: Element, lengths: list[int]) -> np.dtype[np.void]:
    parts: list[
        tuple[str, np.dtype[np.generic]] | tuple[str, np.dtype[np.generic], tuple[int]]
    ] = []
    for p, length in zip(element.properties, lengths, strict=True):
        if p.count_type:
            parts += [(f"{p.name} count", p.count_type), (p.name, p.type, (length,))]
        else:
            parts.append((p.name, p.type))
    return np.dtype(parts)


def _walk(
    source: Source, element: Element, at: int, rows: int
) -> tuple[list[int], int, dict[str, list[int]]]:
    """Step through rows with lists: where corner lists begin, where all ends, the lengths."""
    wanted = _corner_list(element)
    places: list[int] = []
    counts: dict[str, list[int]] = {p.name: [] for p in element.properties if p.count_type}
    steps = [
        (
            p.name,
            p.count_type.itemsize if p.count_type else 0,
            p.type.itemsize,
            bool(p.count_type and p.count_type.kind == "i"),
            "big" if p.count_type and p.count_type.str[0] == ">" else "little",
        )
        for p in element.properties
    ]
    data, size = source.data, source.size
    for row in range(rows):
        for name, head, item, signed, order in steps:
            length = 1
            if head:
                length = int.from_bytes(
                    data[at : at + head], "little" if order == "little" else "big", signed=signed
                )
                counts[name].append(length)
                at += head
                if name == wanted:
                    places.append(at)
            at += length * item
            if length < 0 or at > size:
                raise source.error(
                    f"{element.name} {row} of {element.count} is cut off: {length} values '{name}'",
                    byte=min(at, size),
                )
    return places, at, counts


def _read_ascii(source: Source, header: Header) -> tuple[dict[str, Array], _Corners | None]:
    rows = scan_rows(source, source.data[header.body :], header.body_line)
    at, columns, corners = 0, {}, None
    for element in header.elements:
        _no_lists(element, source)
        part = rows.part(at, element.count)
        if len(part) < element.count:
            raise source.error(
                f"{element.count} rows of '{element.name}' promised, {len(part)} are there",
                byte=source.size,
                hint="the file is cut off; get it again",
            )
        at += element.count
        if element.name == "vertex" and element.count:
            table = part.table(source, len(element.properties))
            columns = {
                p.name: _typed(source, table[:, k], p, part)
                for k, p in enumerate(element.properties)
            }
        elif _corner_list(element) and element.count:
            corners = _ascii_corners(source, element, part)
    if at < len(rows):
        source.warn(f"{len(rows) - at} rows behind the last element are ignored")
    return columns, corners


def _typed(source: Source, values: NDArray[np.float64], prop: Property, rows: Rows) -> Array:
    kind = prop.type.newbyteorder("=")
    if kind.kind == "f":
        with np.errstate(over="ignore"):
            return values.astype(kind)
    span = np.iinfo(kind.str[1:])
    bad = np.flatnonzero(
        ~((values >= span.min) & (values <= span.max) & (values == np.floor(values)))
    )
    if len(bad):
        raise source.error(
            f"{values[bad[0]]:g} is not a {NAMES[kind.str[1:]]} ('{prop.name}')",
            line=int(rows.lines[bad[0]]),
        )
    return values.astype(kind)


def _ascii_corners(source: Source, element: Element, rows: Rows) -> _Corners:
    """Return the corner list of each row; lists before it are stepped over."""
    at = rows.starts.copy()
    ends = at + rows.counts
    for prop in element.properties:
        if not prop.count_type:
            at += 1
            continue
        short = np.flatnonzero(at >= ends)
        length = rows.values[np.minimum(at, len(rows.values) - 1)]
        bad = np.flatnonzero(~((length >= 0) & (length <= ends - at - 1)))
        if len(short) or len(bad):
            row = int(np.concatenate([short, bad]).min())
            raise source.error(
                f"{element.name} {row}: {rows.counts[row]} numbers, its list needs more",
                line=int(rows.lines[row]),
            )
        sizes = length.astype(np.int64)
        if prop.name in _CORNERS:
            place = np.repeat(at + 1 - (np.cumsum(sizes) - sizes), sizes) + np.arange(sizes.sum())
            return rows.values[place], sizes
        at += 1 + sizes
    return np.zeros(0), np.zeros(0, np.int64)


def write_ply(stream: BinaryIO, data: PointCloud | Mesh) -> list[str]:
    """Write binary little-endian; coordinates are double where float32 would lose digits."""
    columns, dropped = to_columns(data)
    parts: list[tuple[str, str]] = []
    filled: dict[str, Array] = {}
    notes = []
    for name, values in columns.items():
        plain = narrowed(values, list(NAMES))
        if plain is None:
            dropped.append(name)
            continue
        kind = "<" + plain.dtype.newbyteorder("=").str[1:]
        if plain.ndim == 1:
            filled[name] = plain
            parts.append((name, kind))
            continue
        notes.append(f"{VECTOR} {name} {plain.shape[1]}\n")
        for k in range(plain.shape[1]):
            filled[f"{name}_{k}"] = plain[:, k]
            parts.append((f"{name}_{k}", kind))
    if len({name for name, _ in parts}) != len(parts):
        repeated = {name for name, _ in parts if [n for n, _ in parts].count(name) > 1}
        dropped += sorted(repeated)
        parts = [(name, kind) for name, kind in parts if name not in repeated]
    rows = np.zeros(len(data), dtype=parts)
    for name, _ in parts:
        rows[name] = filled[name]
    lines = "".join(f"property {NAMES[kind[1:]]} {name}\n" for name, kind in parts)
    text = (
        f"ply\nformat binary_little_endian 1.0\n{''.join(notes)}element vertex {len(data)}\n{lines}"
    )
    if isinstance(data, Mesh):
        text += f"element face {len(data.faces)}\nproperty list uchar int vertex_indices\n"
    stream.write((text + "end_header\n").encode("ascii"))
    stream.write(rows.tobytes())
    if isinstance(data, Mesh):
        triangles = np.zeros(len(data.faces), dtype=[("count", "u1"), ("corner", "<i4", (3,))])
        triangles["count"] = 3
        triangles["corner"] = data.faces
        stream.write(triangles.tobytes())
    return dropped


FORMATS = [
    Format(
        "ply",
        (".ply",),
        read_ply,
        lambda s: s.head.startswith((b"ply\n", b"ply\r", b"ply ")),
        magic=True,
        write=write_ply,
        writes_meshes=True,
        about="points and meshes, all attributes, float64",
    ),
]
