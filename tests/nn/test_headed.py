"""A backbone with another head keeps the contract. Numbers are those of the list of promises."""

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers.clouds import haar
from helpers.tiny import TinyHyper
from helpers.tiny_encoder import TinyEncoder
from torch import nn

from pcinv.engine.datasets import load_dataset
from pcinv.errors import ConfigError, InputError, UnknownNameError
from pcinv.models.registry import BACKBONES, create_model
from pcinv.nn.backbone import Features
from pcinv.nn.headed import Headed, _drop_head, stitched, with_head

CLASSIFIERS = [name for name, row in BACKBONES.items() if "classification" in row.tasks]
KINDS = {"matryoshka": {}, "relative": {"anchors": 6, "share": 2}}


def clouds(count=4, points=64, seed=0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    xyz = torch.randn(count, points, 3, generator=generator, dtype=torch.float64)
    xyz = xyz * torch.rand(count, 1, 3, generator=generator, dtype=torch.float64)
    return (xyz / xyz.norm(dim=-1).amax(1)[:, None, None]).to(dtype)


def tiny(kind, points=64, seed=0, **options):
    torch.manual_seed(seed)
    network = with_head(TinyEncoder(5), kind, 5, points, {**KINDS[kind], **options})
    if kind == "relative":
        network.head.set_anchors(clouds(6, points, seed=9), None)
    return network


def given(network, xyz):
    return F.normalize(xyz, dim=-1) if network.needs_normals else None


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", CLASSIFIERS)
def test_every_classifier_takes_every_head(name, kind):
    torch.manual_seed(0)
    network = with_head(create_model(name, num_classes=7), kind, 7, 128, KINDS[kind])
    if kind == "relative":
        anchors = clouds(6, 128, seed=9)
        network.head.set_anchors(anchors, given(network, anchors))
    xyz = clouds(3, 128)
    extra = {"every_prefix": True} if network.nesting else {}
    network.train()(xyz, given(network, xyz), **extra).square().sum().backward()
    for key, weight in network.named_parameters():
        assert (weight.numel() == 0) == (weight.grad is None), key  # nothing is left over, or lost
    network = network.double().eval()
    xyz = clouds(3, 128, dtype=torch.float64)
    with torch.inference_mode():
        logits = network(xyz, given(network, xyz))
        features = network.forward_features(xyz, given(network, xyz))
        torch.testing.assert_close(network.forward_head(features), logits)
        turn = torch.from_numpy(haar(np.random.default_rng(0)))
        moved = network(xyz @ turn.T, given(network, xyz @ turn.T))
    assert logits.shape == (3, 7)
    assert float((logits[0] - logits[1]).abs().max()) > 1e-6  # it is not a constant
    error = float((moved - logits).abs().max() / logits.abs().max())
    assert error > 1e-3 if network.symmetry == "none" else error < 1e-9


def test_what_the_features_need_stays_and_the_rest_takes_no_room():
    torch.manual_seed(0)
    plain = create_model("riconvpp", num_classes=7).eval()
    network = with_head(copy.deepcopy(plain), "matryoshka", 7, 128).eval()
    xyz = clouds(3, 128)
    torch.testing.assert_close(network.forward_features(xyz).global_,
                               plain.forward_features(xyz).global_, rtol=0, atol=0)
    own = sum(p.numel() for p in plain.head.parameters())
    new = sum(p.numel() for p in network.head.parameters())
    assert (sum(p.numel() for p in network.parameters()) - new
            == sum(p.numel() for p in plain.parameters()) - own)
    assert all(p.numel() == 0 for p in network.backbone.head.parameters())


def test_putting_a_head_on_takes_no_random_numbers():
    torch.manual_seed(5)
    backbone, state = TinyEncoder(5), torch.get_rng_state()
    _drop_head(backbone)
    assert torch.equal(torch.get_rng_state(), state) and backbone.training


@pytest.mark.parametrize("kind", KINDS)
def test_the_contract(kind):
    network = tiny(kind).eval()
    assert (network.task, network.symmetry, network.min_points) == ("classification", "O(3)", 4)
    assert network.hyper is network.backbone.hyper and network.num_categories == 0
    xyz = clouds()
    mask = torch.ones(4, 64, dtype=torch.bool)
    mask[1, 40:] = False
    logits = network(xyz, mask=mask)
    torch.testing.assert_close(logits[1:2], network(xyz[1:2, :40]))
    with pytest.raises(InputError):
        network(xyz[:, :3])
    with pytest.raises(InputError):
        network(xyz, mask=mask, every_prefix=True)


def test_the_logits_of_every_prefix():
    network = tiny("matryoshka").eval()
    assert network.nesting == (8, 16) and tiny("relative").nesting == ()
    every = network(clouds(), every_prefix=True)
    assert every.shape == (4, 2, 5)
    torch.testing.assert_close(every[:, -1], network(clouds()))


class TestWhatCannotBe:
    def test_an_unknown_head(self):
        with pytest.raises(UnknownNameError, match="matrioshka") as caught:
            with_head(TinyEncoder(5), "matrioshka", 5, 64)
        assert "matryoshka" in caught.value.hint

    def test_an_unknown_option(self):
        with pytest.raises(ConfigError, match="nestin") as caught:
            with_head(TinyEncoder(5), "matryoshka", 5, 64, {"nestin": [8, 16]})
        assert caught.value.where == "model.head_options.nestin"
        assert "nesting" in caught.value.hint

    def test_parts(self):
        model = create_model("riconvpp", task="part_segmentation", num_classes=5)
        with pytest.raises(ConfigError, match="for classification"):
            with_head(model, "matryoshka", 5, 64)

    def test_a_backbone_without_a_vector(self):
        class Points(TinyEncoder):
            def forward_features(self, xyz, normal=None):
                return Features(None, xyz, xyz)

        with pytest.raises(ConfigError, match="Points gives no vector"):
            with_head(Points(5), "matryoshka", 5, 64)

    def test_anchors_that_were_never_set(self):
        network = with_head(TinyEncoder(5), "relative", 5, 64, KINDS["relative"]).eval()
        with pytest.raises(InputError, match="anchors are not set"):
            network(clouds())


class TestAnchors:
    def test_in_evaluation_all_are_those_of_the_encoder_as_it_is(self):
        network = tiny("relative").train()
        for seed in range(3):
            network(clouds(seed=seed))
        network.eval()
        with torch.no_grad():
            anchors = network.forward_features(network.head.anchors).global_
            z = network.forward_features(clouds()).global_
            torch.testing.assert_close(network.head.encoded, anchors)
            torch.testing.assert_close(network(clouds()),
                                       network.head.classify(network.head.cosines(z, anchors)))

    def test_a_share_of_all_is_exact_in_training(self):
        network = tiny("relative", share=6).train()
        network.backbone.drop.p = 0.0
        both = torch.cat((clouds(), network.head.anchors))
        twin = copy.deepcopy(network)
        z = twin.forward_features(both).global_
        expected = twin.head.classify(twin.head.cosines(z[:4], z[4:]))
        torch.testing.assert_close(network(clouds()), expected)

    def test_the_encoder_learns_through_the_anchors_too(self):
        network = tiny("relative").train()
        rows = network.head.next_rows()
        before = network.head.encoded.clone()
        network(clouds()).sum().backward()
        assert network.backbone.first.weight.grad.abs().sum() > 0
        changed = (network.head.encoded != before).any(1).nonzero()[:, 0]
        assert changed.tolist() == rows.tolist() == [0, 1]

    def test_they_are_encoded_again_only_after_training(self, monkeypatch):
        network, other, calls = tiny("relative"), tiny("relative", seed=3), []
        encode = TinyEncoder.forward_features
        monkeypatch.setattr(TinyEncoder, "forward_features",
                            lambda self, *a: calls.append(len(a[0])) or encode(self, *a))
        network.eval().train().eval()
        assert calls == [6]
        network.train()(clouds())
        network.eval()
        assert calls == [6, 6, 6]  # four clouds and two anchors, then all anchors
        other.load_state_dict(network.state_dict())
        made = len(calls)
        other.eval()
        assert len(calls) == made
        torch.testing.assert_close(other.head.encoded, network.head.encoded)

    def test_normals_are_kept_where_there_are_some(self):
        network = tiny("relative")
        normal = F.normalize(network.head.anchors, dim=-1)
        assert network.head.clouds(torch.tensor([1, 2]))[1] is None
        network.head.set_anchors(network.head.anchors.clone(), normal)
        torch.testing.assert_close(network.head.clouds(torch.tensor([1, 2]))[1], normal[1:3])
        with pytest.raises(InputError, match="only one of them with normals"):
            network.train()(clouds())

    def test_training_clouds_of_another_size_are_told(self):
        with pytest.raises(InputError, match="clouds of 32 points, anchors of 64"):
            tiny("relative").train()(clouds(points=32))


def quantiles(part, each):
    """What the encoders below see of generated shapes: 66 numbers, laid out as a cloud."""
    shapes = load_dataset("shapes", split=part, num_points=256, seed=0, per_class=each,
                          val_fraction=0.0)
    seen = []
    for index in range(len(shapes)):
        xyz, normal = shapes[index].xyz.astype(np.float64), shapes[index].normal
        pairs = np.linalg.norm(xyz[:128, None] - xyz[None, 128:], axis=-1)
        facing = np.abs(normal[:128] @ normal[128:].T)
        parts = (np.linalg.norm(xyz, axis=1), pairs, facing)
        seen.append(np.concatenate([np.quantile(each, np.linspace(0, 1, 22)) for each in parts]))
    return (torch.from_numpy(np.stack(seen)).float().view(-1, 22, 3),
            torch.as_tensor(shapes.labels))


class Mlp(nn.Module):
    """Two layers on what is seen; a backbone with the contract."""

    symmetry, min_points, needs_normals = "none", 1, False
    task, num_categories, hyper = "classification", 0, TinyHyper()

    def __init__(self, width=64):
        super().__init__()
        self.body = nn.Sequential(nn.BatchNorm1d(66), nn.Linear(66, 128), nn.BatchNorm1d(128),
                                  nn.ReLU(), nn.Linear(128, width))
        self.head = nn.Linear(width, 28)

    def forward(self, xyz, normal=None, mask=None, category=None):
        return self.head(self.forward_features(xyz).global_)

    def forward_features(self, xyz, normal=None):
        z = self.body(xyz[:, :22].flatten(1))
        return Features(z, None, z[:, None])


class TestTrained:
    def train(self, seed, seen, labels, head, width=64):
        torch.manual_seed(seed)
        network, extra = Mlp(width), {}
        if head == "matryoshka":
            network, extra = with_head(network, head, 28, 22), {"every_prefix": True}
        if head == "relative":
            count = len(seen)  # fewer anchors than about six times the width do not do
            network = with_head(network, "relative", 28, 22, {"anchors": count, "share": count})
            network.head.set_anchors(seen, None)
        optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
        for _ in range(200):
            optimizer.zero_grad()
            logits = network.train()(seen + 0.03 * torch.randn_like(seen), **extra)
            each = logits.view(len(seen), -1, 28).unbind(1)
            sum(F.cross_entropy(one, labels, label_smoothing=0.1) for one in each).backward()
            optimizer.step()
        return network.eval()

    def test_11_a_head_works_on_the_encoder_of_another_training(self):
        seen, labels = quantiles("train", 15)
        fresh, truth = quantiles("test", 8)

        def accuracy(network):
            with torch.inference_mode():
                return float((network(fresh).argmax(-1) == truth).float().mean())

        first, second = (self.train(seed, seen, labels, "relative") for seed in (0, 1))
        assert accuracy(second) > 0.6
        assert accuracy(stitched(first, second)) > accuracy(second) - 0.1
        # negative control: the same with absolute vectors falls to near chance, 1 of 28
        one, two = (self.train(seed, seen, labels, "linear") for seed in (0, 1))
        assert accuracy(two) > 0.6
        one.head = two.head
        assert accuracy(one) < 0.15

    def test_13_shorter_vectors_lose_little(self):
        """At the size of this test; the figures on ModelNet10 are in benchmarks/README.md."""
        seen, labels = quantiles("train", 15)
        fresh, truth = quantiles("test", 24)
        plain, nested = [], []
        for seed in (0, 1):
            for kind, found in (("linear", plain), ("matryoshka", nested)):
                network = self.train(seed, seen, labels, kind, width=256)
                with torch.inference_mode():
                    extra = {"every_prefix": True} if kind == "matryoshka" else {}
                    logits = network(fresh, **extra).view(len(fresh), -1, 28)
                found.append((logits.argmax(-1) == truth[:, None]).float().mean(0))
        plain, nested = torch.stack(plain).mean(0), torch.stack(nested).mean(0)
        assert float(plain) > 0.8
        assert float(nested[-1]) > float(plain) - 0.01
        assert float(nested[-4]) > float(plain) - 0.03  # 32 of 256 numbers

    def test_networks_with_other_anchors_are_told(self):
        first, second = tiny("relative").eval(), tiny("relative", seed=1)
        second.head.set_anchors(clouds(6, seed=3), None)
        with pytest.raises(InputError, match="same anchors"):
            stitched(first, second.eval())
        with pytest.raises(InputError, match="same anchors"):
            stitched(tiny("matryoshka"), tiny("matryoshka"))
        assert isinstance(stitched(first, tiny("relative", seed=1).eval()), Headed)
