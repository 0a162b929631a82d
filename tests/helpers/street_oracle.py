"""What the compiled loops of the generated street compute, plainly, ray by ray, in float64."""

import math

import numpy as np

from pcinv_data.lidar_sim.solids import BALL, CONVEX, GRILLE, LEAVES, ROD
from pcinv_data.lidar_sim.street import HALF_TURN
from pcinv_data.lidar_sim.traffic import matrices

MASK = (1 << 64) - 1


def leaf_bits(i, j, k, salt):
    h = ((i & 0xFFFFFF) * 0x9E3779B97F4A7C15 ^ (j & 0xFFFFFF) * 0xC2B2AE3D27D4EB4F
         ^ (k & 0xFFFFFF) * 0x165667B19E3779F9 ^ (salt & 0xFFFFFF) * 0xD6E8FEB86659FD93) & MASK
    h = (h ^ (h >> 29)) * 0xBF58476D1CE4E5B9 & MASK
    h = (h ^ (h >> 32)) * 0x94D049BB133111EB & MASK
    return h ^ (h >> 31)


def leaves_of(values):
    """Return the centres (n, 3) of all leaves of an ellipsoid."""
    radii, cell, leaf, density, salt = values[:3], values[3], values[4], values[5], int(values[6])
    rim, found = 1 - 0.87 * cell / radii.min(), []
    low, high = np.floor(-radii / cell).astype(int), np.ceil(radii / cell).astype(int)
    for i in range(low[0], high[0]):
        for j in range(low[1], high[1]):
            for k in range(low[2], high[2]):
                h = leaf_bits(i, j, k, salt)
                part = [((h >> (12 * n)) & 0xFFF) / 4096 for n in range(5)]
                away = np.linalg.norm((np.array([i, j, k]) + 0.5) * cell / radii)
                if part[0] < density and away < rim - 0.3 * part[4]:
                    corner = np.array([i, j, k]) * cell
                    found.append(corner + leaf + (cell - 2 * leaf) * np.array(part[1:4]))
    return np.array(found).reshape(-1, 3)


def sphere(o, d, radius):
    """Return where rays o + t d (n, 3) enter spheres about 0."""
    a, b, c = (d * d).sum(-1), (o * d).sum(-1), (o * o).sum(-1) - radius**2
    rest = b * b - a * c
    t = (-b - np.sqrt(np.maximum(rest, 0))) / a
    return np.where((rest > 0) & (t > 0), t, np.inf)


def rod(o, d, length, r0, r1):
    ends = []
    k, m = (r1 - r0) / length, (r0 + r1) / 2
    a = d[0]**2 + d[1]**2 - (k * d[2])**2
    b = 2 * (o[0] * d[0] + o[1] * d[1] - k * d[2] * (m + k * o[2]))
    c = o[0]**2 + o[1]**2 - (m + k * o[2])**2
    if a and b * b - 4 * a * c >= 0:
        for sign in (-1, 1):
            t = (-b + sign * math.sqrt(b * b - 4 * a * c)) / (2 * a)
            z = o[2] + t * d[2]
            if t > 0 and abs(z) <= length / 2 and m + k * z >= 0:
                ends.append(t)
    if d[2]:
        for z, r in ((-length / 2, r0), (length / 2, r1)):
            t = (z - o[2]) / d[2]
            if t > 0 and np.hypot(o[0] + t * d[0], o[1] + t * d[1]) <= r:
                ends.append(t)
    return min(ends, default=math.inf)


def meet(parts, p, o, d, leaves):
    """Return where a ray of the frame of the solids meets solid p."""
    o, d, v = parts.A[p] @ (o - parts.c[p]), parts.A[p] @ d, parts.values[p]
    if parts.kind[p] == CONVEX:
        planes = parts.planes[parts.first[p]:parts.last[p]]
        with np.errstate(divide="ignore", invalid="ignore"):
            t = (planes[:, 3] - planes[:, :3] @ o) / (planes[:, :3] @ d)
        t = np.sort(t[np.isfinite(t) & (t > 0)])
        on = np.array([(planes[:, :3] @ (o + s * d) - planes[:, 3]).max() < 1e-9 for s in t], bool)
        return t[on][0] if on.any() else math.inf
    if parts.kind[p] == BALL:
        return float(sphere(o, d, 1.0))
    if parts.kind[p] == ROD:
        return rod(o, d, *v[:3])
    if parts.kind[p] == LEAVES:
        if p not in leaves:
            leaves[p] = leaves_of(v)
        return float(sphere(o - leaves[p], d[None], v[4]).min(initial=math.inf))
    assert parts.kind[p] == GRILLE
    t = -o[1] / d[1]
    x, z = o[0] + t * d[0] + v[0], o[2] + t * d[2] + v[1]
    solid = 0 <= x <= 2 * v[0] and 0 <= z <= 2 * v[1] and (x % v[2] <= v[3] or z % v[4] <= v[5])
    return t if t > 0 and solid else math.inf


