"""`pcinv info`, `view` and `data` on folders of LiDAR scans."""

import json

import numpy as np
import pytest
from helpers.lidar_files import points, write_argoverse, write_kitti, write_nuscenes
from PIL import Image

import pcinv


def test_info_tells_what_is_in_a_sequence(ask, run, tmp_path):
    folder = write_kitti(tmp_path / "drive", 5, labels=True)
    (folder / "velodyne/000001.bin").unlink()
    told, = ask("info", "drive")["result"]["files"]
    assert told["kind"] == "sequence" and told["format"] == "semantickitti"
    assert told["num_scans"] == 4 and told["num_points"] == 60 and told["poses"] is True
    assert told["skipped"] == {"000001": "no such scan"} and len(told["class_names"]) == 19
    assert told["path_length"] == pytest.approx(3.2, abs=0.01)
    assert told["duration"] == pytest.approx(0.4) and told["hz"] == pytest.approx(10)
    assert told["fields"] == ["intensity", "label", "instance"] and told["file"] == "drive"
    said = run("info", "drive").out
    assert "semantickitti" in said and "no such scan" in said


def test_info_of_files_and_folders_together(ask, tmp_path):
    (tmp_path / "scans").mkdir()
    for k in range(3):
        pcinv.write(tmp_path / f"scans/{k}.ply", pcinv.PointCloud(points(k)))
    told = ask("info", "scans", "scans/0.ply")["result"]["files"]
    assert [item["kind"] for item in told] == ["sequence", "cloud"]
    assert told[0]["missing"] == ["poses.txt", "times.txt"]


def test_a_scene_of_nuscenes_is_named_behind_its_folder(ask, run, tmp_path):
    write_nuscenes(tmp_path / "n")
    assert ask("info", "n/scene-0001")["result"]["files"][0]["num_scans"] == 4
    assert run("view", "n/scene-0000", "--world", "--screenshot", "n.png", "--size",
               "160x120").code == 0
    done = run("info", "n")
    assert done.code == 2 and "2 sequences" in done.err and "scene-0000" in done.err


@pytest.mark.parametrize("args, code, words", [
    (("info", "empty"), 3, "no LiDAR sequence"), (("info", "nowhere"), 3, "no such file"),
    (("info", "bad"), 3, "12 finite numbers"),
    (("view", "bad", "--screenshot", "p.png"), 3, "12 finite numbers"),
    (("view", "good", "--world", "--screenshot", "p.png"), 2, "no poses"),
    (("view", "a.ply", "--world", "--screenshot", "p.png"), 2, "folder of a LiDAR sequence"),
    (("view", "good", "a.ply", "--screenshot", "p.png"), 2, "by itself"),
    (("view", "good", "--color", "labl", "--screenshot", "p.png"), 2, "unknown attribute"),
    (("data", "verify", "kitti-odometry", "--root", "bad"), 3, "not a whole copy")])
def test_what_is_wrong_is_told_in_three_lines(run, tmp_path, args, code, words):
    (tmp_path / "empty").mkdir()
    pcinv.write(tmp_path / "a.ply", pcinv.PointCloud(points(0)))
    write_kitti(tmp_path / "good", 2, poses=False)
    (write_kitti(tmp_path / "bad", 2) / "calib.txt").write_text("Tr: 1")
    done = run(*args)
    assert done.code == code, (done.out, done.err)
    assert words in done.err and "where:" in done.err and "try:" in done.err


def test_a_sequence_plays_in_its_places(run, ask, tmp_path):
    write_kitti(tmp_path / "drive", 3)
    frames = {}
    for options in ((), ("--world",)):
        told = ask("view", "drive", *options, "--turntable", "f.gif", "--size", "160x120",
                   "--force")
        assert told["result"]["num_points"] == 60
        film = Image.open(tmp_path / "f.gif")
        assert film.n_frames == 3
        film.seek(2)
        frames[options] = np.asarray(film.convert("RGB"))
    assert (frames[()] != frames["--world",]).any()


def test_labels_have_a_legend_and_flow_has_arrows(run, tmp_path):
    pytest.importorskip("pyarrow", reason="Argoverse 2 needs pyarrow")
    write_argoverse(tmp_path / "av2", 2)
    assert run("view", "av2", "--screenshot", "a.png", "--html", "a.html").code == 0
    page = (tmp_path / "a.html").read_text()
    assert "REGULAR_VEHICLE" in page and "flow until the next scan" in page
    assert np.asarray(Image.open(tmp_path / "a.png").convert("RGB")).std() > 1


def test_sets_of_sequences_are_listed_and_verified(ask, tmp_path):
    rows = {row["name"]: row for row in ask("data", "list")["result"]["datasets"]}
    assert {"kitti-odometry", "semantickitti", "nuscenes", "argoverse2"} <= set(rows)
    assert rows["nuscenes"]["licence"] == "CC BY-NC-SA 4.0"
    assert ask("data", "info", "argoverse2")["result"]["num_classes"] == 30
    write_kitti(tmp_path / "k", 4)
    told = ask("data", "verify", "kitti-odometry", "--root", "k")["result"]
    assert told["counts"] == {"sequences": 1, "scans": 4} and told["ok"]


def test_a_student_is_trained_measured_and_asked(ask, run, tmp_path):
    settings = {"data.num_points": 400, "train.batch_size": 2, "data.val_fraction": 0.0,
                "pretrain.flow_method": "labels", "model.overrides": {
                    "reach": 19.2, "cell": 0.8, "channels": [8, 8, 16, 16], "hidden": 16},
                "data.options": {"streets": 1, "scans": 2, "every": 2, "test_streets": 1,
                                 "beams": 16, "columns": 256}}
    words = [word for key, value in settings.items()
             for word in ("--set", f"{key}={to_toml(value)}")]
    folder = tmp_path / "run"
    trained = ask("train", "--backbone", "pillar_flow", "--epochs", 1, "--device", "cpu",
                  "-o", folder, *words)["result"]
    assert trained["metrics"]["epe_foreground_dynamic_ego"] > 0
    shown = run("eval", folder, "--device", "cpu")
    assert shown.code == 0 and "epe_foreground_dynamic" in shown.out
    ask("data", "make", "lidar_sim", "-o", tmp_path / "street", "--scans", 2, "--beams", 16)
    a, b = sorted(tmp_path.glob("street/**/velodyne/*.bin"))[:2]
    found = ask("flow", a, b, "--method", "student", "--weights", folder, "--device", "cpu")
    assert found["result"]["method"] == "student" and found["result"]["ego_from"] == "poses"
    assert found["result"]["scores"].keys() == {"student", "ego", "zero"}
    told = ask("flow", a, b, "--weights", folder, code=2)
    assert "has no weights" in told["error"]["message"]
    told = ask("flow", a, b, "--method", "student", "--weights", tmp_path / "none", code=5)
    assert "none" in str(told["error"])


def to_toml(value):
    """A TOML value: inline tables, lists, numbers."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {to_toml(each)}" for key, each in value.items()) + "}"
    return json.dumps(value)
