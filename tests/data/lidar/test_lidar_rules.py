"""What breaks a rule is an error of three parts, or is left out and named."""

import threading
import time
import tracemalloc

import numpy as np
import pytest
from helpers.lidar_files import drive, numbers, points, write_kitti

from pcinv.errors import DatasetError, InputError, PcinvError, UsageError
from pcinv_data.lidar import SequenceWarning, open_sequence
from pcinv_data.lidar.rules import gaps, longest_rise


def check(error, words, where=""):
    """The error is of bad data, and says what, where and what to do."""
    assert words in error.message and error.exit_code == 3
    assert str(where) in (error.where or "") and error.where and error.hint


@pytest.mark.parametrize("content, words", [
    (b"", "empty"), (b"\0" * 970, "not rows of 4 float32"), (b"\0" * 15, "not rows of 4 float32"),
    (np.full((60, 4), np.nan, "<f4").tobytes(), "60 of 60 points are not finite"),
    (np.concatenate([np.zeros((59, 4)), [[np.inf, 0, 0, 0]]]).astype("<f4").tobytes(),
     "1 of 60 points are not finite"),
    (b"\x1f\x8b" + b"\0" * 14, "compressed by gzip")])
def test_a_damaged_scan_is_named_and_can_be_left_out(tmp_path, content, words):
    file = write_kitti(tmp_path, 4) / "velodyne/000002.bin"
    file.write_bytes(content)
    scans = open_sequence(tmp_path)
    with pytest.raises(PcinvError) as caught:
        list(scans)
    check(caught.value, words, file)
    with pytest.raises(PcinvError):
        list(scans.prefetch(2))
    rest = open_sequence(tmp_path, on_error="skip")
    assert [scan.name for scan in rest] == ["000000", "000001", "000003"]
    assert [scan.name for scan in rest.prefetch(2)] == ["000000", "000001", "000003"]
    assert list(rest.skipped) == ["000002"] and words in rest.skipped["000002"]
    assert rest.describe()["skipped"] == rest.skipped
    with pytest.raises(PcinvError):  # by its number it is still told
        _ = rest[2]


def test_a_scan_larger_than_pcinv_takes_is_refused_before_it_is_read(tmp_path, monkeypatch):
    write_kitti(tmp_path, 2)
    monkeypatch.setattr("pcinv.limits.MAX_POINTS", 59)
    with pytest.raises(PcinvError, match="60 points exceed MAX_POINTS") as caught:
        _ = open_sequence(tmp_path)[0]
    assert caught.value.exit_code == 7


@pytest.mark.parametrize("names, found", [
    ([0, 1, 2], []), ([0, 1, 3], [(1, 3, 1)]), ([0, 10, 20], []), ([0, 10, 20, 40], [(20, 40, 10)]),
    ([5, 6, 9, 10, 12], [(6, 9, 1), (10, 12, 1)]), ([7], []), ([], [])])
def test_gaps_are_jumps_over_the_usual_step(names, found):
    assert gaps(names) == found


def test_a_missing_number_is_named(tmp_path):
    folder = write_kitti(tmp_path, 6)
    for k in (2, 3):
        (folder / f"velodyne/00000{k}.bin").unlink()
    with pytest.raises(DatasetError) as caught:
        open_sequence(tmp_path)
    check(caught.value, "scan 000002 is not there: the names jump from 000001 to 000004", folder)
    scans = open_sequence(tmp_path, on_error="skip")
    assert list(scans.skipped) == ["000002", "000003"]
    assert list(scans.names) == ["000000", "000001", "000004", "000005"]
    np.testing.assert_allclose(scans.poses, drive(6)[[0, 1, 4, 5]], atol=1e-12)  # by their numbers
    np.testing.assert_allclose(scans.stamps, [0, 0.1, 0.4, 0.5], atol=1e-9)
    np.testing.assert_array_equal(scans[2].xyz, points(4))
    assert any("late" in note for note in scans.notes) and scans.num_jumps == 0


def test_a_name_that_is_no_number_is_an_error(tmp_path):
    folder = write_kitti(tmp_path, 2)
    (folder / "velodyne/copy of 000001.bin").write_bytes(b"\0" * 16)
    with pytest.raises(DatasetError) as caught:
        open_sequence(tmp_path)
    check(caught.value, "'copy of 000001.bin' is not a number", folder)


