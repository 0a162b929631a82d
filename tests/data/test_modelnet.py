"""ModelNet40 and ModelNet10 in their four layouts, real and fake, whole and damaged."""

import os

import h5py
import numpy as np
import pytest
from helpers.fake_h5 import write_h5

from pcinv.errors import DatasetError, FileFormatError, PcinvError, UsageError
from pcinv_data import load_dataset, verify_dataset

CUBE = """OFF
8 6 0
0 0 0
1 0 0
1 1 0
0 1 0
0 0 1
1 0 1
1 1 1
0 1 1
4 0 3 2 1
4 4 5 6 7
4 0 1 5 4
4 1 2 6 5
4 2 3 7 6
4 3 0 4 7
"""


def load10(root, split="train", **more):
    return load_dataset("modelnet10", root, split, **{"num_points": 64} | more)


def test_hdf5_with_a_foreign_prefix_is_read(hdf5_root):
    data = load10(hdf5_root, "trainval")
    assert len(data) == 30 and data.layout == "hdf5" and not data.has_normals
    assert np.bincount(data.labels).tolist() == [3] * 10
    assert np.abs(data.xyz.mean(1)).max() < 1e-5
    assert np.linalg.norm(data.xyz, axis=2).max() == pytest.approx(1, abs=1e-5)
    assert data[0].normal is None and data.class_names[6] == "night_stand"
    assert load10(hdf5_root, "test").names[3] == "ply_data_test0/3"


def test_a_cloud_of_the_wanted_size_keeps_its_points_in_order(hdf5_root):
    with h5py.File(hdf5_root / "ply_data_test0.h5") as handle:
        stored = handle["data"][4].astype(np.float64)
    stored -= stored.mean(0)
    stored /= np.linalg.norm(stored, axis=1).max()
    assert np.abs(load10(hdf5_root, "test").xyz[4] - stored).max() < 1e-6


def test_only_listed_files_are_used_and_links_work(hdf5_root, tmp_path):
    (hdf5_root / "train_files.txt").write_text("data/modelnet10_hdf5/ply_data_train1.h5\n")
    linked = tmp_path / "linked"
    linked.mkdir()
    for file in hdf5_root.iterdir():
        os.symlink(file, linked / file.name)
    assert len(load10(linked, "trainval")) == 10


def test_validation_comes_out_of_training_for_every_seed_alike(hdf5_root):
    train, val = load10(hdf5_root), load10(hdf5_root, "val")
    assert set(train.names) | set(val.names) == set(load10(hdf5_root, "trainval").names)
    assert not set(train.names) & set(val.names)
    assert np.bincount(val.labels).tolist() == [1] * 10
    assert load10(hdf5_root, "val", seed=9).names == val.names
    assert not set(val.names) & set(load10(hdf5_root, "test").names)


def test_normals_of_the_files_are_used_when_all_are_unit(hdf5_root):
    rng = np.random.default_rng(5)
    normal = rng.standard_normal((10, 64, 3)).astype(np.float32)
    normal /= np.linalg.norm(normal, axis=2, keepdims=True)
    write_h5(hdf5_root / "ply_data_test0.h5", np.arange(10), rng, normal=normal)
    data = load10(hdf5_root, "test")
    assert data.has_normals and np.allclose(data.normal, normal, atol=1e-5)
    assert not load10(hdf5_root, "train").has_normals
    write_h5(hdf5_root / "ply_data_test0.h5", np.arange(10), rng, normal=normal * 0.5)
    assert not load10(hdf5_root, "test").has_normals


def test_fewer_points_are_repeated_and_told_once(hdf5_root, caplog):
    data = load10(hdf5_root, "test", num_points=100)
    assert data.xyz.shape == (10, 100, 3)
    assert len(np.unique(data.xyz[0], axis=0)) == 64
    assert [r.message for r in caplog.records if "repeated" in r.message] == [
        "10 of 10 shapes have fewer than 100 points: some of their points are repeated"]
    assert np.array_equal(load10(hdf5_root, "test", num_points=100).xyz, data.xyz)


