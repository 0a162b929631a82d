"""Ground of generated and real scans: found on slopes and kerbs, never above an ankle."""

from pathlib import Path

import numpy as np
import pytest

from pcinv.errors import InputError, ShapeError
from pcinv.ops.ground import HEIGHT, is_ground, remove_ground

REAL = Path(__file__).parents[2].parent / "shared" / "data"
FLAT = ("road", "parking", "sidewalk", "other-ground")


def street(height, seed=0, sensor=1.73, noise=0.02, kerb=0.0):
    """Points (N, 3) of a scan over a ground of z = height(x, y), and how far each is above it.

    64 beams meet the ground; on it stand six cars, ten people and two walls, which hide nothing,
    and the reflections below it are two in a thousand.
    """
    rng = np.random.default_rng(seed)

    def level(x, y):
        return height(x, y) + kerb * (np.abs(y) > 4)

    down = np.deg2rad(np.linspace(1.2, 24, 64))
    azimuth = np.deg2rad(np.arange(0, 360, 0.5))
    r, a = np.meshgrid(sensor / np.tan(down), azimuth)
    x, y = (r * np.cos(a)).ravel(), (r * np.sin(a)).ravel()
    xyz = [np.stack([x, y, level(x, y)], 1)]
    above = [np.zeros(len(x))]

    def stand(x, y, low, high):
        """Add points above the ground at these places, evenly from low to high."""
        z = rng.uniform(low, high, len(x))
        xyz.append(np.stack([x, y, level(x, y) + z], 1))
        above.append(z)

    for k in range(6):  # cars: bodies 0.25 m above the ground, wheels that touch it
        cx, cy = 6.0 + 5 * k, 3.0 * (-1) ** k
        stand(cx + rng.uniform(-2.2, 2.2, 500), cy + rng.choice([-0.9, 0.9], 500), 0.25, 1.5)
        stand(cx + rng.choice([-1.4, 1.4], 60), cy + rng.choice([-0.9, 0.9], 60), 0.0, 0.6)
    for k in range(10):  # people
        angle, away = 0.6 * k, 4.0 + 2.5 * k
        stand(away * np.cos(angle) + rng.normal(0, 0.12, 90),
              away * np.sin(angle) + rng.normal(0, 0.12, 90), 0.0, 1.8)
    for side in (-12.0, 12.0):
        stand(rng.uniform(-40, 40, 3000), np.full(3000, side), 0.0, 6.0)
    xyz, above = np.concatenate(xyz), np.concatenate(above)
    xyz += rng.normal(0, noise, xyz.shape)
    below = rng.choice(np.flatnonzero(above == 0), len(xyz) // 500, replace=False)
    xyz[below, 2] -= rng.uniform(1, 4, len(below))
    above[below] = -1
    return xyz - [0, 0, sensor], above


SHAPES = {
    "flat": lambda x, y: 0 * x, "up": lambda x, y: np.tan(np.deg2rad(8)) * x,
    "tilted": lambda x, y: 0.1 * x - 0.1 * y, "hill": lambda x, y: 4e-3 * x * x,
    "hollow": lambda x, y: -3e-3 * x * x + 0.05 * y, "waves": lambda x, y: 0.4 * np.sin(x / 8)}


@pytest.mark.parametrize("kerb", [0.0, 0.15])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_ground_is_found_and_nothing_above_an_ankle(shape, kerb):
    xyz, above = street(SHAPES[shape], kerb=kerb)
    found = is_ground(xyz)
    truth, higher = above == 0, above > HEIGHT + 0.15
    bent = shape in ("hill", "hollow")
    assert found[truth].mean() > (0.96 if bent else 0.985)
    assert found[higher].mean() < 1e-3  # a kerb and the noise of the sensor included
    if not kerb and not bent:
        assert above[found].max() < HEIGHT + 0.08
    assert found[above > 0.6].sum() == 0 and found[above < 0].mean() < 0.02


def test_a_person_on_a_slope_stays_whole():
    xyz, above = street(SHAPES["up"], noise=0.0)
    assert above[is_ground(xyz)].max() < 2 * HEIGHT


def test_height_and_sensor_height_are_heeded():
    xyz, above = street(SHAPES["flat"], noise=0.01)
    low, high = (is_ground(xyz, height=h) for h in (0.08, 0.4))
    assert low.sum() < high.sum() and above[low].max() < 0.2 and above[high].max() > 0.35
    assert (is_ground(xyz, sensor_height=1.73) == is_ground(xyz)).mean() > 0.999
    assert not is_ground(xyz, sensor_height=0.3).any()  # there is no ground at that height
    assert is_ground(xyz, sensor_height=1.6, steepest_deg=5).any()


def test_a_roof_above_most_points_is_not_the_ground():
    rng = np.random.default_rng(0)
    floor, _ = street(SHAPES["flat"])
    roof = np.column_stack([rng.uniform(-15, 15, (60_000, 2)), rng.normal(2.5, 0.02, 60_000)])
    found = is_ground(np.concatenate([floor, roof]))
    assert found[:len(floor)].mean() > 0.7 and not found[len(floor):].any()


def test_it_does_not_depend_on_order_or_turns_about_z():
    xyz, _ = street(SHAPES["tilted"])
    found = is_ground(xyz)
    order = np.random.default_rng(1).permutation(len(xyz))
    assert (is_ground(xyz[order]) == found[order]).mean() > 0.999
    c, s = np.cos(0.4), np.sin(0.4)
    turned = xyz @ np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]])
    assert (is_ground(turned) == found).mean() > 0.99
    assert (is_ground(xyz.astype(np.float32)) == is_ground(xyz)).all()


