"""Rigid motions from matches of which most are wrong: second-order spatial compatibility.

Two matches are compatible if the distance of their points is the same in both clouds. Wrong
matches may be compatible with each other by chance; right ones have many compatible matches in
common. So each of some well supported matches, the seeds, gathers the matches that share the most
with it, and proposes the motion that fits these; all matches then vote on the proposals.

Lengths count in units of the inlier distance. Matches are first put in an order that depends on
their geometry alone: the answer, to the last bit, does not depend on the order they come in.

Source: Chen et al., SC2-PCR, CVPR 2022.
"""

import math
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from pcinv.checks import check_count, check_points
from pcinv.errors import InputError, LimitError, ShapeError
from pcinv.geometry.orthogonal import project_to_so3
from pcinv.geometry.rigid import kabsch
from pcinv.ops.order import centroid, quantise
from pcinv.ops.threads import parallel

MAX_MATCHES = 8192
"""Three matrices of this size squared take 0.8 GB."""
DISTINCT_ANGLE_DEG = 15.0
DISTINCT_SHIFT = 3.0
"""Inlier distances that the middle of the source moves between two poses that are distinct."""

_SEED_SHARE, _MIN_SEEDS = 0.2, 50
_FIRST, _SECOND, _FEW = 30, 20, 4  # matches gathered by a seed, kept of these; of very few matches
_POWER_STEPS = 10
_BEST = 400  # proposals among which distinct ones are sought
_ROUNDS = 20
_MIN_INLIERS = 3
_MAX_EXTENT = 1e9
_BLOCK = 2**22  # residuals held at a time
_ROWS = 128


class Hypotheses(NamedTuple):
    """Distinct motions, those with the most inliers first: a source point x goes to R x + t.

    rotations : (H, 3, 3) float64.  translations : (H, 3) float64.
    inliers : (H,) int64 matches that end up within the inlier distance.
    """

    rotations: Float[Tensor, "h 3 3"]
    translations: Float[Tensor, "h 3"]
    inliers: Int[Tensor, " h"]


@torch.no_grad()
def estimate_poses(
    x: Float[Tensor, "k 3"], y: Float[Tensor, "k 3"], inlier_distance: float, *,
    max_seeds: int = 1000, num_poses: int = 20,
) -> Hypotheses:
    """Return the motions on which the most matches agree, refined, each two of them distinct.

    x, y : (K, 3) matched points of the source and of the target; most pairs may be wrong.
    inlier_distance : a pair agrees with a motion that leaves less than this between its points;
        in the units of the points (twice the voxel is a good choice).
    max_seeds : at most so many proposals.
    num_poses : at most so many motions. Two are distinct if they differ by more than 15 degrees,
        or take the centroid of x to places more than three inlier distances apart.

    There are no motions where fewer than three matches that determine a rotation agree.

    Raises ShapeError, InputError for other shapes, values that are not finite, or a distance
    <= 0; LimitError for more than `MAX_MATCHES` matches.
    Source: SC2-PCR, sections 3.2 to 3.5; distinct motions in place of the best one are ours.

    >>> x = torch.eye(3).double()
    >>> estimate_poses(x, x + 1, 0.1).translations.round(decimals=6)
    tensor([[1., 1., 1.]], dtype=torch.float64)
    """
    _check(x, y, inlier_distance)
    check_count(max_seeds, "max_seeds")
    check_count(num_poses, "num_poses")
    if len(x) < _MIN_INLIERS:
        empty = x.new_zeros(0, 3, 3, dtype=torch.float64)
        return Hypotheses(empty, empty[:, 0], empty[:, 0, 0].long())
    source, source_middle = _centred(x, inlier_distance)
    target, target_middle = _centred(y, inlier_distance)
    order = _canonical_order(source, target)
    with torch.autocast(x.device.type, enabled=False):
        found = _estimate(source[order], target[order], max_seeds, num_poses)
    shift = target_middle - found.rotations @ source_middle
    return found._replace(translations=found.translations * inlier_distance + shift)


def _estimate(x: Tensor, y: Tensor, max_seeds: int, num_poses: int) -> Hypotheses:
    """Propose, keep distinct ones, refine, keep distinct ones: refining may make two alike."""
    moments, middle = _moments(x, y), centroid(x[None])[0, 0]
    poses = _propose(x, y, moments, max_seeds)
    kept = _distinct(*poses, *_count(*poses, moments), middle, num_poses)
    rotations, translations, firm = _refine(poses[0][kept], poses[1][kept], x, y, moments)
    counts, scores = _count(rotations, translations, moments)
    counts = torch.where(firm & (counts >= _MIN_INLIERS), counts, 0)
    kept = _distinct(rotations, translations, counts, scores, middle, num_poses)
    kept = kept[counts[kept] > 0]
    return Hypotheses(rotations[kept], translations[kept], counts[kept])


