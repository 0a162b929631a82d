"""Pickled lists of pairs: the same pairs as gt.log tells, and nothing in them is run."""

import os
import pickle

import numpy as np
import pytest
from helpers.fake_threedmatch import save_torch, write_scene

from pcinv.errors import DatasetError, FileFormatError, UnknownNameError
from pcinv_data.benchmark import run_registration
from pcinv_data.pair_lists import pairs_of_pickle
from pcinv_data.pairs import PAIR_SETS, load_pairs, read_points
from pcinv_data.verify import verify_dataset


@pytest.fixture
def root(tmp_path):
    """A copy of two scenes."""
    write_scene(tmp_path, "kitchen", [(0, 1), (0, 2)])
    write_scene(tmp_path, "office", [(0, 1), (0, 2), (1, 4), (3, 4)], seed=1)
    return tmp_path


def predator_list(pairs):
    return {"src": [f"test/{p.scene}/cloud_bin_{p.source_id}.pth" for p in pairs],
            "tgt": [f"test/{p.scene}/cloud_bin_{p.target_id}.pth" for p in pairs],
            "rot": np.array([p.T_target_source[:3, :3] for p in pairs]),
            "trans": [p.T_target_source[:3, 3:] for p in pairs],
            "overlap": [np.float64(0.25)] * len(pairs)}


def geo_list(pairs):
    return [{"pcd0": f"test/{p.scene}/cloud_bin_{p.target_id}.pth", "frag_id0": p.target_id,
             "pcd1": f"test/{p.scene}/cloud_bin_{p.source_id}.pth", "frag_id1": p.source_id,
             "rotation": p.T_target_source[:3, :3], "translation": p.T_target_source[:3, 3],
             "overlap": 0.25, "scene_name": p.scene} for p in pairs]


@pytest.mark.parametrize("make", [predator_list, geo_list])
def test_pickled_lists_tell_the_same_pairs(root, make):
    wanted = load_pairs("3dmatch", root)
    file = root / "list.pkl"
    file.write_bytes(pickle.dumps(make(wanted), 4))
    found = pairs_of_pickle(file, root / "data")
    for a, b in zip(found, wanted, strict=True):
        assert (a.name, a.scene, a.consecutive) == (b.name, b.scene, b.consecutive)
        assert np.array_equal(a.T_target_source, b.T_target_source) and a.overlap == 0.25
        assert a.source_file == root / "data" / "test" / b.scene / f"cloud_bin_{b.source_id}.pth"


@pytest.mark.parametrize("change, says", [
    (lambda d: d.pop("rot"), "neither Predator's"), (lambda d: d["src"].pop(), "neither"),
    (lambda d: d["src"].__setitem__(0, "../../etc/passwd"), "not the path of a fragment"),
    (lambda d: d["src"].__setitem__(0, "/x/cloud_bin_0.pth"), "not the path of a fragment"),
    (lambda d: d["src"].__setitem__(0, "test/a/other.pth"), "not the path of a fragment"),
    (lambda d: d.__setitem__("rot", d["rot"][:, :2]), "no rotation"),
    (lambda d: d.__setitem__("rot", d["rot"] * 2), "not a rotation and a shift"),
    (lambda d: d.__setitem__("overlap", ["x"] * 6), "no rotation"),
], ids=range(8))
def test_damaged_pickled_lists(root, change, says):
    content = predator_list(load_pairs("3dmatch", root))
    change(content)
    file = root / "list.pkl"
    file.write_bytes(pickle.dumps(content))
    with pytest.raises(DatasetError, match=says) as caught:
        pairs_of_pickle(file, root)
    assert str(file) in caught.value.where


def test_a_hostile_pickled_list_is_not_run(root):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(root / "marker"),)

    file = root / "list.pkl"
    file.write_bytes(pickle.dumps({"src": [Evil()]}))
    with pytest.raises(FileFormatError, match=r"mkdir, which is not allowed"):
        pairs_of_pickle(file, root)
    assert not (root / "marker").exists()


LAYOUTS = {
    "predator": (predator_list, "configs/indoor/{}_info.pkl", "data/indoor"),
    "geotransformer": (geo_list, "metadata/{}.pkl", "data"),
    "inner": (geo_list, "data/3DMatch/metadata/{}.pkl", "data/3DMatch/data"),
    "flat": (predator_list, "{}_info.pkl", ""),
}


def lay_out(source, target, layout, part="val"):
    """Lay the clouds and the list of a small 3DMatch as another code base does."""
    make, name, clouds = LAYOUTS[layout]
    pairs = load_pairs("3dmatch", source)
    for pair in pairs:
        for file in (pair.source_file, pair.target_file):
            there = target / clouds / "test" / pair.scene / f"{file.stem}.pth"
            there.parent.mkdir(parents=True, exist_ok=True)
            save_torch(there, read_points(file).astype(np.float32))
    listed = target / name.format(part)
    listed.parent.mkdir(parents=True, exist_ok=True)
    listed.write_bytes(pickle.dumps(make(pairs), 4))
    return pairs


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("part", ["train", "val"])
def test_the_parts_for_training_in_each_layout(root, tmp_path, layout, part):
    copy = tmp_path / "copy"
    wanted = lay_out(root, copy, layout, part)
    found = load_pairs(f"3dmatch-{part}", copy)
    assert [pair.name for pair in found] == [pair.name for pair in wanted]
    for a, b in zip(found, wanted, strict=True):
        assert np.allclose(a.load_source(), b.load_source(), atol=1e-6) and a.information is None
    assert PAIR_SETS[f"3dmatch-{part}"].scenes(copy) == ["kitchen", "office"]
    assert {pair.scene for pair in load_pairs(f"3dmatch-{part}", copy, scene="office")} == {
        "office"}
    report = verify_dataset(f"3dmatch-{part}", copy)
    assert report.ok and report.counts == {"test": 6}


def test_one_scene_does_not_need_the_clouds_of_the_others(root, tmp_path):
    copy = tmp_path / "copy"
    lay_out(root, copy, "predator")
    for file in copy.glob("data/indoor/test/kitchen/*"):
        file.unlink()
    assert len(load_pairs("3dmatch-val", copy, scene="office")) == 4
    with pytest.raises(DatasetError, match=r"cloud_bin_\d.pth, which val_info.pkl names") as caught:
        load_pairs("3dmatch-val", copy)
    assert "--scene" in caught.value.hint
    assert not verify_dataset("3dmatch-val", copy).ok
    with pytest.raises(UnknownNameError, match="ofice"):
        load_pairs("3dmatch-val", copy, scene="ofice")


def test_folders_without_a_list_and_empty_lists(root, tmp_path):
    with pytest.raises(DatasetError, match="looks like 3DMatch") as caught:
        load_pairs("3dmatch-train", root)
    assert "OverlapPredator" in caught.value.hint
    (tmp_path / "val.pkl").write_bytes(pickle.dumps([], 4))
    with pytest.raises(DatasetError, match="empty"):
        load_pairs("3dmatch-val", tmp_path)


def test_the_benchmark_judges_them_by_angle_and_shift(root, tmp_path, monkeypatch):
    copy = tmp_path / "copy"
    lay_out(root, copy, "geotransformer")
    table = run_registration("3dmatch-val", copy, method="sc2")
    assert table["rule"] == "indoor" and table["num_pairs"] == 3 and table["num_errors"] == 0
