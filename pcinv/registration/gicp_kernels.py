"""Compiled loop of GICP between two thinned clouds with normals."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from pcinv.ops.jit import jit
from pcinv.registration.grid_kernels import nearest_within

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]

FLAT = 1e-3
"""Variance of a surface across itself, as a share of that along it."""


@jit
def linearise(
    source: Floats, source_normals: Floats, target: Floats, target_normals: Floats, low: Floats,
    size: float, first: Indices, table_key: Indices, table_row: Indices, pose: Floats,
    signed: bool, information: Floats, gradient: Floats, moments: Floats,
) -> int:
    """Fill J^T W J (6, 6) and J^T W e (6,) of all matched points at a pose; return their number.

    moments : filled with the sums of x, y, z and x^2 + y^2 + z^2 of the matched source points.

    A source point is matched to the nearest target point nearer than `size`; if `signed`, only to
    one whose surface faces the same side. target, target_normals : in the order of the grid.

    In the frame of the source, with q and m the target's point and normal there: e = q - p,
    W = (2 - (1 - FLAT) (n n^T + m m^T))^-1, J = [[p]x | -1] for a small turn, then a shift.
    """
    information[:] = 0.0
    gradient[:] = 0.0
    moments[:] = 0.0
    matched = 0
    a = 1.0 - FLAT
    r00, r01, r02, t0 = pose[0, 0], pose[0, 1], pose[0, 2], pose[0, 3]
    r10, r11, r12, t1 = pose[1, 0], pose[1, 1], pose[1, 2], pose[1, 3]
    r20, r21, r22, t2 = pose[2, 0], pose[2, 1], pose[2, 2], pose[2, 3]
    jacobian, weighted = np.zeros((3, 6)), np.zeros((3, 6))
    for i in range(len(source)):
        px, py, pz = source[i, 0], source[i, 1], source[i, 2]
        x = r00 * px + r01 * py + r02 * pz + t0
        y = r10 * px + r11 * py + r12 * pz + t1
        z = r20 * px + r21 * py + r22 * pz + t2
        j = nearest_within(x, y, z, target, low, size, first, table_key, table_row)
        if j < 0:
            continue
        tx, ty, tz = target_normals[j, 0], target_normals[j, 1], target_normals[j, 2]
        mx = r00 * tx + r10 * ty + r20 * tz
        my = r01 * tx + r11 * ty + r21 * tz
        mz = r02 * tx + r12 * ty + r22 * tz
        nx, ny, nz = source_normals[i, 0], source_normals[i, 1], source_normals[i, 2]
        if signed and nx * mx + ny * my + nz * mz < 0.0:
            continue
        matched += 1
        moments[0] += px
        moments[1] += py
        moments[2] += pz
        moments[3] += px * px + py * py + pz * pz
        x, y, z = target[j, 0] - x, target[j, 1] - y, target[j, 2] - z
        ex = r00 * x + r10 * y + r20 * z
        ey = r01 * x + r11 * y + r21 * z
        ez = r02 * x + r12 * y + r22 * z
        c00 = 2.0 - a * (nx * nx + mx * mx)
        c11 = 2.0 - a * (ny * ny + my * my)
        c22 = 2.0 - a * (nz * nz + mz * mz)
        c01 = -a * (nx * ny + mx * my)
        c02 = -a * (nx * nz + mx * mz)
        c12 = -a * (ny * nz + my * mz)
        w00, w01, w02 = c11 * c22 - c12 * c12, c02 * c12 - c01 * c22, c01 * c12 - c02 * c11
        scale = 1.0 / (c00 * w00 + c01 * w01 + c02 * w02)
        w11, w12, w22 = c00 * c22 - c02 * c02, c01 * c02 - c00 * c12, c00 * c11 - c01 * c01
        w00, w01, w02, w11, w12, w22 = (
            w00 * scale, w01 * scale, w02 * scale, w11 * scale, w12 * scale, w22 * scale)
        jacobian[0, 1], jacobian[0, 2] = -pz, py
        jacobian[1, 0], jacobian[1, 2] = pz, -px
        jacobian[2, 0], jacobian[2, 1] = -py, px
        jacobian[0, 3] = jacobian[1, 4] = jacobian[2, 5] = -1.0
        for c in range(6):
            b0, b1, b2 = jacobian[0, c], jacobian[1, c], jacobian[2, c]
            weighted[0, c] = w00 * b0 + w01 * b1 + w02 * b2
            weighted[1, c] = w01 * b0 + w11 * b1 + w12 * b2
            weighted[2, c] = w02 * b0 + w12 * b1 + w22 * b2
        for r in range(6):
            b0, b1, b2 = weighted[0, r], weighted[1, r], weighted[2, r]
            gradient[r] += b0 * ex + b1 * ey + b2 * ez
            for c in range(r, 6):
                information[r, c] += (b0 * jacobian[0, c] + b1 * jacobian[1, c]
                                      + b2 * jacobian[2, c])
    for r in range(6):
        for c in range(r):
            information[r, c] = information[c, r]
    return matched


@jit
def _move(pose: Floats, step: Floats) -> None:
    """Replace the pose T by T exp(step), a turn (3) and a shift (3) in the source's frame."""
    wx, wy, wz = step[0], step[1], step[2]
    angle = math.sqrt(wx * wx + wy * wy + wz * wz)
    s = math.sin(angle) / angle if angle > 1e-12 else 1.0
    c = (1.0 - math.cos(angle)) / (angle * angle) if angle > 1e-8 else 0.5
    turn = np.empty((3, 3))
    turn[0, 0], turn[0, 1], turn[0, 2] = (
        1.0 - c * (wy * wy + wz * wz), c * wx * wy - s * wz, c * wx * wz + s * wy)
    turn[1, 0], turn[1, 1], turn[1, 2] = (
        c * wx * wy + s * wz, 1.0 - c * (wx * wx + wz * wz), c * wy * wz - s * wx)
    turn[2, 0], turn[2, 1], turn[2, 2] = (
        c * wx * wz - s * wy, c * wy * wz + s * wx, 1.0 - c * (wx * wx + wy * wy))
    before = pose[:3, :3].copy()
    for r in range(3):
        for k in range(3):
            pose[r, k] = (before[r, 0] * turn[0, k] + before[r, 1] * turn[1, k]
                          + before[r, 2] * turn[2, k])
        pose[r, 3] += before[r, 0] * step[3] + before[r, 1] * step[4] + before[r, 2] * step[5]


@jit
def gicp(
    source: Floats, source_normals: Floats, target: Floats, target_normals: Floats, low: Floats,
    size: float, first: Indices, table_key: Indices, table_row: Indices, pose: Floats,
    signed: bool, iterations: int, damping: float, least_turn: float, least_shift: float,
    information: Floats, moments: Floats,
) -> int:
    """Improve the pose (4, 4) in place; return the number of matched points.

    information (6, 6), moments (4,) : filled as by `linearise`, at the last pose but one.

    Stops where a step turns and shifts by less than the least, or after so many steps.
    """
    gradient = np.zeros(6)
    matched = 0
    for _ in range(iterations):
        matched = linearise(source, source_normals, target, target_normals, low, size, first,
                            table_key, table_row, pose, signed, information, gradient, moments)
        if matched == 0:
            return 0
        held = information.copy()
        for k in range(6):
            held[k, k] += damping * matched
        step = np.linalg.solve(held, -gradient)
        _move(pose, step)
        turn = math.sqrt(step[0] ** 2 + step[1] ** 2 + step[2] ** 2)
        shift = math.sqrt(step[3] ** 2 + step[4] ** 2 + step[5] ** 2)
        if turn < least_turn and shift < least_shift:
            break
    return matched