def bilinear(grid, field, x, y):
    x, y = x - field.x0, y - field.y0
    i, j = np.floor(x).astype(int), np.floor(y).astype(int)
    u, v = x - i, y - j
    return (grid[i, j] * (1 - u) * (1 - v) + grid[i + 1, j] * u * (1 - v)
            + grid[i, j + 1] * (1 - u) * v + grid[i + 1, j + 1] * u * v)


def above_ground(field, points):
    """Return how high points (n, 3) are above the ground, whatever its kerbs."""
    x, y, z = points.T
    raised = np.where(bilinear(field.kerb, field, x, y) >= 0, field.step, 0)
    return z - bilinear(field.height, field, x, y) - raised


def meet_ground(field, o, d, far, step=0.002):
    """Return where a ray first is below the ground, by small steps and bisection."""
    t = np.arange(0, far, step)
    below = above_ground(field, o + t[:, None] * d) < 0
    if not below.any():
        return math.inf
    high = t[below.argmax()]
    low = high - step
    for _ in range(50):
        middle = (low + high) / 2
        below = above_ground(field, (o + middle * d)[None])[0] < 0
        low, high = (low, middle) if below else (middle, high)
    return high


def meet_all(scene, sensor, tracks, direction, far, near, leaves):
    """Return where a ray of the sensor's frame first meets anything, and whose row it is.

    sensor : (6,) and tracks : (O, 6) at the time of the ray.
    """
    T = matrices(sensor)
    o, d = T[:3, 3], T[:3, :3] @ direction
    best, owner = meet_ground(scene.field, o, d, far), -1
    poses, groups = matrices(tracks), scene.groups
    for g in range(len(groups.first)):
        a, b, who = o, d, groups.owner[g]
        if who >= 0:
            R, t = poses[who, :3, :3], poses[who, :3, 3]
            a, b = R.T @ (o - t), R.T @ d
        for p in range(groups.first[g], groups.last[g]):
            v = scene.parts.c[p] - a
            if v @ v - (v @ b)**2 > (scene.parts.radius[p] + 1e-6)**2:
                continue
            t = meet(scene.parts, p, a, b, leaves)
            if near < t < best:
                best, owner = t, who
    return (best, owner) if best < far else (math.inf, -1)


def off_surface(parts, first, last, points):
    """Return how far points (n, 3) are from the nearest surface of solids, nearly, in metres."""
    away = np.full(len(points), np.inf)
    for p in range(first, last):
        q = (points - parts.c[p]) @ parts.A[p].T
        v = parts.values[p]
        if parts.kind[p] == CONVEX:
            planes = parts.planes[parts.first[p]:parts.last[p]]
            gap = np.abs((q @ planes[:, :3].T - planes[:, 3]).max(1))
        elif parts.kind[p] == BALL:
            size = np.linalg.norm(q, axis=1)
            slope = np.linalg.norm(q / size[:, None] @ parts.A[p], axis=1)
            gap = np.abs(size - 1) / slope
        elif parts.kind[p] == ROD:
            flat = np.hypot(q[:, 0], q[:, 1]) - ((v[1] + v[2]) / 2 + (v[2] - v[1]) / v[0] * q[:, 2])
            gap = np.abs(np.maximum(flat, np.abs(q[:, 2]) - v[0] / 2))
        else:
            assert parts.kind[p] == GRILLE
            gap = np.linalg.norm(np.maximum(np.abs(q) - [v[0], 0, v[1]], 0), axis=1)
        away = np.minimum(away, gap)
    return away


def at_stamp(scene):
    """Return the poses of the sensor (6,) and of the things (O, 6) at the stamp of a scene."""
    return scene.sensor[HALF_TURN], scene.tracks[:, HALF_TURN]
