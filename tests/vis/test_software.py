"""Pictures without a driver: who hides whom, where it lies, what the legend says."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pcinv.errors import UnknownNameError
from pcinv.types import Mesh, PointCloud
from pcinv.vis.camera import camera_for
from pcinv.vis.colors import coloring
from pcinv.vis.compose import compose, legends_of
from pcinv.vis.scene import Lines, Scene, make_scene, with_layers
from pcinv.vis.software import Buffer, draw, paint, touching

WHITE = 255
SQUARE = np.array([[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]], float)
HALVES = np.array([[0, 1, 2], [0, 2, 3]])


def cloud(points, **attributes):
    return PointCloud(np.asarray(points, np.float32).reshape(-1, 3), np.zeros(3), attributes)


def ball(count=4000, seed=0, **attributes):
    xyz = np.random.default_rng(seed).normal(size=(count, 3))
    return cloud(xyz / np.linalg.norm(xyz, axis=1, keepdims=True), **attributes)


def inked(image):
    return (image != WHITE).any(axis=2)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 60), st.sampled_from([0.5, 1.0, 2.5]))
def test_the_nearest_of_a_pixel_is_what_is_seen(seed, count, radius):
    rng = np.random.default_rng(seed)
    places = rng.integers(-3, 15, (count, 2))
    depth = rng.permutation(count) + 1.0
    colors = rng.integers(0, 255, (count, 3), dtype=np.uint8)
    buffer = Buffer(12, 10)
    buffer.paint(places, depth, colors, radius)
    for y in range(10):
        for x in range(12):
            far = ((places - [x, y]) ** 2).sum(axis=1) > max(radius**2, 0.25)
            if far.all():
                assert np.isinf(buffer.depth[y, x]) and (buffer.image[y, x] == WHITE).all()
            else:
                first = np.argmin(np.where(far, np.inf, depth))
                assert buffer.depth[y, x] == depth[first]
                assert (buffer.image[y, x] == colors[first]).all()


def test_a_point_lies_where_the_camera_says():
    scene = make_scene([("a", cloud([[0, 0, 0], [1, 1, 1], [0.3, -0.2, 0.9]]))])
    camera = camera_for(scene, "front", "z", aspect=4 / 3)
    image = paint(scene, camera, 400, 300, 1.0)
    places, _ = camera.project(scene.layers[0].points.astype(float), 400, 300)
    for right, down in np.floor(places).astype(int):
        assert inked(image)[down, right]
    assert inked(image).sum() == 3


def test_a_mesh_hides_what_is_behind_it_and_shows_what_is_before():
    square = Mesh(SQUARE, HALVES, {})
    for height, seen in ((0.5, True), (-0.5, False)):
        scene = make_scene([("square", square), ("point", cloud([[0.0, 0.0, height]]))])
        image = draw(scene, width=200, height=200, look="top", point_size=5, legend=False)
        blue = (image == (0, 114, 178)).all(axis=2).any()
        assert blue == seen


def test_the_silhouette_of_a_square_has_the_area_of_geometry():
    scene = make_scene([("square", Mesh(SQUARE, HALVES, {}))])
    camera = camera_for(scene, (0.0, 0.0, 1.0), "y", aspect=1.0)
    image = paint(scene, camera, 300, 300)
    side = 2 * camera.focal(300) / np.linalg.norm(camera.eye - camera.target)
    assert inked(image).sum() == pytest.approx(side**2, rel=0.02)


def test_the_picture_changes_with_the_cloud_the_view_and_the_colours():
    scene = make_scene([("a", ball(weight=np.linspace(0, 1, 4000)))])
    first = draw(scene, width=320, height=240)
    assert inked(first).mean() > 0.1
    others = [draw(make_scene([("a", ball(seed=1))]), width=320, height=240),
              draw(scene, width=320, height=240, turn_deg=30),
              draw(with_layers(scene, [(0, {"visible": False})]), width=320, height=240)]
    assert all((first != other).any() for other in others)
    assert (draw(scene, width=320, height=240) == first).all()


def test_lines_are_drawn_and_fade_behind_things():
    square = Mesh(SQUARE, HALVES, {})
    black = np.zeros((1, 3), np.uint8)

    def drawn(height):
        base = make_scene([("square", square)])
        end = np.array([[0.9, 0.0, height]], np.float32)
        lines = Lines("one", -end * [1, 1, -1], end, black)
        scene = Scene(base.layers, (lines,), base.origin)
        return draw(scene, width=200, height=200, look="top", legend=False)

    assert (drawn(0.3) == 0).all(axis=2).any()
    assert not (drawn(-0.3) == 0).all(axis=2).any()
    assert (drawn(-0.3) != draw(make_scene([("square", square)]), width=200, height=200,
                                look="top", legend=False)).any()


def test_points_grow_until_they_touch():
    scenes = [make_scene([("a", ball(count))]) for count in (500, 20_000, 200_000)]
    sizes = [touching(scene, camera_for(scene), 640, 480) for scene in scenes]
    assert sizes[0] > sizes[1] > sizes[2] >= 1.5


def test_the_size_of_points_is_measured_on_some_of_them(monkeypatch):
    points = np.random.default_rng(0).uniform(-1, 1, (300_000, 3)) * [1, 0, 1]
    scene = make_scene([("a", cloud(points))])
    camera = camera_for(scene, "front")
    some = touching(scene, camera, 2000, 1500)
    monkeypatch.setattr("pcinv.vis.software.MOST_COUNTED", len(points))
    whole = touching(scene, camera, 2000, 1500)
    assert 1.5 < whole < 7.0  # or the two would agree by their bounds
    assert some == pytest.approx(whole, rel=0.1)


def test_legends_name_what_is_visible_once():
    scene = make_scene([("a", ball(label=np.arange(4000) % 3)),
                        ("b", ball(label=np.arange(4000) % 4 + 1))], color_by="label")
    legend, = legends_of(scene)
    assert legend.title == "label" and {words for words, _ in legend.entries} == set("01234")
    alone = with_layers(scene, [(1, {"visible": False})])
    assert {words for words, _ in legends_of(alone)[0].entries} == set("012")
    plain, = legends_of(make_scene([("a", ball()), ("b", ball())]))
    assert [words for words, _ in plain.entries] == ["a", "b"]


@pytest.mark.parametrize("color_by", ["height", "label", "solid"])
def test_legend_title_and_notes_are_written_on_it(color_by):
    base = make_scene([("a", ball(label=np.arange(4000) % 3))], color_by=color_by)
    scene = Scene(base.layers, (), base.origin, color_by, r"$\frac{a}{", ("a note",))
    empty = np.full((480, 640, 3), WHITE, np.uint8)
    image = compose(empty, scene)
    ink = inked(image)
    assert image.shape == empty.shape
    assert ink[:60, :200].any() and ink[420:, :300].any() and ink[:300, 450:].any()
    assert not ink[200:400, 100:400].any()
    bare = compose(empty, Scene(base.layers[:0], (), base.origin))
    assert not inked(bare).any()


def test_a_bar_shared_by_layers_has_one_scale():
    scene = make_scene([("low", cloud(np.random.default_rng(0).uniform(0, 1, (500, 3)))),
                        ("high", cloud(np.random.default_rng(1).uniform(5, 6, (500, 3))))],
                       color_by="height")
    legend, = legends_of(scene)
    assert legend.low < 0.1 and legend.high > 5.9


def test_a_bar_of_one_value_has_its_number_and_colour_in_the_middle(monkeypatch):
    seen = []
    from matplotlib.axes import Axes

    plain = Axes.set_yticks
    monkeypatch.setattr(Axes, "set_yticks",
                        lambda self, places, words: (seen.append((places, words, self.get_ylim())),
                                                     plain(self, places, words))[1])
    draw(make_scene([("a", ball(weight=np.full(4000, 3.5)))], color_by="weight"), width=320,
         height=240)
    (places, words, ends), = seen
    assert places == [3.5] and words == ["3.5"] and sum(ends) / 2 == 3.5
    draw(make_scene([("a", ball(weight=np.linspace(300.9, 399, 4000)))], color_by="weight"),
         width=320, height=240)
    assert len(seen[1][0]) >= 2


def test_values_that_are_not_finite_are_in_the_legend():
    weight = np.arange(4000.0)
    weight[:10] = np.nan
    legend, = legends_of(make_scene([("a", ball(weight=weight))], color_by="weight"))
    assert [words for words, _ in legend.entries] == ["not finite"] and legend.high > 3000


def test_height_is_along_the_axis_that_points_up():
    scene = make_scene([("a", ball())], color_by="height")
    found = {up: legends_of(replace(scene, up=up))[0] for up in ("z", "-y", "x")}
    assert [found[up].title for up in found] == ["height", "height (-y)", "height (x)"]
    points = scene.layers[0].points
    top = coloring(replace(scene, up="-y"), scene.layers[0]).colors[points[:, 1].argmin()]
    assert (top == coloring(scene, scene.layers[0]).colors[points[:, 2].argmax()]).all()


def test_long_titles_are_cut_and_odd_letters_are_no_warning(recwarn):
    base = make_scene([("a", ball())])
    image = draw(replace(base, title="x" * 500 + "\U0001f600"), width=320, height=240)
    assert not inked(image[:12, -60:]).all(axis=1).any() and not len(recwarn)


def test_an_attribute_that_no_layer_has_is_an_error():
    with pytest.raises(UnknownNameError, match="'heat'"):
        draw(make_scene([("a", ball())], color_by="heat"), width=64, height=64)


def test_extreme_scenes_are_drawn(tmp_path):
    for points in ([[0, 0, 0]], [[0, 0, 0]] * 50, [[1e-9, 0, 0], [0, 0, 0]],
                   [[1e6, 0, 0], [0, 0, 0]], np.c_[np.zeros(100), np.zeros(100), np.arange(100)]):
        image = draw(make_scene([("a", cloud(points))]), width=64, height=64, legend=False)
        assert inked(image).any()
    Image.fromarray(image).save(tmp_path / "a.png")
