"""Where the real data lies, and small fake copies of ModelNet10 and 3DMatch."""

from pathlib import Path

import numpy as np
import pytest
from helpers.fake_h5 import write_h5
from helpers.fake_register import FakeRegister
from helpers.fake_threedmatch import write_scene

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


@pytest.fixture
def scenes(tmp_path):
    """Two scenes of five fragments; of each six pairs count, and four are neighbours in time."""
    every = [(i, j) for i in range(5) for j in range(i + 1, 5)]
    write_scene(tmp_path / "copy", "kitchen", every, seed=1)
    write_scene(tmp_path / "copy", "office", every, seed=2)
    return tmp_path / "copy"


@pytest.fixture
def register(monkeypatch):
    """Put a stand-in in the place of pcinv.register; the function it returns exchanges it."""
    def use(change=None):
        fake = FakeRegister(change)
        monkeypatch.setattr("pcinv.register", fake, raising=False)
        return fake
    return use
