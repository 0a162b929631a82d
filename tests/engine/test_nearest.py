"""Nearest vectors, against the plain answer; what shortcuts cost and what they may miss."""

import importlib.util

import numpy as np
import pytest

from pcinv.engine import nearest as module
from pcinv.engine.nearest import Funnel, build_library, load_library, nearest, save_library, unit
from pcinv.errors import UsageError

needs_faiss = pytest.mark.skipif(importlib.util.find_spec("faiss") is None,
                                 reason="faiss is not installed: pip install 'pcinv[search]'")


def clustered(count=3000, width=32, seed=0):
    """Vectors in clusters, whose first numbers say most, as those of a Matryoshka head do."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(60, width))
    scale = 1 / np.sqrt(1 + np.arange(width))
    cloud = centres[rng.integers(0, 60, count)] + 0.4 * rng.normal(size=(count, width))
    return (cloud * scale).astype(np.float32)


def plain(query, vectors, top):
    cosine = [float(query @ v / np.linalg.norm(query) / np.linalg.norm(v)) for v in vectors]
    return np.argsort(-np.array(cosine), kind="stable")[:top]


def test_the_nearest_are_those_of_a_plain_loop(monkeypatch):
    vectors = clustered(300)
    queries = clustered(5, seed=1)
    scores, rows = nearest(unit(queries), unit(vectors), 7)
    assert scores.shape == rows.shape == (5, 7) and np.all(np.diff(scores) <= 0)
    for query, found in zip(queries, rows, strict=True):
        assert found.tolist() == plain(query.astype(float), vectors.astype(float), 7).tolist()
    monkeypatch.setattr(module, "_SCORES", 600)  # two queries at a time
    assert np.array_equal(nearest(unit(queries), unit(vectors), 7)[1], rows)


def test_of_equal_ones_the_earlier_comes_first_and_fewer_are_all():
    vectors = unit(np.array([[1, 0], [0, 1], [1, 0], [2, 0]], np.float32))
    scores, rows = nearest(vectors[:1], vectors, 9)
    assert rows.tolist() == [[0, 2, 3, 1]] and scores[0, 0] == 1.0


def test_a_vector_of_zeros_is_like_nothing():
    vectors = unit(np.array([[0, 0], [3, 4]], np.float32))
    assert np.allclose(vectors, [[0, 0], [0.6, 0.8]])
    assert nearest(vectors[1:], vectors, 2)[0].tolist() == [[1.0, 0.0]]


class TestFunnel:
    def test_a_shortlist_of_all_is_the_exact_search(self):
        vectors, queries = clustered(400), clustered(6, seed=1)
        exact = nearest(unit(queries), unit(vectors), 5)
        funnel = Funnel(vectors, [(4, 400), (16, 400)]).nearest(queries, 5)
        np.testing.assert_array_equal(funnel[1], exact[1])
        np.testing.assert_allclose(funnel[0], exact[0], atol=1e-6)

    def test_a_short_one_costs_less_and_finds_nearly_all(self):
        vectors, queries = clustered(), clustered(40, seed=0)
        funnel = Funnel(vectors, [(8, 300), (16, 60)])
        assert funnel.multiply_adds() == 3000 * 8 + 300 * 16 + 60 * 32 < 3000 * 32 / 3
        exact, found = nearest(unit(queries), unit(vectors), 10)[1], funnel.nearest(queries, 10)[1]
        assert self.recall(found, exact) > 0.9
        # negative control: two numbers and a shortlist of ten do not do
        assert self.recall(Funnel(vectors, [(2, 10)]).nearest(queries, 10)[1], exact) < 0.7

    def recall(self, found, exact):
        return np.mean([len({*a} & {*b}) / len(b) for a, b in zip(found, exact, strict=True)])

    def test_more_matches_than_the_shortlist_holds(self):
        vectors = clustered(50)
        assert Funnel(vectors, [(4, 5)]).nearest(vectors[:1], 20)[1].shape == (1, 20)

    @pytest.mark.parametrize("stages", [
        [], [(0, 5)], [(64, 5)], [(8, 5), (4, 5)], [(8, 5), (16, 9)], [(8, 0)], [(8, 5), (8, 5)]])
    def test_stages_that_make_no_sense_are_told(self, stages):
        with pytest.raises(UsageError) as caught:
            Funnel(clustered(20), stages)
        assert "--funnel" in caught.value.hint


@needs_faiss
class TestLibrary:
    def test_it_finds_what_the_exact_search_finds(self):
        vectors, queries = unit(clustered()), unit(clustered(50))
        exact = nearest(queries, vectors, 10)[1]
        ids = np.arange(1000, 4000)
        found = build_library(vectors, ids).search(queries, 10)[1] - 1000
        assert TestFunnel().recall(found, exact) > 0.95

    def test_its_file_is_read_back_and_a_damaged_one_is_none(self, tmp_path):
        vectors = unit(clustered(500))
        index, path = build_library(vectors, np.arange(500)), tmp_path / "v.faiss"
        assert load_library(path) is None
        save_library(index, path)
        again = load_library(path)
        assert again.nprobe == index.nprobe and again.ntotal == 500
        np.testing.assert_array_equal(again.search(vectors[:3], 5)[1],
                                      index.search(vectors[:3], 5)[1])
        path.write_bytes(path.read_bytes()[:1000])
        assert load_library(path) is None