@pytest.mark.parametrize("sampling", ["fps", "random"])
def test_more_points_are_thinned_to_a_fixed_subset(hdf5_root, sampling):
    full = load10(hdf5_root, "test")
    data = load10(hdf5_root, "test", num_points=16, sampling=sampling)
    assert data.xyz.shape == (10, 16, 3) and len(np.unique(data.xyz[0], axis=0)) == 16
    again = load10(hdf5_root, "test", num_points=16, sampling=sampling, limit=3)
    assert np.array_equal(again.xyz, data.xyz[:3])
    other = load10(hdf5_root, "test", num_points=16, sampling=sampling, seed=1)
    assert np.array_equal(other.xyz, data.xyz) == (sampling == "fps")
    assert full.num_points == 64


def test_farthest_points_are_spread_wider_than_random_ones(hdf5_root):
    def closest(data):
        gap = np.linalg.norm(data.xyz[:, :, None] - data.xyz[:, None], axis=3)
        return (gap + 9 * np.eye(gap.shape[1])).min((1, 2)).mean()

    far = load10(hdf5_root, "test", num_points=16)
    assert closest(far) > 1.5 * closest(load10(hdf5_root, "test", num_points=16, sampling="random"))


def damage(root, how):
    file = root / "ply_data_train1.h5"
    if how == "cut":
        file.write_bytes(file.read_bytes()[:3000])
    elif how == "text":
        file.write_text("not found\n" * 50)
    elif how == "no label":
        with h5py.File(file, "a") as handle:
            del handle["label"]
    elif how == "wrong label":
        write_h5(file, [0, 77], np.random.default_rng(0))
    elif how == "flat":
        with h5py.File(file, "a") as handle:
            del handle["data"]
            handle["data"] = np.ones((10, 64), np.float32)
    elif how == "short":
        with h5py.File(file, "a") as handle:
            del handle["data"]
            handle["data"] = np.ones((9, 64, 3), np.float32)
    elif how == "nan":
        with h5py.File(file, "a") as handle:
            handle["data"][3, 5, 1] = np.nan
    elif how == "outside":
        with h5py.File(file, "a") as handle:
            del handle["data"]
            handle["data"] = h5py.ExternalLink("ply_data_train0.h5", "data")


@pytest.mark.parametrize("how", ["cut", "text", "no label", "wrong label", "flat", "short", "nan",
                                 "outside"])
def test_a_damaged_file_is_named_and_never_half_read(hdf5_root, how):
    damage(hdf5_root, how)
    with pytest.raises(FileFormatError) as caught:
        load10(hdf5_root)
    assert "ply_data_train1.h5" in caught.value.where and caught.value.hint
    report = verify_dataset("modelnet10", hdf5_root)
    assert not report.ok and any("ply_data_train1.h5" in p for p in report.problems)


def test_a_cloud_of_one_repeated_point_is_named(hdf5_root):
    with h5py.File(hdf5_root / "ply_data_test0.h5", "a") as handle:
        handle["data"][2] = 7.0
    with pytest.raises(PcinvError, match="alike"):
        load10(hdf5_root, "test")


def test_a_missing_listed_file_is_an_error_and_in_the_report(hdf5_root):
    (hdf5_root / "ply_data_train1.h5").unlink()
    with pytest.raises(DatasetError, match=r"1 listed files are not there.*ply_data_train1\.h5"):
        load10(hdf5_root)
    report = verify_dataset("modelnet10", hdf5_root)
    assert not report.ok and report.problems == ["ply_data_train1.h5: listed, but not there"]


def test_a_list_cannot_lead_out_of_the_folder(hdf5_root):
    (hdf5_root / "train_files.txt").write_text("../../secret.h5\n")
    with pytest.raises(DatasetError, match="leads out"):
        load10(hdf5_root)


