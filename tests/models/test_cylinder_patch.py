"""The patch descriptor. Numbers in names are those of the list of promises."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers.clouds import haar
from torch import nn

from pcinv.errors import InputError, ShapeError
from pcinv.models import cylinder_patch as module
from pcinv.models.cylinder_patch import CylinderPatch, Hyper, describe
from pcinv.nn.cylinder_grid import cylinder_grid, key_points
from pcinv.registration.viewpoint import orient_towards


def make(seed=0):
    """A network with uneven statistics, as training leaves them: zeros would hide an error."""
    torch.manual_seed(seed)
    model = CylinderPatch()
    for norm in model.modules():
        if isinstance(norm, nn.BatchNorm1d):
            nn.init.uniform_(norm.weight, 0.5, 1.5)
            nn.init.normal_(norm.bias, std=0.1)
            nn.init.normal_(norm.running_mean, std=0.1)
            nn.init.uniform_(norm.running_var, 0.01, 0.1)
    return model.eval()


def room(count=5000, seed=0):
    """Two walls with waves and a ball, seen from the origin, in float32: points and normals."""
    rng = np.random.default_rng(seed)
    part = np.arange(count) % 3
    u, v = rng.uniform(0, 1.4, (2, count))
    points, normals = np.zeros((count, 3)), np.zeros((count, 3))
    for side in range(2):
        on = part == side
        w = 0.06 * np.sin(7 * u[on] + side) * np.cos(5 * v[on])
        points[np.ix_(on, [side, side + 1, (side + 2) % 3])] = np.stack([w, u[on], v[on]], 1)
        normals[np.ix_(on, [side, side + 1])] = np.stack([np.ones(on.sum()), -0.2 * w], 1)
    ball = rng.normal(size=(count, 3))
    ball /= np.linalg.norm(ball, axis=1, keepdims=True)
    points[part == 2], normals[part == 2] = [0.5, 0.5, 0.6] + 0.3 * ball[part == 2], ball[part == 2]
    points += 0.003 * rng.normal(size=(count, 3)) - [1.9, 2.0, 1.5]
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    return points.astype(np.float32), orient_towards(points, normals, np.zeros(3)).astype("f")


def patches(count, seed=0):
    """A cloud, its normals, and key points with axes: what `describe` takes, in float32."""
    points, normals = room(seed=seed)
    places, axes = key_points(points, normals)
    pick = np.random.default_rng(seed).permutation(len(places))[:count]
    return points, normals, places[pick].astype(np.float32), axes[pick].astype(np.float32)


def spread(descriptors):
    """The median distance of two descriptors: what differences are to be held against."""
    return float(torch.pdist(descriptors[:200]).median())


def change(a, b):
    return float((a - b).detach().abs().max())


def layer_by_layer(model, grid):
    """The network by torch's own layers."""
    def join(layer, x):
        conv = nn.Conv1d(*layer.conv.weight.shape[1::-1], 3, padding=1, padding_mode="circular",
                         bias=False)
        conv.weight = layer.conv.weight
        return layer.norm(conv(x))

    x = F.relu(join(model.first, grid))
    x = F.relu(x + join(model.inner_2, F.relu(join(model.inner_1, x))))
    x = F.relu(join(model.last, x))
    x = torch.cat([x.max(2).values, x.mean(2)], 1)
    x = model.out(F.relu(model.hidden.norm(model.hidden.linear(x))))
    return x / x.norm(dim=1, keepdim=True)


def test_parameter_count():
    assert sum(p.numel() for p in CylinderPatch().parameters()) == 170_273


@pytest.mark.parametrize("training", [False, True])
def test_equals_the_plain_layers(training):
    model, other = make().train(training), make().train(training)
    grid = torch.from_numpy(cylinder_grid(*patches(100)))
    found, expected = model(grid), layer_by_layer(other, grid)
    assert found.shape == (100, 32) and change(found, expected) < 1e-5
    assert change(found.norm(dim=1), torch.ones(100)) < 1e-6
    for (name, a), b in zip(model.named_buffers(), other.buffers(), strict=True):
        assert torch.allclose(a, b, atol=1e-5), name


def test_gradients_reach_every_parameter():
    model = make().train()
    grid = torch.from_numpy(cylinder_grid(*patches(50)))
    (model(grid) @ torch.randn(32, 7)).square().sum().backward()
    for name, parameter in model.named_parameters():
        if name != "log_scale":  # of the loss
            assert parameter.grad is not None and parameter.grad.any(), name


def test_1_a_turned_cloud_has_the_same_descriptors():
    model, given = make(), patches(600)
    assert len(given[2]) == 600
    one = describe(model, *given)
    assert one.dtype == torch.float32 and spread(one) > 0.1
    for seed in range(8):
        rotation = haar(np.random.default_rng(seed))
        turned = [(a @ rotation.T).astype(np.float32) for a in given]
        assert change(describe(model, *turned), one) < 1e-4
    left_behind = describe(model, *turned[:3], given[3])
    assert (left_behind - one).norm(dim=1).median() > 0.5 * spread(one)


def test_1_rolling_the_azimuths_changes_nothing(monkeypatch):
    model, grid = make(), torch.from_numpy(cylinder_grid(*patches(100)))
    with torch.inference_mode():
        one = model(grid)
        for bins in range(1, 16):
            assert change(model(grid.roll(bins, 2)), one) < 1e-6
        assert change(model(grid.roll(1, 1)), one) > 0.1
        # negative control: with zeros around the ends
        monkeypatch.setattr(module, "_around", lambda x: F.pad(x, (1, 1)))
        assert change(model(grid.roll(5, 2)), model(grid)) > 1e-2


