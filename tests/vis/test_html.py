"""The HTML file: all that it needs is in it, hostile names are text, a browser draws it."""

import re
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers.browser import browser, changed, page, picture
from hypothesis import given
from hypothesis import strategies as st

from pcinv.errors import UnknownNameError, UsageError
from pcinv.types import Mesh, PointCloud
from pcinv.vis import html as html_module
from pcinv.vis.fit import BAR_LETTERS, bar_number, bar_numbers, decimals_of, lightened, ticks
from pcinv.vis.html import legends_in, page_script, save_html, scene_div
from pcinv.vis.scene import Lines, make_scene

ROOT = Path(__file__).parents[2]
FAR = np.array([500_000.0, 5_000_000.0, 100.0])
HOSTILE = """</script><img src=x onerror="window.bad=1">'"&<!--"""


def cloud(count=3000, seed=0, origin=(0.0, 0.0, 0.0), shift=0.0, **attributes):
    xyz = np.random.default_rng(seed).uniform(-1, 1, (count, 3)).astype(np.float32)
    return PointCloud(xyz + np.float32([shift, 0, 0]), np.asarray(origin, np.float64), attributes)


def two_clouds(**how):
    return make_scene([("left", cloud(shift=-1.5)), ("right", cloud(seed=1, shift=1.5))], **how)


@pytest.fixture(scope="module")
def chromium():
    with browser() as started:
        yield started


def opened(page, scene, path, **how):
    """Save the scene, open the file in the page and wait until it is drawn."""
    save_html(scene, path, force=True, **how)
    page.goto(path.as_uri())
    page.wait_for_selector("[data-ready]")
    return page


def test_the_file_needs_nothing_from_elsewhere(tmp_path):
    save_html(two_clouds(title="two"), tmp_path / "a.html")
    text = (tmp_path / "a.html").read_text()
    assert not re.findall(r"""(?:src|href)\s*=\s*["'](https?:)?//""", text)
    assert "://" not in text and "@import" not in text
    assert "default-src 'none'" in text
    assert [path.name for path in tmp_path.iterdir()] == ["a.html"]


def test_files_are_not_overwritten_nor_left_half_written(tmp_path, monkeypatch):
    path = tmp_path / "a.html"
    path.write_text("kept")
    with pytest.raises(UsageError, match="exists already"):
        save_html(two_clouds(), path)
    with pytest.raises(UnknownNameError, match="wind"):
        save_html(two_clouds(color_by="wind"), path, force=True)
    assert path.read_text() == "kept"
    save_html(two_clouds(), path, force=True)
    assert path.read_text() != "kept" and len(list(tmp_path.iterdir())) == 1


def test_a_wheel_holds_the_scripts():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    held = {path for pattern in settings["package-data"]["pcinv"]
            for path in (ROOT / "pcinv").glob(pattern)}
    assert set((ROOT / "pcinv/vis/page").iterdir()) <= held


def test_small_enough_to_send(tmp_path):
    colors = np.random.default_rng(0).integers(0, 255, (100_000, 3)).astype(np.uint8)
    scene = make_scene([("a", cloud(100_000, color=colors, intensity=np.float32(colors[:, 0])))])
    save_html(scene, tmp_path / "a.html")
    assert (tmp_path / "a.html").stat().st_size < 10e6


def test_large_clouds_are_thinned_and_large_meshes_become_points(monkeypatch):
    mesh = Mesh(cloud(500).xyz.astype(np.float64), np.arange(498)[:, None] + np.arange(3))
    scene = lightened(make_scene([("a", cloud(1000)), ("m", mesh)]), 600, 400)
    assert sum(len(layer.points) for layer in scene.layers) == 600
    assert scene.layers[1].faces is None
    assert scene.notes == ("m is drawn as points: it has 498 faces",
                           "600 of 1,500 points are drawn")
    assert lightened(make_scene([("m", mesh)]), 10, 498).notes == ()
    monkeypatch.setattr(html_module, "MOST_POINTS", 600)
    assert "600 of 1,000 points are drawn" in scene_div(make_scene([("a", cloud(1000))]))


