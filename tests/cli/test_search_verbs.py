"""`pcinv embed`, `pcinv search` and `pcinv benchmark retrieval` at the console."""

import csv
import json

import numpy as np
import pytest
from helpers.tiny_encoder import train_encoder, use_encoder, write_shapes, write_turned

from pcinv.engine import search as engine_search


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return train_encoder(tmp_path_factory.mktemp("run") / "run")


@pytest.fixture(autouse=True)
def encoder(monkeypatch):
    use_encoder(monkeypatch)


@pytest.fixture
def shapes(tmp_path):
    return write_shapes(tmp_path / "shapes")


@pytest.fixture
def damaged(tmp_path):
    path = tmp_path / "shapes" / "bad.ply"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"ply\nformat ascii 1.0\nelement vertex 9\n")
    return path


class TestEmbed:
    def test_vectors_and_the_names_beside_them(self, ask, run, trained, shapes, tmp_path):
        result = ask("embed", trained, *shapes, "-o", "e.npy", "--device", "cpu")["result"]
        vectors = np.load("e.npy")
        with open("e.csv", newline="") as stream:
            rows = list(csv.DictReader(stream))
        assert vectors.shape == (6, 16) and vectors.dtype == np.float32
        assert [row["file"] for row in rows] == [str(path) for path in shapes]
        assert [row["file"] for row in result["files"]] == [str(path) for path in shapes]
        assert rows[0]["num_points"] == "60" and rows[0]["num_used"] == "32"
        assert (result["dim"], result["normalised"], result["num_skipped"]) == (16, True, 0)
        assert result["output"] == "e.npy" and result["names_file"] == "e.csv"
        said = run("embed", trained, *shapes, "-o", "e.npy", "--force", "--dim", 8, "--raw").out
        assert "6 vectors of 8 numbers" in said and "e.csv" in said
        assert abs(np.linalg.norm(np.load("e.npy"), axis=1) - 1).min() > 1e-4

    def test_one_file_with_both(self, ask, trained, shapes):
        ask("embed", trained, *shapes, "-o", "e.npz")
        with np.load("e.npz", allow_pickle=False) as found:
            assert set(found) == {"embeddings", "files", "fingerprint"}
            assert found["files"].tolist() == [str(path) for path in shapes]
            assert found["embeddings"].shape == (6, 16)

    def test_a_damaged_file_does_not_keep_the_others_from_it(self, ask, run, trained, shapes,
                                                             damaged):
        whole = ask("embed", trained, shapes[0], damaged, shapes[1], "none.ply", "-o", "e.npy",
                    code=3)
        assert whole["error"]["where"] == str(damaged) and whole["result"]["num_skipped"] == 2
        assert any("none.ply" in warning["message"] for warning in whole["warnings"])
        assert len(np.load("e.npy")) == 2 == len(whole["result"]["files"])
        alone = ask("embed", trained, damaged, "-o", "f.npy", code=3)
        assert alone["result"] is None
        done = run("embed", trained, damaged, "none.ply", "-o", "f.npy")
        assert done.code == 3 and done.out == ""

    def test_nothing_is_computed_if_something_would_be_lost(self, ask, trained, shapes, tmp_path):
        (tmp_path / "e.csv").write_text("mine")
        whole = ask("embed", trained, *shapes, "-o", "e.npy", code=2)
        assert whole["error"]["where"] == "e.csv" and not (tmp_path / "e.npy").exists()
        assert (tmp_path / "e.csv").read_text() == "mine"
        assert ".npz" in ask("embed", trained, *shapes, "-o", "e.txt", code=2)["error"]["hint"]
        assert ask("embed", trained, *shapes, code=2)
        assert "4, 8, 16" in ask("embed", trained, *shapes, "-o", "g.npy", "--dim", 5,
                                 code=2)["error"]["hint"]


