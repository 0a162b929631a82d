"""LAS and LAZ through laspy (extra `las`), after the header is checked against the file's size."""

from __future__ import annotations

import io
import math
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from pcinv import limits
from pcinv.errors import DependencyError
from pcinv.io.columns import COLOR, from_columns, to_columns
from pcinv.io.format import Array, Format, Raw
from pcinv.io.source import Source
from pcinv.types import Mesh, PointCloud

_HEADER_BYTES = 227  # of LAS 1.0 to 1.2, the shortest
_CHILD_BYTES = 2**31
_CHILD_SECONDS = 60.0
_CHILD_BYTES_PER_SECOND = 2**20  # a tenth of what lazrs does on one slow core
_STEPS = 2**30  # of a coordinate's 32-bit integer, with room to spare


def _laspy() -> Any:
    try:
        import laspy
        import lazrs  # noqa: F401  without it laspy cannot unpack LAZ
    except ImportError as error:
        raise DependencyError(
            "LAS and LAZ files need laspy and lazrs, which are not installed",
            where="las",
            hint="pip install 'pcinv[las]'",
        ) from error
    return laspy


def read_las(source: Source) -> Raw:
    """Read all dimensions; coordinates are the file's scaled and shifted integers in float64."""
    packed, unpacked_bytes = _check_header(source)
    laspy = _laspy()
    content = _unpack(source, unpacked_bytes) if packed else source.data
    try:
        las = laspy.read(io.BytesIO(content))
        xyz = {axis: np.asarray(getattr(las, axis), dtype=np.float64) for axis in "xyz"}
        names = [n for n in las.point_format.dimension_names if n not in ("X", "Y", "Z")]
        columns = xyz | {name: np.array(las[name]) for name in names}
    except MemoryError:
        raise
    except Exception as error:  # whatever a damaged file raises inside laspy is the file's fault
        raise source.error(
            f"laspy cannot read it: {type(error).__name__}: {str(error)[:200]}"
        ) from error
    # standard dimensions that were never filled in say nothing
    filled = {name for name, values in columns.items() if values.any()}
    if filled & set(COLOR):
        filled |= set(COLOR)
    used = {n: v for n, v in columns.items() if n in xyz or n in filled}
    raw = from_columns(used, source)
    return raw


