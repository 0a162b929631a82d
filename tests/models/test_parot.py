"""PaRot. Numbers in names are those of the list of promises.

Not here: 6 in full, 10 and 11 take trainings of hours, or data that cannot be had without asking.
"""

import copy
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers.clouds import KINDS, make_cloud

from pcinv.errors import ConfigError, InputError, ShapeError, UnknownNameError
from pcinv.geometry.frames import pca_frame
from pcinv.geometry.rotation import geodesic_angle, is_rotation, random_rotation
from pcinv.models.parot_parts import (
    DisentangleNet,
    Patches,
    exact_frames,
    extract_patches,
    neighbour_poses,
    point_poses,
    pose_relation,
    predicted_frames,
    siamese,
)
from pcinv.models.registry import create_model
from pcinv.nn.headed import with_head
from pcinv.ops import track_margins
from pcinv.tasks import Batch, task_of

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import plain_parot

TASKS = {"classification": {"num_classes": 40},
         "part_segmentation": {"num_classes": 50, "num_categories": 16}}
SMALL = {"patches": 24, "near": 12, "whole": 8, "neighbours": 6, "nearest": 4}


def cloud(count=200, batch=2, seed=0, dtype=torch.float64):
    """Points in a bumpy ball without symmetries."""
    g = torch.Generator().manual_seed(seed)
    direction = F.normalize(torch.randn(batch, count, 3, generator=g, dtype=torch.float64), dim=-1)
    bumps = 1 + 0.3 * (3 * direction[..., :1] + direction[..., 1:2]).sin()
    return (direction * bumps * torch.tensor([0.8, 0.6, 0.4])).to(dtype)


def uneven(model, low=-1.0):
    """Give normalisations the statistics of some clouds, as training does, and uneven scales.

    Answers of networks as they are made hardly differ from cloud to cloud, and would hide errors.
    """
    norms = [m for m in model.modules() if isinstance(m, torch.nn.BatchNorm1d)]
    for module in norms:
        torch.nn.init.uniform_(module.weight, low, 1)
        torch.nn.init.normal_(module.bias, std=0.1)
        module.momentum = 1.0
    shapes = cloud(100, batch=8, seed=9)
    shapes = shapes * (0.2 + torch.rand(8, 1, 3, generator=torch.Generator().manual_seed(0)))
    with torch.no_grad():
        model.double().train()(shapes, category=torch.arange(8))
    model.take_auxiliary()
    for module in norms:
        module.momentum = 0.1
    return model


def make(task="classification", dtype=torch.float64, seed=0, low=-1.0, **options):
    torch.manual_seed(seed)
    model = create_model("parot", task=task, **{"preset": "light", **TASKS[task], **options})
    return uneven(model, low).to(dtype).eval()


def told(task, batch=2):
    return torch.arange(batch) % 16 if task == "part_segmentation" else None


def change(a, b):
    """Largest difference of answers, relative to the largest answer."""
    return float((a - b).abs().max() / a.abs().max())


def rotations(count, seed=0):
    return random_rotation(count, generator=torch.Generator().manual_seed(seed),
                           dtype=torch.float64)


class Stub(torch.nn.Module):
    """Content that no rotation changes, directions that turn with the patch."""

    def __init__(self, width):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.linspace(0.5, 3, width, dtype=torch.float64))
        self.last = [None]

    def forward(self, patch):
        length = patch.norm(dim=-1, keepdim=True)
        z = (length * self.scale).sin().mean(1)
        towards = [((length * power * self.scale.mean()).cos() * patch).sum(1) for power in (2, 5)]
        return z, torch.stack([F.normalize(v, dim=-1) for v in towards], 1)


def with_stubs(task, **options):
    model = make(task, frames="learned", **options)
    width = model.hyper.points[-1]
    model.near, model.whole = Stub(width), Stub(width)
    return model


