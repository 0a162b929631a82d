"""Files that are broken in known ways, made by code; each must end in an error that names it."""

import gzip
import io
import struct
import zipfile
from pathlib import Path

import numpy as np

PLY = (
    "ply\nformat {} 1.0\nelement vertex {}\nproperty float x\nproperty float y\n"
    "property float z\n{}end_header\n"
)
FACE = "element face {}\nproperty list uchar int vertex_indices\n"
PCD = (
    "VERSION .7\nFIELDS x y z\nSIZE 4 4 4\nTYPE F F F\nCOUNT 1 1 1\nWIDTH {0}\nHEIGHT 1\n"
    "VIEWPOINT 0 0 0 1 0 0 0\n"
    "POINTS {0}\nDATA {1}\n"
)
LITTLE = "binary_little_endian"
BIG = 2_000_000_000


def ply(count, body=b"", form="ascii", more=""):
    return PLY.format(form, count, more).encode() + body


def pcd(count, data, body=b""):
    return PCD.format(count, data).encode() + body


def npy(array, **options):
    buffer = io.BytesIO()
    np.save(buffer, array, **options)
    return buffer.getvalue()


def npz(**arrays):
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def escaping_zip():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("../../xyz.npy", npy(np.zeros((2, 3))))
    return buffer.getvalue()


def las_header(points, size=400):
    head = bytearray(size)
    head[:4], head[24:26] = b"LASF", b"\x01\x02"
    struct.pack_into("<HII", head, 94, 227, 227, 0)
    struct.pack_into("<BHI", head, 104, 0, 20, points)
    return bytes(head)


def glb(tree, total=None):
    tree += b" " * (-len(tree) % 4)
    return (
        b"glTF"
        + struct.pack("<II", 2, total or 20 + len(tree))
        + struct.pack("<I", len(tree))
        + b"JSON"
        + tree
    )


