"""Where the real data lies, and a small fake copy of ModelNet10."""

from pathlib import Path

import numpy as np
import pytest
from helpers.fake_h5 import write_h5

from pcinv_data.manifest import read_manifest

REAL = Path(__file__).parents[2].parent / "shared" / "data"


@pytest.fixture
def real():
    """Return the folder of a real data set, or skip with the reason."""
    def find(name):
        folder = REAL / name
        if not folder.is_dir():
            pytest.skip(f"no real data in ../shared/data/{name}")
        return folder
    return find


@pytest.fixture
def hdf5_root(tmp_path):
    """ModelNet10 in HDF5: two training files and one for testing, listed with a foreign prefix."""
    root = tmp_path / "m10"
    rng = np.random.default_rng(0)
    write_h5(root / "ply_data_train0.h5", np.arange(20) % 10, rng)
    write_h5(root / "ply_data_train1.h5", np.arange(10) % 10, rng)
    write_h5(root / "ply_data_test0.h5", np.arange(10), rng)
    (root / "shape_names.txt").write_text("\n".join(read_manifest("modelnet10").classes) + "\n")
    (root / "train_files.txt").write_text(
        "data/modelnet10_hdf5/ply_data_train0.h5\ndata/modelnet10_hdf5/ply_data_train1.h5\n")
    (root / "test_files.txt").write_text("data/modelnet10_hdf5/ply_data_test0.h5\n")
    return root
