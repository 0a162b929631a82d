"""npy and npz: nothing is unpickled, and sizes are checked before they are believed."""

from __future__ import annotations

import ast
import math
import struct
import zipfile
import zlib
from typing import BinaryIO

import numpy as np

from pcinv import limits
from pcinv.io.columns import coordinates, from_columns, from_table
from pcinv.io.format import Array, Format, Raw
from pcinv.io.source import Source
from pcinv.types import Mesh, PointCloud

_MAGIC = b"\x93NUMPY"
_POINT_KEYS = ("xyz", "points", "pos", "positions", "coords", "vertices", "data")
_ALIASES = {"normals": "normal", "colors": "color", "labels": "label"}
_MAX_MEMBERS = 1_000
_SMALL_BYTES = 2**26
"""Members below this may expand without limit: a constant label compresses very well."""


def parse_npy(source: Source, data: bytes, member: str = "") -> Array:
    """Return the array of an npy stream as a view of `data`.

    Raises
    ------
    FileFormatError : no npy, a header that promises more than `data` holds, or Python objects.
    """
    name = f"{member}: " if member else ""
    if not data.startswith(_MAGIC) or len(data) < 10:
        raise source.error(f"{name}not an npy array")
    wide = data[6] >= 2
    start = 12 if wide else 10
    length = int.from_bytes(data[8:start], "little")
    if length > limits.MAX_HEADER_BYTES or start + length > len(data):
        raise source.error(f"{name}the header of {length} bytes is cut off or too long", byte=8)
    try:
        header = ast.literal_eval(
            data[start : start + length].decode("utf-8" if data[6] >= 3 else "latin-1").strip()
        )
        kind, shape, fortran = np.dtype(header["descr"]), header["shape"], header["fortran_order"]
    except (
        ValueError,
        SyntaxError,
        TypeError,
        KeyError,
        MemoryError,
        RecursionError,
        OverflowError,
    ) as error:
        raise source.error(
            f"{name}the header cannot be understood: {type(error).__name__}", byte=start
        ) from error
    if kind.hasobject:
        raise source.error(
            f"{name}an array of Python objects; nothing is unpickled",
            hint="save plain numbers: np.save(path, np.asarray(xyz, dtype='float32'))",
        )
    if (
        not isinstance(shape, tuple)
        or not all(type(n) is int and n >= 0 for n in shape)
        or not kind.itemsize
    ):
        raise source.error(f"{name}the header has shape {shape!r} and type {kind}", byte=start)
    body = start + length
    needed = math.prod(shape) * kind.itemsize
    source.check_room(needed, len(data) - body, f"{name}an array {shape} of {kind}")
    if needed < len(data) - body:
        source.warn(f"{name}{len(data) - body - needed} bytes behind the array are ignored")
    flat = np.frombuffer(data, kind, math.prod(shape), body)
    array = flat.reshape(shape, order="F" if fortran is True else "C")
    return array.astype(kind.newbyteorder("="), copy=False) if kind.names is None else array


def read_npy(source: Source) -> Raw:
    """Read an (N, C) array of x, y, z, ..., or a structured array with these names."""
    array = parse_npy(source, source.data)
    if array.dtype.names:
        array = array.reshape(-1)
        return from_columns({name: array[name] for name in array.dtype.names or ()}, source)
    if array.ndim != 2 or array.shape[1] < 3 or array.dtype.kind not in "iuf":
        raise source.error(
            f"an array {array.shape} of {array.dtype}, expected (N, 3) numbers or more columns",
            hint="points are rows of x, y, z",
        )
    source.check_count(len(array), "points")
    return from_table(array, source)


