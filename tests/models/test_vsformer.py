"""VSFormer. Numbers in names are those of the list of promises."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.signal import correlate
from scipy.special import erf, softmax

from pcinv.errors import InputError, ShapeError, UnknownNameError
from pcinv.geometry.rotation import random_rotation
from pcinv.metrics.invariance import measure_invariance
from pcinv.models.registry import create_model
from pcinv.nn.splat import splat
from pcinv.ops import track_margins

SMALL = {"pixels": 16, "channels": (4, 8), "width": 16, "heads": 2, "blocks": 2, "hidden": 16}


def make(dtype=torch.float64, seed=0, **options):
    torch.manual_seed(seed)
    model = create_model("vsformer", **{"num_classes": 7, **SMALL, **options})
    # Trained networks have uneven statistics; random ones would hide an error behind zeros.
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d | torch.nn.LayerNorm):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias, std=0.3)
        if isinstance(module, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d):
            torch.nn.init.normal_(module.running_mean, std=0.1)
            torch.nn.init.uniform_(module.running_var, 0.5, 2)
    return model.to(dtype).eval()


def cloud(count=300, batch=3, seed=0, dtype=torch.float64):
    """Points on a bumpy ellipsoid, with normals that are roughly right."""
    g = torch.Generator().manual_seed(seed)
    direction = F.normalize(torch.randn(batch, count, 3, generator=g, dtype=torch.float64), dim=-1)
    xyz = direction * torch.tensor([1.0, 0.7, 0.4]) * (1 + 0.2 * (5 * direction[..., :1]).sin())
    normal = F.normalize(direction / torch.tensor([1.0, 0.7, 0.4]), dim=-1)
    return xyz.to(dtype), normal.to(dtype)


def change(a, b):
    """Largest difference of answers, relative to the largest answer."""
    return float((a - b).abs().max() / a.abs().max())


def test_parameter_counts():
    """The convolutions and the two layers are those of AlexNet, with two channels for three."""
    model = create_model("vsformer", preset="paper", num_classes=40)
    convolutions = 2_469_696 - 64 * 11 * 11
    layers = 9216 * 4096 + 4096 + 4096 * 512 + 512
    block = 2 * 1024 + 512 * 1536 + 1536 + 512 * 512 + 512 + 2 * 512 * 1024 + 1024 + 512
    head = 2 * 1024 + 1024 * 512 + 512 + 2 * 512 + 512 * 40 + 40
    expected = convolutions + layers + 4 * block + head
    assert sum(p.numel() for p in model.parameters()) == expected == 51_271_976
    light = create_model("vsformer", num_classes=40)
    assert sum(p.numel() for p in light.parameters()) == 721_064


def plain(model, pictures):
    """The encoder, the blocks and the head in numpy, float64, one picture at a time."""
    w = {name: value.double().numpy() for name, value in model.state_dict().items()}

    def norm(x, name):
        scale = w[f"{name}.weight"] / np.sqrt(w[f"{name}.running_var"] + 1e-5)
        return (x - w[f"{name}.running_mean"]) * scale + w[f"{name}.bias"]

    def layer_norm(x, name):
        x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
        return x * w[f"{name}.weight"] + w[f"{name}.bias"]

    def linear(x, name):
        return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    def encode(x):
        for conv in (0, 4):
            kernel = w[f"encoder.{conv}.weight"]
            padded = np.pad(x, ((0, 0), (1, 1), (1, 1)))
            x = np.stack([correlate(padded, k, "valid")[0] for k in kernel])
            x = np.maximum(norm(x.transpose(1, 2, 0), f"encoder.{conv + 1}"), 0).transpose(2, 0, 1)
            half = x.shape[1] // 2
            x = x.reshape(len(x), half, 2, half, 2).max((2, 4))
        return linear(x.max((1, 2)), "encoder.11")

    def block(x, name):
        v, c = x.shape
        query, key, value = linear(layer_norm(x, f"{name}.norm_1"), f"{name}.qkv").reshape(
            v, 3, 2, c // 2).transpose(1, 2, 0, 3)
        weight = softmax(query @ key.transpose(0, 2, 1) / np.sqrt(c / 2), axis=-1)
        x = x + linear((weight @ value).transpose(1, 0, 2).reshape(v, c), f"{name}.out")
        hidden = linear(layer_norm(x, f"{name}.norm_2"), f"{name}.mlp.0")
        hidden = hidden * (1 + erf(hidden / np.sqrt(2))) / 2
        return x + linear(hidden, f"{name}.mlp.3")

    answers = []
    for views in pictures.double().numpy():
        x = np.stack([encode(view) for view in views])
        for number in range(2):
            x = block(x, f"blocks.{number}")
        x = np.maximum(norm(np.concatenate([x.max(0), x.mean(0)]), "head.0"), 0)
        answers.append(linear(np.maximum(norm(linear(x, "head.2"), "head.3"), 0), "head.5"))
    return np.stack(answers)


def plain_pictures(xyz, normal, pixels):
    """What 12 cameras on an icosahedron see from the principal axes, by numpy's eigenvectors."""
    gold, found = (1 + 5**0.5) / 2, []
    cameras = [(0, 1, gold, 0), (1, gold, 0, 2), (gold, 0, 1, 1)]
    for points, axes in zip(xyz.double(), normal.double(), strict=True):
        points = points - points.mean(0)
        _, vectors = np.linalg.eigh((points.T @ points).numpy())
        frame = vectors[:, ::-1].copy()
        frame[:, 2] = np.cross(frame[:, 0], frame[:, 1])
        views = []
        for signs in ((1, 1, 1), (1, -1, -1), (-1, 1, -1), (-1, -1, 1)):
            for *direction, axis in cameras:
                back = np.array(direction) / np.linalg.norm(direction)
                up = np.eye(3)[axis]
                views.append(frame * signs @ np.stack([np.cross(up, back), up, back], 1))
        points = points / points.norm(dim=-1).max()
        found.append(splat(points[None], axes[None], torch.from_numpy(np.stack(views))[None],
                           pixels=pixels)[0])
    return torch.stack(found)


