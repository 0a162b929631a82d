"""From poses of pairs to one pose a cloud: a spanning tree, then least squares over all loops.

Gauss-Newton on sparse matrices is all that a few hundred clouds need. Open3D's global optimisation
solves the same equations, but takes seconds to import, wants libusb, and trusts what it is told to
be the chain of the clouds, which a folder does not have. Here no pair is above doubt: the tree is
made of the pairs that the most loops confirm, and the weight of a pair falls with what it
contradicts.

Lengths count in units of `tolerance`, and rotations by what they move at the radius of a cloud.
"""

from __future__ import annotations

from itertools import combinations
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy.sparse import coo_matrix
from scipy.sparse.linalg import spsolve

from pcinv.geometry.rigid import se3_exp, se3_log

CLOSES = 5.0
"""A loop of three pairs that ends within so many tolerances confirms them; a pair that the answer
contradicts by more is in doubt."""
SOFT = 2.0
_ITERATIONS = 50
_STEP = 1e-10

Poses = Float[np.ndarray, "n 4 4"]


class Edge(NamedTuple):
    """A pair: clouds by number. Of pairs that as many loops confirm, higher scores come first."""

    source: int
    target: int
    T_target_source: Float[np.ndarray, "4 4"]
    score: float


class PoseGraph(NamedTuple):
    """The answer, for N clouds and E pairs.

    poses : (N, 4, 4) into the frame of the first cloud of the component.
    component : (N,) number of the component, the largest first.
    residual : (E,) how far the answer is from each pair, in tolerances.
    loops : (E,) loops of three pairs that confirm each pair.
    in_doubt : (E,) pairs that the answer contradicts.
    """

    poses: Poses
    component: Int[np.ndarray, " n"]
    residual: Float[np.ndarray, " e"]
    loops: Int[np.ndarray, " e"]
    in_doubt: Bool[np.ndarray, " e"]


def solve_pose_graph(
    edges: list[Edge], centres: Float[np.ndarray, "n 3"], radii: Float[np.ndarray, " n"],
    tolerance: float,
) -> PoseGraph:
    """Return the poses that agree best with the pairs.

    centres, radii : (N, 3), (N,) of the clouds, in their own frames: where errors are measured.
    tolerance : of a good pair; the voxel.
    """
    local = [edge._replace(T_target_source=_recentred(edge, centres)) for edge in edges]
    arms = np.array([np.sqrt(radii[e.source] * radii[e.target]) for e in edges])
    loops = _confirming_loops(local, arms, tolerance)
    order = sorted(range(len(edges)), key=lambda k: (-loops[k], -edges[k].score, k))
    component = _components(edges, len(centres))
    poses, tree = _spanning_tree(local, order, component)
    poses = _least_squares(poses, local, arms, tolerance, component, tree)
    residual = np.linalg.norm(_errors(poses, local, arms), axis=1) / tolerance
    back = np.tile(np.eye(4), (len(centres), 1, 1))
    back[:, :3, 3] = -centres
    roots = _roots(component)
    whole = poses @ back
    whole[:, :3, 3] += centres[roots[component]]
    return PoseGraph(whole, component, residual, loops, residual > CLOSES)


def _recentred(edge: Edge, centres: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "4 4"]:
    """Return the pose between clouds that are moved to their centres: far origins cost digits."""
    pose = np.array(edge.T_target_source, np.float64)
    pose[:3, 3] += pose[:3, :3] @ centres[edge.source] - centres[edge.target]
    return pose


def _log(poses: Poses, arms: Float[np.ndarray, " n"]) -> Float[np.ndarray, "n 6"]:
    """Return shifts and rotation vectors, the latter as lengths at the end of an arm."""
    twist = se3_log(torch.from_numpy(np.ascontiguousarray(poses))).numpy()
    return np.asarray(np.concatenate([twist[:, :3], twist[:, 3:] * arms[:, None]], axis=1))


def _errors(
    poses: Poses, edges: list[Edge], arms: Float[np.ndarray, " e"]
) -> Float[np.ndarray, "e 6"]:
    if not edges:
        return np.zeros((0, 6))
    told = np.stack([edge.T_target_source for edge in edges])
    return _log(_inverse(told) @ _between(poses, edges), arms)


def _between(poses: Poses, edges: list[Edge]) -> Poses:
    """Return T_target_source of each pair, by the poses."""
    source, target = [edge.source for edge in edges], [edge.target for edge in edges]
    return np.asarray(_inverse(poses[target]) @ poses[source])


def _inverse(poses: Poses) -> Poses:
    back = np.array(poses)
    back[:, :3, :3] = poses[:, :3, :3].transpose(0, 2, 1)
    back[:, :3, 3] = -np.einsum("nij,nj->ni", back[:, :3, :3], poses[:, :3, 3])
    return back


