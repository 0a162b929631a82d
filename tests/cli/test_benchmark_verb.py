"""`pcinv benchmark registration`: its figures, its talk, and how it fails."""

import pytest
from helpers.fake_register import FakeRegister, answer
from helpers.fake_threedmatch import write_scene

from pcinv.errors import InputError
from pcinv_cli.output import Talk
from pcinv_cli.progress import PairProgress
from pcinv_data.pairs import PAIR_SETS

EVERY = [(i, j) for i in range(5) for j in range(i + 1, 5)]
VERB = ("benchmark", "registration")


@pytest.fixture
def copy(tmp_path, monkeypatch):
    """Return the folder of two scenes, registered by a stand-in without error."""
    monkeypatch.setattr("pcinv.register", FakeRegister(), raising=False)
    for seed, scene in enumerate(("kitchen", "office")):
        write_scene(tmp_path / "copy", scene, EVERY, seed=seed)
    return tmp_path / "copy"


def test_the_fields_that_others_rely_on(ask, copy):
    whole = ask(*VERB, "--dataset", "3dmatch", "--root", copy, "--pairs", 5)
    assert whole["command"] == "benchmark registration" and whole["warnings"] == []
    result = whole["result"]
    assert {"dataset", "method", "num_pairs", "recall", "recall_by_scene", "scene_mean_recall",
            "inlier_ratio", "feature_matching_recall", "rre_deg_median", "rte_median",
            "time_ms_median", "verdict_precision", "verdict_recall"} <= set(result)
    assert (result["dataset"], result["method"], result["num_pairs"]) == ("3dmatch", "auto", 5)
    assert result["recall"] == result["verdict_precision"] == 1
    assert result["output"] is result["inlier_ratio"] is None


def test_wrong_poses_show(ask, copy, monkeypatch):
    def beside(found, call):
        T = found.transform.copy()
        T[0, 3] += 0.4 * (call > 2)
        return answer(T, "trusted" if call < 3 else "suspect")

    monkeypatch.setattr("pcinv.register", FakeRegister(beside), raising=False)
    result = ask(*VERB, "--dataset", "3dmatch", "--root", copy, "--pairs", 4)["result"]
    assert result["recall"] == 0.5 and result["verdict_precision"] == 1


def test_a_table_for_people(run, copy):
    done = run("--no-progress", *VERB, "--root", copy, "--dataset", "3DMatch", "--negatives", 2,
               "--rotate", "-v", "-o", "out")
    assert done.code == 0
    for words in ("kitchen", "office", "recall 1.000 of 12 pairs", "clouds moved", "score from",
                  "clouds that do not meet: 2 of 2 trusted; with them right 0.857", "out"):
        assert words in done.out
    plain = run(*VERB, "--root", copy, "--dataset", "3dmatch", "--pairs", 3).out
    assert "score from" not in plain and "do not meet" not in plain


def test_a_stopped_run_goes_on(ask, run, copy, tmp_path):
    args = (*VERB, "--dataset", "3dmatch", "--root", copy, "-o", tmp_path / "out")
    first = ask(*args, "--pairs", 3)["result"]
    lines = (tmp_path / "out" / "results.jsonl").read_text()
    assert ask(*args, "--pairs", 3)["result"] == first
    assert (tmp_path / "out" / "results.jsonl").read_text() == lines
    assert "3 of 12 pairs are done already" in run(*args).err
    error = ask(*args, "--fast", code=2)["error"]
    assert "fast False there, True now" in error["message"] and "settings.json" in error["where"]


@pytest.mark.parametrize("args, near", [
    (("--dataset", "3dmach"), "3dmatch"), (("--dataset", "kitti"), "kitti-pairs"),
    (("--dataset", "modelnet40"), "3dmatch"), (("--method", "icpp"), "icp"),
    (("--view-point", "orign"), "origin"), (("--scene", "ofice"), "office")])
def test_unknown_names_are_answered_with_the_nearest(ask, copy, args, near):
    error = ask(*VERB, "--dataset", "3dmatch", "--root", copy, *args, code=2)["error"]
    assert error["code"] == "unknown-name" and near in error["hint"]


