"""LiDAR pairs as three files each, fake and real."""

import numpy as np
import pytest
from helpers.fake_threedmatch import random_motion

from pcinv.errors import DatasetError, UnknownNameError
from pcinv.io import write
from pcinv.metrics.registration import is_registered, rotation_error_deg, translation_error
from pcinv.types import PointCloud
from pcinv_data.pairs import load_pairs, measure_overlap


@pytest.fixture
def root(tmp_path):
    """Pairs 2, 10 and 100, whose names do not sort as their numbers do."""
    rng = np.random.default_rng(0)
    for number in ("2", "10", "100"):
        T, source = random_motion(rng), rng.normal(size=(50, 3))
        target = source @ T[:3, :3].T + T[:3, 3]
        for part, points in (("src", source), ("dst", target)):
            write(tmp_path / f"{number}_pts_{part}.ply", PointCloud(points.astype(np.float32)))
        np.savetxt(tmp_path / f"{number}_trans.txt", T)
    (tmp_path / "notes.txt").write_text("mine")
    return tmp_path


def test_pairs_by_number_with_their_motion(root):
    pairs = load_pairs("kitti-pairs", root)
    assert [p.name for p in pairs] == ["kitti/2", "kitti/10", "kitti/100"]
    for pair in pairs:
        T = pair.T_target_source
        moved = pair.load_source() @ T[:3, :3].T + T[:3, 3]
        assert np.abs(moved - pair.load_target()).max() < 1e-5
        assert pair.information is None and pair.overlap is None and not pair.consecutive
    assert len(load_pairs("kitti-pairs", root, scene="kitti")) == 3
    with pytest.raises(UnknownNameError, match="did you mean kitti"):
        load_pairs("kitti-pairs", root, scene="kiti")


@pytest.mark.parametrize("part", ["pts_src.ply", "pts_dst.ply", "trans.txt"])
def test_a_missing_file_is_named(root, part):
    (root / f"10_{part}").unlink()
    with pytest.raises(DatasetError, match=f"pair 10 has no 10_{part}") as caught:
        load_pairs("kitti-pairs", root)
    assert caught.value.where == str(root) and caught.value.hint


@pytest.mark.parametrize("text, line", [
    ("1 0 0 0\n0 1 0 0\n0 0 1 0\n", ""), ("1 0 0 0\n0 1 0\n0 0 1 0\n0 0 0 1", ":2"),
    ("1 0 0 0\n0 1 0 0\n0 0 x 0\n0 0 0 1", ":3"), ("1 0 0 0\n0 1 0 0\n0 0 inf 0\n0 0 0 1", ":3"),
    ("1 0 0 0\n0 1 0 0\n0 0 -1 0\n0 0 0 1", ""), ("2 0 0 0\n0 2 0 0\n0 0 2 0\n0 0 0 1", ""),
    ("", ""), ("1 0 0 0\n0 1 0 0\n0 0 1 0\n0 0 0 1\n1 2 3 4", ""),
], ids=range(8))
def test_a_damaged_matrix_is_named(root, text, line):
    file = root / "10_trans.txt"
    file.write_text(text)
    with pytest.raises(DatasetError) as caught:
        load_pairs("kitti-pairs", root)
    assert caught.value.where == f"{file}{line}" and caught.value.exit_code == 3


def test_a_folder_that_is_something_else(tmp_path):
    (tmp_path / "holiday.jpg").write_text("")
    with pytest.raises(DatasetError, match=r"not kitti-pairs.*it holds holiday\.jpg") as caught:
        load_pairs("kitti-pairs", tmp_path)
    assert "NNN_trans.txt" in caught.value.hint
    with pytest.raises(DatasetError, match="no such folder"):
        load_pairs("kitti-pairs", tmp_path / "nope")


def test_real_pairs(real):
    pairs = load_pairs("kitti-pairs", real("KITTI-pairs-10m"))
    assert [p.source_id for p in pairs] == [0, 10, 30, 40, 50, 70, 90]
    for pair in pairs:
        T = pair.T_target_source
        assert 12_000 <= len(pair.load_source()) <= 27_000
        assert 9.6 < translation_error(T, np.eye(4)) < 11.2
        assert 0.5 < rotation_error_deg(T, np.eye(4)) < 22
        right = measure_overlap(pair, 0.6)
        assert 0.68 < right < 0.83
        for wrong in (np.eye(4), np.linalg.inv(T)):
            other = type(pair)(**vars(pair) | {"T_target_source": wrong})
            assert measure_overlap(other, 0.6) < right - 0.15
            assert not is_registered(wrong, T, rule="kitti")
        assert is_registered(T, T, rule="kitti")
