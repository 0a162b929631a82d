"""The registration benchmark: what is stored, scored, gone on with and refused."""

import json

import numpy as np
import pytest
from helpers.fake_register import answer
from helpers.fake_threedmatch import write_scene

from pcinv.errors import (
    DatasetError,
    FileFormatError,
    InputError,
    Interrupted,
    UnknownNameError,
    UsageError,
)
from pcinv_data.benchmark import run_registration, score_registration
from pcinv_data.benchmark_score import reliability, verdict_table

ALL = [(i, j) for i in range(5) for j in range(i + 1, 5)]
FIELDS = {"dataset", "method", "num_pairs", "recall", "recall_by_scene", "scene_mean_recall",
          "inlier_ratio", "feature_matching_recall", "rre_deg_median", "rte_median",
          "time_ms_median", "verdict_precision", "verdict_recall", "recall_by_overlap", "roc",
          "reliability"}


def wrong(found, call=0):
    """Half a metre beside the truth, and trusted all the same."""
    T = found.transform.copy()
    T[:3, 3] += 0.5
    return answer(T)


def rows_of(folder):
    return [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]


def test_right_poses_count(scenes, register):
    fake = register()
    told = run_registration("3dmatch", scenes)
    assert set(told) >= FIELDS
    json.dumps(told, allow_nan=False)
    assert len(fake.calls) == told["num_pairs"] == told["num_counted"] == 12
    assert told["recall"] == told["verdict_precision"] == told["verdict_recall"] == 1
    assert told["recall_by_scene"] == {"kitchen": 1, "office": 1}
    assert told["pairs_by_scene"] == {"kitchen": 6, "office": 6}
    assert told["rre_deg_median"] < 1e-3 and told["rte_median"] < 1e-5
    assert told["recall_by_overlap"] == {"0.7-1": {"pairs": 12, "recall": 1}}
    assert told["inlier_ratio"] is told["feature_matching_recall"] is None
    assert told["time_ms_median"] > 0 and told["num_left"] == told["num_errors"] == 0


def test_wrong_poses_do_not_count(scenes, register):
    register(lambda found, call: wrong(found) if call % 3 == 0 else found)
    told = run_registration("3dmatch", scenes)
    assert told["recall"] == pytest.approx(8 / 12)
    assert told["verdict_precision"] == pytest.approx(8 / 12) and told["verdict_recall"] == 1
    register(wrong)
    told = run_registration("3dmatch", scenes)
    assert told["recall"] == told["verdict_precision"] == 0
    assert told["rre_deg_median"] is told["verdict_recall"] is None


def test_pairs_are_evenly_spaced_and_count(scenes, register):
    fake = register()
    seen = []
    run_registration("3dmatch", scenes, pairs=3, callback=lambda *args: seen.append(args))
    assert [(done, total) for done, total, _ in seen] == [(0, 3), (1, 3), (2, 3), (3, 3)]
    assert seen[0][2] is None
    assert [row["name"] for _, _, row in seen[1:]] == ["kitchen/0-2", "office/0-2", "office/2-4"]
    assert run_registration("3dmatch", scenes, scene="office", pairs=4)["num_pairs"] == 4
    assert len(fake.calls) == 7


def test_what_is_done_is_not_done_again(scenes, register, tmp_path):
    fake = register()
    first = run_registration("3dmatch", scenes, pairs=3, output=tmp_path / "out")
    assert len(fake.calls) == 3
    again = run_registration("3dmatch", scenes, pairs=3, output=tmp_path / "out")
    assert len(fake.calls) == 3 and again == first == score_registration(tmp_path / "out")
    whole = run_registration("3dmatch", scenes, output=tmp_path / "out")
    assert len(fake.calls) == 12 and whole["num_pairs"] == 12
    assert whole == score_registration(tmp_path / "out")
    fewer = run_registration("3dmatch", scenes, pairs=2, output=tmp_path / "out")
    assert fewer["num_pairs"] == 2 and len(fake.calls) == 12
    assert len(rows_of(tmp_path / "out")) == 12


def test_scoring_again_needs_no_clouds(scenes, register, tmp_path):
    register(lambda found, call: wrong(found) if call % 2 else found)
    told = run_registration("3dmatch", scenes, output=tmp_path / "out", negatives=3, rotate=True)
    scenes.rename(tmp_path / "gone")
    assert score_registration(str(tmp_path / "out")) == told


