"""The loss of estimated rotations."""

from jaxtyping import Float
from torch import Tensor


def rotation_matrix_loss(
    estimated: Float[Tensor, "*#batch 3 3"], true: Float[Tensor, "*#batch 3 3"]
) -> Float[Tensor, "*shape"]:
    """Return the mean squared difference of the nine entries.

    For two rotations an angle t apart it is 8/9 sin^2(t / 2): smooth everywhere, unlike the angle.
    `estimated` need not be a rotation.

    Source: Zhou et al., CVPR 2019, section 5.2.
    """
    return (estimated - true).square().mean((-2, -1))


def symmetric_rotation_loss(
    estimated: Float[Tensor, "b 3 3"],
    true: Float[Tensor, "b 3 3"],
    group: Float[Tensor, "g 3 3"],
) -> Float[Tensor, "b"]:
    """Return the least `rotation_matrix_loss` over the turns that leave an object as it is.

    group : (G, 3, 3) rotations S of the object in its own frame; `true` S is as right as `true`.

    An object with such turns has no continuous answer either: without this loss a network learns
    the mean of right answers, which is wrong. Source: Xiang and Li, arXiv 2012.01788.
    """
    right = true[:, None] @ group  # (B, G, 3, 3)
    return rotation_matrix_loss(estimated[:, None], right).amin(1)
