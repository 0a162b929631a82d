"""Each verb that needs no training: what it prints, what it writes, how it fails."""

import json
import os
import shutil
import subprocess

import numpy as np
import pytest
from click.shell_completion import ShellComplete

from pcinv.engine.config import Config, flatten, to_tree
from pcinv.models.registry import BACKBONES, LIDAR_NETWORKS, MATCHERS, POSE_NETWORKS
from pcinv_cli.completion import SHELLS
from pcinv_cli.main import cli
from pcinv_cli.train import _FLAGS


def test_info_describes_each_file(ask, run, cloud_file, mesh_file):
    files = ask("info", cloud_file, mesh_file)["result"]["files"]
    assert [item["file"] for item in files] == [str(cloud_file), str(mesh_file)]
    cloud, mesh = files
    assert {"format", "num_points", "attributes", "bounds", "spacing"} <= set(cloud)
    assert cloud["num_points"] == 20 and mesh["num_points"] == 4
    assert cloud["bounds"][1][0] == 19
    shown = run("info", cloud_file).out
    assert str(cloud_file) in shown and "20" in shown


def test_info_describes_the_others_when_one_is_damaged(ask, run, cloud_file, tmp_path):
    damaged = tmp_path / "damaged.ply"
    damaged.write_bytes(b"ply\nformat ascii 1.0\nelement vertex 9\n")
    whole = ask("info", damaged, cloud_file, tmp_path / "missing.ply", code=3)
    assert "damaged.ply" in whole["error"]["where"]
    assert [item["num_points"] for item in whole["result"]["files"]] == [20]
    done = run("info", damaged, cloud_file, tmp_path / "missing.ply")
    assert done.code == 3 and "20" in done.out
    assert "damaged.ply" in done.err and "missing.ply" in done.err


def test_info_imports_no_torch(process, cloud_file):
    code = ("import sys\nfrom pcinv_cli.main import cli\n"
            f"code = cli.main(['info', {str(cloud_file)!r}], standalone_mode=False)\n"
            "sys.exit('imported torch' if 'torch' in sys.modules else code)")
    done = process("-c", code)
    assert done.returncode == 0, done.stderr


def test_convert_and_back(ask, mesh_file, cloud_file, tmp_path):
    told = ask("convert", mesh_file, tmp_path / "a.ply")["result"]
    assert told["num_points"] == 4 and (tmp_path / "a.ply").stat().st_size > 0
    ask("convert", cloud_file, tmp_path / "b.npy")
    ask("convert", tmp_path / "b.npy", tmp_path / "points", "--to", "xyz")
    assert np.allclose(np.loadtxt(tmp_path / "points"), np.loadtxt(cloud_file))


def test_convert_keeps_what_is_there(ask, cloud_file, tmp_path):
    target = tmp_path / "b.ply"
    target.write_text("mine")
    whole = ask("convert", cloud_file, target, code=2)
    assert "force" in whole["error"]["hint"] and target.read_text() == "mine"
    ask("convert", cloud_file, target, "--force", "--dry-run")
    assert target.read_text() == "mine"
    ask("convert", cloud_file, target, "--force")
    assert target.read_bytes().startswith(b"ply")
    assert ask("convert", target, target, "--force", code=2)["error"]["code"] == "usage"


@pytest.mark.parametrize(("args", "code"), [(["cloud.xyz", "b.docx"], 2),
                                            (["cloud.xyz", "b.ply", "--to", "plyy"], 2),
                                            (["missing.ply", "b.ply"], 3)])
def test_convert_writes_nothing_when_it_fails(ask, cloud_file, tmp_path, args, code):
    before = sorted(os.listdir(tmp_path))
    ask("convert", *args, code=code)
    assert sorted(os.listdir(tmp_path)) == before


