"""`pcinv benchmark robustness` at the console, and its figure."""

import re
from itertools import pairwise

import numpy as np
import pytest
from helpers.tiny_run import train_tiny, use_tiny
from PIL import Image

from pcinv.geometry.corruptions import CORRUPTIONS
from pcinv.vis.figures import svg_of
from pcinv.vis.robustness import severity_curves

VERB = ("benchmark", "robustness")
KINDS = list(CORRUPTIONS)
SEVERITIES = {kind: list(row.severities) for kind, row in CORRUPTIONS.items()}
UNITS = {kind: row.unit for kind, row in CORRUPTIONS.items()}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    return [train_tiny(folder / "a", epochs=12), train_tiny(folder / "b", epochs=1, lr=1e-6)]


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    use_tiny(monkeypatch)


class TestVerb:
    def test_its_result(self, ask, trained):
        result = ask(*VERB, trained[0], "--device", "cpu")["result"]
        assert (result["task"], result["score"], result["rotation"]) == (
            "classification", "oa", "so3")
        assert list(result["severities"]) == KINDS and result["output"] is None
        one, = result["runs"]
        assert one["run"] == str(trained[0]) and one["num_samples"] == 9
        for kind in KINDS:
            assert len(one["scores"][kind]) == len(result["severities"][kind]) == 5
        # a trained network gets worse where a cloud is hardly there any more
        assert one["scores"]["noise"][0] > 0.6
        assert ask("eval", trained[0], "--rotation", "so3")["result"]["metrics"]["oa"] == (
            one["scores"]["noise"][0])

    def test_tables_and_a_figure_of_two_runs(self, run, trained):
        done = run(*VERB, *trained, "-o", "damage.png", "--kind", "noise", "--kind", "partial")
        lines = done.out.splitlines()
        assert done.code == 0 and re.match(r"noise +0 +0.01 +0.02 +0.04 +0.08$", lines[0])
        assert [line.split()[0] for line in lines if line] == [
            "noise", "a", "b", "partial", "a", "b", "oa", "wrote"]
        assert "oa on shapes, 9 clouds, rotation so3" in done.out
        with Image.open("damage.png") as picture:
            assert picture.width > 1.5 * picture.height
            assert np.asarray(picture.convert("RGB")).std() > 5

    def test_options(self, ask, trained):
        common = (*VERB, trained[0], "--kind", "DROPOUT", "--limit", 4)
        one = ask(*common, "--rotation", "z", "--seed", 3)["result"]
        assert (one["rotation"], one["seed"], one["runs"][0]["num_samples"]) == ("z", 3, 4)
        assert list(one["severities"]) == ["dropout"]
        assert one["runs"][0]["num_points"] == {"dropout": [32, 24, 16, 8, 4]}

    def test_nothing_is_measured_if_something_would_be_lost(self, ask, trained, tmp_path,
                                                            monkeypatch):
        def measured(*args, **options):
            raise RuntimeError

        monkeypatch.setattr("pcinv.engine.robustness.evaluate_robustness", measured)
        (tmp_path / "damage.png").write_text("mine")
        assert ask(*VERB, trained[0], "-o", "damage.png", code=2)["error"]["where"] == "damage.png"
        assert ".svg" in ask(*VERB, trained[0], "-o", "damage.docx", code=2)["error"]["hint"]
        ask(*VERB, trained[0], "-o", "no/damage.png", code=2)
        assert (tmp_path / "damage.png").read_text() == "mine"
        ask(*VERB, trained[0], "-o", "damage.png", "--force", code=70)

    @pytest.mark.parametrize("args, code, near", [
        (("--kind", "nois"), 2, "noise"), (("--rotation", "so4"), 2, "so3"),
        (("--dataset", "modelnet"), 2, "modelnet"), (("--limit", 0), 2, "")])
    def test_what_is_not_there(self, ask, trained, args, code, near):
        assert near in str(ask(*VERB, trained[0], *args, code=code)["error"]["hint"])

    def test_no_run(self, ask, tmp_path):
        ask(*VERB, code=2)
        ask(*VERB, tmp_path / "none", code=5)

    def test_progress_goes_to_stderr(self, run, trained, monkeypatch):
        monkeypatch.setattr("pcinv_cli.progress._SECONDS_BETWEEN_LINES", 0.0)
        done = run(*VERB, trained[0], "--kind", "noise")
        assert "measurement 1/5" in done.err and "measurement" not in done.out
        assert "measurement" not in run(*VERB, trained[0], "--kind", "noise", "-q").err


