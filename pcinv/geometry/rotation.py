"""Rotations: sampling, distance, and conversion between matrices, quaternions, vectors and angles.

Matrices act on columns: y = R x. Quaternions are (w, x, y, z) with w >= 0 on output. All functions
take any leading shape, float32 or float64, and can be differentiated twice. The representations
meant for the output of a network are in `pcinv.geometry.orthogonal`.
"""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from pcinv.errors import unknown_name
from pcinv.geometry.features import safe_norm

EULER_CONVENTIONS = ("XYX", "XYZ", "XZX", "XZY", "YXY", "YXZ",
                     "YZX", "YZY", "ZXY", "ZXZ", "ZYX", "ZYZ")


def random_rotation(
    *batch: int,
    generator: torch.Generator | None = None,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> Float[Tensor, "*shape 3 3"]:
    """Draw rotations uniformly (by the Haar measure): normalised Gaussian quaternions.

    batch : the leading shape of the result; none for one 3x3 matrix. A seed gives the same
    rotations in either dtype.
    """
    source = generator.device if generator is not None else torch.device("cpu")
    q = torch.randn((*batch, 4), generator=generator, dtype=torch.float64, device=source)
    return quaternion_to_matrix(q).to(device=device, dtype=dtype)


def random_rotation_z(
    *batch: int,
    generator: torch.Generator | None = None,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> Float[Tensor, "*shape 3 3"]:
    """Draw rotations about the z axis, the angle uniform over the circle."""
    source = generator.device if generator is not None else torch.device("cpu")
    turn = torch.rand(batch, generator=generator, dtype=torch.float64, device=source)
    return _about(2, 2 * math.pi * turn).to(device=device, dtype=dtype)


def is_rotation(
    matrix: Float[Tensor, "*batch 3 3"], *, tolerance: float = 1e-5
) -> Bool[Tensor, "*batch"]:
    """Return where the matrix is orthonormal with determinant +1, entries within `tolerance`."""
    eye = torch.eye(3, dtype=matrix.dtype, device=matrix.device)
    is_orthonormal = (matrix.mT @ matrix - eye).abs().amax((-2, -1)) <= tolerance
    is_proper: Tensor = torch.linalg.det(matrix) > 0
    return is_orthonormal & is_proper


def geodesic_angle(
    first: Float[Tensor, "*#batch 3 3"], second: Float[Tensor, "*#batch 3 3"]
) -> Float[Tensor, "*shape"]:
    """Return the angle of the rotation that carries `first` to `second`, in [0, pi].

    Taken as atan2(sin, cos), which is exact at 0, 90 and 180 degrees alike, and whose gradient
    stays finite where those of acos (at 0 and pi) and asin (at pi) do not.
    """
    between = first.mT @ second
    sine = safe_norm(vee(between - between.mT)) / 2
    cosine = (between.diagonal(dim1=-2, dim2=-1).sum(-1) - 1) / 2
    return torch.atan2(sine, cosine)


def hat(v: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3 3"]:
    """Return the skew matrix with hat(v) x = v cross x."""
    x, y, z = v.unbind(-1)
    o = torch.zeros_like(x)
    return _matrix([o, -z, y, z, o, -x, -y, x, o], 3)


def _matrix(entries: list[Tensor], size: int) -> Tensor:
    """Return the (..., size, size) matrices of these entries, row by row."""
    flat = torch.stack(entries, dim=-1)
    return flat.reshape(*flat.shape[:-1], size, size)


def vee(matrix: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch 3"]:
    """Return the entries (2, 1), (0, 2), (1, 0): the v of a matrix hat(v)."""
    return torch.stack([matrix[..., 2, 1], matrix[..., 0, 2], matrix[..., 1, 0]], dim=-1)


def quaternion_to_matrix(quaternion: Float[Tensor, "*batch 4"]) -> Float[Tensor, "*batch 3 3"]:
    """Return the rotation of a quaternion of any length; the zero one gives the identity."""
    length = safe_norm(quaternion, keepdim=True)
    zero = length == 0
    identity = torch.tensor([1.0, 0.0, 0.0, 0.0], dtype=quaternion.dtype, device=quaternion.device)
    length = torch.where(zero, torch.ones_like(length), length)
    unit = torch.where(zero, identity, quaternion / length)
    w, x, y, z = unit.unbind(-1)
    entries = [
        1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
        2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
        2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y),
    ]  # fmt: skip
    return _matrix(entries, 3)


def matrix_to_quaternion(matrix: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch 4"]:
    """Return the unit quaternion of a rotation: w > 0, or w = 0 and the first non-zero entry > 0.

    The rows of 4 q q^T are linear in the matrix; normalising the longest of them needs no square
    root of a number that may be zero, so it is accurate for every angle. Source: Shepperd 1978.
    """
    xx, yy, zz = matrix.diagonal(dim1=-2, dim2=-1).unbind(-1)
    wx, wy, wz = vee(matrix - matrix.mT).unbind(-1)
    yz, xz, xy = vee(matrix + matrix.mT).unbind(-1)
    outer = _matrix(
        [1 + xx + yy + zz, wx, wy, wz,
         wx, 1 + xx - yy - zz, xy, xz,
         wy, xy, 1 - xx + yy - zz, yz,
         wz, xz, yz, 1 - xx - yy + zz], 4)  # fmt: skip
    longest = outer.diagonal(dim1=-2, dim2=-1).detach().argmax(-1)
    pick = longest[..., None, None].expand(*longest.shape, 1, 4)
    row = outer.gather(-2, pick).squeeze(-2)
    return _canonical(row / safe_norm(row, keepdim=True))


def _canonical(quaternion: Tensor) -> Tensor:
    """Return q or -q, whichever has its first non-zero entry positive."""
    sign = quaternion.detach().sign()
    first = (sign != 0).to(torch.uint8).argmax(-1, keepdim=True)  # the first of equals
    chosen = sign.gather(-1, first)
    return quaternion * torch.where(chosen == 0, torch.ones_like(chosen), chosen)


def axis_angle_to_matrix(vector: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3 3"]:
    """Return the rotation by |vector| radians about the direction of `vector`."""
    return quaternion_to_matrix(axis_angle_to_quaternion(vector))


def matrix_to_axis_angle(matrix: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch 3"]:
    """Return the rotation vector, of length in [0, pi], to rounding near 0 and near pi."""
    return quaternion_to_axis_angle(matrix_to_quaternion(matrix))


def axis_angle_to_quaternion(vector: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 4"]:
    """Return cos(angle / 2) and sin(angle / 2) axis; w < 0 where the angle exceeds pi."""
    square = (vector * vector).sum(-1, keepdim=True)
    small = square < 1e-4
    half = torch.where(small, torch.ones_like(square), square).sqrt() / 2
    near = 1 - square / 8 * (1 - square / 48 * (1 - square / 120))
    slope = 0.5 * (1 - square / 24 * (1 - square / 80 * (1 - square / 168)))
    w = torch.where(small, near, half.cos())
    return torch.cat([w, torch.where(small, slope, half.sin() / (2 * half)) * vector], dim=-1)


def quaternion_to_axis_angle(quaternion: Float[Tensor, "*batch 4"]) -> Float[Tensor, "*batch 3"]:
    """Return the rotation vector of a unit quaternion, of length in [0, pi]."""
    q = _canonical(quaternion)
    w, v = q[..., :1], q[..., 1:]
    sine = safe_norm(v, keepdim=True)
    small = sine < 1e-3
    cosine = torch.where(small, w, torch.ones_like(w))
    x = (v * v).sum(-1, keepdim=True) / (cosine * cosine)  # tan^2(angle / 2)
    near = 2 / cosine * (1 - x * (1 / 3 - x * (1 / 5 - x / 7)))
    sine = torch.where(small, torch.ones_like(sine), sine)
    return torch.where(small, near, 2 * torch.atan2(sine, w) / sine) * v


def _about(axis: int, angle: Tensor) -> Tensor:
    """Return the rotation by `angle` about coordinate axis 0, 1 or 2."""
    c, s, o, i = angle.cos(), angle.sin(), torch.zeros_like(angle), torch.ones_like(angle)
    entries = {
        0: [i, o, o, o, c, -s, o, s, c],
        1: [c, o, s, o, i, o, -s, o, c],
        2: [c, -s, o, s, c, o, o, o, i],
    }[axis]
    return _matrix(entries, 3)


def _axes(convention: str) -> list[int]:
    if convention not in EULER_CONVENTIONS:
        raise unknown_name("Euler convention", convention, EULER_CONVENTIONS, where="convention")
    return ["XYZ".index(letter) for letter in convention]


def euler_to_matrix(
    angles: Float[Tensor, "*batch 3"], convention: str = "ZYX"
) -> Float[Tensor, "*batch 3 3"]:
    """Return R_1(angle 1) R_2(angle 2) R_3(angle 3), the axes named by `convention`.

    angles : (..., 3) radians.  convention : one of `EULER_CONVENTIONS`, intrinsic (each turn is
    about the axes as already turned); "ZYX" is yaw, pitch, roll.

    Raises UnknownNameError for another convention.
    """
    i, j, k = _axes(convention)
    return _about(i, angles[..., 0]) @ _about(j, angles[..., 1]) @ _about(k, angles[..., 2])


def matrix_to_euler(
    matrix: Float[Tensor, "*batch 3 3"], convention: str = "ZYX"
) -> Float[Tensor, "*batch 3"]:
    """Return the three angles of `euler_to_matrix`, the outer two in (-pi, pi].

    The middle one is in [0, pi] where the first and last axes are the same, else in [-pi/2, pi/2].
    At the ends of that range (gimbal lock) only a sum of the outer two is defined: the last is 0.

    Raises UnknownNameError for another convention. Source: Bernardes and Viollet, PLOS ONE 2022.
    """
    k, j, i = _axes(convention)  # the formula is for turns about fixed axes: the same, reversed
    same = i == k
    k = 3 - i - j if same else k
    sign = (i - j) * (j - k) * (k - i) // 2
    q = matrix_to_quaternion(matrix)
    a, b, c, d = q[..., 0], q[..., 1 + i], q[..., 1 + j], sign * q[..., 1 + k]
    if not same:
        a, b, c, d = a - c, b + d, c + a, d - b
    low, high = torch.stack([a, b], -1), torch.stack([c, d], -1)
    cosine, sine = safe_norm(low), safe_norm(high)
    middle = 2 * torch.atan2(sine, cosine)
    eps = 4 * torch.finfo(matrix.dtype).eps
    no_high, no_low = (sine <= eps).detach(), (cosine <= eps).detach()
    half_sum = torch.atan2(torch.where(no_low, 0.0, b), torch.where(no_low, 1.0, a))
    half_diff = torch.atan2(torch.where(no_high, 0.0, d), torch.where(no_high, 1.0, c))
    # one of the halves is 0 where locked: the whole turn is then twice the other
    locked = no_high | no_low
    outer = torch.where(locked, 2 * (half_sum + half_diff), half_sum + half_diff)
    inner = torch.where(locked, torch.zeros_like(outer), half_sum - half_diff)
    if not same:
        outer, middle = sign * outer, middle - math.pi / 2
    return torch.stack([_wrap(outer), middle, _wrap(inner)], dim=-1)


def _wrap(angle: Tensor) -> Tensor:
    """Return an angle of (-3 pi, 3 pi) in (-pi, pi]; small ones keep all their digits."""
    angle = torch.where(angle > math.pi, angle - 2 * math.pi, angle)
    return torch.where(angle <= -math.pi, angle + 2 * math.pi, angle)
