"""ShapeNetPart in its native text layout."""

import json

import numpy as np
import pytest

from pcinv.errors import DatasetError, FileFormatError
from pcinv_data import load_dataset, verify_dataset
from pcinv_data.manifest import read_manifest

REAL = "shapenetcore_partanno_segmentation_benchmark_v0_normal"
SYNSETS = {"Cap": "02954340", "Table": "04379243"}


@pytest.fixture
def root(tmp_path):
    classes = read_manifest("shapenetpart").classes
    (tmp_path / "synsetoffset2category.txt").write_text(
        "".join(f"{name}\t{SYNSETS.get(name, f'{k:08d}')}\n" for k, name in enumerate(classes)))
    (tmp_path / "train_test_split").mkdir()
    rng = np.random.default_rng(0)
    for split, count in (("train", 4), ("val", 2), ("test", 2)):
        entries = []
        for k in range(count):
            for name, parts in (("Cap", (6, 7)), ("Table", (47, 48, 49))):
                shape = f"{split}{k}"
                folder = tmp_path / SYNSETS[name]
                folder.mkdir(exist_ok=True)
                normal = rng.standard_normal((120, 3))
                normal /= np.linalg.norm(normal, axis=1, keepdims=True)
                normal[:3] = 0 if name == "Cap" else normal[:3]
                rows = np.hstack([rng.random((120, 3)), normal, rng.choice(parts, (120, 1))])
                np.savetxt(folder / f"{shape}.txt", rows, fmt="%.6f")
                entries.append(f"shape_data/{SYNSETS[name]}/{shape}")
        (tmp_path / "train_test_split" / f"shuffled_{split}_file_list.json").write_text(
            json.dumps(entries))
    return tmp_path


def load(root, split="train", task="part_segmentation", **more):
    return load_dataset("shapenetpart", root, split, task=task, **{"num_points": 60} | more)


def test_fifty_parts_in_the_official_ranges():
    manifest = read_manifest("shapenetpart")
    ids = [int(p) for name in manifest.classes for p in manifest.parts[name]]
    assert ids == list(range(50)) and len(manifest.classes) == 16
    assert [int(p) for p in manifest.parts["Motorbike"]] == list(range(30, 36))


def test_official_validation_split_is_used(root):
    splits = ("train", "val", "trainval", "test")
    assert [len(load(root, split)) for split in splits] == [8, 4, 12, 4]
    assert set(load(root, "val").names) == {"val0", "val1"}


def test_parts_categories_and_normals(root):
    data = load(root)
    assert data.num_parts == 50 and data.has_normals and data.part.shape == (8, 60)
    for sample in data:
        assert set(sample.part.tolist()) <= set(data.part_names[sample.label])
    assert data.part_names[2] == [6, 7] and data.class_names[2] == "Cap"
    assert np.abs(np.linalg.norm(data.normal, axis=2) - 1).max() < 1e-5
    assert load(root, task="classification").part is None


def test_points_normals_and_parts_stay_together(root):
    data = load(root, "test", limit=1)
    rows = np.loadtxt(root / SYNSETS["Cap"] / "test0.txt")
    xyz = rows[:, :3]
    for sample in data:
        for normal, part in zip(sample.normal, sample.part, strict=True):
            match = np.abs(rows[:, 3:6] - normal).max(1)
            assert match.min() < 1e-4
            # a mended normal is that of a neighbour, whose part may differ
            if (np.linalg.norm(rows[match < 1e-4, 3:6], axis=1) > 0.5).all():
                assert part in rows[match < 1e-4, 6] or len(xyz[match < 1e-4]) == 1


def test_a_zero_length_normal_becomes_that_of_the_nearest_point():
    from pcinv_data.prepare import mend_normals

    xyz = np.array([[0.0, 0, 0], [1, 0, 0], [1.1, 0, 0]])
    normal = np.array([[0, 0, 2.0], [0, 0, 0], [0, 1, 0]])
    assert mend_normals(xyz, normal).tolist() == [[0, 0, 1], [0, 1, 0], [0, 1, 0]]
    assert mend_normals(xyz, np.zeros((3, 3))) is None
    assert mend_normals(xyz, None) is None


def test_a_part_of_another_category_is_refused(root):
    file = root / SYNSETS["Cap"] / "train0.txt"
    rows = np.loadtxt(file)
    rows[5, 6] = 47
    np.savetxt(file, rows, fmt="%.6f")
    with pytest.raises(FileFormatError, match="part 47 is not of its category"):
        load(root)
    assert not verify_dataset("shapenetpart", root).ok


def test_a_missing_file_and_a_damaged_list(root):
    (root / SYNSETS["Cap"] / "train0.txt").unlink()
    with pytest.raises(DatasetError, match="1 listed files are not there"):
        load(root)
    (root / "train_test_split" / "shuffled_test_file_list.json").write_text("[1, 2")
    with pytest.raises(DatasetError, match="cannot be read"):
        load(root, "test")


def test_a_wrong_folder(tmp_path):
    with pytest.raises(DatasetError, match="no synsetoffset2category"):
        load(tmp_path)


def test_real_shapes(real):
    data = load(real(REAL), "trainval", num_points=2048)
    assert len(data) == 10 and data.has_normals
    assert np.isfinite(data.normal).all()
    report = verify_dataset("shapenetpart", real(REAL))
    assert report.ok and report.counts == {"train": 9, "val": 1, "test": 5}