@pytest.mark.parametrize("dtype, limit", [(torch.float64, 1e-9), (torch.float32, 1e-4)])
def test_answers_are_those_of_the_formulas(dtype, limit):
    model = make(dtype)
    xyz, normal = cloud(dtype=dtype)
    with torch.inference_mode():
        found = model(xyz, normal).double().numpy()
    expected = plain(model, plain_pictures(xyz, normal, 16))
    np.testing.assert_allclose(found, expected, atol=limit * np.abs(expected).max())


@pytest.mark.parametrize("dtype, limit", [(torch.float64, 1e-9), (torch.float32, 1e-5)])
@pytest.mark.parametrize("cameras", [6, 12, 20])
@pytest.mark.parametrize("with_normals", [True, False])
def test_rotation_shift_scale_and_order_change_nothing(dtype, limit, cameras, with_normals):
    model = make(dtype, cameras=cameras)
    xyz, normal = cloud(dtype=dtype)

    def ask(points, axes):
        with torch.inference_mode():
            return model(points, axes if with_normals else None)

    base = ask(xyz, normal)
    for seed in range(3):
        g = torch.Generator().manual_seed(seed)
        r = random_rotation(generator=g, dtype=torch.float64)
        turned, axes = ((v.double() @ r.T).to(dtype) for v in (xyz, normal))
        assert change(base, ask(turned, axes)) < limit
        p = torch.randperm(300, generator=g)
        assert change(base, ask(xyz[:, p], normal[:, p])) < limit
    grid = (xyz * 2**13).round() / 2**13  # coordinates keep their bits when shifted
    assert change(ask(grid, normal), ask(grid + 512, normal)) < limit
    assert change(base, ask(4 * xyz, normal)) < limit
    mirrored = ask(xyz * torch.tensor([-1.0, 1, 1], dtype=dtype),
                   normal * torch.tensor([-1.0, 1, 1], dtype=dtype))
    assert change(base, mirrored) > 1e-3  # pictures tell left from right


@pytest.mark.parametrize("frames, is_invariant", [("pca", True), ("world", False)])
def test_the_search_for_the_worst_rotation_passes_and_fails_world_cameras(frames, is_invariant):
    model = make(torch.float32, frames=frames)
    assert model.symmetry == ("SO(3)" if is_invariant else "none")

    def draw(i):
        xyz, normal = cloud(batch=1, seed=i, dtype=torch.float32)
        return xyz[0], normal[0], 0

    report = measure_invariance(model, draw, rotations=12, num_clouds=2, max_draws=4)
    assert report.passed is is_invariant
    assert (report.errors["rotation"] > 0.01) is not is_invariant
    assert max(report.errors[k] for k in ("translation", "permutation", "batch")) < 1e-5


def test_8_the_order_of_views_does_not_matter():
    model = make(torch.float32)
    pictures = model.pictures(*cloud(dtype=torch.float32))
    p = torch.randperm(pictures.shape[1], generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        base = model.forward_head(model.describe(pictures))
        assert change(base, model.forward_head(model.describe(pictures[:, p]))) < 1e-5
        half = model.forward_head(model.describe(pictures[:, ::2]))
        assert change(base, half) > 1e-3  # which views there are does matter


def test_8_any_number_of_views_also_another_one_than_in_training():
    model = make(torch.float32).train()
    pictures = model.pictures(*cloud(dtype=torch.float32))
    for count in (1, 2, 12):
        features = model.describe(pictures[:, :count])
        assert features.centres.shape == (3, count, 16) and features.global_.shape == (3, 32)
        model.forward_head(features).sum().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in model.parameters())
    model.eval()
    with torch.inference_mode():
        for count in (1, 5, 12):
            whole = model.forward_head(model.describe(pictures[:, :count]))
            alone = model.forward_head(model.describe(pictures[:1, :count]))
            assert whole.shape == (3, 7) and change(whole[:1], alone) < 1e-5
    with pytest.raises(ShapeError, match="expected"):
        model.describe(pictures[:, :0])


