"""The table of ways to write a rotation as numbers that a network can give: name -> width, decode.

Those of five numbers and more have a continuous inverse (Zhou et al., CVPR 2019); quaternions,
rotation vectors and Euler angles have none, and leave some rotations wrong by up to 180 degrees
however long a network is trained.
"""

from collections.abc import Callable
from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

from pcinv.errors import unknown_name
from pcinv.geometry.orthogonal import (
    fived_to_matrix,
    matrix_to_fived,
    matrix_to_sixd,
    project_to_so3,
    sixd_to_matrix,
)
from pcinv.geometry.rotation import (
    axis_angle_to_matrix,
    euler_to_matrix,
    matrix_to_axis_angle,
    matrix_to_euler,
    matrix_to_quaternion,
    quaternion_to_matrix,
)


class Representation(NamedTuple):
    """One way: any (..., width) numbers -> rotation (..., 3, 3), and back.

    is_continuous : whether equal rotations have equal numbers nearby, all over SO(3).
    is_raw : a network is trained on the bare 3x3 numbers, and decodes them in use only.
    """

    width: int
    decode: Callable[[Tensor], Tensor]
    encode: Callable[[Tensor], Tensor]
    is_continuous: bool
    is_raw: bool = False


def as_matrix(numbers: Float[Tensor, "*batch 9"]) -> Float[Tensor, "*batch 3 3"]:
    """Return nine numbers, row by row, as the matrix that they are."""
    return numbers.reshape(*numbers.shape[:-1], 3, 3)


def nearest_rotation(numbers: Float[Tensor, "*batch 9"]) -> Float[Tensor, "*batch 3 3"]:
    """Return the rotation nearest to the matrix of nine numbers (by SVD)."""
    return project_to_so3(as_matrix(numbers))


def gram_schmidt(numbers: Float[Tensor, "*batch 9"]) -> Float[Tensor, "*batch 3 3"]:
    """Return the rotation of the first two columns of the matrix of nine numbers."""
    return sixd_to_matrix(matrix_to_sixd(as_matrix(numbers)))


def _flat(matrix: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch 9"]:
    return matrix.flatten(-2)


REPRESENTATIONS: dict[str, Representation] = {
    "6d": Representation(6, sixd_to_matrix, matrix_to_sixd, True),
    "5d": Representation(5, fived_to_matrix, matrix_to_fived, True),
    "9d-svd": Representation(9, nearest_rotation, _flat, True),
    "9d-gs": Representation(9, gram_schmidt, _flat, True, is_raw=True),
    "quaternion": Representation(4, quaternion_to_matrix, matrix_to_quaternion, False),
    "axis-angle": Representation(3, axis_angle_to_matrix, matrix_to_axis_angle, False),
    "euler": Representation(3, euler_to_matrix, matrix_to_euler, False),
}


def get_representation(name: str, where: str = "representation") -> Representation:
    """Return a row of `REPRESENTATIONS`; raise `UnknownNameError` with the nearest names."""
    if name not in REPRESENTATIONS:
        raise unknown_name("representation", name, REPRESENTATIONS, where=where)
    return REPRESENTATIONS[name]