class TestSearch:
    def test_the_turned_copy_comes_first(self, ask, run, trained, shapes, tmp_path):
        query = write_turned(shapes[3], tmp_path / "q.ply")
        whole = ask("search", query, "shapes", "--weights", trained, "--top", 2)
        result = whole["result"]
        assert [match["rank"] for match in result["matches"]] == [1, 2]
        assert result["matches"][0]["file"] == "shapes/sub/a3.ply"
        assert result["matches"][0]["similarity"] > 0.9999
        assert result["num_indexed"] == result["num_embedded"] == 6
        assert result["skipped"] == [] and whole["warnings"] == []
        done = run("search", query, "shapes", "--weights", trained)
        assert "shapes/sub/a3.ply" in done.out.splitlines()[1]
        assert "6 shapes indexed" in done.err and "new" not in done.err

    def test_damaged_files_of_the_folder_are_named(self, ask, trained, shapes, damaged):
        whole = ask("search", shapes[0], "shapes", "--weights", trained)
        assert [one["file"] for one in whole["result"]["skipped"]] == ["shapes/bad.ply"]
        assert "bad.ply" in whole["warnings"][0]["message"]
        assert len(whole["result"]["matches"]) == 5

    def test_an_index_of_other_weights(self, ask, trained, shapes, tmp_path):
        ask("search", shapes[0], "shapes", "--weights", trained)
        other = train_encoder(tmp_path / "other", seed=1)
        error = ask("search", shapes[0], "shapes", "--weights", other, code=5)["error"]
        assert "--rebuild" in error["hint"]
        found = ask("search", shapes[0], "shapes", "--weights", other, "--rebuild")["result"]
        assert found["num_embedded"] == 6
        ask("search", shapes[0], "shapes", "--weights", trained, "--index", tmp_path / "i")

    def test_prefixes(self, ask, trained, shapes):
        common = ("search", shapes[0], "shapes", "--weights", trained)
        found = ask(*common, "--funnel", "4:6,8:3")["result"]
        assert found["method"] == "funnel" and len(found["matches"]) == 5
        assert ask(*common, "--dim", 8)["result"]["dim"] == 8
        for wrong in ("4", "4:", "a:3", "5:3", "8:3,4:2"):
            assert ask(*common, "--funnel", wrong, code=2)["error"]["hint"]

    def test_without_the_library_it_is_said(self, run, trained, shapes, monkeypatch):
        monkeypatch.setattr(engine_search, "LIBRARY_FROM", 5)
        monkeypatch.setattr(engine_search, "has_library", lambda: False)
        done = run("search", shapes[0], "shapes", "--weights", trained)
        assert done.code == 0 and "pcinv[search]" in done.err

    def test_an_interruption_says_what_is_kept(self, ask, trained, shapes, monkeypatch):
        def stop(*args, **options):
            raise KeyboardInterrupt

        monkeypatch.setattr(engine_search, "search", stop)
        error = ask("search", shapes[0], "shapes", "--weights", trained, code=130)["error"]
        assert "are kept" in error["message"]

    def test_a_picture_of_what_was_found(self, ask, trained, shapes, tmp_path):
        from PIL import Image

        common = ("search", shapes[0], "shapes", "--weights", trained, "--screenshot")
        found = ask(*common, "found.png")["result"]
        assert found["screenshot"] == "found.png"
        with Image.open("found.png") as picture:
            assert picture.width > picture.height > 300
            assert len(picture.convert("RGB").getcolors(100_000)) > 50
        assert ask(*common, "found.png", code=2)
        assert ask(*common, "found.docx", code=2)

    def test_it_is_shown(self, ask, run, trained, shapes, monkeypatch):
        from pcinv_cli import viewing

        shown = []
        monkeypatch.setattr(viewing, "show", lambda talk, scene: shown.append(scene))
        done = run("search", shapes[0], "shapes", "--weights", trained, "--view")
        assert done.code == 0 and done.out.count("a3.ply") == 1
        assert len(shown[0].layers) == 6 and "query" in shown[0].layers[0].name
        ask("search", shapes[0], "shapes", "--weights", trained, "--view")
        assert len(shown) == 2


def test_benchmark_retrieval(ask, run, trained):
    result = ask("benchmark", "retrieval", trained, "--rotation", "so3")["result"]
    assert list(result["metrics"]) == ["4", "8", "16"] and result["num_samples"] == 9
    assert set(result["metrics"]["16"]) == {"map", "recall_at_1", "recall_at_5", "recall_at_10"}
    said = run("benchmark", "retrieval", trained, "--limit", 6).out
    assert "recall at 1" in said and "6 clouds" in said


def test_a_head_is_an_option_of_training(ask):
    shown = ask("train", "--head", "matryoshka", "--dry-run", "--set",
                "model.head_options.nesting=[4, 16]")["result"]
    assert shown["config"]["model"]["head"] == "matryoshka"
    assert json.dumps(shown["config"]["model"]["head_options"]) == '{"nesting": [4, 16]}'
    error = ask("train", "--head", "matrioshka", "--dry-run", code=2)["error"]
    assert "matryoshka" in error["hint"]
