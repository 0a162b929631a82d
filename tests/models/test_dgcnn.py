"""DGCNN, the baseline: right as a network, its graph decided by geometry, and not invariant."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers.bodies import TASKS, change, cloud, make, moved, padded
from helpers.clouds import KINDS, make_cloud

from pcinv.errors import InputError
from pcinv.models.registry import create_model, get_spec
from pcinv.nn.dgcnn import nearest_features
from pcinv.nn.edge_pooling import edge_norm_max
from pcinv.ops import gather, track_margins

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import plain_frames

NAME = "dgcnn"


@pytest.mark.parametrize("task, outputs, categories, count", [
    ("classification", 40, 0, 1_809_576),
    ("part_segmentation", 50, 16, 1_460_361),
    ("normals", 3, 0, 1_436_809),
])
def test_parameter_counts_of_the_paper(task, outputs, categories, count):
    """For normals 128 fewer than published: a normalisation layer that is never used."""
    model = create_model(NAME, task=task, preset="paper", num_classes=outputs,
                         num_categories=categories)
    assert sum(p.numel() for p in model.parameters()) == count


def numpy_edges(model, points):
    """Logits of one cloud by loops over points, in double precision, numpy alone."""
    def layer(block, x):
        n = block.norm
        w, gamma, beta, mean, var = (t.detach().numpy() for t in (
            block.linear.weight, n.weight, n.bias, n.running_mean, n.running_var))
        b = 0 if block.linear.bias is None else block.linear.bias.detach().numpy()
        y = (x @ w.T + b - mean) / np.sqrt(var + n.eps) * gamma + beta
        return np.where(y > 0, y, 0.2 * y)

    body = model.body
    x, seen, graph = points - points.mean(0), [], None
    for conv in body.convs:
        if graph is None or body.sizes.dynamic:
            far = ((x[:, None] - x) ** 2).sum(-1)
            graph = np.argsort(far, axis=1, kind="stable")[:, : body.sizes.neighbours]
        out = []
        for i, near in enumerate(graph):
            edges = np.concatenate([x[near] - x[i], np.tile(x[i], (len(near), 1))], 1)
            for block in conv.layers:
                edges = layer(block, edges)
            out.append(edges.max(0))
        x = np.stack(out)
        seen.append(x)
    wide = layer(body.embedding, np.concatenate(seen, 1))
    x = np.concatenate([wide.max(0), wide.mean(0)])
    for block in body.head.hidden:
        x = layer(block, x)
    last = body.head.last
    return x @ last.weight.detach().numpy().T + last.bias.detach().numpy()


@pytest.mark.parametrize("options", [{"dynamic": False}, {"dynamic": True},
                                     {"dynamic": True, "deep": 2}])
def test_golden_against_numpy(options):
    model, xyz = make(NAME, **options), cloud(count=60)
    with torch.inference_mode():
        got = model(xyz).numpy()
    for points, answer in zip(xyz.numpy(), got, strict=True):
        wanted = numpy_edges(model, points)
        assert np.abs(wanted - answer).max() < 1e-10 * np.abs(wanted).max()


@pytest.mark.parametrize("slope", [0.2, 0.0])
def test_edge_pooling_has_the_values_and_gradients_of_the_plain_formula(slope):
    g = torch.Generator().manual_seed(0)
    a, b = (torch.randn(3, 20, 6, generator=g, dtype=torch.float64, requires_grad=True)
            for _ in range(2))
    index = torch.randint(0, 20, (3, 20, 5), generator=g)
    norms = [torch.nn.BatchNorm1d(6).double() for _ in range(2)]
    for norm in norms:
        norm.weight.data = torch.tensor([1.0, -1, 0.5, -0.5, 2, 0.1]).double()
        norm.bias.data = torch.linspace(-1, 1, 6).double()
    weight = torch.randn(3, 20, 6, generator=g, dtype=torch.float64)

    def plain(norm):
        z = gather(a, index) + b[:, :, None]
        return F.leaky_relu(norm(z.flatten(0, 2)).view(z.shape), slope).amax(2)

    results = []
    for norm, y in ((norms[0], edge_norm_max(a, b, index, norms[0], slope)),
                    (norms[1], plain(norms[1]))):
        grads = torch.autograd.grad((y * weight).sum(), [a, b, norm.weight, norm.bias])
        results.append((y, *grads, norm.running_mean, norm.running_var))
    for mine, wanted in zip(*results, strict=True):
        assert (mine - wanted).abs().max() < 1e-11
    for norm in norms:
        norm.eval()
    with torch.no_grad():
        assert (edge_norm_max(a, b, index, norms[0], slope) - plain(norms[0])).abs().max() < 1e-12


@pytest.mark.parametrize("preset", ["light", "paper"])
@pytest.mark.parametrize("task", TASKS)
def test_logits_and_gradients_equal_the_plain_computation(task, preset):
    options = {"dropout": 0.0, "embedding": 64, "neighbours": 8}
    if preset == "paper":
        options |= {"t_net": False}
    model, other = (make(NAME, task, preset=preset, **options).train() for _ in range(2))
    xyz = cloud(count=50)
    local = xyz - xyz.mean(1, keepdim=True)
    a, b = model.forward_head(model.forward_features(xyz)), plain_frames.dgcnn(other.body, local)
    if task == "normals":
        b = F.normalize(b, dim=-1)
    assert change(b, a) < 1e-9
    weight = torch.randn(a.shape, generator=torch.Generator().manual_seed(0), dtype=a.dtype)
    for out in (a, b):
        (out * weight).sum().backward()
    for (name, p), q in zip(model.named_parameters(), other.parameters(), strict=True):
        assert float((p.grad - q.grad).abs().max()) < 1e-6 * float(q.grad.abs().max() + 1e-3), name


def test_neighbours_among_features_are_exact_and_ties_follow_the_order():
    x = torch.randn(3, 90, 12, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    order = torch.stack([torch.randperm(90) for _ in range(3)])
    got = nearest_features(x, 7, order)
    wanted = torch.cdist(x, x).topk(7, largest=False).indices
    assert torch.equal(got, wanted)
    lattice = torch.cartesian_prod(*[torch.arange(4.0)] * 3)[None]
    order = torch.randperm(64)[None]
    p = torch.randperm(64)
    rank = torch.empty(64, dtype=torch.int64)
    rank[p] = torch.arange(64)  # where each point is in the shuffled cloud
    a = nearest_features(lattice, 9, order)
    b = nearest_features(lattice[:, p], 9, rank[order])
    assert torch.equal(rank[a[0]][p], b[0])


def test_narrow_decisions_among_features_are_recorded():
    lattice = torch.cartesian_prod(*[torch.arange(4.0)] * 3)[None].double()
    with track_margins() as margins:
        nearest_features(lattice, 9, torch.arange(64)[None])
    assert margins.smallest < 1e-12
    with track_margins() as margins:
        nearest_features(cloud(count=40, batch=1), 9, torch.arange(40)[None])
    assert margins.smallest > 1e-9


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_features_that_are_not_finite_give_no_index_of_no_point(bad):
    """A training that diverges is to end as one: by numbers that are not finite."""
    x = cloud(count=30)
    x[0] = bad
    order = torch.arange(30).expand(2, 30)
    torch.full((64, 30, 7), 2**40).sum()  # freed memory is no row of zeros
    found = nearest_features(x, 7, order)
    assert found.min() >= 0 and found.max() < 30
    assert torch.equal(found[1], nearest_features(x[1:], 7, order[1:])[0])
    model = make(NAME, dynamic=True)
    with torch.no_grad():
        model.body.convs[0].layers[0].linear.weight.fill_(bad)
    assert torch.isnan(model.train()(cloud(count=30))).all()


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
        assert change(base, model(moved(xyz))) > 1e-2
    assert get_spec(NAME).symmetry == model.symmetry == "none"


@pytest.mark.parametrize("task", TASKS)
def test_padding_changes_nothing(task):
    model = make(NAME, task, dynamic=True)
    small, large = cloud(count=40, batch=1), cloud(count=70, batch=1, seed=1)
    xyz, mask, where = padded(small, large)
    with torch.inference_mode():
        got = model(xyz, mask=mask)
        mine = got[0] if task == "classification" else got[0, where]
        assert change(model(small)[0], mine) < 1e-12 and change(model(large)[0], got[1]) < 1e-12


@pytest.mark.parametrize("kind", KINDS)
def test_hostile_clouds_give_finite_answers_and_gradients(kind):
    for preset, task in (("light", "classification"), ("paper", "part_segmentation")):
        model = make(NAME, task, preset=preset).train()
        xyz = torch.from_numpy(np.stack([make_cloud(kind, 30, seed) for seed in range(3)]))
        out = model(xyz)
        assert torch.isfinite(out).all()
        out.square().mean().backward()
        assert all(torch.isfinite(p.grad).all() for p in model.parameters())


def test_fewer_points_than_neighbours_and_one_point():
    model = make(NAME)
    with torch.inference_mode():
        for count in (1, 5):
            assert torch.isfinite(model(cloud(count=count))).all()
    with pytest.raises(InputError, match="batch of one"):
        model.train()(cloud(batch=1))


def test_the_category_decides_where_the_network_is_told_one():
    model, xyz = make(NAME, "part_segmentation", num_categories=3), cloud(count=40)
    with torch.inference_mode():
        a = model(xyz, category=torch.tensor([0, 1]))
        b = model(xyz, category=torch.tensor([2, 1]))
    assert not torch.allclose(a[0], b[0]) and torch.allclose(a[1], b[1])


def test_mixed_precision():
    xyz = cloud(dtype=torch.float32)
    for dynamic in (False, True):
        model = make(NAME, dtype=torch.float32, dynamic=dynamic).train()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            out = model(xyz)
        out.float().square().mean().backward()
        assert all(torch.isfinite(p.grad).all() for p in model.parameters())
