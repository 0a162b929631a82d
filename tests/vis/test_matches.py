"""Query and matches side by side."""

from types import SimpleNamespace

import numpy as np
import pytest

from pcinv.errors import FileFormatError
from pcinv.io import write
from pcinv.types import Mesh, PointCloud
from pcinv.vis.matches import MOST, captions, matches_figure, scene_of_matches


@pytest.fixture
def found(tmp_path):
    """A query far away and large, and matches of other size, one of them a mesh."""
    rng = np.random.default_rng(0)
    query = tmp_path / "query.ply"
    write(query, PointCloud(rng.normal(size=(200, 3)).astype(np.float32) * 900,
                            np.array([5e6, 0, 0])))
    matches = []
    for rank in range(1, 6):
        path = tmp_path / f"m{rank}.ply"
        write(path, PointCloud(rng.normal(size=(100, 3)).astype(np.float32) * rank))
        matches.append(SimpleNamespace(file=str(path), rank=rank, similarity=1 - 0.1 * rank))
    mesh = tmp_path / "mesh.ply"
    write(mesh, Mesh(np.eye(4, 3) * 50, np.array([[0, 1, 2], [0, 1, 3]])))
    return str(query), [*matches, SimpleNamespace(file=str(mesh), rank=6, similarity=0.2)]


def test_all_are_shown_as_large_and_apart(found):
    scene = scene_of_matches(*found)
    assert [layer.name for layer in scene.layers][:2] == ["query: query.ply", "1. m1.ply  0.900"]
    assert scene.layers[6].faces is not None
    middles = []
    for layer in scene.layers:
        middle = (layer.points.min(0) + layer.points.max(0)) / 2
        assert np.linalg.norm(layer.points - middle, axis=1).max() == pytest.approx(1, abs=0.01)
        middles.append(middle + scene.origin)
    gaps = np.linalg.norm(np.array(middles)[:, None] - middles, axis=-1) + 9 * np.eye(7)
    assert gaps.min() == pytest.approx(2.5, abs=0.01)


def test_a_picture_of_each(found):
    figure = matches_figure(*found)
    titles = [axis.get_title(loc="left") or axis.get_title() for axis in figure.axes]
    assert titles[:2] == ["query: query.ply", "1. m1.ply  0.900"]
    pictures = [axis.images[0].get_array() for axis in figure.axes if axis.images]
    assert len(pictures) == 7 and all(len(np.unique(p)) > 2 for p in pictures)


def test_no_more_than_can_be_looked_at():
    many = [SimpleNamespace(file=f"{k}.ply", rank=k, similarity=0.5) for k in range(100)]
    assert len(captions("q.ply", many)) == MOST
    assert captions("q.ply", []) == [("q.ply", "query: q.ply")]


def test_a_file_that_is_gone_is_told(found):
    with pytest.raises(FileFormatError):
        scene_of_matches("none.ply", found[1])
