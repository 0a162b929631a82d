"""The comparison of fragments: figures of known clouds, what hides what, the same bytes again."""

import importlib.util
import json
import math
import struct
from pathlib import Path

import numpy as np
import pytest
from helpers.fake_threedmatch import write_scene

from pcinv.errors import DatasetError, LimitError
from pcinv_data.room_store import room_files

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "compare_fragments.py"
spec = importlib.util.spec_from_file_location("compare_fragments", SCRIPT)
script = importlib.util.module_from_spec(spec)
spec.loader.exec_module(script)


def plane(sigma, z=2.0, seed=0):
    """A square of 2 m before the camera, a point every 2.5 cm, with noise along z."""
    x, y = np.meshgrid(*[np.arange(81) * 0.025 - 1] * 2)
    noise = np.random.default_rng(seed).normal(0, sigma, x.size)
    return np.column_stack([x.ravel(), y.ravel(), z + noise])


def sphere(radius, count=5000):
    """Even points on a sphere, its middle 2 m before the camera."""
    k = np.arange(count) + 0.5
    z, turn = 1 - 2 * k / count, k * math.pi * (3 - math.sqrt(5))
    r = np.sqrt(1 - z * z)
    return radius * np.column_stack([r * np.cos(turn), r * np.sin(turn), z]) + (0, 0, 2)


@pytest.mark.parametrize("sigma", [0.002, 0.006])  # more, and it tells which are neighbours
def test_a_noisy_plane(sigma):
    found = script.describe(plane(sigma))
    off = sigma * math.sqrt(1 + 1 / script.PLANE_NEIGHBOURS)  # the fitted plane errs too
    assert found["residual_mm"] == pytest.approx(0.6745 * off * 1e3, rel=0.1)
    assert found["flat_share"] == pytest.approx(math.erf(0.01 / off / math.sqrt(2)), abs=0.02)
    assert found["points"] == 81 * 81
    assert found["extent_m"] == pytest.approx(math.sqrt(8), rel=0.01)
    assert found["depth_2%_m"] == pytest.approx(2 - 2.05 * sigma, abs=0.002)
    assert found["depth_98%_m"] == pytest.approx(2 + 2.05 * sigma, abs=0.002)
    # noise across, against a disc of 10 cm, whose variance along each side is its square / 4
    assert found["curvature_50%"] == pytest.approx(sigma**2 / (sigma**2 + 0.1**2 / 2), rel=0.2)


def test_the_border_of_a_plane():
    found = script.describe(plane(0.0))
    assert found["nearest_neighbour_mm"] == pytest.approx(25)
    assert found["residual_mm"] < 1e-6 and found["flat_share"] == 1
    # a disc of 10 cm lies to two thirds on the square 2.65 cm from its edge
    assert found["border_share"] == pytest.approx(1 - (1 - 0.0265) ** 2, abs=0.025)


def test_a_sphere_has_no_border_and_one_curvature():
    found = script.describe(sphere(0.5))
    height = 0.1**2 / (2 * 0.5)  # of the cap, uniform along the normal
    share = height**2 / 12 / (0.1**2 / 2)
    for q in (25, 50, 75, 90):
        assert found[f"curvature_{q}%"] == pytest.approx(share, rel=0.15)
    assert found["border_share"] < 0.01
    assert found["extent_m"] == pytest.approx(math.sqrt(3), rel=0.01)
    smaller = script.describe(sphere(0.3))
    assert smaller["curvature_50%"] > 2 * found["curvature_50%"]


def test_lone_points_are_described():
    found = script.describe(np.random.default_rng(0).uniform(-50, 50, (20, 3)))
    assert np.isfinite(list(found.values())).all() and found["curvature_90%"] == 0


def test_percentiles_are_over_the_fragments():
    found = script.summarise([{"points": float(k)} for k in range(11)])
    assert found == {"points": {"p10": 1, "median": 5, "p90": 9}}


