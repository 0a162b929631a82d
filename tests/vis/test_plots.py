"""Figures of measurements: their numbers are those of the data, and they can be seen."""

import io
import re
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image
from scipy.stats import binomtest
from sklearn.metrics import confusion_matrix, roc_auc_score, roc_curve

from pcinv.errors import UsageError
from pcinv.vis import plots
from pcinv.vis.figures import INK, check_suffix, save_figure, svg_of

RNG = np.random.default_rng(0)
SCORES, RIGHT = RNG.normal(size=60).round(1), RNG.random(60) < 0.6
LINES = [{"epoch": k, "step": 9 * k, "lr": 0.1 / k, "loss": 3.0 / k, "val_loss": 4.0 / k,
          "oa": 1 - 1 / k, "val_oa": 0.9 - 1 / k, "time_s": 2.0, "clouds_per_s": 8.0}
         for k in range(1, 6)]
FIGURES = {
    "learning_curves": (lambda x: plots.learning_curves({"a": LINES, "b": LINES[:4]} if x else
                                                        {"a": LINES})),
    "by_rotation": lambda x: plots.by_rotation({"a": {"none": 0.9, "so3": 0.5 + x / 4}}, "oa"),
    "confusion": lambda x: plots.confusion([[5 + x, 1], [0, 4]], ["ball", "rod"]),
    "by_class": lambda x: plots.by_class({"a": {"ball": 0.3 + x / 2, "rod": 1.0}}, "accuracy"),
    "invariance": lambda x: plots.invariance({"rotation": 1e-6 if x else 1e-3, "batch": 0.0}, 1e-5),
    "shares": lambda x: plots.shares({"0-0.1": (0.5, 9 + x), "0.1-0.2": (None, 0)}, "recall", "o"),
    "shares of long names": lambda x: plots.shares({"a_long_scene": (0.5, 9 + x)}, "recall", ""),
    "reliability": lambda x: plots.reliability({"f": [(0, 1, 4, 0.5), (1, None, 4 + x, 1.0)]}, "s"),
    "roc": lambda x: plots.roc(SCORES + x * RIGHT, RIGHT, SCORES > 1),
    "error_curve": lambda x: plots.error_curve({"all": [1.0, 2.0 + x, np.inf]}, "degrees", 5.0),
    "histogram": lambda x: plots.histogram([1.0, 2.0, 3.0 + 5 * x], "seconds"),
}


def pixels(figure):
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=60)
    return np.asarray(Image.open(stream).convert("RGB")).astype(int)


@pytest.mark.parametrize("name", FIGURES)
def test_figures_are_not_blank_and_follow_the_data(name):
    first, same, other = (pixels(FIGURES[name](x)) for x in (0, 0, 1))
    assert first.std() > 5 and np.array_equal(first, same)
    assert first.shape != other.shape or np.abs(first - other).max() > 50


def test_a_confusion_matrix_shows_the_counts_of_sklearn():
    true, said = RNG.integers(0, 5, 300), RNG.integers(0, 5, 300)
    said[true == 2] = 2
    counts = confusion_matrix(true, said, labels=range(5))
    axis = plots.confusion(counts, [f"c{k}" for k in range(5)]).axes[0]
    shown = np.zeros((5, 5), int)
    for text in axis.texts:
        column, row = text.get_position()
        shown[int(row), int(column)] = int(text.get_text())
    assert np.array_equal(shown, counts) and shown[2, 2] == (true == 2).sum()
    assert [label.get_text() for label in axis.get_yticklabels()] == [f"c{k}" for k in range(5)]
    assert axis.get_ylim()[0] > axis.get_ylim()[1]  # the first class is at the top
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("predicted", "true")


@pytest.mark.parametrize("count", [40, 60, 150])
def test_many_classes_stay_legible(count):
    """Letters of five points or more that do not run into those of the next class."""
    figure = plots.confusion(np.eye(count, dtype=int) * 7, [f"class_{k}" for k in range(count)])
    axis = figure.axes[0]
    figure.draw_without_rendering()
    labels = axis.get_yticklabels()
    assert min(label.get_fontsize() for label in labels) >= 5
    boxes = [label.get_window_extent() for label in labels]
    assert all(above.y0 >= below.y1 - 1 for above, below in pairwise(boxes))
    assert len(axis.texts) == (count if count <= plots.MOST_COUNTED else 0)
    assert figure.get_figwidth() < 11


def test_a_roc_is_that_of_sklearn():
    wrong, right = plots.roc_points(SCORES, RIGHT)
    expected = roc_curve(RIGHT, SCORES, drop_intermediate=False)
    assert np.allclose(wrong, expected[0]) and np.allclose(right, expected[1])
    axis = plots.roc(SCORES, RIGHT, SCORES > 1).axes[0]
    words = [text.get_text() for text in axis.get_legend().get_texts()]
    assert f"score, area {roc_auc_score(RIGHT, SCORES):.3f}" in words
    point = axis.lines[2].get_xydata()[0]
    assert np.allclose(point, [(SCORES > 1)[~RIGHT].mean(), (SCORES > 1)[RIGHT].mean()])


