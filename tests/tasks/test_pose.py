"""The task pose: figures of estimated rotations, and the pairs that the engine makes."""

import numpy as np
import pytest
import torch
from helpers.tiny import TinyData, load_tiny

from pcinv.engine import datasets, evaluator
from pcinv.engine.checkpoint import find_checkpoint, load_state
from pcinv.engine.clouds import Clouds, evaluation_loader, iterate
from pcinv.engine.config import AugmentConfig, from_tree
from pcinv.engine.predict import predict
from pcinv.engine.tracking import read_lines
from pcinv.engine.trainer import train
from pcinv.errors import ConfigError, DatasetError, Interrupted, UsageError
from pcinv.geometry.rotation import axis_angle_to_matrix, is_rotation, random_rotation
from pcinv.tasks import Batch, Labels, get_task

LABELS = Labels(("chair", "table", "lamp"))
CPU = torch.device("cpu")
POSE = get_task("pose").functions


def make_batch(angles_deg, seed=0):
    """True rotations, and estimates that are off by these angles."""
    g = torch.Generator().manual_seed(seed)
    count = len(angles_deg)
    true = random_rotation(count, generator=g, dtype=torch.float64)
    axis = torch.nn.functional.normalize(
        torch.randn(count, 3, generator=g, dtype=torch.float64), dim=-1)
    off = axis_angle_to_matrix(torch.tensor(angles_deg, dtype=torch.float64).deg2rad()[:, None]
                               * axis)
    xyz = torch.rand(count, 8, 3, generator=g)
    batch = Batch(xyz, None, torch.arange(count) % 2, None, torch.arange(count), xyz, true)
    return batch, (true @ off).float()


def measured(batch, estimated, rows=slice(None)):
    state = POSE.new_state(LABELS, CPU)
    part = batch.map(lambda tensor: tensor[rows])
    POSE.update(state, estimated[rows], part, POSE.loss(estimated[rows], part, 0.0), LABELS)
    return state


def test_figures_are_those_of_the_angles():
    angles = [0.5, 4.0, 6.0, 9.0, 30.0, 120.0, 179.0]
    batch, estimated = make_batch(angles)
    found = POSE.compute(measured(batch, estimated))
    assert found["mean_deg"] == pytest.approx(np.mean(angles), abs=1e-3)
    assert found["median_deg"] == pytest.approx(9.0, abs=0.02)
    assert found["max_deg"] == pytest.approx(179.0, abs=0.02)
    assert found["within_5deg"] == 2 / 7 and found["within_10deg"] == 4 / 7
    expected = 8 / 9 * np.sin(np.radians(angles) / 2) ** 2
    assert found["loss"] == pytest.approx(expected.mean(), abs=1e-6)
    by_class = POSE.per_class(measured(batch, estimated), LABELS)
    assert by_class == {"chair": pytest.approx(np.mean(angles[::2]), abs=1e-3),
                        "table": pytest.approx(np.mean(angles[1::2]), abs=1e-3)}


def test_sums_over_batches_give_the_figures_of_the_whole():
    batch, estimated = make_batch([1.0, 7.0, 20.0, 90.0, 150.0])
    whole = measured(batch, estimated)
    parts = [measured(batch, estimated, rows) for rows in (slice(0, 2), slice(2, 5))]
    added = {name: sum(part[name] for part in parts) for name in whole}
    assert POSE.compute(added) == pytest.approx(POSE.compute(whole))
    assert get_task("pose").score in POSE.compute(whole)
    assert set(POSE.compute(POSE.new_state(LABELS, CPU)).values()) == {0.0}
    assert POSE.per_class(POSE.new_state(LABELS, CPU), LABELS) == {}


def test_a_batch_without_second_clouds_is_told():
    batch, estimated = make_batch([1.0])
    bare = Batch(batch.xyz, None, batch.label, None, batch.index)
    with pytest.raises(DatasetError, match="without a second cloud"):
        POSE.loss(estimated, bare, 0.0)


def pairs(epoch=0, seed=3, augment=None, rotation="none", data=None):
    clouds = Clouds(data or TinyData(8), rotation=rotation, seed=seed, augment=augment, pairs=True)
    return [clouds[epoch, index] for index in range(len(clouds))]


def test_the_second_cloud_is_the_first_one_turned_and_reordered():
    for item in pairs(rotation="so3", augment=AugmentConfig(dropout=0.0)):
        assert is_rotation(item.rotation, tolerance=1e-12) and item.rotation.dtype == torch.float64
        turned = item.xyz.double() @ item.rotation.T
        distance = (turned[:, None] - item.second).norm(dim=-1)
        assert distance.amin(1).max() < 1e-6 and len(distance.argmin(1).unique()) == len(turned)
        assert (turned - item.second).norm(dim=1).max() > 0.1  # rows do not belong together


