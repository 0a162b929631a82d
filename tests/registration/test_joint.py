"""Matches of a network that sees both clouds: registration with RoITr."""

import numpy as np
import pytest
import torch
from helpers.surfaces import body_view, two_views

import pcinv
from pcinv.errors import CheckpointError, InputError
from pcinv.models import registry
from pcinv.models.cylinder_patch import CylinderPatch
from pcinv.models.roitr import RoITr
from pcinv.models.roitr_sizes import Hyper
from pcinv.nn.standardise import standardise
from pcinv.registration import joint
from pcinv.registration.joint import match_jointly
from pcinv.registration.prepare import prepare
from pcinv.registration.shipped import load_shipped
from pcinv.registration.sight import sights

SHIFT = np.array([3.0, 1.0, 0.0])


@pytest.fixture(scope="module")
def network():
    """A small network that was not trained: equal clouds get equal descriptors all the same."""
    torch.manual_seed(0)
    network = RoITr(Hyper(widths=(16, 16, 16), layers=(1, 1, 1), neighbours=(8, 8, 8), width=16,
                          blocks=1, length=16, least=0.0, coarse="near", pairs=1,
                          distance=1e-3, symmetric=True)).eval()
    points = torch.rand(600, 3)
    survey = network.survey(points, torch.nn.functional.normalize(points - 0.5, dim=1))
    standardise(network, (network.node_head, network.point_head),
                lambda: network.describe(survey, survey))
    return network


@pytest.fixture(scope="module")
def body():
    return body_view(0.0, 4000)[0]


def seen(points, network):
    from dataclasses import replace

    clouds = [replace(prepare(cloud, 0.06), descriptor=network) for cloud in points]
    return next(iter(sights(tuple(clouds), "none"))).prepared()


def test_equal_clouds_match_in_place(network, body):
    """Patches are 0.4 wide; which point of one it is, a network without training cannot tell."""
    x, y = match_jointly(*seen((body + SHIFT, body), network), 4000)
    assert len(x) > 300 and np.median(np.linalg.norm(x - y, axis=1)) < 0.1
    assert len(np.unique(np.c_[x, y].round(9), axis=0)) == len(x)  # each pair once
    other = body_view(0.0, 4000, seed=5)[0]  # the negative control: another body
    x, y = match_jointly(*seen((other, body), network), 4000)
    assert len(x) and np.median(np.linalg.norm(x - y, axis=1)) > 0.3


def test_the_most_confident_come_first(network, body):
    clouds = seen((body, body), network)
    few, all_ = (match_jointly(*clouds, limit) for limit in (50, 4000))
    assert len(few[0]) == 50 and np.array_equal(few[0], all_[0][:50])


@pytest.mark.parametrize("scale", [1.0, 1000.0])
def test_registration_by_its_matches_alone(network, body, scale):
    found = pcinv.register(scale * (body + SHIFT), scale * body, method="roitr",
                           descriptor=network)
    assert np.abs(found.transform - np.array(
        [[1, 0, 0, -3 * scale], [0, 1, 0, -scale], [0, 0, 1, 0], [0, 0, 0, 1]])).max() < (
        1e-3 * scale)
    assert found.method == "roitr" and found.features == "roitr"
    assert any("RoITr" in stage.words for stage in found.stages)


def test_auto_takes_it_where_histograms_leave_a_doubt(network, body):
    other = body_view(0.0, 4000, seed=5)[0]
    found = pcinv.register(other, body, descriptor=network)
    assert found.verdict != "trusted"
    assert any("RoITr" in stage.words for stage in found.stages)
    assert not any("patches" in stage.words for stage in found.stages if stage.name == "features")


def test_what_does_not_fit_is_named(body, network, monkeypatch):
    views = two_views()
    with pytest.raises(InputError, match="CylinderPatch matches no pairs"):
        pcinv.register(views.source, views.target, method="roitr", descriptor=CylinderPatch())
    with pytest.raises(InputError, match="RoITr describes no patches"):
        pcinv.register(views.source, views.target, method="patch", descriptor=network)
    monkeypatch.setattr(joint, "MOST_POINTS", 100)
    with pytest.raises(InputError, match="at most 100") as caught:
        pcinv.register(body, body, method="roitr", descriptor=network)
    assert caught.value.where == "source" and "voxel" in caught.value.hint


def test_auto_keeps_the_histograms_answer_where_clouds_are_too_large(network, body, monkeypatch):
    other = body_view(0.0, 4000, seed=5)[0]
    base = pcinv.register(other, body, method="sc2")
    assert base.verdict != "trusted"  # a doubt, so the network is asked
    monkeypatch.setattr(joint, "MOST_POINTS", 100)
    found = pcinv.register(other, body, descriptor=network)
    assert np.array_equal(found.transform, base.transform)
    assert any("RoITr left out" in stage.words for stage in found.stages)


def test_weights_that_did_not_come_along(body, monkeypatch, tmp_path):
    monkeypatch.setattr(registry, "WEIGHTS", tmp_path)
    load_shipped.cache_clear()
    try:
        with pytest.raises(CheckpointError, match="cannot be read") as caught:
            pcinv.register(body, body, method="roitr")
        assert "--weights" in caught.value.hint
    finally:
        load_shipped.cache_clear()


def test_the_weights_of_the_package_are_those_of_their_card():
    import hashlib

    file = registry.weights_file("roitr")
    assert hashlib.sha256(file.read_bytes()).hexdigest() in file.with_suffix(".md").read_text()
    assert file.stat().st_size < 5_000_000
    network = load_shipped("roitr")
    assert not network.training and sum(p.numel() for p in network.parameters()) == 1_863_105
    for name, value in pcinv.load_model(file).model.state_dict().items():
        assert torch.equal(network.state_dict()[name], value.float()), name
