"""`pcinv.open_sequence`, and the sets that `pcinv data` knows."""

import subprocess
import sys

import pytest
from helpers.lidar_files import write_argoverse, write_kitti, write_nuscenes

import pcinv
import pcinv_data
from pcinv.errors import DatasetError, UnknownNameError, UsageError
from pcinv_data import describe_dataset, list_sequences, make_dataset, verify_dataset
from pcinv_data.lidar import LAYOUTS, argoverse2, is_sequence, nuscenes, semantickitti
from pcinv_data.lidar.sets import SEQUENCE_SETS

WRITE = {"kitti-odometry": write_kitti, "nuscenes": write_nuscenes, "argoverse2": write_argoverse,
         "lidar_sim": lambda root: make_dataset("lidar_sim", root, scans=3, beams=16),
         "semantickitti": lambda root: write_kitti(root, labels=True)}


@pytest.mark.parametrize("name", WRITE)
def test_a_whole_copy_is_whole_and_a_damaged_one_is_not(tmp_path, name):
    if name == "argoverse2":
        pytest.importorskip("pyarrow", reason="Argoverse 2 needs pyarrow")
    WRITE[name](tmp_path)
    report = verify_dataset(name, tmp_path)
    assert report.ok and report.counts["scans"] > 2, report.problems
    assert report.layout == SEQUENCE_SETS[name].format in LAYOUTS
    scan = sorted(p for p in tmp_path.rglob("*") if p.suffix in (".bin", ".feather")
                  and p.parent.name in ("velodyne", "LIDAR_TOP", "lidar"))[-1]
    scan.write_bytes(b"12345")
    report = verify_dataset(name, tmp_path)
    assert not report.ok and len(report.problems) == 1 and str(scan) in report.problems[0]
    report = verify_dataset(name, tmp_path / "nowhere")
    assert not report.ok and "no such folder" in report.problems[0]
    with pytest.raises(UsageError):
        verify_dataset(name)
    with pytest.raises(UsageError):
        verify_dataset(name, tmp_path, per_class=3)


@pytest.mark.parametrize("name, licence", [
    ("kitti-odometry", "CC BY-NC-SA 3.0"), ("semantickitti", "CC BY-NC-SA 4.0"),
    ("nuscenes", "CC BY-NC-SA 4.0"), ("argoverse2", "CC BY-NC-SA 4.0")])
def test_terms_and_classes_are_told(name, licence):
    told = describe_dataset(name)
    assert told["licence"] == licence and "commercial" in told["terms"] and told["needs_root"]
    classes = {"semantickitti": semantickitti.CLASSES, "nuscenes": nuscenes.CLASSES,
               "argoverse2": argoverse2.CLASSES, "kitti-odometry": ()}[name]
    assert told["classes"] == list(classes) and "odometry" in told["tasks"]


def test_real_copies_verify(real):
    for name, folder in (("kitti-odometry", "KITTI-odometry"), ("nuscenes", "nuScenes"),
                         ("semantickitti", "SemanticKITTI")):
        report = verify_dataset(name, real(folder))
        assert report.ok and report.counts["sequences"] == 1


def test_sequences_of_a_root_are_listed(tmp_path):
    for name in ("00", "03", "10"):
        write_kitti(tmp_path, 2, name)
    assert list(list_sequences(tmp_path)) == ["00", "03", "10"]
    with pytest.raises(DatasetError):
        list_sequences(tmp_path, "nuscenes")
    with pytest.raises(UnknownNameError):
        list_sequences(tmp_path, "waymo")


def test_what_is_a_sequence(tmp_path):
    write_nuscenes(tmp_path)
    (tmp_path / "a.txt").write_text("1")
    assert is_sequence(tmp_path) and is_sequence(tmp_path / "scene-0000")
    assert not is_sequence(tmp_path / "a.txt") and not is_sequence(tmp_path / "scene-0007")
    assert not is_sequence(tmp_path / "a" / "b")


def test_it_is_public_and_light(tmp_path):
    write_kitti(tmp_path, 2)
    scans = pcinv.open_sequence(str(tmp_path))
    assert isinstance(scans[0], pcinv.Scan) and isinstance(scans, pcinv_data.ScanSequence)
    code = (f"import sys, pcinv; pcinv.open_sequence({str(tmp_path)!r})[0];"
            "sys.exit('torch' in sys.modules or 'pyarrow' in sys.modules)")
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_options_and_unknown_formats_reach_the_reader(tmp_path):
    write_kitti(tmp_path, 2)
    with pytest.raises(UnknownNameError, match="did you mean kitti"):
        pcinv.open_sequence(tmp_path, "kity")
    assert pcinv.open_sequence(tmp_path, sequence=0, on_error="skip").skipped == {}
