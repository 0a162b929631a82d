"""Fits of a motion with a scale: to matched points, and to surfaces from a start near by.

A similarity is (4, 4), scale * R | t: a source point p is at scale * R p + t in the target.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from pcinv.registration.clouds import LEAST_POINTS
from pcinv.registration.prepare import REACH, VOXEL, Prepared, prepare
from pcinv.registration.scale import choose_voxel

LEVELS = (3000, 10_000)
"""Points that the larger cloud keeps, for the first fit of the surfaces and for the last."""
SAME_SCALE = 0.08
"""Two answers whose logarithms of the scale differ less are one."""
BLOCK = 10
"""Voxels along a cell whose residuals count as one."""
HELD = 0.003
"""The scale is determined if to change it moves surfaces off each other by more than the root of
this, as a share of their distance from their middle, whatever else moves along. Of a plane with a
noise of half a voxel it is a tenth of this."""
_ROUNDS, _DAMPING, _STILL = 20, 1e-6, 1e-6


class Similarity(NamedTuple):
    """A motion with a scale, (4, 4) scale * R | t.

    uncertainty : standard deviation of the scale, as a share of it; inf where surfaces do not
        determine it. It knows the noise, but not that a scan may be too large as a whole.
    """

    T_target_source: Float[np.ndarray, "4 4"]
    scale: float
    uncertainty: float


def scale_of(T_target_source: Float[np.ndarray, "4 4"]) -> float:
    """Return the scale of scale * R | t."""
    return float(np.cbrt(np.linalg.det(T_target_source[:3, :3])))


def to_rigid(
    T_target_source: Float[np.ndarray, "4 4"], source: Prepared, target: Prepared
) -> Float[np.ndarray, "4 4"]:
    """Return a similarity between clouds as a motion between clouds prepared at its scale."""
    pose, linear = np.eye(4), T_target_source[:3, :3]
    pose[:3, :3] = linear / scale_of(T_target_source)
    pose[:3, 3] = (linear @ source.origin + T_target_source[:3, 3] - target.origin) / target.unit
    return pose


def from_prepared(
    pose: Float[np.ndarray, "4 4"], source: Prepared, target: Prepared
) -> Float[np.ndarray, "4 4"]:
    """Return a motion or similarity between prepared clouds as a similarity between the clouds."""
    T = np.array(pose, np.float64)
    T[:3, :3] *= target.unit / source.unit
    T[:3, 3] = target.unit * T[:3, 3] + target.origin - T[:3, :3] @ source.origin
    return T


def fit_similarity(
    x: Float[np.ndarray, "k 3"], y: Float[np.ndarray, "k 3"], weight: Float[np.ndarray, " k"]
) -> Float[np.ndarray, "4 4"]:
    """Return the similarity (4, 4) of weighted least squares that takes x to y.

    x, y : (K, 3) matched points.  weight : (K,) at least 0, not all 0. The scale is 1 where the
        points of x or of y are all at one place.

    Source: Horn, JOSA A 1987, whose scale is the ratio of the spreads, the same from either side;
    that of Umeyama, PAMI 1991, is too small by the noise in x.
    """
    share = weight / weight.sum()
    low, high = share @ x, share @ y
    a, b = x - low, y - high
    u, _, vt = np.linalg.svd((b * share[:, None]).T @ a)
    turn = u @ np.diag([1, 1, np.sign(np.linalg.det(u @ vt))]) @ vt
    spread = share @ (a**2).sum(1), share @ (b**2).sum(1)
    T = np.eye(4)
    T[:3, :3] = turn * (np.sqrt(spread[1] / spread[0]) if min(spread) > 0 else 1.0)
    T[:3, 3] = high - T[:3, :3] @ low
    return T


def refine_similarity(
    source: Float[np.ndarray, "n 3"], target: Float[np.ndarray, "m 3"],
    T_target_source: Float[np.ndarray, "4 4"],
) -> Similarity:
    """Fit the surfaces of two clouds with seven degrees of freedom, from a similarity near by.

    source, target : (N, 3), (M, 3) float64.  T_target_source : (4, 4) scale * R | t, within about
        a voxel of the answer.

    Points of either cloud are held against the tangent planes of the other: of the source alone,
    the fit would shrink it into the target. The start is returned with an uncertainty of inf where
    the surfaces do not determine the scale, or the fit runs away from it.
    """
    T = np.array(T_target_source, np.float64)
    told = Similarity(T, scale_of(T), float("inf"))
    for points in LEVELS:
        voxel = max(choose_voxel(source, source, points) * told.scale,
                    choose_voxel(target, target, points))
        moving, fixed = prepare(source, voxel / told.scale, ()), prepare(target, voxel, ())
        found = _fit_surfaces(moving, fixed, to_rigid(told.T_target_source, moving, fixed))
        if found is None or abs(np.log(found.scale)) > SAME_SCALE:
            return Similarity(T, scale_of(T), float("inf"))
        similarity = from_prepared(found.T_target_source, moving, fixed)
        told = Similarity(similarity, scale_of(similarity), found.uncertainty)
    return told


def _fit_surfaces(
    source: Prepared, target: Prepared, T: Float[np.ndarray, "4 4"]
) -> Similarity | None:
    """Return the similarity between prepared clouds after Gauss-Newton steps on planes.

    Weights are of Geman and McClure at half a voxel. Motions that the surfaces leave open stay.
    """
    source_tree, target_tree = cKDTree(source.points), cKDTree(target.points)
    uncertainty = float("inf")
    for _ in range(_ROUNDS):
        scale, linear = scale_of(T), T[:3, :3]
        moved = source.points @ linear.T + T[:3, 3]
        back = (target.points - T[:3, 3]) @ linear / scale**2
        far, there = target_tree.query(moved, distance_upper_bound=REACH)
        far_back, here = source_tree.query(back, distance_upper_bound=REACH / scale)
        one, two = np.isfinite(far), np.isfinite(far_back)
        p = np.concatenate([moved[one], moved[here[two]]])
        q = np.concatenate([target.points[there[one]], target.points[two]])
        normal = np.concatenate([target.normals[there[one]],
                                 source.normals[here[two]] @ linear.T / scale])
        if len(p) < LEAST_POINTS:
            return None
        middle = p.mean(0)
        radius = np.sqrt(((p - middle) ** 2).sum(1).mean())
        arm = (p - middle) / radius
        rows = np.column_stack([np.cross(arm, normal), normal, (arm * normal).sum(1)])
        gap = ((q - p) * normal).sum(1)
        weight = 1 / (1 + (gap / (VOXEL / 2)) ** 2) ** 2
        weight /= weight.sum()
        inverse = np.linalg.inv((rows * weight[:, None]).T @ rows + _DAMPING * np.eye(7))
        if 1 / inverse[6, 6] < HELD:
            return None
        step = inverse @ (rows.T @ (weight * gap))
        uncertainty = _deviation(p, rows @ inverse[6] * weight * gap) / radius
        grown = np.exp(step[6] / radius) * Rotation.from_rotvec(step[:3] / radius).as_matrix()
        shift = grown @ (T[:3, 3] - middle) + middle + step[3:6]
        T = np.eye(4)
        T[:3, :3], T[:3, 3] = grown @ linear, shift
        if np.abs(step).max() < _STILL:
            break
    return Similarity(T, scale_of(T), uncertainty)


def _deviation(points: Float[np.ndarray, "n 3"], effect: Float[np.ndarray, " n"]) -> float:
    """Return the deviation of a sum of what points say, of which those at one place say the same.

    Scans are bent, and not only noisy: residuals of neighbours are alike, and count as one (White's
    estimate, in clusters).
    """
    cell = np.unique(np.floor(points / (BLOCK * VOXEL)), axis=0, return_inverse=True)[1].ravel()
    return float(np.sqrt((np.bincount(cell, effect) ** 2).sum()))