def test_few_points_and_none_at_all():
    assert is_ground(np.zeros((0, 3))).shape == (0,)
    assert not is_ground(np.random.default_rng(0).normal(size=(3, 3))).any()
    xyz, _ = street(SHAPES["flat"])
    xyz[::7] = np.nan
    found = is_ground(xyz)
    assert not found[::7].any() and found.any()
    assert len(remove_ground(xyz)) == (~found).sum()
    assert not is_ground(np.full((50, 3), np.inf)).any()
    wall = np.column_stack([np.full(5000, 8.0), np.random.default_rng(0).uniform(-5, 5, (5000, 2))])
    assert is_ground(wall).mean() < 0.2


@pytest.mark.parametrize("xyz, options, error", [
    (np.zeros((4, 2)), {}, ShapeError), (np.zeros(3), {}, ShapeError),
    (np.zeros((4, 3)), {"height": 0}, InputError), (np.zeros((4, 3)), {"height": 2}, InputError),
    (np.zeros((4, 3)), {"steepest_deg": 60}, InputError),
    (np.zeros((4, 3)), {"height": np.nan}, InputError)])
def test_wrong_arguments_are_told(xyz, options, error):
    with pytest.raises(error) as caught:
        is_ground(xyz, **options)
    assert caught.value.where and caught.value.hint


class TestRealScans:
    def scan(self, name):
        if not (REAL / name).is_dir():
            pytest.skip(f"no real data in ../shared/data/{name}")
        if name == "av2":
            pytest.importorskip("pyarrow", reason="Argoverse 2 needs pyarrow")
        from pcinv_data.lidar import open_sequence

        scans = open_sequence(REAL / name)
        return scans[0], list(scans.class_names)

    def test_argoverse_agrees_with_its_map(self):
        scan, names = self.scan("av2")
        found = is_ground(scan.xyz)
        both = (found & scan.is_ground).sum()
        assert both / found.sum() > 0.94 and both / scan.is_ground.sum() > 0.92
        people = scan.label == names.index("PEDESTRIAN")
        assert people.sum() > 300 and found[people].mean() < 0.12  # feet

    def test_semantickitti_agrees_with_its_labels(self):
        scan, names = self.scan("SemanticKITTI")
        found, label = is_ground(scan.xyz), scan.label
        flat = np.isin(label, [names.index(name) for name in FLAT])
        terrain, known = label == names.index("terrain"), label >= 0
        assert found[flat].mean() > 0.99 and found[terrain].mean() > 0.93
        others = known & ~flat & ~terrain
        assert found[others].mean() < 0.08
        assert (found & (flat | terrain)).sum() / (found & known).sum() > 0.96
        for name in ("car", "person"):
            assert found[label == names.index(name)].mean() < 0.12
        low = scan.xyz[found & (label == names.index("person")), 2]
        road = scan.xyz[flat & (np.linalg.norm(scan.xyz, axis=1) < 20), 2]
        assert not len(low) or low.max() < road.max() + 0.5