def test_numbers_of_a_colour_bar():
    assert [words for _, words in ticks(0.0, 1.0, 4)] == ["0.0", "0.5", "1.0"]
    assert ticks(5_000_100.2, 5_000_104.9)[0] == (5_000_101, "5000101")
    assert ticks(3.0, 3.0) == [(3.0, "3")]
    values = [value for value, _ in ticks(-0.013, 0.04)]
    assert values[0] >= -0.013 and values[-1] <= 0.04 and len(values) >= 3
    assert bar_numbers(300.9, 399.0) == [(300.9, "300.9"), (350.0, "350.0"), (399.0, "399.0")]
    assert [words for _, words in bar_numbers(0, 1)] == ["0.00", "0.50", "1.00"]
    assert bar_numbers(7.25, 7.25) == [(7.25, "7.25")]
    assert [bar_number(-1e-9, 1.0), bar_number(1.7e9, 100.0)] == ["0.00", "1700000000"]


@given(st.floats(-1e7, 1e7), st.floats(1e-4, 1e7))
def test_a_colour_bar_has_its_ends_and_numbers_that_do_not_touch(low, span):
    numbers = bar_numbers(low, low + span)
    values = [value for value, _ in numbers]
    assert len(numbers) >= 2 and values[0] == low and values[-1] == low + span
    assert len({words for _, words in numbers}) == len(numbers)
    assert all(abs(float(words) - value) <= 0.01 * span for value, words in numbers)
    lefts = [(value - low) / span * (BAR_LETTERS - len(words)) for value, words in numbers]
    assert all(b - a >= len(words) for a, b, (_, words) in zip(
        lefts, lefts[1:], numbers, strict=False)) or len(numbers) == 2


def test_legends_of_all_layers():
    scene = make_scene([("a", cloud(label=np.arange(3000) % 3)), ("b", cloud())])
    assert [words for words, _ in legends_in(scene, "label")[0].entries] == ["0", "1", "2"]
    assert legends_in(scene, "solid") == []
    assert decimals_of(scene) == 6


def test_a_browser_draws_it_without_a_network(chromium, tmp_path):
    with page(chromium) as seen:
        first = picture(opened(seen, two_clouds(title="two"), tmp_path / "a.html"), "canvas")
        assert len(np.unique(first.reshape(-1, 3), axis=0)) > 3  # something is there
        other = make_scene([("other", cloud(300, seed=5))])
        assert changed(first, picture(opened(seen, other, tmp_path / "b.html"), "canvas")) > 0.02
        again = picture(opened(seen, two_clouds(title="two"), tmp_path / "a.html"), "canvas")
        assert changed(first, again) < 0.001  # the negative control: the same, drawn again
        assert {address.split(":")[0] for address in seen.asked} == {"file"} and not seen.errors


def test_switches_change_what_is_seen(chromium, tmp_path):
    lines = Lines("pairs", np.zeros((5, 3), np.float32), np.full((5, 3), 0.9, np.float32),
                  np.full((5, 3), 90, np.uint8), visible=False)
    scene = replace(two_clouds(), lines=(lines,), notes=("a note to read",))
    with page(chromium) as seen:
        opened(seen, scene, tmp_path / "a.html")
        assert seen.get_by_text("a note to read").is_visible()
        before = picture(seen, "canvas")
        for name in ("left", "right", "pairs", "dark background", "box and axes"):
            tick = seen.get_by_label(name)
            tick.click()
            after = picture(seen, "canvas")
            assert changed(before, after) > 0.0005, name
            tick.click()
            assert changed(before, picture(seen, "canvas")) < 0.001, name
        seen.mouse.move(300, 300)
        seen.mouse.down()
        seen.mouse.move(400, 330)
        seen.mouse.up()
        assert changed(before, picture(seen, "canvas")) > 0.02  # turned
        seen.mouse.wheel(0, -300)
        seen.get_by_text("Reset view").click()
        assert changed(before, picture(seen, "canvas")) < 0.001
        assert not seen.errors


def test_colours_have_a_legend(chromium, tmp_path):
    attributes = {"label": np.arange(3000) % 3 + 7, "weight": np.linspace(0, 8, 3000)}
    with page(chromium) as seen:
        scene = make_scene([("a", cloud(**attributes))], color_by="weight")
        opened(seen, scene, tmp_path / "a.html")
        assert seen.locator(".pcinv-numbers span").all_text_contents() == [
            "0.08", "2.00", "4.00", "6.00", "7.92"]
        bar = seen.locator(".pcinv-bar").bounding_box()
        for number in seen.locator(".pcinv-numbers span").all():
            at = number.bounding_box()
            assert bar["x"] - 1 <= at["x"] and at["x"] + at["width"] <= bar["x"] + bar["width"] + 1
        before = picture(seen, "canvas")
        seen.get_by_label("colour").select_option("label")
        assert seen.locator(".pcinv-legend .pcinv-words").all_text_contents() == ["7", "8", "9"]
        assert changed(before, picture(seen, "canvas")) > 0.02