def test_1_shapes_of_patches_pairs_and_answers():
    xyz = cloud(1024, dtype=torch.float32)
    cut = extract_patches(xyz.double(), 256, 64, 32)
    assert cut.near.shape == (2, 256, 64, 3) and cut.whole.shape == (2, 256, 32, 3)
    model = make(preset="paper", dtype=torch.float32)
    z = torch.zeros(2, 256, 128)
    pairs = plain_parot.edges(z, cut.centre.float(), torch.eye(3).expand(2, 256, 3, 3), 32)
    assert pairs.shape == (2, 272, 256, 32)
    with torch.inference_mode():
        assert model(xyz).shape == (2, 40)
        assert model.forward_features(xyz).global_.shape == (2, 1024)
        parts = make("part_segmentation", preset="paper", dtype=torch.float32)
        assert parts(cloud(2048, dtype=torch.float32), category=told("part_segmentation")
                     ).shape == (2, 2048, 50)


@pytest.mark.parametrize("task, options, count", [
    ("classification", {"frames": "learned"}, 1_630_888),
    ("classification", {"compat": "official"}, 1_630_888),
    ("part_segmentation", {"frames": "learned"}, 1_534_738),
    ("classification", {}, 1_588_776),  # without the layers that predict directions
    ("part_segmentation", {}, 1_492_626),
])
def test_2_parameter_counts(task, options, count):
    model = create_model("parot", task=task, preset="paper", **TASKS[task], **options)
    assert sum(p.numel() for p in model.parameters()) == count
    predicts = 79_744 if options else 58_688
    for net in (model.near, model.whole):
        assert sum(p.numel() for p in net.parameters()) == predicts


