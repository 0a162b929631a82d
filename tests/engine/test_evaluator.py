"""Evaluation: deterministic, on data with the network's own classes."""

import pytest
from helpers.tiny import TinyData, TinyNetwork

from pcinv.engine import evaluator
from pcinv.engine.evaluator import evaluate
from pcinv.engine.loading import load_model
from pcinv.engine.tracking import read_lines
from pcinv.engine.trainer import train
from pcinv.errors import CheckpointError, DeviceError, UnknownNameError


@pytest.fixture
def run(tiny, trained):
    return trained("classification")


def test_an_evaluation_says_what_was_measured(run):
    result = evaluate(run, device="cpu")
    assert (result.rotation, result.dataset, result.split) == ("so3", "shapes", "test")
    assert result.num_samples == 9 and result.run == str(run)
    assert result.weights.endswith("model.safetensors")
    assert result.metrics.keys() == {"oa", "macc", "loss"}
    right = sum(result.confusion[i][i] for i in range(3))
    assert result.metrics["oa"] == right / 9
    assert set(result.per_class) == {"ball", "disc", "rod"}
    assert evaluate(run, device="cpu", limit=4).num_samples == 4


def test_validation_in_training_is_the_same_measurement(run):
    lines = read_lines(run / "metrics.jsonl")
    result = evaluate(run, device="cpu", split="val", which="last", seed=0)
    assert result.metrics["oa"] == lines[-1]["val_oa"]
    assert result.metrics["loss"] == pytest.approx(lines[-1]["val_loss"], rel=1e-6)


def test_rotations_follow_the_seed_and_are_really_applied(run, monkeypatch):
    """The tiny network is invariant; a twin that looks at raw coordinates is not."""
    losses = {kind: evaluate(run, device="cpu", rotation=kind).metrics["loss"]
              for kind in ("none", "z", "so3")}
    assert losses["none"] == pytest.approx(losses["so3"], rel=1e-4)
    plain = TinyNetwork.forward
    monkeypatch.setattr(TinyNetwork, "forward", lambda self, xyz, normal=None, category=None:
                        plain(self, xyz, normal) + xyz[:, 0] * 3)
    seen = [evaluate(run, device="cpu", rotation=kind, seed=seed, batch_size=size).metrics["loss"]
            for kind, seed, size in (("none", 0, 32), ("so3", 0, 32), ("so3", 1, 32),
                                     ("so3", 0, 2), ("z", 0, 32))]
    assert seen[1] == pytest.approx(seen[3], rel=1e-6)
    assert len({round(value, 5) for value in seen}) == 4


def test_the_network_is_in_evaluation_mode_whatever_it_was(run):
    loaded = load_model(run)
    loaded.model.train()
    first = evaluate(loaded, device="cpu")
    assert loaded.model.training  # left as it was
    assert first.metrics == evaluate(run, device="cpu").metrics


def test_other_classes_are_refused_with_their_names(run, monkeypatch):
    names = ("ball", "rod", "disc")
    monkeypatch.setattr(evaluator, "load_dataset", lambda name, **_: TinyData(class_names=names))
    with pytest.raises(CheckpointError, match="in another order") as caught:
        evaluate(run, device="cpu")
    assert caught.value.exit_code == 5
    names = ("ball", "disc", "cone")
    with pytest.raises(CheckpointError, match=r"1 known to the network only \(rod\), 1 in the"):
        evaluate(run, device="cpu")


def test_parts_are_evaluated_with_their_categories(tiny, trained):
    result = evaluate(trained("part_segmentation"), device="cpu")
    assert result.metrics.keys() == {"instance_miou", "class_miou", "oa", "loss"}
    assert result.per_class["rod"] == 1.0 and result.confusion is None


def test_a_network_trained_with_normals_says_when_there_are_none(
    tiny, make_config, tmp_path, caplog
):
    config = make_config(data={"options": {"normals": True}}, train={"epochs": 1})
    path = train(config, output=tmp_path / "run").path
    assert evaluate(path, device="cpu").normals == "data"
    assert evaluate(path, device="cpu", dataset="other").normals == "estimate"
    assert "other has no normals" in caplog.text


def test_unknown_names_and_devices_are_told(run):
    with pytest.raises(UnknownNameError):
        evaluate(run, device="cpu", rotation="so4")
    with pytest.raises(DeviceError):
        evaluate(run, device="cuda:77")
    with pytest.raises(DeviceError):
        evaluate(run, device="abacus")
