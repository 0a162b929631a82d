"""From raw shapes to arrays: a fixed subset of points, centred and scaled."""

from __future__ import annotations

import logging
import zlib
from collections.abc import Iterator, Sequence

import numpy as np

from pcinv.errors import DatasetError
from pcinv_data.dataset import Raw, Source, unit_ball

log = logging.getLogger(__name__)
CHUNK = 64
"""Shapes that are held in full at a time."""


def prepare(source: Source, indices: Sequence[int], num_points: int, seed: int, sampling: str
            ) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None]:
    """Read shapes and reduce each to `num_points`.

    Returns xyz (M, P, 3) float32, normals (M, P, 3) float32 or None, parts (M, P) int64 or None.
    Normals are kept only where every shape has them.
    """
    xyz = np.empty((len(indices), num_points, 3), np.float32)
    normal: np.ndarray | None = np.empty_like(xyz)
    part: np.ndarray | None = np.empty(xyz.shape[:2], np.int64)
    repeated = 0
    for start in range(0, len(indices), CHUNK):
        chunk = list(indices[start:start + CHUNK])
        shapes = list(source.read(chunk))
        subsets = _subsets(shapes, [source.names[i] for i in chunk], num_points, seed, sampling)
        for k, (shape, rows) in enumerate(zip(shapes, subsets, strict=True)):
            repeated += len(shape.xyz) < num_points
            xyz[start + k] = unit_ball(shape.xyz[rows], source.files[chunk[k]])
            if normal is not None:
                mended = mend_normals(shape.xyz, shape.normal)
                normal = None if mended is None else _put(normal, start + k, mended[rows])
            if part is not None:
                part = None if shape.part is None else _put(part, start + k, shape.part[rows])
    if repeated:
        log.warning("%d of %d shapes have fewer than %d points: some of their points are repeated",
                    repeated, len(indices), num_points)
    return xyz, normal, part


def _put(array: np.ndarray, index: int, values: np.ndarray) -> np.ndarray:
    array[index] = values
    return array


def mend_normals(xyz: np.ndarray, normal: np.ndarray | None) -> np.ndarray | None:
    """Return unit normals (N, 3) float32; None where most of them are missing.

    A normal of zero length (a few caps of ShapeNetPart have some) or that is not finite is
    replaced by that of the nearest point that has one: this commutes with rotations.
    """
    if normal is None:
        return None
    wide = np.asarray(normal, dtype=np.float64)
    size = np.sqrt((wide * wide).sum(1))
    good = np.isfinite(size) & (size > 1e-6)
    if good.sum() * 2 < len(good):
        return None
    unit = np.zeros_like(wide)
    unit[good] = wide[good] / size[good, None]
    kept = np.asarray(xyz, dtype=np.float64)[good]
    for i in np.flatnonzero(~good):
        offset = kept - xyz[i]
        unit[i] = unit[good][np.argmin((offset * offset).sum(1))]
    return unit.astype(np.float32)


def _subsets(shapes: list[Raw], names: list[str], num_points: int, seed: int, sampling: str
             ) -> Iterator[np.ndarray]:
    """Choose the rows of each shape; a function of its name and the seed, never of the batch."""
    far: dict[int, np.ndarray] = {}
    if sampling == "fps":
        by_size: dict[int, list[int]] = {}
        for k, shape in enumerate(shapes):
            if len(shape.xyz) > num_points:
                by_size.setdefault(len(shape.xyz), []).append(k)
        for members in by_size.values():
            rows = farthest_rows(np.stack([shapes[k].xyz for k in members]), num_points)
            far.update(zip(members, rows, strict=True))
    for k, (shape, name) in enumerate(zip(shapes, names, strict=True)):
        count = len(shape.xyz)
        if count == 0:
            raise DatasetError("the shape has no points", where=name, hint="remove this file")
        rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
        if k in far:
            yield far[k]
        elif count == num_points:
            yield np.arange(count)
        elif count > num_points:
            yield np.sort(rng.permutation(count)[:num_points])
        else:
            extra = rng.integers(0, count, num_points - count)
            yield np.concatenate([np.arange(count), extra])


def farthest_rows(xyz: np.ndarray, count: int) -> np.ndarray:
    """Return the rows (B, count) of farthest point samples of (B, N, 3) clouds.

    Each cloud is centred and scaled first: stored coordinates may be in the hundred thousands.
    """
    import torch

    from pcinv.ops import farthest_point_sample

    points = np.asarray(xyz, dtype=np.float64)
    points = points - points.mean(1, keepdims=True)
    points /= np.maximum(np.abs(points).max((1, 2), keepdims=True), 1e-30)
    return farthest_point_sample(torch.from_numpy(points.astype(np.float32)), count).numpy()