def test_what_is_left_out(ask, run, copy):
    assert ask(*VERB, "--root", copy, code=2)["error"]["code"] == "usage"
    assert "--root" in ask(*VERB, "--dataset", "3dmatch", code=2)["error"]["hint"]
    told = ask("benchmark", "registraton", code=2)["error"]
    assert told["hint"].startswith("did you mean registration or ")
    assert "registration" in run("benchmark", "--help").out


def test_another_folder_is_bad_data(ask, copy, tmp_path):
    error = ask(*VERB, "--dataset", "3dmatch", "--root", tmp_path / "missing", code=3)["error"]
    assert error["code"] == "dataset" and "no such folder" in error["message"]
    ask(*VERB, "--dataset", "kitti-pairs", "--root", copy, code=3)
    ask(*VERB, "--dataset", "3dlomatch", "--root", copy, code=3)


def test_pairs_that_fail_are_told(ask, copy, monkeypatch):
    def fails(found, call):
        if call <= bad:
            raise InputError("too few points")
        return found

    bad = 1
    monkeypatch.setattr("pcinv.register", FakeRegister(fails), raising=False)
    whole = ask(*VERB, "--dataset", "3dmatch", "--root", copy, "--pairs", 4)
    assert whole["result"]["recall"] == 0.75
    assert whole["warnings"][0]["message"] == (
        "1 pairs failed with an error; kitchen/0-2: too few points")
    bad = 12
    monkeypatch.setattr("pcinv.register", FakeRegister(fails), raising=False)
    whole = ask(*VERB, "--dataset", "3dmatch", "--root", copy, code=1)
    assert whole["result"]["recall"] == 0 and "every pair failed" in whole["error"]["message"]


def test_data_knows_the_sets_of_pairs(ask, run, copy):
    names = [row["name"] for row in ask("data", "list")["result"]["datasets"]]
    assert set(PAIR_SETS) <= set(names)
    assert "registration" in run("data", "list").out
    for name in PAIR_SETS:
        assert ask("data", "info", name)["result"]["name"] == name
    assert "3dmatch" in ask("data", "info", "3dmach", code=2)["error"]["hint"]
    assert ask("data", "verify", "3dmatch", "--root", copy)["result"]["counts"] == {"test": 20}
    ask("data", "verify", "kitti-pairs", "--root", copy, code=3)
    assert ask("train", "--dataset", "3dmatch", "--root", copy, code=2)["error"]  # for no network


def test_progress_tells_the_time_left(monkeypatch, capsys):
    clock = iter(range(0, 1000, 2))
    monkeypatch.setattr("pcinv_cli.progress.time.monotonic", lambda: next(clock))
    talk = Talk()
    with PairProgress(talk) as progress:
        progress(10, 40, None)
        for k in range(6):
            progress(11 + k, 40, {"verdict": "trusted" if k % 2 else "failed"})
    first, *lines = capsys.readouterr().err.splitlines()
    assert first == "10 of 40 pairs are done already"
    assert lines[0] == "0 of 1 answers trusted, pair 11/40, 58 s left"  # one in two seconds
    assert 2 <= len(lines) < 6
    talk.settle(quiet=True, verbose=0, progress=True, debug=False)
    with PairProgress(talk) as progress:
        progress(0, 1, None)
        progress(1, 1, {"verdict": "trusted"})
    assert capsys.readouterr().err == ""


def test_a_generated_set_needs_no_data(ask, run, tmp_path):
    args = (*VERB, "--dataset", "objects", "--scene", "cylinder", "--pairs", 2, "-o",
            tmp_path / "out")
    result = ask(*args)["result"]
    assert result["num_pairs"] == 2 and result["rule"] == "objects"
    told = run(*args)
    assert "symmetric" in told.out and "called open" in told.out and "of the diagonal" in told.out
    assert "2 of 2 pairs are done already" in told.err
    error = ask(*VERB, "--dataset", "objects", "--scene", "cylindr", code=2)["error"]
    assert "cylinder" in error["hint"]
