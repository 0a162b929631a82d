"""A furnished room of triangles, and the depth image that a camera in it would take.

The room is 4.6 x 3.4 x 2.6 m, its floor at z = 0 and its middle at x = y = 0. Meshes are arrays
(T, 3, 3) of corners; what is placed stands on z = 0 of its own frame, its front towards -y.
"""

import math

import numpy as np

from pcinv_data.generate.primitives import turn

Mesh = np.ndarray
LENGTH, WIDTH, HEIGHT = 4.6, 3.4, 2.6


def placed(parts: list[Mesh], at: tuple[float, float, float], angle: float = 0.0) -> Mesh:
    """Turn meshes about z and move them."""
    return np.concatenate(parts) @ turn(2, angle).T + np.array(at)


def surface(grid: np.ndarray) -> Mesh:
    """Join neighbours of a grid of points (N, M, 3) by two triangles a cell."""
    a, b, c, d = grid[:-1, :-1], grid[:-1, 1:], grid[1:, 1:], grid[1:, :-1]
    return np.stack([np.stack([a, b, c], 2), np.stack([a, c, d], 2)], 2).reshape(-1, 3, 3)


def block(size: tuple[float, float, float], at: tuple[float, float, float] = (0, 0, 0),
          lean: float = 0.0) -> Mesh:
    """A box on the middle `at` of its base, by chance leaning about x."""
    square = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1], [-1, -1]]) / 2
    rings = [np.column_stack([square * scale, np.full(5, z)])
             for scale, z in ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0))]
    return surface(np.stack(rings) * size) @ turn(0, lean).T + np.array(at)


def lathe(profile: list[tuple[float, float]], at: tuple[float, float, float] = (0, 0, 0),
          sides: int = 28) -> Mesh:
    """Turn a profile of (radius, height) about z."""
    radius, height = np.array(profile, dtype=float).T
    angle = np.linspace(0, 2 * math.pi, sides + 1)
    grid = np.stack([np.outer(radius, np.cos(angle)), np.outer(radius, np.sin(angle)),
                     np.repeat(height[:, None], sides + 1, 1)], -1)
    return surface(grid) + np.array(at)


def cushion(radii: tuple[float, float, float], at: tuple[float, float, float],
            corner: float = 0.4, lean: float = 0.0) -> Mesh:
    """A box with soft edges about its centre `at`; `corner` = 1 makes an ellipsoid."""
    def bent(x: np.ndarray) -> np.ndarray:
        return np.sign(x) * np.abs(x) ** corner

    u = np.linspace(-math.pi / 2, math.pi / 2, 15)[:, None]
    v = np.linspace(-math.pi, math.pi, 29)[None]
    grid = np.stack(np.broadcast_arrays(
        bent(np.cos(u)) * bent(np.cos(v)), bent(np.cos(u)) * bent(np.sin(v)), bent(np.sin(u))), -1)
    return surface(grid * radii) @ turn(0, lean).T + np.array(at)


def table() -> list[Mesh]:
    legs = [block((0.06, 0.06, 0.71), (x, y, 0)) for x in (-0.6, 0.6) for y in (-0.32, 0.32)]
    return [*legs, block((1.4, 0.8, 0.04), (0, 0, 0.71))]


def laid_table(rng: np.random.Generator) -> list[Mesh]:
    """A table with a vase, a bowl, a mug, a laptop and a pile of books."""
    vase = [(0, 0), (0.06, 0), (0.1, 0.08), (0.11, 0.14), (0.05, 0.24), (0.045, 0.28), (0.07, 0.33)]
    bowl = [(0, 0.01), (0.06, 0.0), (0.12, 0.05), (0.15, 0.1), (0.14, 0.1), (0.06, 0.02), (0, 0.02)]
    top = [lathe(vase, (-0.45, 0.15, 0)), lathe(bowl, (0.05, 0.2, 0)),
           lathe([(0, 0), (0.042, 0), (0.042, 0.1)], (0.3, -0.3, 0)),
           placed([block((0.34, 0.24, 0.02)), block((0.34, 0.015, 0.22), (0, 0.12, 0.02), -0.3)],
                  (-0.1, -0.2, 0), 0.25)]
    top += [placed([block((0.26, 0.19, 0.04))], (0.5, 0.1, 0.04 * k), rng.normal(0, 0.25))
            for k in range(4)]
    return [*table(), placed(top, (0, 0, 0.75))]


def chair() -> list[Mesh]:
    legs = [block((0.04, 0.04, 0.44), (x, y, 0)) for x in (-0.2, 0.2) for y in (-0.19, 0.19)]
    back = [block((0.04, 0.03, 0.5), (x, 0.2, 0.46), -0.12) for x in (-0.2, -0.07, 0.07, 0.2)]
    return [*legs, *back, cushion((0.23, 0.22, 0.03), (0, 0, 0.45), 0.3),
            block((0.46, 0.04, 0.1), (0, 0.25, 0.88), -0.12)]


