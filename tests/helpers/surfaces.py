"""Clouds to register: a bumpy body seen from two sides, planes, boxes; numpy float64."""

import functools
from typing import NamedTuple

import numpy as np

from helpers.clouds import axis_angle


class Views(NamedTuple):
    """Two clouds in the frames of their cameras, and the motion of the first to the second."""

    source: np.ndarray
    target: np.ndarray
    T_target_source: np.ndarray


def body(count: int, seed: int = 0, bumps: int = 40) -> np.ndarray:
    """Points on an ellipsoid with bumps and dents, about 1 large, without any symmetry."""
    rng = np.random.default_rng([seed, 1])
    places = rng.normal(size=(bumps, 3))
    places /= np.linalg.norm(places, axis=1, keepdims=True)
    heights, sharpness = rng.uniform(-0.25, 0.25, bumps), rng.uniform(20, 80, bumps)
    directions = np.random.default_rng([seed, 2]).normal(size=(count, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    radius = 1 + (heights * np.exp(sharpness * (directions @ places.T - 1))).sum(1)
    return directions * radius[:, None] * [1.3, 1.0, 0.8]


def seen(points: np.ndarray, camera: np.ndarray, rotation: np.ndarray, count: int,
         rng: np.random.Generator) -> np.ndarray:
    """What a camera sees of points, in its own frame, with noise of 2 mm."""
    local = points - camera
    distance = np.linalg.norm(local, axis=1)
    cell = np.floor(local / distance[:, None] / 0.02).astype(int)
    order = np.argsort(distance)
    _, first, inverse = np.unique(cell[order], axis=0, return_index=True, return_inverse=True)
    nearest = distance[order][first][inverse.ravel()]
    visible = local[np.sort(order[distance[order] < nearest + 0.06])]
    visible = visible + 0.002 * rng.normal(size=visible.shape)
    return rng.permutation(visible)[:count] @ rotation.T


def camera_pose(angle_deg: float, rng: np.random.Generator) -> np.ndarray:
    """A camera 4 away from the body, at an angle about z, turned at random: T_camera_body."""
    place = axis_angle(np.array([0.0, 0, 1]), np.radians(angle_deg)) @ [4, 0, 0.5]
    pose = np.eye(4)
    pose[:3, :3] = axis_angle(rng.normal(size=3), rng.uniform(0, np.pi))
    pose[:3, 3] = -pose[:3, :3] @ place
    return pose


def body_view(angle_deg: float, count: int = 2000, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A cloud of the body from one side, and T_camera_body."""
    rng = np.random.default_rng([seed, 3, round(angle_deg) % 360])
    pose = camera_pose(angle_deg, rng)
    place = -pose[:3, :3].T @ pose[:3, 3]
    return seen(body(40_000, seed), place, pose[:3, :3], count, rng), pose


@functools.cache
def two_views(count: int = 2000, seed: int = 0) -> Views:
    """The body from two sides, 40 degrees apart; the clouds are not to be changed."""
    (a, pose_a), (b, pose_b) = (body_view(angle, count, seed) for angle in (-20.0, 20.0))
    a.flags.writeable = b.flags.writeable = False
    return Views(a, b, pose_b @ np.linalg.inv(pose_a))


def plane(count: int, seed: int) -> np.ndarray:
    """A sheet of 3 x 2, 2 away from the camera, with noise."""
    rng = np.random.default_rng(seed)
    xy = rng.uniform(-1, 1, (count, 2)) * [1.5, 1.0]
    return np.column_stack([xy, 2 + 0.002 * rng.normal(size=count)])


def box(count: int, seed: int, size: tuple[float, float, float] = (1.5, 1.0, 0.7)) -> np.ndarray:
    """The surface of a box about the origin, with noise."""
    rng = np.random.default_rng(seed)
    points = rng.uniform(-1, 1, (count, 3))
    axis = rng.integers(0, 3, count)
    points[np.arange(count), axis] = np.sign(points[np.arange(count), axis])
    return points * size + 0.002 * rng.normal(size=(count, 3))


def motion(seed: int, shift: float = 1.0) -> np.ndarray:
    """A random rigid motion (4, 4)."""
    rng = np.random.default_rng(seed)
    pose = np.eye(4)
    pose[:3, :3] = axis_angle(rng.normal(size=3), rng.uniform(0.3, np.pi))
    pose[:3, 3] = shift * rng.normal(size=3)
    return pose


def moved(points: np.ndarray, pose: np.ndarray) -> np.ndarray:
    """Points in another frame."""
    return points @ pose[:3, :3].T + pose[:3, 3]


def pose_error(estimate: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """Angle in degrees, and distance of the translations."""
    cosine = (np.trace(estimate[:3, :3].T @ truth[:3, :3]) - 1) / 2
    return (float(np.degrees(np.arccos(np.clip(cosine, -1, 1)))),
            float(np.linalg.norm(estimate[:3, 3] - truth[:3, 3])))
