"""Make two pairs of clouds to register, with their true motion: a scanned room and a part.

`python data/samples/make_samples.py` writes them. Coordinates are rounded, so that the last digit
of a processor's arithmetic does not reach the files.
"""

import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from sample_room import Mesh, render, room
from scipy.ndimage import gaussian_filter, maximum_filter, minimum_filter

from pcinv.geometry.rotation import random_rotation
from pcinv.io import write
from pcinv.ops import voxel_sample
from pcinv.types import PointCloud
from pcinv_data.generate.primitives import Ellipsoid, Piece, box, frustum, rod, turn
from pcinv_data.generate.swept import Extruded
from pcinv_data.generate.union import sample_union

PIXELS, FOCAL = (320, 240), 320.0
"""Of the depth camera: the size of its image, and its focal length in pixels."""
RANGE = (0.4, 3.4)
DISPARITY = 32 * 0.0747 * FOCAL
"""Steps of disparity times depth: lenses 7.5 cm apart, a step is the 32nd part of a pixel."""
VOXEL = 0.025
PLACES = (((-0.9, -1.35, 1.75), (0.1, 0.8, 0.4), 0.1), ((0.85, -1.25, 1.5), (-0.1, 0.8, 0.4), -0.2))
"""Of both cameras: where it is, what it looks at, and its tilt in radians."""
PART_SEED, PART_SHIFT = 12, (35.0, -20.0, 310.0)
"""A seed that turns the part by 163 degrees and shows its front to the scanner."""
SCANNER_STEP = 0.0056
"""Angle between the rays of the scanner of the part, in radians."""


class Pair(NamedTuple):
    """Two clouds (N, 3), (M, 3) and the motion (4, 4) that takes the first to the second."""

    source: np.ndarray
    target: np.ndarray
    T_target_source: np.ndarray
    unit: str


def room_pair() -> Pair:
    """A room that a depth camera saw from two places: metres, each cloud in its camera's frame."""
    mesh = room(np.random.default_rng([7, 0]))
    poses = [look(*place) for place in PLACES]
    clouds = [scan(mesh, pose, np.random.default_rng([7, 1 + k])) for k, pose in enumerate(poses)]
    return Pair(*clouds, np.linalg.inv(poses[1]) @ poses[0], "metres")


def look(
    at: tuple[float, float, float], towards: tuple[float, float, float], tilt: float
) -> np.ndarray:
    """Return T_room_camera (4, 4): x to the right of the image, y down, z along the view."""
    z = np.subtract(towards, at)
    z /= np.sqrt((z * z).sum())
    x = np.cross(z, (0, 0, 1))
    x /= np.sqrt((x * x).sum())
    pose = np.eye(4)
    pose[:3, :3] = np.column_stack([x, np.cross(z, x), z]) @ turn(2, tilt)
    pose[:3, 3] = at
    return pose


