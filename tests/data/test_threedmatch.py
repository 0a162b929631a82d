"""3DMatch and 3DLoMatch: a fake copy whole and damaged, and the real one."""

import os

import numpy as np
import pytest
import torch
from helpers.fake_threedmatch import block, save_torch, write_scene

from pcinv.errors import DatasetError, FileFormatError, UnknownNameError
from pcinv.metrics.registration import information_rmse, is_registered, judge_pair, recall_table
from pcinv_data.pairs import load_pairs, measure_overlap
from pcinv_data.threedmatch import read_fragment_pose

PAIRS = [(0, 1), (0, 2), (1, 4), (3, 4)]
HOTEL3 = "sun3d-hotel_umd-maryland_hotel3"


@pytest.fixture
def root(tmp_path):
    """A copy of two scenes, written out of order."""
    write_scene(tmp_path, "office", PAIRS, seed=1)
    write_scene(tmp_path, "kitchen", PAIRS[:2], seed=2)
    write_scene(tmp_path, "office", [(2, 4)], benchmark="3DLoMatch", seed=1)
    return tmp_path


def log_of(root, scene="office"):
    return root / "benchmarks" / "3DMatch" / scene / "gt.log"


def test_scenes_by_name_and_pairs_in_order(root):
    pairs = load_pairs("3dmatch", root)
    assert [p.name for p in pairs] == ["kitchen/0-1", "kitchen/0-2", "office/0-1", "office/0-2",
                                       "office/1-4", "office/3-4"]
    assert [p.consecutive for p in pairs] == [True, False, True, False, False, True]
    assert (pairs[4].target_id, pairs[4].source_id, pairs[4].scene) == (1, 4, "office")
    assert [p.name for p in load_pairs("3dlomatch", root)] == ["office/2-4"]
    assert all(p.overlap is None for p in pairs)


def test_the_motion_takes_fragment_j_into_fragment_i(root):
    for pair in load_pairs("3dmatch", root):
        T = pair.T_target_source
        assert T.dtype == np.float64 and T.shape == (4, 4)
        moved = pair.load_source() @ T[:3, :3].T + T[:3, 3]
        assert np.abs(moved - pair.load_target()).max() < 1e-5
        assert measure_overlap(pair, 1e-4) == 1
        assert np.abs(pair.load_source() - pair.load_target()).max() > 0.1


def test_the_information_is_that_of_the_pair(root):
    pair = load_pairs("3dmatch", root)[0]
    assert pair.information.shape == (6, 6) and pair.information[0, 0] == 200
    shifted = pair.T_target_source.copy()
    shifted[:3, 3] += 0.3
    assert is_registered(pair.T_target_source, pair.T_target_source, pair.information)
    assert not is_registered(shifted, pair.T_target_source, pair.information)


def test_overlaps_where_they_are_told(root):
    file = log_of(root).with_name("gt_overlap.log")
    file.write_text("0,1,0.75\n0,2,0.5\n1,4,0.3\n2,3,0.1\n")
    assert [p.overlap for p in load_pairs("3dmatch", root, scene="office")] == [
        0.75, 0.5, 0.3, None]
    for text in ("0,1\n", "0,1,1.5\n", "0.5,1,0.5\n", "a,b,c\n"):
        file.write_text("0,2,0.5\n" + text)
        with pytest.raises(DatasetError) as caught:
            load_pairs("3dmatch", root)
        assert caught.value.where == f"{file}:2"


def test_windows_line_ends_and_missing_tabs_are_fine(root):
    wanted = load_pairs("3dmatch", root)
    for name in ("gt.log", "gt.info"):
        file = log_of(root).with_name(name)
        text = file.read_text().replace("\t\n", "\n").replace("\t", "  ").replace("\n", "\r\n")
        file.write_bytes(("\n" + text + "\r\n\r\n").encode())
    for a, b in zip(load_pairs("3dmatch", root), wanted, strict=True):
        assert a.name == b.name and np.array_equal(a.T_target_source, b.T_target_source)
        assert np.array_equal(a.information, b.information)


