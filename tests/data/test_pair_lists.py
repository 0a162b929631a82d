"""Pickled lists of pairs: the same pairs as gt.log tells, and nothing in them is run."""

import os
import pickle

import numpy as np
import pytest
from helpers.fake_threedmatch import write_scene

from pcinv.errors import DatasetError, FileFormatError
from pcinv_data.pair_lists import pairs_of_pickle
from pcinv_data.pairs import load_pairs


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
