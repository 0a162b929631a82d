"""Meshes of plain bodies, as arrays (T, 3, 3) of the corners of triangles.

Rooms are built of them: a camera needs surfaces without gaps, not bodies whose inside is known.
What stands on something has its base at z = 0 and its front towards -y. Lengths are metres.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from pcinv_data.generate.primitives import turn

Mesh = np.ndarray
"""(T, 3, 3) float64: triangle, corner, coordinate."""
Rng = np.random.Generator
Place = tuple[float, float, float]
ORIGIN: Place = (0.0, 0.0, 0.0)


def placed(parts: Sequence[Mesh], at: Place = ORIGIN, about_z: float = 0.0, about_x: float = 0.0,
           about_y: float = 0.0, scale: float = 1.0) -> Mesh:
    """Join meshes, turn them about x, then y, then z, and move them."""
    R = turn(2, about_z) @ turn(1, about_y) @ turn(0, about_x)
    return np.asarray(np.concatenate(parts) @ (scale * R).T + np.array(at))


def surface(grid: np.ndarray) -> Mesh:
    """Join neighbours of a grid of points (N, M, 3) by two triangles a cell."""
    a, b, c, d = grid[:-1, :-1], grid[:-1, 1:], grid[1:, 1:], grid[1:, :-1]
    return np.stack([np.stack([a, b, c], 2), np.stack([a, c, d], 2)], 2).reshape(-1, 3, 3)


def closed(grid: np.ndarray) -> Mesh:
    """Return the surface of a grid (N, M, 3) whose last column meets the first one."""
    return surface(np.concatenate([grid, grid[:, :1]], 1))


def block(x: float, y: float, z: float, at: Place = ORIGIN) -> Mesh:
    """A box of these side lengths on the middle `at` of its base."""
    square = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) / 2
    return placed([extruded(square * [x, y], z)], at)


def extruded(outline: np.ndarray, height: float) -> Mesh:
    """Raise a flat outline (n, 2) that its middle sees whole."""
    middle = outline.mean(0)
    flat = [np.broadcast_to(middle, outline.shape), outline, outline,
            np.broadcast_to(middle, outline.shape)]
    levels = (0.0, 0.0, height, height)
    return closed(np.stack([np.column_stack([ring, np.full(len(ring), z)])
                            for ring, z in zip(flat, levels, strict=True)]))


def lathe(height: Sequence[float] | np.ndarray, radius: Sequence[float] | np.ndarray,
          sides: int = 24) -> Mesh:
    """Turn a profile about z."""
    angle = 2 * math.pi * np.arange(sides) / sides
    h, r = np.asarray(height, float), np.asarray(radius, float)
    return closed(np.stack([np.outer(r, np.cos(angle)), np.outer(r, np.sin(angle)),
                            np.repeat(h[:, None], sides, 1)], -1))


def cushion(radii: Sequence[float] | np.ndarray, upright: float = 1.0, around: float = 1.0,
            steps: int = 12) -> Mesh:
    """A superellipsoid about the origin: exponents near 0 make a box, 1 an ellipsoid.

    upright : exponent of its outline seen from the side.  around : of that seen from above.

    Source: Barr, Superquadrics and angle-preserving transformations, 1981.
    """
    def power(x: np.ndarray, exponent: float) -> np.ndarray:
        return np.asarray(np.sign(x) * np.abs(x) ** exponent)

    u = np.linspace(-math.pi / 2, math.pi / 2, steps)[:, None]
    v = 2 * math.pi * np.arange(2 * steps)[None] / (2 * steps)
    wide = power(np.cos(u), upright)
    grid = np.stack(np.broadcast_arrays(wide * power(np.cos(v), around),
                                        wide * power(np.sin(v), around),
                                        power(np.sin(u), upright)), -1)
    return closed(grid * np.asarray(radii))


def tube(path: Sequence[Place] | np.ndarray, radius: float, sides: int = 8) -> Mesh:
    """A round tube about a path (n, 3), open at its ends."""
    line = np.asarray(path, float)
    along = np.gradient(line, axis=0)
    along /= np.sqrt((along * along).sum(1, keepdims=True)) + 1e-9
    # a helper along none of the usual directions, so that no path of a room runs along it
    side = np.cross(along, [0.31, 0.52, 0.79])
    side /= np.sqrt((side * side).sum(1, keepdims=True)) + 1e-9
    other = np.cross(along, side)
    angle = 2 * math.pi * np.arange(sides)[:, None] / sides
    circle = np.cos(angle) * side[:, None] + np.sin(angle) * other[:, None]
    return closed(line[:, None] + radius * circle)


def waves(rng: Rng, points: np.ndarray, length: float, height: float) -> np.ndarray:
    """Return a smooth random height (N,) at each of the points (N, D), some sines added up.

    length : points closer than this have about the same height.  height : how high, about.
    """
    count = 10
    direction = rng.normal(size=(count, points.shape[1])) / length
    phase = rng.uniform(0, 2 * math.pi, count)
    return np.asarray(height * np.sin(points @ direction.T + phase).sum(1) / math.sqrt(count / 2))


def sheet(rng: Rng, x: float, y: float, height: float, length: float, steps: int = 28,
          stretch: float = 1.0) -> Mesh:
    """A wavy sheet in the x-y plane about the origin; `stretch` below 1 makes folds along y."""
    u, v = np.linspace(-x / 2, x / 2, steps), np.linspace(-y / 2, y / 2, steps)
    flat = np.stack(np.meshgrid(u, v, indexing="ij"), -1).reshape(-1, 2)
    z = waves(rng, flat * [1.0, stretch], length, height)
    return surface(np.column_stack([flat, z]).reshape(steps, steps, 3))


def lump(rng: Rng, radii: Sequence[float] | np.ndarray, dents: float = 0.15) -> Mesh:
    """A soft body about the origin: pillow, bag, heap of clothes."""
    mesh = cushion(radii, rng.uniform(0.3, 1.2), rng.uniform(0.3, 1.2), 14)
    flat = mesh.reshape(-1, 3)
    dented = flat * (1 + waves(rng, flat, 1.2 * min(radii), dents))[:, None]
    return dented.reshape(mesh.shape)


def bent(rng: Rng, mesh: Mesh, chance: float) -> Mesh:
    """Taper a mesh upwards, or lean it, each by chance: no two of a kind are alike."""
    flat = mesh.reshape(-1, 3).copy()
    above = flat[:, 2:] - flat[:, 2].min()
    if rng.random() < chance:
        flat[:, :2] *= 1 + rng.uniform(-0.35, 0.35) * above / (above.max() + 1e-6)
    if rng.random() < chance / 2:
        flat[:, :2] += above * rng.normal(0, 0.12, 2)
    return flat.reshape(mesh.shape)