def scan(mesh: Mesh, T_room_camera: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the thinned points of a noisy depth image, in the frame of the camera."""
    x, y = ((np.arange(n) - (n - 1) / 2 + 0.13) / FOCAL for n in PIXELS)
    seen = (mesh - T_room_camera[:3, 3]) @ T_room_camera[:3, :3]
    z = spoil(*render(seen, x, y, 0.05), rng)
    points = np.stack([x * z, y[:, None] * z, z], -1)[z > 0]
    return voxel_sample(torch.from_numpy(points), VOXEL).xyz.numpy().round(4)


def spoil(depth: np.ndarray, cosine: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the depth (H, W) as a cheap camera measures it; 0 where it does not.

    The noise grows with the square of the range (as in Nguyen et al., 3DIMPVT 2012) and where a
    surface is seen from the side. There, and on the rims of things, points also get lost.
    """
    low, high = RANGE
    z = np.minimum(depth, 2 * high)
    rim = maximum_filter(z, 3) - minimum_filter(z, 3) > 0.08 * z
    sigma = (0.001 + 0.0012 * (z - 0.4) ** 2) * (1 + 0.15 / np.maximum(cosine, 0.15))
    z = z + sigma * rng.standard_normal(z.shape)
    z *= 1 + 0.03 * gaussian_filter(rng.standard_normal(z.shape), 12)  # the lens: some millimetres
    steps = np.rint(DISPARITY / np.maximum(z, low / 2))
    z = DISPARITY / np.maximum(steps, 1)
    chance, blotch = rng.random(z.shape), gaussian_filter(rng.standard_normal(z.shape), 3)
    lost = (cosine < 0.1 + 0.2 * chance) | (rim & (chance < 0.5)) | (blotch > 0.22)
    return np.where(lost | (z < low) | (z > high), 0.0, z)


def part_pair() -> Pair:
    """A bracket in millimetres: its whole surface, and a scan from one side in another pose."""
    rng = np.random.default_rng([7, 3])
    pieces = bracket()
    whole = sample_union(pieces, 6000, rng)[0]
    motion = np.eye(4)
    generator = torch.Generator().manual_seed(PART_SEED)
    motion[:3, :3] = random_rotation(generator=generator, dtype=torch.float64).numpy()
    motion[:3, 3] = PART_SHIFT
    points, normals, _ = sample_union(pieces, 400_000, rng)
    points, normals = points @ motion[:3, :3].T + motion[:3, 3], normals @ motion[:3, :3].T
    return Pair(whole.round(3), one_side(points, normals, rng), motion, "millimetres")


def bracket() -> list[Piece]:
    """Two thick plates at an angle, a rib, a boss with a bore, a nozzle, a step and a knob."""
    base = np.array([[0, 0], [105, 0], [105, 40], [80, 66], [0, 66]], float)
    wall = np.array([[0, 0], [66, 0], [66, 50], [44, 84], [14, 84], [0, 66]], float)
    rib = np.array([[0, 0], [34, 0], [0, 36]], float)
    return [
        Piece(Extruded(base, 0, 24), 0),
        Piece(Extruded(wall, 0, 26, [(31, 62, 11)]), 0, (0, 0, 0),
              np.array([[0.0, 0, 1], [1, 0, 0], [0, 1, 0]])),
        Piece(frustum(rib, rib, -6, 6), 0, (25, 56, 23), turn(0, math.pi / 2)),
        Piece(Extruded(15.0, 23, 46, [(0, 0, 8)]), 0, (60, 26, 0)),
        rod((10, 14, 40), (22, -18, 52), 9, 0, 12),
        box((24, 18, 20), (84, 48, 20), 0, (0.5, 1.0), turn(2, -0.8)),
        Piece(Ellipsoid((11, 9, 14)), 0, (90, 14, 24)),
    ]


def one_side(points: np.ndarray, normals: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the points that a scanner at the origin sees, one a pixel, with noise.

    points, normals : (N, 3), so dense that many fall into a pixel.
    """
    ranges = np.sqrt((points * points).sum(1))
    cosine = -(points * normals).sum(1) / ranges
    facing = cosine > 0
    points, ranges, cosine = points[facing], ranges[facing], cosine[facing]
    pixel = np.floor(points[:, :2] / points[:, 2:] / SCANNER_STEP).astype(np.int64)
    order = np.argsort(ranges, kind="stable")
    _, first = np.unique(pixel[order], axis=0, return_index=True)
    nearest = order[first]
    nearest = nearest[cosine[nearest] > 0.15 + 0.15 * rng.random(len(nearest))]
    along = 1 + 0.15 * rng.standard_normal(len(nearest)) / ranges[nearest]
    return (points[nearest] * along[:, None]).round(3)


PAIRS = {"room": room_pair, "part": part_pair}


def write_pair(name: str, folder: Path) -> None:
    """Write `name`_a.ply, `name`_b.ply and `name`_truth.txt."""
    pair = PAIRS[name]()
    for which, points in (("a", pair.source), ("b", pair.target)):
        write(folder / f"{name}_{which}.ply", PointCloud(points.astype(np.float32)), force=True)
    what = f"T_target_source: takes {name}_a.ply (source) to {name}_b.ply (target), {pair.unit}"
    np.savetxt(folder / f"{name}_truth.txt", pair.T_target_source, "%.9f", header=what)