def read_npz(source: Source) -> Raw:
    """Read points under xyz, points or pos; other arrays with a row a point are attributes."""
    arrays = read_members(source)
    key = next((k for k in _POINT_KEYS if k in arrays), None)
    if (
        key is None
        or arrays[key].ndim != 2
        or arrays[key].shape[1] < 3
        or arrays[key].dtype.kind not in "iuf"
    ):
        shapes = ", ".join(f"{n} {a.shape}" for n, a in list(arrays.items())[:8]) or "nothing"
        raise source.error(
            f"no points (N, 3) under xyz, points or pos (there is: {shapes})",
            hint="name the array of the points xyz",
        )
    points = arrays.pop(key)
    source.check_count(len(points), "points")
    raw = from_table(points, source)
    origin = arrays.pop("origin", None)
    if (
        origin is not None
        and origin.shape == (3,)
        and origin.dtype == np.float64
        and np.isfinite(origin).all()
    ):
        raw.origin = origin
    for name, values in arrays.items():
        plain = _ALIASES.get(name, name)
        if (
            values.ndim not in (1, 2)
            or len(values) != len(points)
            or values.dtype.kind not in "biufU"
        ):
            source.warn(
                f"array {name} {values.shape} of {values.dtype} is not one row a point;"
                " it is left out"
            )
        elif plain == "normal":
            raw.attributes["normal"] = values.astype(np.float32)
        else:
            raw.attributes[plain] = values
    return raw


def read_members(source: Source) -> dict[str, Array]:
    """Return name -> array of an npz archive.

    Raises
    ------
    FileFormatError : no archive, a damaged one, one that unpacks to far more than it holds.
    """
    arrays = {}
    try:
        with zipfile.ZipFile(source.path) as archive:
            infos = [i for i in archive.infolist() if i.filename.endswith(".npy")]
            if len(infos) > _MAX_MEMBERS:
                raise source.error(f"{len(infos)} arrays, more than {_MAX_MEMBERS}")
            total = sum(i.file_size for i in infos)
            if (
                total > max(limits.MAX_EXPANSION_RATIO * source.size, _SMALL_BYTES)
                or total > limits.MAX_FILE_BYTES
            ):
                raise source.error(
                    f"{source.size} bytes claim to unpack to {total}, more than"
                    " MAX_EXPANSION_RATIO ="
                    f" {limits.MAX_EXPANSION_RATIO} times",
                    hint="if it is sound, save it by np.savez, not np.savez_compressed",
                )
            for info in infos:
                with archive.open(info) as stream:
                    content = stream.read(info.file_size)
                if len(content) != info.file_size:
                    raise source.error(f"{info.filename} is cut off")
                arrays[info.filename.removesuffix(".npy")] = parse_npy(
                    source, content, info.filename
                )
    except (
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        OSError,
        ValueError,
        RuntimeError,
        NotImplementedError,
        struct.error,
        KeyError,
        OverflowError,
    ) as error:
        raise source.error(f"the archive is damaged: {error}") from error
    return arrays


def write_npy(stream: BinaryIO, data: PointCloud | Mesh) -> list[str]:
    """Write (N, 3) coordinates, or (N, 6) with normals."""
    parts = [coordinates(data)]
    if "normal" in data.attributes:
        parts.append(data.attributes["normal"].astype(parts[0].dtype))
    table = np.ascontiguousarray(np.concatenate(parts, axis=1))
    np.lib.format.write_array_header_1_0(stream, np.lib.format.header_data_from_array_1_0(table))
    stream.write(table.tobytes())  # np.save hides why a write failed
    return [name for name in data.attributes if name != "normal"]


def write_npz(stream: BinaryIO, data: PointCloud | Mesh) -> list[str]:
    """Write xyz, origin where it is not zero, and the attributes under their names."""
    if not isinstance(data, PointCloud):
        return []
    arrays = {"xyz": data.xyz} | ({"origin": data.origin} if data.origin.any() else {})
    dropped = [
        n
        for n, v in data.attributes.items()
        if v.dtype.kind not in "biufU"
        or n in _POINT_KEYS
        or n in arrays
        or not n
        or "/" in n
        or "\0" in n
    ]
    arrays |= {n: v for n, v in data.attributes.items() if n not in dropped}
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, values in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.ascontiguousarray(values), allow_pickle=False)
    return dropped


FORMATS = [
    Format(
        "npy",
        (".npy",),
        read_npy,
        lambda s: s.head.startswith(_MAGIC),
        magic=True,
        write=write_npy,
        about="points as one array, normals",
    ),
    Format(
        "npz",
        (".npz",),
        read_npz,
        lambda s: s.head.startswith(b"PK\x03\x04") and b".npy" in s.head[:200],
        magic=True,
        write=write_npz,
        about="points and all attributes, exact origin",
    ),
]