def _confirming_loops(
    edges: list[Edge], arms: Float[np.ndarray, " e"], tolerance: float
) -> Int[np.ndarray, " e"]:
    """Return how many closed loops of three pairs each pair is part of."""
    number, beside = {}, dict[int, set[int]]()
    for k, edge in enumerate(edges):
        number[edge.source, edge.target] = k
        for a, b in ((edge.source, edge.target), (edge.target, edge.source)):
            beside.setdefault(a, set()).add(b)

    def step(a: int, b: int) -> tuple[int, Float[np.ndarray, "4 4"]]:
        if (a, b) in number:
            return number[a, b], edges[number[a, b]].T_target_source
        k = number[b, a]
        return k, _inverse(edges[k].T_target_source[None])[0]

    members, ends = [], []
    for a in sorted(beside):
        for b, c in combinations(sorted(n for n in beside[a] if n > a), 2):
            if c in beside[b]:
                legs = step(a, b), step(b, c), step(c, a)
                members.append([k for k, _ in legs])
                ends.append(legs[2][1] @ legs[1][1] @ legs[0][1])
    loops = np.zeros(len(edges), np.int64)
    if members:
        arm = arms[np.array(members)].max(1)
        closes = np.linalg.norm(_log(np.stack(ends), arm), axis=1) < CLOSES * tolerance
        np.add.at(loops, np.array(members)[closes].ravel(), 1)
    return loops


def _components(edges: list[Edge], count: int) -> Int[np.ndarray, " n"]:
    """Return the component of each cloud; the largest is 0, equal ones in order of appearance."""
    label = np.arange(count)
    for edge in edges:
        a, b = label[edge.source], label[edge.target]
        label[label == max(a, b)] = min(a, b)
    size = np.bincount(label, minlength=count)
    names = sorted(set(label.tolist()), key=lambda name: (-size[name], name))
    return np.array([names.index(name) for name in label.tolist()], np.int64)


def _roots(component: Int[np.ndarray, " n"]) -> Int[np.ndarray, " c"]:
    return np.unique(component, return_index=True)[1]


def _spanning_tree(
    edges: list[Edge], order: list[int], component: Int[np.ndarray, " n"]
) -> tuple[Poses, list[int]]:
    """Return poses along the best tree from the first cloud of each component, and its edges."""
    poses = np.tile(np.eye(4), (len(component), 1, 1))
    known = np.zeros(len(component), bool)
    known[_roots(component)] = True
    tree: list[int] = []
    while True:  # Prim: always the best pair of which one cloud is known
        k = next((k for k in order if known[edges[k].source] != known[edges[k].target]), None)
        if k is None:
            return poses, tree
        source, target, pose, _ = edges[k]
        if known[target]:
            poses[source] = poses[target] @ pose
        else:
            poses[target] = poses[source] @ _inverse(pose[None])[0]
        known[source] = known[target] = True
        tree.append(k)


def _least_squares(
    poses: Poses, edges: list[Edge], arms: Float[np.ndarray, " e"], tolerance: float,
    component: Int[np.ndarray, " n"], tree: list[int],
) -> Poses:
    """Return the poses of the smallest weighted errors, by Gauss-Newton.

    An error e has the weight 1 / (1 + (e / SOFT)²)² (Geman-McClure), in tolerances.
    """
    if len(tree) == len(edges):  # no loops: the tree is exact
        return poses
    free = np.setdiff1d(np.arange(len(component)), _roots(component))
    column = np.full(len(component), -1)
    column[free] = np.arange(len(free))
    for _ in range(_ITERATIONS):
        error = _errors(poses, edges, arms)
        size2 = (error**2).sum(1) / (SOFT * tolerance) ** 2
        weight = 1 / (1 + size2) ** 2
        jacobian = _jacobian(poses, edges, arms, column)
        scaled = jacobian.multiply(np.repeat(weight, 6)[:, None]).tocsr()
        ridge = coo_matrix((np.full(6 * len(free), 1e-12), [np.arange(6 * len(free))] * 2))
        step = spsolve((jacobian.T @ scaled + ridge).tocsc(), -(scaled.T @ error.ravel()))
        twist = np.zeros((len(poses), 6))
        twist[free] = step.reshape(-1, 6)
        poses = poses @ se3_exp(torch.from_numpy(twist)).numpy()
        if np.abs(step).max() < _STEP * tolerance:
            break
    return poses


def _jacobian(
    poses: Poses, edges: list[Edge], arms: Float[np.ndarray, " e"], column: Int[np.ndarray, " n"]
) -> coo_matrix:
    """Return the derivative of the errors by small motions of the clouds, for small errors."""
    back = _inverse(_between(poses, edges))
    x, y, z = back[:, :3, 3].T
    cross = np.stack([0 * x, -z, y, z, 0 * x, -x, -y, x, 0 * x], 1).reshape(-1, 3, 3)
    adjoint = np.zeros((len(edges), 6, 6))
    adjoint[:, :3, :3] = adjoint[:, 3:, 3:] = back[:, :3, :3]
    adjoint[:, :3, 3:] = cross @ back[:, :3, :3]
    own = np.tile(np.eye(6), (len(edges), 1, 1))
    for block in (own, adjoint):
        block[:, 3:] *= arms[:, None, None]
    values, rows, columns = [], [], []
    for block, clouds in ((own, [edge.source for edge in edges]),
                          (-adjoint, [edge.target for edge in edges])):
        at = column[clouds]
        edge_number = np.flatnonzero(at >= 0)
        shape = (len(edge_number), 6, 6)
        values.append(block[edge_number].ravel())
        rows.append(np.broadcast_to(
            6 * edge_number[:, None, None] + np.arange(6)[:, None], shape).ravel())
        columns.append(np.broadcast_to(
            6 * at[edge_number][:, None, None] + np.arange(6), shape).ravel())
    return coo_matrix((np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))),
                      shape=(6 * len(edges), 6 * int((column >= 0).sum())))
