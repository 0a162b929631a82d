"""One small valid file of each format and dialect."""

import io
import struct
import tempfile
import warnings
from functools import cache
from pathlib import Path

import numpy as np

from pcinv.io import write
from pcinv.types import Mesh, PointCloud

TETRAHEDRON = Mesh(
    np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1.0]]),
    np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]]),
)


def small_cloud() -> PointCloud:
    rng = np.random.default_rng(0)
    attributes = {
        "normal": np.eye(3, dtype=np.float32)[rng.integers(0, 3, 12)],
        "color": rng.integers(0, 256, (12, 3)).astype(np.uint8),
        "label": np.arange(12),
    }
    return PointCloud(rng.random((12, 3)).astype(np.float32), attributes=attributes)


def written(data, suffix: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = Path(folder) / f"a.{suffix}"
        write(path, data)
        return path.read_bytes()


def glb() -> bytes:
    import trimesh

    return trimesh.Trimesh(TETRAHEDRON.vertices, TETRAHEDRON.faces, process=False).export(
        file_type="glb"
    )


def h5() -> bytes:
    import h5py

    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file.create_dataset(
            "data",
            data=np.random.default_rng(0).random((40, 3)),
            chunks=(10, 3),
            compression="gzip",
        )
        file["label"] = np.arange(40)
    return buffer.getvalue()


def pcd_compressed() -> bytes:
    plain = np.arange(36, dtype="<f4").tobytes()
    packed = (
        b"".join(bytes([31]) + plain[k : k + 32] for k in range(0, 128, 32))
        + bytes([15])
        + plain[128:]
    )
    head = (
        "VERSION .7\nFIELDS x y z\nSIZE 4 4 4\nTYPE F F F\nCOUNT 1 1 1\nWIDTH 12\nHEIGHT 1\n"
        "VIEWPOINT 0 0 0 1 0 0 0\n"
        "POINTS 12\nDATA binary_compressed\n"
    )
    return head.encode() + struct.pack("<II", len(packed), 144) + packed


def ply_mixed() -> bytes:
    head = (
        "ply\nformat binary_big_endian 1.0\ncomment x\nelement vertex 4\nproperty float x\n"
        "property double y\nproperty float z\n"
        "element face 2\nproperty list uchar int vertex_indices\nproperty uchar flag\nend_header\n"
    )
    body = b"".join(struct.pack(">fdf", *row) for row in TETRAHEDRON.vertices)
    return head.encode() + body + struct.pack(">B3iBB4iB", 3, 0, 1, 2, 1, 4, 0, 1, 2, 3, 1)


def ply_ascii() -> bytes:
    return (
        b"ply\nformat ascii 1.0\nelement vertex 3\nproperty float x\nproperty float y\n"
        b"property float z\nproperty uchar red\n"
        b"property uchar green\nproperty uchar blue\nelement face 1\n"
        b"property list uchar int vertex_indices\nend_header\n"
        b"0 0 0 1 2 3\n1 0 0 4 5 6\n0 1 0 7 8 9\n3 0 1 2\n"
    )


def pcd_ascii() -> bytes:
    return (
        b"# .PCD v.7\nVERSION .7\nFIELDS x y z rgb\nSIZE 4 4 4 4\nTYPE F F F F\nCOUNT 1 1 1 1\n"
        b"WIDTH 3\nHEIGHT 1\nPOINTS 3\nDATA ascii\n"
        b"0 0 0 1e-40\n1 0 0 4.2e6\n0 1 0 0\n"
    )


FORMATS = {
    "ply": ("a.ply", lambda: written(small_cloud(), "ply")),
    "ply-mesh": ("m.ply", lambda: written(TETRAHEDRON, "ply")),
    "ply-ascii": ("t.ply", ply_ascii),
    "ply-mixed": ("b.ply", ply_mixed),
    "pcd": ("a.pcd", lambda: written(small_cloud(), "pcd")),
    "pcd-ascii": ("t.pcd", pcd_ascii),
    "pcd-compressed": ("c.pcd", pcd_compressed),
    "off": ("a.off", lambda: written(TETRAHEDRON, "off")),
    "off-cloud": ("c.off", lambda: written(small_cloud(), "off")),
    "obj": ("a.obj", lambda: written(TETRAHEDRON, "obj") + b"f 1//1 -1//2 3/4/5\n"),
    "stl": ("a.stl", lambda: written(TETRAHEDRON, "stl")),
    "stl-ascii": (
        "t.stl",
        lambda: (
            b"solid a\nfacet normal 0 0 1\nouter loop\nvertex 0 0 0\nvertex 1 0 0\n"
            b"vertex 0 1 0\nendloop\n"
            b"endfacet\nendsolid a\n"
        ),
    ),
    "glb": ("a.glb", glb),
    "xyz": ("a.xyz", lambda: written(small_cloud(), "xyz")),
    "csv": ("a.csv", lambda: written(small_cloud(), "csv")),
    "npy": ("a.npy", lambda: written(small_cloud(), "npy")),
    "npz": ("a.npz", lambda: written(small_cloud(), "npz")),
    "bin": ("a.bin", lambda: written(small_cloud(), "bin")),
    "las": ("a.las", lambda: written(small_cloud(), "las")),
    "laz": ("a.laz", lambda: written(small_cloud(), "laz")),
    "h5": ("a.h5", h5),
}


@cache
def seed_file(name: str) -> tuple[str, bytes]:
    """Return the file name and content of a seed."""
    file, make = FORMATS[name]
    return file, make()
