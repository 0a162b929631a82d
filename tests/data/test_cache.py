"""Prepared arrays that are kept on disk."""

import os

import numpy as np
import pytest

from pcinv.errors import LimitError
from pcinv_data import load_dataset


def load(root, folder, **more):
    return load_dataset("modelnet10", root, "trainval", cache=folder, **{"num_points": 32} | more)


def test_a_second_load_gives_the_same_arrays_without_reading(hdf5_root, tmp_path, monkeypatch):
    first = load(hdf5_root, tmp_path / "kept")
    assert np.array_equal(first.xyz, load(hdf5_root, None).xyz)
    monkeypatch.setattr("pcinv_data.registry.prepare", None)  # would fail if it were called
    again = load(hdf5_root, tmp_path / "kept")
    assert np.array_equal(again.xyz, first.xyz) and again.normal is None


def test_other_settings_and_changed_files_are_made_anew(hdf5_root, tmp_path):
    folder = tmp_path / "kept"
    first = load(hdf5_root, folder)
    assert load(hdf5_root, folder, num_points=16).num_points == 16
    assert not np.array_equal(load(hdf5_root, folder, sampling="random").xyz, first.xyz)
    assert len(list(folder.iterdir())) == 3
    os.utime(hdf5_root / "ply_data_train0.h5", (1, 1))
    load(hdf5_root, folder)
    assert len(list(folder.iterdir())) == 4


def test_a_damaged_file_is_made_again(hdf5_root, tmp_path, caplog):
    folder = tmp_path / "kept"
    first = load(hdf5_root, folder)
    (kept,) = folder.iterdir()
    content = kept.read_bytes()
    kept.write_bytes(content[:len(content) // 2])
    assert np.array_equal(load(hdf5_root, folder).xyz, first.xyz)
    assert any("damaged" in record.message for record in caplog.records)
    flipped = bytearray(content)
    flipped[len(flipped) // 2] ^= 255
    kept.write_bytes(flipped)
    assert np.array_equal(load(hdf5_root, folder).xyz, first.xyz)


def test_a_folder_that_cannot_be_made_is_an_error(hdf5_root, tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(LimitError, match="cannot keep"):
        load(hdf5_root, tmp_path / "taken" / "kept")
