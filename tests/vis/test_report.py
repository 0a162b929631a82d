"""Pages: whole, safe, offline; and that what they say of runs and benchmarks is so."""

import base64
import io
import re
from html import unescape
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.page import Page
from helpers.tiny import CLASSES, TinyNetwork
from helpers.tiny_run import train_tiny, use_tiny
from PIL import Image
from sklearn.metrics import confusion_matrix

from pcinv.engine.evaluator import prepare
from pcinv.engine.loading import load_model
from pcinv.errors import (
    CheckpointError,
    FileFormatError,
    InputError,
    LimitError,
    ShapeError,
    UsageError,
)
from pcinv.tasks import Labels
from pcinv.vis import compare_runs, plots, run_report
from pcinv.vis.colors import kind_colors
from pcinv.vis.registration_report import Pair, pictures, registration_report, worst
from pcinv.vis.report import Report, readable

SHOWN = '<script>alert(1)</script><img src="http://x/y" onerror=alert(2)>"\' &amp; $x^2$'
HOSTILE = f"{SHOWN} \udc80\x00"
CHROMIUM = Path("/usr/bin/chromium")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Return the folders of three tiny runs: two of classes, one of parts."""
    root = tmp_path_factory.mktemp("runs")
    return {"a": train_tiny(root / "a", epochs=6), "b": train_tiny(root / "b", epochs=2, lr=0.001),
            "parts": train_tiny(root / "parts", "part_segmentation")}


@pytest.fixture
def tiny(monkeypatch):
    use_tiny(monkeypatch)


def whole_page(words=HOSTILE):
    page = Report(words)
    page.heading(f"first {words}")
    page.text(words)
    page.code(words)
    page.facts({words: words})
    page.table([words, "count"], [[words, 3], ["b", 1234]])
    page.figure(plots.by_class({words: {words: 0.5}, "b": {words: 0.2}}, "accuracy"), words)
    page.picture(np.full((20, 30, 3), 200, np.uint8), words)
    page.pictures([(np.zeros((8, 8, 3), np.uint8), words)] * 2)
    return page


def names_in(section, page):
    """Return the captions of the pictures behind a heading, up to the next one."""
    part = re.search(rf"<h2>{section}</h2>(.*?)(<h2>|</main>)", page, re.S)[1]
    return re.findall(r"<figcaption>(.*?)</figcaption>", part, re.S)


def keys_in(page):
    """Return for each picture the words of its key with their colours."""
    return [[(unescape(word), tuple(bytes.fromhex(color))) for color, word in re.findall(
        r'<i style="border-color: #(\w{6})"></i>(.*?)</span>', caption, re.S)]
        for caption in re.findall(r"<figcaption>(.*?)</figcaption>", page, re.S)]


class TestPage:
    def test_names_do_nothing_and_are_shown(self):
        page = Page(whole_page().html())
        assert not {"script", "iframe", "object", "link", "base"} & set(page.tags)
        assert page.handlers == [] and page.outside() == []
        assert page.text.count(SHOWN) >= 9
        assert len(page.links) >= 4  # pictures, and what the figure draws twice

    def test_what_is_not_escaped_would_be_seen(self):
        page = Page(f"<p>{SHOWN}</p>")
        assert "script" in page.tags and page.handlers == ["onerror"]
        assert page.outside() == ["http://x/y"]

    def test_styles_load_nothing(self):
        html = whole_page().html()
        assert all(link.startswith("#") for link in re.findall(r"url\(([^)]*)\)", html))
        assert "@import" not in html and "default-src 'none'" in html
        for words in ("prefers-color-scheme: dark", "@media print", 'charset="utf-8"'):
            assert words in html

    def test_parts_stand_in_their_order(self):
        page = Report("title")
        for word in ("one", "two", "three"):
            page.heading(word)
            page.text(f"text {word}")
        found = Page(page.html())
        assert found.headings == ["one", "two", "three"]
        assert re.findall(r"text \w+", found.text) == ["text one", "text two", "text three"]

    def test_pictures_are_the_pixels(self):
        rng = np.random.default_rng(0)
        image = np.kron(rng.integers(0, 255, (6, 8, 3)), np.ones((16, 16, 1))).astype(np.uint8)
        page = Report("t")
        page.picture(image, "caption")
        data = re.search(r"data:image/webp;base64,([^\"]*)", page.html())[1]
        shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB"))
        assert shown.shape == image.shape
        assert np.abs(shown.astype(int) - image).mean() < 8

    def test_columns_of_numbers_are_set_right(self):
        page = Report("t")
        page.table(["name", "share", "angle", "mixed"],
                   [["a", "12%", "3.5°", "3"], ["b", None, "-10.0°", "of 3"]])
        found = re.findall(r'<(t[dh])( class="number")?[ >]', page.html())
        assert [bool(number) for _, number in found] == [False, True, True, False] * 3

    @pytest.mark.parametrize("value, words", [
        (None, "-"), (float("nan"), "-"), (True, "yes"), (1234567, "1,234,567"),
        (np.float32(0.5), "0.5"), (np.int64(4000), "4,000"), (1.23456789, "1.235"),
        ([1, None], "1, -"), ({"a": 0.5}, "a 0.5"), ((), "none"), (float("inf"), "inf"),
        ([[0, 0.5], [1, 2]], "0, 0.5 to 1, 2"), ({}, "none")])
    def test_values_are_readable(self, value, words):
        assert readable(value) == words

    def test_as_many_digits_as_asked_for(self):
        value = {"a": [1.23456789, (2.3456789,)]}
        assert readable(value) == "a 1.235, 2.346" and readable(value, 6) == "a 1.23457, 2.34568"

    def test_a_key_tells_what_colours_stand_for(self):
        page = Report("t")
        image = np.zeros((8, 8, 3), np.uint8)
        page.pictures([(image, "chair", [("seat", (255, 0, 16)), (SHOWN, (1, 2, 3))]),
                       (image, "no key")])
        assert keys_in(page.html()) == [[("seat", (255, 0, 16)), (SHOWN, (1, 2, 3))], []]
        shown = Page(page.html())
        assert shown.text.count("seat") == 1 and "script" not in shown.tags
        assert 'alt="chair seat, ' in page.html()  # those who do not see colours are told as well

    def test_what_does_not_fit_is_refused(self):
        page = Report("t")
        with pytest.raises(ShapeError, match="3 cells below 2"):
            page.table(["a", "b"], [[1, 2], [1, 2, 3]])
        for image in (np.zeros((3, 4)), np.zeros((3, 4, 3)), np.zeros((0, 4, 3), np.uint8)):
            with pytest.raises(ShapeError, match="a picture of shape"):
                page.picture(image)
        assert "table" not in Page(page.html()).tags

    def test_saving_keeps_what_is_there(self, tmp_path):
        page, path = whole_page(), tmp_path / "r.html"
        page.save(path)
        assert path.read_text("utf-8").endswith("</html>\n")
        path.write_text("mine")
        with pytest.raises(UsageError, match="exists"):
            page.save(path)
        assert path.read_text() == "mine"
        page.save(path, force=True)
        with pytest.raises(UsageError, match="does not exist"):
            page.save(tmp_path / "missing" / "r.html")
        assert [entry.name for entry in tmp_path.iterdir()] == ["r.html"]

    def test_in_a_browser_nothing_is_loaded_and_dark_is_dark(self, tmp_path):
        playwright = pytest.importorskip("playwright.sync_api")
        if not CHROMIUM.exists():
            pytest.skip("no chromium")
        page = whole_page()
        page.figure(plots.learning_curves({"a": [{"epoch": 1, "loss": 1, "oa": 1, "lr": 1}]}))
        page.save(tmp_path / "r.html")
        seen, asked, said = {}, [], []
        with playwright.sync_playwright() as driver:
            browser = driver.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
            for scheme in ("light", "dark"):
                view = browser.new_page(color_scheme=scheme, viewport={"width": 500, "height": 800})
                view.on("request", lambda request: asked.append(request.url))
                view.on("console", lambda message: said.append(message.text))
                view.on("dialog", lambda dialog: said.append("a script ran"))
                view.goto(f"file://{tmp_path}/r.html")
                seen[scheme] = view.evaluate(
                    "[getComputedStyle(document.body).backgroundColor,"
                    " getComputedStyle(document.querySelector('svg text')).fill,"
                    " document.documentElement.scrollWidth,"
                    " [...document.images].every(i => i.complete && i.naturalWidth > 0),"
                    " [...document.querySelectorAll('.plot svg')].map(drawing => {"
                    "   const box = drawing.getBoundingClientRect();"
                    "   return [box.right, box.width / box.height /"
                    "     (drawing.viewBox.baseVal.width / drawing.viewBox.baseVal.height)]; }),"
                    " [...document.querySelectorAll('.plot .wide')].every("
                    "   box => box.scrollWidth <= box.clientWidth)]")
            browser.close()
        assert {url.split(":")[0] for url in asked} <= {"file", "data"} and said == []
        assert seen["light"][:2] == ["rgb(255, 255, 255)", "rgb(26, 26, 26)"]
        assert seen["dark"][:2] == ["rgb(22, 24, 27)", "rgb(232, 232, 232)"]
        for _, _, width, loaded, drawings, nothing_cut in seen.values():
            assert width <= 500 and loaded and nothing_cut and len(drawings) == 2
            for right, shape in drawings:  # whole, and not squeezed
                assert right <= 500 and shape == pytest.approx(1, abs=0.01)


def logits_of(prepared):
    """Return labels and logits of all clouds, one by one, without what is tested."""
    clouds, meta = prepared.clouds, prepared.loaded.meta
    rows = []
    with torch.inference_mode():
        for index in range(len(clouds)):
            item = clouds[0, index]
            told = {"category": torch.tensor([item.label])} if meta.num_categories else {}
            rows.append((item, prepared.loaded.model(item.xyz[None], None, **told)[0].numpy()))
    return rows


class TestRun:
    def test_the_page_tells_what_was_measured(self, tiny, folders):
        prepared = prepare(folders["a"], device="cpu")
        found, page = run_report.run_report(prepared, command="pcinv eval a")
        html = page.html()
        shown = Page(html)
        assert shown.headings == ["Figures", "Classes", "What is taken for what", "Confidence",
                                  "The worst examples", "Invariance", "Training"]
        assert shown.outside() == [] and "script" not in shown.tags
        for words in ("pcinv eval a", str(folders["a"]), f"{found.metrics['oa']:.4f}", *CLASSES,
                      "split test", "so3", "torch"):
            assert words in shown.text
        rows = logits_of(prepared)
        matrix = confusion_matrix([item.label for item, _ in rows],
                                  [values.argmax() for _, values in rows], labels=range(3))
        assert found.confusion == matrix.tolist()

    def test_the_worst_examples_are_the_most_confidently_wrong(self, tiny, folders):
        prepared = prepare(folders["b"], device="cpu")  # hardly trained: it is often wrong
        expected = []
        for item, values in logits_of(prepared):
            share = np.exp(values - values.max())
            share /= share.sum()
            if values.argmax() != item.label:
                expected.append((-share.max(), item.index))
        assert len(expected) >= 2
        captions = names_in("The worst examples", run_report.run_report(prepared)[1].html())
        assert [int(re.search(r"number (\d+)", words)[1]) for words in captions] == [
            index for _, index in sorted(expected)][:run_report.EXAMPLES]
        assert f"confidence {-min(expected)[0]:.3f}" in captions[0]

    def test_where_none_is_wrong_the_least_certain_are_shown(self):
        answers = run_report.Answers(Labels(CLASSES))
        answers.rows = [(0, 1, 1, 0.9), (1, 0, 0, 0.4), (2, 2, 2, 0.7)]
        assert [row[0] for row in answers.worst(2)] == [1, 2]
        answers.rows.append((3, 0, 1, 0.5))
        assert [row[0] for row in answers.worst(2)] == [3]

    def test_parts_show_the_lowest_iou(self, tiny, folders, monkeypatch):
        monkeypatch.setattr(run_report, "EXAMPLES", 6)
        prepared = prepare(folders["parts"], device="cpu")
        ious = []
        for item, values in logits_of(prepared):
            own = {0: [0, 1], 1: [2, 3], 2: [4]}[item.label]
            said, true = np.array(own)[values[:, own].argmax(1)], item.part.numpy()
            each = [((said == k) & (true == k)).sum() / max(((said == k) | (true == k)).sum(), 1)
                    if ((said == k) | (true == k)).any() else 1.0 for k in own]
            ious.append((np.mean(each), item.index))
        page = run_report.run_report(prepared)[1].html()
        captions = names_in("The worst examples", page)
        assert len(captions) == 6  # three clouds, as predicted and as they are
        assert [int(re.search(r"number (\d+)", words)[1]) for words in captions[::2]] == [
            index for _, index in sorted(ious)[:3]]
        assert f"IoU {min(ious)[0]:.3f}" in captions[0]
        assert "predicted:" in captions[0] and "true:" in captions[1]
        assert "What is taken for what" not in Page(page).headings

    def test_parts_have_a_key_with_the_colours_of_the_picture(self, tiny, folders, monkeypatch):
        """Each part that is seen is named, in its colour; so are the predicted as the true."""
        monkeypatch.setattr(run_report, "EXAMPLES", 6)
        prepared = prepare(folders["parts"], device="cpu")
        pictures = []
        monkeypatch.setattr(Report, "pictures", lambda page, images: pictures.extend(images))
        run_report.run_report(prepared)
        meta, own = prepared.loaded.meta.labels, {0: [0, 1], 1: [2, 3], 2: [4]}
        assert len(pictures) == 6
        for image, caption, key in pictures:
            index = int(re.search(r"number (\d+)", caption)[1])
            item, values = logits_of(prepared)[index]
            parts = own[item.label]
            part = (np.array(parts)[values[:, parts].argmax(1)] if "predicted" in caption
                    else item.part.numpy())
            kinds = np.unique(part)
            colors = [tuple(row) for row in kind_colors(kinds).tolist()]
            words = [meta.part_names[k] for k in kinds]
            assert list(key) == list(zip(words, colors, strict=True))
            assert all((image == np.array(color)).all(-1).any() for color in colors)
        assert len({word for _, _, key in pictures for word, _ in key}) > 2

    def test_invariance_is_measured(self, tiny, folders, monkeypatch):
        """The tiny network is invariant; a twin that looks at raw coordinates is not."""
        prepared = prepare(folders["a"], device="cpu")
        kept = run_report.turned(prepared)
        assert (kept.clouds, kept.poses) == (run_report.TURNED, run_report.POSES)
        assert kept.changed == 0 and kept.relative < 1e-4
        assert run_report.searched(prepared, 8).errors["rotation"] < 1e-3
        plain = TinyNetwork.forward
        monkeypatch.setattr(TinyNetwork, "forward", lambda self, xyz, normal=None, category=None:
                            plain(self, xyz, normal) + xyz[:, 0] * 30)
        moved = run_report.turned(prepared)
        assert moved.changed > 0.5 and moved.relative > 0.1 and moved.difference > 1
        assert run_report.searched(prepared, 8).errors["rotation"] > 0.1

    def test_a_report_has_a_bounded_cost_and_tells_where_it_is(self, tiny, folders):
        """The help of `pcinv eval` names the cost: some 170 clouds."""
        for limit, most in ((9, 200), (1, 110)):
            prepared = prepare(folders["a"], device="cpu", limit=limit)
            passes, told = [], []
            hook = prepared.loaded.model.register_forward_pre_hook(
                lambda _, given, passes=passes: passes.append(len(given[0])))
            run_report.run_report(prepared, told=lambda *where, told=told: told.append(where))
            hook.remove()
            assert 40 < sum(passes) - limit < most
            parts = dict.fromkeys(where[:2] for where in told)
            assert list(parts) == [("measuring", "cloud"), ("turning clouds", "pose"),
                                   ("searching for the worst error", "pass")]
            assert all(0 <= done <= total for _, _, done, total in told)
            assert ("measuring", "cloud", limit, limit) in told
            assert len(told) > 20  # it is told more often than once a part
            assert not prepared.loaded.model._forward_hooks

    def test_what_takes_too_long_is_ended_and_the_page_says_so(self, tiny, folders, monkeypatch):
        monkeypatch.setattr(run_report, "SECONDS", -1.0)
        prepared = prepare(folders["a"], device="cpu")
        with pytest.raises(LimitError, match="more than"):
            run_report.searched(prepared)
        text = Page(run_report.run_report(prepared)[1].html()).text
        assert "each in 1 random poses" in text and "gave no answer: it took more than" in text
        assert "pcinv check RUN" in text and not prepared.loaded.model._forward_hooks

    def test_calibration(self):
        rng = np.random.default_rng(0)
        sure = rng.random(4000)
        bins, gap = run_report.calibration(sure, rng.random(4000) < sure)
        assert gap < 0.03 and sum(count for _, _, count, _ in bins) == 4000
        assert all(low - 0.05 < share < high + 0.05 for low, high, _, share in bins)
        sure, right = np.array([1.0, 0.95, 0.9]), np.array([True, False, False])
        bins, gap = run_report.calibration(sure, right)
        assert gap == pytest.approx(0.95 - 1 / 3) and bins == [(0.9, 1.0, 3, pytest.approx(1 / 3))]


class TestComparison:
    def test_curves_tables_and_differences(self, folders):
        found = compare_runs.compare_runs([folders["a"], folders["b"]])
        assert found.differing == {"optim.lr": ["0.02", "0.001"], "train.epochs": ["6", "2"]}
        assert [len(run.lines) for run in found.runs] == [6, 2] and found.notes == []
        page = Page(compare_runs.comparison_report(found, command="pcinv plot a b").html())
        assert page.headings == ["Learning", "Settings that differ"] and page.outside() == []
        assert {"optim.lr", "0.02", "0.001"} <= set(page.cells)

    def test_the_best_epoch_is_the_one_that_training_chose(self, tiny, folders):
        for folder in folders.values():
            run = compare_runs.compare_runs([folder]).runs[0]
            assert run.best["epoch"] == load_model(folder).meta.epoch

    def test_measured_runs_show_rotations_and_confusion(self, tiny, folders):
        found = compare_runs.compare_runs([folders["a"], folders["parts"]], measured=True, limit=6,
                                          device="cpu")
        rows = compare_runs.evaluation_rows(found)
        assert [row[:3] for row in rows] == [
            (name, kind, 6) for name in ("a", "parts") for kind in ("none", "z", "so3")]
        assert [row[3] for row in rows] == ["oa"] * 3 + ["instance_miou"] * 3
        page = Page(compare_runs.comparison_report(found).html())
        assert "Under rotations" in page.headings
        assert [words for words in page.headings if "takes for what" in words] == [
            "What a takes for what, turned in any way"]

    def test_names_tell_runs_apart(self):
        names = compare_runs.unique_names
        assert names(["x/a", "x/b/"]) == ["a", "b"]
        assert names(["x/a", "y/a", "y/b"]) == ["x/a", "y/a", "b"]
        assert names(["x/a", "x/a"])[1].endswith("(2)")

    def test_a_run_in_progress_is_read_as_far_as_it_is(self, tmp_path):
        path = tmp_path / "metrics.jsonl"
        for rest in ('{"epoch": 3, "lo', '{"epoch": 3, "lo\n', "\x00\x00\x00", "3\n"):
            path.write_text('{"epoch": 1}\n{"epoch": 2}\n' + rest)
            lines, note = compare_runs.read_metrics(path)
            assert [line["epoch"] for line in lines] == [1, 2] and "left out" in note
        path.write_text('{"epoch": 1}\n{"epoch": 2}\n')
        assert compare_runs.read_metrics(path)[1] is None
        path.write_text('{"epoch": 1}\n{"epo\n{"epoch": 3}\n')
        with pytest.raises(FileFormatError, match="not a JSON object") as caught:
            compare_runs.read_metrics(path)
        assert caught.value.where == f"{path}:2"
        path.write_text("")
        assert compare_runs.read_metrics(path) == ([], "no epoch is finished yet")

    def test_what_is_no_run(self, folders, tmp_path):
        with pytest.raises(CheckpointError, match="not a run folder"):
            compare_runs.compare_runs([folders["a"], tmp_path])
        (tmp_path / "config.toml").write_bytes((folders["a"] / "config.toml").read_bytes())
        with pytest.raises(InputError, match="no epoch"):
            compare_runs.compare_runs([tmp_path])
        both = compare_runs.compare_runs([folders["a"], tmp_path])
        assert both.notes == [f"{tmp_path.name}: no epoch is finished yet"]
        assert compare_runs.table_rows(both)[1][6:9] == ("-", "-", "-")


def pair(name, right=True, score=10.0, verdict="trusted", meets=True, **changes):
    rng = np.random.default_rng(len(name))
    cloud, T = rng.normal(size=(300, 3)), np.eye(4)
    T[:3, 3] = (1.0, 0.0, 2.0)
    wrong = T.copy()
    wrong[0, 3] += 3
    facts = {"name": name, "scene": "kitchen", "right": right and meets, "meets": meets,
             "score": score, "verdict": verdict, "features": "fpfh",
             "rre_deg": 1.0 if right else 90.0, "rte": 0.1 if right else 3.0, "overlap": 0.25,
             "time_ms": 900.0, "error": None, "T": T if right else wrong,
             "T_true": T if meets else None, "load": lambda: (cloud, cloud + T[:3, 3])}
    return Pair(**{**facts, **changes})


FIGURES = {
    "dataset": "3dmatch", "method": "auto", "view_point": "origin", "rotate": False, "fast": False,
    "voxel": None, "seed": 0, "rule": "3dmatch", "num_counted": 3, "recall": 1 / 3,
    "scene_mean_recall": 1 / 3, "rre_deg_median": 1.0, "rte_median": 0.1, "inlier_ratio": None,
    "feature_matching_recall": None, "verdict_precision_without_negatives": 0.5,
    "verdict_recall": 1.0, "time_ms_median": 900.0, "num_negatives": 2, "negatives_trusted": 1,
    "num_errors": 1, "by_kind": {}, "recall_by_overlap": {"0.2-0.3": {"recall": 1 / 3, "pairs": 3}},
    "recall_by_scene": {"kitchen": 1 / 3}, "pairs_by_scene": {"kitchen": 3},
    "reliability": {"fpfh": [(0.0, 5.0, 2, 0.0), (5.0, None, 3, 0.4)]}}


class TestBenchmark:
    PAIRS = (pair("right"), pair("sure", False, 20.0), pair("unsure", False, 2.0, "suspect"),
             pair("apart", score=8.0, meets=False), pair("doubted", score=30.0, meets=False,
                                                         verdict="suspect"))

    def test_the_worst_are_the_wrong_ones_of_the_highest_score(self):
        assert [each.name for each in worst(self.PAIRS)] == ["sure", "apart", "unsure"]
        assert [each.name for each in worst(self.PAIRS, 1)] == ["sure"]
        right = [pair("b", score=4.0), pair("a", score=3.0),
                 pair("doubted", score=1.0, meets=False, verdict="suspect")]
        assert [each.name for each in worst(right)] == ["a", "b"]

    def test_the_page(self):
        page = registration_report(self.PAIRS, FIGURES, command="pcinv benchmark registration")
        shown = Page(page.html())
        assert shown.headings == ["Figures", "Recall by overlap", "Recall by scene",
                                  "Can it be trusted?", "Errors and time", "The worst pairs"]
        assert shown.outside() == [] and shown.tags.count("img") == 3 + 2 + 3
        for words in ("pcinv benchmark registration", "0.333", "1 of 2", "0.90 s",
                      "3 pairs are wrong", "score, area"):
            assert words in shown.text
        start = shown.cells.index("trusted")
        assert shown.cells[start:start + 4] == ["trusted", "1", "1", "1"]

    def test_where_all_is_right_the_page_says_so(self):
        shown = Page(registration_report([pair("a"), pair("b")], FIGURES).html())
        assert "No pair is wrong" in shown.text and "All answers are right" in shown.text

    def test_pictures_show_before_after_and_the_truth(self):
        right = pictures(pair("right"))
        assert [words for _, words in right] == ["before", "after: right", "the truth"]
        assert np.array_equal(right[1][0], right[2][0])  # the answer is the truth
        assert not np.array_equal(right[0][0], right[1][0])
        wrong = pictures(pair("sure", False))
        assert wrong[1][1] == "after: wrong" and not np.array_equal(wrong[1][0], wrong[2][0])
        assert len(pictures(pair("none", False, T=None))) == 2

    def test_a_pair_that_cannot_be_drawn_does_not_spoil_the_page(self):
        def gone():
            raise FileFormatError("the cloud cannot be read", where="cloud_bin_0.ply")

        lost = pair("lost", False, 40.0, error=HOSTILE, T=None, load=gone, rre_deg=float("inf"),
                    rte=float("inf"), overlap=None, time_ms=None)
        shown = Page(registration_report([*self.PAIRS, lost], FIGURES).html())
        assert "There is no picture: the cloud cannot be read" in shown.text
        assert SHOWN in shown.text and "script" not in shown.tags
        assert shown.tags.count("img") == 8
