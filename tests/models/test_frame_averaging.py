"""Frame averaging. Numbers in names are those of the list of promises.

Promises on the frames themselves are in tests/geometry/test_pca_frames.py. Not here: 10 of networks
that pcinv does not have, the local one and the one for bodies, nor 13, which is of the latter; 14
takes data that cannot be had without asking.
"""

import sys
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers.bodies import TASKS, change, cloud, make, moved, padded, same_normals, turn
from helpers.clouds import KINDS, make_cloud

from pcinv.errors import InputError
from pcinv.geometry.pca_frames import pca_frames
from pcinv.geometry.rotation import random_rotation
from pcinv.metrics.invariance import measure_invariance
from pcinv.models.frame_averaging import FrameAveraging, FrameChoices
from pcinv.models.registry import create_model
from pcinv.nn.views import fold
from pcinv.ops import track_margins

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import plain_frames

NAMES = ("fa_pointnet", "fa_dgcnn")
MIRROR = torch.tensor([1.0, 1.0, -1.0], dtype=torch.float64)


class FlatNetwork(torch.nn.Module):
    """Any network at all: it knows neither of rotations nor of the order of the points."""

    def __init__(self, points):
        super().__init__()
        self.layers = torch.nn.Sequential(torch.nn.Linear(3 * points, 64), torch.nn.Tanh(),
                                          torch.nn.Linear(64, 7))

    def shared(self, xyz):
        return ()

    def frozen(self):
        return lambda xyz: self.layers(xyz.flatten(1))

    def answer(self, rows, category=None):
        return rows


@pytest.mark.parametrize("name, options, count", [
    ("fa_pointnet", {}, 2_509_699),
    ("fa_dgcnn", {"compat": "official"}, 1_440_009),
    ("fa_dgcnn", {}, 1_440_009 - 128),
])
def test_10_parameter_counts(name, options, count):
    """The published FA-DGCNN has a normalisation layer of 64 channels that it never uses."""
    model = create_model(name, task="normals", preset="paper", **options)
    assert sum(p.numel() for p in model.parameters()) == count


@pytest.mark.parametrize("group", ["SE3", "E3"])
@pytest.mark.parametrize("frames", ["weighted", "plain"])
def test_3_any_network_becomes_invariant(frames, group):
    torch.manual_seed(0)
    xyz = cloud(count=20)
    for dtype, bound in ((torch.float64, 1e-12), (torch.float32, 1e-5)):
        model = FrameAveraging(FlatNetwork(20), FrameChoices(frames=frames, group=group),
                               "classification", 7).to(dtype).eval()
        with torch.inference_mode():
            base = model(xyz.to(dtype))
            for seed in range(4):
                assert change(base, model(moved(xyz, seed).to(dtype))) < bound
            mirrored = change(base, model((xyz * MIRROR).to(dtype)))
            assert mirrored < bound if group == "E3" else mirrored > 1e-2
            alone = model.body.layers(xyz.to(dtype).flatten(1))
            turned = model.body.layers(moved(xyz, shift=0).to(dtype).flatten(1))
            assert change(alone, turned) > 0.1  # negative control: without frames it is not


