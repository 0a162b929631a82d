"""RoITr. Numbers in names are those of the list of promises."""

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers.clouds import KINDS, haar, make_cloud

from pcinv.errors import ConfigError, InputError, ShapeError
from pcinv.geometry.normals import estimate_normals
from pcinv.losses.matching_coarse_fine import circle_loss, patch_overlaps, point_labels, point_loss
from pcinv.models import roitr_global, roitr_parts
from pcinv.models.roitr import SIZES, Correspondences, Hyper, RoITr, build, match
from pcinv.models.roitr_global import GeometricEmbedding, SelfAttention, Structure, sinusoids
from pcinv.models.roitr_matching import (
    best_pairs,
    coarse_scores,
    fine_pairs,
    near_pairs,
    patches_of,
)
from pcinv.models.roitr_parts import cloud_of, farthest, nearest
from pcinv.nn.ppf_attention import LocalPPFAttention
from pcinv.ops import farthest_point_sample
from pcinv.registration.local_to_global import local_to_global
from pcinv.registration.viewpoint import orient_towards

DATA = Path(__file__).parents[3] / "shared/data/3DMatch"
TINY = Hyper(widths=(16, 16, 32, 32), layers=(1, 1, 1, 1), inner=32, width=32, blocks=2, length=32,
             least=0.02)


def make(hyper=TINY, dtype=torch.float64, seed=0, **changes):
    torch.manual_seed(seed)
    model = RoITr(dataclasses.replace(hyper, **changes))
    with torch.no_grad():  # weights under which places differ: first ones hardly tell them apart
        for module in model.modules():
            if isinstance(module, torch.nn.Linear):
                torch.nn.init.normal_(module.weight, std=module.in_features**-0.5)
                torch.nn.init.normal_(module.bias, std=0.1)
            if isinstance(module, LocalPPFAttention):
                torch.nn.init.normal_(module.embed.weight, std=3.0)
        torch.nn.init.normal_(model.point_head.weight, std=0.5)
    return model.to(dtype).eval()