def test_help_and_completion_know_it(run):
    assert "robustness" in run("benchmark", "--help").out
    words = {"_PCINV_COMPLETE": "bash_complete"}
    done = run(env={**words, "COMP_WORDS": "pcinv benchmark ro", "COMP_CWORD": "2"})
    assert "robustness" in done.out and "retrieval" not in done.out
    line = "pcinv benchmark robustness a --kind d"
    done = run(env={**words, "COMP_WORDS": line, "COMP_CWORD": "5"})
    assert "dropout" in done.out and "density" in done.out and "noise" not in done.out


class TestFigure:
    def draw(self, runs, kinds=KINDS):
        rows = {kind: SEVERITIES[kind] for kind in kinds}
        scores = {name: {kind: [0.9 - 0.1 * k - 0.02 * j for k in range(5)] for kind in kinds}
                  for j, name in enumerate(runs)}
        return severity_curves(scores, rows, UNITS, "accuracy")

    def test_a_panel_for_each_corruption_and_a_line_for_each_run(self):
        figure = self.draw(["a", "b"])
        axes = [axis for axis in figure.axes if axis.get_visible()]
        assert [axis.get_title(loc="left") for axis in axes] == KINDS
        for kind, axis in zip(KINDS, axes, strict=True):
            assert axis.get_xlabel() == UNITS[kind] and axis.get_ylim() == (0, 1)
            one, two = (line.get_xydata() for line in axis.lines)
            assert np.allclose(one[:, 0], SEVERITIES[kind]) and np.allclose(
                two[:, 1], [0.88, 0.78, 0.68, 0.58, 0.48])
            assert len({line.get_color() for line in axis.lines}) == 2
        words = [text.get_text() for text in figure.legends[0].get_texts()]
        assert words == ["a", "b"] and not self.draw(["a"]).legends

    @pytest.mark.parametrize("runs", [1, 2, 9, 20])
    @pytest.mark.parametrize("panels", [1, 2, 3, 5])
    def test_nothing_runs_into_anything(self, runs, panels):
        names = [f"runs/a/rather/long/name/of/a_run-z-{k}" for k in range(runs)]
        figure = self.draw(names, KINDS[:panels])
        figure.draw_without_rendering()
        axes = [axis for axis in figure.axes if axis.get_visible()]
        whole = figure.bbox
        for axis in axes:
            box = axis.get_tightbbox()
            assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= whole.x1 and box.y1 <= whole.y1
            ticks = [label.get_window_extent() for label in axis.get_xticklabels()
                     if label.get_text()]
            assert all(left.x1 < right.x0 for left, right in pairwise(ticks))
            assert axis.get_window_extent().height > 80
        if runs > 1:
            box = figure.legends[0].get_window_extent()
            assert box.x0 >= 0 and box.x1 <= whole.x1 and box.y0 >= 0
            assert box.y1 <= min(axis.get_tightbbox().y0 for axis in axes) + 1
            seen = [text.get_text() for text in figure.legends[0].get_texts()]
            assert len(set(seen)) == runs

    def test_more_runs_than_colours_are_told_apart(self):
        axis = self.draw([f"run{k}" for k in range(20)], ["noise"]).axes[0]
        looks = {(line.get_color(), line.get_linestyle()) for line in axis.lines}
        assert len(looks) == 20

    def test_severities_that_stand_close_leave_the_ticks_to_the_axis(self):
        figure = severity_curves({"a": {"noise": [1, 0.9, 0.2]}}, {"noise": [0, 0.001, 0.5]},
                                 UNITS, "accuracy")
        assert 0.001 not in figure.axes[0].get_xticks()
        assert 0.08 in self.draw(["a"]).axes[0].get_xticks()

    def test_names_are_shown_as_they_are(self):
        drawing = svg_of(self.draw(["$\\frac{x$", "</text><script>"]), "salt")
        assert "$\\frac{x$" in drawing and "<script" not in drawing
