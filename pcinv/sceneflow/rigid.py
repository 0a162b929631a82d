"""One rigid motion for each piece of a scan, where that fits better than a free flow.

Pieces are looked for in the next scan within reach, as ICP-Flow does (Lin, Caesar, CVPR 2024): a
search over shifts on the distance field, then ICP. What stands on the ground turns about the
vertical only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial import cKDTree

from pcinv.metrics.flow import DYNAMIC
from pcinv.sceneflow.distance import DistanceField


@dataclass(frozen=True)
class RigidOptions:
    """When a piece gets a motion of its own; metres.

    least : points of a piece; smaller ones, and points of none, stand still: what they seem to do
        is mostly noise.
    widest : its largest side along the ground; wider ones keep the flow that they have, or stand
        still.
    reach : largest shift from one scan to the next.  grid : step of the search.
    sample : points of a piece that are looked for.
    cap : distance beyond which a point's miss counts no more.
    margin : by how much a motion has to fit better than none, and than the free flow worse.
    still : mean flow below which a piece stands still.
    """

    least: int = 20
    widest: float = 12.0
    reach: float = 3.0
    grid: float = 0.25
    sample: int = 200
    cap: float = 0.6
    margin: float = 0.04
    still: float = 0.04


def rigid_flow(
    reference: Float[np.ndarray, "n 3"], flow: Float[np.ndarray, "n 3"],
    cluster: Int[np.ndarray, "n"], fields: Mapping[int, DistanceField],
    following: Float[np.ndarray, "m 3"], options: RigidOptions | None = None,
) -> Float[np.ndarray, "n 3"]:
    """Return the flow with one rigid motion for each piece, where that fits.

    reference : (N, 3) without the ground.  flow : (N, 3) residual, as it was fitted.
    cluster : (N,) pieces, -1 for none.  fields : scans later -> distances, as of `fields_of`.
    following : (M, 3) the next scan, in the reference's frame, without the ground.
    """
    options = options or RigidOptions()
    found = np.zeros_like(flow)
    tree = cKDTree(following)
    order = np.argsort(cluster, kind="stable")
    bounds = np.searchsorted(cluster[order], np.arange(cluster.max(initial=-1) + 2))
    for first, last in pairwise(bounds):
        rows = order[first:last]
        points = reference[rows]
        if len(rows) < options.least:
            continue
        wide = np.ptp(points[:, :2], axis=0).max() > options.widest
        found[rows] = _piece(points, flow[rows], fields, tree, following, options, wide)
    return found


def median_flow(
    reference: Float[np.ndarray, "n 3"], flow: Float[np.ndarray, "n 3"],
    cluster: Int[np.ndarray, "n"], least: int = 8, widest: float = 12.0,
    still: float = DYNAMIC,
) -> Float[np.ndarray, "n 3"]:
    """Return the flow with the median shift for each piece, for flows that are sure but rough.

    reference, flow, cluster : as of `rigid_flow`.  least : points of a piece; smaller ones, points
        of none, and pieces whose shift is below `still`, stand still.  widest : pieces that are
        wider along the ground keep the flow that they have, metres.
    """
    found = np.zeros_like(flow)
    order = np.argsort(cluster, kind="stable")
    bounds = np.searchsorted(cluster[order], np.arange(cluster.max(initial=-1) + 2))
    for first, last in pairwise(bounds):
        rows = order[first:last]
        if len(rows) < least:
            continue
        shift = np.median(flow[rows], axis=0)
        if np.ptp(reference[rows, :2], axis=0).max() > widest:
            found[rows] = flow[rows]
        elif np.linalg.norm(shift) >= still:
            found[rows] = shift
    return found


def _piece(
    points: Float[np.ndarray, "k 3"], flow: Float[np.ndarray, "k 3"],
    fields: Mapping[int, DistanceField], tree: cKDTree, following: Float[np.ndarray, "m 3"],
    options: RigidOptions, is_wide: bool,
) -> Float[np.ndarray, "k 3"]:
    some = slice(None, None, max(1, len(points) // options.sample))

    def miss(moved: Float[np.ndarray, "k 3"]) -> float:
        """How far moved points are from the other scans, in the mean, far ones capped."""
        cap = options.cap
        near = float(np.minimum(tree.query(points[some] + moved[some])[0], cap).mean())
        others = [(np.minimum(field(points[some] + step * moved[some])[0], cap).mean(), step)
                  for step, field in fields.items() if step != 1]
        weight = 1.0 + sum(1 / abs(step) for _, step in others)
        return (near + sum(float(cost) / abs(step) for cost, step in others)) / weight

    still = miss(np.zeros_like(points))
    if is_wide:
        return flow if miss(flow) + options.margin < still else np.zeros_like(points)
    best, chosen = np.inf, np.zeros_like(points)
    for start in (flow.mean(0), *_search(points[some], fields, options)):
        moved = _icp(points, start, tree, following, options)
        cost = miss(moved)
        if cost < best:
            best, chosen = cost, moved
    if still <= best + options.margin or np.linalg.norm(chosen.mean(0)) < options.still:
        return np.zeros_like(points)
    if best > miss(flow) + options.margin:
        return flow
    return chosen


def _search(
    points: Float[np.ndarray, "k 3"], fields: Mapping[int, DistanceField], options: RigidOptions
) -> Float[np.ndarray, "s 3"]:
    """Return the three shifts along the ground within reach at which the points fit best."""
    steps = np.arange(-options.reach, options.reach + options.grid / 2, options.grid)
    shifts = np.stack(np.meshgrid(steps, steps, [0.0], indexing="ij"), -1).reshape(-1, 3)
    shifts = shifts[np.linalg.norm(shifts, axis=1) <= options.reach]
    some = points[:: max(1, len(points) // 40)]
    cost = np.zeros(len(shifts))
    for offset, field in fields.items():
        value, _ = field((some[None] + offset * shifts[:, None]).reshape(-1, 3))
        cost += np.minimum(value, options.cap).reshape(len(shifts), -1).mean(1) / abs(offset)
    chosen: list[np.ndarray] = []
    for shift in shifts[np.argsort(cost + 1e-3 * np.linalg.norm(shifts, axis=1))[:60]]:
        if all(np.linalg.norm(shift - other) > 2 * options.grid for other in chosen):
            chosen.append(shift)
        if len(chosen) == 3:
            break
    return np.array(chosen)


def _icp(
    points: Float[np.ndarray, "k 3"], start: Float[np.ndarray, "3"], tree: cKDTree,
    following: Float[np.ndarray, "m 3"], options: RigidOptions, rounds: int = 12,
) -> Float[np.ndarray, "k 3"]:
    """Return the flow of points that move as one, shifted and turned about the vertical."""
    middle = points.mean(0)
    local = points - middle
    yaw, shift = 0.0, np.asarray(start, np.float64).copy()
    for k in range(rounds):
        cosine, sine = np.cos(yaw), np.sin(yaw)
        turned = local @ np.array([[cosine, sine, 0.0], [-sine, cosine, 0.0], [0.0, 0.0, 1.0]])
        moved = turned + middle + shift
        distance, nearest = tree.query(moved, distance_upper_bound=options.cap)
        near = np.isfinite(distance)
        if near.sum() < options.least // 2:
            break
        # trimmed: what has no partner shall not pull
        near &= distance <= np.quantile(distance[near], 0.9)
        gap = following[nearest[near]] - moved[near]
        shift = shift + gap.mean(0)
        arm = turned[near]
        lever = (arm[:, 0] * gap[:, 1] - arm[:, 1] * gap[:, 0]).sum()
        inertia = (arm[:, :2] ** 2).sum() + 1e-6
        if k >= 2:  # first to the place, then the heading
            yaw += float(np.clip(lever / inertia, -0.1, 0.1))
            yaw = float(np.clip(yaw, -0.3, 0.3))
    cosine, sine = np.cos(yaw), np.sin(yaw)
    turned = local @ np.array([[cosine, sine, 0.0], [-sine, cosine, 0.0], [0.0, 0.0, 1.0]])
    found: np.ndarray = turned + shift - local
    return found