def plain_files():
    """Return the content of each broken file by name."""
    small = npy(np.zeros((2, 3)))
    square = struct.pack("<9f", 0, 0, 0, 1, 0, 0, 0, 1, 0)
    return {
        "empty.ply": b"",
        "empty.obj": b"",
        "text.ply": b"hello, I am not a cloud\n",
        "text.pcd": b"hello, I am not a cloud\n",
        "text.off": b"hello, I am not a mesh\n",
        "text.npz": b"hello, I am not an archive\n",
        "text.las": b"hello, I am not a survey\n",
        "text.glb": b"hello, I am not a scene\n",
        "short.ply": ply(3, b"0 0 0\n1 1"),
        "rows.ply": ply(3, b"0.25 0.25 0.25\n1.25 1.25 1.25\n"),
        "headeronly.ply": ply(3),
        "trunc.ply": ply(4, struct.pack("<6f", *range(6)), LITTLE),
        "huge.ply": ply(BIG, b"0 0 0\n"),
        "hugeb.ply": ply(BIG, b"\0" * 24, LITTLE),
        "hugefaces.ply": ply(3, square + b"\x03" + b"\0" * 12, LITTLE, FACE.format(BIG)),
        "neg.ply": ply(-3),
        "noxyz.ply": b"ply\nformat ascii 1.0\nelement vertex 1\nproperty float a\nend_header\n1\n",
        "range.ply": ply(3, square + b"\x03" + struct.pack("<3i", 0, 1, 9), LITTLE, FACE.format(1)),
        "rangeneg.ply": ply(3, b"0 0 0\n1 0 0\n0 1 0\n3 0 1 -1\n", "ascii", FACE.format(1)),
        "cutface.ply": ply(
            3, square + b"\xff" + struct.pack("<3i", 0, 1, 2), LITTLE, FACE.format(1)
        ),
        "short.pcd": pcd(3, "ascii", b"0 0 0\n"),
        "rows.pcd": pcd(3, "ascii", b"0.25 0.25 0.25\n1.25 1.25 1.25\n"),
        "trunc.pcd": pcd(4, "binary", b"\0" * 40),
        "huge.pcd": pcd(BIG, "ascii", b"0 0 0\n"),
        "hugeb.pcd": pcd(BIG, "binary", b"\0" * 24),
        "liar.pcd": pcd(100, "binary_compressed", struct.pack("<II", 10, 1 << 31) + b"\0" * 10),
        "liar2.pcd": pcd(
            BIG // 12, "binary_compressed", struct.pack("<II", 10, BIG // 12 * 12) + b"\0" * 10
        ),
        "damaged.pcd": pcd(2, "binary_compressed", struct.pack("<II", 4, 24) + b"\xff\xff\xff\xff"),
        "range.off": b"OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 9\n",
        "huge.off": b"OFF\n2000000000 1 0\n0 0 0\n",
        "hugefaces.off": b"OFF\n1 2000000000 0\n0 0 0\n",
        "short.off": b"OFF\n3 1 0\n0 0 0\n1 0 0\n",
        "range.obj": b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 9\n",
        "rangeneg.obj": b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 -9\n",
        "empty.stl": b"solid nothing\nendsolid nothing\n",
        "short.stl": b"\0" * 80 + struct.pack("<I", 500) + b"\0" * 50,
        "huge.stl": b"\0" * 80 + struct.pack("<I", 2**32 - 1) + b"\0" * 50,
        "cut.stl": b"solid a\nfacet normal 0 0 1\nouter loop\nvertex 0 0 0\nvertex 1 0 0\n",
        "ragged.xyz": b"0 0 0\n1 1\n2 2 2 2\n",
        "words.xyz": b"0 0 0\none two three\n",
        "nan.xyz": b"nan nan nan\nnan nan nan\n",
        "two.xyz": b"0 0\n1 1\n",
        "comments.xyz": b"# nothing\n# here\n",
        "long.xyz": b"0 0 0\n" + b"1 " * 100_000,
        "beyond.xyz": b"0 0 0.1\n1e39 0 0\n",
        "count.pts": b"3\n0 0 0\n1 1 1\n",
        "fields.csv": b"x,y,z\n0,0,0\n1,,1\n",
        "odd.bin": b"\0" * 37,
        "noise.bin": np.random.default_rng(0).bytes(1600),
        "object.npy": npy(np.array([{"a": 1}], dtype=object), allow_pickle=True),
        "huge.npy": small.replace(b"(2, 3)", b"(99999999999, 3)")[: len(small)],
        "cut.npy": small[:-8],
        "flat.npy": npy(np.zeros(6)),
        "bomb.npz": npz(xyz=np.zeros((3_000_000, 3))),
        "object.npz": npz(xyz=np.array([{"a": 1}], dtype=object)),
        "nokey.npz": npz(a=np.zeros((2, 3))),
        "escape.npz": escaping_zip(),
        "cut.npz": npz(xyz=np.ones((9, 3)))[:-40],
        "gz.xyz": gzip.compress(b"0 0 0\n"),
        "gz.ply": gzip.compress(ply(1, b"0 0 0\n")),
        "text.h5": b"hello, I am not HDF5\n",
        "cut.h5": b"\x89HDF\r\n\x1a\n" + b"\0" * 40,
        "empty.las": las_header(0),
        "cut.las": las_header(1_000_000),
        "header.las": b"LASF" + b"\0" * 50,
        "huge.glb": glb(b'{"asset":{"version":"2.0"}}', 10**9),
        "accessor.glb": glb(
            b'{"asset":{"version":"2.0"},"accessors":[{"count":99999999999,"componentType":5126,"type":"VEC3"}]}'
        ),
        "outside.glb": glb(
            b'{"asset":{"version":"2.0"},"buffers":[{"uri":"secret.bin","byteLength":9}]}'
        ),
        "nothing.glb": glb(b'{"asset":{"version":"2.0"}}'),
        "evil.pt": b"\x80\x02cposix\nsystem\nX\x04\x00\x00\x00true\x85R.",
        "unknown.dat": b"\x01\x02\x03" * 40,
    }


def write_h5(folder: Path) -> list[str]:
    """Write the hostile HDF5 files; return their names."""
    import h5py

    secret = folder / "secret.dat"
    secret.write_bytes(b"\7" * 96)
    with h5py.File(folder / "never.h5", "w") as file:
        file.create_dataset("data", (10_000_000 * 2048, 3), "f4", chunks=(2048, 3))
    with h5py.File(folder / "storage.h5", "w") as file:
        file.create_dataset("data", (32, 3), "u1", external=[(str(secret), 0, 96)])
    with h5py.File(folder / "link.h5", "w") as file:
        file["data"] = h5py.ExternalLink("other.h5", "data")
    with h5py.File(folder / "virtual.h5", "w") as file:
        layout = h5py.VirtualLayout((4, 3), "f4")
        layout[:] = h5py.VirtualSource("other.h5", "data", (4, 3))
        file.create_virtual_dataset("data", layout)
    with h5py.File(folder / "bomb.h5", "w") as file:
        zeros = np.zeros((4_000_000, 3), np.float32)
        file.create_dataset(
            "data", data=zeros, chunks=(4_000_000, 3), compression="gzip", compression_opts=9
        )
    return ["never.h5", "storage.h5", "link.h5", "virtual.h5", "bomb.h5"]


def write_corpus(folder: Path) -> list[str]:
    """Write all broken files into the folder; return their names."""
    files = plain_files()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return [*files, *write_h5(folder)]
