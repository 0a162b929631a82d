"""Floxels: flow as vectors on a voxel grid, fitted to all scans around (D. Hoffmann et al.).

CVPR 2025, arXiv 2503.04718. Points of the reference scan, moved by their flow times the number of
scans that lie between, have to meet the other scans (distance fields); pieces that hang together
move as one. The grid exists only at the corners around points, so a corner without points stays
zero. The weights of the losses are not published; ours are measured (see the method's page).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from pcinv.errors import InputError
from pcinv.sceneflow.clusters import cluster_points
from pcinv.sceneflow.distance import DistanceField, distance_field


@dataclass(frozen=True)
class FloxelsOptions:
    """Sizes in metres, flow in metres from one scan to the next.

    voxel : side of the cells whose corners carry the flow.  cell : side of those of the fields.
    cap : distance beyond which a point's miss counts no more.  reach : largest displacement.
    distance, cluster, length : weights of the three losses.
    radius, least : of the clusters, see `cluster_points`.
    rate : of Adam.  steps : at most.  patience : steps without a gain before it ends.
    free_steps : steps at the end without the loss of length, which shortens fast motions.
    """

    voxel: float = 0.5
    cell: float = 0.2
    cap: float = 5.0
    reach: float = 6.0
    distance: float = 1.0
    cluster: float = 1.0
    length: float = 0.05
    radius: float = 0.5
    least: int = 4
    rate: float = 0.05
    steps: int = 250
    patience: int = 100
    free_steps: int = 50


@dataclass(frozen=True)
class Fit:
    """A fitted flow.

    flow : (N, 3) residual flow.  fields : scans later -> distances.
    cluster : (N,) as of `cluster_points`.
    loss : of the best step, which is the one that is returned.  steps : that were made.
    """

    flow: Float[np.ndarray, "n 3"]
    fields: Mapping[int, DistanceField]
    cluster: Int[np.ndarray, "n"]
    loss: float
    steps: int


def fit_floxels(
    reference: Float[np.ndarray, "n 3"], others: Mapping[int, Float[np.ndarray, "m 3"]],
    options: FloxelsOptions | None = None,
) -> Fit:
    """Return the residual flow of the points of a scan until the next one.

    reference : (N, 3) without the ground.
    others : number of scans later (negative: before) -> that scan, in the reference's frame.

    Raises InputError without points, or another scan.
    """
    options = options or FloxelsOptions()
    reference = np.ascontiguousarray(reference, np.float64)
    if len(reference) == 0 or not others or 0 in others:
        raise InputError("flow needs points, and scans before or after them", where="others",
                         hint="at least one other scan, off the ground")
    fields = fields_of(reference, others, options.reach, options.cell)
    ids, weight, vertices = corners(reference, options.voxel)
    cluster = cluster_points(reference, options.radius, options.least)
    flow, loss, steps = _descend(reference, fields, ids, weight, vertices, cluster, options)
    return Fit(flow, fields, cluster, loss, steps)


def fields_of(
    reference: Float[np.ndarray, "n 3"], others: Mapping[int, Float[np.ndarray, "m 3"]],
    reach: float, cell: float,
) -> dict[int, DistanceField]:
    """Return the distance field of each scan in the box of the reference and `reach` around it."""
    low, high = reference.min(0) - reach, reference.max(0) + reach
    return {step: distance_field(np.asarray(xyz, np.float64), low, high, cell)
            for step, xyz in others.items()}


def corners(
    xyz: Float[np.ndarray, "n 3"], voxel: float
) -> tuple[Int[np.ndarray, "n 8"], Float[np.ndarray, "n 8"], int]:
    """Return for each point its 8 grid corners (numbers), their trilinear weights, their count."""
    place = xyz / voxel
    base = np.floor(place).astype(np.int64)
    part = place - base
    offsets = np.array([(i, j, k) for i in (0, 1) for j in (0, 1) for k in (0, 1)])
    weight = np.prod(np.where(offsets[None], part[:, None], 1 - part[:, None]), axis=2)
    keys = (base[:, None] + offsets[None]).reshape(-1, 3)
    keys -= keys.min(0)
    size = keys.max(0) + 1
    flat = (keys[:, 0] * size[1] + keys[:, 1]) * size[2] + keys[:, 2]
    unique, inverse = np.unique(flat, return_inverse=True)
    ids = inverse.reshape(-1, 8).astype(np.int32)
    return ids, weight.astype(np.float32), len(unique)


def _descend(
    reference: Float[np.ndarray, "n 3"], fields: Mapping[int, DistanceField],
    ids: Int[np.ndarray, "n 8"], weight: Float[np.ndarray, "n 8"], vertices: int,
    cluster: Int[np.ndarray, "n"], options: FloxelsOptions,
) -> tuple[Float[np.ndarray, "n 3"], float, int]:
    """Minimise the sum of the losses by Adam; return the flow, its loss, and the steps made.

    The last steps are without the loss of length. Of each part the best step counts.
    """
    from pcinv.sceneflow.field_kernels import (
        add_cluster,
        add_distance,
        add_length,
        gather,
        sample,
        scatter,
    )

    n = len(reference)
    count = np.bincount(cluster[cluster >= 0], minlength=1)
    mean, pull = np.zeros((len(count), 3)), np.zeros((len(count), 3))
    flow, gradient, slope = np.zeros((n, 3)), np.zeros((n, 3)), np.zeros((n, 3))
    value, of_theta = np.zeros(n), np.zeros((vertices, 3))
    frames = len(fields) + 1  # 2 m - 1 in the paper

    def loss_of(theta: Float[np.ndarray, "v 3"], length: float) -> float:
        """Return the loss and put its gradient into `of_theta`."""
        gather(theta, ids, weight, flow)
        gradient[:] = 0.0
        loss: float = 0.0
        for offset, field in fields.items():
            sample(field.values, field.low, field.cell, reference + offset * flow, value, slope)
            loss += add_distance(value, slope, options.cap, options.distance / offset**2 / n,
                                 float(offset), gradient)
        loss += add_cluster(flow, cluster, count, frames * options.cluster / n, mean, pull,
                            gradient)
        if length > 0:
            loss += add_length(flow, frames * length / n, gradient)
        scatter(gradient, ids, weight, of_theta)
        return loss

    theta, total, best = np.zeros((vertices, 3)), 0, np.inf
    for steps, length, rate in ((options.steps, options.length, options.rate),
                                (options.free_steps, 0.0, options.rate / 5)):
        first, second, since = np.zeros_like(theta), np.zeros_like(theta), 0
        best, best_theta = np.inf, theta
        for step in range(1, steps + 1):
            loss = loss_of(theta, length)
            total += 1
            since = 0 if loss < best - 1e-6 else since + 1
            if loss < best:
                best, best_theta = loss, theta
            if since >= options.patience:
                break
            first = 0.9 * first + 0.1 * of_theta
            second = 0.999 * second + 0.001 * of_theta**2
            theta = theta - rate * (first / (1 - 0.9**step)) / (
                np.sqrt(second / (1 - 0.999**step)) + 1e-8)
        theta = best_theta
    gather(theta, ids, weight, flow)
    return flow, float(best), total