def test_a_stored_pose_decides_the_score(scenes, register, tmp_path):
    register()
    run_registration("3dmatch", scenes, output=tmp_path / "out", pairs=4)
    rows = rows_of(tmp_path / "out")
    for row in rows[:3]:
        row["pose"][0][3] += 0.5
    rows[3]["pose"] = None
    (tmp_path / "out" / "results.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows[:3]))
    assert score_registration(tmp_path / "out")["recall"] == 0
    assert score_registration(tmp_path / "out")["num_left"] == 1
    (tmp_path / "out" / "results.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    assert score_registration(tmp_path / "out")["recall"] == 0


@pytest.mark.parametrize("name, value", [
    ("method", "icp"), ("view_point", "none"), ("rotate", True), ("fast", True), ("voxel", 0.1),
    ("matches", True), ("seed", 3)])
def test_results_of_other_settings_are_refused(scenes, register, tmp_path, name, value):
    fake = register()
    run_registration("3dmatch", scenes, pairs=2, output=tmp_path / "out")
    before = {p.name: p.read_bytes() for p in (tmp_path / "out").iterdir()}
    with pytest.raises(UsageError, match=f"{name} .* there, {value} now") as caught:
        run_registration("3dmatch", scenes, pairs=2, output=tmp_path / "out", **{name: value})
    assert caught.value.where == str(tmp_path / "out" / "settings.json")
    assert before == {p.name: p.read_bytes() for p in (tmp_path / "out").iterdir()}
    assert len(fake.calls) == 2


def test_results_of_another_set_or_copy_are_refused(scenes, register, tmp_path):
    register()
    write_scene(scenes, "office", ALL, seed=2, benchmark="3DLoMatch")
    write_scene(tmp_path / "other", "office", ALL)
    run_registration("3dmatch", scenes, pairs=2, output=tmp_path / "out")
    with pytest.raises(UsageError, match="dataset 3dmatch there, 3dlomatch now"):
        run_registration("3dlomatch", scenes, pairs=2, output=tmp_path / "out")
    with pytest.raises(UsageError, match=r"root .*copy there, .*other now"):
        run_registration("3dmatch", tmp_path / "other", pairs=2, output=tmp_path / "out")
    (tmp_path / "out" / "settings.json").unlink()
    with pytest.raises(UsageError, match=r"no settings\.json"):
        run_registration("3dmatch", scenes, pairs=2, output=tmp_path / "out")


def test_a_pair_that_fails_is_counted_and_stops_nothing(scenes, register, tmp_path):
    def fails(found, call):
        if call == 2:
            raise InputError("too few points", where="source")
        if call == 3:
            raise ZeroDivisionError("deep down")
        return found

    register(fails)
    told = run_registration("3dmatch", scenes, output=tmp_path / "out")
    assert told["num_pairs"] == 12 and told["recall"] == pytest.approx(10 / 12)
    assert told["num_errors"] == 2 and told["num_trusted"] == 10
    assert sorted(told["errors"].values()) == ["ZeroDivisionError: deep down", "too few points"]
    rows = rows_of(tmp_path / "out")
    assert rows[1]["error"] == {"code": "input", "message": "too few points", "where": "source"}
    assert rows[1]["verdict"] == "failed" and rows[1]["pose"] is None
    fake = register()  # what failed is tried again
    assert run_registration("3dmatch", scenes, output=tmp_path / "out")["recall"] == 1
    assert len(fake.calls) == 2 and score_registration(tmp_path / "out")["num_errors"] == 0


def test_a_damaged_cloud_fails_its_pairs_alone(scenes, register):
    register()
    (scenes / "fragments" / "office" / "cloud_bin_4.ply").write_bytes(b"ply\nformat")
    told = run_registration("3dmatch", scenes)
    assert told["recall_by_scene"] == {"kitchen": 1, "office": 0.5} and told["num_errors"] == 3


def test_a_run_that_was_stopped_goes_on(scenes, register, tmp_path):
    def stop(done, total, row):
        if done == 2:
            raise KeyboardInterrupt

    fake = register()
    with pytest.raises(Interrupted, match="2 of 4 pairs are done") as caught:
        run_registration("3dmatch", scenes, pairs=4, output=tmp_path / "out", callback=stop)
    assert caught.value.exit_code == 130 and caught.value.where == str(tmp_path / "out")
    assert score_registration(tmp_path / "out")["num_left"] == 2
    with (tmp_path / "out" / "results.jsonl").open("a") as stream:
        stream.write('{"name": "office/0-')  # ended within a line
    assert run_registration("3dmatch", scenes, pairs=4, output=tmp_path / "out")["num_pairs"] == 4
    assert len(fake.calls) == 4 and len(rows_of(tmp_path / "out")) == 4
    with pytest.raises(KeyboardInterrupt):  # nothing is kept without an output
        run_registration("3dmatch", scenes, pairs=4, callback=stop)


@pytest.mark.parametrize("line", ["<html>", "[1, 2]", "{}", None])
def test_damaged_results_are_named_with_their_line(scenes, register, tmp_path, line):
    register()
    run_registration("3dmatch", scenes, pairs=3, output=tmp_path / "out")
    file = tmp_path / "out" / "results.jsonl"
    lines = file.read_text().splitlines()
    if line is None:
        line = json.dumps({**json.loads(lines[1]), "pose": [[1, 2], [3, 4]]})
    file.write_text("\n".join([lines[0], line, lines[2]]) + "\n")
    for use in (lambda: score_registration(tmp_path / "out"),
                lambda: run_registration("3dmatch", scenes, output=tmp_path / "out")):
        with pytest.raises(FileFormatError) as caught:
            use()
        assert caught.value.where == f"{file}:2"


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"trials": []}'])
def test_damaged_settings(tmp_path, text):
    with pytest.raises(FileFormatError, match="no results of a benchmark"):
        score_registration(tmp_path)
    (tmp_path / "settings.json").write_text(text)
    with pytest.raises(FileFormatError, match="settings cannot be read"):
        score_registration(tmp_path)


def test_unknown_names_and_values(scenes, tmp_path):
    for options in ({"dataset": "3dmach"}, {"method": "atuo"}, {"view_point": "orign"},
                    {"scene": "offce"}):
        with pytest.raises(UnknownNameError, match="did you mean"):
            run_registration(**{"dataset": "3dmatch", "root": scenes, **options})
    for options in ({"jobs": 0}, {"negatives": -1}, {"voxel": 0.0}, {"pairs": 0}):
        with pytest.raises(InputError):
            run_registration("3dmatch", scenes, **options)
    with pytest.raises(DatasetError, match="not 3DMatch"):
        run_registration("3dmatch", tmp_path)
    write_scene(tmp_path / "few", "attic", [(0, 1), (3, 4)])
    with pytest.raises(InputError, match="none of the pairs counts"):
        run_registration("3dmatch", tmp_path / "few")


def test_the_reliability_counts_each_kind_of_features_alone():
    table = reliability(["fpfh", "patch", "fpfh", "fpfh", "patch"], [7.0, 8.0, 6.99, 9.0, 60.0],
                        [True, False, False, False, True])
    assert table == {"fpfh": [(5, 7, 1, 0), (7, 10, 2, 0.5)],
                     "patch": [(7, 10, 1, 0), (50, None, 1, 1)]}
    assert reliability([], [], []) == {}


def test_the_table_over_the_score():
    table = verdict_table([1.0, 2.0, 3.0, 4.0], [False, True, False, True])
    assert table == [(1, 1, 0.5, 1), (2, 0.75, pytest.approx(2 / 3), 1), (3, 0.5, 0.5, 0.5),
                     (4, 0.25, 1, 0.5)]
    assert verdict_table([], []) == []
    assert verdict_table([1.0, 1.0], [False, False]) == [(1, 1, 0, None)]
    assert len(verdict_table(list(np.arange(1000.0)), [True] * 1000)) == 20


def answers_of(folder):
    return {row["name"]: (row["pose"], row["verdict"], row["score"], row["error"])
            for row in rows_of(folder)}


def test_processes_change_nothing(scenes, tmp_path):
    seen = []
    for jobs in (1, 2):
        run_registration("3dmatch", scenes, pairs=3, jobs=jobs, output=tmp_path / f"{jobs}")
        seen.append(answers_of(tmp_path / f"{jobs}"))
    assert len(seen[0]) == 3 and seen[0] == seen[1]
    assert not any(error for *_, error in seen[0].values())


def test_real_fragments(real, tmp_path):
    folder = real("3DMatch")
    told = run_registration("3dmatch", folder, pairs=2, matches=True, output=tmp_path / "out")
    assert told["recall"] == 1 and told["num_counted"] == 2 and told["num_errors"] == 0
    assert told["rre_deg_median"] < 5 and told["rte_median"] < 0.2
    assert 0.05 < told["inlier_ratio"] < 0.9 and told["feature_matching_recall"] == 1
    assert score_registration(tmp_path / "out") == told
    turned = run_registration("3dmatch", folder, pairs=1, matches=True, rotate=True,
                              view_point="given", output=tmp_path / "turned")
    assert turned["recall"] == 1
    row, = rows_of(tmp_path / "turned")
    plain = next(plain for plain in rows_of(tmp_path / "out") if plain["name"] == row["name"])
    assert abs(row["inlier_ratio"] - plain["inlier_ratio"]) < 0.1  # the truth was moved for it too


def test_real_scans_of_streets(real):
    told = run_registration("kitti-pairs", real("KITTI-pairs-10m"), pairs=1)
    assert told["rule"] == "kitti" and told["recall"] == 1
