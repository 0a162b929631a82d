"""A simulated depth camera: what it measures of a mesh, and the fusion of its images.

The camera is of the kind of a Kinect at half its resolution: infrared dots, two lenses 7.5 cm
apart. Its frame is x to the right of the image, y down, z along the view.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

COLUMNS, ROWS, FOCAL = 320, 240, 290.0
"""Of the image, and the focal length in pixels: half of 640 x 480 and 580."""
CENTRE = ((COLUMNS - 1) / 2, (ROWS - 1) / 2)
NEAR, FAR = 0.45, 4.0
"""Range of the camera, in metres."""
DISPARITY = 2 * FOCAL * 0.075 * 8
"""Depth times disparity: a step is the eighth part of a pixel of the full image."""
LATTICE, BAND = 0.006, 0.03
"""Of the fusion, as 3DMatch: distance of its points, and how far from a surface it looks, in m."""
VOLUME = np.array([[-1.53, -1.53, 0.5], [1.53, 1.53, 3.57]])
"""The box of the fusion in the frame of the first camera: 512 points of the lattice a side."""
LEAST_VIEWS = 2
"""Images that must tell of a point, so that what one image makes up does not count."""
SURFACE = 0.2
"""Points at most so many bands from the surface are on it."""
_BITS = 20
_MIDDLE = 1 << (_BITS - 1)


class Sight(NamedTuple):
    """An image of a mesh without error. z : (H, W), infinite where there is nothing.

    cosine : (H, W) between ray and surface, 0 to 1.  triangle : (H, W) row of the mesh, or -1.
    """

    z: np.ndarray
    cosine: np.ndarray
    triangle: np.ndarray


class Lens(NamedTuple):
    """Faults of one camera that stay for a recording.

    noise : factor of its noise.  bias : (H, W) factor of its depths.
    """

    noise: float
    bias: np.ndarray


def look(at: np.ndarray, azimuth: float, pitch: float, roll: float = 0.0) -> np.ndarray:
    """Return T_world_camera (4, 4) of a camera at a place (3,); angles in radians, z is up."""
    z = np.array([np.cos(azimuth) * np.cos(pitch), np.sin(azimuth) * np.cos(pitch), np.sin(pitch)])
    x = np.cross(z, (0, 0, 1))
    x /= np.sqrt(x @ x)
    y = np.cross(z, x)
    pose = np.eye(4)
    pose[:3, :3] = np.column_stack([np.cos(roll) * x + np.sin(roll) * y,
                                    np.cos(roll) * y - np.sin(roll) * x, z])
    pose[:3, 3] = at
    return pose


def render(mesh: np.ndarray, T_world_camera: np.ndarray, step: int = 1) -> Sight:
    """Return what a camera sees of triangles (T, 3, 3); `step` above 1 makes a coarser image."""
    from pcinv_data.camera_kernels import draw

    z = np.full((ROWS // step, COLUMNS // step), np.inf)
    owner = np.full(z.shape, -1, np.int64)
    R = np.ascontiguousarray(T_world_camera[:3, :3].T)
    u0, v0 = CENTRE[0] / step, CENTRE[1] / step
    draw(mesh, R, -R @ T_world_camera[:3, 3], FOCAL / step, u0, v0, 0.02, z, owner)
    seen = mesh[np.maximum(owner, 0)]
    normal = np.cross(seen[..., 1, :] - seen[..., 0, :], seen[..., 2, :] - seen[..., 0, :])
    normal /= np.maximum(np.sqrt((normal * normal).sum(-1, keepdims=True)), 1e-12)
    ray = rays(step) @ R
    cosine = np.abs((normal * ray).sum(-1)) / np.sqrt((ray * ray).sum(-1))
    return Sight(z, np.where(owner >= 0, cosine, 0.0), owner)


def rays(step: int = 1) -> np.ndarray:
    """Return (H, W, 3) points of the rays of the pixels at z = 1, in the frame of the camera."""
    u, v = np.meshgrid(np.arange(COLUMNS // step), np.arange(ROWS // step))
    x, y = (u - CENTRE[0] / step) * step / FOCAL, (v - CENTRE[1] / step) * step / FOCAL
    return np.stack([x, y, np.ones(u.shape)], -1)


def draw_lens(rng: np.random.Generator) -> Lens:
    """Draw a camera: the noise of a good or a bad one, and depths off by up to some millimetres."""
    from scipy.ndimage import gaussian_filter

    noise = rng.uniform(0.2, 1.1)
    smooth = gaussian_filter(rng.normal(size=(ROWS, COLUMNS)), 40)
    return Lens(noise, 1 + smooth / smooth.std() * rng.uniform(0, 0.006) * noise)


def measure(sight: Sight, dark: np.ndarray, lens: Lens, rng: np.random.Generator) -> np.ndarray:
    """Return (H, W) float32 z as the camera measures it; 0 where it measures nothing.

    dark : (H, W) share of pixels that the material of each surface swallows.

    The noise grows with the square of the range and on slanting surfaces (Nguyen, Izadi, Lovell,
    3DIMPVT 2012), is partly shared by neighbours, and depths come in steps of disparity. Things
    look a little wider than they are, and their rims, slanting and dark surfaces have holes.
    """
    from scipy.ndimage import gaussian_filter, maximum_filter, minimum_filter

    z = np.where(np.isfinite(sight.z), sight.z, 0.0)
    blotch = gaussian_filter(rng.normal(size=z.shape), 4)
    blotch = (blotch - blotch.mean()) / blotch.std()
    # which dot a pixel takes its depth from is uncertain by a pixel
    dot = np.rint(np.indices(z.shape) + rng.normal(0, 0.7, (2, *z.shape))).astype(np.int64)
    z = z[np.clip(dot[0], 0, ROWS - 1), np.clip(dot[1], 0, COLUMNS - 1)]
    nearest = minimum_filter(np.where(z > 0, z, 9.0), 3)
    rim = maximum_filter(z, 5) - nearest > 0.08 * nearest
    z = np.where(rim & (blotch > 0.2), nearest, z)
    z = np.where(rim & (rng.random(z.shape) < 0.45), 0.0, z)
    sigma = lens.noise * (0.0008 + 0.0014 * (z - 0.4) ** 2) \
        * (1 + 0.15 / np.maximum(sight.cosine, 0.2))
    shared = 2.5 * gaussian_filter(rng.normal(size=z.shape), 2)
    z = z * lens.bias + sigma * (rng.normal(size=z.shape) + shared)
    z = DISPARITY / np.rint(DISPARITY / np.maximum(z, 0.2))
    chance = rng.random(z.shape)
    lost = ((chance < dark) | (3 * dark + 0.5 * blotch > 2.2) | (blotch > 2.6)
            | (sight.cosine < 0.12) | ((sight.cosine < 0.3) & (rng.random(z.shape) < 0.5)))
    return np.where(lost | (z < NEAR) | (z > FAR), 0.0, z).astype(np.float32)


def fuse(images: np.ndarray, T_first_camera: np.ndarray) -> np.ndarray:
    """Return the points (N, 3) float64 of the surface that images agree on, in the first's frame.

    images : (F, H, W) of `measure`.  T_first_camera : (F, 4, 4) camera to the first camera.

    As 3DMatch: the points of a lattice of 6 mm near the zero of a truncated signed distance, in a
    box before the first camera. Sorted by place.
    """
    from pcinv_data.camera_kernels import signed_distance

    points = np.concatenate([
        (rays()[z > 0] * z[z > 0][:, None]) @ T[:3, :3].T + T[:3, 3]
        for z, T in zip(images, T_first_camera, strict=True)])
    points = points[((points > VOLUME[0]) & (points < VOLUME[1])).all(1)]
    lattice = _around(np.rint(points / LATTICE).astype(np.int64)) * LATTICE
    lattice = lattice[((lattice > VOLUME[0]) & (lattice < VOLUME[1])).all(1)]
    distance, weight = np.zeros(len(lattice)), np.zeros(len(lattice), np.int64)
    R = np.ascontiguousarray(T_first_camera[:, :3, :3].transpose(0, 2, 1))
    t = -np.einsum("fij,fj->fi", R, T_first_camera[:, :3, 3])
    signed_distance(lattice, images, R, t, FOCAL, *CENTRE, BAND, distance, weight)
    told = weight >= LEAST_VIEWS
    return lattice[told & (np.abs(distance) < SURFACE * np.maximum(weight, 1))]


def _around(cells: np.ndarray) -> np.ndarray:
    """Return these cells (N, 3) of a lattice and the six beside each, once each and sorted."""
    keys = _distinct(_packed(cells))
    beside = [keys + sign * (1 << shift) for shift in (0, _BITS, 2 * _BITS) for sign in (-1, 1)]
    keys = _distinct(np.concatenate([keys, *beside]))
    mask = (1 << _BITS) - 1
    return np.stack([keys >> (2 * _BITS), (keys >> _BITS) & mask, keys & mask], 1) - _MIDDLE


def thin(points: np.ndarray, cell: float, rng: np.random.Generator | None = None) -> np.ndarray:
    """Return one of the points (N, 3) of each cell of a grid: a random one, or the first."""
    order = np.arange(len(points)) if rng is None else rng.permutation(len(points))
    keys = _packed(np.floor(points[order] / cell).astype(np.int64))
    _, first = np.unique(keys, return_index=True)
    return points[order[first]]


def _packed(cells: np.ndarray) -> np.ndarray:
    """Return a number (N,) for each cell (N, 3) within `_MIDDLE` of zero; sorted as the cells."""
    x, y, z = (cells + _MIDDLE).T
    return np.asarray((x << (2 * _BITS)) | (y << _BITS) | z)


def _distinct(keys: np.ndarray) -> np.ndarray:
    """Return the keys once each, sorted; several times faster here than by `numpy.unique`.

    A stable sort, since that is fast where whole runs are sorted already.
    """
    keys = np.sort(keys, kind="stable")
    return keys[np.r_[True, keys[1:] != keys[:-1]]]