def test_the_classes_of_another_data_set_are_refused(hdf5_root):
    with pytest.raises(DatasetError, match="not those of modelnet40") as caught:
        load_dataset("modelnet40", hdf5_root)
    assert "modelnet10" in caught.value.hint


def test_verify_counts_and_compares_with_the_whole(hdf5_root):
    report = verify_dataset("modelnet10", hdf5_root)
    assert report.ok and report.layout == "hdf5" and report.counts == {"train": 30, "test": 10}
    assert "train: 30 of the 3991 shapes of the whole data set" in report.notes


def off_root(root, classes=("airplane", "bathtub"), train=3, test=2):
    for name in classes:
        for part, count in (("train", train), ("test", test)):
            (root / name / part).mkdir(parents=True)
            for k in range(count):
                (root / name / part / f"{name}_{k:04d}.off").write_text(CUBE)
    return root


def test_meshes_are_sampled_with_the_normals_of_their_faces(tmp_path):
    data = load_dataset("modelnet40", off_root(tmp_path), "trainval", num_points=600)
    assert data.layout == "off" and data.has_normals and len(data) == 6
    assert set(np.abs(data.normal).max(2).ravel().round(5)) == {1.0}
    face = np.abs(data.xyz).max(2)
    assert np.abs((data.xyz * data.normal).sum(2) - face).max() < 0.1  # outwards, on the faces
    assert not np.array_equal(data.xyz[0], data.xyz[1])  # own random points for each shape
    again = load_dataset("modelnet40", tmp_path, "trainval", num_points=600)
    assert np.array_equal(again.xyz, data.xyz)


def test_a_damaged_mesh_is_named(tmp_path):
    root = off_root(tmp_path)
    (root / "airplane/train/airplane_0001.off").write_text(CUBE[:60])
    with pytest.raises(FileFormatError, match="airplane_0001"):
        load_dataset("modelnet40", root, "trainval", num_points=64)
    report = verify_dataset("modelnet40", root)
    assert not report.ok and len(report.problems) == 1


def test_modelnet40_meshes_are_not_taken_for_modelnet10(tmp_path):
    with pytest.raises(DatasetError, match="airplane is not a class of modelnet10"):
        load10(off_root(tmp_path))


@pytest.mark.parametrize("make, says", [
    (lambda root: (root / "modelnet40_shape_names.txt").write_text("airplane\n"),
     "looks like modelnet40_normal_resampled"),
    (lambda root: (root / "synsetoffset2category.txt").write_text(""), "looks like ShapeNetPart"),
    (lambda root: off_root(root / "inner"), "sub-folder 'inner' looks like ModelNet meshes"),
    (lambda root: (root / "holiday.jpg").write_text(""), "holds holiday.jpg"),
    (lambda root: None, "the folder is empty"),
])
def test_a_wrong_folder_is_told_what_it_looks_like(tmp_path, make, says):
    make(tmp_path)
    with pytest.raises(DatasetError) as caught:
        load10(tmp_path)
    assert says in caught.value.message and "train_files.txt" in caught.value.message
    assert caught.value.exit_code == 3 and "pcinv data info modelnet10" in caught.value.hint


def test_a_folder_that_is_not_there_and_a_root_left_out(tmp_path):
    with pytest.raises(DatasetError, match="no such folder"):
        load10(tmp_path / "nope")
    with pytest.raises(UsageError, match="needs the folder"):
        load10(None)
    with pytest.raises(UsageError, match="needs the folder"):
        verify_dataset("modelnet10")


def resampled_root(root):
    rng = np.random.default_rng(0)
    for name in ("night_stand", "sofa"):
        (root / name).mkdir(parents=True)
        for k in range(1, 4):
            normal = rng.standard_normal((200, 3))
            normal /= np.linalg.norm(normal, axis=1, keepdims=True)
            rows = np.hstack([rng.random((200, 3)), normal])
            np.savetxt(root / name / f"{name}_000{k}.txt", rows, fmt="%.6f", delimiter=",")
    for edition in ("modelnet40", "modelnet10"):
        (root / f"{edition}_train.txt").write_text("night_stand_0001\nsofa_0001\nsofa_0002\n")
        (root / f"{edition}_test.txt").write_text("night_stand_0003\n")
    (root / "modelnet40_shape_names.txt").write_text("x\n")
    return root


