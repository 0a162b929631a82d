"""Attention over point pair features. Numbers in names are those of the list of promises."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers.clouds import haar
from hypothesis import given, settings
from hypothesis import strategies as st

from pcinv.errors import ConfigError, InputError, ShapeError
from pcinv.nn import ppf_attention as module
from pcinv.nn.ppf_attention import Hood, LocalPPFAttention, hood_of, ppf_coordinates


def hood(n=40, m=None, k=6, seed=0, dtype=torch.float64):
    """Random points with unit normals; the first of `m` centres are no neighbours of themselves."""
    g = torch.Generator().manual_seed(seed)
    xyz = torch.rand(n, 3, generator=g, dtype=torch.float64)
    normal = F.normalize(torch.randn(n, 3, generator=g, dtype=torch.float64), dim=1).to(dtype)
    node = None if m is None else torch.randperm(n, generator=g)[:m]
    index = torch.randint(0, n, (m or n, k), generator=g)
    return xyz, normal, hood_of(xyz, normal, node, index)


def layer(width_in=5, width_out=12, width=8, heads=2, dtype=torch.float64, seed=0):
    torch.manual_seed(seed)
    made = LocalPPFAttention(width_in, width_out, width, heads)
    for norm in (made.norm,):
        torch.nn.init.normal_(norm.weight)
        torch.nn.init.normal_(norm.bias)
    return made.to(dtype)


def plain(model, features, around):
    """The formulas of the paper one after the other, every pair with all its channels."""
    x = model.map_in(features)
    at = x if around.node is None else x[around.node]
    e = model.embed(around.ppf)  # (M, K, C)
    m, k, c = e.shape
    near = x[around.index]
    shape = (m, k, model.heads, c // model.heads)
    q = model.query(at).view(m, 1, model.heads, -1)
    key = (model.key(near) + model.pair_key(e)).view(shape)
    value = (model.value(near) + model.pair_value(e)).view(shape)
    weight = ((q * key).sum(-1) / math.sqrt(shape[-1])).softmax(1)
    z = (weight[..., None] * value).sum(1).reshape(m, c)
    return model.map_out(model.norm(model.merge(z) + at))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**31))
def test_1_pair_features_do_not_change_with_the_pose(seed):
    rng = np.random.default_rng(seed)
    p, q = torch.from_numpy(rng.normal(size=(2, 30, 3)))
    n, nq = F.normalize(torch.from_numpy(rng.normal(size=(2, 30, 3))), dim=2)
    r, shift = torch.from_numpy(haar(rng)), torch.from_numpy(rng.normal(size=3))
    for dtype, bound in ((torch.float64, 1e-12), (torch.float32, 1e-6)):
        base = ppf_coordinates((q - p).to(dtype), n.to(dtype), nq.to(dtype))
        moved = ppf_coordinates(((q @ r.T + shift) - (p @ r.T + shift)).to(dtype),
                                (n @ r.T).to(dtype), (nq @ r.T).to(dtype))
        longest = float(base[:, 0].max())  # lengths round relative to their size
        assert float((moved - base).abs().max()) < bound * max(1.0, longest)
        assert float(base[:, 1:].min()) >= 0 and float(base[:, 1:].max()) <= 1


def test_1_what_is_no_motion_changes_them():
    """Negative control: a normal turned round, another scale, points rotated without normals."""
    xyz, normal, _ = hood()
    d, n, nj = xyz[1:] - xyz[:-1], normal[:-1], normal[1:]
    base = ppf_coordinates(d, n, nj)
    r = torch.from_numpy(haar(np.random.default_rng(0)))
    for other in ((d, -n, nj), (d, n, -nj), (2 * d, n, nj), (d @ r.T, n, nj)):
        assert float((ppf_coordinates(*other) - base).abs().amax(1).median()) > 0.05


def test_1_against_the_formula():
    d, n, nj = np.array([0.3, 0.0, 0.4]), np.array([0.0, 0.0, 1.0]), np.array([1.0, 0.0, 0.0])
    expected = [0.5, math.acos(0.8) / math.pi, math.acos(0.6) / math.pi, 0.5]
    got = ppf_coordinates(*map(torch.from_numpy, (d, n, nj)))
    assert got.tolist() == pytest.approx(expected, abs=1e-14)


def test_1_degenerate_pairs_are_finite_with_finite_gradients():
    z, x = torch.zeros(3, dtype=torch.float64), torch.tensor([1.0, 0, 0]).double()
    for d, n, nj in ((z, x, x), (x, x, x), (x, x, -x), (x, z, x), (1e-200 * x, x, x)):
        rows = [t.clone().requires_grad_() for t in (d, n, nj)]
        out = ppf_coordinates(*rows)
        assert torch.isfinite(out).all()
        assert all(torch.isfinite(g).all() for g in torch.autograd.grad(out.sum(), rows))
    assert ppf_coordinates(z, x, x).tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize("dtype, bound", [(torch.float32, 1e-5), (torch.float64, 1e-12)])
@pytest.mark.parametrize("m", [None, 11])
@pytest.mark.parametrize("compiled", [True, False])
def test_2_folded_and_unfolded_agree_forward_and_backward(m, dtype, bound, compiled, monkeypatch):
    if not compiled:
        monkeypatch.setattr(module, "is_fused", lambda x: False)
    model = layer(dtype=dtype)
    _, _, around = hood(m=m, dtype=dtype)
    features = torch.randn(40, 5, dtype=dtype, generator=torch.Generator().manual_seed(1))
    weights, grads, outs = torch.linspace(-1, 1, 12, dtype=dtype), [], []
    for compute in (model.forward, lambda *given: plain(model, *given)):
        x = features.clone().requires_grad_()
        outs.append(compute(x, around))
        leaves = [x, *model.parameters()]
        grads.append(torch.autograd.grad((outs[-1] * weights).square().sum(), leaves))
    assert float((outs[0] - outs[1]).abs().max() / outs[1].abs().max()) < bound
    largest = max(float(g.abs().max()) for g in grads[1])
    for a, b in zip(*grads, strict=True):
        assert float((a - b).abs().max()) < bound * largest


@pytest.mark.parametrize("part", ["pair_key", "pair_value", "embed", "query", "merge"])
def test_2_the_comparison_sees_each_map(part):
    """Negative control: with one weight of one map changed, the two computations differ."""
    model, other = layer(), layer()
    _, _, around = hood()
    features = torch.randn(40, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        getattr(other, part).weight[0, 0] += 0.1
        assert float((model(features, around) - plain(other, features, around)).abs().max()) > 1e-5


def test_golden_value_by_loops_over_single_numbers():
    """One centre, two neighbours, two heads of one channel: all by hand in float64."""
    model = layer(width_in=1, width_out=1, width=2, heads=2)
    _, _, around = hood(n=3, k=2)
    features = torch.tensor([[0.5], [-1.0], [2.0]], dtype=torch.float64)
    w = {name: p.detach().numpy() for name, p in model.named_parameters()}

    def linear(name, v):
        return [sum(w[f"{name}.weight"][o][i] * v[i] for i in range(len(v))) + w[f"{name}.bias"][o]
                for o in range(len(w[f"{name}.bias"]))]

    for i in range(3):
        x = [linear("map_in", [float(f)]) for f in features]
        q = linear("query", x[i])
        z = [0.0, 0.0]
        for h in range(2):
            scores, values = [], []
            for j, ppf in zip(around.index[i].tolist(), around.ppf[i].tolist(), strict=True):
                e = linear("embed", ppf)
                scores.append(q[h] * (linear("key", x[j])[h] + linear("pair_key", e)[h]))
                values.append(linear("value", x[j])[h] + linear("pair_value", e)[h])
            total = sum(math.exp(s) for s in scores)
            z[h] = sum(math.exp(s) / total * v for s, v in zip(scores, values, strict=True))
        y = [a + b for a, b in zip(linear("merge", z), x[i], strict=True)]
        mean, half = (y[0] + y[1]) / 2, (y[0] - y[1]) / 2
        root = math.sqrt(half * half + 1e-5)
        y = [(v - mean) / root * w["norm.weight"][c] + w["norm.bias"][c] for c, v in enumerate(y)]
        expected = linear("map_out", y)[0]
        assert float(model(features, around)[i].detach()) == pytest.approx(expected, abs=1e-12)


def test_chunks_and_orders_change_nothing(monkeypatch):
    model = layer()
    _, _, around = hood(n=50, m=30)
    features = torch.randn(50, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        base = model(features, around)
        p = torch.randperm(6, generator=torch.Generator().manual_seed(2))
        turned = Hood(around.node, around.index[:, p], around.ppf[:, p])
        assert float((model(features, turned) - base).abs().max()) < 1e-12
        p = torch.randperm(30, generator=torch.Generator().manual_seed(2))
        some = Hood(around.node[p], around.index[p], around.ppf[p])
        assert float((model(features, some) - base[p]).abs().max()) < 1e-12
        monkeypatch.setattr(module, "CHUNK", 7)
        assert float((model(features, around) - base).abs().max()) < 1e-12
    wrong = Hood(around.node, around.index, around.ppf.flip(1))  # negative control
    with torch.no_grad():
        assert float((model(features, wrong) - base).abs().max()) > 1e-3


@pytest.mark.parametrize("width, heads", [(8, 2), (12, 4), (20, 4), (7, 1)])
def test_the_compiled_loop_takes_every_width(width, heads):
    model = layer(width=width, heads=heads)
    _, _, around = hood()
    x = torch.randn(40, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    ours, formula = model(x.requires_grad_(), around), plain(model, x, around)
    assert float((ours - formula).abs().max().detach()) < 1e-12
    grads = [torch.autograd.grad(y.square().sum(), x)[0] for y in (ours, formula)]
    assert float((grads[0] - grads[1]).abs().max()) < 1e-11


def test_gradients_are_the_same_on_one_thread_and_on_two(monkeypatch):
    model = layer()
    _, _, around = hood()
    monkeypatch.setattr(module, "CHUNK", 7)
    found, before = [], torch.get_num_threads()
    for threads in (1, 2):
        torch.set_num_threads(threads)
        try:
            x = torch.ones(40, 5, dtype=torch.float64, requires_grad=True)
            found.append(torch.autograd.grad(model(x, around).square().sum(), x)[0])
        finally:
            torch.set_num_threads(before)
    assert float((found[0] - found[1]).abs().max()) < 1e-12 and found[0].any()


def test_one_neighbour_and_huge_scores_are_finite():
    model = layer()
    with torch.no_grad():
        for weight in (model.query.weight, model.pair_key.weight):
            weight *= 1e6
    for k in (1, 6):
        _, _, around = hood(k=k)
        features = torch.ones(40, 5, dtype=torch.float64)
        assert torch.isfinite(model(features, around)).all()


def test_wrong_sizes_are_named():
    with pytest.raises(ConfigError, match="7 channels for 2 heads") as caught:
        LocalPPFAttention(5, 5, 7, 2)
    assert caught.value.where and caught.value.hint
    with pytest.raises(InputError, match="heads"):
        LocalPPFAttention(5, 5, 8, 0)
    with pytest.raises(ShapeError, match="expected") as caught:
        layer()(torch.zeros(40, 4, dtype=torch.float64), hood()[2])
    assert caught.value.where == "features" and caught.value.hint
