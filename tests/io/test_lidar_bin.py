"""KITTI and nuScenes scans."""

import warnings

import numpy as np
import pytest
from builders import told

from pcinv.errors import FileFormatError
from pcinv.io import read


def scan(points, columns, seed=0):
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(points, columns)) * 20
    rows[:, 3] = rng.random(points)
    if columns == 5:
        rows[:, 4] = rng.integers(0, 32, points)
    return rows.astype("<f4")


def save(tmp_path, rows, name="a.bin"):
    (tmp_path / name).write_bytes(rows.tobytes())
    return tmp_path / name


def test_four_columns_by_size_alone_need_no_word(tmp_path):
    rows = scan(101, 4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cloud = read(save(tmp_path, rows))
    np.testing.assert_array_equal(cloud.xyz, rows[:, :3])
    np.testing.assert_array_equal(cloud.attributes["intensity"], rows[:, 3])


def test_five_columns_by_size_are_told(tmp_path):
    with told("rows of 5 float32 (x y z intensity ring), not 4: the size does not fit"):
        cloud = read(save(tmp_path, scan(101, 5), "a.pcd.bin"))
    assert len(cloud) == 101 and set(cloud.attributes) == {"intensity", "ring"}


@pytest.mark.parametrize("columns", [4, 5])
@pytest.mark.parametrize("seed", range(5))
def test_sizes_that_fit_both_are_decided_by_values_and_told(tmp_path, columns, seed):
    rows = scan(400, columns, seed)
    with told(f"rows of {columns} float32"):
        cloud = read(save(tmp_path, rows))
    np.testing.assert_array_equal(cloud.xyz, rows[:, :3])


def test_values_that_fit_both_are_decided_by_the_ring(tmp_path):
    rows = np.abs(scan(400, 5))
    with told("the fifth column is a ring number"):
        assert len(read(save(tmp_path, rows))) == 400
    assert len(read(save(tmp_path, rows), format="bin4")) == 500


def test_named_columns_are_obeyed(tmp_path):
    rows = scan(400, 5)
    assert len(read(save(tmp_path, rows), format="bin5")) == 400
    assert len(read(save(tmp_path, rows), format="bin4")) == 500
    with pytest.raises(FileFormatError, match="not rows of 4"):
        read(save(tmp_path, scan(101, 5)), format="bin4")


@pytest.mark.parametrize(
    "content",
    [b"\0" * 37, b"\xff" * 80, np.full((20, 4), 1e30, "<f4").tobytes(), b"text is no scan!"],
)
def test_faults(tmp_path, content):
    (tmp_path / "a.bin").write_bytes(content)
    with pytest.raises(FileFormatError) as caught:
        read(tmp_path / "a.bin")
    assert "a.bin" in caught.value.where
