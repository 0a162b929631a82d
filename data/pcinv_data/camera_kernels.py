"""Compiled loops of a depth camera: which triangle each pixel sees, and the fusion of images."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from pcinv.ops.jit import jit

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
Indices = NDArray[np.int64]


@jit
def draw(
    triangles: Floats, R: Floats, t: Floats, focal: float, u0: float, v0: float, near: float,
    depth: Floats, owner: Indices,
) -> None:
    """Fill z of the nearest triangle along the ray of each pixel, and its row.

    triangles : (T, 3, 3).  R, t : (3, 3), (3,) world to camera.  u0, v0 : the principal point.
    depth, owner : (H, W), to be given as infinity and -1.

    A pixel sees a triangle if its ray passes all three planes through the eye and an edge on the
    same side. Two triangles have the same plane for a shared edge but for the sign, which holds in
    rounded arithmetic too, so no ray slips through between them.
    """
    rows, columns = depth.shape
    x0, x1, y0, y1 = -u0 / focal, (columns - 1 - u0) / focal, -v0 / focal, (rows - 1 - v0) / focal
    c = np.empty((3, 3))
    n = np.empty((3, 3))
    for k in range(len(triangles)):
        low, high, beside = np.inf, -np.inf, 15
        for i in range(3):
            x, y, z = triangles[k, i, 0], triangles[k, i, 1], triangles[k, i, 2]
            for j in range(3):
                c[i, j] = R[j, 0] * x + R[j, 1] * y + R[j, 2] * z + t[j]
            low, high = min(low, c[i, 2]), max(high, c[i, 2])
            # a bit for each side of the image beyond which a corner is
            beside &= ((c[i, 0] < x0 * c[i, 2]) + 2 * (c[i, 0] > x1 * c[i, 2])
                       + 4 * (c[i, 1] < y0 * c[i, 2]) + 8 * (c[i, 1] > y1 * c[i, 2]))
        if high <= near or beside:
            continue
        if low > near:
            left, right, top, bottom = np.inf, -np.inf, np.inf, -np.inf
            for i in range(3):
                u, v = u0 + focal * c[i, 0] / c[i, 2], v0 + focal * c[i, 1] / c[i, 2]
                left, right = min(left, u), max(right, u)
                top, bottom = min(top, v), max(bottom, v)
            first, last = max(0, math.ceil(left)), min(columns - 1, math.floor(right))
            upper, lower = max(0, math.ceil(top)), min(rows - 1, math.floor(bottom))
        else:  # it reaches behind the eye, so its picture has no bounds
            first, last, upper, lower = 0, columns - 1, 0, rows - 1
        for i in range(3):
            j = (i + 1) % 3
            n[i, 0] = c[i, 1] * c[j, 2] - c[i, 2] * c[j, 1]
            n[i, 1] = c[i, 2] * c[j, 0] - c[i, 0] * c[j, 2]
            n[i, 2] = c[i, 0] * c[j, 1] - c[i, 1] * c[j, 0]
        nx, ny, nz = n[:, 0].sum(), n[:, 1].sum(), n[:, 2].sum()  # the normal of the triangle
        offset = nx * c[0, 0] + ny * c[0, 1] + nz * c[0, 2]
        for row in range(upper, lower + 1):
            y = (row - v0) / focal
            for column in range(first, last + 1):
                x = (column - u0) / focal
                a = n[0, 0] * x + n[0, 1] * y + n[0, 2]
                b = n[1, 0] * x + n[1, 1] * y + n[1, 2]
                d = n[2, 0] * x + n[2, 1] * y + n[2, 2]
                if not ((a >= 0 and b >= 0 and d >= 0) or (a <= 0 and b <= 0 and d <= 0)):
                    continue
                facing = nx * x + ny * y + nz
                if facing == 0:
                    continue
                z = offset / facing
                if near < z < depth[row, column]:
                    depth[row, column] = z
                    owner[row, column] = k


@jit
def signed_distance(
    points: Floats, images: Singles, R: Floats, t: Floats, focal: float, u0: float, v0: float,
    band: float, distance: Floats, weight: Indices,
) -> None:
    """Add up how far in front of the seen surface each point is, and count the images that tell.

    points : (N, 3).  images : (F, H, W) z, 0 where nothing was measured.
    R, t : (F, 3, 3), (F, 3) world to camera.
    distance, weight : (N,), to be given as 0; in units of `band`, at most 1. Points that are more
        than a band behind the surface are hidden, and not told of.

    Source: Curless, Levoy, SIGGRAPH 1996.
    """
    frames, rows, columns = images.shape
    for i in range(len(points)):
        x, y, z = points[i, 0], points[i, 1], points[i, 2]
        for f in range(frames):
            d = R[f, 2, 0] * x + R[f, 2, 1] * y + R[f, 2, 2] * z + t[f, 2]
            if d < 0.1:
                continue
            u = (R[f, 0, 0] * x + R[f, 0, 1] * y + R[f, 0, 2] * z + t[f, 0]) / d * focal + u0
            v = (R[f, 1, 0] * x + R[f, 1, 1] * y + R[f, 1, 2] * z + t[f, 1]) / d * focal + v0
            column, row = math.floor(u + 0.5), math.floor(v + 0.5)
            if column < 0 or row < 0 or column >= columns or row >= rows:
                continue
            measured = images[f, row, column]
            if measured <= 0:
                continue
            gap = (measured - d) / band
            if gap > -1:
                distance[i] += min(gap, 1.0)
                weight[i] += 1