def test_a_point_is_told_in_the_frame_of_the_file(chromium, tmp_path):
    """One point of each cloud, far from zero; a click on each measures their distance."""
    places = FAR + np.array([[0.0, 0, 0], [0.125, 0, 0]])
    scene = make_scene([(f"at {k}", PointCloud(np.zeros((1, 3), np.float32), place,
                                               {"weight": np.array([2.5 + k])}))
                        for k, place in enumerate(places)])
    with page(chromium) as seen:
        opened(seen, scene, tmp_path / "a.html", look="front", point_size=12)
        drawn = np.argwhere((picture(seen, "canvas") < 250).any(axis=2))
        for side in (drawn[:, 1].min() + 4, drawn[:, 1].max() - 4):
            seen.mouse.click(int(side), int(drawn[:, 0].mean()))
        told = seen.locator(".pcinv-point").inner_text()
        assert re.search(r"row\s+0", told)
        assert "at 1" in told and "500000.125" in told and "5000000.000" in told and "3.5" in told
        assert re.search(r"distance\s+0\.1250*\b", told)
        seen.get_by_text("Clear").click()
        assert "distance" not in seen.locator(".pcinv-point").inner_text()


@pytest.mark.parametrize("count", [1, 40])
def test_points_at_one_place_are_seen(chromium, tmp_path, count):
    xyz = np.tile(np.float32([[0.3, 0.2, 5.1]]), (count, 1))
    with page(chromium) as seen:
        opened(seen, make_scene([("a", PointCloud(xyz, FAR))]), tmp_path / "a.html", point_size=12)
        drawn = (picture(seen, "canvas") < 250).any(axis=2)
        assert 60 < drawn.sum() < 400
        seen.mouse.click(*(int(each.mean()) for each in np.nonzero(drawn)[::-1]))
        told = seen.locator(".pcinv-point").inner_text()
        assert "500000.3" in told and "5000000.2" in told and "105.1" in told


def test_a_browser_that_cannot_draw_says_so(chromium, tmp_path):
    save_html(two_clouds(title="two"), tmp_path / "a.html")
    with page(chromium) as seen:
        seen.add_init_script("HTMLCanvasElement.prototype.getContext = () => null")
        seen.goto((tmp_path / "a.html").as_uri())
        seen.get_by_text("The scene cannot be drawn: this browser has no WebGL 2.").wait_for()
        assert seen.get_by_text("two").is_visible() and not seen.errors


def test_hostile_names_are_only_text(chromium, tmp_path):
    scene = make_scene([(HOSTILE, cloud(**{HOSTILE: np.linspace(0, 1, 3000)}))], title=HOSTILE)
    scene = replace(scene, notes=(HOSTILE,), lines=(
        Lines(HOSTILE, *np.eye(3, dtype=np.float32)[:2, None], np.zeros((1, 3), np.uint8)),))
    assert "<img" not in scene_div(scene)
    with page(chromium) as seen:
        opened(seen, scene, tmp_path / "a.html")
        seen.get_by_label("colour").select_option(HOSTILE)
        assert seen.evaluate("window.bad") is None and not seen.errors
        assert seen.get_by_text(HOSTILE).count() >= 3 and seen.title() == HOSTILE


def test_meshes_and_several_scenes_on_a_page(chromium, tmp_path):
    corners = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
    faces = np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]])
    mesh = make_scene([("m", Mesh(corners, faces))])
    text = page_script() + scene_div(mesh, height="200px") + scene_div(two_clouds(), height="300px")
    (tmp_path / "a.html").write_text(f"<!doctype html><meta charset=utf-8>{text}")
    with page(chromium) as seen:
        seen.goto((tmp_path / "a.html").as_uri())
        seen.wait_for_function("document.querySelectorAll('[data-ready]').length == 2")
        shot = picture(seen, "canvas")
        assert len(np.unique(shot[(shot < 250).any(axis=2)], axis=0)) >= 2  # sides lit differently
        assert not seen.errors