@pytest.mark.parametrize("hits, count", [(0, 1), (3, 7), (7, 7), (40, 100)])
def test_intervals_are_those_of_wilson(hits, count):
    expected = binomtest(hits, count).proportion_ci(0.95, method="wilson")
    assert np.allclose(plots.interval(hits / count, count), expected, atol=1e-4)


def test_curves_have_a_panel_for_each_metric_and_dash_the_validation():
    matching = [{"epoch": 1, "loss": 2.0, "found": 0.1, "val_inlier_ratio": 0.2,
                 "val_feature_matching_recall": 0.5, "pairs_per_s": 3.0}]
    figure = plots.learning_curves({"a": LINES, "b": matching})
    titles = [axis.get_title(loc="left") for axis in figure.axes if axis.get_visible()]
    assert titles == ["loss", "accuracy", "places found in their batch", "inlier ratio",
                      "feature matching recall", "learning rate"]
    loss = figure.axes[0].lines
    assert [line.get_linestyle() for line in loss] == ["-", "--", "-"]
    assert np.allclose(loss[1].get_xydata(), [(k, 4.0 / k) for k in range(1, 6)])
    assert loss[0].get_color() == loss[1].get_color() != loss[2].get_color()


@pytest.mark.parametrize("epochs", [1, 2, 3, 40])
def test_epochs_are_whole_numbers(epochs):
    lines = [{"epoch": k, "loss": 1.0 / k} for k in range(1, epochs + 1)]
    axis = plots.learning_curves({"a": lines}).axes[0]
    low, high = axis.get_xlim()
    shown = [tick for tick in axis.get_xticks() if low <= tick <= high]
    assert shown and all(tick == round(tick) for tick in shown)
    assert epochs > 3 or shown == list(range(1, epochs + 1))


def test_curves_leave_out_what_is_no_number():
    lines = [{"epoch": 1, "loss": None, "note": "x"}, {"epoch": 2, "loss": float("nan")},
             {"epoch": 3, "loss": 1.5}]
    axis = plots.learning_curves({"a": lines}).axes[0]
    assert np.allclose(axis.lines[0].get_xydata(), [(3, 1.5)])


def test_the_error_curve_counts_pairs_without_an_answer():
    line = plots.error_curve({"all": [4.0, 1.0, np.inf, 2.0]}, "degrees", 3.0).axes[0].lines[0]
    x, y = line.get_xydata().T
    for bound in (1.5, 3.0, 5.0):
        assert y[x <= bound][-1] == sum(error <= bound for error in (4, 1, 2)) / 4
    assert y.max() == 0.75


def test_names_are_shown_as_they_are():
    figure = plots.by_class({"a": {"$\\frac{x$": 0.5, "</text><script>": 0.4}}, "accuracy")
    drawing = svg_of(figure, "salt")
    assert "$\\frac{x$" in drawing and "&lt;/text&gt;&lt;script&gt;" in drawing
    assert "<script" not in drawing


def test_a_drawing_refers_to_nothing_outside_and_takes_the_ink_of_the_page():
    figure = FIGURES["roc"](0)
    drawing = svg_of(figure, "one", ink="currentColor")
    links = re.findall(r'href="([^"]*)"|url\(([^)]*)\)', drawing)
    assert links and all((a or b).startswith("#") for a, b in links)
    names = set(re.findall(r' id="([^"]*)"', drawing))
    assert names and not names & set(re.findall(r' id="([^"]*)"', svg_of(figure, "two")))
    assert INK not in drawing and "currentColor" in drawing
    assert drawing == svg_of(FIGURES["roc"](0), "one", ink="currentColor")


def test_saving(tmp_path):
    figure = FIGURES["by_class"](0)
    starts = {".png": b"\x89PNG", ".pdf": b"%PDF", ".svg": b"<svg"}
    for suffix, start in starts.items():
        save_figure(figure, tmp_path / f"f{suffix}")
        assert (tmp_path / f"f{suffix}").read_bytes().startswith(start)
        with pytest.raises(UsageError, match="exists"):
            save_figure(figure, tmp_path / f"f{suffix}")
    save_figure(FIGURES["by_class"](1), tmp_path / "f.svg", force=True)
    for wrong in ("f.bmp", "f"):
        with pytest.raises(UsageError, match="no suffix"):
            save_figure(figure, tmp_path / wrong)
    assert check_suffix("a.HTML", (".html",)) == ".html"
    assert {path.name for path in tmp_path.iterdir()} == {"f.png", "f.pdf", "f.svg"}
