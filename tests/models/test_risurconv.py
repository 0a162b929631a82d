"""RISurConv and RIConv++. Numbers in names are those of the list of promises."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers.clouds import KINDS, make_cloud

from pcinv.errors import ConfigError, InputError, ShapeError, UnknownNameError
from pcinv.geometry.rotation import random_rotation
from pcinv.models.registry import BACKBONES, create_model, describe, list_models

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import plain_risurconv

NAMES = ("risurconv", "riconvpp")
TASKS = {"classification": {"num_classes": 40}, "part_segmentation": {"num_classes": 50}}


def cloud(count=300, batch=2, seed=0, dtype=torch.float64):
    """Points on a bumpy ellipsoid, with normals that are roughly right."""
    g = torch.Generator().manual_seed(seed)
    direction = F.normalize(torch.randn(batch, count, 3, generator=g, dtype=torch.float64), dim=-1)
    xyz = direction * torch.tensor([1.0, 0.7, 0.4]) * (1 + 0.1 * (5 * direction[..., :1]).sin())
    normal = F.normalize(direction / torch.tensor([1.0, 0.7, 0.4]), dim=-1)
    return (xyz / xyz.norm(dim=-1).amax()).to(dtype), normal.to(dtype)


def make(name="risurconv", task="classification", dtype=torch.float64, seed=0, **options):
    torch.manual_seed(seed)
    model = create_model(name, task=task, **{"preset": "light", **TASKS[task], **options})
    # Trained networks have uneven statistics; random ones would hide an error behind zeros.
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm1d):
            torch.nn.init.uniform_(module.weight, -1, 1)
            torch.nn.init.normal_(module.bias, std=0.1)
            torch.nn.init.normal_(module.running_mean, std=0.1)
            torch.nn.init.uniform_(module.running_var, 0.5, 2)
    return model.to(dtype).eval()


def change(model, a, b):
    """Largest difference of answers, relative to the largest answer."""
    return float((a - b).abs().max() / a.abs().max())


@pytest.mark.parametrize("name, task, compat, count", [
    ("risurconv", "classification", "fixed", 1_353_544),
    ("risurconv", "classification", "official", 10_810_696),
    ("risurconv", "part_segmentation", "fixed", 4_063_730),
    ("riconvpp", "classification", "fixed", 423_656),
    ("riconvpp", "part_segmentation", "fixed", 1_583_602),
])
def test_8_parameter_counts(name, task, compat, count):
    model = create_model(name, task=task, preset="paper", compat=compat, **TASKS[task],
                         num_categories=16 if task == "part_segmentation" else 0)
    assert sum(p.numel() for p in model.parameters()) == count


@pytest.mark.parametrize("with_normals", [True, False])
@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("name", NAMES)
def test_6_rotation_shift_and_order_change_nothing(name, task, with_normals):
    model = make(name, task)
    xyz, normal = cloud()
    given = normal if with_normals else None
    with torch.inference_mode():
        base = model(xyz, given)
        for seed in range(4):
            g = torch.Generator().manual_seed(seed)
            r = random_rotation(generator=g, dtype=torch.float64)
            got = model(xyz @ r.T, None if given is None else given @ r.T)
            assert change(model, base, got) < 1e-9
            shift = 10 * torch.randn(3, generator=g, dtype=torch.float64)
            assert change(model, base, model(xyz + shift, given)) < 1e-9
            p = torch.randperm(xyz.shape[1], generator=g)
            got = model(xyz[:, p], None if given is None else given[:, p])
            assert change(model, base[:, p] if task == "part_segmentation" else base, got) < 1e-9


def test_6_a_mirror_image_gets_another_answer():
    model = make()
    xyz, normal = cloud()
    skew = xyz + 0.2 * torch.stack((xyz[..., 1] * xyz[..., 2], xyz[..., 0] ** 2, xyz[..., 0]), -1)
    mirror = torch.tensor([1.0, 1.0, -1.0], dtype=torch.float64)
    with torch.inference_mode():
        assert change(model, model(skew, normal), model(skew * mirror, normal * mirror)) > 1e-4


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("name", NAMES)
def test_7_batch_mates_change_nothing(name, task):
    model = make(name, task)
    xyz, normal = cloud(batch=32, count=100)
    with torch.inference_mode():
        together = model(xyz, normal)
        order = torch.randperm(32, generator=torch.Generator().manual_seed(1))
        assert change(model, together[order], model(xyz[order], normal[order])) < 1e-9
        for i in (0, 17):
            alone = model(xyz[i : i + 1], normal[i : i + 1])
            assert change(model, alone, together[i : i + 1]) < 1e-9


@pytest.mark.parametrize("what, least", [("batch", 1e-4), ("shift", 1e-4), ("order", 1e-4)])
def test_the_published_arithmetic_fails_the_same_tests(what, least):
    """Negative control: each defect of the published code shows where it should."""
    model = make(compat="official")
    xyz, normal = cloud(batch=4)
    with torch.inference_mode():
        base = model(xyz, normal)
        if what == "batch":
            other = model(xyz[:2], normal[:2])
            base = base[:2]
        elif what == "shift":
            other = model(xyz + 0.1, normal)
        else:
            other = model(xyz.flip(1), normal.flip(1))
        assert change(model, base, other) > least


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", NAMES)
def test_4_hostile_clouds_give_finite_answers_and_gradients(name, kind):
    for task in TASKS:
        model = make(name, task).train()
        xyz = torch.from_numpy(np.stack([make_cloud(kind, 40, seed) for seed in range(3)]))
        out = model(xyz - xyz.mean(1, keepdim=True))
        assert torch.isfinite(out).all()
        out.square().mean().backward()
        for parameter in model.parameters():
            assert parameter.grad is not None and torch.isfinite(parameter.grad).all()


def test_4_all_points_equal_and_fewer_points_than_neighbours():
    model = make()
    for xyz in (torch.zeros(2, 7, 3).double(), cloud(count=4)[0]):
        with torch.inference_mode():
            assert torch.isfinite(model(xyz)).all()


def test_gradients_reach_the_points_and_are_finite():
    model = make()
    xyz, normal = cloud(count=64)
    xyz.requires_grad_()
    model(xyz, normal).square().sum().backward()
    assert torch.isfinite(xyz.grad).all() and (xyz.grad != 0).any()


@pytest.mark.parametrize("training", [False, True])
def test_logits_equal_the_plain_layer_by_layer_computation(training):
    model = make(preset="paper", centres=(128, 64, 32, 16), neighbours=(8, 16, 16, 16), dropout=0.0)
    model.train(training)
    other = make(preset="paper", centres=(128, 64, 32, 16), neighbours=(8, 16, 16, 16), dropout=0.0)
    other.train(training)
    xyz, normal = cloud(count=128, batch=4)
    a, b = model(xyz, normal), plain_risurconv.forward(other, xyz, normal)
    assert change(model, b, a) < 1e-9
    target = torch.arange(4)
    for logits in (a, b):
        F.cross_entropy(logits, target).backward()
    for (name, p), q in zip(model.named_parameters(), other.parameters(), strict=True):
        scale = float(q.grad.abs().max()) + 1e-6
        assert float((p.grad - q.grad).abs().max()) / scale < 1e-6, name
    if training:
        for p, q in zip(model.buffers(), other.buffers(), strict=True):
            if p.dtype.is_floating_point:
                assert torch.allclose(p, q, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("task", TASKS)
def test_padding_changes_nothing(task):
    model = make(task=task)
    small, large = cloud(count=80, batch=1), cloud(count=120, batch=1, seed=1)
    xyz, normal = (torch.full((2, 120, 3), 9.0).double() for _ in range(2))
    mask = torch.zeros(2, 120, dtype=torch.bool)
    where = torch.randperm(120, generator=torch.Generator().manual_seed(0))[:80].sort().values
    xyz[0, where], normal[0, where], mask[0, where] = small[0][0], small[1][0], True
    xyz[1], normal[1], mask[1] = large[0][0], large[1][0], True
    with torch.inference_mode():
        got = model(xyz, normal, mask)
        alone = model(*small)[0], model(*large)[0]
    if task == "part_segmentation":
        assert change(model, alone[0], got[0, where]) < 1e-12 and not got[0, ~mask[0]].any()
    else:
        assert change(model, alone[0], got[0]) < 1e-12
    assert change(model, alone[1], got[1]) < 1e-12
    with pytest.raises(InputError, match="different size"):
        model.train()(xyz, normal, mask)


def test_float32_stays_within_the_promise():
    model = make(dtype=torch.float32)
    xyz, normal = cloud(count=256, dtype=torch.float32)
    with torch.inference_mode():
        base = model(xyz, normal)
        for seed in range(8):
            r = random_rotation(generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
            got = model((xyz.double() @ r.T).float(), (normal.double() @ r.T).float())
            assert change(model, base, got) < 1e-5


def test_the_category_decides_where_the_network_is_told_one():
    model = make(task="part_segmentation", num_categories=3)
    xyz, normal = cloud(count=60)
    with torch.inference_mode():
        a = model(xyz, normal, category=torch.tensor([0, 1]))
        b = model(xyz, normal, category=torch.tensor([2, 1]))
    assert not torch.allclose(a[0], b[0]) and torch.allclose(a[1], b[1])
    with pytest.raises(InputError, match="category"):
        model(xyz, normal)


@pytest.mark.parametrize("xyz, error, said", [
    (torch.zeros(2, 10, 2), ShapeError, "expected shape"),
    (torch.zeros(10, 3), ShapeError, "expected shape"),
    (torch.zeros(2, 0, 3), InputError, "0 points"),
    (torch.zeros(2, 1, 3), InputError, "1 points"),
    (torch.full((2, 10, 3), torch.nan), InputError, "not finite"),
    (torch.zeros(2, 10, 3, dtype=torch.long), ShapeError, "floating"),
])
def test_bad_points_are_named(xyz, error, said):
    with pytest.raises(error, match=said) as caught:
        make()(xyz)
    assert caught.value.exit_code == 3 and caught.value.where and caught.value.hint


def test_bad_normals_and_lone_training_clouds_are_named():
    model = make()
    xyz, normal = cloud(count=20)
    with pytest.raises(ShapeError, match="normal"):
        model(xyz, normal[:, :5])
    with pytest.raises(InputError, match="batch of one"):
        model.train()(xyz[:1], normal[:1])


def test_names_and_sizes_are_checked():
    for options, error in (({"name": "risurcon"}, UnknownNameError),
                           ({"task": "flow"}, UnknownNameError),
                           ({"preset": "lite"}, UnknownNameError),
                           ({"head_width": 3}, ConfigError), ({"num_classes": 0}, ConfigError)):
        with pytest.raises(error):
            create_model(**{"name": "risurconv", **options})
    with pytest.raises(UnknownNameError) as caught:
        create_model("risurcon")
    assert "risurconv" in caught.value.hint


@pytest.mark.parametrize("name", sorted(BACKBONES))
def test_every_backbone_keeps_the_contract(name):
    assert name in list_models("*")
    row = describe(name)
    assert row["params"]["classification/paper"] > row["params"]["classification/light"] > 0
    for task in BACKBONES[name].tasks:
        model = create_model(name, task=task, num_classes=6).double().train()
        assert model.symmetry == BACKBONES[name].symmetry
        assert model.min_points == BACKBONES[name].min_points
        xyz, normal = cloud(count=64, batch=3)
        features = model.forward_features(xyz, normal)
        logits = model.forward_head(features)
        each = 3 if task == "normals" else 6
        assert logits.shape == ((3, 6) if task == "classification" else (3, 64, each))
        logits.square().sum().backward()
        assert all(p.grad is not None for p in model.parameters())


@pytest.mark.parametrize("task", TASKS)
def test_mixed_precision_leaves_the_geometry_alone(task, monkeypatch):
    """Under autocast layers compute in bfloat16, coordinates and features in float32."""
    from pcinv.models import risurconv

    seen = []

    def spy(*arguments):
        features, index = describe(*arguments)
        seen.append(features.dtype)
        return features, index

    describe = risurconv.describe_neighbours
    monkeypatch.setattr(risurconv, "describe_neighbours", spy)
    model = make(task=task, dtype=torch.float32).train()
    xyz, normal = cloud(count=64, batch=4, dtype=torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = model(xyz, normal)
    assert logits.dtype == torch.bfloat16 and set(seen) == {torch.float32}
    logits.float().square().mean().backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())