@pytest.mark.parametrize("order", [[0, 1], [1, 0]])
def test_the_nearest_point_is_seen(order):
    points, grey = np.array([(0, 0, 1.0), (0, 0, 2.0)])[order], np.array([10, 200], np.uint8)[order]
    image = script.splat(points, grey)
    assert image[script.HEIGHT // 2, script.WIDTH // 2] == 10
    assert set(np.unique(image)) == {10, 255}  # the far square is smaller and all behind
    assert set(np.unique(script.splat(points * (1, 1, -1), grey))) == {255}


def test_squares_shrink_with_depth_and_y_is_down():
    grey = np.zeros(1, np.uint8)
    areas = [(script.splat(np.array([(0, 0, z)]), grey) == 0).sum() for z in (1, 2, 3, 9, 99)]
    assert areas == sorted(areas, reverse=True) and areas[0] > areas[2] and areas[-1] == 4
    rows, columns = np.nonzero(script.splat(np.array([(0.5, -0.5, 2)]), grey) == 0)
    assert rows.max() < script.HEIGHT / 2 and columns.min() > script.WIDTH / 2


def test_views_show_the_cloud():
    views = script.draw(plane(0.002))
    for view in views:
        assert view.shape == (script.HEIGHT + 2 * script.GAP, script.WIDTH + 2 * script.GAP)
        assert 0.1 < (view == 255).mean() < 0.9 and len(np.unique(view)) > 10
    assert not np.array_equal(*views)
    again, other = script.draw(plane(0.002)), script.draw(sphere(0.4))
    assert all(map(np.array_equal, views, again))
    assert not any(map(np.array_equal, views, other))


def test_a_raised_camera_sees_the_far_side_of_a_floor_higher_up():
    floor = plane(0.0)[:, [0, 2, 1]] + (0, -1, 2)  # y = 1, below the camera
    near, far = (script.splat((part - (0, 1, 2)) @ script.OBLIQUE.T + (0, 0, script.AWAY),
                              np.zeros(len(part), np.uint8))
                 for part in (floor[floor[:, 2] < 1.5], floor[floor[:, 2] > 2.5]))
    assert np.nonzero(near == 0)[0].mean() > np.nonzero(far == 0)[0].mean() + 30


def test_fragments_are_drawn_from_all():
    items = list(range(100))
    drawn = script.spread(items, 4, 0)
    assert [k // 25 for k in drawn] == [0, 1, 2, 3]
    assert script.spread(items, 4, 0) == drawn != script.spread(items, 4, 1)
    assert script.spread(items, 200, 0) == items


@pytest.fixture
def copies(tmp_path):
    """Two rooms of three fragments, and five fragments of a scene."""
    rooms, real = tmp_path / "rooms", tmp_path / "real"
    files = room_files(rooms, 2)
    files[0].parent.mkdir(parents=True)
    for k, file in enumerate(files):
        clouds = {f"points_{j}": sphere(0.2 + 0.1 * j + 0.05 * k, 1500).astype(np.float32)
                  for j in range(3)}
        np.savez(file, T_room_fragment=np.stack([np.eye(4)] * 3), **clouds)
    write_scene(real, "kitchen", [(0, 1), (1, 2), (3, 4)])
    return rooms, real


def size_of(png):
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    return struct.unpack(">II", png[16:24])


def test_the_command(copies, tmp_path, capsys):
    rooms, real = copies
    picture, figures = tmp_path / "a.png", tmp_path / "a.json"
    arguments = ["--rooms", str(rooms), "--real", str(real), "--count", "3", "-o", str(picture)]
    assert script.main([*arguments, "--json", str(figures)]) == 0
    heading, *rows = capsys.readouterr().out.splitlines()
    assert heading.split() == ["generated", "real"]
    stored = json.loads(figures.read_text())
    assert [row.split()[0] for row in rows] == list(stored["real"])
    assert "1,500 (1,500 .. 1,500)" in rows[0] and "200 (200 .. 200)" in rows[0]
    assert stored["generated"]["points"] == {"p10": 1500, "median": 1500, "p90": 1500}
    tile = np.array([script.WIDTH, script.HEIGHT]) + 2 * script.GAP
    first = picture.read_bytes()
    assert size_of(first) == tuple(tile * (3, 4))
    assert script.main(arguments) == 0 and picture.read_bytes() == first
    assert script.main([*arguments, "--seed", "5"]) == 0 and picture.read_bytes() != first


def test_generated_fragments_alone_and_no_more_than_there_are(copies, tmp_path, capsys):
    picture = tmp_path / "a.png"
    assert script.main(["--rooms", str(copies[0]), "--count", "9", "-o", str(picture)]) == 0
    assert capsys.readouterr().out.splitlines()[0].split() == ["generated"]
    tile = np.array([script.WIDTH, script.HEIGHT]) + 2 * script.GAP
    assert size_of(picture.read_bytes()) == tuple(tile * (6, 2))
    assert len(list(copies[0].rglob("*.npz"))) == 2  # none was made


@pytest.mark.parametrize("missing, output, error", [
    ("rooms", "a.png", DatasetError), ("real", "a.png", DatasetError),
    (None, "nowhere/a.png", LimitError)])
def test_what_is_missing_is_named(copies, tmp_path, capsys, missing, output, error):
    roots = dict(zip(("rooms", "real"), copies, strict=True))
    if missing:
        roots[missing] = tmp_path / "nothing"
    code = script.main(["--rooms", str(roots["rooms"]), "--real", str(roots["real"]),
                        "-o", str(tmp_path / output)])
    said = capsys.readouterr()
    assert code == error.exit_code and "extent" not in said.out
    assert "error: " in said.err and "(try: " in said.err
    assert ("nothing" if missing else "nowhere") in said.err
    assert not (tmp_path / "nothing").exists() and not (tmp_path / "a.png").exists()


def test_rooms_without_fragments_are_named(tmp_path):
    (file,) = room_files(tmp_path, 1)
    file.parent.mkdir()
    np.savez(file, T_room_fragment=np.zeros((0, 4, 4)))
    with pytest.raises(DatasetError, match="training-rooms"):
        script.generated_fragments(tmp_path)
