"""The table of pair sets: names, choice of pairs, reading of clouds."""

import os
import pickle

import numpy as np
import pytest
from helpers.fake_threedmatch import write_scene

from pcinv.errors import FileFormatError, InputError, UnknownNameError, UsageError
from pcinv.io import write
from pcinv.metrics.registration import RULES
from pcinv.types import Mesh, PointCloud
from pcinv_data import describe_dataset, list_datasets, verify_dataset
from pcinv_data import pairs as module
from pcinv_data.pairs import PAIR_SETS, load_pairs, read_points

ALL = [(i, j) for i in range(5) for j in range(i + 1, 5)]


@pytest.fixture
def root(tmp_path):
    """One scene with all ten pairs of five fragments."""
    write_scene(tmp_path, "office", ALL)
    return tmp_path


@pytest.mark.parametrize("name", PAIR_SETS)
def test_each_row_is_complete(name):
    row = PAIR_SETS[name]
    assert row.name == name and row.recall_rule in RULES
    assert row.manifest.layouts and row.manifest.terms and row.manifest.get


def test_unknown_names_and_a_root_left_out(root):
    with pytest.raises(UnknownNameError, match="did you mean 3dmatch"):
        load_pairs("3dmach", root)
    with pytest.raises(UnknownNameError, match="kitti-pairs"):
        load_pairs("kitti", root)
    with pytest.raises(UsageError, match="needs the folder"):
        load_pairs("3dmatch", None)


@pytest.mark.parametrize("limit, chosen", [
    (1, [0]), (2, [0, 9]), (4, [0, 3, 6, 9]), (10, range(10)), (99, range(10)), (None, range(10))])
def test_a_limit_takes_evenly_spaced_pairs(root, limit, chosen):
    names = [f"office/{ALL[k][0]}-{ALL[k][1]}" for k in chosen]
    assert [p.name for p in load_pairs("3dmatch", str(root), limit=limit)] == names


@pytest.mark.parametrize("limit", range(1, 10))
def test_a_limit_is_reached_and_takes_no_pair_twice(root, limit):
    names = [p.name for p in load_pairs("3dmatch", root, limit=limit)]
    assert len(names) == len(set(names)) == limit


@pytest.mark.parametrize("limit", [0, -1, 2.5, "3"])
def test_limits_that_cannot_be(root, limit):
    with pytest.raises(InputError, match="limit is"):
        load_pairs("3dmatch", root, limit=limit)


def test_consecutive_pairs_can_be_left_out_before_the_limit(root):
    pairs = load_pairs("3dmatch", root, consecutive=False, limit=3)
    assert len(pairs) == 3 and not any(p.consecutive for p in pairs)
    assert len(load_pairs("3dmatch", root, consecutive=False)) == 6


def test_clouds_are_read_once_and_cannot_be_changed(root, monkeypatch):
    module._read_points.cache_clear()
    pairs = load_pairs("3dmatch", root)
    assert module._read_points.cache_info().misses == 0  # listing reads none
    for pair in pairs * 2:
        pair.load_source()
        pair.load_target()
    assert module._read_points.cache_info().misses == 5
    points = pairs[0].load_source()
    assert points.dtype == np.float64 and points.shape == (200, 3)
    with pytest.raises(ValueError, match="read-only"):
        points[0] = 0


def test_a_changed_file_is_read_again(root):
    pair = load_pairs("3dmatch", root)[0]
    pair.load_source()
    new = PointCloud(np.ones((7, 3), np.float32))
    write(pair.source_file, new, force=True)
    os.utime(pair.source_file, ns=(1, 1))
    assert np.array_equal(pair.load_source(), new.absolute())


def test_a_file_that_has_gone(root):
    pair = load_pairs("3dmatch", root)[0]
    pair.source_file.unlink()
    with pytest.raises(FileFormatError, match="cannot be read") as caught:
        pair.load_source()
    assert caught.value.where == str(pair.source_file)


def test_pairs_go_to_other_processes(root):
    pair = load_pairs("3dmatch", root)[3]
    other = pickle.loads(pickle.dumps(pair))
    assert other.name == pair.name and np.array_equal(other.load_source(), pair.load_source())
    assert np.array_equal(other.T_target_source, pair.T_target_source)


def test_coordinates_far_from_zero_keep_their_digits(tmp_path):
    points = np.random.default_rng(0).uniform((5e6, 4e5, 100), (5e6 + 1, 4e5 + 1, 101), (20, 3))
    cloud = PointCloud((points - points[0]).astype(np.float32), points[0])
    write(tmp_path / "far.ply", cloud)
    assert np.abs(read_points(tmp_path / "far.ply") - points).max() < 1e-6


def test_the_vertices_of_a_mesh_are_its_points(tmp_path):
    corners = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1.0]])
    write(tmp_path / "a.ply", Mesh(corners, np.array([[0, 2, 1], [0, 1, 3]])))
    assert np.array_equal(read_points(tmp_path / "a.ply"), corners)


def test_the_sets_are_listed_by_the_names_that_work(root):
    assert set(PAIR_SETS) <= set(list_datasets())
    told = describe_dataset("3dlomatch")
    assert told["tasks"] == ["registration"] and told["needs_root"]
    assert told["sizes"] == {"3dlomatch": {"test": 1781}}
    with pytest.raises(UnknownNameError, match="kitti-pairs"):
        describe_dataset("kitti_pair")


def test_a_copy_is_verified_scene_by_scene(root):
    write_scene(root, "attic", ALL[:3])
    report = verify_dataset("3dmatch", root)
    assert report.ok and report.counts == {"test": 13} and report.problems == []
    assert report.notes == ["test: 13 of the 1623 pairs of the whole data set"]
    (root / "fragments" / "attic" / "cloud_bin_2.ply").unlink()
    (root / "fragments" / "office" / "cloud_bin_3.ply").write_bytes(b"ply")
    report = verify_dataset("3dmatch", root)
    assert not report.ok and report.counts == {"test": 10}
    assert len(report.problems) == 2
    assert "fragment 2 of attic" in report.problems[0]
    assert "cloud_bin_3.ply" in report.problems[1]


def test_other_folders_are_no_copy(root, tmp_path):
    report = verify_dataset("kitti-pairs", root)
    assert not report.ok and "not kitti-pairs" in report.problems[0] and not report.counts
    assert not verify_dataset("3dlomatch", tmp_path / "missing").ok
    with pytest.raises(UsageError, match="needs the folder"):
        verify_dataset("3dmatch")
    with pytest.raises(UsageError, match="no options"):
        verify_dataset("3dmatch", root, variant="hard")
