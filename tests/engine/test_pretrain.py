"""Pretraining of LiDAR backbones: steps, views, flow, resumption, what features follow."""

import os
import signal

import numpy as np
import pytest
import torch
from helpers.tiny_streets import tiny

import pcinv
from pcinv.engine.checkpoint import load_weights
from pcinv.engine.lidar import load_pools, start_from
from pcinv.engine.lidar_eval import CHANGES, measure_equivariance
from pcinv.engine.lidar_flow import FlowStore
from pcinv.engine.lidar_scans import load_scans
from pcinv.engine.loading import build_model, load_model
from pcinv.engine.pretrain import pretrain
from pcinv.engine.pretrain_steps import PretrainLearner
from pcinv.engine.tracking import read_lines
from pcinv.errors import CheckpointError, ConfigError, Interrupted
from pcinv.losses.lidar_ssl import rotation_bin
from pcinv.tasks import Labels


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A short pretraining with all objectives."""
    return pretrain(tiny(), output=tmp_path_factory.mktemp("ssl") / "run").path


def learner_of(config, folder):
    scans, held = load_pools(config)
    torch.manual_seed(0)
    network = build_model(config, Labels(()), 0)
    return PretrainLearner(config, network, scans, held, FlowStore(folder, "ego")), network


def test_a_run_folder_like_any_other(done):
    lines = read_lines(done / "metrics.jsonl")
    assert [line["epoch"] for line in lines] == [1, 2]
    assert {"contrast", "rotation", "flow", "rotation_right", "point_spread", "cell_spread",
            "retrieved"} <= set(lines[-1])
    assert (done / "config.toml").is_file() and (done / "env.json").is_file()
    loaded = load_model(done)
    assert loaded.meta.config.model.task == "pretraining" and loaded.meta.step == 4
    measured = pcinv.evaluate(done)
    assert measured.split == "test" and measured.metrics["contrast"] > 0


def test_a_resumed_run_is_the_same_bit_for_bit(done, tmp_path):
    stops = iter([False, False, True])

    def stop(tick):
        if next(stops, False):
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(Interrupted, match="saved"):
        pretrain(tiny(), output=tmp_path / "run", callback=stop)
    assert load_weights(tmp_path / "run", "last").meta.step < 4
    pretrain(tiny(), resume=tmp_path / "run")
    mine, other = load_weights(tmp_path / "run", "last"), load_weights(done, "last")
    assert mine.meta.digest == other.meta.digest
    left = read_lines(tmp_path / "run" / "metrics.jsonl")
    for a, b in zip(left, read_lines(done / "metrics.jsonl"), strict=True):
        assert {k: v for k, v in a.items() if not k.endswith("_s")} == {
            k: v for k, v in b.items() if not k.endswith("_s")}


def test_what_is_contrastive_and_what_is_told(tmp_path):
    """Views A and B share the turn, which is told; flip, scale and shift differ."""
    learner, _ = learner_of(tiny(), tmp_path)
    views = learner.draw((0, 1), [0, 1])
    a, b = views.a.points[views.in_a][:, :3].double(), views.b.points[views.in_b][:, :3].double()
    of_a = views.a.scan[views.in_a]
    assert torch.equal(of_a, views.b.scan[views.in_b])
    for scan in range(2):
        p, q = a[of_a == scan], b[of_a == scan]
        # q = L p + t, with L a scaled rotation about z, or a mirror along the turned x axis
        ones = torch.ones(len(p), 1, dtype=torch.float64)
        fitted = torch.linalg.lstsq(torch.cat([p, ones], 1), q).solution
        assert float((torch.cat([p, ones], 1) @ fitted - q).abs().max()) < 1e-4
        linear = fitted[:3].T
        heading = torch.tensor([torch.cos(views.yaw[scan]), torch.sin(views.yaw[scan]), 0.0],
                               dtype=torch.float64)
        moved = linear @ heading  # the turned x axis stays where it is, whatever else changes
        assert float((moved / moved.norm() - heading).abs().max()) < 1e-3
        assert float((fitted[3]).norm()) > 1e-3
    assert rotation_bin(views.yaw).max() < 10
    assert len(views.flow) == len(views.before.points)


def test_objectives_are_switched_off_by_their_weight(tmp_path):
    only = tiny(pretrain={"rotation": 0.0, "flow": 0.0, "matches": 64})
    learner, network = learner_of(only, tmp_path)
    sums = learner.new_state(torch.device("cpu"))
    assert learner.draw((0,), [0]).before is None
    learner.losses(network, learner.draw((0,), [0, 1]), sums)
    assert {"contrast", "loss"} <= set(learner.compute(sums))
    assert not {"rotation", "flow"} & set(learner.compute(sums))
    with pytest.raises(ConfigError, match="no objective"):
        load_pools(tiny(pretrain={"contrast": 0.0, "rotation": 0.0, "flow": 0.0}))


def test_the_relative_angle_is_told_of_a_third_view(tmp_path):
    learner, network = learner_of(tiny(pretrain={"relative": True, "matches": 64}), tmp_path)
    views = learner.draw((0,), [0, 1])
    assert views.turned is not None
    sums = learner.new_state(torch.device("cpu"))
    learner.losses(network, views, sums).backward()
    assert network.heads.between[0].weight.grad.abs().sum() > 0
    assert network.heads.absolute[1].weight.grad is None


def test_17_no_gradient_reaches_the_target(tmp_path):
    learner, network = learner_of(tiny(), tmp_path)
    learner.losses(network, learner.draw((0,), [0, 1]),
                   learner.new_state(torch.device("cpu"))).backward()
    assert all(p.grad is None for p in network.target.parameters())
    before = [p.clone() for p in network.target.parameters()]
    learner.after(4, 4)  # gamma is 1 at the end
    assert all(torch.equal(a, b) for a, b in zip(before, network.target.parameters(), strict=True))


def test_flow_that_is_not_known_is_computed_once(tmp_path, monkeypatch):
    pool = load_scans(tiny(), "train", 16.0)
    scan = pool.before(1)
    bare = type(scan)(xyz=scan.xyz, name=scan.name, T_world_sensor=scan.T_world_sensor)
    monkeypatch.setattr(pool, "before", lambda row: bare)
    store = FlowStore(tmp_path / "flow", "ego")
    _, first = store.towards(pool, 1)
    kept = list((tmp_path / "flow").iterdir())
    assert len(kept) == 1 and first.shape == scan.xyz.shape
    still = ~np.isnan(scan.flow).any(1) & scan.is_ground
    assert np.abs(first - scan.flow)[still].max() < 0.02  # float16 of a few metres
    monkeypatch.setattr("pcinv.engine.lidar_flow.flow", None)
    assert np.array_equal(store.towards(pool, 1)[1], first)
    kept[0].write_bytes(b"damaged")
    with pytest.raises(TypeError):
        store.towards(pool, 1)


def test_the_backbone_of_a_run_begins_another(done):
    config = tiny("segmentation", model={"init": str(done)})
    network = build_model(config, Labels(("a", "b")), 0)
    start_from(network, str(done))
    theirs = load_weights(done, "last").tensors
    for name, value in network.backbone.state_dict().items():
        assert torch.equal(value, theirs[f"backbone.{name}"])
    wider = build_model(tiny("segmentation", model={"overrides": {
        "reach": 16.0, "cell": 1.0, "channels": [16, 16, 16, 16]}}), Labels(("a",)), 0)
    with pytest.raises(CheckpointError, match="other sizes"):
        start_from(wider, str(done))


def test_equivariance_is_measured(done):
    network = load_model(done).model
    pool = load_scans(load_model(done).meta.config, "test", network.hyper.reach)
    found = measure_equivariance(network, pool, scans=2, count=100)
    assert set(found) == set(CHANGES)
    assert all(0 <= row.retrieved <= 1 and row.likeness <= 1 + 1e-9 for row in found.values())
    assert found["shift by 0.2 m"].retrieved > found["turn 90 deg"].retrieved
