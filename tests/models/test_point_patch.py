"""A backbone of shapes as a descriptor of patches: which points it sees, what turns with them."""

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from pcinv.errors import ConfigError, ShapeError
from pcinv.models.point_patch import Hyper, PointPatch, build


def cloud(count=1500, seed=0):
    rng = np.random.default_rng(seed)
    points = rng.uniform(-1, 1, (count, 3)) * [1, 1, 0.2]
    normals = rng.normal(size=(count, 3))
    return points, normals / np.linalg.norm(normals, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return PointPatch().eval()


def test_a_patch_holds_points_of_its_ball_evenly_by_distance(model):
    points, normals = cloud()
    patch = model.patches(points, normals, points[:90], normals[:90]).double().numpy()
    assert patch.shape == (90, 96, 6)
    for k in range(90):
        away = np.sort(np.linalg.norm(points - points[k], axis=1))
        inside = away[away < 0.3] / 0.3
        found = np.linalg.norm(patch[k, :, :3], axis=1)
        size = max(size for size in (4, 6, 8, 12, 16, 24, 32, 48, 64, 96) if size <= len(inside))
        row = np.minimum(np.arange(96), size - 1)
        assert np.allclose(found, inside[row * len(inside) // size], atol=1e-6)
        assert np.allclose(patch[k, 0, :3], 0) and np.allclose(patch[k, 0, 3:], normals[k])


def test_descriptors_turn_with_the_cloud_and_not_with_its_mirror_image(model):
    model = PointPatch(Hyper()).double().eval()
    points, normals = cloud()
    one = model.describe_keys(points, normals, points[:60], normals[:60])
    assert one.shape == (60, 32) and torch.allclose(one.norm(dim=1), torch.ones(60).double())
    for seed in range(3):
        R = Rotation.random(random_state=seed).as_matrix()
        there = points @ R.T + [3.0, -1.0, 2.0]
        turned = model.describe_keys(there, normals @ R.T, there[:60], normals[:60] @ R.T)
        assert float((turned - one).abs().max()) < 1e-9
    mirror = np.array([-1.0, 1, 1])
    other = model.describe_keys(points * mirror, normals * mirror, points[:60] * mirror,
                                normals[:60] * mirror)
    assert float((other - one).norm(dim=1).median()) > 1e-2


def test_the_order_of_the_points_is_no_matter(model):
    points, normals = cloud()
    order = np.random.default_rng(1).permutation(len(points))
    found = [model.describe_keys(p, n, points[:30], normals[:30])
             for p, n in ((points, normals), (points[order], normals[order]))]
    assert float((found[0] - found[1]).abs().max()) < 1e-5


def test_few_points_and_none_near_and_missing_normals(model):
    points, normals = cloud(5)
    for keys in (points, np.full((3, 3), 50.0), points[:0]):
        found = model.describe_keys(points, normals, keys, np.ones_like(keys))
        assert found.shape == (len(keys), 32) and torch.isfinite(found).all()
    points, normals = cloud(300)
    normals[::2] = np.nan
    assert torch.isfinite(model.describe_keys(points, normals, points, normals)).all()


def test_the_mode_of_the_model_is_no_matter_and_kept():
    torch.manual_seed(0)
    model = PointPatch()
    points, normals = cloud()
    a = model.describe_keys(points, normals, points[:20], normals[:20])
    assert model.training
    assert torch.equal(a, model.eval().describe_keys(points, normals, points[:20], normals[:20]))


def test_gradients_reach_every_parameter_but_the_scale(model):
    torch.manual_seed(0)
    model = PointPatch()
    points, normals = cloud()
    model(model.patches(points, normals, points[:16], normals[:16]))[:, 0].sum().backward()
    for name, parameter in model.named_parameters():
        assert (parameter.grad is None) == (name == "log_scale"), name


def test_bad_input(model):
    with pytest.raises(ShapeError, match=r"\(B, 96, 6\)"):
        model(torch.zeros(2, 95, 6))
    with pytest.raises(ConfigError, match="no hyper-parameter"):
        build("risurconv_patch", task="matching", num_classes=1, preset="light", num_categories=0,
              overrides={"widths": 3})