def sofa() -> list[Mesh]:
    parts = [block((1.9, 0.8, 0.22), (0, 0, 0.06)),
             cushion((0.95, 0.13, 0.26), (0, 0.34, 0.6), 0.3, -0.12),
             cushion((0.22, 0.08, 0.2), (-0.55, 0.08, 0.62), 0.5, -0.5)]
    for side in (-1, 1):
        parts += [cushion((0.46, 0.38, 0.1), (side * 0.47, -0.04, 0.37), 0.3),
                  cushion((0.11, 0.42, 0.3), (side * 1.04, 0, 0.33), 0.3)]
    return parts


def shelf(rng: np.random.Generator) -> list[Mesh]:
    """Six boards, books of all sizes between them, a jar and a ball."""
    parts = [block((1.1, 0.02, 1.95), (0, 0.16, 0))]
    parts += [block((0.03, 0.32, 1.95), (side * 0.55, 0, 0)) for side in (-1, 1)]
    for level in range(6):
        z = 0.06 + 0.37 * level
        parts.append(block((1.1, 0.32, 0.03), (0, 0, z)))
        x, end = -0.52, rng.uniform(-0.1, 0.45) if level < 5 else -0.52
        while x < end:
            thick, tall = rng.uniform(0.02, 0.07), rng.uniform(0.17, 0.32)
            deep = rng.uniform(0.14, 0.24)
            parts.append(block((thick, deep, tall), (x + thick / 2, 0.14 - deep / 2, z + 0.03)))
            x += thick + 0.003
    jar = [(0, 0), (0.07, 0), (0.1, 0.12), (0.05, 0.2), (0.06, 0.23)]
    return [*parts, lathe(jar, (0.46, 0, 0.83)), cushion((0.11, 0.11, 0.11), (0.35, 0, 2.05), 1.0)]


def cabinet() -> list[Mesh]:
    """Doors with knobs, and on it a screen and a pot."""
    parts = [block((1.3, 0.42, 0.8)), block((1.34, 0.46, 0.03), (0, 0, 0.8))]
    for x in (-0.43, 0.0, 0.43):
        parts += [block((0.4, 0.03, 0.7), (x, -0.22, 0.05)),
                  cushion((0.02, 0.03, 0.02), (x + 0.14, -0.25, 0.5), 1.0)]
    screen = [block((0.3, 0.18, 0.02)), block((0.05, 0.04, 0.1)),
              block((0.75, 0.05, 0.45), (0, 0, 0.08))]
    pot = lathe([(0, 0), (0.08, 0), (0.12, 0.18), (0.13, 0.2), (0, 0.18)], (0.5, 0, 0.83))
    return [*parts, placed(screen, (-0.15, 0.05, 0.83), 0.2), pot]


def plant(rng: np.random.Generator) -> list[Mesh]:
    """A pot with long leaves."""
    leaf = [cushion((0.2, 0.06, 0.008), (0.22, 0, 0), 1.0)]
    parts = [lathe([(0, 0), (0.13, 0), (0.18, 0.3), (0.2, 0.33), (0, 0.3)])]
    for k in range(16):
        rise, height = rng.uniform(-0.2, 1.2), rng.uniform(0.4, 0.95)
        parts.append(placed([placed(leaf, (0, 0, 0)) @ turn(1, -rise).T], (0, 0, height), 2.4 * k))
    return [*parts, lathe([(0.02, 0.3), (0.015, 0.95)], sides=8)]


def lamp() -> list[Mesh]:
    return [lathe([(0, 0), (0.16, 0), (0.15, 0.03), (0.015, 0.05), (0.015, 1.3)]),
            lathe([(0.22, 1.1), (0.13, 1.4), (0, 1.4)])]


def walls() -> list[Mesh]:
    """The shell of the room, a window with a radiator, a door, pictures and skirting."""
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1], [-1, -1]]) * [LENGTH / 2, WIDTH / 2]
    rings = [np.column_stack([corners * scale, np.full(5, z)])
             for scale, z in ((0, 0), (1, 0), (1, HEIGHT), (0, HEIGHT))]
    bars = [block((1.3, 0.07, 0.07), (0, 0, z)) for z in (0.0, 0.65, 1.2)]
    posts = [block((0.07, 0.07, 1.25), (x, 0, 0)) for x in (-0.65, 0.1, 0.65)]
    window = [*bars, *posts, block((1.5, 0.24, 0.04), (0, -0.1, -0.04))]
    radiator = [block((0.06, 0.1, 0.55), (0.08 * k - 0.52, 0, 0.1)) for k in range(14)]
    door = [block((0.95, 0.05, 2.05)), block((0.1, 0.1, 2.1), (-0.5, 0, 0)),
            block((0.1, 0.1, 2.1), (0.5, 0, 0)), block((1.1, 0.1, 0.1), (0, 0, 2.05)),
            cushion((0.03, 0.05, 0.03), (0.38, -0.06, 1.0), 1.0)]
    picture = [block((0.9, 0.03, 0.6)), block((0.8, 0.05, 0.5), (0, 0, 0.05))]
    left, right = math.pi / 2, -math.pi / 2
    return [surface(np.stack(rings)), placed(window, (-2.27, 0.1, 0.9), left),
            placed(radiator, (-2.22, 0.1, 0), left), placed(door, (-0.6, -1.67, 0), math.pi),
            placed(picture, (1.0, 1.68, 1.25)), placed(picture[:1], (2.28, -0.3, 1.5), right),
            block((0.35, 0.3, HEIGHT), (-2.15, 1.6, 0)),
            block((LENGTH, 0.03, 0.1), (0, 1.69, 0)), block((0.03, WIDTH, 0.1), (-2.29, 0, 0)),
            block((0.03, WIDTH, 0.1), (2.29, 0, 0))]


