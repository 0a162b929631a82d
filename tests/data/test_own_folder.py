"""A person's own files, and the generated set written out as such."""

import json

import numpy as np
import pytest

from pcinv.errors import DatasetError, UsageError
from pcinv.io import read, write
from pcinv.types import PointCloud
from pcinv_data import load_dataset, make_dataset, verify_dataset
from pcinv_data.generate.classes import CLASS_NAMES, PART_LABELS


def put(file, seed=0, normal=False, points=40):
    file.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    xyz = rng.standard_normal((points, 3)).astype(np.float32) + 30
    unit = xyz / np.linalg.norm(xyz, axis=1, keepdims=True)
    write(file, PointCloud(xyz, attributes={"normal": unit} if normal else {}), force=True)


def load(root, split="train", **more):
    return load_dataset("folder", root, split, **{"num_points": 40} | more)


@pytest.fixture
def root(tmp_path):
    for name in ("cup", "tin"):
        for k in range(10):
            put(tmp_path / name / f"{k}.{('ply', 'xyz', 'pcd')[k % 3]}", 10 * len(name) + k)
    return tmp_path


def test_classes_are_the_folders_and_a_fifth_is_for_testing(root):
    parts = {split: load(root, split) for split in ("train", "val", "trainval", "test")}
    assert {split: len(part) for split, part in parts.items()} == {
        "train": 14, "val": 2, "trainval": 16, "test": 4}
    assert parts["test"].class_names == ["cup", "tin"] and parts["test"].layout == "classes"
    assert not set(parts["test"].names) & set(parts["trainval"].names)
    assert load(root, "test", seed=5).names == parts["test"].names


def test_train_and_test_folders_are_respected(tmp_path):
    for name in ("a", "b"):
        put(tmp_path / name / "train" / "1.ply")
        put(tmp_path / name / "train" / "2.ply")
        put(tmp_path / name / "test" / "3.npy")
    assert load(tmp_path, "trainval").names == ["a/train/1.ply", "a/train/2.ply", "b/train/1.ply",
                                                "b/train/2.ply"]
    assert load(tmp_path, "test").names == ["a/test/3.npy", "b/test/3.npy"]


def test_a_table_of_labels(root):
    rows = ["file,label,split"]
    for k in range(10):
        suffix, label = ("ply", "xyz", "pcd")[k % 3], ("even", "odd")[k % 2]
        rows.append(f"cup/{k}.{suffix},{label},{'test' if k > 7 else 'train'}")
    (root / "labels.csv").write_text("\n".join(rows) + "\n")
    data = load(root, "trainval")
    assert len(data) == 8 and data.class_names == ["even", "odd"] and data.layout == "csv"
    assert data.labels.tolist() == [0, 1] * 4 and len(load(root, "test")) == 2


@pytest.mark.parametrize("text, says", [
    ("name,kind\na,b\n", "expected file and label"),
    ("file,label\ncup/0.ply,\n", "no file or no label"),
    ("file,label\n../x.ply,a\n", "leads out"),
    ("file,label,split\ncup/0.ply,a,exam\n", "unknown split 'exam'"),
    ("file,label\ncup/none.ply,a\n", "1 listed files are not there"),
    ("file,label\n", "no class folder"),
])
def test_a_wrong_table_names_what_is_wrong(root, text, says):
    (root / "labels.csv").write_text(text)
    with pytest.raises(DatasetError) as caught:
        load(root, "trainval")
    assert says in caught.value.message


def test_normals_are_kept_only_when_every_file_has_them(tmp_path):
    for k in range(4):
        put(tmp_path / "a" / f"{k}.ply", k, normal=True)
    assert load(tmp_path, "trainval").has_normals
    put(tmp_path / "a" / "4.ply", 4, normal=False)
    assert not load(tmp_path, "trainval").has_normals


def test_an_empty_folder_and_a_folder_of_other_things(tmp_path):
    with pytest.raises(DatasetError, match="empty"):
        load(tmp_path)
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.md").write_text("x")
    with pytest.raises(DatasetError, match="no class folder"):
        load(tmp_path)


def test_a_damaged_file_is_named_by_load_and_verify(root):
    (root / "cup" / "0.ply").write_text("ply\nformat ascii 1.0\nelement vertex 5\n")
    with pytest.raises(Exception, match=r"0\.ply"):
        load(root, "trainval")
        load(root, "test")
    report = verify_dataset("folder", root)
    assert not report.ok and len(report.problems) == 1 and "0.ply" in report.problems[0]


def test_parts_need_their_table(root):
    with pytest.raises(DatasetError, match="no table of parts"):
        load(root, task="part_segmentation")
    (root / "parts.json").write_text('{"labels": ["x"], "classes": {"cup": [0], "tin": [4]}}')
    with pytest.raises(DatasetError, match="part 4 has no name"):
        load(root, task="part_segmentation")
    (root / "parts.json").write_text('{"labels": ["x"], "classes": {"cup": [0], "tin": [0]}}')
    with pytest.raises(DatasetError, match="no part labels"):
        load(root, task="part_segmentation")


def test_the_generated_set_is_written_and_read_back(tmp_path):
    out, steps = tmp_path / "made", []
    told = make_dataset("shapes", out, per_class=2, num_points=64, seed=3,
                        progress=lambda done, total: steps.append((done, total)))
    assert told["counts"] == {"train": 56, "test": 28} and steps[-1] == (84, 84)
    data = load(out, "trainval", num_points=64, task="part_segmentation")
    made = load_dataset("shapes", None, "trainval", per_class=2, num_points=64, seed=3,
                        task="part_segmentation")
    assert data.class_names == sorted(CLASS_NAMES) and data.part_labels == PART_LABELS
    at = data.names.index("chair/train/chair_0001.ply")
    same = made.names.index("chair_train_0001")
    assert np.allclose(data.xyz[at], made.xyz[same], atol=1e-6)
    assert np.allclose(data.normal[at], made.normal[same], atol=1e-6)
    assert np.array_equal(data.part[at], made.part[same])
    assert len(load(out, "test", num_points=64)) == 28


def test_making_refuses_to_overwrite_and_replaces_only_its_own(tmp_path):
    out = tmp_path / "made"
    make_dataset("shapes", out, per_class=1, num_points=16)
    before = read(out / "bed" / "train" / "bed_0000.ply").xyz
    with pytest.raises(UsageError, match="exists"):
        make_dataset("shapes", out, per_class=1, num_points=16, seed=1)
    make_dataset("shapes", out, per_class=1, num_points=16, seed=1, force=True)
    assert not np.array_equal(read(out / "bed" / "train" / "bed_0000.ply").xyz, before)
    assert json.loads((out / "generated.json").read_text())["seed"] == 1
    own = tmp_path / "own"
    put(own / "cup" / "1.ply")
    with pytest.raises(UsageError, match="something else"):
        make_dataset("shapes", own, per_class=1, num_points=16, force=True)
    assert (own / "cup" / "1.ply").is_file()
    with pytest.raises(UsageError, match="not generated"):
        make_dataset("modelnet40", tmp_path / "x")


def test_a_failed_making_leaves_nothing(tmp_path):
    with pytest.raises(UsageError):
        make_dataset("shapes", tmp_path / "made", per_class=1, num_points=16, format="doc")
    assert list(tmp_path.iterdir()) == []
