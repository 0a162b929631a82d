"""Many pairs: nothing stops them, nothing is done twice, and the trusted ones make a model."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from helpers.surfaces import body_view, box, motion, pose_error
from scipy.spatial import cKDTree

import pcinv
from pcinv.errors import FileFormatError, InputError, Interrupted, LimitError, UsageError
from pcinv.registration import many, pair_store
from pcinv.registration.pair_list import clouds_of, pairs_of, read_pairs
from pcinv.registration.pose_files import pose_text, read_pose

ROOT = Path(__file__).parents[2]
FAST = {"fast": True}


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    """A folder with four views of a body, a box and a damaged file; T_camera_body by name."""
    folder, poses = tmp_path_factory.mktemp("scans"), {}
    for k in range(4):
        points, poses[f"scan_{8 + k}.ply"] = body_view(35.0 * k, count=1500)
        pcinv.write(folder / f"scan_{8 + k}.ply", pcinv.PointCloud(points.astype(np.float32)))
    pcinv.write(folder / "other.pcd", pcinv.PointCloud(box(1500, 0).astype(np.float32)))
    (folder / "damaged.ply").write_text("ply\n")
    np.savetxt(folder / "T.txt", np.eye(4))
    return folder, poses


@pytest.fixture(scope="module")
def model(scans, tmp_path_factory):
    output = tmp_path_factory.mktemp("out") / "model"
    return pcinv.register_folder(scans[0], output, **FAST), output


def lines(output):
    return [json.loads(line) for line in (output / "pairs.jsonl").read_text().splitlines()]


def answers(rows):
    timed = {"time_ms": None}
    return sorted(json.dumps(row | timed, sort_keys=True) for row in rows)


def test_a_folder_becomes_a_model(scans, model):
    folder, truth = scans
    found, output = model
    assert found.pairs.counts["error"] == 5 and found.pairs.counts["trusted"] >= 3
    assert found.model.groups == [[f"scan_{k}.ply" for k in (8, 9, 10, 11)], ["other.pcd"]]
    assert list(found.model.unreadable) == ["damaged.ply"]
    told = json.loads((output / "poses.json").read_text())
    for name, pose in truth.items():
        expected = truth["scan_8.ply"] @ np.linalg.inv(pose)
        angle, shift = pose_error(np.array(told["poses"][name]), expected)
        assert angle < 1 and shift < found.model.voxel
    merged = pcinv.read(output / "model.ply").absolute()
    near = cKDTree(merged).query(merged, k=2)[0][:, 1]
    assert np.median(near) > 0.3 * found.model.voxel and len(merged) > 1500
    points = pcinv.read(folder / "scan_10.ply").absolute()
    pose = np.array(told["poses"]["scan_10.ply"])
    there = cKDTree(merged).query(points @ pose[:3, :3].T + pose[:3, 3])[0]
    assert there.max() < 2 * found.model.voxel
    report = json.loads((output / "report.json").read_text())
    assert report["num_trusted"] == found.pairs.counts["trusted"] and report["num_clouds"] == 6
    assert len(report["pairs"]) + len(report["not_trusted"]) == report["num_pairs"] == 15
    assert not any(pair["in_doubt"] for pair in report["pairs"])


def test_a_second_run_does_nothing_again(scans, model, monkeypatch):
    found, output = model
    before = (output / "pairs.jsonl").read_bytes()
    called = []
    real = many.register
    monkeypatch.setattr(many, "register", lambda *a, **k: called.append(a) or real(*a, **k))
    again = pcinv.register_folder(scans[0], output, **FAST)
    assert again.pairs.num_skipped == 10 and len(called) == 5  # those with an error
    assert (output / "pairs.jsonl").read_bytes() == before
    assert again.pairs.counts == found.pairs.counts
    with pytest.raises(UsageError, match="seed 0 there, 1 now"):
        pcinv.register_folder(scans[0], output, seed=1, **FAST)


def test_a_file_that_changed_is_registered_again(tmp_path):
    points = body_view(0.0, count=400)[0].astype(np.float32)
    for name in "ab":
        pcinv.write(tmp_path / f"{name}.ply", pcinv.PointCloud(points))
    pair, output = [(tmp_path / "a.ply", tmp_path / "b.ply")], tmp_path / "out"
    assert pcinv.register_pairs(pair, output, **FAST).num_skipped == 0
    assert pcinv.register_pairs(pair, output, **FAST).num_skipped == 1
    pcinv.write(tmp_path / "b.ply", pcinv.PointCloud(points[:300]), force=True)
    assert pcinv.register_pairs(pair, output, **FAST).num_skipped == 0
    assert pcinv.register_pairs(pair, output, force=True, **FAST).num_skipped == 0
    assert len(lines(output)) == 1


def test_processes_give_the_same_answers(scans, tmp_path):
    listed = tmp_path / "list.csv"
    names = [("scan_8.ply", "scan_9.ply"), ("scan_9.ply", "other.pcd"), ("none.ply", "scan_8.ply")]
    listed.write_text("source,target\n" + "".join(
        f"{os.path.relpath(scans[0] / a, tmp_path)},{scans[0] / b}\n" for a, b in names))
    seen = []
    one = pcinv.register_pairs(listed, tmp_path / "one", **FAST,
                               callback=lambda done, total, row: seen.append((done, total)))
    two = pcinv.register_pairs(listed, tmp_path / "two", jobs=2, **FAST)
    assert seen == [(0, 3), (1, 3), (2, 3), (3, 3)]
    assert answers(one.rows) == answers(two.rows) == answers(lines(tmp_path / "two"))
    assert [row["verdict"] for row in one.rows][::2] == ["trusted", None]
    assert one.rows[2]["error"]["code"] == "file" and "none.ply" in one.rows[2]["error"]["where"]


def test_a_killed_run_goes_on_where_it_was(scans, tmp_path):
    code = (f"import pcinv; pcinv.register_folder({str(scans[0])!r}, {str(tmp_path / 'out')!r}, "
            "fast=True)")
    child = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT)
    file = tmp_path / "out" / "pairs.jsonl"
    for _ in range(1200):
        if file.exists() and file.read_bytes().count(b"\n") >= 7:
            break
        time.sleep(0.05)
    child.send_signal(signal.SIGKILL)
    child.wait()
    done = file.read_bytes().count(b"\n")
    with file.open("ab") as stream:  # as if it had been killed within a line
        stream.write(b'{"source": "scan_9')
    assert done >= 7
    found = pcinv.register_folder(scans[0], tmp_path / "out", **FAST)
    assert found.pairs.num_skipped == done - 5 and len(lines(tmp_path / "out")) == 15


def test_an_unexpected_error_is_the_line_of_its_pair(scans, tmp_path, monkeypatch):
    def fail(source, *_, **__):
        raise (ZeroDivisionError("a defect") if "scan_8" in str(source) else MemoryError())

    monkeypatch.setattr(many, "register", fail)
    pairs = [(scans[0] / f"scan_{a}.ply", scans[0] / "other.pcd") for a in (8, 9)]
    rows = pcinv.register_pairs(pairs, tmp_path / "out").rows
    assert [row["error"]["code"] for row in rows] == ["internal", "limit"]
    assert "a defect" in rows[0]["error"]["message"]


def test_ctrl_c_keeps_what_is_done(scans, tmp_path, monkeypatch):
    pairs = [(scans[0] / f"scan_{a}.ply", scans[0] / "scan_8.ply") for a in (9, 10)]
    real = many.register

    def register(source, *args, **options):
        if "scan_10" in str(source):
            raise KeyboardInterrupt
        return real(source, *args, **options)

    monkeypatch.setattr(many, "register", register)
    with pytest.raises(Interrupted, match="1 of 2 pairs are done"):
        pcinv.register_pairs(pairs, tmp_path / "out", **FAST)
    monkeypatch.setattr(many, "register", real)
    assert pcinv.register_pairs(pairs, tmp_path / "out", **FAST).num_skipped == 1


def test_a_damaged_line_is_named(tmp_path):
    (tmp_path / "pairs.jsonl").write_text('{"source": "a"}\n')
    with pytest.raises(FileFormatError) as caught:
        pcinv.register_pairs([("a", "b")], tmp_path)
    assert caught.value.where.endswith("pairs.jsonl:1")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full on this platform")
def test_a_full_disk_is_told():
    with pytest.raises(LimitError, match="No space left"):
        pair_store.append(Path("/dev/full"), {"source": "a"})


@pytest.mark.parametrize("text, line", [
    ("a.ply,b.ply\n", 1), ("source,target\na.ply\n", 2), ("source,target\n\na,b,c\n", 3),
    ("source,target,init\na,,T.txt\n", 2), ("source,goal\na,b\n", 1), ("source,target\n", None),
    ("\n", None), ('source,target\n"a,b\n', None), ("\xff", 1),
])
def test_a_list_that_is_none_is_named(tmp_path, text, line):
    file = tmp_path / "list.csv"
    file.write_bytes(text.encode("latin-1"))
    with pytest.raises(FileFormatError) as caught:
        read_pairs(file)
    assert caught.value.where.startswith(str(file)) and caught.value.hint
    if line is not None and text != "\xff":
        assert caught.value.where == f"{file}:{line}"


def test_lists_and_folders(scans, tmp_path):
    file = tmp_path / "list.csv"
    file.write_text('\ufeffSource, Target, init\n"a, b.ply",c.ply,\nx,y,T.txt\nx,y,T.txt\n')
    assert read_pairs(file) == [("a, b.ply", "c.ply", None), ("x", "y", "T.txt")]
    names = clouds_of(scans[0])
    assert names == ["damaged.ply", "other.pcd", *(f"scan_{k}.ply" for k in (8, 9, 10, 11))]
    assert pairs_of(["a", "b", "c"]) == [("b", "a", None), ("c", "a", None), ("c", "b", None)]
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(InputError):
            clouds_of(folder)
    with pytest.raises(UsageError):
        pcinv.register_folder(scans[0], scans[0])


def test_poses_as_text(tmp_path):
    file, pose = tmp_path / "T.txt", motion(4, 1e6)
    file.write_text(pose_text(pose, "a to\nb"))
    assert np.array_equal(np.loadtxt(file), pose)
    assert np.abs(read_pose(file) - pose).max() < 1e-12
    np.savetxt(file, pose, "%.4f", delimiter=",")
    rotation = read_pose(file)[:3, :3]
    assert np.abs(rotation @ rotation.T - np.eye(3)).max() < 1e-12


E4 = [list(row) for row in np.eye(4)]


@pytest.mark.parametrize("rows, line", [
    (E4[:3], 4), ([*E4, E4[0]], 6), ([E4[0], E4[1][:3], *E4[2:]], 3),
    ([E4[0], ["x", 1, 0, 0], *E4[2:]], 3), ([[2, 0, 0, 0], *E4[1:]], 2),
    ([E4[0], E4[0], *E4[2:]], 3), ([*E4[:2], [0, 0, -1, 0], E4[3]], 4),
    ([*E4[:3], [0, 0, 0, 2]], 5), ([["nan", 0, 0, 0], *E4[1:]], 2), ([], 1),
])
def test_what_is_no_rigid_motion_is_named_by_its_line(tmp_path, rows, line):
    file = tmp_path / "T.txt"
    file.write_text("# a comment\n" + "".join(" ".join(map(str, row)) + "\n" for row in rows))
    with pytest.raises(FileFormatError) as caught:
        read_pose(file)
    assert caught.value.where == f"{file}:{line}"
