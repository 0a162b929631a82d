"""Clouds and bytes that the tests of several formats share."""

import struct
import warnings
from contextlib import contextmanager

import numpy as np

from pcinv.io import FormatWarning
from pcinv.types import Mesh, PointCloud

CUBE_CORNERS = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], dtype=float)
CUBE_SQUARES = [[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]]


def cube() -> Mesh:
    """Return the unit cube of 12 triangles, outward."""
    faces = [t for a, b, c, d in CUBE_SQUARES for t in ((a, b, c), (a, c, d))]
    return Mesh(CUBE_CORNERS.copy(), np.array(faces, dtype=np.int64))


def full_cloud(size: int = 50, seed: int = 0, origin: tuple[float, ...] = (0, 0, 0)) -> PointCloud:
    """Return a cloud with normals, colours and attributes of several types."""
    rng = np.random.default_rng(seed)
    normal = rng.normal(size=(size, 3))
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    attributes = {
        "normal": normal.astype(np.float32),
        "color": rng.integers(0, 256, (size, 3)).astype(np.uint8),
        "intensity": rng.random(size).astype(np.float32),
        "label": rng.integers(0, 40, size),
        "time": rng.random(size) * 1e9,
    }
    xyz = rng.uniform(-5, 5, (size, 3)).astype(np.float32)
    return PointCloud(xyz, np.asarray(origin, dtype=float), attributes)


@contextmanager
def told(*words: str):
    """Expect one FormatWarning for each of the words, and no other."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    messages = [str(w.message) for w in caught if issubclass(w.category, FormatWarning)]
    assert len(messages) == len(words), messages
    for word in words:
        assert any(word in m for m in messages), (word, messages)


def ply_bytes(header: str, body: bytes = b"") -> bytes:
    """Return a PLY file from the header's lines below the first, without end_header."""
    return ("ply\n" + header.strip() + "\nend_header\n").encode() + body


def pcd_bytes(
    fields: str, sizes: str, types: str, counts: str, points: int, data: str, body: bytes
) -> bytes:
    """Return a PCD file."""
    head = (
        f"# .PCD v.7\nVERSION .7\nFIELDS {fields}\nSIZE {sizes}\nTYPE {types}\nCOUNT {counts}\n"
        f"WIDTH {points}\n"
        f"HEIGHT 1\nVIEWPOINT 0 0 0 1 0 0 0\nPOINTS {points}\nDATA {data}\n"
    )
    return head.encode() + body


def lzf_compress(data: bytes) -> bytes:
    """Compress greedily; small and slow, for tests."""
    out, literals, at, seen = bytearray(), bytearray(), 0, {}

    def flush():
        for start in range(0, len(literals), 32):
            run = literals[start : start + 32]
            out.append(len(run) - 1)
            out.extend(run)
        literals.clear()

    while at < len(data):
        key = data[at : at + 3]
        start = seen.get(key)
        seen[key] = at
        if len(key) == 3 and start is not None and at - start <= 8192:
            length = 3
            while (
                length < 264
                and at + length < len(data)
                and data[start + length] == data[at + length]
            ):
                length += 1
            flush()
            back, rest = at - start - 1, length - 2
            if rest < 7:
                out.extend([rest << 5 | back >> 8, back & 255])
            else:
                out.extend([7 << 5 | back >> 8, rest - 7, back & 255])
            at += length
        else:
            literals.append(data[at])
            at += 1
    flush()
    return bytes(out)


def compressed_body(plain: bytes) -> bytes:
    """Return the body of a binary_compressed PCD file."""
    packed = lzf_compress(plain)
    return struct.pack("<II", len(packed), len(plain)) + packed