@pytest.mark.parametrize("poses", [3, 7])
def test_poses_unlike_the_scans_are_an_error(tmp_path, poses):
    write_kitti(tmp_path, 5)
    file = tmp_path / "poses/00.txt"
    file.write_text(numbers(drive(poses)))
    with pytest.raises(DatasetError) as caught:
        open_sequence(tmp_path)
    check(caught.value, f"{poses} poses for 5 scans", file)
    scans = open_sequence(tmp_path, on_error="skip")
    assert len(scans) == min(5, poses) == len(scans.poses) == len(scans.stamps)
    assert list(scans.skipped) == ["000003", "000004"][:5 - min(5, poses)]


def test_a_part_of_a_sequence_takes_its_own_poses(tmp_path):
    folder = write_kitti(tmp_path, 9)
    for k in (0, 1, 2, 7, 8):
        (folder / f"velodyne/00000{k}.bin").unlink()
    scans = open_sequence(tmp_path, on_error="skip")
    assert not scans.skipped and list(scans.names) == [f"00000{k}" for k in (3, 4, 5, 6)]
    camera = np.linalg.inv(drive(9)[0]) @ drive(9)
    np.testing.assert_allclose(scans.poses, camera[3:7], atol=1e-12)


@pytest.mark.parametrize("times", [[0, 0.1, 0.05, 0.3, 0.4], [0, 0.1, 0.1, 0.3, 0.4],
                                   [0, 0.1, -5, 0.3, 0.4]])
def test_time_that_does_not_go_on_is_an_error(tmp_path, times):
    file = write_kitti(tmp_path, 5) / "times.txt"
    file.write_text("".join(f"{t}\n" for t in times))
    with pytest.raises(DatasetError) as caught:
        open_sequence(tmp_path)
    check(caught.value, "time does not go on at 000002", file)
    scans = open_sequence(tmp_path, on_error="skip")
    assert list(scans.skipped) == ["000002"] and np.all(np.diff(scans.stamps) > 0)
    np.testing.assert_allclose(scans.poses, drive(5)[[0, 1, 3, 4]], atol=1e-12)


def test_one_stray_stamp_costs_one_scan(tmp_path):
    file = write_kitti(tmp_path, 6) / "times.txt"
    file.write_text("0\n0.1\n9e9\n0.3\n0.4\n0.5\n")
    with pytest.raises(DatasetError, match="time does not go on at 000003"):
        open_sequence(tmp_path)
    assert list(open_sequence(tmp_path, on_error="skip").skipped) == ["000002"]
    rng = np.random.default_rng(0)
    for _ in range(50):
        values = rng.integers(0, 8, 9)
        on = longest_rise(values)
        best = max(bin(m).count("1") for m in range(512)
                   if np.all(np.diff(values[[k for k in range(9) if m >> k & 1]]) > 0))
        assert np.all(np.diff(values[on]) > 0) and on.sum() == best
    assert longest_rise(np.zeros(0)).shape == (0,) and longest_rise(np.zeros(3)).tolist()[0]


@pytest.mark.parametrize("name, text, line", [
    ("times.txt", "0\n0.1\nx\n0.3\n0.4", ":3"), ("times.txt", "0\n0.1\nnan\n0.3\n0.4", ":3"),
    ("times.txt", "0 1\n", ":1"), ("times.txt", "# none\n", ""),
    ("../../poses/00.txt", "1 2 3\n", ":1"), ("../../poses/00.txt", "1 0 0 0 0 1 0 0 0 0 2 0\n",
                                              ":1")])
def test_damaged_lists_are_named_with_their_line(tmp_path, name, text, line):
    file = write_kitti(tmp_path, 5) / name
    file.write_text(text)
    with pytest.raises(InputError) as caught:
        open_sequence(tmp_path)
    check(caught.value, "", f"{file.name}{line}")


