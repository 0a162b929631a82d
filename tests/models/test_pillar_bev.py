"""PillarBEV: its contract, what follows a shift, what its tasks give."""

import pytest
import torch

from pcinv.errors import ConfigError
from pcinv.models.registry import LIDAR_NETWORKS, create_model, describe
from pcinv.nn.pillars import ScanBatch

SMALL = {"reach": 12.8, "cell": 0.8, "channels": [8, 16, 16, 16]}


def scans(count=2, points=300, seed=0):
    g = torch.Generator().manual_seed(seed)
    return [torch.cat([20 * torch.rand(points - 50 * k, 2, generator=g) - 10,
                       torch.randn(points - 50 * k, 1, generator=g),
                       torch.rand(points - 50 * k, 1, generator=g)], 1) for k in range(count)]


@pytest.mark.parametrize("preset", ["light", "large"])
def test_every_task_has_its_answer(preset):
    name = "pillar_bev"
    batch = ScanBatch.of(scans())
    small = {**SMALL, "channels": [8, 16, 16, 16]}
    for task in LIDAR_NETWORKS[name].tasks:
        model = create_model(name, task=task, num_classes=7, preset=preset, **small).eval()
        features = model.forward_features(batch)
        assert features.map.shape == (2, 8, 32, 32)
        assert features.points.shape == (550, 16)
        assert features.bottleneck.shape == (2, 16, 4, 4)
        answer = model(batch)
        if task == "segmentation":
            assert answer.shape == (550, 7)
        elif task == "detection":
            assert answer.heat.shape == (2, 7, 32, 32) and answer.box.shape == (2, 10, 32, 32)


def test_sizes():
    params = describe("pillar_bev")["params"]
    assert 1.0e6 < params["segmentation/light"] < 1.5e6


@pytest.mark.parametrize("task", ["segmentation", "detection"])
def test_batch_mates_and_the_order_of_points_do_not_matter(task):
    torch.manual_seed(0)
    model = create_model("pillar_bev", task=task, num_classes=5, **SMALL).double().eval()
    first, second = (cloud.double() for cloud in scans())
    both, alone = model(ScanBatch.of([first, second])), model(ScanBatch.of([first]))
    order = torch.randperm(len(first))
    moved = model(ScanBatch.of([first[order]]))
    if task == "segmentation":
        assert torch.allclose(both[:len(first)], alone, atol=1e-9)
        assert torch.allclose(moved, alone[order], atol=1e-9)
    else:
        assert torch.allclose(both.heat[:1], alone.heat, atol=1e-9)
        assert torch.allclose(moved.heat, alone.heat, atol=1e-9)


def test_a_shift_by_eight_cells_is_followed_without_absolute_places():
    """Content far from the border, and in the eighths of the deepest map: only sums move."""
    torch.manual_seed(0)
    hyper = {"reach": 51.2, "cell": 0.8, "channels": [8, 16, 16, 16]}
    cloud = scans(1, 200)[0].double() * torch.tensor([0.3, 0.3, 1, 1], dtype=torch.float64)
    shifted = cloud + torch.tensor([6.4, -6.4, 0, 0], dtype=torch.float64)
    errors = {}
    for relative in (True, False):
        model = create_model("pillar_bev", task="segmentation", num_classes=5, relative=relative,
                             **hyper).double().eval()
        with torch.no_grad():
            before, after = (model.forward_features(ScanBatch.of([each])).points
                             for each in (cloud, shifted))
        errors[relative] = float((before - after).abs().max() / before.abs().max())
    # the border is the same from wherever it is seen, but for what group norm makes of it
    assert errors[True] < 1e-4 < 1e-2 < errors[False]


def test_a_probe_leaves_the_backbone_as_it_is():
    model = create_model("pillar_bev", task="segmentation", num_classes=5, probe=True, **SMALL)
    trained = {name.split(".")[0] for name, p in model.named_parameters() if p.requires_grad}
    assert trained == {"head"}


def test_the_target_gets_no_gradient_and_follows():
    """Must hold 17."""
    torch.manual_seed(0)
    model = create_model("pillar_bev", task="pretraining", num_classes=1, **SMALL)
    assert not any(p.requires_grad for p in model.target.parameters())
    start = [p.clone() for p in model.target.parameters()]
    with torch.no_grad():
        for p in model.backbone.parameters():
            p.add_(torch.randn_like(p))
    gammas = [0.9, 0.95, 0.99]
    for gamma in gammas:
        model.follow(gamma)
    kept = 0.9 * 0.95 * 0.99  # the encoder stood still: xi = kept xi_0 + (1 - kept) theta
    for now, first, online in zip(model.target.parameters(), start, model.backbone.parameters(),
                                  strict=True):
        assert torch.allclose(now, kept * first + (1 - kept) * online, atol=1e-6)


@pytest.mark.parametrize("wrong", [{"reach": 10.0}, {"cell": 0.0}, {"cell": -1.0}, {"reach": 1e6},
                                   {"channels": [8, 16, 16]}, {"channels": [8, 16, 16, 3]}])
def test_sizes_that_make_no_map(wrong):
    with pytest.raises(ConfigError):
        create_model("pillar_bev", task="segmentation", num_classes=5, **{**SMALL, **wrong})


def test_gradients_reach_every_weight():
    model = create_model("pillar_bev", task="segmentation", num_classes=5, **SMALL)
    model(ScanBatch.of(scans())).square().sum().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in model.parameters())