DAMAGE = {  # of a gt.log of pairs 0-1, 0-2, 1-4, 3-4: how, and the line that is told
    "cut": (lambda rows: rows[:13], 11),
    "cut in a number": (lambda rows: [*rows[:13], rows[13][:5]], 11),
    "row lost": (lambda rows: rows[:7] + rows[8:], 10),
    "words": (lambda rows: [*rows[:8], "<html>404 Not Found</html>", *rows[9:]], 9),
    "nan": (lambda rows: [*rows[:8], "nan\t0\t0\t0", *rows[9:]], 9),
    "header of two": (lambda rows: [*rows[:5], "0\t2", *rows[6:]], 6),
    "negative": (lambda rows: [*rows[:5], "-1\t2\t5", *rows[6:]], 6),
    "with itself": (lambda rows: [*rows[:5], "2\t2\t5", *rows[6:]], 6),
    "beyond the count": (lambda rows: [*rows[:5], "0\t7\t5", *rows[6:]], 6),
    "again": (lambda rows: [*rows[:5], "0\t1\t5", *rows[6:]], 6),
    "no rotation": (lambda rows: [*rows[:6], "2\t0\t0\t0", *rows[7:]], 6),
    "mirror": (lambda rows: [*rows[:6], "1 0 0 0", "0 1 0 0", "0 0 -1 0", *rows[9:]], 6),
    "last row": (lambda rows: [*rows[:9], "0\t0\t1\t1", *rows[10:]], 6),
}


@pytest.mark.parametrize("how", DAMAGE)
def test_a_damaged_list_is_named_with_its_line(root, how):
    log, (change, line) = log_of(root), DAMAGE[how]
    log.write_text("\n".join(change(log.read_text().splitlines())))
    with pytest.raises(DatasetError) as caught:
        load_pairs("3dmatch", root)
    assert caught.value.where == f"{log}:{line}", caught.value
    assert caught.value.hint and caught.value.exit_code == 3
    assert len(load_pairs("3dmatch", root, scene="kitchen")) == 2  # the others still work


def test_every_cut_of_a_list_is_noticed(root):
    log = log_of(root, "kitchen")
    text = log.read_text().rstrip()
    for length in range(0, len(text) - 20, 3):  # the very last number may lose zeros
        log.write_text(text[:length])
        with pytest.raises(DatasetError) as caught:
            load_pairs("3dmatch", root, scene="kitchen")
        assert str(log.parent) in caught.value.where


def test_bytes_that_are_no_text(root):
    log_of(root).write_bytes(b"\x1f\x8b\xff\xfe" * 20)
    with pytest.raises(DatasetError, match="cannot be read"):
        load_pairs("3dmatch", root)


def test_lists_that_disagree(root):
    info = log_of(root).with_name("gt.info")
    text = info.read_text()
    blocks = [text.splitlines()[k : k + 7] for k in range(0, 28, 7)]
    info.write_text("\n".join("\n".join(blocks[k]) for k in (0, 2, 1, 3)))
    with pytest.raises(DatasetError, match=r"pair 1 4, but gt\.log line 6 has 0 2") as caught:
        load_pairs("3dmatch", root)
    assert caught.value.where == f"{info}:8" and "one release" in caught.value.hint
    info.write_text("\n".join("\n".join(b) for b in blocks[:3]))
    with pytest.raises(DatasetError, match=r"3 pairs, but gt\.log has 4"):
        load_pairs("3dmatch", root)
    info.unlink()
    with pytest.raises(DatasetError, match=r"no gt\.info") as caught:
        load_pairs("3dmatch", root)
    assert "OverlapPredator" in caught.value.hint


def test_information_that_cannot_be(root):
    info = log_of(root, "kitchen").with_name("gt.info")
    good = np.eye(6)
    info.write_text(block(0, 1, 5, np.zeros((6, 6))) + block(0, 2, 5, good))
    assert not load_pairs("3dmatch", root, scene="kitchen")[0].information.any()  # real pairs do
    for bad in (-good, good + np.eye(6, k=1)):
        info.write_text(block(0, 1, 5, good) + block(0, 2, 5, bad))
        with pytest.raises(DatasetError, match="symmetric") as caught:
            load_pairs("3dmatch", root, scene="kitchen")
        assert caught.value.where == f"{info}:8"


def test_fragments_that_are_missing(root):
    folder = root / "fragments" / "office"
    (folder / "cloud_bin_4.ply").unlink()
    with pytest.raises(DatasetError, match="fragment 4 of office is not in") as caught:
        load_pairs("3dmatch", root)
    assert caught.value.where == f"{log_of(root)}:11" and str(folder) in caught.value.message
    for file in folder.iterdir():
        file.unlink()
    with pytest.raises(DatasetError, match="no fragments of office") as caught:
        load_pairs("3dmatch", root)
    assert "choose a scene" in caught.value.hint
    assert len(load_pairs("3dmatch", root, scene="kitchen")) == 2