def test_poses_that_jump_are_counted(tmp_path):
    write_kitti(tmp_path, 6, poses=False)
    (tmp_path / "poses").mkdir()
    poses = drive(6)
    poses[3:, 0, 3] += 10.5
    poses[5, 0, 3] += 50
    (tmp_path / "poses/00.txt").write_text(numbers(poses))
    with pytest.warns(SequenceWarning, match="jumps 2 times, first by 11.3 m from 000002"):
        scans = open_sequence(tmp_path)
    assert scans.num_jumps == 2 and len(scans) == 6


def test_slow_recordings_do_not_jump(tmp_path, recwarn):
    folder = write_kitti(tmp_path, 4, poses=False)
    (tmp_path / "poses").mkdir()
    (tmp_path / "poses/00.txt").write_text(numbers(drive(4, step=14.0)))
    (folder / "times.txt").write_text("0\n0.5\n1\n1.5\n")
    assert open_sequence(tmp_path).num_jumps == 0 and not recwarn.list


def test_nothing_left_is_an_error_all_the_same(tmp_path):
    folder = write_kitti(tmp_path, 2)
    (folder / "times.txt").write_text("0\n")
    for file in (folder / "velodyne").iterdir():
        file.write_bytes(b"")
    with pytest.raises(InputError, match="none of 1 scans can be read"):
        open_sequence(tmp_path, on_error="skip").describe()
    folder = write_kitti(tmp_path / "b", 2, labels=True)
    for file in (folder / "labels").iterdir():
        file.unlink()
    with pytest.raises(DatasetError, match="no scan of 2 can be used"):
        open_sequence(tmp_path / "b", "semantickitti", on_error="skip")


@pytest.mark.parametrize("path, words", [("nowhere", "no such folder"), ("empty", "empty"),
                                         ("file.txt", "a file, not a folder")])
def test_what_is_no_sequence_is_told(tmp_path, path, words):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file.txt").write_text("1")
    with pytest.raises(DatasetError) as caught:
        open_sequence(tmp_path / path)
    check(caught.value, words, path)


def test_options_that_do_not_fit_are_refused(tmp_path):
    write_kitti(tmp_path, 2)
    with pytest.raises(UsageError, match="poses does not go with kitti"):
        open_sequence(tmp_path, poses=tmp_path / "poses/00.txt")
    with pytest.raises(UsageError, match="unknown way 'ignore'"):
        open_sequence(tmp_path, on_error="ignore")
    for wrong in ({"workers": 0}, {"ahead": 0}):
        with pytest.raises(UsageError):
            open_sequence(tmp_path).prefetch(**wrong)


class TestReadingAhead:
    def test_it_gives_the_same_scans_in_order(self, tmp_path):
        write_kitti(tmp_path, 12)
        scans = open_sequence(tmp_path)
        for workers in (1, 3):
            for k, scan in enumerate(scans.prefetch(workers)):
                np.testing.assert_array_equal(scan.xyz, points(k))
                assert scan.T_world_sensor is not None
            assert k == 11

    def test_it_reads_while_work_is_done_and_no_further_than_asked(self, tmp_path):
        write_kitti(tmp_path, 8)
        scans, read = open_sequence(tmp_path), []
        plain = scans._read

        def slow(position):
            read.append((position, threading.current_thread().name))
            time.sleep(0.02)
            return plain(position)

        scans._read = slow
        ahead = scans.prefetch(1, ahead=2)
        first = next(ahead)
        deadline = time.monotonic() + 5
        while len(read) < 3 and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.1)
        assert first.name == "000000" and [k for k, _ in read] == [0, 1, 2]
        assert all(name.startswith("pcinv-scans") for _, name in read)
        ahead.close()  # the threads end with the loop
        time.sleep(0.1)
        assert len(read) == 3
        assert not [t for t in threading.enumerate() if t.name.startswith("pcinv-scans")]

    def test_a_loop_takes_the_memory_of_one_scan(self, tmp_path):
        folder = write_kitti(tmp_path, 20)
        rows = np.ones((50_000, 4), "<f4")
        for file in (folder / "velodyne").iterdir():
            file.write_bytes(rows.tobytes())
        scans = open_sequence(tmp_path)
        tracemalloc.start()
        for _ in scans:
            pass
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 4 * rows.nbytes  # 16 MB if all were kept, 0.8 for one and its file
