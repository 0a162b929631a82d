"""The registration benchmark with moved clouds, and with clouds that do not meet."""

import json

import numpy as np
import pytest
from helpers.fake_register import answer
from helpers.fake_threedmatch import write_scene

from pcinv.errors import UsageError
from pcinv_data.benchmark import draw_negatives, run_registration
from pcinv_data.benchmark_pair import REACH, as_stored, motions_of, moved, moved_truth
from pcinv_data.pairs import load_pairs

ALL = [(i, j) for i in range(5) for j in range(i + 1, 5)]


def rows_of(folder):
    return [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]


def test_the_truth_moves_with_the_clouds(scenes):
    for pair in load_pairs("3dmatch", scenes, limit=5):
        motions = motions_of(pair.name, seed=7)
        source, target = pair.load_source(), pair.load_target()
        x, y = moved(source, motions[0]), moved(target, motions[1])
        truth = moved_truth(pair.T_target_source, motions)
        assert np.abs(moved(x, truth) - y).max() < 1e-5
        assert np.abs(moved(x, pair.T_target_source) - y).max() > 0.1  # the old truth does not
        assert np.allclose(as_stored(truth, motions), pair.T_target_source, atol=1e-12)


def test_motions_are_uniform_and_seeded():
    motions = [m for k in range(500) for m in motions_of(f"office/{k}", seed=0)]
    R = np.array([m[:3, :3] for m in motions])
    assert np.allclose(R @ R.transpose(0, 2, 1), np.eye(3)) and np.all(np.linalg.det(R) > 0)
    angles = np.degrees(np.arccos(np.clip((np.trace(R, axis1=1, axis2=2) - 1) / 2, -1, 1)))
    assert abs(angles.mean() - 126.5) < 3  # of uniform rotations; of random Euler angles it is less
    assert np.abs(R.mean(axis=0)).max() < 0.08
    shifts = np.array([m[:3, 3] for m in motions])
    assert np.abs(shifts).max() <= REACH and np.abs(shifts).max() > 0.95 * REACH
    one = motions_of("office/3", seed=0)
    assert not np.allclose(one[0], one[1])
    assert np.array_equal(one, motions_of("office/3", seed=0))
    assert not np.allclose(one, motions_of("office/3", seed=1))
    assert not np.allclose(one, motions_of("office/4", seed=0))


def test_moved_clouds_are_what_the_method_gets(scenes, register, tmp_path):
    fake = register()
    told = run_registration("3dmatch", scenes, rotate=True, view_point="origin",
                            output=tmp_path / "out")
    assert told["recall"] == 1 and told["rotate"] and told["view_point"] == "auto"
    pairs = {pair.name: pair for pair in load_pairs("3dmatch", scenes)}
    for (source, target, options), row in zip(fake.calls, rows_of(tmp_path / "out"), strict=True):
        assert options["view_point"] == "auto"
        assert np.abs(moved(source, np.array(row["truth"])) - target).max() < 1e-5
        assert np.abs(source - pairs[row["name"]].load_source()).max() > 0.1
        assert np.abs(np.array(row["truth"]) - row["pose"]).max() < 1e-5


def test_an_error_weighs_the_same_moved_or_not(scenes, register):
    T = np.eye(4)
    T[:3, 3] = 0.12, 0.05, -0.03

    def off(found, call):  # the motion of the source's own frame, wherever it was moved
        motion = motions_of(names[call - 1], 0)[0] if turned else np.eye(4)
        return answer(found.transform @ motion @ T @ np.linalg.inv(motion))

    figures = []
    names = [pair.name for pair in load_pairs("3dmatch", scenes, consecutive=False)]
    for turned in (False, True):
        register(off)
        told = run_registration("3dmatch", scenes, rotate=turned)
        figures.append([told[key] for key in ("recall", "rre_deg_median", "rte_median")])
    assert figures[0] == pytest.approx(figures[1], abs=1e-3) and figures[0][0] == 1


def test_given_view_points_are_true_ones(scenes, register):
    plain = register()
    run_registration("3dmatch", scenes, view_point="given", pairs=4)
    turned = register()
    told = run_registration("3dmatch", scenes, view_point="given", pairs=4, rotate=True)
    assert told["recall"] == 1 and told["view_point"] == "given"
    for (*before, _), (*now, options) in zip(plain.calls, turned.calls, strict=True):
        assert options["view_point"] == "origin"
        for cloud, other in zip(before, now, strict=True):
            # turned about the camera, the origin of the cloud as it is stored
            assert np.allclose(*(np.linalg.norm(c, axis=1) for c in (cloud, other)), atol=1e-9)
            assert np.abs(cloud - other).max() > 0.1


def test_trusting_clouds_that_do_not_meet_lowers_the_precision(scenes, register):
    for verdict, trusted in (("trusted", 4), ("suspect", 0), ("failed", 0)):
        register(lambda found, call, say=verdict: found if call <= 12 else answer(
            found.transform, say, 5.0))
        told = run_registration("3dmatch", scenes, negatives=4)
        assert told["num_pairs"] == 12 and told["recall"] == 1
        assert told["num_negatives"] == 4 and told["negatives_trusted"] == trusted
        assert told["verdict_precision"] == pytest.approx(12 / (12 + trusted))
        assert told["verdict_precision_without_negatives"] == 1
        assert told["roc"] == [(5.0, 1.0, 0.75, 1.0), (50.0, 0.75, 1.0, 1.0)]


def test_negatives_are_of_different_scenes(scenes):
    pairs = load_pairs("3dmatch", scenes)
    drawn = draw_negatives(pairs, 25, seed=0)  # all that there are
    assert len({trial.name for trial in drawn}) == 25
    for trial in drawn:
        assert trial.pair is None
        assert {trial.source_file.parent.name, trial.target_file.parent.name} == {
            "kitchen", "office"}
    names = [trial.name for trial in drawn]
    assert [trial.name for trial in draw_negatives(pairs, 10, seed=0)] == names[:10]
    assert [trial.name for trial in draw_negatives(pairs, 25, seed=1)] != names
    with pytest.raises(UsageError, match="make only 25"):
        draw_negatives(pairs, 26, seed=0)


def test_negatives_of_one_scene(scenes, tmp_path, register):
    register()
    write_scene(scenes, "attic", ALL, seed=3)
    drawn = draw_negatives(load_pairs("3dmatch", scenes), 20, seed=0, scene="attic")
    assert all("attic" in trial.scene for trial in drawn)
    write_scene(tmp_path / "one", "attic", ALL)
    with pytest.raises(UsageError, match="the 1 scenes of this folder"):
        run_registration("3dmatch", tmp_path / "one", negatives=1)