def room(count, seed):
    rng = np.random.default_rng(seed)
    u, v = rng.uniform(-1, 1, (2, count))
    phase = rng.uniform(0, 6, 3)
    h = 0.1 * np.sin(5 * u + phase[0]) * np.cos(4 * v + phase[1]) + 0.05 * np.sin(9 * v + phase[2])
    points = np.stack([u, v, 2 + h], 1)
    points[: count // 3] = np.stack([1 + h, u, 1 + v], 1)[: count // 3]
    return points


def surface(count=800, seed=0):
    """A bumpy floor and a wall, seen from the origin, no two points close: points and normals."""
    points = room(2 * count, seed)
    points = points[farthest_point_sample(torch.from_numpy(points)[None], count)[0].numpy()]
    normals = estimate_normals(torch.from_numpy(points)[None], 12, None).normal[0].numpy()
    return points, orient_towards(points, normals, np.zeros(3))


def lattice(seed=0):
    """The same on a 6 mm grid, thinned to 2.5 cm, as fragments are: full of equal distances."""
    points = np.unique(np.round(room(12000, seed) / 0.006).astype(np.int64), axis=0)
    _, first = np.unique(points // 8, axis=0, return_index=True)
    points = points[np.random.default_rng(seed).permutation(first)] * 0.006
    normals = estimate_normals(torch.from_numpy(points)[None], 12, None).normal[0].numpy()
    return points, orient_towards(points, normals, np.zeros(3))


def tensors(*arrays, dtype=torch.float64):
    return [torch.from_numpy(np.ascontiguousarray(a)).to(dtype) for a in arrays]


def apart(a, b):
    return float((a - b).detach().norm(dim=1).max())


def names(found: Correspondences):
    return set(zip(found.src_index.tolist(), found.tgt_index.tolist(), strict=True))


@pytest.mark.parametrize("preset, millions, exact", [
    ("paper", 10.10, 10_102_273), ("paper_4dmatch", 40.26, 40_258_561), ("light", 1.86, 1_863_105),
])
def test_7_parameter_counts(preset, millions, exact):
    model = build("roitr", task="matching", num_classes=1, preset=preset, num_categories=0,
                  overrides={})
    count = sum(p.numel() for p in model.parameters())
    assert count == exact and round(count / 1e6, 2) == millions


def test_7_parts_have_the_published_sizes():
    model = build("roitr", task="matching", num_classes=1, preset="paper", num_categories=0,
                  overrides={})
    count = sum(p.numel() for p in model.transformer.parameters())
    assert round(count / 1e6, 2) == 4.81
    both = count + sum(p.numel() for m in (model.encoder, model.decoder) for p in m.parameters())
    assert round(both / 1e6, 2) == 10.02


@pytest.mark.parametrize("count", [128, 700, 1023])
def test_7_levels_have_a_quarter_each(count):
    xyz, normal = tensors(*surface(count))
    levels = roitr_parts.levels_of(cloud_of(xyz), normal, (8, 16, 16, 16), 4)
    assert [len(level.node) for level in levels] == [count // 4**i for i in range(4)]
    for i, level in enumerate(levels):
        before = levels[max(i - 1, 0)]
        k = min((8, 16, 16, 16)[i], len(before.node) - 1)
        assert level.down.index.shape == (len(level.node), k)
        # no point attends to itself, and the centres are where they are said to be
        at = torch.arange(len(level.node)) if level.down.node is None else level.down.node
        assert torch.equal(before.node[at], level.node)
        assert not (level.down.index == at[:, None]).any()
        assert not (level.own.index == torch.arange(len(level.node))[:, None]).any()


@pytest.mark.parametrize("dtype, bound", [(torch.float64, 1e-9), (torch.float32, 1e-5)])
@pytest.mark.parametrize("which", [lattice, surface])
def test_3_motions_of_either_cloud_change_nothing(which, dtype, bound):
    model = make(dtype=dtype)
    (x, n), (y, k) = which(seed=0), which(seed=1)
    with torch.no_grad():
        base = model(*tensors(x, n, y, k, dtype=dtype))
        found = match(model, *tensors(x, n, y, k, dtype=dtype))
        assert len(found.src) > 20
        for seed in range(3):
            rng = np.random.default_rng(seed)
            (r, q), (a, b) = (haar(rng), haar(rng)), rng.normal(size=(2, 3))
            moved = tensors(x @ r.T + a, n @ r.T, y @ q.T + b, k @ q.T, dtype=dtype)
            for one, other in zip(base, model(*moved), strict=True):
                assert torch.equal(one.node_index, other.node_index)
                assert apart(one.node_desc, other.node_desc) < bound
                scale = float(one.point_desc.norm(dim=1).max())
                assert apart(one.point_desc, other.point_desc) / scale < bound
            assert names(match(model, *moved)) == names(found)


def test_3_the_published_order_of_ties_fails_on_a_lattice():
    """Negative control: what breaks ties by the order of rounding is not invariant."""
    model = make(dtype=torch.float32, compat="official")
    (x, n), (y, k) = lattice(), lattice(1)
    r = haar(np.random.default_rng(0))
    with torch.no_grad():
        base = model(*tensors(x, n, y, k, dtype=torch.float32))[0]
        other = model(*tensors(x @ r.T, n @ r.T, y, k, dtype=torch.float32))[0]
    assert apart(base.node_desc, other.node_desc) > 1e-4
    assert apart(base.point_desc, other.point_desc) / float(base.point_desc.norm(dim=1).max()) > .01


@pytest.mark.parametrize("what", ["scale", "normals", "mirror", "normals left behind"])
def test_3_what_is_no_rotation_changes_descriptors(what):
    """Negative control; a mirror image changes nothing, for distances and angles see no hands."""
    model = make()
    (x, n), (y, k) = surface(), surface(seed=1)
    r = haar(np.random.default_rng(0))
    mirror = np.diag([1.0, 1.0, -1.0])
    other = {"scale": (1.3 * x, n), "normals": (x, -n), "mirror": (x @ mirror, n @ mirror),
             "normals left behind": (x @ r.T, n)}[what]
    with torch.no_grad():
        a, b = (model(*tensors(*given, y, k))[0] for given in ((x, n), other))
    difference = apart(a.point_desc, b.point_desc) / float(a.point_desc.norm(dim=1).max())
    assert difference < 1e-9 if what == "mirror" else difference > 1e-2, difference


@pytest.mark.parametrize("which", [lattice, surface])
def test_4_normals_estimated_anew_and_a_view_point_that_moves_along(which):
    model = make(dtype=torch.float32)
    (x, _), (y, k) = which(seed=0), which(seed=1)
    r, shift = haar(np.random.default_rng(5)), np.array([0.3, -0.2, 1.0])
    got = []
    for rotation, view in ((np.eye(3), np.zeros(3)), (r, shift), (r, np.zeros(3) + 9)):
        points = (x @ rotation.T + (0 if rotation is not r else shift)).astype(np.float32)
        normals = estimate_normals(torch.from_numpy(points)[None], 33, None).normal[0].numpy()
        normals = orient_towards(points, normals, view)
        with torch.no_grad():
            got.append(model(*tensors(points, normals, y, k, dtype=torch.float32))[0].node_desc)
    assert float((got[0] - got[1]).norm(dim=1).median()) < 5e-3
    # negative control: with the view point somewhere else
    assert float((got[0] - got[2]).norm(dim=1).median()) > 5e-3


@pytest.mark.parametrize("which", [lattice, surface])
def test_5_the_order_of_points_changes_nothing(which):
    model = make()
    (x, n), (y, k) = which(seed=0), which(seed=1)
    p = np.random.default_rng(0).permutation(len(x))
    with torch.no_grad():
        a, b = (model(*tensors(x[i], n[i], y, k))[0] for i in (np.arange(len(x)), p))
    assert torch.equal(torch.from_numpy(p)[b.node_index], a.node_index)
    assert apart(a.point_desc[p], b.point_desc) < 1e-9
    assert apart(a.node_desc, b.node_desc) < 1e-9
    padded = torch.cat([torch.from_numpy(p), torch.tensor([len(p)])])
    assert torch.equal(padded[b.patch], a.patch)


def test_5_the_published_start_depends_on_the_order():
    """Negative control."""
    model = make(compat="official")
    (x, n), (y, k) = surface(), surface(seed=1)
    with torch.no_grad():
        a, b = (model(*tensors(x[::i], n[::i], y, k))[0] for i in (1, -1))
    assert set(a.node_index.tolist()) != set((len(x) - 1 - b.node_index).tolist())


@pytest.mark.parametrize("symmetric", [True, False])
def test_6_swapping_the_clouds_transposes_the_scores_of_the_symmetric_network(symmetric):
    """The published network lets the target see the source's answer: it does not."""
    model = make(symmetric=symmetric)
    (x, n), (y, k) = surface(), surface(700, seed=1)
    with torch.no_grad():
        (a, b), (c, d) = model(*tensors(x, n, y, k)), model(*tensors(y, k, x, n))
    one, other = (coarse_scores(t.node_desc, s.node_desc, *(v.patch_mask.any(1) for v in (t, s)))
                  for s, t in ((a, b), (c, d)))
    assert torch.allclose(one, other.T, rtol=1e-9, atol=1e-15) == symmetric
    assert apart(a.point_desc, d.point_desc) < 1e-12  # local descriptors see no other cloud


def test_10_the_descriptors_of_points_do_not_see_the_other_cloud_but_those_of_nodes_do():
    model = make()
    (x, n), (y, k), (z, m) = surface(), surface(seed=1), surface(seed=2)
    with torch.no_grad():
        a, b = model(*tensors(x, n, y, k))[0], model(*tensors(x, n, z, m))[0]
    assert torch.equal(a.point_desc, b.point_desc) and apart(a.node_desc, b.node_desc) > 1e-4


def test_10_correspondences_are_points_of_the_clouds_with_confidences():
    model = make()
    (x, n), (y, k) = surface(), surface(seed=1)
    given = tensors(x, n, y, k)
    found = match(model, *given)
    assert len(found.src) > 20 and found.src.dtype == torch.float64
    assert torch.equal(found.src, given[0][found.src_index])
    assert torch.equal(found.tgt, given[2][found.tgt_index])
    assert 0.02 < float(found.confidence.min()) and float(found.confidence.max()) <= 1 + 1e-9
    assert (found.patch.diff() >= 0).all() and not found.confidence.requires_grad
    assert len(match(make(least=1.0), *given).src) == 0  # none is an answer too


def test_gradients_flow_and_agree_with_inference():
    model = make()
    (x, n), (y, k) = surface(400), surface(500, seed=1)
    given = tensors(x, n, y, k)
    source, target = model(*given)
    with torch.no_grad():
        for a, b in zip((source, target), model(*given), strict=True):
            assert apart(a.node_desc, b.node_desc) < 1e-10
            assert apart(a.point_desc, b.point_desc) < 1e-10
    sides = []
    for one, points in ((target, given[2]), (source, given[2])):  # any places will do
        patch, mask = one.patch, one.patch_mask
        sides += [points[patch.clamp_max(len(points) - 1)], mask]
    overlap = patch_overlaps(*sides)
    i, j = (overlap > 0.1).nonzero()[:16].unbind(1)
    labels = point_labels(sides[0][i], sides[1][i], sides[2][j], sides[3][j])
    loss = circle_loss(target.node_desc, source.node_desc, overlap) + point_loss(
        model.log_assignment(source, target, j, i), labels)
    loss.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and torch.isfinite(parameter.grad).all(), name
    for part in (model.encoder, model.decoder, model.transformer):
        assert max(float(p.grad.abs().max()) for p in part.parameters()) > 1e-8


@pytest.mark.parametrize("kind", KINDS)
def test_hostile_clouds_give_finite_answers_and_gradients(kind):
    model = make()
    x = torch.from_numpy(make_cloud(kind, 150, 0))
    n = F.normalize(torch.from_numpy(np.random.default_rng(0).normal(size=(150, 3))), dim=1)
    n[:5] = 0  # real data has normals of length zero
    (y, k) = tensors(*surface(200))
    source, target = model(x, n, y, k)
    loss = sum(d.node_desc.sum() + d.point_desc.sum() for d in (source, target))
    loss.backward()
    assert torch.isfinite(loss)
    for parameter in model.parameters():
        assert parameter.grad is None or torch.isfinite(parameter.grad).all()
    assert torch.isfinite(match(model, x, n, y, k).confidence).all()


def test_all_points_equal_and_the_fewest_points():
    model = make()
    for x in (torch.zeros(128, 3).double(), tensors(surface(128)[0])[0]):
        n = torch.ones_like(x) / math.sqrt(3)
        assert torch.isfinite(match(model, x, n, x, n).confidence).all()


@pytest.mark.parametrize("which, bad, error, said", [
    (0, torch.zeros(127, 3), InputError, "127 points"),
    (0, torch.zeros(0, 3), InputError, "0 points"),
    (0, torch.zeros(200, 2), ShapeError, "expected shape"),
    (0, torch.zeros(1, 200, 3), ShapeError, "expected shape"),
    (0, torch.full((200, 3), torch.nan), InputError, "not finite"),
    (0, torch.zeros(200, 3, dtype=torch.long), ShapeError, "floating"),
    (0, np.zeros((200, 3)), ShapeError, "ndarray"),
    (1, torch.zeros(199, 3), ShapeError, "like the points"),
    (1, torch.full((200, 3), torch.inf), InputError, "not finite"),
    (2, torch.zeros(5, 3), InputError, "5 points"),
    (3, torch.zeros(200, 2), ShapeError, "like the points"),
])
def test_bad_clouds_are_named(which, bad, error, said):
    given = [*tensors(*surface(200)), *tensors(*surface(200, 1))]
    given[which] = bad
    for call in (make(), lambda *g: match(make(), *g)):
        with pytest.raises(error, match=said) as caught:
            call(*given)
        assert caught.value.where == ("src", "src_normal", "tgt", "tgt_normal")[which]
        assert caught.value.hint and caught.value.exit_code == 3


def test_sizes_are_checked():
    with pytest.raises(ConfigError, match="no hyper-parameter 'widhts'") as caught:
        build("roitr", task="matching", num_classes=1, preset="light", num_categories=0,
              overrides={"widhts": [8]})
    assert "widths" in caught.value.hint
    model = build("roitr", task="matching", num_classes=1, preset="light", num_categories=0,
                  overrides={"pairs": 7})
    assert model.hyper == dataclasses.replace(SIZES["light"], pairs=7)
    with pytest.raises(ConfigError, match="heads"):
        RoITr(dataclasses.replace(TINY, heads=3))


# Who is near whom


def test_nearest_takes_equal_distances_in_the_order_of_the_cloud():
    """A ring of twelve around a point, all equally far: the four farthest from the centroid."""
    turn = np.arange(12) * np.pi / 6
    points = np.concatenate([np.stack([np.cos(turn), np.sin(turn), 0 * turn], 1),
                             [[0, 0, 0], [9, 1, 0]]])
    cloud = cloud_of(torch.from_numpy(points))
    _, index = nearest(cloud.xyz[12:13], cloud, 4, torch.tensor([12]))
    expected = sorted(range(12), key=lambda i: int(cloud.rank[i]))[:4]
    assert sorted(index[0].tolist()) == sorted(expected)
    nudged = cloud_of(torch.from_numpy(points + 1e-7 * np.random.default_rng(0).normal(
        size=points.shape)))
    again = nearest(nudged.xyz[12:13], nudged, 4, torch.tensor([12]))[1]
    assert sorted(again[0].tolist()) == sorted(expected)


def test_nearest_agrees_with_sorting_and_leaves_itself_out_among_copies():
    g = torch.Generator().manual_seed(0)
    xyz = torch.rand(300, 3, generator=g, dtype=torch.float64)
    xyz[100:140] = xyz[100]  # more copies than are looked at
    cloud, here = cloud_of(xyz), torch.arange(300)
    dist, index = nearest(cloud.xyz, cloud, 7, here)
    assert not (index == here[:, None]).any()
    all_ = torch.cdist(cloud.xyz, cloud.xyz, compute_mode="donot_use_mm_for_euclid_dist")
    all_.fill_diagonal_(torch.inf)
    assert torch.allclose(dist, all_.sort(1).values[:, :7], atol=1e-12)
    assert all(len(set(row)) == 7 for row in index.tolist())
    assert nearest(cloud.xyz[:2], cloud.take(here[:4]), 9)[1].shape == (2, 4)


def test_farthest_points_are_those_of_the_package_where_no_distances_tie():
    xyz = torch.rand(500, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    cloud = cloud_of(xyz)._replace(tie=0.0)
    expected = farthest_point_sample(xyz[None], 120)[0]
    assert torch.equal(farthest(cloud, 120), expected)
    assert torch.equal(farthest(cloud, 30), expected[:30])
    order = cloud.rank.argsort()
    assert torch.equal(order[roitr_parts._farthest(cloud.xyz[order], cloud.tie, 120)], expected)
    points = torch.from_numpy(lattice()[0])
    for cloud in (cloud_of(points), cloud_of(torch.zeros(9, 3).double())):
        order, count = cloud.rank.argsort(), len(cloud.xyz) // 4
        slow = order[roitr_parts._farthest(cloud.xyz[order], cloud.tie, count)]
        assert torch.equal(farthest(cloud, count), slow) and len(slow.unique()) == count


def test_patches_against_a_loop():
    rng = np.random.default_rng(0)
    owner, dist = torch.from_numpy(rng.integers(0, 5, 60)), torch.from_numpy(rng.random(60))
    dist[20:40] = 0.5  # ties
    owner[owner == 3] = 4  # one without points
    rank = torch.from_numpy(rng.permutation(60))
    patch = patches_of(owner, dist, rank, 1e-9, 5, 8)
    for s in range(5):
        own = sorted((i for i in range(60) if owner[i] == s), key=lambda i: (dist[i], rank[i]))
        assert patch[s].tolist() == (own + [60] * 8)[:8]


# The global transformer


@pytest.mark.parametrize("most", [0.5, 6.0, 20.0, 120.0])
def test_polynomials_give_the_embedding_of_the_sinusoids(most):
    torch.manual_seed(0)
    embedding = GeometricEmbedding(32).double()
    g = torch.Generator().manual_seed(0)
    structure = Structure(most * torch.rand(9, 9, generator=g, dtype=torch.float64),
                          12 * torch.rand(9, 9, 3, generator=g, dtype=torch.float64))
    expected = embedding.distance(sinusoids(structure.distance, 32)) + embedding.angle(
        sinusoids(structure.angle, 32)).amax(2)
    used = []
    for most_, bound in ((roitr_global._MOST, 1e-12), (0.0, 1e-14)):  # and without polynomials
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(roitr_global, "_MOST", most_)
            patch.setattr(roitr_global, "_PAIRS", 7)
            used.append(embedding(structure))
            assert float((used[-1] - expected).abs().max().detach()) < bound
    base = embedding.float()(structure)
    assert float((base - expected).abs().max().detach()) < 1e-5
    coarse = torch.from_numpy(np.eye(2))  # negative control: two polynomials are not enough
    with pytest.MonkeyPatch.context() as patch:
        full = roitr_global.polynomials_for
        patch.setattr(roitr_global, "polynomials_for", lambda *a: full(*a)[:, : len(coarse)])
        if most < 100:
            other = embedding.double()(structure)
            assert float((other - expected).abs().max().detach()) > 1e-3


def test_sinusoids_against_the_formula():
    got = sinusoids(torch.tensor([0.7], dtype=torch.float64), 6)[0].tolist()
    expected = [f(0.7 / 10000 ** (2 * t / 6)) for t in range(3) for f in (math.sin, math.cos)]
    assert got == pytest.approx(expected, abs=1e-15)


def test_self_attention_against_the_plain_formulas():
    torch.manual_seed(0)
    model, n, c, h = SelfAttention(8, 2).double(), 6, 8, 2
    g = torch.Generator().manual_seed(0)
    x = torch.randn(n, c, generator=g, dtype=torch.float64)
    e = torch.randn(n, n, c, generator=g, dtype=torch.float64)
    q, k, v = (m(x).view(n, h, -1) for m in (model.query, model.key, model.value))
    p, w = model.place_key(e).view(n, n, h, -1), model.place_value(e).view(n, n, h, -1)
    hidden, given = torch.zeros(n, h, 4).double(), torch.zeros(n, h, 4).double()
    for i in range(n):
        for b in range(h):
            score = torch.stack([q[i, b] @ (k[j, b] + p[i, j, b]) / 2 for j in range(n)])
            hidden[i, b] = score.softmax(0) @ v[:, b]
            score[i] = -torch.inf
            given[i, b] = score.softmax(0) @ w[i, :, b]
    y = model.forward_(model.norm(model.merge(hidden.view(n, c)) + x))
    place = model.place_forward(model.place_norm(model.place_merge(given.view(n, c))))
    got = model(x, e)
    assert apart(got[0], y) < 1e-12 and apart(got[1], place) < 1e-12


# From descriptors to correspondences


def unit(rows, seed, columns=8):
    g = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(rows, columns, generator=g, dtype=torch.float64), dim=1)


def test_coarse_scores_against_a_loop():
    f, g = unit(5, 0), unit(7, 1)
    there, here = torch.ones(5, dtype=torch.bool), torch.ones(7, dtype=torch.bool)
    there[2] = False
    s = [[math.exp(-float((f[i] - g[j]).square().sum())) * float(there[i]) for j in range(7)]
         for i in range(5)]
    got = coarse_scores(f, g, there, here)
    for i in range(5):
        for j in range(7):
            expected = s[i][j] ** 2 / (sum(s[i]) + 1e-8) / (sum(r[j] for r in s) + 1e-8)
            assert float(got[i, j]) == pytest.approx(expected, rel=1e-6, abs=1e-15)
    pairs = best_pairs(got, 100)
    assert len(pairs.target) == 28 and not (pairs.target == 2).any()
    assert (pairs.score.diff() <= 0).all()
    assert torch.equal(got[pairs.target, pairs.source], pairs.score)
    assert len(best_pairs(got, 3).score) == 3


def test_near_pairs_are_all_within_the_distance_or_the_nearest():
    f, g = unit(5, 0), unit(7, 1)
    masks = torch.ones(5, dtype=torch.bool), torch.ones(7, dtype=torch.bool)
    dist = (f[:, None] - g).norm(dim=2)
    pairs = near_pairs(f, g, *masks, 1.2, 2)
    assert len(pairs.score) == int((dist <= 1.2).sum()) > 2
    assert float(dist[pairs.target, pairs.source].max()) <= 1.2
    assert torch.allclose(pairs.score, (-dist[pairs.target, pairs.source]).exp())
    pairs = near_pairs(f, g, *masks, 1e-3, 6)
    assert torch.allclose(dist[pairs.target, pairs.source], dist.flatten().sort().values[:6])
    masks[0][:] = False
    assert len(near_pairs(f, g, *masks, 1.2, 6).score) == 0


def test_fine_pairs_against_a_loop():
    g = torch.Generator().manual_seed(0)
    z = torch.rand(3, 7, 6, generator=g, dtype=torch.float64)
    rows, columns = torch.rand(3, 6, generator=g) < 0.8, torch.rand(3, 5, generator=g) < 0.8
    got = fine_pairs(z.log(), rows, columns, 2, 0.3)
    expected = set()
    for p in range(3):
        kept = z[p, :-1, :-1] * rows[p][:, None] * columns[p]
        for i in range(6):
            for j in range(5):
                value = float(kept[i, j])
                if value > 0.3 and (kept[i] > value).sum() < 2 and (kept[:, j] > value).sum() < 2:
                    expected.add((p, i, j, round(value, 12)))
    found = {(p, i, j, round(v, 12)) for p, i, j, v in zip(*(t.tolist() for t in got), strict=True)}
    assert found == expected and len(expected) > 5


@pytest.mark.skipif(not DATA.is_dir(), reason="no real data in ../shared/data/3DMatch")
@pytest.mark.parametrize("target, source", [(0, 6), (21, 34)])
def test_13_a_pair_of_real_fragments_gives_a_pose_with_a_verdict(target, source):
    from pcinv.io import read_cloud

    clouds = []
    for k in (source, target):
        file = DATA / f"fragments/7-scenes-redkitchen/cloud_bin_{k}.ply"
        points = read_cloud(file).absolute()[::4]  # quicker
        normals = estimate_normals(torch.from_numpy(points)[None], 33, None).normal[0].numpy()
        clouds += tensors(points, orient_towards(points, normals, np.zeros(3)), dtype=torch.float32)
    found = match(make(dtype=torch.float32), *clouds)
    pose = local_to_global(found.src, found.tgt, found.confidence, found.patch)
    assert pose.T_target_source.shape == (4, 4) and torch.isfinite(pose.T_target_source).all()
    assert isinstance(pose.is_determined, bool) and len(pose.inliers) == len(found.src)
