"""ScanObjectNN in its distributed files (made here: the real ones may not be passed on)."""

import numpy as np
import pytest
from helpers.fake_h5 import write_h5

from pcinv.errors import DatasetError, FileFormatError, UnknownNameError
from pcinv_data import load_dataset, verify_dataset
from pcinv_data.scanobjectnn import VARIANTS

FILES = {
    "obj_only": "main_split_nobg/{}objectdataset.h5",
    "obj_bg": "main_split/{}objectdataset.h5",
    "pb_t50_rs": "main_split/{}objectdataset_augmentedrot_scale75.h5",
}
COUNTS = {"obj_only": (30, 15), "obj_bg": (45, 15), "pb_t50_rs": (60, 30)}


@pytest.fixture
def root(tmp_path):
    rng = np.random.default_rng(0)
    for variant, pattern in FILES.items():
        for prefix, count in zip(("training_", "test_"), COUNTS[variant], strict=True):
            write_h5(tmp_path / pattern.format(prefix), np.arange(count) % 15, rng, points=96,
                     column=False, mask=np.zeros((count, 96), np.int64))
    return tmp_path


@pytest.mark.parametrize("variant", VARIANTS)
def test_each_variant_is_read_from_its_own_file(root, variant):
    train = load_dataset("scanobjectnn", root, "trainval", num_points=96, variant=variant)
    test = load_dataset("scanobjectnn", root, "test", num_points=48, variant=variant.upper())
    assert (len(train), len(test)) == COUNTS[variant]
    assert test.xyz.shape[1] == 48 and not test.has_normals and len(test.class_names) == 15
    assert np.linalg.norm(test.xyz, axis=2).max() == pytest.approx(1, abs=1e-5)


def test_the_hardest_variant_is_the_default_and_a_parent_folder_works(root):
    assert len(load_dataset("scanobjectnn", root, "test", num_points=96)) == 30
    outer = root.parent / "outer"
    outer.mkdir()
    (outer / "h5_files").symlink_to(root)
    assert len(load_dataset("scanobjectnn", outer, "test", num_points=96)) == 30


def test_unknown_variant_and_missing_file(root):
    with pytest.raises(UnknownNameError, match="obj_bg"):
        load_dataset("scanobjectnn", root, variant="obj_gb")
    (root / "main_split" / "test_objectdataset.h5").unlink()
    with pytest.raises(DatasetError, match=r"no main_split/test_objectdataset\.h5"):
        load_dataset("scanobjectnn", root, "test", variant="obj_bg")


def test_labels_beyond_the_classes_are_refused(root):
    write_h5(root / "main_split" / "test_objectdataset.h5", [15], np.random.default_rng(0))
    with pytest.raises(FileFormatError, match="expected 0 to 14"):
        load_dataset("scanobjectnn", root, "test", variant="obj_bg")


def test_verify_checks_one_variant(root):
    report = verify_dataset("scanobjectnn", root, variant="obj_only")
    assert report.ok and report.layout == "obj_only" and report.counts == {"train": 30, "test": 15}
    assert report.notes == ["train: 30 of the 2309 shapes of the whole data set",
                            "test: 15 of the 581 shapes of the whole data set"]