@pytest.mark.parametrize("edition", ["modelnet40", "modelnet10"])
def test_resampled_text_is_thinned_with_its_normals(tmp_path, edition):
    root = resampled_root(tmp_path)
    data = load_dataset(edition, root, "trainval", num_points=50)
    assert data.layout == "resampled"
    assert data.names == ["night_stand_0001", "sofa_0001", "sofa_0002"]
    assert data.class_names[data.labels[0]] == "night_stand"
    rows = np.loadtxt(root / "night_stand" / "night_stand_0001.txt", delimiter=",")
    assert all(np.abs(rows[:, 3:] - n).max(1).min() < 1e-4 for n in data.normal[0])


def test_resampled_text_with_a_short_row_names_its_line(tmp_path):
    root = resampled_root(tmp_path)
    file = root / "sofa" / "sofa_0001.txt"
    lines = file.read_text().splitlines()
    lines[6] = "0.1,0.2,0.3"
    file.write_text("\n".join(lines))
    with pytest.raises(FileFormatError) as caught:
        load_dataset("modelnet40", root)
    assert caught.value.where.endswith("sofa_0001.txt:7")


def test_real_hdf5(real):
    root = real("modelnet10_hdf5_1024")
    val, test = load_dataset("modelnet10", root, "val"), load_dataset("modelnet10", root, "test")
    train = load_dataset("modelnet10", root, "train", limit=300)
    assert len(test) == 454 and 370 < len(val) < 400 and set(np.bincount(train.labels)) == {30}
    assert test.xyz.shape == (454, 1024, 3)
    assert not {x.tobytes() for x in val.xyz} & {x.tobytes() for x in test.xyz}
    assert not set(val.names) & set(test.names) and "_" in val.names[0]
    assert set(test.labels) == set(range(10))


def test_real_hdf5_is_in_order(real):
    report = verify_dataset("modelnet10", real("modelnet10_hdf5_1024"))
    assert report.ok and report.counts == {"train": 3841, "test": 454}


def test_real_meshes_with_glued_headers(real):
    data = load_dataset("modelnet40", real("ModelNet40-off"), "trainval", num_points=256)
    assert sorted(data.names) == ["airplane_0003", "bathtub_0001", "bathtub_0002", "bathtub_0004",
                                  "bed_0001", "chair_0001"]
    assert data.has_normals
    with pytest.raises(DatasetError, match="no shapes in split 'test'"):
        load_dataset("modelnet40", real("ModelNet40-off"), "test")


def test_real_resampled_text(real):
    data = load_dataset("modelnet40", real("modelnet40_normal_resampled"), "test", num_points=128)
    assert [data.class_names[k] for k in data.labels] == ["airplane", "bathtub", "person"]
    assert np.abs(np.linalg.norm(data.normal, axis=2) - 1).max() < 1e-5


def test_real_pcd_clouds_are_those_of_the_hdf5_files(real):
    clouds = load_dataset("modelnet10", real("ModelNet10-pcd"), "test")
    stored = load_dataset("modelnet10", real("modelnet10_hdf5_1024"), "test")
    assert len(clouds) == 30 and clouds.layout == "pcd"
    shared = set(clouds.names) & set(stored.names)
    for name in sorted(shared)[:5]:
        a, b = clouds.names.index(name), stored.names.index(name)
        assert clouds.labels[a] == stored.labels[b]
        assert np.abs(clouds.xyz[a] - stored.xyz[b]).max() < 1e-4


def test_real_folder_of_another_data_set(real):
    with pytest.raises(DatasetError, match="looks like modelnet40_normal_resampled"):
        load10(real("modelnet40_normal_resampled"))