def test_3_pose_features_are_invariant_and_swap():
    a, b, c, d = rotations(4 * 50).view(4, 50, 3, 3)
    t = torch.randn(50, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    base = pose_relation(a, b, t)
    assert base.shape == (50, 16)
    turned = (t[:, None] * c).sum(-1)  # R t
    assert (pose_relation(a @ c.mT, b @ c.mT, turned) - base).abs().max() < 1e-12
    swapped = pose_relation(b, a, -t)
    block = base[:, :9].unflatten(1, (3, 3)).mT.flatten(1)
    expected = torch.cat((block, -base[:, 12:15], -base[:, 9:12], base[:, 15:]), 1)
    assert (swapped - expected).abs().max() < 1e-12
    # a frame that does not turn is seen
    assert (pose_relation(a @ c.mT, d, turned) - base).abs().max() > 0.1


def test_3_pairs_of_neighbours_and_points_have_the_same_features():
    xyz = cloud(40)
    frame = rotations(80).view(2, 40, 3, 3)
    index = torch.randint(40, (2, 40, 5), generator=torch.Generator().manual_seed(0))
    rows = torch.arange(2)[:, None, None]
    offset = xyz[rows, index] - xyz[:, :, None]
    mine, other = frame[:, :, None].expand(-1, -1, 5, -1, -1), frame[rows, index]
    expected = pose_relation(mine, other, offset)
    got = neighbour_poses(xyz, frame, index)
    block = expected[..., :9].unflatten(-1, (3, 3)).mT.flatten(-2)  # O_j O_i^T
    assert (got[..., :9] - block).abs().max() < 1e-12
    assert (got[..., 9:] - expected[..., 9:]).abs().max() < 1e-12
    seen = point_poses(xyz, xyz, (frame, frame), index)
    own = pose_relation(other, other, -offset)
    assert (seen - own[..., [15, 9, 10, 11, 9, 10, 11]]).abs().max() < 1e-12


def same_under_changes(model, task, tolerance):
    xyz, category = cloud(), told(task)
    with torch.inference_mode():
        base = model(xyz, category=category)
        for i, r in enumerate(rotations(4)):
            assert change(base, model(xyz @ r.T, category=category)) < tolerance
            g = torch.Generator().manual_seed(i)
            shift = 10 * torch.randn(3, generator=g, dtype=torch.float64)
            assert change(base, model(xyz + shift, category=category)) < tolerance
            p = torch.randperm(xyz.shape[1], generator=g)
            expected = base[:, p] if task == "part_segmentation" else base
            assert change(expected, model(xyz[:, p], category=category)) < tolerance


@pytest.mark.parametrize("task", TASKS)
def test_4_a_perfectly_equivariant_network_of_patches_makes_all_of_it_invariant(task):
    same_under_changes(with_stubs(task, **SMALL), task, 1e-9)
    with pytest.raises(AssertionError):  # and an untrained one does not
        same_under_changes(make(task, frames="learned", **SMALL), task, 1e-4)


@pytest.mark.parametrize("task", TASKS)
def test_5_computed_frames_make_it_exact(task):
    same_under_changes(make(task, **SMALL), task, 1e-9)


@pytest.mark.parametrize("preset", ["light", "paper"])
def test_5_a_hundred_rotations_in_single_precision(preset):
    model = make(preset=preset, dtype=torch.float32, low=0.5)
    xyz = cloud(512 if preset == "light" else 128, batch=1, dtype=torch.float32)
    with torch.inference_mode():
        base = model(xyz)
        turned = (xyz.double() @ rotations(100).mT).float()
        worst = max(change(base, logits[None]) for logits in torch.cat(
            [model(part) for part in turned.split(20)]))
    assert worst < 1e-5


def test_5_a_mirror_image_gets_another_answer():
    model, xyz = make(), cloud()
    mirror = torch.tensor([1.0, 1.0, -1.0], dtype=torch.float64)
    with torch.inference_mode():
        assert change(model(xyz), model(xyz * mirror)) > 1e-3


@pytest.mark.parametrize("shape", ["bumpy", "flat", "cube", "sphere"])
def test_5_computed_frames_turn_with_the_cloud(shape):
    """Flat patches too, of which a principal axis has no side: the control takes one."""
    xyz = cloud(300)
    if shape == "flat":
        xyz = xyz * torch.tensor([1.0, 1.0, 0.0])
    elif shape == "cube":
        xyz = xyz / xyz.abs().amax(-1, keepdim=True)
    elif shape == "sphere":
        xyz = F.normalize(xyz, dim=-1)
    xyz = xyz - xyz.mean(1, keepdim=True)
    cut = extract_patches(xyz, 40, 16, 12)
    near, whole = exact_frames(cut)
    assert is_rotation(near, tolerance=1e-12).all() and is_rotation(whole, tolerance=1e-12).all()
    flipped = 0.0
    for r in rotations(5):
        turned = Patches(*(part @ r.T for part in cut))
        for frame, other in zip((near, whole), exact_frames(turned), strict=True):
            assert (other - frame @ r.T).abs().max() < 1e-9
        axes, turned_axes = (pca_frame(part.near.flatten(0, 1)).axes for part in (cut, turned))
        flipped = max(flipped, float((turned_axes - r @ axes).abs().max()))
    assert flipped > 1


def test_5_frames_move_little_where_points_move_little():
    """Of all patches of noisy faces of a cube few frames jump; most principal axes do."""
    g = torch.Generator().manual_seed(0)
    xyz = cloud(600, batch=4)
    xyz = xyz / xyz.abs().amax(-1, keepdim=True)
    cut = extract_patches(xyz - xyz.mean(1, keepdim=True), 60, 24, 16)
    noise = 1e-4 * torch.randn(cut.near.shape, generator=g, dtype=torch.float64)
    near, _ = exact_frames(cut)
    moved, _ = exact_frames(cut._replace(near=cut.near + noise))
    assert (geodesic_angle(near, moved) > 0.05).double().mean() < 0.01


def test_5_closeness_of_frames_to_breaking_is_recorded():
    model, xyz = make(**SMALL), cloud()
    with torch.inference_mode():
        with track_margins() as wide:
            model(xyz)
        with track_margins() as none:  # all on one line: no second direction
            model(xyz * torch.tensor([1.0, 0.0, 0.0]))
    assert wide.smallest > 1e-9 > none.smallest


def test_6_in_small_the_losses_make_directions_turn_with_patches():
    torch.manual_seed(0)
    net = DisentangleNet((16, 32, 32), 1, (16,))
    g = torch.Generator().manual_seed(0)
    patch = torch.randn(64, 8, 3, generator=g) * torch.tensor([1.0, 0.6, 0.3])
    patch = patch + 0.5 * torch.rand(64, 1, 3, generator=g)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)

    def error():
        """Mean angle between directions of turned patches and turned directions, degrees."""
        r = rotations(len(patch)).float()
        with torch.no_grad():
            _, d = net.eval()(patch)
            _, turned = net((r[:, None] @ patch[..., None])[..., 0])
        cosine = ((r[:, None] @ d[..., None])[..., 0] * turned).sum(-1)
        return float(torch.rad2deg(cosine.clamp(-1, 1).acos()).mean())

    before = error()
    for _ in range(250):
        _, _, loss = siamese(net.train(), patch, (1.0, 0.2, 0.0))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert before > 60 and error() < 30