def test_5_a_mirror_image_has_another_descriptor():
    model, given = make(), patches(200)
    mirror = np.diag([1, -1, 1]).astype(np.float32)
    one, mirrored = describe(model, *given), describe(model, *(a @ mirror for a in given))
    assert (mirrored - one).norm(dim=1).median() > 0.1 * spread(one)


def test_4_from_a_wrong_origin_the_descriptors_are_others():
    model, (points, normals, places, axes) = make(), patches(200)
    one = describe(model, points, normals, places, axes)
    wrong = points.mean(0) * [2.5, 2, 2]  # behind the walls
    other = describe(model, points, orient_towards(points, normals, wrong), places,
                     orient_towards(places, axes, wrong))
    assert (other - one).norm(dim=1).median() > 0.5 * spread(one)


class TestIndependence:
    """10. Evaluation statistics; neither chunks nor other key points matter."""

    given = patches(300)

    def test_10_the_mode_of_the_model_is_no_matter_and_kept(self):
        model = make()
        one = describe(model, *self.given)
        state = {name: value.clone() for name, value in model.state_dict().items()}
        model.first.train()  # a part of it alone
        assert torch.equal(describe(model, *self.given), one)
        model.train().first.eval()
        assert torch.equal(describe(model, *self.given), one)
        assert model.training and model.last.training and not model.first.training
        for name, value in model.state_dict().items():
            assert torch.equal(value, state[name]), name
        # negative control: with the statistics of the batch, mates matter
        grid = torch.from_numpy(cylinder_grid(*self.given))
        assert change(model.train()(grid)[:100], model(grid[:100])) > 1e-2

    @pytest.mark.parametrize("chunk", [1, 7, 128, 299, 5000])
    def test_10_chunks_are_no_matter(self, chunk):
        model = make()
        one = describe(model, *self.given)
        assert change(describe(model, *self.given, chunk=chunk), one) < 1e-6

    def test_10_other_key_points_are_no_matter(self):
        model, (points, normals, places, axes) = make(), self.given
        one, pick = describe(model, *self.given), slice(290, 20, -3)
        part = describe(model, points, normals, places[pick], axes[pick])
        assert change(part, one[range(290, 20, -3)]) < 1e-6

    def test_threads_are_no_matter(self):
        model = make()
        one = describe(model, *self.given, chunk=40)
        torch.set_num_threads(2)
        try:
            assert change(describe(model, *self.given, chunk=40), one) < 1e-6
        finally:
            torch.set_num_threads(1)

    def test_loops_of_torch_give_the_same(self):
        model, one = make(), describe(make(), *self.given)
        flags = torch.backends.cudnn
        before = flags.allow_tf32, flags.enabled
        for chunk in (None, 70):
            assert change(module._describe_by_torch(model, *self.given, 1600.0, chunk), one) < 1e-5
        assert (flags.allow_tf32, flags.enabled) == before

    @pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
    def test_a_gpu_gives_the_same(self):
        found = describe(make().cuda(), *self.given)
        assert found.is_cuda and change(found.cpu(), describe(make(), *self.given)) < 1e-5


def test_a_key_point_finds_itself_in_another_scan_of_the_same_surfaces():
    """Even with random weights, in far more cases than by chance."""
    model, (points, normals, places, axes) = make(), patches(300)
    again = room(seed=7)
    one, other = describe(model, points, normals, places, axes), describe(
        model, *again, places, axes)
    at = torch.cdist(one, other).argmin(1).numpy()
    near = np.linalg.norm(places[at] - places, axis=1) < 0.1
    chance = np.linalg.norm(places[:, None] - places, axis=2) < 0.1
    assert near.mean() > 10 * chance.mean()


def test_without_key_points_or_axes_or_neighbours():
    model, (points, normals, places, axes) = make(), patches(20)
    assert describe(model, points, normals, places[:0], axes[:0]).shape == (0, 32)
    places[3], axes[5], axes[7] = 99, 0, np.nan
    found = describe(model, points, normals, places, axes)
    assert torch.isfinite(found).all() and change(found.norm(dim=1), torch.ones(20)) < 1e-6
    assert change(found[[3, 5]], found[[7, 7]]) < 1e-6
    assert (found[[3]] - found).norm(dim=1).gt(0.01).sum() == 17


def test_sizes_are_those_of_the_hyperparameters():
    model = CylinderPatch(Hyper(width=24, hidden=20, length=8, radius=0.2, height_scale=0.04))
    given = patches(30)
    grid = torch.from_numpy(cylinder_grid(*given, radius=0.2, height_scale=0.04, density=900.0))
    found = describe(model, *given, density=900.0)
    assert found.shape == (30, 8)
    assert change(found, model.eval()(grid).detach()) < 1e-6
    assert change(found, describe(model, *given)) > 1e-4
    double = describe(model.double(), *given, density=900.0)
    assert double.dtype == torch.float64 and change(double, found) < 1e-5


def test_bad_input():
    model, (points, normals, places, axes) = make(), patches(10)
    longer = np.concatenate([axes, axes])
    for given, options, error, where in (
        ((points, normals[:5], places, axes), {}, ShapeError, "normals"),
        ((points * np.nan, normals, places, axes), {}, InputError, "points"),
        ((points, normals, places, longer), {"chunk": 10}, ShapeError, "key_axes"),
        ((points, normals, places, axes), {"chunk": 0}, InputError, "chunk"),
        ((points, normals, places, axes), {"density": 0.0}, InputError, "density"),
    ):
        with pytest.raises(error) as caught:
            describe(model, *given, **options)
        assert caught.value.where == where and caught.value.hint
    for shape in ((200, 16), (1, 16, 200), (3, 200, 15)):
        with pytest.raises(ShapeError, match="grid") as caught:
            model(torch.zeros(shape))
        assert caught.value.hint