def test_sample_is_seeded(ask, mesh_file, tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        told = ask("sample", mesh_file, tmp_path / f"{name}.npy", "--points", 64, "--seed", seed)
        assert told["result"]["num_points"] == 64
    a, b, c = (np.load(tmp_path / f"{name}.npy") for name in "abc")
    assert np.array_equal(a, b) and not np.array_equal(a, c)
    assert "nothing" not in ask("sample", mesh_file, tmp_path / "d.ply", "--dry-run")
    assert not (tmp_path / "d.ply").exists()


def test_sample_refuses_a_cloud(ask, cloud_file, tmp_path):
    whole = ask("sample", cloud_file, tmp_path / "a.ply", code=3)
    assert "surface" in whole["error"]["message"] and not (tmp_path / "a.ply").exists()
    assert ask("sample", cloud_file, "a.ply", "--points", 0, code=2)


def test_models(ask, run):
    rows = ask("models")["result"]["models"]
    assert [row["name"] for row in rows] == sorted(
        [*BACKBONES, *MATCHERS, *POSE_NETWORKS, *LIDAR_NETWORKS])
    assert {"name", "symmetry", "tasks", "params", "paper", "weights"} <= set(rows[0])
    shipped = {row["name"]: row["weights"] for row in rows if row["weights"]}
    assert shipped == {name: f"{name}.safetensors"
                       for name in ("cylinder_patch", "pillar_flow", "roitr")}
    assert [row["name"] for row in ask("models", "risurcon?")["result"]["models"]] == ["risurconv"]
    assert "ECCV 2024" in run("models", "risurconv").out
    assert "risurconv" in ask("models", "risurcon", code=2)["error"]["hint"]


def test_data_list_and_info(ask, run):
    rows = ask("data", "list")["result"]["datasets"]
    names = {row["name"] for row in rows}
    assert {"modelnet40", "modelnet10", "scanobjectnn", "shapenetpart", "shapes"} <= names
    assert ask("data", "info", "modelnet40")["result"]["name"] == "modelnet40"
    assert "modelnet40" in run("data", "list").out
    assert "modelnet40" in ask("data", "info", "modelnet4", code=2)["error"]["hint"]


def test_data_verify(ask, tmp_path):
    whole = ask("data", "verify", "modelnet40", "--root", tmp_path, code=3)
    assert str(tmp_path) in json.dumps(whole["error"])
    ask("data", "verify", "modelnet40", "--root", tmp_path / "missing", code=3)
    ask("data", "verify", "modelnet40", code=2)


def test_data_make_writes_what_the_folder_set_reads(ask, tmp_path):
    ask("data", "make", "shapes", "-o", tmp_path / "made", "--per-class", 1, "--seed", 3)
    files = [path for path in (tmp_path / "made").rglob("*.ply")]
    assert len(files) >= 20
    assert ask("info", files[0])["result"]["files"][0]["num_points"] > 0
    ask("data", "make", "shapes", "-o", tmp_path / "made", "--per-class", 1, code=2)


def test_config_show_names_the_source_of_each_value(ask, tmp_path):
    file = tmp_path / "my.toml"
    file.write_text("[optim]\nlr = 0.1\nweight_decay = 0.2\ngrad_clip = 3.0\n[train]\nepochs = 3\n")
    whole = ask("config", "show", "--config", file, "--set", "optim.grad_clip=5.0", "--set",
                "optim.lr=0.5", "--preset", "paper",
                env={"PCINV_OPTIM__WEIGHT_DECAY": "0.3", "PCINV_OPTIM__GRAD_CLIP": "4.0"})
    config, sources = whole["result"]["config"], whole["result"]["sources"]
    expected = {"epochs": (3, "file", "train"), "weight_decay": (0.3, "environment", "optim"),
                "grad_clip": (5.0, "set", "optim"), "lr": (0.5, "set", "optim"),
                "preset": ("paper", "flag", "model"), "warmup_epochs": (1.0, "default", "optim")}
    for key, (value, source, section) in expected.items():
        assert (config[section][key], sources[f"{section}.{key}"]) == (value, source)


def test_config_init_writes_what_train_reads(ask, tmp_path):
    ask("config", "init", "-o", "my.toml", "--set", "train.epochs=7")
    shown = ask("config", "show", "--config", "my.toml")["result"]["config"]
    assert shown["train"]["epochs"] == 7
    (tmp_path / "my.toml").write_text("mine")
    ask("config", "init", "-o", "my.toml", code=2)
    assert (tmp_path / "my.toml").read_text() == "mine"
    ask("config", "init", "-o", "my.toml", "--force")
    assert ask("config", "show", "--config", "absent.toml", code=2)["error"]["code"] == "config"


def test_config_schema(ask, run):
    assert json.loads(run("config", "schema").out) == ask("config", "schema")["result"]["schema"]


def test_the_help_of_train_tells_the_defaults_of_the_configuration(run):
    told = " ".join(run("train", "--help").out.split())
    defaults = flatten(to_tree(Config()))
    for option, key in _FLAGS.items():
        if defaults[key] is not None:
            text = told.split(f"--{option} ")[-1].split(" --")[0]
            assert f"[default: {defaults[key]}]" in text, option


@pytest.mark.parametrize("args", [["--set", "optim.lrr=1"], ["--set", "lr=1"]])
def test_unknown_keys_are_answered_with_the_nearest(ask, args):
    for verb in (["train"], ["config", "show"], ["config", "init"]):
        assert "optim.lr" in ask(*verb, *args, code=2)["error"]["hint"]


@pytest.mark.parametrize(("worst", "code"), [(2e-6, 0), (0.3, 1), (float("inf"), 1)])
def test_check_is_a_gate(ask, run, monkeypatch, worst, code):
    def check(target, **options):
        assert (target, options["rotations"], options["dtype"]) == ("risurconv", 7, "float64")
        errors = {"rotation": worst, "translation": 0.0, "permutation": 0.0, "batch": 0.0}
        return {"backbone": target, "dtype": "float64", "errors": errors, "max_error": worst,
                "tolerance": 1e-5, "passed": worst < 1e-5}

    monkeypatch.setattr("pcinv.check", check, raising=False)
    args = ["check", "RISurConv", "--rotations", 7, "--dtype", "float64"]
    whole = ask(*args, code=code)
    assert whole["result"]["passed"] == (code == 0) and len(whole["result"]["errors"]) == 4
    done = run(*args)
    assert done.code == code and "rotation" in done.out
    assert ("error: the worst error" in done.err) == (code == 1)


def test_check_suggests_names(ask):
    assert "risurconv" in ask("check", "risurcon", code=2)["error"]["hint"]
    ask("check", "missing/run", code=5)


def test_doctor(ask, run):
    whole = ask("doctor")["result"]
    rows = {row["name"]: row for row in whole["checks"]}
    assert whole["healthy"] and {"python", "torch", "device", "threads"} <= set(rows)
    for row in rows.values():
        assert row["state"] in ("ok", "missing") and (row["state"] == "ok") == (row["fix"] is None)


def test_doctor_fails_when_the_base_is_broken(ask, monkeypatch):
    import importlib.metadata

    real = importlib.metadata.version

    def version(name):
        if name in ("h5py", "laspy"):
            raise importlib.metadata.PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr("importlib.metadata.version", version)
    monkeypatch.setattr("pcinv_cli.doctor._open3d", lambda: iter(()))
    whole = ask("doctor", code=4)
    rows = {row["name"]: row for row in whole["result"]["checks"]}
    assert rows["h5py"]["state"] == "broken" and "h5py" in rows["h5py"]["fix"]
    assert rows["laspy [las]"]["state"] == "missing"
    assert "pcinv[las]" in rows["laspy [las]"]["fix"]


@pytest.mark.parametrize("shell", SHELLS)
def test_completion_prints_a_script(run, ask, shell):
    script = run("completion", shell).out
    assert "_PCINV_COMPLETE" in script and f"{shell}_complete" in script
    assert ask("completion", shell)["result"]["script"].strip() == script.strip()
    if shutil.which(shell):
        done = subprocess.run([shell, "-n"], input=script, text=True, capture_output=True,
                              check=False)
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("words", "incomplete", "expected"), [
    ([], "tr", "train"), (["config"], "sh", "show"), (["train", "--backbone"], "risu", "risurconv"),
    (["train"], "--proto", "--protocol"), (["train", "--protocol"], "so3", "so3/so3"),
    (["train", "--set"], "optim.l", "optim.lr="), (["check"], "risu", "risurconv"),
    (["data", "info"], "modelnet4", "modelnet40"), (["eval"], "runs/", "runs/one"),
    (["train", "--device"], "cu", "cuda"),
])
def test_names_are_completed(words, incomplete, expected, tmp_path):
    (tmp_path / "runs" / "one").mkdir(parents=True)
    found = ShellComplete(cli, {}, "pcinv", "_PCINV_COMPLETE").get_completions(words, incomplete)
    assert expected in [item.value for item in found]