def second_order(
    difference: Float[Tensor, "k k"], seeds: Int[Tensor, " s"], inlier_distance: float = 1.0
) -> Float[Tensor, "s k"]:
    """Return how many matches are compatible with both of a pair (eq. 3): whole numbers.

    A match counts if both differences are below half the inlier distance; the count is 0 if the
    two differ by more than the inlier distance themselves.

    difference : (K, K), | |x_i - x_j| - |y_i - y_j| | (eq. 1).  seeds : (S,) rows to compute.
    """
    tight = (difference < inlier_distance / 2).to(difference.dtype)
    common = tight[seeds] @ tight
    return common.mul_(difference[seeds] < inlier_distance)


def _propose(x: Tensor, y: Tensor, moments: Tensor, max_seeds: int) -> tuple[Tensor, Tensor]:
    """Return rotations (S, 3, 3) and translations (S, 3), one for each seed."""
    difference, near = _differences(x, y)
    confidence = _leading_eigenvector(_soft(difference))
    seeds = _seeds(near, confidence, max_seeds)
    first, second = (_FIRST, _SECOND) if len(x) >= _FIRST else (min(_FEW, len(x)),) * 2
    common = second_order(difference, seeds)
    # whole numbers tie; the more confident match wins
    member = common.add_(confidence / (2 * confidence.max())).topk(first, dim=1).indices
    among = difference[member[:, :, None], member[:, None, :]]  # (S, first, first)
    is_compatible = (among < 1).to(among.dtype)
    shared = (is_compatible[:, :1] @ is_compatible)[:, 0]
    place = torch.arange(first, device=x.device) / (2 * first)  # ties keep the order found before
    best = shared.sub_(place).topk(second, dim=1).indices
    member = member.gather(1, best)
    soft = _soft(difference[member[:, :, None], member[:, None, :]])
    soft.diagonal(dim1=1, dim2=2).zero_()
    weight = _leading_eigenvector(soft).double()
    weight = torch.where(weight.sum(1, keepdim=True) > 0, weight, 1.0)
    return _fit(weight, moments[member])


