"""A street of surfaces that are sampled anew for each scan: walls, cars, a pedestrian, poles."""

import numpy as np
from scipy.spatial.transform import Rotation

MOVING = {"car ahead": (1.0, 0, 0), "car oncoming": (-1.0, 0, 0), "pedestrian": (0, 0.13, 0),
          "fast car": (2.0, 0, 0)}


def box(centre, size, count, rng):
    """Points on the faces of a box."""
    points = rng.uniform(-0.5, 0.5, (count, 3))
    axis = rng.integers(0, 3, count)
    rows = np.arange(count)
    points[rows, axis] = np.sign(points[rows, axis]) * 0.5
    return points * size + centre


def traffic(step, seed=0):
    """Return {thing: points} of the sheet's scene `step` scans later; each scan its own sample."""
    rng = np.random.default_rng((seed, step + 100))
    car, person = (4.5, 1.9, 1.6), (0.5, 0.5, 1.8)
    things = {
        "wall": np.stack([rng.uniform(-20, 20, 2000), np.full(2000, 8.0),
                          rng.uniform(0, 5, 2000)], 1),
        "car ahead": box((0, 0, 0.8), car, 700, rng), "car oncoming": box((5, -4, 0.8), car, 700,
                                                                          rng),
        "parked": box((-8, 4, 0.8), car, 700, rng), "pedestrian": box((10, 3, 0.9), person, 220,
                                                                      rng),
        "fast car": box((-10, -4, 0.8), car, 700, rng)}
    return {name: points + np.multiply(MOVING.get(name, (0, 0, 0)), step)
            for name, points in things.items()}


def joined(things):
    """Return the points of all things, their true flow in a step, and the name of each point."""
    names = np.concatenate([[name] * len(points) for name, points in things.items()])
    flow = np.concatenate([np.tile(MOVING.get(name, (0, 0, 0)), (len(points), 1))
                           for name, points in things.items()]).astype(float)
    return np.concatenate(list(things.values())), flow, names


class Town:
    """A static town that a sensor drives through: ground, house fronts, poles."""

    def __init__(self, seed=0, length=400.0, bare=False):
        rng = np.random.default_rng(seed)
        ground = np.stack([rng.uniform(-60, length, 60_000), rng.uniform(-30, 30, 60_000),
                           np.full(60_000, -1.7)], 1)
        walls = [np.stack([rng.uniform(-60, length, 25_000), np.full(25_000, side),
                           rng.uniform(-1.7, 6, 25_000)], 1) for side in (-12.0, 14.0)]
        parts = [ground, *walls]
        if not bare:
            for x in np.arange(-55, length, 7.0):
                side = rng.choice([-1, 1])
                parts.append(box((x + rng.uniform(-2, 2), side * rng.uniform(5, 11), 0),
                                 rng.uniform((1, 1, 2), (5, 3, 5)), 1500, rng))
        self.points = np.concatenate(parts)

    def scan(self, pose, seed, count=6000, reach=40.0):
        """Return `count` points around a pose, in its frame, with 1 cm of noise."""
        rng = np.random.default_rng(seed)
        local = (self.points - pose[:3, 3]) @ pose[:3, :3]
        near = local[np.linalg.norm(local, axis=1) < reach]
        return rng.choice(near, count, replace=False) + rng.normal(size=(count, 3)) * 0.01


def drive(count, step=1.0, yaw_deg=0.3):
    """Return the poses of a vehicle that turns a little, first left, then right."""
    poses = np.tile(np.eye(4), (count, 1, 1))
    for k in range(1, count):
        turn = np.eye(4)
        turn[:3, :3] = Rotation.from_euler(
            "z", yaw_deg * np.sin(k / 12), degrees=True).as_matrix()
        turn[0, 3] = step
        poses[k] = poses[k - 1] @ turn
    return poses