def test_7_predicted_frames_are_rotations_also_of_near_parallel_directions():
    g = torch.Generator().manual_seed(0)
    d = F.normalize(torch.randn(500, 2, 3, generator=g), dim=-1)
    d[100:, 1] = F.normalize(d[100:, 0] + 1e-3 * torch.randn(400, 3, generator=g), dim=-1)
    d.requires_grad_()
    frames = predicted_frames(d)
    assert (frames @ frames.mT - torch.eye(3)).abs().max() < 1e-5
    assert (torch.linalg.det(frames) - 1).abs().max() < 1e-5
    (frames * torch.randn(3, 3, generator=g)).sum().backward()
    assert torch.isfinite(d.grad).all()
    raw = predicted_frames(d.detach(), raw=True)  # as published: no rotations
    assert (raw @ raw.mT - torch.eye(3)).abs().max() > 0.1


def test_8_the_loss_is_zero_for_a_turned_copy_and_reaches_both_branches():
    stub = Stub(8)
    patch = cloud(12, batch=30)
    _, back, loss = siamese(stub, patch, (1.0, 0.0, 0.5))
    assert float(loss.detach()) < 1e-20
    assert (back - stub(patch)[1]).abs().max() < 1e-12  # turned back
    seen = []

    class Recorded(DisentangleNet):
        def forward(self, points):
            z, d = super().forward(points)
            d.retain_grad()
            seen.append(d)
            return z, d

    net = Recorded((8, 8), 1, (8,)).double()
    _, _, loss = siamese(net, patch, (1.0, 0.0, 0.0))
    loss.backward()
    assert float(loss.detach()) > 0.01 and len(seen) == 2
    assert all(float(d.grad.abs().sum()) > 0 for d in seen)
    _, _, more = siamese(Stub(8), patch, (0.0, 1.0, 0.0))  # x . y is not zero
    assert float(more.detach()) > 1e-3


def test_8_training_takes_the_losses_and_evaluation_has_none():
    model = make(frames="learned", dropout=0.0, **SMALL).train()
    xyz = cloud(60, batch=4)
    batch = Batch(xyz, None, torch.arange(4), None, torch.arange(4))
    task = task_of("classification", model).functions
    torch.manual_seed(1)
    logits = model(xyz)
    losses = task.loss(logits, batch, 0.0)
    plain = task_of("classification", torch.nn.Identity()).functions.loss(logits, batch, 0.0)
    extra = (losses - plain).detach()
    assert float(extra.min()) > 1e-3 and float(extra.max() - extra.min()) < 1e-12
    assert torch.equal(task.loss(logits, batch, 0.0), plain)  # once
    losses.sum().backward()
    assert all(p.grad is not None for p in model.parameters())
    copy.deepcopy(model)  # nothing of the pass stays behind
    model.eval()(xyz)
    assert model.take_auxiliary() is None
    exact = make(**SMALL).train()
    exact(xyz)
    assert exact.take_auxiliary() is None
    headed = with_head(make(frames="learned", **SMALL), "matryoshka", 40, 60).train()
    shown = headed.double()(xyz, every_prefix=True)
    losses = task_of("classification", headed).functions.loss(shown, batch, 0.0)
    assert float(losses.detach().min()) > 0
    assert headed.backbone.take_auxiliary() is None  # taken


