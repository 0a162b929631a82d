"""Write the samples of this folder again: `python data/samples/make_samples.py`.

They come from a random stream of their own (`sample`), so no training or test split holds them.
The pairs to register are made in `make_pairs.py`.
"""

from pathlib import Path

import numpy as np

from pcinv.io import write
from pcinv.types import Mesh, PointCloud
from pcinv_data.generate.classes import CLASS_NAMES
from pcinv_data.generate.primitives import regular_polygon, turn
from pcinv_data.shapes import generate

FOLDER = Path(__file__).parent
RING = 24


def chair() -> PointCloud:
    """An upright chair of 2,048 points with normals, 0.8 m high."""
    raw = generate(0, "sample", CLASS_NAMES.index("chair"), 2048)
    scale = 0.8 / np.ptp(raw.xyz[:, 2])
    return PointCloud((raw.xyz * scale).astype(np.float32), attributes={"normal": raw.normal})


def mug() -> PointCloud:
    """A mug of 1,500 points in millimetres, lying on its side, without normals."""
    raw = generate(0, "sample", CLASS_NAMES.index("mug"), 1500)
    pose = turn(0, 1.9) @ turn(2, 0.6)
    return PointCloud((raw.xyz @ pose.T * 40 + [250, -120, 35]).round(2).astype(np.float32))


def bolt() -> Mesh:
    """A closed mesh of a hexagonal bolt in millimetres: rings of 24 corners and two fans."""
    hexagon = regular_polygon(6, 7.5)
    side = np.linspace(0, 1, RING // 6, endpoint=False)[:, None]
    edge = np.concatenate([a + side * (b - a)
                           for a, b in zip(hexagon, np.roll(hexagon, -1, axis=0), strict=True)])
    circle = regular_polygon(RING, 4.0)
    rings = [(edge, 5.3), (edge, 0.0), (circle, 0.0), (circle, -39.0), (circle * 0.8, -40.0)]
    vertices = np.concatenate([*(np.column_stack([ring, np.full(RING, z)]) for ring, z in rings),
                               [[0, 0, 5.3], [0, 0, -40]]])
    i, j = np.arange(RING), (np.arange(RING) + 1) % RING
    faces = []
    for k in range(len(rings) - 1):
        upper, lower = k * RING, (k + 1) * RING
        faces += [np.column_stack([upper + i, lower + i, lower + j]),
                  np.column_stack([upper + i, lower + j, upper + j])]
    top, bottom, last = len(vertices) - 2, len(vertices) - 1, (len(rings) - 1) * RING
    faces += [np.column_stack([np.full(RING, top), i, j]),
              np.column_stack([np.full(RING, bottom), last + j, last + i])]
    return Mesh(vertices, np.concatenate(faces).astype(np.int64))


SAMPLES = {"chair.ply": chair, "mug.xyz": mug, "bolt.off": bolt}

if __name__ == "__main__":
    for name, make in SAMPLES.items():
        write(FOLDER / name, make(), force=True)
    from make_pairs import PAIRS, write_pair

    for name in PAIRS:
        write_pair(name, FOLDER)
