"""How far an estimated motion between two clouds is from the true one, and when it is right.

Motions are (4, 4) `T_target_source`, lengths in metres. All is float64, and nothing is made
orthonormal first: the poses of 3DMatch are rotations only to 1e-3. An estimate that is not finite,
or no rigid motion at all (a mirror image, a scale, zeros), has infinite errors and never counts.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from pcinv.errors import InputError, ShapeError, unknown_name
from pcinv.metrics.symmetry import Body, body_rotation_error_deg, centre_shift

INLIER_RADIUS = 0.10
FEATURE_MATCH_RATIO = 0.05
_MAX_SKEW = 0.05


@dataclass(frozen=True)
class SuccessRule:
    """When a pair counts as registered: every bound that is given holds.

    rmse : metres, the information error is at most this.
    rre_deg, rte : degrees and metres, the rotation and translation errors are below these.
    shift : instead of rte, for bodies: their centre is less than this share of their diagonal off,
        and the rotation error is taken up to their symmetry.
    """

    rmse: float | None = None
    rre_deg: float | None = None
    rte: float | None = None
    shift: float | None = None


RULES: dict[str, SuccessRule] = {
    "3dmatch": SuccessRule(rmse=0.2),
    "indoor": SuccessRule(rre_deg=15.0, rte=0.3),
    "kitti": SuccessRule(rre_deg=5.0, rte=2.0),
    "kitti-strict": SuccessRule(rre_deg=5.0, rte=0.6),
    "objects": SuccessRule(rre_deg=10.0, shift=0.05),
}
"""3dmatch: official. indoor: PointDSC, SC2-PCR. kitti: Predator, GeoTransformer. kitti-strict:
SC2-PCR, MAC. objects: our own, for the generated objects. Recalls by different rules must not be
compared."""


def rotation_error_deg(T: Float[np.ndarray, "4 4"], T_true: Float[np.ndarray, "4 4"]) -> float:
    """Return the angle between two rotations, in degrees, 0 to 180; the RRE of the papers.

    T, T_true : (4, 4) motions between the same two frames.

    For rotations this is arccos((tr(R^T R*) - 1) / 2). The angle is taken by atan2 from the
    antisymmetric part and the trace instead, so that it is exact near 0 and 180 degrees, and 0 for
    equal matrices that are rotations only to 1e-3 (arccos gives those up to 1.5 degrees).

    Raises ShapeError for other shapes.
    """
    if not _is_rigid(T):
        return float("inf")
    D = _motion(T_true)[:3, :3].T @ _motion(T)[:3, :3]
    twice_sine = np.sqrt(
        (D[2, 1] - D[1, 2]) ** 2 + (D[0, 2] - D[2, 0]) ** 2 + (D[1, 0] - D[0, 1]) ** 2
    )
    return float(np.degrees(np.arctan2(twice_sine, np.trace(D) - 1)))


def translation_error(T: Float[np.ndarray, "4 4"], T_true: Float[np.ndarray, "4 4"]) -> float:
    """Return the distance between two translations, |t - t*|, in metres; the RTE of the papers.

    T, T_true : (4, 4) motions. It depends on where the source frame has its origin.
    """
    if not _is_rigid(T):
        return float("inf")
    return float(np.linalg.norm(_motion(T)[:3, 3] - _motion(T_true)[:3, 3]))


def information_rmse(
    T: Float[np.ndarray, "4 4"],
    T_true: Float[np.ndarray, "4 4"],
    information: Float[np.ndarray, "6 6"],
) -> float:
    """Return the error of the official 3DMatch recall, in metres.

    sqrt(xi^T I xi / I[0, 0]) with xi = (t, q_x, q_y, q_z) of E = T*^-1 T and q_w >= 0. I[0, 0] is
    the number of correspondences. It approximates their RMSE, with half the weight of rotation
    and about the origin of the source: turning the source frame changes it.

    T, T_true : (4, 4).  information : (6, 6) as in gt.info.

    Infinite too, so that the pair counts as failed, where the information is all zero (one pair
    of 3DLoMatch).

    Source: Choi, Zhou, Koltun, CVPR 2015; the code of Zeng et al., CVPR 2017.
    """
    T, T_true = _motion(T), _motion(T_true)
    information = np.asarray(information, dtype=np.float64)
    if information.shape != (6, 6):
        raise ShapeError(f"an information matrix {information.shape}, expected (6, 6)",
                         where="information", hint="one of gt.info, as load_pairs gives it")
    if not (_is_rigid(T) and information[0, 0] > 0):
        return float("inf")
    E = np.linalg.inv(T_true) @ T
    xi = np.concatenate([E[:3, 3], _quaternion_vector(E[:3, :3])])
    return float(np.sqrt(max(0.0, xi @ information @ xi / information[0, 0])))


def point_rmse(
    T: Float[np.ndarray, "4 4"],
    T_true: Float[np.ndarray, "4 4"],
    source: Float[np.ndarray, "n 3"],
) -> float:
    """Return the root mean square of |T p - T* p| over points of the source, in metres.

    T, T_true : (4, 4).  source : (N, 3), for example those with a true partner in the target.

    Unlike `information_rmse` it does not depend on the choice of either frame.
    """
    if not _is_rigid(T):
        return float("inf")
    difference = _motion(T) - _motion(T_true)
    moved = np.asarray(source, dtype=np.float64) @ difference[:3, :3].T + difference[:3, 3]
    return float(np.sqrt((moved**2).sum(1).mean())) if len(moved) else float("nan")


def is_registered(
    T: Float[np.ndarray, "4 4"],
    T_true: Float[np.ndarray, "4 4"],
    information: Float[np.ndarray, "6 6"] | None = None,
    *,
    rule: str = "3dmatch",
    body: Body | None = None,
) -> bool:
    """Return whether the estimate counts as right by one of `RULES`.

    T, T_true : (4, 4).  information : (6, 6), needed by the rule 3dmatch.
    body : needed by the rule objects, in the frame of the source.

    Raises UnknownNameError for another rule, InputError where the rule needs the information or
    the body.
    """
    bounds = find_rule(rule)
    if bounds.shift is not None:
        if body is None:
            raise InputError(f"the rule {rule} needs the body", where="body",
                             hint=f"use one of: {', '.join(r for r in RULES if r != rule)}")
        rre_deg, shift = body_errors(T, T_true, body)
        return shift < bounds.shift and (bounds.rre_deg is None or rre_deg < bounds.rre_deg)
    if bounds.rmse is not None:
        if information is None:
            raise InputError(f"the rule {rule} needs an information matrix", where="information",
                             hint=f"use one of: {', '.join(r for r in RULES if r != rule)}")
        if not information_rmse(T, T_true, information) <= bounds.rmse:
            return False
    if bounds.rre_deg is not None and not rotation_error_deg(T, T_true) < bounds.rre_deg:
        return False
    return bounds.rte is None or translation_error(T, T_true) < bounds.rte


def body_errors(
    T: Float[np.ndarray, "4 4"], T_true: Float[np.ndarray, "4 4"], body: Body
) -> tuple[float, float]:
    """Return the rotation error in degrees, up to the body's symmetry, and its centre's shift.

    T, T_true : (4, 4).  The shift is a share of the diagonal of the body.
    """
    if not _is_rigid(T):
        return float("inf"), float("inf")
    T, T_true = _motion(T), _motion(T_true)
    return (body_rotation_error_deg(T[:3, :3], T_true[:3, :3], body.symmetry),
            centre_shift(T, T_true, body))


def inlier_ratio(
    source: Float[np.ndarray, "n 3"],
    target: Float[np.ndarray, "n 3"],
    T_true: Float[np.ndarray, "4 4"],
    radius: float = INLIER_RADIUS,
) -> float:
    """Return the share of correspondences that the true motion brings closer than `radius` (m).

    source, target : (K, 3), row k of one belongs to row k of the other.  T_true : (4, 4).

    0 without correspondences. Source: Deng, Birdal, Ilic, CVPR 2018, eq. 8.
    """
    p, q = np.asarray(source, dtype=np.float64), np.asarray(target, dtype=np.float64)
    if p.shape != q.shape or p.ndim != 2 or p.shape[1] != 3:
        raise ShapeError(f"correspondences {p.shape} and {q.shape}, expected (K, 3) twice",
                         where="source, target", hint="row k of both belong together")
    T = _motion(T_true)
    if not len(p):
        return 0.0
    return float((np.linalg.norm(p @ T[:3, :3].T + T[:3, 3] - q, axis=1) < radius).mean())


def feature_matching_recall(
    inlier_ratios: Iterable[float], threshold: float = FEATURE_MATCH_RATIO
) -> float:
    """Return the share of pairs whose inlier ratio exceeds the threshold.

    inlier_ratios : one a pair.  Strictly more, as Predator and RoITr count; NaN without pairs.

    Source: Deng, Birdal, Ilic, CVPR 2018, eq. 8.
    """
    ratios = np.asarray(list(inlier_ratios), dtype=np.float64)
    return float((ratios > threshold).mean()) if len(ratios) else float("nan")


def find_rule(name: str) -> SuccessRule:
    """Return a row of `RULES`, or raise UnknownNameError with the nearest names."""
    if name not in RULES:
        raise unknown_name("rule", name, RULES, where="rule")
    return RULES[name]


def _motion(T: Float[np.ndarray, "4 4"]) -> Float[np.ndarray, "4 4"]:
    T = np.asarray(T, dtype=np.float64)
    if T.shape != (4, 4):
        raise ShapeError(f"a motion of shape {T.shape}, expected (4, 4)", where="T",
                         hint="use [[R, t], [0, 0, 0, 1]]")
    return T


def _is_rigid(T: Float[np.ndarray, "4 4"]) -> bool:
    """Return whether T is finite, and a rotation and a shift but for `_MAX_SKEW`."""
    T = _motion(T)
    R = T[:3, :3]
    return bool(
        np.isfinite(T).all()
        and np.abs(T[3] - (0, 0, 0, 1)).max() <= _MAX_SKEW
        and np.abs(R @ R.T - np.eye(3)).max() <= _MAX_SKEW
        and np.linalg.det(R) > 0
    )


def _quaternion_vector(R: Float[np.ndarray, "3 3"]) -> Float[np.ndarray, "3"]:
    """Return (q_x, q_y, q_z), q_w >= 0, of the rotation nearest to R (Bar-Itzhack 2000)."""
    (xx, xy, xz), (yx, yy, yz), (zx, zy, zz) = R.tolist()
    K = np.array([
        [xx - yy - zz, yx + xy, zx + xz, zy - yz],
        [yx + xy, yy - xx - zz, zy + yz, xz - zx],
        [zx + xz, zy + yz, zz - xx - yy, yx - xy],
        [zy - yz, xz - zx, yx - xy, xx + yy + zz],
    ])
    q = np.linalg.eigh(K)[1][:, -1]
    return q[:3] if q[3] >= 0 else -q[:3]