def _unpack(source: Source, unpacked_bytes: int) -> bytes:
    """Return a LAZ file as LAS, unpacked by a child process."""
    ceiling = _CHILD_BYTES + 4 * (source.size + unpacked_bytes)
    program = Path(__file__).with_name("unlaz.py")
    try:
        done = subprocess.run(
            [sys.executable, "-P", str(program), str(source.path), str(ceiling)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_CHILD_SECONDS + unpacked_bytes / _CHILD_BYTES_PER_SECOND,
            check=True,
        )
    except subprocess.TimeoutExpired as error:
        raise source.error(f"unpacking it took more than {error.timeout:.0f} s") from error
    except subprocess.CalledProcessError as error:
        lines = error.stderr.decode("utf-8", "replace").split("\n")
        reason = next((line for line in reversed(lines) if "Error" in line), lines[0])
        raise source.error(f"lazrs cannot unpack it: {reason[:200]}") from error
    return done.stdout


def _check_header(source: Source) -> tuple[bool, int]:
    """Check the header against the file's size; return whether it is LAZ, and the points' bytes."""
    head = source.head
    if not head.startswith(b"LASF"):
        raise source.error("no 'LASF' at the start: this is not a LAS file", byte=0)
    if len(head) < _HEADER_BYTES:
        raise source.error(
            f"{source.size} bytes are less than a LAS header ({_HEADER_BYTES})", byte=source.size
        )
    header_size, offset, records = struct.unpack_from("<HII", head, 94)
    kind, length, count = struct.unpack_from("<BHI", head, 104)
    if head[25] >= 4 and len(head) >= 255:
        count = struct.unpack_from("<Q", head, 247)[0] or count
    if header_size < _HEADER_BYTES or offset < header_size or not length:
        raise source.error(
            f"header of {header_size} bytes, points from byte {offset} on, {length} bytes a point",
            byte=94,
        )
    source.check_room(offset, source.size, "a header and its records")
    source.check_room(records * 54, source.size, f"{records} variable length records")
    expanded = limits.MAX_EXPANSION_RATIO if kind & 128 else 1  # bit 7: LAZ
    source.check_room(
        -(-count * length // expanded), source.size - offset, f"{count} points of {length} bytes"
    )
    source.check_count(count, "points")
    if not count:
        raise source.error("the file holds no points", byte=107)
    if head[25] >= 4 and len(head) >= 247:
        start, extended = struct.unpack_from("<QI", head, 235)
        if extended:
            source.check_room(start + extended * 60, source.size, f"{extended} extended records")
    return bool(kind & 128), count * length


def write_las(stream: BinaryIO, data: PointCloud | Mesh) -> list[str]:
    """Write LAS 1.4; coordinates become integers of a billionth of the cloud's size."""
    return _write(stream, data, compress=False)


def write_laz(stream: BinaryIO, data: PointCloud | Mesh) -> list[str]:
    """Write LAZ, the compressed LAS 1.4."""
    return _write(stream, data, compress=True)


def _write(stream: BinaryIO, data: PointCloud | Mesh, compress: bool) -> list[str]:
    laspy = _laspy()
    columns, dropped = to_columns(data)
    xyz = np.stack([columns.pop(axis).astype(np.float64) for axis in "xyz"], axis=1)
    colors = [columns.pop(c) for c in ("red", "green", "blue") if c in columns]
    header = laspy.LasHeader(version="1.4", point_format=7 if colors else 6)
    low, high = xyz.min(0), xyz.max(0)
    header.offsets = low
    size = float((high - low).max())
    header.scales = np.full(3, 10.0 ** math.ceil(math.log10(size / _STEPS)) if size > 0 else 1e-3)
    standard = {n for n in header.point_format.dimension_names if n not in ("X", "Y", "Z")}
    fitting: dict[str, Array] = {}
    for name, values in columns.items():
        if values.ndim != 1 or len(name) > 32 or name.lower() in "xyz":
            dropped.append(name)
        elif name in standard and _fits(header.point_format.dimension_by_name(name), values):
            fitting[name] = values
        elif name in standard:
            dropped.append(name)
        else:
            kind = values.dtype if values.dtype.kind != "b" else np.dtype(np.uint8)
            kind = np.dtype(np.float32) if kind == np.float16 else kind
            header.add_extra_dim(laspy.ExtraBytesParams(name=name, type=kind))
            fitting[name] = values
    las = laspy.LasData(header)
    las.x, las.y, las.z = xyz.T
    for name, values in zip(("red", "green", "blue"), colors, strict=False):
        las[name] = values.astype(np.uint16) * 257  # 16 bits, 255 at full scale
    for name, values in fitting.items():
        las[name] = values
    content = io.BytesIO()  # the compressor hides why a write failed
    with laspy.LasWriter(content, las.header, do_compress=compress, closefd=False) as writer:
        writer.write_points(las.points)
    stream.write(content.getvalue())
    return dropped


def _fits(dimension: Any, values: Array) -> bool:
    if values.dtype.kind == "f" and not np.array_equal(values, np.floor(values)):
        return False
    return bool(values.min(initial=0) >= dimension.min and values.max(initial=0) <= dimension.max)


def _is_las(source: Source) -> bool:
    return source.head.startswith(b"LASF")


FORMATS = [
    Format(
        "las",
        (".las",),
        read_las,
        _is_las,
        magic=True,
        write=write_las,
        about="points, all dimensions, float64 (extra: las)",
    ),
    Format(
        "laz", (".laz",), read_las, None, write=write_laz, about="as las, compressed (extra: las)"
    ),
]