def test_rotations_of_evaluation_depend_on_the_seed_and_the_index_alone():
    first = pairs()
    for a, b in zip(first, pairs(epoch=5), strict=True):
        assert torch.equal(a.rotation, b.rotation) and torch.equal(a.second, b.second)
    for a, b in zip(first, pairs(rotation="z"), strict=True):
        assert torch.equal(a.rotation, b.rotation)
    assert not torch.equal(first[0].rotation, first[1].rotation)
    assert not torch.equal(first[0].rotation, pairs(seed=4)[0].rotation)


def test_rotations_of_training_change_from_epoch_to_epoch():
    options = AugmentConfig()
    a, b = pairs(0, augment=options), pairs(1, augment=options)
    assert torch.equal(a[0].rotation, pairs(0, augment=options)[0].rotation)
    assert not torch.equal(a[0].rotation, b[0].rotation)


def test_rotations_are_uniform_over_all():
    traces = torch.stack([item.rotation.trace() for item in pairs(data=TinyData(2000, 4))])
    assert abs(float(traces.mean())) < 0.08  # the trace has variance 1
    assert float((traces < -0.9).float().mean()) > 0.05


def test_workers_bring_the_same_pairs():
    clouds = Clouds(TinyData(8), rotation="none", seed=0, pairs=True)
    alone, worked = (list(iterate(evaluation_loader(clouds, 4, workers, CPU)))
                     for workers in (0, 1))
    for a, b in zip(alone, worked, strict=True):
        assert torch.equal(a.second, b.second) and torch.equal(a.rotation, b.rotation)


@pytest.fixture
def config(monkeypatch):
    """A configuration of a small PoseNet on the tiny data set."""
    monkeypatch.setattr(datasets, "load_dataset", load_tiny)
    monkeypatch.setattr(evaluator, "load_dataset", load_tiny)

    def make(epochs=4, **sections):
        model = {"backbone": "posenet", "task": "pose",
                 "overrides": {"channels": [8, 8, 16], "hidden": 8, "representation": "9d-gs"}}
        return from_tree({
            "model": model, "data": {"num_points": 32, "protocol": "none/none"},
            "augment": {"dropout": 0.0, "shift": 0.0}, "optim": {"lr": 0.01, "warmup_epochs": 0},
            "train": {"epochs": epochs, "batch_size": 6, "device": "cpu"}, **sections})

    return make


def everything(run):
    weights, state, _ = load_state(find_checkpoint(run, "last"))
    clock = ("time_s", "clouds_per_s")
    lines = [{k: v for k, v in line.items() if k not in clock}
             for line in read_lines(run / "metrics.jsonl")]
    return {**weights.tensors, **state}, lines


def test_a_run_trains_is_measured_and_resumes_bit_for_bit(config, tmp_path):
    whole = train(config(), output=tmp_path / "whole")
    assert set(whole.metrics) == {"mean_deg", "median_deg", "max_deg", "within_5deg",
                                  "within_10deg", "loss"}

    def stop(tick):
        if tick.step == 7:
            import signal
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(Interrupted):
        train(config(), output=tmp_path / "stopped", callback=stop)
    train(resume=tmp_path / "stopped")
    (tensors, lines), (others, other_lines) = (everything(tmp_path / name)
                                               for name in ("whole", "stopped"))
    assert lines == other_lines and len(lines) == 4
    assert tensors.keys() == others.keys()
    for name, value in tensors.items():
        assert torch.equal(value, others[name]), name

    found = evaluator.evaluate(whole.path, rotation="none", seed=1)
    assert found.num_samples == 9 and set(found.per_class) == {"ball", "disc", "rod"}
    assert 0 < found.metrics["mean_deg"] <= found.metrics["max_deg"] <= 180
    assert found == evaluator.evaluate(whole.path, rotation="none", seed=1)
    assert found.metrics != evaluator.evaluate(whole.path, rotation="none", seed=2).metrics


def test_what_does_not_go_with_poses_is_told(config, tmp_path):
    run = train(config(epochs=1), output=tmp_path / "run")
    with pytest.raises(UsageError, match="two clouds"):
        predict(run.path, [np.random.default_rng(0).normal(size=(50, 3))])
    with pytest.raises(ConfigError, match="balanced"):
        train(config(epochs=1, optim={"balance": 1.0}), output=tmp_path / "other")

    from pcinv.vis.run_report import run_report

    with pytest.raises(UsageError, match="no report"):
        run_report(evaluator.prepare(run.path))