@pytest.mark.parametrize("options", [{}, {"frames": "learned"}])
@pytest.mark.parametrize("task", TASKS)
def test_9_evaluation_repeats_bit_for_bit_and_takes_one_cloud(task, options):
    model, xyz, category = make(task, **options, **SMALL), cloud(), told(task)
    with torch.inference_mode():
        first = model(xyz, category=category)
        assert torch.equal(first, model(xyz, category=category))
        alone = model(xyz[1:], category=None if category is None else category[1:])
        assert change(first[1:], alone) < 1e-12
    official = make(task, compat="official", **SMALL)  # P2: a random start
    with torch.inference_mode():
        assert change(official(xyz, category=category), official(xyz, category=category)) > 1e-6


def test_12_points_take_from_the_patches_that_are_truly_near():
    model, xyz = make("part_segmentation", **SMALL), cloud()
    with torch.inference_mode():
        features = model.forward_features(xyz)
        local = xyz - xyz.mean(1, keepdim=True)
        cut = extract_patches(local, 24, 12, 8)
        own = torch.cdist(cut.centre, local).argmin(-1)  # which points are centres
        nearest = features.index.gather(1, own[..., None].expand(-1, -1, 4))[..., 0]
        assert torch.equal(nearest, torch.arange(24).expand(2, 24))
        assert features.pose.gather(1, own[..., None, None].expand(-1, -1, 4, 7))[
            ..., 0, :].abs().max() < 1e-12
        projected = make("part_segmentation", compat="official", **SMALL).forward_features(xyz)
    assert projected.pose[..., 0].min(-1).values.amax() > 0.1  # P1: no point is at its patch


# an independent computation in double precision