def toy(part, count=12, points=256):
    """Shapes of six generated classes: points (M, N, 3), normals and labels."""
    from pcinv_data.generate.classes import CLASS_NAMES
    from pcinv_data.shapes import generate

    step, names = len(CLASS_NAMES), ("chair", "mug", "bracket", "lamp", "bed", "gear")
    raws = [(generate(0, part, CLASS_NAMES.index(name) + step * i, points), label)
            for i in range(count) for label, name in enumerate(names)]
    xyz = torch.stack([torch.as_tensor(raw.xyz, dtype=torch.float32) for raw, _ in raws])
    normal = torch.stack([torch.as_tensor(raw.normal, dtype=torch.float32) for raw, _ in raws])
    return xyz, normal, torch.tensor([label for _, label in raws])


@pytest.fixture(scope="module")
def agreement():
    """For both ways to place cameras: share right unturned, and of equal answers when turned."""
    xyz, normal, label = toy("train")
    others, axes, right = toy("test")
    turn = random_rotation(len(others), generator=torch.Generator().manual_seed(0))
    shares = {}
    for frames in ("pca", "world"):
        torch.manual_seed(0)
        model = create_model("vsformer", num_classes=6, frames=frames, pixels=16,
                             channels=(8, 16, 32), width=32, heads=2, blocks=2, hidden=32)
        optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
        pictures = model.pictures(xyz, normal)
        for step in range(60):
            rows = torch.arange(24 * step, 24 * step + 24) % len(xyz)
            logits = model.forward_head(model.describe(pictures[rows]))
            optimizer.zero_grad()
            F.cross_entropy(logits, label[rows]).backward()
            optimizer.step()
        model.eval()
        with torch.inference_mode():
            said = model(others, axes).argmax(-1)
            turned = model(others @ turn.mT, axes @ turn.mT).argmax(-1)
        shares[frames] = (float((said == right).float().mean()),
                          float((said == turned).float().mean()))
    return shares


def test_9_answers_agree_in_any_pose_with_cameras_in_principal_axes(agreement):
    learned, same = agreement["pca"]
    assert learned > 0.5 and same > 0.95


def test_9_answers_change_with_cameras_that_stand_still(agreement):
    learned, same = agreement["world"]
    assert learned > 0.5 and same < agreement["pca"][1] - 0.1


def test_clouds_without_clear_axes_are_reported():
    """A cube's corners: any axes are principal, so the answer depends on the pose."""
    model = make()
    corner = torch.cartesian_prod(*3 * [torch.tensor([-1.0, 1.0])]).double()
    g = torch.Generator().manual_seed(0)
    turn = random_rotation(generator=g, dtype=torch.float64)
    normal = F.normalize(corner, dim=-1)
    with torch.inference_mode(), track_margins() as margins:
        base = model(corner[None], normal[None])
    assert margins.smallest < 1e-12
    with torch.inference_mode():
        assert change(base, model((corner @ turn.T)[None], (normal @ turn.T)[None])) > 1e-3


def test_padding_and_batch_mates_change_nothing():
    model = make()
    xyz, normal = cloud()
    mask = torch.ones(3, 300, dtype=torch.bool)
    mask[1, 100:] = False
    with torch.inference_mode():
        found = model(xyz.masked_fill(~mask[..., None], 55.0), normal, mask)
        for row, count in enumerate((300, 100, 300)):
            alone = model(xyz[row : row + 1, :count], normal[row : row + 1, :count])
            assert change(alone, found[row : row + 1]) < 1e-9


def test_many_clouds_are_described_in_pieces(monkeypatch):
    from pcinv.models import vsformer

    model = make()
    xyz, normal = cloud(batch=5)
    with torch.inference_mode():
        whole = model(xyz, normal)
        monkeypatch.setattr(vsformer, "CACHED_PIXELS", 2 * 12 * 16**2)
        assert change(whole, model(xyz, normal)) < 1e-12


def test_the_layers_of_the_paper_compute():
    model = create_model("vsformer", preset="paper", num_classes=5, cameras=6).eval()
    xyz, normal = cloud(batch=1, dtype=torch.float32)
    with torch.inference_mode():
        features = model.forward_features(xyz, normal)
        assert features.centres.shape == (1, 12, 512)
        assert model.forward_head(features).shape == (1, 5)


def test_faults_are_told():
    model = make()
    xyz, normal = cloud()
    with pytest.raises(InputError, match="points"):
        model(xyz[:, :3])
    with pytest.raises(ShapeError, match="like the points"):
        model(xyz, normal[:, :5])
    with pytest.raises(InputError, match="one cloud in training"):
        make().train()(xyz[:1], normal[:1])
    for options in ({"frames": "wold"}, {"encoder": "smal"}, {"cameras": 7}):
        with pytest.raises(UnknownNameError):
            make(**options)
    same = torch.ones(1, 8, 3, dtype=torch.float64)
    assert torch.isfinite(model(same)).all()
