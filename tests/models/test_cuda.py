"""A GPU gives what the CPU gives: answers, features and gradients of every network."""

import copy

import pytest
import torch

from pcinv.engine.check_lidar import make_scan
from pcinv.engine.check_matching import NUM_POINTS, answers_of
from pcinv.engine.launch import pick_device
from pcinv.models.registry import BACKBONES, LIDAR_NETWORKS, MATCHERS, POSE_NETWORKS, create_model
from pcinv.nn.pillars import ScanBatch

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")

SHAPE = [(name, task) for name, spec in BACKBONES.items() for task in spec.tasks]
TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-9}


@pytest.fixture(autouse=True)
def _device(monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)  # what it is set back to
    pick_device("cuda")
    assert not torch.backends.cudnn.allow_tf32


def surface(count, seed, dtype=torch.float32):
    """Points and outward normals of a bent ellipsoid, which has no symmetry, (2, N, 3) each."""
    g = torch.Generator().manual_seed(seed)
    away = torch.nn.functional.normalize(torch.randn(2, count, 3, generator=g, dtype=dtype), dim=-1)
    axes = torch.tensor([1.0, 0.7, 0.4], dtype=dtype)
    xyz, normal = away * axes, torch.nn.functional.normalize(away / axes, dim=-1)
    xyz = xyz + 0.2 * xyz[..., [1]] ** 2 * torch.tensor([0.0, 0, 1], dtype=dtype)
    return xyz, normal


def difference(found, expected):
    """Largest difference, of the largest value."""
    assert found.is_cuda and torch.isfinite(expected).all()
    return float((found.cpu() - expected).abs().max() / expected.abs().max())


def on_both(model, *inputs, **more):
    """Yield (answer, model) of a CPU and of its copy on the GPU."""
    there = copy.deepcopy(model).cuda()
    for each, move in ((model, lambda x: x), (there, lambda x: x.cuda())):
        moved = [move(x) if isinstance(x, torch.Tensor) else x for x in inputs]
        yield each(*moved, **{key: move(value) for key, value in more.items()}), each


def make(name, task, dtype):
    torch.manual_seed(1)
    parts = task == "part_segmentation"
    return create_model(name, task=task, num_classes=7, num_categories=3 if parts else 0).to(dtype)


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize(("name", "task"), SHAPE)
def test_shapes(name, task, dtype):
    xyz, normal = surface(1024, 0, dtype)
    told = {"category": torch.tensor([0, 2])} if task == "part_segmentation" else {}
    expected, found = (answer for answer, _ in on_both(
        make(name, task, dtype).eval(), xyz, normal, **told))
    limit = TOLERANCE[dtype]
    if task == "normals":  # of either sign, and short before they are made units
        found = found * (found.cpu() * expected).sum(-1, keepdim=True).sign().to(found)
        limit *= 10
    assert difference(found.detach(), expected.detach()) < limit


@pytest.mark.parametrize(("name", "task"), SHAPE)
def test_gradients_of_shapes(name, task):
    xyz, normal = surface(512, 3, torch.float64)
    told = {"category": torch.tensor([0, 2])} if task == "part_segmentation" else {}
    model = make(name, task, torch.float64).eval()
    for part in model.modules():
        if isinstance(part, torch.nn.Dropout):
            part.p = 0.0
    gradients = []
    for answer, each in on_both(model, xyz, normal, **told):
        (answer[..., 0] ** 2).mean().backward()  # normals are units: not of all of them
        gradients.append([p.grad for p in each.parameters() if p.grad is not None])
    assert len(gradients[0]) == len(gradients[1]) > 0
    largest = max(float(g.abs().max()) for g in gradients[0])
    for mine, other in zip(*gradients, strict=True):
        assert float((other.cpu() - mine).abs().max()) < 1e-9 * largest


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("name", MATCHERS)
def test_matchers(name, dtype):
    xyz, normal = surface(NUM_POINTS[name], 5, dtype)
    model = answers_of(make(name, "matching", dtype).eval(), (xyz[1].flip(0), normal[1].flip(0)))
    with torch.inference_mode():
        expected, found = (answer for answer, _ in on_both(model, xyz, normal))
    assert difference(found, expected) < TOLERANCE[dtype if name == "roitr" else torch.float32]


@pytest.mark.parametrize("name", POSE_NETWORKS)
def test_networks_of_poses(name):
    xyz, _ = surface(500, 7)
    expected, found = (answer for answer, _ in on_both(
        make(name, "pose", torch.float32).eval(), xyz, xyz.flip(-1)))
    assert difference(found.detach(), expected.detach()) < 1e-4


def test_the_whole_list_is_compared():
    assert set(LIDAR_NETWORKS) == {"pillar_bev", "pillar_flow"}


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
def test_flow_of_scans(dtype):
    g = torch.Generator().manual_seed(9)
    batch = ScanBatch.of([make_scan(g).to(dtype) for _ in range(2)])
    after = ScanBatch(batch.points + 0.3, batch.offsets)
    model = make("pillar_flow", "flow", dtype).eval()
    torch.nn.init.normal_(model.head[-1].weight, generator=g)
    there = copy.deepcopy(model).cuda()
    expected, found = model(batch, after), there(batch.to("cuda"), after.to("cuda"))
    assert difference(found.detach(), expected.detach()) < TOLERANCE[dtype]


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
def test_features_of_scans(dtype):
    g = torch.Generator().manual_seed(9)
    scans = [make_scan(g).to(dtype) for _ in range(2)]
    model = make("pillar_bev", "segmentation", dtype).eval()
    there = copy.deepcopy(model).cuda()
    expected = model.forward_features(ScanBatch.of(scans)).points
    found = there.forward_features(ScanBatch.of([scan.cuda() for scan in scans])).points
    assert difference(found.detach(), expected.detach()) < TOLERANCE[dtype]