class Golden:
    """PaRot in numpy from the formulas, one cloud and one patch at a time."""

    def __init__(self, model):
        self.w = {k: v.double().numpy() for k, v in model.state_dict().items()}
        self.h = model.hyper

    def layer(self, name, x, slope=0.0):
        y = x @ self.w[f"{name}.linear.weight"].T
        y = (y - self.w[f"{name}.norm.running_mean"]) / np.sqrt(
            self.w[f"{name}.norm.running_var"] + 1e-5)
        y = y * self.w[f"{name}.norm.weight"] + self.w[f"{name}.norm.bias"]
        return np.where(y > 0, y, slope * y)

    def chain(self, name, x, count, slope=0.0):
        for i in range(count):
            x = self.layer(f"{name}.{i}", x, slope)
        return x

    def content(self, net, patch):
        x = self.chain(f"{net}.points", patch, len(self.h.points) - 1)
        return self.chain(f"{net}.content", self.layer(f"{net}.top", x).max(0), 2)

    def pairs(self, net, known, pose, slope):
        x = np.concatenate([known, self.layer(f"{net}.embed", pose, slope)], 1)
        x = self.layer(f"{net}.first", x)
        x = self.chain(f"{net}.inner", x, len(self.h.pairs) - 2)
        return self.layer(f"{net}.top", x)

    def __call__(self, xyz, category=None):
        h, n = self.h, len(xyz)
        xyz = xyz - xyz.mean(0)
        s, k, g = min(h.patches, n), min(h.near, n), min(h.whole, n)
        order, nearest2 = [int(np.argmax((xyz**2).sum(1)))], np.full(n, np.inf)
        while len(order) < max(s, g):
            nearest2 = np.minimum(nearest2, ((xyz - xyz[order[-1]]) ** 2).sum(1))
            order.append(int(np.argmax(nearest2)))
        centre, few = xyz[order[:s]], xyz[order[:g]]
        size = np.linalg.norm(centre, axis=1).max()
        z, of_whole, frames = [], [], []
        for c in centre:
            near = xyz[np.argsort(np.linalg.norm(xyz - c, axis=1))[:k]] - c
            d = np.linalg.norm(near, axis=1)
            weight = (d.max() - d) / (d.max() - d).sum()
            mean = weight @ near / d.max()
            spread = (near.T * weight) @ near
            out = c / size
            normal = np.linalg.inv(spread / np.trace(spread) + 0.001 * np.eye(3)) @ out
            normal /= np.linalg.norm(normal)
            found = []
            for first, second in ((normal, mean), (out, normal + mean)):
                x = first / np.linalg.norm(first)
                y = second - (second @ x) * x
                y /= np.linalg.norm(y)
                found.append(np.stack([x, y, np.cross(x, y)]))
            frames.append(found)
            z.append(self.content("near", near @ found[0].T))
            of_whole.append(self.content("whole", (few - c) @ found[1].T))
        of_near = []
        for i, c in enumerate(centre):
            known, pose = [], []
            for j in np.argsort(np.linalg.norm(centre - c, axis=1))[: h.neighbours]:
                t = centre[j] - c
                unit = t / max(np.linalg.norm(t), 1e-300)
                oi, oj = frames[i][0], frames[j][0]
                known.append([*z[j], *(z[j] - z[i])])
                pose.append([*(oj @ oi.T).ravel(), *(oi @ unit), *(oj @ unit), np.linalg.norm(t)])
            of_near.append(self.pairs("intra.pairs", np.array(known), np.array(pose), 0.0).max(0))
        lie = []
        for c, (near, whole) in zip(centre, frames, strict=True):
            r = np.linalg.norm(c)
            lie.append([r, *(near @ whole.T).ravel(), *(near @ c / r), *(whole @ c / r)])
        lie, own = np.array(lie), np.concatenate([of_near, of_whole], 1)
        x = np.concatenate([own, self.layer("embed", lie, 0.2)], 1)
        top = self.chain("encoder", x, len(h.encoder), 0.2).max(0)
        if category is None:
            x = top[None]
            for i in range(len(h.head)):
                x = self.layer(f"head.hidden.{i}", x, 0.2)
            return (x @ self.w["head.last.weight"].T + self.w["head.last.bias"])[0]
        known = [np.tile(top, (s, 1)), own, self.layer("embed_root", lie, 0.2)]
        patch = self.chain("root", np.concatenate(known, 1), len(h.root))
        rows = []
        for q in xyz:
            known, pose = [], []
            for j in np.argsort(np.linalg.norm(centre - q, axis=1))[: h.nearest]:
                t = q - centre[j]
                unit = t / max(np.linalg.norm(t), 1e-300)
                known.append([*patch[j], *np.eye(16)[category]])
                pose.append([np.linalg.norm(t), *(frames[j][0] @ unit), *(frames[j][1] @ unit)])
            rows.append(self.pairs("head.pairs", np.array(known), np.array(pose), 0.2).sum(0))
        x = self.chain("head.head", np.array(rows), len(h.head))
        return x @ self.w["head.last.weight"].T + self.w["head.last.bias"]


@pytest.mark.parametrize("task, sizes", [
    ("classification", SMALL), ("part_segmentation", SMALL),
    ("classification", {**SMALL, "patches": 99, "near": 99, "whole": 99}),  # more than points
])
def test_answers_equal_an_independent_computation_in_numpy(task, sizes):
    model, xyz, category = make(task, **sizes), cloud(50), told(task)
    golden = Golden(model)
    with torch.inference_mode():
        got = model(xyz + 3, category=category)
    for i, points in enumerate(xyz.numpy()):
        expected = torch.from_numpy(golden(points, None if category is None else int(category[i])))
        assert change(expected, got[i]) < 1e-9


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("task, frames", [
    ("classification", "exact"), ("classification", "learned"), ("part_segmentation", "exact"),
])
def test_answers_and_gradients_equal_the_layer_by_layer_computation(task, frames, training):
    model = make(task, frames=frames, dropout=0.0, **SMALL).train(training)
    other = copy.deepcopy(model)
    xyz, category = cloud(80, batch=4), told(task, 4)
    torch.manual_seed(3)
    a = model(xyz, category=category)
    own = model.take_auxiliary()
    torch.manual_seed(3)
    b, losses = plain_parot.forward(other, xyz, category)
    assert change(b, a) < 1e-9
    target = torch.arange(4) if a.dim() == 2 else torch.arange(320) % 50
    (F.cross_entropy(a.flatten(0, -2), target) + (0.0 if own is None else own)).backward()
    (F.cross_entropy(b.flatten(0, -2), target) + losses).backward()
    for (name, p), q in zip(model.named_parameters(), other.parameters(), strict=True):
        if q.grad is None:  # of the second branch, in evaluation
            continue
        scale = float(q.grad.abs().max()) + 1e-6
        assert float((p.grad - q.grad).abs().max()) / scale < 1e-6, name
    if training:
        for p, q in zip(model.buffers(), other.buffers(), strict=True):
            if p.dtype.is_floating_point:
                assert torch.allclose(p, q, rtol=1e-9, atol=1e-12)


