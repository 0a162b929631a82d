"""The console from training to a prediction on a file, as a user runs it."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from pcinv_cli.main import cli

ROOT = Path(__file__).resolve().parents[2]
TINY = ["--set", "data.limit=32", "--set", "data.num_points=128", "--set", "train.batch_size=8",
        "--backbone", "risurconv", "--device", "cpu"]


def environment():
    kept = {key: value for key, value in os.environ.items() if not key.startswith("PCINV_")}
    paths = [str(ROOT), str(ROOT / "data"), str(ROOT / "cli"), kept.get("PYTHONPATH", "")]
    return {**kept, "OMP_NUM_THREADS": "1", "NO_COLOR": "1",
            "PYTHONPATH": os.pathsep.join(filter(None, paths))}


def start(folder, *args):
    return subprocess.Popen([sys.executable, "-m", "pcinv_cli", *map(str, args)], cwd=folder,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                            stdin=subprocess.DEVNULL, env=environment())


def ask(folder, *args, code=0):
    """Run `pcinv ARGS --json` in this process, in a folder; return its one object."""
    with contextlib.chdir(folder):
        done = CliRunner().invoke(cli, [*map(str, args), "--json"])
    assert done.exit_code == code, done.stderr + done.stdout
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Train for one epoch on a few generated shapes; return the folder, the answer, the talk."""
    folder = tmp_path_factory.mktemp("e2e")
    process = start(folder, "train", *TINY, "--epochs", 1, "-o", "run", "--json")
    out, err = process.communicate(timeout=200)
    assert process.returncode == 0, err
    return folder, json.loads(out), err


def test_training_says_what_it_trains_on_and_gives_a_run(trained):
    folder, whole, talk = trained
    assert "generated shapes" in talk and "--dataset" in talk and "--root" in talk
    result = whole["result"]
    assert {"run", "metrics", "rotation", "dataset", "num_samples", "weights"} <= set(result)
    assert result["dataset"] == "shapes" and result["rotation"] == "so3"
    assert 0 <= result["metrics"]["oa"] <= 1 and 0 <= result["metrics_unrotated"]["oa"] <= 1
    assert (folder / result["weights"]).is_file()
    assert {"config.toml", "env.json", "metrics.jsonl"} <= set(os.listdir(folder / "run"))
    assert [line.split()[1] for line in result["next"]] == ["eval", "check", "predict"]


def test_evaluation_agrees_with_training_and_under_rotation(trained):
    folder, whole, _ = trained
    plain = ask(folder, "eval", "run", "--rotation", "none", "--limit", 32)["result"]
    turned = ask(folder, "eval", "run", "--rotate", "SO3", "--limit", 32)["result"]
    assert (plain["rotation"], turned["rotation"]) == ("none", "so3")
    assert plain["num_samples"] == turned["num_samples"] == whole["result"]["num_samples"]
    assert turned["metrics"]["oa"] == whole["result"]["metrics"]["oa"]
    assert abs(plain["metrics"]["oa"] - turned["metrics"]["oa"]) <= 1 / plain["num_samples"]


def test_check_of_a_run(trained):
    folder, _, _ = trained
    result = ask(folder, "check", "run", "--rotations", 4)["result"]
    assert set(result["errors"]) == {"rotation", "translation", "permutation", "batch"}
    assert result["passed"] and result["max_error"] <= result["tolerance"]
    assert (result["backbone"], result["dtype"]) == ("risurconv", "float32")


def test_prediction_of_own_files(trained):
    folder, _, _ = trained
    ask(folder, "data", "make", "shapes", "-o", "made", "--per-class", 1)
    files = sorted((folder / "made").rglob("*.ply"))[:2]
    result = ask(folder, "predict", "run", *files, "--top", 3)["result"]["files"]
    assert [item["file"] for item in result] == [str(file) for file in files]
    for item in result:
        assert item["label"] and 0 < item["confidence"] <= 1 and len(item["top"]) == 3
    damaged = folder / "damaged.ply"
    damaged.write_bytes(b"ply\n")
    whole = ask(folder, "predict", "run", damaged, files[0], "-o", "told", code=3)
    assert "damaged.ply" in whole["error"]["where"]
    assert [item["label"] for item in whole["result"]["files"]] == [result[0]["label"]]
    lines = (folder / "told" / "predictions.csv").read_text().splitlines()
    assert lines[0] == "file,label,confidence" and len(lines) == 2
    ask(folder, "predict", "run", files[0], "-o", "told", code=2)


def test_parts_of_own_files(trained, tmp_path):
    folder, _, _ = trained
    ask(folder, "train", *TINY, "--task", "part_segmentation", "--epochs", 1, "-o", "parts")
    ask(folder, "data", "make", "shapes", "-o", "made", "--per-class", 1, "--force")
    file = min((folder / "made").rglob("*.ply"))
    whole = ask(folder, "predict", "parts", file, code=2)
    assert file.parent.parent.name in whole["error"]["hint"]
    category = file.parent.parent.name
    item, = ask(folder, "predict", "parts", file, "--category", category, "-o",
                tmp_path / "told")["result"]["files"]
    assert sum(item["parts"].values()) == item["num_points"]
    before = ask(folder, "info", file)["result"]["files"][0]
    after = ask(folder, "info", item["labels_file"])["result"]["files"][0]
    assert set(after["attributes"]) == {*before["attributes"], "part"}
    assert after["num_points"] == before["num_points"] and after["bounds"] == before["bounds"]


def test_errors_of_runs(trained, tmp_path):
    folder, _, _ = trained
    ask(folder, "eval", tmp_path, code=5)
    ask(folder, "eval", "missing", code=5)
    ask(folder, "train", "--resume", tmp_path, code=5)
    ask(folder, "train", *TINY, "-o", "run", code=2)
    ask(folder, "train", "--resume", "run", "--set", "optim.lr=3.0", code=5)
    ask(folder, "predict", "run", "missing.ply", code=3)
    ask(folder, "train", "--dataset", "modelnet10", "-o", "none", code=2)
    ask(folder, "train", "--dataset", "modelnet10", "--root", tmp_path, "-o", "none", code=3)
    ask(folder, "train", "--protocol", "so3/so3", "--device", "cuda:99", "-o", "none", code=4)
    assert not (folder / "none").exists()


def test_a_dry_run_writes_nothing(trained):
    folder, _, _ = trained
    before = sorted(os.listdir(folder))
    result = ask(folder, "train", *TINY, "--dry-run")["result"]
    assert result["config"]["data"]["limit"] == 32
    assert result["sources"]["data.limit"] == "set" and result["sizes"]["num_parameters"] > 1000
    assert result["sizes"]["num_clouds"]["train"] == 32
    assert sorted(os.listdir(folder)) == before


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT for one process on this platform")
def test_an_interrupted_training_is_saved_and_goes_on(tmp_path):
    process = start(tmp_path, "train", *TINY, "--epochs", 500, "-o", "run", "-v")
    for line in process.stderr:
        if "epoch 1 of 500" in line:
            process.send_signal(signal.SIGINT)
            break
    out, err = process.communicate(timeout=200)
    assert process.returncode == 130, err
    assert "Traceback" not in err and "--resume" in err and out == ""
    done = len((tmp_path / "run" / "metrics.jsonl").read_text().splitlines())
    assert 1 <= done < 500
    whole = ask(tmp_path, "train", "--resume", "run", "--epochs", done + 1)
    assert whole["result"]["run"].endswith("run")
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == list(range(1, done + 2))
