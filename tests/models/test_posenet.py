"""PoseNet and the network of the sanity test. Numbers in names: of the list of promises."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from pcinv.errors import ConfigError, InputError, ShapeError, UnknownNameError
from pcinv.geometry.representations import REPRESENTATIONS
from pcinv.geometry.rotation import is_rotation, random_rotation
from pcinv.losses.pose import rotation_matrix_loss
from pcinv.metrics.rotation_errors import rotation_errors_deg
from pcinv.models.registry import create_model, describe

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import rotation_representations as benchmark

SMALL = {"channels": (16, 32, 64), "hidden": 32}


def make(dtype=torch.float64, seed=0, **options):
    torch.manual_seed(seed)
    model = create_model("posenet", **{"task": "pose", **SMALL, **options})
    return model.to(dtype).eval()


def pairs(batch=3, count=50, seed=0, dtype=torch.float64):
    g = torch.Generator().manual_seed(seed)
    xyz = torch.randn(batch, count, 3, generator=g, dtype=torch.float64)
    xyz = xyz * torch.tensor([0.5, 0.3, 0.1]) + 0.1 * xyz.square()
    xyz = xyz - xyz.mean(1, keepdim=True)
    rotation = random_rotation(batch, generator=g, dtype=torch.float64)
    return xyz.to(dtype), (xyz @ rotation.mT).to(dtype), rotation.to(dtype)


@pytest.mark.parametrize("representation", REPRESENTATIONS)
def test_6_parameter_counts(representation):
    width = REPRESENTATIONS[representation].width
    model = create_model("posenet", task="pose", preset="paper", representation=representation)
    body = 1_192_838 - (512 * 6 + 6)
    assert sum(p.numel() for p in model.parameters()) == body + 513 * width
    assert describe("posenet")["params"]["pose/paper"] == 1_192_838


def plain(model, first, second):
    """The network of the sheet, layer by layer in numpy, float64; representation 6d."""
    weights = {name: value.double().numpy() for name, value in model.state_dict().items()}

    def layer(x, name):
        return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    def leaky(x):
        return np.where(x > 0, x, 0.01 * x)

    clouds = []
    for xyz in (first.double().numpy(), second.double().numpy()):
        x = xyz - xyz.mean(1, keepdims=True)
        x = leaky(layer(leaky(layer(x, "point.0")), "point.1"))
        clouds.append(layer(x, "pool.linear").max(1))
    numbers = layer(leaky(layer(np.concatenate(clouds, 1), "join")), "head.linear")
    b1 = numbers[:, :3] / np.linalg.norm(numbers[:, :3], axis=1, keepdims=True)
    b2 = numbers[:, 3:] - (b1 * numbers[:, 3:]).sum(1, keepdims=True) * b1
    b2 /= np.linalg.norm(b2, axis=1, keepdims=True)
    return np.stack([b1, b2, np.cross(b1, b2)], axis=-1)


@pytest.mark.parametrize("dtype, limit", [(torch.float64, 1e-12), (torch.float32, 1e-4)])
def test_answers_are_those_of_the_formulas(dtype, limit):
    model = make(dtype)
    first, second, _ = pairs(dtype=dtype)
    with torch.inference_mode():
        found = model(first, second).double().numpy()
    np.testing.assert_allclose(found, plain(model, first, second), atol=limit)


def test_gradients_are_those_of_a_maximum_over_all_points():
    """The layer that is computed again for the points of the maxima alone hides nothing."""
    model = make().train()
    first, second, rotation = pairs()

    def whole(xyz):
        x = xyz - xyz.mean(1, keepdim=True)
        for layer in model.point:
            x = F.leaky_relu(layer(x), 0.01)
        return model.pool.linear(x).amax(1)

    def gradients(loss):
        model.zero_grad()
        loss.mean().backward()
        return [p.grad.clone() for p in model.parameters()]

    ours = gradients(rotation_matrix_loss(model(first, second), rotation))
    features = torch.cat([whole(first), whole(second)], 1)
    estimated = model.head(F.leaky_relu(model.join(features), 0.01))
    for mine, other in zip(ours, gradients(rotation_matrix_loss(estimated, rotation)), strict=True):
        assert (mine - other).abs().max() <= 1e-12 * other.abs().max() and other.abs().max() > 0


@pytest.mark.parametrize("dtype, limit", [(torch.float64, 1e-9), (torch.float32, 1e-5)])
def test_shifts_orders_and_batch_mates_change_nothing(dtype, limit):
    model = make(dtype)
    first, second, _ = pairs(dtype=dtype)
    grid = 2.0**-13  # coordinates keep their bits when shifted
    first, second = ((x / grid).round() * grid for x in (first, second))
    with torch.inference_mode():
        base = model(first, second)
        shift = torch.tensor([512.0, -256.0, 64.0], dtype=dtype)
        assert (model(first + shift, second) - base).abs().max() < limit
        assert (model(first, second - shift) - base).abs().max() < limit
        p, q = (torch.randperm(50, generator=torch.Generator().manual_seed(s)) for s in (1, 2))
        assert (model(first[:, p], second[:, q]) - base).abs().max() < limit
        alone = torch.cat([model(first[i : i + 1], second[i : i + 1]) for i in range(3)])
        assert (alone - base).abs().max() < limit
        # negative control: clouds that are really others
        assert (model(first, second.flip(0)) - base).abs().max() > 1e-3


def test_turning_a_cloud_turns_the_answer_only_by_training():
    """The row promises shifts, T(3), and no more: an untrained network shows why."""
    model = make()
    assert model.symmetry == describe("posenet")["symmetry"] == "T(3)"
    first, second, _ = pairs()
    turn = random_rotation(generator=torch.Generator().manual_seed(9), dtype=torch.float64)
    with torch.inference_mode():
        turned, base = model(first, second @ turn.T), model(first, second)
    assert rotation_errors_deg(turned, turn @ base).min() > 1
    assert is_rotation(base).all() and is_rotation(turned).all()


def test_padding_changes_nothing():
    model = make()
    first, second, _ = pairs()
    mask = torch.zeros(3, 60, dtype=torch.bool)
    for row, count in enumerate((50, 20, 1)):
        mask[row, torch.randperm(60, generator=torch.Generator().manual_seed(row))[:count]] = True
    padded = torch.full((3, 60, 3), 77.0, dtype=torch.float64)
    for row in range(3):
        padded[row, mask[row]] = first[row, : int(mask[row].sum())]
    with torch.inference_mode():
        found = model(padded, second, mask)
        for row in range(3):
            count = int(mask[row].sum())
            expected = model(first[row : row + 1, :count], second[row : row + 1])
            assert (found[row] - expected[0]).abs().max() < 1e-12
        other = model(second, padded, None, mask)
        assert (other[1] - model(second[1:2], first[1:2, :20])[0]).abs().max() < 1e-12
        assert (model(padded, second) - found).abs().max() > 1e-3
        with pytest.raises(InputError, match="padding alone"):
            model(padded, second, torch.zeros_like(mask))


@pytest.mark.parametrize("representation", REPRESENTATIONS)
def test_every_representation_trains_and_answers_by_rotations(representation):
    model = make(torch.float32, representation=representation)
    first, second, rotation = pairs(dtype=torch.float32)
    assert is_rotation(model(first, second)).all()
    is_raw = REPRESENTATIONS[representation].is_raw
    answer = model.train()(first, second)
    assert bool(is_rotation(answer).all()) != is_raw
    rotation_matrix_loss(answer, rotation).sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())
    assert sum(float(p.grad.abs().sum()) for p in model.parameters()) > 0


@pytest.mark.parametrize("turned", [False, True])
def test_6_four_pairs_are_learned_by_heart(turned):
    """Identical clouds, and the same turned by four rotations: the loss falls below 1e-3."""
    first, second, rotation = pairs(4, 128, dtype=torch.float32)
    if not turned:
        second, rotation = first, torch.eye(3).expand(4, 3, 3)
    model = make(torch.float32, channels=(64, 128, 1024), hidden=512).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    losses = []
    for _ in range(150):
        loss = rotation_matrix_loss(model(first, second), rotation).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
        if losses[-1] < 1e-3:
            break
    assert losses[0] > 0.05 and losses[-1] < 1e-3


def test_5_sanity_network_tells_6d_from_what_has_no_continuous_inverse():
    """After 300 steps; the figures of 6,000 steps are those of the benchmark file."""
    angles = {name: benchmark.sanity(name, steps=300, batch=128, tests=5_000)[0]
              for name in ("6d", "quaternion", "euler")}
    assert float(angles["6d"].mean()) < 5 and float(angles["6d"].max()) < 20
    for name in ("quaternion", "euler"):
        assert float(angles[name].max()) > 90
        assert float(angles[name].mean()) > float(angles["6d"].mean())


def test_faults_are_told():
    model = make()
    first, second, _ = pairs()
    with pytest.raises(ShapeError, match="3 first and 2 second"):
        model(first, second[:2])
    with pytest.raises(ShapeError, match="second"):
        model(first, second[0])
    with pytest.raises(InputError, match="not finite"):
        model(first, second * torch.nan)
    with pytest.raises(UnknownNameError) as caught:
        make(representation="6D")
    assert "6d" in caught.value.hint
    with pytest.raises(ConfigError):
        make(represantation="6d")
    with pytest.raises(UnknownNameError):
        create_model("posenet", task="classification")
