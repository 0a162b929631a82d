"""PCD 0.7 of the Point Cloud Library: ascii, binary and binary_compressed.

`VIEWPOINT tx ty tz qw qx qy qz` is read as the library's own algorithms use it (normals are turned
towards it): the place of the sensor in the frame that the points are stored in, and how the sensor
was turned there. The points are not moved by it, as no reader does, the library's and Open3D's
included. PCLVisualizer and CloudCompare do move them, as if they were stored in the sensor's frame;
files made for that have the sensor at 0 0 0, and nothing in a file tells which was meant. So a
place with an orientation is kept with a warning.
Sources: PCL documentation, `pcl::PointCloud::sensor_origin_`, `pcl::NormalEstimation`.
"""

from __future__ import annotations

import struct
from typing import BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pcinv import limits
from pcinv.io.columns import COLOR, from_columns, narrowed, to_columns
from pcinv.io.format import Array, Format, Raw
from pcinv.io.lzf import decompress_lzf
from pcinv.io.rows import scan_rows
from pcinv.io.source import Source
from pcinv.types import Mesh, PointCloud

_KINDS = {
    "F": {4: "<f4", 8: "<f8"},
    "I": {1: "<i1", 2: "<i2", 4: "<i4", 8: "<i8"},
    "U": {1: "<u1", 2: "<u2", 4: "<u4", 8: "<u8"},
}
_KEYS = (
    "VERSION",
    "FIELDS",
    "SIZE",
    "TYPE",
    "COUNT",
    "WIDTH",
    "HEIGHT",
    "VIEWPOINT",
    "POINTS",
    "DATA",
)
_PACKED = ("rgb", "rgba")
_LINES = 64  # of a header, with room for comments
_UNKNOWN = "0 0 0 1 0 0 0"  # VIEWPOINT of all who do not know it
_NO_TURN = 1e-6  # sine of half an angle


class _Field(NamedTuple):
    name: str
    type: np.dtype[np.generic]
    width: int


class _Header(NamedTuple):
    fields: list[_Field]
    points: int
    data: str
    body: int
    body_line: int
    view_point: NDArray[np.float64] | None


def read_pcd(source: Source) -> Raw:
    """Read all fields; a packed `rgb` becomes `color`."""
    header = _read_header(source)
    row_bytes = sum(f.type.itemsize * f.width for f in header.fields)
    room = source.size - header.body
    if header.data == "ascii":
        source.check_room(
            header.points * 2 * sum(f.width for f in header.fields),
            room + 1,
            f"{header.points} points",
        )
        source.check_count(header.points, "points")
        columns = _read_ascii(source, header)
    elif header.data == "binary":
        source.check_room(
            header.points * row_bytes, room, f"{header.points} points of {row_bytes} bytes"
        )
        source.check_count(header.points, "points")
        columns = _read_binary(source, header, row_bytes)
    else:
        columns = _read_compressed(source, header, row_bytes)
    for name in [n for n in columns if n.lower() in _PACKED and columns[n].ndim == 1]:
        packed = columns[name]
        if packed.dtype.itemsize == 4:
            columns.pop(name)
            columns.update(_unpack(np.ascontiguousarray(packed), name.lower()))
    raw = from_columns(columns, source)
    raw.view_point = header.view_point
    return raw


def _read_header(source: Source) -> _Header:
    text = source.data[: limits.MAX_HEADER_BYTES]
    found: dict[str, list[str]] = {}
    at = line = 0
    while "DATA" not in found:
        stop = text.find(b"\n", at)
        line += 1
        if stop < 0 or line > _LINES:
            raise source.error("no line DATA: this is not a complete PCD header", line=line)
        words = text[at:stop].decode("latin-1").split()
        at = stop + 1
        if not words or words[0].startswith("#"):
            continue
        if words[0].upper() not in _KEYS:
            raise source.error(f"unknown header line '{' '.join(words)[:60]}'", line=line)
        found[words[0].upper()] = words[1:]
    try:
        names = found["FIELDS"]
        sizes, kinds = [int(s) for s in found["SIZE"]], found["TYPE"]
        counts = [int(c) for c in found.get("COUNT", ["1"] * len(names))]
        types = [np.dtype(_KINDS[k.upper()][s]) for k, s in zip(kinds, sizes, strict=True)]
        area = int(found["WIDTH"][0]) * int(found["HEIGHT"][0]) if "WIDTH" in found else None
        points = int(found["POINTS"][0]) if "POINTS" in found else area
        data = found["DATA"][0].lower()
        fields = [_Field(*f) for f in zip(names, types, counts, strict=True)]
    except (KeyError, IndexError, ValueError) as error:
        raise source.error(
            f"the PCD header is not consistent: {error}",
            line=line,
            hint="FIELDS, SIZE, TYPE and COUNT need one entry for each field",
        ) from error
    if points is None or points < 0 or (area is not None and area != points):
        raise source.error(
            f"the header promises {points} points, WIDTH x HEIGHT is {area}", line=line
        )
    if data not in ("ascii", "binary", "binary_compressed"):
        raise source.error(
            f"unknown DATA '{data}'", line=line, hint="ascii, binary or binary_compressed"
        )
    if any(f.width < 1 for f in fields):
        raise source.error("a COUNT below 1", line=line)
    if any(f.width > limits.MAX_HEADER_BYTES for f in fields):
        raise source.error(f"a COUNT of {max(f.width for f in fields)}", line=line)
    view_point = _view_point(found.get("VIEWPOINT", _UNKNOWN.split()), source)
    return _Header(fields, points, data, at, line + 1, view_point)


