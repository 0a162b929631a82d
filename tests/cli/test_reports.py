"""`pcinv plot`, `eval --report`, `benchmark registration --report`: pages and figures of verbs."""

import re
import shlex
import shutil

import pytest
from helpers.fake_register import FakeRegister, answer
from helpers.fake_threedmatch import write_scene
from helpers.page import Page
from helpers.tiny_run import train_tiny, use_tiny

from pcinv.errors import InputError

EVERY = [(i, j) for i in range(5) for j in range(i + 1, 5)]
BENCHMARK = ("benchmark", "registration", "--dataset", "3dmatch")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Return the folder with two tiny runs, a and b."""
    root = tmp_path_factory.mktemp("trained")
    train_tiny(root / "a", epochs=4)
    train_tiny(root / "b", epochs=2, lr=0.001)
    return root


@pytest.fixture
def runs(trained, monkeypatch, tmp_path):
    """Return copies of the two runs, that a test may damage."""
    use_tiny(monkeypatch)
    return [shutil.copytree(trained / name, tmp_path / name) for name in "ab"]


@pytest.fixture
def copy(tmp_path, monkeypatch):
    """Return the folder of two scenes; of their pairs the first ten are registered wrongly."""
    def beside(found, call):
        T = found.transform.copy()
        T[0, 3] += 0.8 * (call <= 10)
        return answer(T, "trusted" if call > 2 else "suspect", float(call))

    monkeypatch.setattr("pcinv.register", FakeRegister(beside), raising=False)
    for seed, scene in enumerate(("kitchen", "office")):
        write_scene(tmp_path / "copy", scene, EVERY, seed=seed)
    return tmp_path / "copy"


def command_of(path):
    """Return the words of the command that a page tells."""
    page = Page(path.read_text())
    line = re.search(r"^pcinv .*$", page.text, re.M)
    return shlex.split(line[0])


class TestPlot:
    def test_a_figure_a_table_and_fields(self, ask, run, runs, tmp_path):
        whole = ask("plot", *runs)
        result = whole["result"]
        assert whole["warnings"] == [] and result["output"] == "pcinv-plot.png"
        assert (tmp_path / "pcinv-plot.png").read_bytes().startswith(b"\x89PNG")
        assert [(each["name"], each["epochs"], each["epochs_planned"], each["score"])
                for each in result["runs"]] == [("a", 4, 4, "oa"), ("b", 2, 2, "oa")]
        assert set(result["differing"]) == {"optim.lr", "train.epochs"}
        assert result["evaluations"] == {}
        shown = run("plot", *runs, "-o", "p.svg").out
        for words in ("val_oa", "4 of 4", "optim.lr", "0.001", "wrote p.svg"):
            assert words in shown

    def test_measured_under_rotations_on_a_page(self, ask, run, runs, tmp_path):
        result = ask("plot", *runs, "--eval", "--limit", 6, "-o", "p.html")["result"]
        assert {kind: each["num_samples"] for kind, each in result["evaluations"]["a"].items()} == {
            "none": 6, "z": 6, "so3": 6}
        page = Page((tmp_path / "p.html").read_text())
        assert page.outside() == [] and "Under rotations" in page.headings
        assert command_of(tmp_path / "p.html")[:4] == ["pcinv", "plot", *map(str, runs)]
        shown = run("plot", runs[0], "--eval", "--limit", 3, "-o", "p.pdf").out
        assert "so3" in shown and (tmp_path / "p.pdf").read_bytes().startswith(b"%PDF")

    def test_nothing_is_overwritten_unasked(self, ask, runs, tmp_path):
        (tmp_path / "p.png").write_text("mine")
        error = ask("plot", *runs, "-o", "p.png", code=2)["error"]
        assert "exists" in error["message"] and (tmp_path / "p.png").read_text() == "mine"
        ask("plot", *runs, "-o", "p.png", "--force")
        assert (tmp_path / "p.png").stat().st_size > 1000

    def test_what_is_no_run_and_no_figure(self, ask, runs, tmp_path):
        error = ask("plot", runs[0], tmp_path / "copy", code=5)["error"]
        assert error["code"] == "checkpoint" and "not a run folder" in error["message"]
        assert ".pdf" in ask("plot", *runs, "-o", "p.bmp", code=2)["error"]["hint"]
        assert "mkdir" in ask("plot", *runs, "-o", "no/p.png", code=2)["error"]["hint"]
        assert ask("plot", code=2)["error"]["code"] == "usage"
        assert not list(tmp_path.glob("*.png"))

    def test_a_run_in_progress(self, ask, runs):
        with (runs[0] / "metrics.jsonl").open("a") as stream:
            stream.write('{"epoch": 5, "loss"')
        whole = ask("plot", *runs)
        assert whole["result"]["runs"][0]["epochs"] == 4
        assert [each["message"] for each in whole["warnings"]] == [
            "a: the last line of metrics.jsonl is cut off and left out"]
        (runs[0] / "metrics.jsonl").write_text("{\n{}\n")
        error = ask("plot", *runs, "--force", code=3)["error"]
        assert "metrics.jsonl:1" in error["where"]
        for folder in runs:
            (folder / "metrics.jsonl").unlink()
        assert "no epoch" in ask("plot", *runs, "--force", code=3)["error"]["message"]

    def test_runs_of_matching_are_plotted_and_not_measured(self, ask, runs, tmp_path):
        config = (runs[0] / "config.toml").read_text()
        config = re.sub(r'backbone = ".*"', 'backbone = "cylinder_patch"', config)
        config = config.replace('task = "classification"', 'task = "matching"')
        (runs[0] / "config.toml").write_text(config)
        (runs[0] / "metrics.jsonl").write_text(
            '{"epoch": 1, "loss": 2.0, "found": 0.1, "val_inlier_ratio": 0.25, '
            '"val_feature_matching_recall": 0.5, "time_s": 60.0, "pairs_per_s": 2.0}\n')
        whole = ask("plot", runs[0], "--eval", "-o", "p.html")
        assert whole["result"]["runs"][0]["best"]["val_inlier_ratio"] == 0.25
        assert "pcinv benchmark registration" in whole["warnings"][0]["message"]
        assert "feature matching recall" in Page((tmp_path / "p.html").read_text()).text


class TestEval:
    def test_a_page_with_the_same_figures(self, ask, run, runs, tmp_path):
        plain = ask("eval", runs[0], "--rotation", "z", "--limit", 6)["result"]
        told = ask("eval", runs[0], "--rotation", "z", "--limit", 6, "--report", "r.html")["result"]
        assert told.pop("report") == "r.html" and told == plain
        page = Page((tmp_path / "r.html").read_text())
        assert page.outside() == [] and "script" not in page.tags and "img" in page.tags
        assert f"{plain['metrics']['oa']:.4f}" in page.text
        assert command_of(tmp_path / "r.html") == [
            "pcinv", "eval", str(runs[0]), "--rotation", "z", "--limit", "6", "--report", "r.html"]
        assert "wrote r.html" in run("eval", runs[0], "--report", "r.html", "--force").out

    def test_it_shows_where_it_is_unless_told_not_to(self, run, runs, monkeypatch):
        monkeypatch.setattr("pcinv_cli.progress._SECONDS_BETWEEN_LINES", 0.0)
        options = ("eval", runs[0], "--report", "r.html", "--force")
        said = run(*options).err
        for words in ("measuring, cloud 9/9", "turning clouds, pose 4/4",
                      "searching for the worst error, pass 40/", " left"):
            assert words in said
        assert "measuring, cloud 6/6" in run("eval", runs[0], "--limit", 6).err
        for flag in ("--no-progress", "-q"):
            said = run(*options, flag)
            assert said.code == 0 and said.err == "" and "wrote r.html" in said.out

    def test_the_help_tells_the_cost(self, run):
        said = " ".join(run("eval", "--help").out.split())
        assert "170 more clouds, three minutes at most" in said

    def test_what_cannot_be_written_is_told_first(self, ask, runs, tmp_path, monkeypatch):
        monkeypatch.setattr("pcinv.engine.evaluator.prepare", None)  # nothing is measured
        (tmp_path / "r.html").write_text("mine")
        assert "exists" in ask("eval", runs[0], "--report", "r.html", code=2)["error"]["message"]
        assert "suffix" in ask("eval", runs[0], "--report", "r.pdf", code=2)["error"]["message"]
        assert (tmp_path / "r.html").read_text() == "mine"

    def test_what_is_no_run(self, ask, tmp_path):
        ask("eval", tmp_path, "--report", "r.html", code=5)
        assert not (tmp_path / "r.html").exists()


class TestBenchmark:
    def test_the_worst_pairs_come_first(self, ask, run, copy, tmp_path):
        options = (*BENCHMARK, "--root", copy)
        result = ask(*options, "--report", "r.html")["result"]
        assert result["num_pairs"] == 12 and result["recall"] == pytest.approx(2 / 12)
        page = Page((tmp_path / "r.html").read_text())
        assert page.outside() == [] and page.tags.count("img") == 3 * 8
        assert "10 pairs are wrong" in page.text
        start = page.cells.index("features") + 1  # the table of the worst pairs
        scores = [float(value) for value in page.cells[start + 2::7]]
        assert scores == [float(call) for call in range(10, 0, -1)]
        assert command_of(tmp_path / "r.html") == [
            "pcinv", *BENCHMARK, "--root", str(copy), "--report", "r.html"]

    def test_a_run_that_goes_on_shows_all_its_pairs(self, ask, run, copy, tmp_path):
        options = (*BENCHMARK, "--root", copy, "--negatives", 2, "--rotate", "-o", "out")
        ask(*options)
        done = run(*options, "--report", "r.html")
        assert "14 of 14 pairs are done already" in done.err and "wrote r.html" in done.out
        text = Page((tmp_path / "r.html").read_text()).text
        assert "2 of 2" in text and "the clouds do not meet" in text
        assert "12 pairs are wrong, or trusted" in text

    def test_pairs_that_fail_are_on_the_page(self, ask, copy, tmp_path, monkeypatch):
        def fails(found, call):
            raise InputError("too few <points>")

        monkeypatch.setattr("pcinv.register", FakeRegister(fails), raising=False)
        ask(*BENCHMARK, "--root", copy, "--pairs", 2, "--report", "r.html", code=1)
        page = Page((tmp_path / "r.html").read_text())
        assert page.text.count("too few <points>") == 4 and page.tags.count("img") == 4

    def test_what_cannot_be_written_is_told_first(self, ask, copy, tmp_path, monkeypatch):
        register = FakeRegister()
        monkeypatch.setattr("pcinv.register", register, raising=False)
        (tmp_path / "r.html").write_text("mine")
        ask(*BENCHMARK, "--root", copy, "--report", "r.html", code=2)
        assert register.calls == [] and (tmp_path / "r.html").read_text() == "mine"
        ask(*BENCHMARK, "--root", copy, "--pairs", 2, "--report", "r.html", "--force")
        assert (tmp_path / "r.html").read_text().startswith("<!doctype html>")
