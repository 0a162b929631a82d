"""The shapes in the signatures are the shapes that go in and come out, for several batches."""

import pytest
import torch
from beartype import beartype
from jaxtyping import jaxtyped

import pcinv.geometry as geometry

BATCHES = [(), (4,), (2, 3), (0,)]
WIDTHS = {
    "safe_norm": [(3,)], "safe_normalize": [(5,)], "angle": [(3,)] * 2, "signed_angle": [(3,)] * 3,
    "point_pair_features": [(3,)] * 4, "informative_features": [(3,)] * 4,
    "axis_angle_to_matrix": [(3,)], "axis_angle_to_quaternion": [(3,)], "euler_to_matrix": [(3,)],
    "quaternion_to_matrix": [(4,)], "quaternion_to_axis_angle": [(4,)], "hat": [(3,)],
    "matrix_to_axis_angle": [(3, 3)], "matrix_to_quaternion": [(3, 3)], "matrix_to_euler": [(3, 3)],
    "matrix_to_sixd": [(3, 3)], "matrix_to_fived": [(3, 3)], "vee": [(3, 3)],
    "geodesic_angle": [(3, 3)] * 2, "is_rotation": [(3, 3)], "project_to_so3": [(3, 3)],
    "sixd_to_matrix": [(6,)], "fived_to_matrix": [(5,)], "eigh3": [(3, 3)],
    "frame_variants": [(3, 3)], "kabsch": [(6, 3), (6, 3), (6,)], "make_transform": [(3, 3), (3,)],
    "compose": [(4, 4)] * 2, "invert": [(4, 4)], "transform_points": [(4, 4), (7, 3)],
    "transform_normals": [(4, 4), (7, 3)], "se3_exp": [(6,)], "se3_log": [(4, 4)],
}


@pytest.mark.parametrize("batch", BATCHES, ids=str)
@pytest.mark.parametrize("name", WIDTHS)
def test_any_leading_shape_in_both_types(name, batch, dtype, generator):
    function = jaxtyped(typechecker=beartype)(getattr(geometry, name))
    shapes = [(*batch, *width) for width in WIDTHS[name]]
    inputs = [torch.rand(shape, generator=generator, dtype=dtype) for shape in shapes]
    found = function(*inputs)
    for value in found if isinstance(found, tuple) else (found,):
        if isinstance(value, torch.Tensor):
            assert value.shape[: len(batch)] == batch
            assert value.dtype in (dtype, torch.bool)


def test_broadcasting_of_one_motion_over_many_clouds(generator):
    xyz = torch.rand(5, 7, 3, generator=generator)
    motion = geometry.se3_exp(torch.rand(6, generator=generator))
    for function in (geometry.transform_points, geometry.transform_normals):
        checked = jaxtyped(typechecker=beartype)(function)
        assert torch.equal(checked(motion, xyz), checked(motion.expand(5, 4, 4), xyz))


def test_every_public_name_is_there():
    assert all(hasattr(geometry, name) for name in geometry.__all__)