def _view_point(words: list[str], source: Source) -> NDArray[np.float64] | None:
    """Return the (3,) place of the sensor, or None for the default, which says nothing.

    A line that is none does not keep the points from being read.
    """
    try:
        numbers = np.array([float(word) for word in words])
    except ValueError:
        numbers = np.full(1, np.nan)
    if numbers.shape != (7,) or not np.isfinite(numbers).all():
        source.warn(f"VIEWPOINT {' '.join(words)[:60]}: seven numbers expected; it is not used")
        return None
    place, turn = numbers[:3], numbers[3:]
    if not place.any() and not turn[1:].any() and turn[0] >= 0:
        return None
    if np.linalg.norm(turn[1:]) > _NO_TURN * np.linalg.norm(turn):
        source.warn(
            "VIEWPOINT has an orientation; the points are taken as they stand, and seen from"
            f" {place[0]:g} {place[1]:g} {place[2]:g}"
        )
    return place


def _named(header: _Header, source: Source, parts: list[Array]) -> dict[str, Array]:
    """Name the (N, count) parts; padding fields are called '_'."""
    columns: dict[str, Array] = {}
    for field, values in zip(header.fields, parts, strict=True):
        if field.name == "_":
            continue
        if field.name in columns:
            raise source.error(f"two fields are called '{field.name}'")
        columns[field.name] = values[:, 0] if field.width == 1 else values
    return columns


def _read_ascii(source: Source, header: _Header) -> dict[str, Array]:
    rows = scan_rows(source, source.data[header.body :], header.body_line)
    if len(rows) < header.points:
        raise source.error(
            f"{header.points} points promised, {len(rows)} rows are there",
            byte=source.size,
            hint="the file is cut off; get it again",
        )
    if len(rows) > header.points:
        source.warn(f"{len(rows) - header.points} rows behind the last point are ignored")
    table = rows.part(0, header.points).table(source, sum(f.width for f in header.fields))
    parts, at = [], 0
    for field in header.fields:
        values = table[:, at : at + field.width]
        at += field.width
        kind = field.type.newbyteorder("=")
        with np.errstate(all="ignore"):
            if (
                field.name.lower() in _PACKED
                and kind == np.float32
                and _whole(values)
                and values.max() > 1
            ):
                kind = np.dtype(np.uint32)  # written as the integer it stands for
            typed = values.astype(kind)
        if kind.kind != "f" and not np.array_equal(typed, values):
            row = int((typed != values).any(1).argmax())
            raise source.error(
                f"{values[row]} is not of type {kind} ('{field.name}')", line=int(rows.lines[row])
            )
        parts.append(typed)
    return _named(header, source, parts)


def _whole(values: NDArray[np.float64]) -> bool:
    return bool(((values >= 0) & (values < 2**32) & (values == np.floor(values))).all())


def _read_binary(source: Source, header: _Header, row_bytes: int) -> dict[str, Array]:
    kind = np.dtype([(f"{k}", f.type, (f.width,)) for k, f in enumerate(header.fields)])
    rows = np.frombuffer(source.data, kind, header.points, header.body)
    extra = source.size - header.body - header.points * row_bytes
    if extra:
        source.warn(f"{extra} bytes behind the last point are ignored")
    return _named(header, source, [rows[f"{k}"] for k in range(len(header.fields))])