def room(rng: np.random.Generator) -> Mesh:
    """The room with its furniture: a sofa, a table with chairs, a shelf, a cabinet and clutter."""
    right = -math.pi / 2
    ball = cushion((0.13, 0.13, 0.13), (0.85, -0.55, 0.14), 1.0)
    pouf = cushion((0.3, 0.3, 0.2), (-1.7, 0.55, 0.2), 0.8)
    bin_ = lathe([(0, 0), (0.12, 0), (0.16, 0.32), (0.15, 0.32), (0.11, 0.02)], (2.0, 0.65, 0))
    cartons = [block((0.5, 0.4, 0.35)), placed([block((0.36, 0.3, 0.26))], (0.04, 0, 0.35), 0.5)]
    pendant = lathe([(0.22, -0.62), (0.16, -0.5), (0.05, -0.42), (0.012, -0.4), (0.012, 0.0)],
                    (-0.1, 0.0, HEIGHT))
    return np.concatenate([
        *walls(), placed(sofa(), (1.0, 1.2, 0)), placed(shelf(rng), (-1.2, 1.5, 0)),
        placed(cabinet(), (2.05, -0.3, 0), right), placed(laid_table(rng), (-0.1, -0.05, 0), 0.35),
        placed(chair(), (-0.5, 0.6, 0), 0.5), placed(chair(), (0.4, -0.6, 0), 2.9),
        placed(chair(), (-1.2, -0.35, 0), 1.7), placed(plant(rng), (-1.85, 1.2, 0)),
        placed(lamp(), (-0.3, 1.35, 0)), placed(cartons, (1.8, -1.3, 0), 0.3),
        block((1.7, 1.0, 0.015), (0.9, 0.45, 0)), ball, pouf, bin_, pendant])


def render(
    mesh: Mesh, x: np.ndarray, y: np.ndarray, near: float
) -> tuple[np.ndarray, np.ndarray]:
    """Intersect the rays (x, y, 1) of an image with a mesh in the frame of the camera.

    x : (W,) and y : (H,), ascending. Returns the depth z (H, W), infinite where nothing is hit,
    and the cosine between ray and surface.
    """
    depth, cosine = np.full((len(y), len(x)), np.inf), np.zeros((len(y), len(x)))
    length = np.sqrt(1 + x**2 + y[:, None] ** 2)
    mesh = mesh[(mesh[..., 2] > near).any(1)]
    sides = np.cross(mesh, np.roll(mesh, -1, axis=1))  # normals of the planes through the eye
    normals = np.cross(mesh[:, 1] - mesh[:, 0], mesh[:, 2] - mesh[:, 0])
    offsets, sizes = (normals * mesh[:, 0]).sum(1), np.sqrt((normals * normals).sum(1))
    sizes = np.maximum(sizes, 1e-12)
    for corners, side, normal, offset, size in zip(
            mesh, sides, normals, offsets, sizes, strict=True):
        across, down = slice(None), slice(None)
        if corners[:, 2].min() > near:  # else its picture has no bounds
            flat = corners[:, :2] / corners[:, 2:]
            (left, top), (right, bottom) = flat.min(0), flat.max(0)
            across = slice(np.searchsorted(x, left), np.searchsorted(x, right, "right"))
            down = slice(np.searchsorted(y, top), np.searchsorted(y, bottom, "right"))
        u, v = x[across], y[down, None]
        turns = np.stack([n[0] * u + n[1] * v + n[2] for n in side])
        facing = normal[0] * u + normal[1] * v + normal[2]
        inside = ((turns >= 0).all(0) | (turns <= 0).all(0)) & (facing != 0)
        z = np.full(inside.shape, np.inf)
        np.divide(offset, facing, out=z, where=inside)
        hit = (z > near) & (z < depth[down, across])
        depth[down, across][hit] = z[hit]
        cosine[down, across][hit] = np.abs(facing / (length[down, across] * size))[hit]
    return depth, cosine
