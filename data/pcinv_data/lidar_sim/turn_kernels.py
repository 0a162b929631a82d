"""Compiled loops of the scanner: a whole turn, column by column.

The rays of a column lie in a plane. What that plane comes near is found once; then each solid is
met with those beams alone that may hit it, the nearest solids first.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pcinv.ops.jit import jit
from pcinv_data.lidar_sim.ground_kernels import ground_at, meet_ground
from pcinv_data.lidar_sim.ray_kernels import meet

if TYPE_CHECKING:
    from pcinv_data.lidar_sim.ground import Field
    from pcinv_data.lidar_sim.solids import Parts
    from pcinv_data.lidar_sim.street import Groups

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]


@jit
def rotation(yaw: float, pitch: float, roll: float, R: Floats) -> None:
    """Fill R = Rz(yaw) Ry(pitch) Rx(roll)."""
    a, b = math.cos(yaw), math.sin(yaw)
    c, d = math.cos(pitch), math.sin(pitch)
    e, f = math.cos(roll), math.sin(roll)
    R[0, 0], R[0, 1], R[0, 2] = a * c, a * d * f - b * e, a * d * e + b * f
    R[1, 0], R[1, 1], R[1, 2] = b * c, b * d * f + a * e, b * d * e - a * f
    R[2, 0], R[2, 1], R[2, 2] = -d, c * f, c * e


@jit
def between(track: Floats, at: float, pose: Floats) -> None:
    """Fill x, y, z, yaw, pitch, roll (6,) of a track (K, 6) at a knot, or between two."""
    k = min(int(at), len(track) - 2)
    share = at - k
    for i in range(6):
        pose[i] = track[k, i] + share * (track[k + 1, i] - track[k, i])


@jit
def turn(
    sensor: Floats, azimuth: Floats, fire: Floats, elevation: Floats, parts: Parts, groups: Groups,
    tracks: Floats, field: Field, near: float, far: float, distance: Floats, label: Indices,
    owner: Indices, cosine: Floats, shine: Floats,
) -> None:
    """Fire all beams of all columns; what they meet first is filled in.

    sensor : (K, 6) track of the sensor.  azimuth, fire : (C,) of each column, and when, in knots.
    elevation : (B,) increasing.  groups : first and last solid, centre, radius and owner: the row
        of `tracks` (O, K, 6) that carries the group, or -1.
    distance, label, owner, cosine, shine : (C, B), distance infinite where nothing is met.
    """
    S, R, pose, mine = np.empty((3, 3)), np.empty((3, 3)), np.empty(6), np.empty(6)
    ray, v, o = np.empty((3, 3)), np.empty(3), np.empty(3)  # rows of ray: forward, left, up
    local = np.empty((3, 3))
    most = 0
    for g in range(len(groups.first)):
        most += groups.last[g] - groups.first[g]
    solid, whose, order = np.empty(most, np.int64), np.empty(most, np.int64), \
        np.empty(most, np.int64)
    start, low, high = np.empty(most), np.empty(most, np.int64), np.empty(most, np.int64)
    space = np.empty((most, 9))
    best, which = np.empty(len(elevation)), np.empty(len(elevation), np.int64)
    normal, knots = np.empty((len(elevation), 3)), tracks.shape[1]
    cos_el, sin_el = np.cos(elevation), np.sin(elevation)
    bottom, top = elevation[0], elevation[-1]
    for c in range(len(azimuth)):
        between(sensor, fire[c], mine)
        rotation(mine[3], mine[4], mine[5], S)
        ca, sa = math.cos(azimuth[c]), math.sin(azimuth[c])
        for i in range(3):
            ray[0, i] = S[i, 0] * ca + S[i, 1] * sa
            ray[1, i] = S[i, 1] * ca - S[i, 0] * sa
            ray[2, i] = S[i, 2]
        count = 0
        for g in range(len(groups.first)):
            who, r = groups.owner[g], groups.radius[g]
            if who >= 0:
                k = min(int(fire[c]), knots - 2)
                share = fire[c] - k
                for i in range(3):
                    v[i] = tracks[who, k, i] + share * (tracks[who, k + 1, i] - tracks[who, k, i]) \
                        - mine[i]
            else:
                for i in range(3):
                    v[i] = groups.centre[g, i] - mine[i]
            if abs(ray[1, 0] * v[0] + ray[1, 1] * v[1] + ray[1, 2] * v[2]) > r \
                    or ray[0, 0] * v[0] + ray[0, 1] * v[1] + ray[0, 2] * v[2] < -r:
                continue
            if who >= 0:  # into the frame of the thing
                between(tracks[who], fire[c], pose)
                rotation(pose[3], pose[4], pose[5], R)
                for i in range(3):
                    o[i] = -(R[0, i] * v[0] + R[1, i] * v[1] + R[2, i] * v[2])
                    for j in range(3):
                        local[j, i] = R[0, i] * ray[j, 0] + R[1, i] * ray[j, 1] \
                            + R[2, i] * ray[j, 2]
            else:
                o[:], local[:] = mine[:3], ray
            for p in range(groups.first[g], groups.last[g]):
                r = parts.radius[p]
                for i in range(3):
                    v[i] = parts.c[p, i] - o[i]
                beside = local[1, 0] * v[0] + local[1, 1] * v[1] + local[1, 2] * v[2]
                if abs(beside) > r:
                    continue
                ahead = local[0, 0] * v[0] + local[0, 1] * v[1] + local[0, 2] * v[2]
                above = local[2, 0] * v[0] + local[2, 1] * v[1] + local[2, 2] * v[2]
                flat = ahead * ahead + above * above
                if ahead < -r or math.sqrt(flat + beside * beside) - r > far:
                    continue
                disc = r * r - beside * beside
                low[count], high[count] = 0, len(elevation)
                if flat > disc:
                    middle = math.atan2(above, ahead)
                    half = math.asin(math.sqrt(disc / flat)) + 1e-9
                    if middle - half > top or middle + half < bottom:
                        continue
                    low[count] = np.searchsorted(elevation, middle - half)
                    high[count] = np.searchsorted(elevation, middle + half)
                    if low[count] == high[count]:
                        continue
                start[count] = math.sqrt(flat + beside * beside) - r
                solid[count], whose[count] = p, who
                A = parts.A[p]
                for i in range(3):
                    space[count, i] = -(A[i, 0] * v[0] + A[i, 1] * v[1] + A[i, 2] * v[2])
                    space[count, 3 + i] = A[i, 0] * local[0, 0] + A[i, 1] * local[0, 1] \
                        + A[i, 2] * local[0, 2]
                    space[count, 6 + i] = A[i, 0] * local[2, 0] + A[i, 1] * local[2, 1] \
                        + A[i, 2] * local[2, 2]
                k = count
                while k > 0 and start[order[k - 1]] > start[count]:
                    order[k] = order[k - 1]
                    k -= 1
                order[k] = count
                count += 1
        best[:], which[:] = far, -1
        for n in range(count):
            k = order[n]
            p, q = solid[k], space[k]
            for b in range(low[k], high[k]):
                if start[k] >= best[b]:
                    continue
                ce, se = cos_el[b], sin_el[b]
                t, x, y, z = meet(
                    parts.kind[p], parts.planes, parts.first[p], parts.last[p], parts.values[p],
                    q[0], q[1], q[2], ce * q[3] + se * q[6], ce * q[4] + se * q[7],
                    ce * q[5] + se * q[8])
                if near < t < best[b]:
                    best[b], which[b] = t, k
                    normal[b, 0], normal[b, 1], normal[b, 2] = x, y, z
        free = 0.0
        for b in range(len(elevation)):
            ce, se, k = cos_el[b], sin_el[b], which[b]
            dx, dy, dz = ce * ray[0, 0] + se * ray[2, 0], ce * ray[0, 1] + se * ray[2, 1], \
                ce * ray[0, 2] + se * ray[2, 2]
            # as far ahead as the beam below went, this one is above the ground too
            t, on = meet_ground(field, mine[0], mine[1], mine[2], dx, dy, dz,
                                max(free / ce - 0.1, 0.0), best[b])
            free = max(free, min(t, best[b]) * ce)
            if near < t < best[b]:
                distance[c, b], owner[c, b] = t, -1
                label[c, b], cosine[c, b], shine[c, b] = ground_at(
                    field, mine[0] + t * dx, mine[1] + t * dy, on, dx, dy, dz)
            elif k >= 0:
                p, q, A = solid[k], space[k], parts.A[solid[k]]
                nx, ny, nz = normal[b, 0], normal[b, 1], normal[b, 2]
                size = math.sqrt((A[0, 0] * nx + A[1, 0] * ny + A[2, 0] * nz) ** 2
                                 + (A[0, 1] * nx + A[1, 1] * ny + A[2, 1] * nz) ** 2
                                 + (A[0, 2] * nx + A[1, 2] * ny + A[2, 2] * nz) ** 2)
                along = nx * (ce * q[3] + se * q[6]) + ny * (ce * q[4] + se * q[7]) \
                    + nz * (ce * q[5] + se * q[8])
                distance[c, b], owner[c, b], label[c, b] = best[b], whose[k], parts.label[p]
                cosine[c, b], shine[c, b] = min(abs(along) / size, 1.0), parts.shine[p]