def _read_compressed(source: Source, header: _Header, row_bytes: int) -> dict[str, Array]:
    source.check_room(8, source.size - header.body, "two sizes of a compressed body")
    stored, plain = struct.unpack_from("<II", source.data, header.body)
    source.check_room(stored, source.size - header.body - 8, f"a compressed body of {stored} bytes")
    if plain != header.points * row_bytes:
        raise source.error(
            f"the body unpacks to {plain} bytes, not {header.points} points of {row_bytes} bytes",
            byte=header.body,
        )
    if plain > limits.MAX_EXPANSION_RATIO * stored:
        raise source.error(
            f"{stored} bytes claim to unpack to {plain}, more than MAX_EXPANSION_RATIO ="
            f" {limits.MAX_EXPANSION_RATIO} times",
            byte=header.body,
        )
    source.check_count(header.points, "points")
    start = header.body + 8
    try:
        body = decompress_lzf(source.data[start : start + stored], plain)
    except ValueError as error:
        raise source.error(f"the compressed body is damaged: {error}", byte=start) from error
    if start + stored < source.size:
        source.warn(f"{source.size - start - stored} bytes behind the last point are ignored")
    parts, at = [], 0
    for field in header.fields:  # one field after the other
        parts.append(
            np.frombuffer(body, field.type, header.points * field.width, at).reshape(
                -1, field.width
            )
        )
        at += header.points * field.width * field.type.itemsize
    return _named(header, source, parts)


def _unpack(packed: Array, name: str) -> dict[str, Array]:
    if packed.dtype == np.float32:
        packed = packed.view(np.uint32)
    bits = packed.astype(np.uint32)
    shifts = dict(zip(COLOR, (16, 8, 0), strict=True)) | ({"alpha": 24} if name == "rgba" else {})
    return {part: ((bits >> shift) & 255).astype(np.uint8) for part, shift in shifts.items()}


def write_pcd(stream: BinaryIO, data: PointCloud | Mesh) -> list[str]:
    """Write binary; doubles where float32 would lose digits, colours as a packed `rgb`.

    The view point is written without an orientation.
    """
    columns, dropped = to_columns(data)
    if all(c in columns for c in COLOR):
        red, green, blue = (columns.pop(c).astype(np.uint32) for c in COLOR)
        columns["rgb"] = red << 16 | green << 8 | blue
    for plain, own in zip(("nx", "ny", "nz"), ("normal_x", "normal_y", "normal_z"), strict=True):
        if plain in columns:
            columns[own] = columns.pop(plain)
    known = [kind[1:] for sizes in _KINDS.values() for kind in sizes.values()]
    typed = {name: narrowed(values, known) for name, values in columns.items()}
    dropped += [name for name, values in typed.items() if values is None]
    kept = {
        name: values.reshape(len(data), -1) for name, values in typed.items() if values is not None
    }
    rows = np.zeros(
        len(data), dtype=[(n, v.dtype.newbyteorder("<"), (v.shape[1],)) for n, v in kept.items()]
    )
    for name, values in kept.items():
        rows[name] = values

    def line(key: str, words: list[str]) -> str:
        return f"{key} {' '.join(words)}\n"

    types = [v.dtype for v in kept.values()]
    head = (
        "# .PCD v0.7 - Point Cloud Data file format\n"
        + line("VERSION", ["0.7"])
        + line("FIELDS", list(kept))
    )
    head += line("SIZE", [str(t.itemsize) for t in types]) + line(
        "TYPE", [t.kind.upper() for t in types]
    )
    head += line("COUNT", [str(v.shape[1]) for v in kept.values()]) + line(
        "WIDTH", [str(len(data))]
    )
    head += (
        "HEIGHT 1\n"
        + line("VIEWPOINT", [_view_point_words(data)])
        + line("POINTS", [str(len(data))])
        + "DATA binary\n"
    )
    stream.write(head.encode("ascii"))
    stream.write(rows.tobytes())
    return dropped


def _view_point_words(data: PointCloud | Mesh) -> str:
    place = data.view_point if isinstance(data, PointCloud) else None
    if place is None:
        return _UNKNOWN
    # the quaternion -1 turns nothing, as 1 does; with it a sensor at the origin is no default
    turn = "1 0 0 0" if place.any() else "-1 0 0 0"
    return " ".join([*(repr(float(value)) for value in place), turn])


def _is_pcd(source: Source) -> bool:
    head = source.head.lstrip()
    return head.startswith((b"# .PCD", b"VERSION ")) or (
        b"\nFIELDS " in head and b"\nDATA " in head
    )


FORMATS = [
    Format(
        "pcd",
        (".pcd",),
        read_pcd,
        _is_pcd,
        magic=True,
        write=write_pcd,
        keeps_view_point=True,
        about="points, all attributes, float64",
    ),
]