# the contract, and the published arithmetic


def test_the_published_arithmetic_shows_its_defects():
    xyz = cloud()

    def answers(model, *clouds):
        found = []
        for points in clouds:
            torch.manual_seed(0)  # the same random starts
            with torch.inference_mode():
                found.append(model(points))
        return found

    official = make(compat="official", **SMALL)
    assert official.symmetry == "none" and make(frames="learned").symmetry == "none"
    base, moved = answers(official, xyz, xyz + 0.1)
    assert change(base, moved) > 1e-3  # P3
    r = rotations(1)[0]
    base, turned = answers(official, xyz, xyz @ r.T)
    assert change(base, turned) > 1e-3
    # all that is left of invariance is up to the network of patches
    official.near, official.whole = (Stub(official.hyper.points[-1]) for _ in range(2))
    base, turned = answers(official, xyz, xyz @ r.T)
    assert change(base, turned) < 1e-9


def test_averaging_over_rotations_makes_predicted_frames_depend_less_on_the_pose():
    xyz, r = cloud(dtype=torch.float64), rotations(1, seed=5)[0]
    errors = []
    for count in (0, 24):
        model = make(frames="learned", tta_rotations=count, **SMALL)
        with torch.inference_mode():
            errors.append(change(model(xyz), model(xyz @ r.T)))
            assert torch.equal(model(xyz), model(xyz))
    assert errors[1] < errors[0] / 2


@pytest.mark.parametrize("task", TASKS)
def test_batch_mates_and_padding_change_nothing(task):
    model = make(task, **SMALL)
    small, large = cloud(80, batch=1), cloud(120, batch=1, seed=1)
    xyz, mask = torch.full((2, 120, 3), 9.0).double(), torch.zeros(2, 120, dtype=torch.bool)
    where = torch.randperm(120, generator=torch.Generator().manual_seed(0))[:80].sort().values
    xyz[0, where], mask[0, where] = small[0], True
    xyz[1], mask[1] = large[0], True
    category = told(task)
    with torch.inference_mode():
        got = model(xyz, mask=mask, category=category)
        alone = [model(c, category=None if category is None else category[i : i + 1])[0]
                 for i, c in enumerate((small, large))]
        mates = model(cloud(80, batch=7), category=told(task, 7))
        order = torch.tensor([3, 0, 5])
        some = model(cloud(80, batch=7)[order],
                     category=None if category is None else told(task, 7)[order])
    assert change(mates[order], some) < 1e-12
    if task == "part_segmentation":
        assert change(alone[0], got[0, where]) < 1e-12 and not got[0, ~mask[0]].any()
    else:
        assert change(alone[0], got[0]) < 1e-12
    assert change(alone[1], got[1]) < 1e-12
    with pytest.raises(InputError, match="different size"):
        model.train()(xyz, mask=mask, category=category)


@pytest.mark.parametrize("kind", KINDS)
def test_hostile_clouds_give_finite_answers_and_gradients(kind):
    xyz = torch.from_numpy(np.stack([make_cloud(kind, 40, seed) for seed in range(3)]))
    for task in TASKS:
        for frames in ("exact", "learned"):
            model = make(task, frames=frames, **SMALL).train()
            out = model(xyz, category=told(task, 3))
            assert torch.isfinite(out).all()
            more = model.take_auxiliary()
            (out.square().mean() + (0 if more is None else more)).backward()
            for parameter in model.parameters():
                assert parameter.grad is not None and torch.isfinite(parameter.grad).all()


