"""A small 3DMatch: fragments of one random surface, seen from several poses, and their lists."""

import io
from pathlib import Path

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from pcinv.io import write
from pcinv.types import PointCloud


def random_motion(rng: np.random.Generator, reach: float = 1.0) -> np.ndarray:
    """Return a (4, 4) motion: a uniform rotation and a shift of up to `reach` in each axis."""
    T = np.eye(4)
    T[:3, :3] = Rotation.random(random_state=rng).as_matrix()
    T[:3, 3] = rng.uniform(-reach, reach, 3)
    return T


def information_of(points: np.ndarray) -> np.ndarray:
    """Return sum G^T G with G = [I | -[x]x], as 3DMatch makes gt.info of corresponding points."""
    total = np.zeros((6, 6))
    for x, y, z in points:
        G = np.hstack([np.eye(3), [[0, z, -y], [-z, 0, x], [y, -x, 0]]])
        total += G.T @ G
    return total


def block(i: int, j: int, count: int, matrix: np.ndarray) -> str:
    """Return a block of gt.log or gt.info, with the trailing tabs of the official files."""
    rows = ["\t".join(f"{value: .12e}" for value in row) + "\t" for row in matrix]
    return "\n".join([f"{i}\t{j}\t{count}\t", *rows]) + "\n"


def write_scene(root: Path, scene: str, pairs, *, benchmark: str = "3DMatch", count: int = 5,
                seed: int = 0, points: int = 200) -> dict[int, np.ndarray]:
    """Write fragments and lists of a scene; return the poses T_world_fragment."""
    rng = np.random.default_rng(seed)
    world = rng.uniform(-1, 1, (points, 3))
    poses = {k: random_motion(rng) for k in range(count)}
    fragments = root / "fragments" / scene
    fragments.mkdir(parents=True, exist_ok=True)
    for k, pose in poses.items():
        local = (world - pose[:3, 3]) @ pose[:3, :3]
        write(fragments / f"cloud_bin_{k}.ply", PointCloud(local.astype(np.float32)), force=True)
    folder = root / "benchmarks" / benchmark / scene
    folder.mkdir(parents=True, exist_ok=True)
    log, info = "", ""
    for i, j in pairs:
        log += block(i, j, count, np.linalg.inv(poses[i]) @ poses[j])
        target = (world - poses[i][:3, 3]) @ poses[i][:3, :3]
        info += block(i, j, count, information_of(target))
    (folder / "gt.log").write_text(log)
    (folder / "gt.info").write_text(info)
    return poses


def save_torch(file: Path, content: object) -> None:
    """Write a file as torch.save did before it wrote archives."""
    stream = io.BytesIO()
    torch.save(content, stream, _use_new_zipfile_serialization=False)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(stream.getvalue())
