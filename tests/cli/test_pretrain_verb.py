"""`pcinv pretrain`, and what `train`, `eval` and `benchmark pretraining` make of its runs."""

import json

import pytest
from helpers.tiny_streets import NETWORK, STREETS


def settings(**more):
    given = {"data.num_points": 400, "train.batch_size": 2, "data.val_fraction": 0.0,
             "pretrain.matches": 64,
             **{f"model.overrides.{key}": value for key, value in NETWORK.items()},
             **{f"data.options.{key}": value for key, value in STREETS.items()}, **more}
    return [word for key, value in given.items()
            for word in ("--set", f"{key}={json.dumps(value)}")]


@pytest.fixture
def pretrained(ask, tmp_path):
    told = ask("pretrain", "-o", tmp_path / "pre", "--epochs", 1, "--device", "cpu",
               "--objective", "contrast", "--objective", "rotation", *settings())["result"]
    return tmp_path / "pre", told


def test_pretrain_and_what_follows(ask, run, pretrained, tmp_path, cloud_file):
    folder, told = pretrained
    assert told["objectives"] == ["contrast", "rotation"] and told["num_samples"] == 4
    assert "flow" not in told["metrics"] and told["metrics"]["contrast"] > 0
    assert told["next"][0].endswith(f"--task segmentation --init {folder}")
    found = ask("train", "--backbone", "pillar_bev", "--task", "detection", "--init", folder,
                "--epochs", 1, "-o", tmp_path / "det", "--device", "cpu",
                *settings(**{"data.label_fraction": 0.5}))["result"]
    assert found["num_samples"] == 4 and "map" in found["metrics"]  # of the test split
    measured = ask("eval", tmp_path / "det", "--rotation", "z", "--limit", 1)["result"]
    assert measured["num_samples"] == 1 and measured["rotation"] == "z"
    assert "1 scans" in run("eval", tmp_path / "det", "--limit", 1).out
    told = ask("predict", tmp_path / "det", cloud_file, code=2)
    assert "LiDAR" in told["error"]["message"]
    whole = ask("train", "--backbone", "pillar_bev", "--task", "segmentation", "--init",
                tmp_path / "nothing", "-o", tmp_path / "seg", *settings(), code=5)
    assert whole["error"]["code"] and "nothing" in whole["error"]["message"]


def test_dry_runs_write_nothing(ask, tmp_path):
    told = ask("pretrain", "--dry-run", *settings())["result"]
    assert told["written"] is False and told["sizes"]["num_scans"] == {"train": 4, "val": 0}
    told = ask("benchmark", "pretraining", "-o", tmp_path / "out", "--dry-run", "--task", "probe",
               "--fractions", "1")["result"]
    assert [row["trial"] for row in told["trials"]] == [
        "pretraining-contrast", "pretraining-all", "probe-scratch-1", "probe-contrast-1",
        "probe-all-1"]
    assert not (tmp_path / "out").exists()


def test_what_does_not_go(ask):
    ask("pretrain", "--backbone", "risurconv", "--dry-run", code=2)
    told = ask("train", "--backbone", "pillar_bev", "--task", "classification", code=2)
    assert "pretraining" in told["error"]["hint"]
    told = ask("train", "--backbone", "risurconv", "--init", "run", code=2)
    assert told["error"]["where"] == "model.init"
    ask("pretrain", "--dataset", "kitti", "--dry-run", code=2)
    ask("benchmark", "pretraining", "-o", "out", "--fractions", "2", code=2)


def test_check_measures_what_it_promises(ask):
    told = ask("check", "pillar_bev")["result"]
    assert told["passed"] and set(told["errors"]) == {"permutation", "batch"}