def test_few_points_equal_points_and_far_points():
    model = make(dtype=torch.float32)
    with torch.inference_mode():
        for xyz in (torch.zeros(2, 7, 3), cloud(4, dtype=torch.float32)):
            assert torch.isfinite(model(xyz)).all()
        xyz = (cloud(300) / 2**-10).round() * 2**-10  # keeps its bits when shifted
        near, far = model(xyz.float()), model((xyz + 4096).float())
    assert change(near, far) < 1e-5


def test_gradients_reach_the_points_and_are_finite():
    for task in TASKS:
        model, xyz = make(task, **SMALL), cloud(64).requires_grad_()
        model(xyz, category=told(task)).square().sum().backward()
        assert torch.isfinite(xyz.grad).all() and (xyz.grad != 0).any()


def test_the_vector_to_search_with_is_that_of_the_head():
    model, xyz = make(), cloud()
    with torch.inference_mode():
        features = model.forward_features(xyz)
        assert torch.equal(model.head(features.global_), model(xyz))
        turned = model.forward_features(xyz @ rotations(1)[0].T + 2)
        assert change(features.global_, turned.global_) < 1e-9
        other = model.forward_features(cloud(seed=4))
        assert change(features.global_, other.global_) > 1e-2


def test_the_category_decides_where_the_network_is_told_one():
    model, xyz = make("part_segmentation", **SMALL), cloud(60)
    with torch.inference_mode():
        a = model(xyz, category=torch.tensor([0, 1]))
        b = model(xyz, category=torch.tensor([2, 1]))
    assert not torch.allclose(a[0], b[0]) and torch.allclose(a[1], b[1])
    with pytest.raises(InputError, match="category"):
        model(xyz)
    alone = make("part_segmentation", num_categories=0, **SMALL)
    assert alone(xyz).shape == (2, 60, 50)


@pytest.mark.parametrize("xyz, error, said", [
    (torch.zeros(2, 10, 2), ShapeError, "expected shape"),
    (torch.zeros(10, 3), ShapeError, "expected shape"),
    (torch.zeros(2, 3, 3), InputError, "3 points"),
    (torch.full((2, 10, 3), torch.nan), InputError, "not finite"),
])
def test_bad_points_are_named(xyz, error, said):
    with pytest.raises(error, match=said):
        make()(xyz)


def test_bad_choices_are_named():
    for options, error in (({"frames": "exakt"}, UnknownNameError),
                           ({"compat": "fix"}, UnknownNameError),
                           ({"patch": 3}, ConfigError), ({"task": "pose"}, UnknownNameError)):
        with pytest.raises(error) as caught:
            create_model("parot", **options)
        assert caught.value.hint
    with pytest.raises(InputError, match="batch of one"):
        make().train()(cloud(batch=1))


@pytest.mark.parametrize("frames", ["exact", "learned"])
@pytest.mark.parametrize("task", TASKS)
def test_mixed_precision_leaves_the_geometry_alone(task, frames, monkeypatch):
    from pcinv.models import parot

    model = make(task, frames=frames, dtype=torch.float32, **SMALL).train()
    seen = []

    def spy(run):
        def watched(*arguments):
            seen.append(run(*arguments))
            return seen[-1]
        return watched

    for name in ("neighbour_poses", "pose_relation", "point_poses"):
        monkeypatch.setattr(parot, name, spy(getattr(parot, name)))
    xyz = cloud(64, batch=4, dtype=torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = model(xyz, category=told(task, 4))
    assert logits.dtype == torch.bfloat16 and {t.dtype for t in seen} == {torch.float32}
    more = model.take_auxiliary()
    (logits.float().square().mean() + (0 if more is None else more)).backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())
    if frames == "exact":
        monkeypatch.undo()
        with torch.inference_mode():
            model.eval()
            exact = [model.describe(xyz.double()).near, None]
            with torch.autocast("cpu", dtype=torch.bfloat16):
                exact[1] = model.describe(xyz.double()).near
        assert torch.equal(*exact)