def test_a_damaged_fragment_is_named_when_it_is_read(root):
    file = root / "fragments" / "office" / "cloud_bin_1.ply"
    file.write_bytes(file.read_bytes()[:300])
    pair = load_pairs("3dmatch", root, scene="office")[0]
    with pytest.raises(FileFormatError, match=r"cloud_bin_1\.ply"):
        pair.load_source()
    assert len(pair.load_target()) == 200


def test_a_scene_that_is_not_there(root):
    with pytest.raises(UnknownNameError, match=r"unknown scene 'ofice'.*did you mean office"):
        load_pairs("3dmatch", root, scene="ofice")


@pytest.mark.parametrize("place, says, hint", [
    (".", None, None), ("fragments", "not 3DMatch: no benchmarks/3DMatch", "--root {root}"),
    ("benchmarks/3DMatch/office", "this looks like 3DMatch", "--root {root}"),
    ("..", "not 3DMatch", "--root {root}"), ("nope", "there is no such folder", "--root {root}"),
])
def test_another_folder_of_the_data_set_is_answered_with_the_right_one(tmp_path, place, says,
                                                                       hint):
    root = tmp_path / "3DMatch"
    write_scene(root, "office", PAIRS)
    if says is None:
        assert load_pairs("3dmatch", root / place)
        return
    with pytest.raises(DatasetError, match=says) as caught:
        load_pairs("3dmatch", (root / place).resolve())
    assert caught.value.hint == hint.format(root=root)


def test_a_folder_that_is_something_else(tmp_path, root):
    empty = tmp_path / "a" / "b" / "c" / "d" / "e"
    empty.mkdir(parents=True)
    with pytest.raises(DatasetError, match="the folder is empty") as caught:
        load_pairs("3dmatch", empty)
    assert "benchmarks/" in caught.value.hint and "fragments/" in caught.value.hint
    for file in (root / "benchmarks").rglob("gt.*"):
        file.unlink()
    with pytest.raises(DatasetError, match="there are fragments, but no lists of pairs"):
        load_pairs("3dmatch", root)


@pytest.mark.parametrize("place", ["data/indoor/test/{}", "test/{}", "indoor/test/{}"])
@pytest.mark.parametrize("lists", ["configs/benchmarks", "metadata/benchmarks"])
def test_the_layouts_of_predator_and_geotransformer(root, tmp_path, place, lists):
    wanted = load_pairs("3dmatch", root, scene="office")[1]
    other = tmp_path / "other"
    (other / lists).parent.mkdir(parents=True)
    os.symlink(root / "benchmarks", other / lists)
    for k in range(5):
        points = load_points(root / "fragments" / "office" / f"cloud_bin_{k}.ply")
        save_torch(other / place.format("office") / f"cloud_bin_{k}.pth", points)
    pair = load_pairs("3dmatch", other, scene="office")[1]
    assert pair.source_file.suffix == ".pth" and pair.load_source().dtype == np.float64
    assert np.array_equal(pair.load_source(), wanted.load_source())
    assert np.array_equal(pair.T_target_source, wanted.T_target_source)


def load_points(file):
    from pcinv.io import read

    return read(file).absolute()


@pytest.mark.parametrize("content, says", [
    (np.zeros((4, 2)), r"an array \(4, 2\)"), (np.zeros((0, 3)), r"an array \(0, 3\)"),
    (np.zeros((4, 3), int), "of int64"), (np.full((4, 3), np.nan), "not finite"),
    ({"points": 1}, "of a dict"), (torch.zeros(4, 3), "_rebuild_tensor_v2"),
], ids=range(6))
def test_torch_files_that_hold_something_else(root, content, says):
    for k in range(5):
        (root / "fragments" / "office" / f"cloud_bin_{k}.ply").unlink()
        save_torch(root / "fragments" / "office" / f"cloud_bin_{k}.pth", content)
    pair = load_pairs("3dmatch", root, scene="office")[0]
    with pytest.raises(FileFormatError, match=says):
        pair.load_source()


@pytest.mark.parametrize("name, counts", [
    ("3dmatch", {"7-scenes-redkitchen": (506, 449), HOTEL3: (54, 26), "lab": (77, 45)}),
    ("3dlomatch", {"7-scenes-redkitchen": (525, 524), HOTEL3: (49, 42), "lab": (72, 70)}),
])
def test_real_counts_are_the_published_ones(real, name, counts):
    pairs = load_pairs(name, real("3DMatch"))
    for scene, (every, counted) in counts.items():
        own = [p for p in pairs if scene in p.scene]
        assert (len(own), sum(not p.consecutive for p in own)) == (every, counted)
    assert len(pairs) == sum(every for every, _ in counts.values())