def _differences(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Return | |x_i - x_j| - |y_i - y_j| | (K, K) in float32, and where |x_i - x_j| < 1.

    Lengths come from differences, not from products, which lose short ones.
    """
    if x.device.type != "cpu":
        difference = _lengths(x)
        near = difference < 1
        return difference.sub_(_lengths(y)).abs_(), near
    from pcinv.registration.matching_kernels import length_differences  # compiled on first use

    difference = torch.empty(len(x), len(x))
    near = torch.empty(len(x), len(x), dtype=torch.bool)
    axes = [points.float().T.contiguous().numpy() for points in (x, y)]
    out = difference.numpy(), near.numpy().view(np.uint8)
    parallel(lambda start: length_differences(*axes, start, min(start + _ROWS, len(x)), *out),
             range(0, len(x), _ROWS))
    return difference, near


def _lengths(points: Tensor) -> Tensor:
    points = points.float()
    return torch.cdist(points, points, compute_mode="donot_use_mm_for_euclid_dist")


def _soft(difference: Tensor) -> Tensor:
    """Return the compatibility 1 - difference², at least 0 (eq. 2)."""
    return difference.square().neg_().add_(1).clamp_(min=0)


def _leading_eigenvector(matrix: Tensor) -> Tensor:
    """Return the leading eigenvector (..., K) of matrices without negative entries."""
    vector = torch.ones_like(matrix[..., :1])
    for _ in range(_POWER_STEPS):
        vector = matrix @ vector
        vector = vector / (vector.norm(dim=-2, keepdim=True) + 1e-6)
    return vector[..., 0]


def _seeds(near: Tensor, confidence: Tensor, max_seeds: int) -> Tensor:
    """Return the matches to start from: the most confident of their surroundings, then others.

    near : (K, K) which matches are within the inlier distance in the source.
    """
    count = min(max(int(len(near) * _SEED_SHARE), _MIN_SEEDS), len(near), max_seeds)
    is_peak = ~(near & (confidence > confidence[:, None])).any(1)
    return (confidence + 2 * is_peak).topk(count).indices


def _moments(x: Tensor, y: Tensor) -> Tensor:
    """Return 1, x, y, the products y_i x_j and |x|² + |y|² of each match: (K, 17).

    Fits and residuals are linear in these, so that all motions are handled by matrix products,
    far faster than from the points; in float64 and near the origin no digits are lost.
    """
    square = (x.square() + y.square()).sum(1, keepdim=True)
    product = (y[:, :, None] * x[:, None, :]).flatten(1)
    return torch.cat([torch.ones_like(square), x, y, product, square], dim=1)


def _fit(weight: Tensor, moments: Tensor) -> tuple[Tensor, Tensor]:
    """Return the rotations and translations of weighted least squares (Kabsch).

    weight : (H, K), not all 0.  moments : (H, K, 17).
    """
    mean = (weight[:, None] @ moments)[:, 0] / weight.sum(1, keepdim=True)
    x, y = mean[:, 1:4], mean[:, 4:7]
    rotations = project_to_so3(mean[:, 7:16].reshape(-1, 3, 3) - y[:, :, None] * x[:, None])
    return rotations, y - (rotations @ x[:, :, None])[..., 0]


def _squared_residuals(rotations: Tensor, translations: Tensor, moments: Tensor) -> Tensor:
    """Return |R x + t - y|² (H, K)."""
    back = (translations[:, None] @ rotations)[:, 0]  # Rᵀ t
    square = translations.square().sum(1, keepdim=True)
    factor = torch.cat([square, 2 * back, -2 * translations, -2 * rotations.flatten(1),
                        torch.ones_like(square)], dim=1)
    return factor @ moments.mT


def _count(rotations: Tensor, translations: Tensor, moments: Tensor) -> tuple[Tensor, Tensor]:
    """Return the inliers (H,) of each motion, and their sum of 1 - r², which breaks ties."""
    counts, scores = [], []
    step = max(1, _BLOCK // len(moments))
    for start in range(0, len(rotations), step):
        rows = slice(start, start + step)
        gain = 1 - _squared_residuals(rotations[rows], translations[rows], moments)
        counts.append((gain > 0).sum(1))
        scores.append(gain.clamp_(min=0).sum(1))
    return torch.cat(counts), torch.cat(scores)


def _distinct(
    rotations: Tensor, translations: Tensor, counts: Tensor, scores: Tensor, middle: Tensor,
    num_poses: int,
) -> Tensor:
    """Return the indices of motions that are distinct from each one before them, best first."""
    by_score = scores.argsort(descending=True, stable=True)
    order = by_score[counts[by_score].argsort(descending=True, stable=True)][:_BEST]
    r, place = rotations[order], rotations[order] @ middle + translations[order]
    flat = r.flatten(1)
    trace = flat @ flat.mT  # of R_iᵀ R_j
    is_same = trace > 1 + 2 * math.cos(math.radians(DISTINCT_ANGLE_DEG))
    is_same &= torch.cdist(place, place) <= DISTINCT_SHIFT
    same = is_same.cpu().numpy()
    kept: list[int] = []
    for i in range(len(same)):
        if not same[i, kept].any():
            kept.append(i)
            if len(kept) == num_poses:
                break
    return order[kept]


def _refine(
    rotations: Tensor, translations: Tensor, x: Tensor, y: Tensor, moments: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Fit each motion to its inliers until their number repeats; say which motions are firm.

    Weights are 1 / (1 + r²), as in the paper's code. A motion whose inliers lie on a line, or at
    one place, is not firm (H,): their rotation is arbitrary.
    """
    last = torch.full((len(rotations),), -1, device=x.device)
    for _ in range(_ROUNDS):
        square = _squared_residuals(rotations, translations, moments)
        is_inlier = square < 1
        count = is_inlier.sum(1)
        move = (count != last) & (count >= _MIN_INLIERS)
        if not move.any():
            break
        last = torch.where(move, count, last)
        weight = (is_inlier / (1 + square))[move]
        rotations[move], translations[move] = _fit(weight, moments[None])
    is_inlier = _squared_residuals(rotations, translations, moments) < 1
    shape = (len(rotations), *x.shape)
    firm = kabsch(x.expand(shape), y.expand(shape), is_inlier.double()).rank == 3
    return rotations, translations, firm


def _centred(points: Tensor, unit: float) -> tuple[Tensor, Tensor]:
    """Return float64 points about the middle of their box, in units, and the middle (3,)."""
    points = points.double()
    low, high = points.amin(0), points.amax(0)
    middle = low + (high - low) / 2
    if not float((high - low).amax()) <= _MAX_EXTENT * unit:
        raise InputError(f"matches {float((high - low).amax()):.3g} apart, {_MAX_EXTENT:g} times "
                         "the inlier distance", where="x, y", hint="drop stray points")
    return (points - middle) / unit, middle


def _canonical_order(x: Tensor, y: Tensor) -> Tensor:
    """Return the order of the matches by distance from the centroids; ties by coordinates."""
    size = torch.zeros_like(x[:, 0])
    for points in (x, y):
        size += (points - centroid(points[None])[0]).square().sum(1)
    keys = [y[:, 2], y[:, 1], y[:, 0], x[:, 2], x[:, 1], x[:, 0], quantise(size)]
    order = torch.arange(len(x), device=x.device)
    for key in keys:  # stable sorts, from the last resort to the first key
        order = order[key[order].argsort(stable=True)]
    return order


def _check(x: Tensor, y: Tensor, inlier_distance: float) -> None:
    for name, points in (("x", x), ("y", y)):
        check_points(points, name, min_points=0, batched=False)
    if x.shape != y.shape or x.device != y.device:
        raise ShapeError(f"expected {tuple(x.shape)} on {x.device} like x, got {tuple(y.shape)} "
                         f"on {y.device}", where="y", hint="row i of x belongs to row i of y")
    if not 0 < inlier_distance < math.inf:
        raise InputError(f"inlier distance {inlier_distance}, expected more than 0",
                         where="inlier_distance", hint="twice the voxel is a good choice")
    if len(x) > MAX_MATCHES:
        raise LimitError(f"{len(x)} matches, at most {MAX_MATCHES}", where="x",
                         hint="keep the best, as `mutual_matches(limit=...)` does")