@pytest.mark.parametrize("group", ["SE3", "E3"])
def test_4_vectors_turn_and_points_move_with_the_cloud(group):
    xyz = cloud()
    weight = torch.randn(3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    shift, r = torch.tensor([3.0, -2.0, 1.0]).double(), turn()
    if group == "E3":
        r = r * MIRROR

    def vectors(x):
        frames = pca_frames(x, group=group)
        views = fold(x, frames, torch.float64)
        seen = (views.xyz @ weight).tanh()  # neither invariant nor equivariant
        return views.directions(seen), views.directions(views.xyz) + frames.centre[:, None]

    (direction, point), (turned, carried) = vectors(xyz), vectors(xyz @ r.T + shift)
    assert change(direction @ r.T, turned) < 1e-12
    assert (point - xyz).abs().max() < 1e-12
    assert (carried - (xyz @ r.T + shift)).abs().max() < 1e-12
    assert change(direction, turned) > 0.1  # negative control: they do turn


@pytest.mark.parametrize("name", NAMES)
def test_4_normals_turn_with_the_cloud(name):
    xyz, r = cloud(count=60), turn(3)
    for preset in ("light", "paper"):
        for dtype, bound in ((torch.float64, 1e-9), (torch.float32, 1e-4)):
            if preset == "paper" and dtype == torch.float32 and name == "fa_dgcnn":
                continue  # neighbours among features may change places
            model = make(name, "normals", preset=preset, dtype=dtype)
            with torch.inference_mode():
                base = model(xyz.to(dtype)).double()
                got = model((xyz @ r.T + 7).to(dtype)).double()
            assert (base.norm(dim=-1) - 1).abs().max() < 1e-5
            assert same_normals(base @ r.T, got) < bound and same_normals(base, got) > 0.1


@pytest.mark.parametrize("preset", ["light", "paper"])
@pytest.mark.parametrize("task", ["classification", "part_segmentation"])
@pytest.mark.parametrize("name", NAMES)
def test_3_6_rotation_shift_order_and_mates_change_nothing(name, task, preset):
    model, xyz = make(name, task, preset=preset), cloud(count=80)
    with torch.inference_mode():
        base = model(xyz)
        for seed in range(3):
            assert change(base, model(moved(xyz, seed))) < 1e-9
        p = torch.randperm(xyz.shape[1], generator=torch.Generator().manual_seed(0))
        assert change(base if base.dim() == 2 else base[:, p], model(xyz[:, p])) < 1e-9
        assert change(base[1:], model(xyz[1:])) < 1e-9
        assert change(base, model(xyz * MIRROR)) > 1e-4  # left is not right
        loose = deepcopy(model)
        loose.see = unturned
        assert change(loose(xyz), loose(moved(xyz))) > 1e-2  # negative control: no frames


def unturned(xyz):
    """Four views that do not turn with the cloud."""
    frames = pca_frames(xyz, group="SE3")
    eye = torch.eye(3, dtype=torch.float64).expand_as(frames.axes)
    return fold(xyz, type(frames)(eye, frames.centre, frames.weight, frames.gap,
                                  frames.is_ambiguous), torch.float64)


@pytest.mark.parametrize("name", NAMES)
def test_5_training_mode_is_invariant_for_all_frames(name):
    """Batch statistics are those of all views, which are the same set in every pose."""
    model, xyz = make(name, draws=0, dropout=0.0).train(), cloud(count=60, batch=4)
    base = model(xyz)
    for seed in range(3):
        assert change(base, model(moved(xyz, seed))) < 1e-9
    drawn = make(name, dropout=0.0).train()
    torch.manual_seed(0)
    a = drawn(xyz)
    assert change(a, drawn(xyz)) > 1e-4  # one frame a cloud is another one each time


@pytest.mark.parametrize("name", NAMES)
def test_7_degenerate_clouds(name):
    """With weighted frames an octahedron's answer keeps; with plain ones it does not."""
    octahedron = torch.cat([torch.eye(3), -torch.eye(3)]).double()[None]
    worst = {}
    for frames in ("weighted", "plain"):
        model = make(name, frames=frames, **({"neighbours": 4} if "dgcnn" in name else {}))
        assert model.frames(octahedron).is_ambiguous.all()
        with torch.inference_mode():
            base = model(octahedron)
            worst[frames] = max(change(base, model(octahedron @ turn(s).T)) for s in range(8))
    assert worst["weighted"] < 1e-9 and worst["plain"] > 0.01


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", NAMES)
def test_7_hostile_clouds_give_finite_answers_and_gradients(name, kind):
    for task in TASKS:
        model = make(name, task)
        xyz = torch.from_numpy(np.stack([make_cloud(kind, 24, seed) for seed in range(3)]))
        xyz.requires_grad_()
        with torch.inference_mode():
            assert torch.isfinite(model(xyz.detach())).all()
        out = model.train()(xyz)
        (out * torch.arange(1.0, out.shape[-1] + 1)).sum().backward()
        assert torch.isfinite(xyz.grad).all()
        assert all(torch.isfinite(p.grad).all() for p in model.parameters())


@pytest.mark.parametrize("name", NAMES)
def test_7_normals_about_a_line_are_recorded_as_ties(name):
    """Turned about the line, the cloud is the same and a normal is not: none is right."""
    xyz, model = cloud(count=40), make(name, "normals")
    line = xyz * torch.tensor([1.0, 0.0, 0.0])
    for points, is_tie in ((xyz, False), (line, True), (line[:, :1], True)):
        with torch.inference_mode(), track_margins() as margins:
            assert torch.isfinite(model(points)).all()
        assert (margins.smallest < 1e-13) == is_tie


def test_7_one_and_two_points():
    for name in NAMES:
        model = make(name)
        with torch.inference_mode():
            for count in (1, 2):
                few = cloud(count=count)
                assert change(model(few), model(moved(few))) < 1e-9


@pytest.mark.parametrize("name", NAMES)
def test_9_training_looks_at_one_view_of_each_cloud(name):
    """The cost of the bare network: as many views as clouds; the mean over draws is the answer."""
    model, xyz = make(name, "classification"), cloud(count=40)
    with torch.inference_mode():
        full = model(xyz)
        assert len(model.see(xyz).xyz) == 8
        model.training = True  # the frames are drawn, the layers stay as they are
        assert len(model.see(xyz).xyz) == 2
        drawn = torch.stack([model(xyz) for _ in range(512)])
    error = drawn.std(0) / 512**0.5
    assert ((drawn.mean(0) - full).abs() < 3.5 * error + 1e-12).all() and error.max() > 0


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("name", NAMES)
def test_11_padding_changes_nothing(name, task):
    model = make(name, task)
    small, large = cloud(count=40, batch=1), cloud(count=70, batch=1, seed=1)
    xyz, mask, where = padded(small, large)
    with torch.inference_mode():
        got = model(xyz, mask=mask)
        mine = got[0] if task == "classification" else got[0, where]
        assert change(model(small)[0], mine) < 1e-9 and change(model(large)[0], got[1]) < 1e-9
        if task != "classification":
            assert not got[0, ~mask[0]].any()


def test_golden_against_numpy():
    """Four frames and every layer of PointNet in double precision, without torch."""
    model, xyz = make("fa_pointnet"), cloud(count=50)
    with torch.inference_mode():
        got = model(xyz).numpy()

    def layer(block, x):
        n = block.norm
        w, b, gamma, beta, mean, var = (t.detach().numpy() for t in (
            block.linear.weight, block.linear.bias, n.weight, n.bias, n.running_mean,
            n.running_var))
        return np.maximum((x @ w.T + b - mean) / np.sqrt(var + n.eps) * gamma + beta, 0)

    body = model.body
    for points, answer in zip(xyz.numpy(), got, strict=True):
        local = points - points.mean(0)
        _, axes = np.linalg.eigh(local.T @ local)
        axes = axes[:, ::-1] * np.sign(np.linalg.det(axes[:, ::-1]))
        wanted = []
        for signs in ((1, 1, 1), (1, -1, -1), (-1, 1, -1), (-1, -1, 1)):
            x = local @ (axes * signs)
            for block in (*body.layers, body.top):
                x = layer(block, x)
            x = x.max(0)
            for block in body.head.hidden:
                x = layer(block, x)
            last = body.head.last
            wanted.append(x @ last.weight.detach().numpy().T + last.bias.detach().numpy())
        wanted = np.mean(wanted, axis=0)
        assert np.abs(wanted - answer).max() < 1e-11 * np.abs(wanted).max()


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("task", ["classification", "part_segmentation"])
@pytest.mark.parametrize("name", NAMES)
def test_logits_and_gradients_equal_those_of_one_frame_after_the_other(name, task, training):
    """In training of each frame: one after the other, batch statistics are other ones."""
    options = {"dropout": 0.0, "draws": 0}
    model, other = (make(name, task, **options).train(training) for _ in range(2))
    xyz = cloud(count=50, batch=4)
    if training:
        one = pca_frames(xyz, group="SE3")
        for net in (model, other):
            net.frames = lambda x: type(one)(one.axes[:, :1], one.centre, 4 * one.weight[:, :1],
                                             one.gap, one.is_ambiguous)
        run = plain_frames.dgcnn if "dgcnn" in name else plain_frames.pointnet
        local = xyz - xyz.mean(1, keepdim=True)
        a, b = model(xyz), run(other.body, local @ one.axes[:, 0])
    else:
        a, b = model(xyz), plain_frames.forward(other, xyz)
    assert change(b, a) < 1e-9
    weight = torch.randn(a.shape, generator=torch.Generator().manual_seed(0), dtype=a.dtype)
    for out in (a, b):
        (out * weight).sum().backward()
    for (key, p), q in zip(model.named_parameters(), other.parameters(), strict=True):
        assert float((p.grad - q.grad).abs().max()) < 1e-6 * float(q.grad.abs().max() + 1e-3), key
    if not training:
        with torch.inference_mode():
            assert change(b, model(xyz)) < 1e-9


def test_normals_of_views_that_disagree_on_the_sign_do_not_cancel():
    """A plain mean of n and -n has no direction; the published network takes that mean."""
    xyz = cloud(count=30)
    views = fold(xyz, pca_frames(xyz, group="SE3"), torch.float64)
    n = F.normalize(torch.randn(2, 30, 3, generator=torch.Generator().manual_seed(0)), dim=-1)
    seen = (n.double()[views.cloud] @ views.axes) * torch.tensor([1, -1, 1, -1]).repeat(2)[
        :, None, None]
    assert same_normals(views.normals(seen), n.double()) < 1e-6
    assert views.directions(seen).abs().max() < 1e-12  # negative control


def test_views_that_see_a_normal_edge_on_are_recorded_as_ties():
    """A view across the others is on neither side: rounding decides."""
    views = fold(cloud(count=30), pca_frames(cloud(count=30), group="SE3"), torch.float64)
    n = F.normalize(torch.randn(2, 30, 3, generator=torch.Generator().manual_seed(0)), dim=-1)
    same = n.double()[views.cloud] @ views.axes
    across = same.clone()
    other = F.normalize(torch.linalg.cross(n[0, 0], torch.tensor([0.3, 0.2, 1.0])), dim=-1)
    across[0, 0] = other.double() @ views.axes[0]
    for seen, is_tie in ((same, False), (across, True)):
        with track_margins() as margins:
            assert torch.isfinite(views.normals(seen)).all()
        assert (margins.smallest < 1e-6) == is_tie


class Ellipsoids:
    """Stretched bumpy spheres with exact normals, as they lie or turned: the sheet's in small."""

    def __init__(self, count, seed):
        g = torch.Generator().manual_seed(seed)
        direction = F.normalize(torch.randn(count, 64, 3, generator=g), dim=-1)
        size = torch.tensor([1.0, 0.6, 0.3]) * (0.8 + 0.4 * torch.rand(count, 1, 3, generator=g))
        self.xyz, self.normal = direction * size, F.normalize(direction / size, dim=-1)
        self.turn = random_rotation(count, generator=g)

    def loss(self, model, *, turned):
        xyz, normal = self.xyz, self.normal
        if turned:
            xyz, normal = xyz @ self.turn.mT, normal @ self.turn.mT
        return (1 - (model(xyz) * normal).sum(-1).square()).mean()


def test_12_in_small_normals_are_as_good_in_every_pose_and_those_of_pointnet_are_not():
    """Trained unturned; the figures on the generated shapes are in benchmarks/README.md."""
    fresh, errors = Ellipsoids(40, 1), {}
    for name in ("fa_pointnet", "pointnet"):
        torch.manual_seed(0)
        model = create_model(name, task="normals", channels=(32, 64, 128), head=(64, 64))
        optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
        for step in range(80):
            loss = Ellipsoids(16, 100 + step).loss(model.train(), turned=False)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        with torch.inference_mode():
            errors[name] = [float(fresh.loss(model.eval(), turned=turned))
                            for turned in (False, True)]
    plain, turned = errors["fa_pointnet"]
    assert plain < 0.3 and abs(plain - turned) < 1e-4  # promised: 0.01; chance: 2/3
    plain, turned = errors["pointnet"]
    assert plain < 0.3 and turned > 1.5 * plain


def test_the_published_network_for_normals_has_reflections_too():
    model = make("fa_pointnet", "normals", compat="official", preset="paper")
    xyz, r = cloud(count=40), turn(2) * MIRROR
    assert model.symmetry == "O(3)" and len(model.see(xyz).xyz) == 16
    with torch.inference_mode():
        assert same_normals(model(xyz) @ r.T, model(xyz @ r.T)) < 1e-9


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", NAMES)
def test_3_the_search_finds_no_worse_error(name, dtype):
    model = make(name, dtype=getattr(torch, dtype))
    report = measure_invariance(model, draw, rotations=16, num_clouds=2, with_normals=(True,))
    assert report.passed and report.errors["rotation"] <= report.tolerance


def draw(i):
    return cloud(count=100, batch=1, seed=i)[0], None, 0


def test_features_are_invariant_and_lone_training_clouds_are_named():
    model, xyz = make("fa_pointnet"), cloud()
    with torch.inference_mode():
        a, b = (model.forward_features(x).global_ for x in (xyz, moved(xyz)))
    assert a.shape == (2, model.body.width) and change(a, b) < 1e-9
    with pytest.raises(InputError, match="batch of one"):
        model.train()(xyz[:1])