@pytest.mark.parametrize("name", ["3dmatch", "3dlomatch"])
def test_real_motions_are_those_of_the_recordings(real, name):
    poses = {}
    for pair in load_pairs(name, real("3DMatch")):
        for file in (pair.source_file, pair.target_file):
            if file not in poses:
                poses[file] = read_fragment_pose(file.with_suffix(".info.txt"))
        T = np.linalg.inv(poses[pair.target_file]) @ poses[pair.source_file]
        assert np.abs(T - pair.T_target_source).max() < 1e-7


def test_real_clouds_meet_by_the_motion_and_not_by_its_inverse(real):
    pairs = load_pairs("3dmatch", real("3DMatch"), limit=10, consecutive=False)
    right = [measure_overlap(pair, 0.0375) for pair in pairs]
    assert min(right) > 0.2 and np.median(right) > 0.4
    swapped = []
    for pair in pairs:
        inverse = np.linalg.inv(pair.T_target_source)
        swapped.append(measure_overlap(type(pair)(**vars(pair) | {"T_target_source": inverse}),
                                       0.0375))
    assert np.median(swapped) < np.median(right) / 2


def test_real_overlaps_of_a_scene(real):
    shares = [measure_overlap(pair, 0.0375)
              for pair in load_pairs("3dmatch", real("3DMatch"), scene=HOTEL3)]
    assert min(shares) == pytest.approx(0.19, abs=0.005)
    assert np.median(shares) == pytest.approx(0.51, abs=0.005)


def test_real_recall_of_the_truth_and_of_wrong_conventions(real):
    pairs = load_pairs("3dmatch", real("3DMatch")) + load_pairs("3dlomatch", real("3DMatch"))

    def recall(change):
        return recall_table([
            judge_pair(change(p.T_target_source), p.T_target_source, p.information, scene=p.scene,
                       consecutive=p.consecutive) for p in pairs])

    def shifted(T, length):
        moved = T.copy()
        moved[:3, 3] += T[:3, :3] @ (length, 0, 0)
        return moved

    truth = recall(lambda T: T)
    assert truth["recall"] == 1 and truth["num_counted"] == 520 + 636
    assert truth["num_pairs"] == 637 + 646 and truth["rre_deg_median"] < 1e-9
    assert recall(np.linalg.inv)["recall"] < 0.02
    assert recall(lambda T: np.eye(4))["recall"] < 0.02
    assert recall(lambda T: shifted(T, 0.19))["recall"] == 1
    assert recall(lambda T: shifted(T, 0.21))["recall"] == 0


def test_real_poses_have_no_error_to_themselves_although_they_are_skew(real):
    pairs = load_pairs("3dmatch", real("3DMatch"), scene="7-scenes-redkitchen")
    R = np.array([p.T_target_source[:3, :3] for p in pairs])
    assert np.abs(R @ R.transpose(0, 2, 1) - np.eye(3)).max() > 1e-4
    assert max(information_rmse(p.T_target_source, p.T_target_source, p.information)
               for p in pairs) < 1e-6


def test_real_fragments_of_predator_are_those_of_the_ply_files(real, tmp_path):
    source = real("3DMatch")
    if not (source / "indoor" / "test" / HOTEL3).is_dir():
        pytest.skip(f"no real data in ../shared/data/3DMatch/indoor/test/{HOTEL3}")
    os.symlink(source / "indoor", tmp_path / "indoor")
    folder = tmp_path / "benchmarks" / "3DMatch" / HOTEL3
    folder.mkdir(parents=True)
    for name, rows in (("gt.log", 5), ("gt.info", 7)):
        lines = (source / "benchmarks" / "3DMatch" / HOTEL3 / name).read_text().splitlines()
        (folder / name).write_text("\n".join(lines[:rows]))
    (pair,), stored = load_pairs("3dmatch", tmp_path), load_pairs("3dmatch", source, scene=HOTEL3)
    assert pair.name == stored[0].name == f"{HOTEL3}/0-1" and pair.consecutive
    assert pair.source_file.suffix == ".pth"
    assert np.array_equal(pair.load_source(), stored[0].load_source())
    assert np.array_equal(pair.load_target(), stored[0].load_target())
