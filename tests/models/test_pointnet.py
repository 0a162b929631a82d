"""PointNet, the baseline: right as a network, and not invariant."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers.bodies import TASKS, change, cloud, make, moved, padded
from helpers.clouds import KINDS, make_cloud

from pcinv.engine.check import check
from pcinv.errors import ConfigError, InputError, ShapeError
from pcinv.models.registry import create_model, get_spec

NAME = "pointnet"


@pytest.mark.parametrize("task, outputs, count", [
    ("classification", 40, 3_480_049),
    ("normals", 3, 8_332_236),
])
def test_parameter_counts_of_the_paper(task, outputs, count):
    model = create_model(NAME, task=task, preset="paper", num_classes=outputs)
    assert sum(p.numel() for p in model.parameters()) == count


def numpy_layer(block, x, relu=True):
    w, b = (p.detach().numpy() for p in (block.linear.weight, block.linear.bias))
    n = block.norm
    gamma, beta, mean, var = (t.detach().numpy() for t in (
        n.weight, n.bias, n.running_mean, n.running_var))
    y = (x @ w.T + b - mean) / np.sqrt(var + n.eps) * gamma + beta
    return np.maximum(y, 0) if relu else y


def numpy_matrix(net, x):
    for block in (*net.points, net.top):
        x = numpy_layer(block, x)
    x = x.max(0)
    for block in net.head.hidden:
        x = numpy_layer(block, x)
    last = net.head.last
    return (x @ last.weight.detach().numpy().T + last.bias.detach().numpy()).reshape(
        net.size, net.size)


@pytest.mark.parametrize("task", ["classification", "part_segmentation"])
def test_golden_against_numpy(task):
    """Every layer written out in double precision, with both T-Nets."""
    options = {"channels": (16, 24, 24, 32, 48), "aligned": 2, "t_nets": True}
    model = make(NAME, task, **options)
    for net in (model.body.align_points, model.body.align_features):
        torch.nn.init.normal_(net.head.last.weight, std=0.1)
    xyz = cloud(count=50)
    with torch.inference_mode():
        got = model(xyz).numpy()
    body = model.body
    for points, answer in zip(xyz.numpy(), got, strict=True):
        x = points - points.mean(0)
        x, seen = x @ numpy_matrix(body.align_points, x), []
        for depth, block in enumerate(body.layers, start=1):
            x = numpy_layer(block, x)
            seen.append(x)
            if depth == body.aligned:
                x = x @ numpy_matrix(body.align_features, x)
        top = numpy_layer(body.top, x, relu=task == "classification")
        pooled, last = top.max(0), body.head.last
        if task == "classification":
            x = pooled[None]
            for block in body.head.hidden:
                x = numpy_layer(block, x)
            x = x[0]
        else:
            x = np.concatenate([np.tile(pooled, (len(points), 1)), *seen, top], 1)
            x = numpy_layer(body.head.first, x)
            for block in body.head.rest:
                x = numpy_layer(block, x)
        wanted = x @ last.weight.detach().numpy().T + last.bias.detach().numpy()
        assert np.abs(wanted - answer).max() < 1e-11 * np.abs(wanted).max()


@pytest.mark.parametrize("preset", ["light", "paper"])
@pytest.mark.parametrize("task", TASKS)
def test_order_place_and_mates_change_nothing_but_rotation_does(task, preset):
    model, xyz = make(NAME, task, preset=preset), cloud()
    with torch.inference_mode():
        base = model(xyz)
        p = torch.randperm(xyz.shape[1], generator=torch.Generator().manual_seed(0))
        order = base if task == "classification" else base[:, p]
        assert change(order, model(xyz[:, p])) < 1e-10
        assert change(base, model(xyz + 100)) < 1e-10
        assert change(base[1:], model(xyz[1:])) < 1e-10
        assert change(base, model(moved(xyz))) > 1e-2  # nothing is promised, and nothing is kept


def test_check_shows_the_error_and_the_table_promises_nothing():
    report = check(NAME, rotations=8)
    assert not report.passed and report.errors["rotation"] > 1e-3
    assert max(report.errors[k] for k in ("translation", "permutation", "batch")) < 1e-5
    assert get_spec(NAME).symmetry == create_model(NAME).symmetry == "none"


@pytest.mark.parametrize("task", ["classification", "part_segmentation"])
def test_evaluation_with_and_without_gradients_is_the_same(task):
    model, xyz = make(NAME, task, preset="paper"), cloud()
    with torch.inference_mode():
        quick = model(xyz)
    assert change(model(xyz), quick) < 1e-12


@pytest.mark.parametrize("task", TASKS)
def test_padding_changes_nothing(task):
    model = make(NAME, task)
    small, large = cloud(count=40, batch=1), cloud(count=70, batch=1, seed=1)
    xyz, mask, where = padded(small, large)
    with torch.inference_mode():
        got = model(xyz, mask=mask)
        mine = got[0] if task == "classification" else got[0, where]
        assert change(model(small)[0], mine) < 1e-12 and change(model(large)[0], got[1]) < 1e-12
    with pytest.raises(InputError, match="different size"):
        model.train()(xyz, mask=mask)


@pytest.mark.parametrize("kind", KINDS)
def test_hostile_clouds_give_finite_answers_and_gradients(kind):
    model = make(NAME, preset="paper").train()
    xyz = torch.from_numpy(np.stack([make_cloud(kind, 30, seed) for seed in range(3)]))
    xyz.requires_grad_()
    out = model(xyz)
    assert torch.isfinite(out).all()
    F.cross_entropy(out, torch.arange(3)).backward()
    assert torch.isfinite(xyz.grad).all()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())


def test_the_category_decides_where_the_network_is_told_one():
    model, xyz = make(NAME, "part_segmentation", num_categories=3), cloud(count=40)
    with torch.inference_mode():
        a = model(xyz, category=torch.tensor([0, 1]))
        b = model(xyz, category=torch.tensor([2, 1]))
    assert not torch.allclose(a[0], b[0]) and torch.allclose(a[1], b[1])
    with pytest.raises(InputError, match="category"):
        model(xyz)


@pytest.mark.parametrize("xyz, error", [
    (torch.zeros(2, 10, 2), ShapeError), (torch.zeros(10, 3), ShapeError),
    (torch.zeros(2, 0, 3), InputError), (torch.full((2, 5, 3), torch.inf), InputError),
])
def test_bad_points_are_named(xyz, error):
    with pytest.raises(error) as caught:
        make(NAME)(xyz)
    assert caught.value.exit_code == 3 and caught.value.where and caught.value.hint


def test_wrong_sizes_and_lone_training_clouds_are_named():
    with pytest.raises(ConfigError):
        create_model(NAME, neighbours=3)
    with pytest.raises(InputError, match="batch of one"):
        make(NAME).train()(cloud(batch=1))


def test_mixed_precision():
    model, xyz = make(NAME, dtype=torch.float32, preset="paper").train(), cloud(dtype=torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = model(xyz)
    out.float().square().mean().backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())
