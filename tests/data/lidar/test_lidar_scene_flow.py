"""Pairs of scene flow in both layouts."""

import numpy as np
import pytest
from helpers.lidar_files import points

from pcinv.errors import FileFormatError, UsageError
from pcinv_data.lidar import is_sequence, open_sequence


def arrays(seed=0):
    rng = np.random.default_rng(seed)
    return points(seed), points(seed + 1, 50), rng.normal(size=(60, 3)).astype(np.float32)


@pytest.mark.parametrize("keys", [("points1", "points2", "flow"), ("pos1", "pos2", "gt")])
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_must_hold_6_npz_of_flownet3d(tmp_path, keys, save):
    first, second, flow = arrays()
    save(tmp_path / "TRAIN_0.npz", **dict(zip(keys, (first, second, flow), strict=True)),
         color1=first)
    for path in (tmp_path, tmp_path / "TRAIN_0.npz"):
        scans = open_sequence(path)
        assert (scans.format, scans.name, len(scans)) == ("scene-flow", "TRAIN_0", 2)
        assert scans.poses is None and scans.stamps is None
        np.testing.assert_array_equal(scans[0].xyz, first)
        np.testing.assert_array_equal(scans[1].xyz, second)
        np.testing.assert_array_equal(scans[0].flow, flow)
        assert scans[1].flow is None and scans[0].flow.dtype == np.float32


def test_flow_behind_the_mask_is_not_known(tmp_path):
    first, second, flow = arrays()
    mask = np.arange(60) % 3 > 0
    np.savez(tmp_path / "a.npz", points1=first.astype(np.float64), points2=second, flow=flow,
             valid_mask1=mask[:, None].astype(np.uint8))
    scan = open_sequence(tmp_path)[0]
    np.testing.assert_array_equal(np.isfinite(scan.flow).all(1), mask)
    assert scan.xyz.dtype == np.float32


def test_must_hold_6_npy_of_hplflownet(tmp_path):
    first, _, flow = arrays()
    folder = tmp_path / "000012"
    folder.mkdir()
    np.save(folder / "pc1.npy", first)
    np.save(folder / "pc2.npy", first + flow)
    for path in (tmp_path, folder):
        scans = open_sequence(path)
        assert scans.name == "000012" and scans.format == "scene-flow"
        np.testing.assert_array_equal(scans[0].xyz + scans[0].flow, scans[1].xyz)
        np.testing.assert_allclose(scans[0].flow, flow, atol=1e-5)


def test_of_several_pairs_one_is_chosen(tmp_path):
    for k in range(3):
        first, second, flow = arrays(k)
        np.savez(tmp_path / f"p{k}.npz", pos1=first, pos2=second, gt=flow)
    with pytest.raises(UsageError, match="3 sequences"):
        open_sequence(tmp_path)
    np.testing.assert_array_equal(open_sequence(tmp_path, sequence="p2")[0].xyz, points(2))
    assert is_sequence(tmp_path / "p1.npz") and not is_sequence(tmp_path / "no.npz")


def test_other_archives_are_plain_clouds(tmp_path):
    np.savez(tmp_path / "a.npz", xyz=points(0))
    assert open_sequence(tmp_path).format == "plain" and not is_sequence(tmp_path / "a.npz")


@pytest.mark.parametrize("change, words", [
    ({"flow": np.zeros((59, 3))}, "59 rows of flow for 60 points"),
    ({"flow": np.zeros((60, 2))}, "flow is an array"), ({"points1": np.zeros(60)}, "points1 is an"),
    ({"valid_mask1": np.ones(7)}, "7 values of valid_mask1"),
    ({"points1": np.full((60, 3), np.nan)}, "60 of 60 points are not finite"),
    ({"points1": np.zeros((0, 3)), "flow": np.zeros((0, 3))}, "no points")])
def test_damaged_pairs_are_named(tmp_path, change, words):
    first, second, flow = arrays()
    file = tmp_path / "a.npz"
    np.savez(file, **{"points1": first, "points2": second, "flow": flow, **change})
    with pytest.raises(Exception, match=words) as caught:
        _ = open_sequence(tmp_path)[0]
    assert caught.value.exit_code == 3 and str(file) in caught.value.where and caught.value.hint


def test_cut_and_unpaired_files_are_named(tmp_path):
    first, second, flow = arrays()
    np.savez(tmp_path / "a.npz", points1=first, points2=second, flow=flow)
    np.savez(tmp_path / "b.npz", points1=first, points2=second)
    scans = open_sequence(tmp_path / "b.npz")
    with pytest.raises(FileFormatError, match="no points1, points2, flow"):
        _ = scans[0]
    folder = tmp_path / "pair"
    folder.mkdir()
    np.save(folder / "pc1.npy", first)
    np.save(folder / "pc2.npy", second)
    with pytest.raises(FileFormatError, match="50 points for 60"):
        _ = open_sequence(folder)[0]
    (folder / "pc2.npy").write_bytes((folder / "pc2.npy").read_bytes()[:200])
    with pytest.raises(FileFormatError, match="promises"):
        _ = open_sequence(folder)[0]
    np.save(folder / "pc1.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(FileFormatError, match="nothing is unpickled"):
        _ = open_sequence(folder)[0]
