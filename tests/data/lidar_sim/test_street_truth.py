"""Flow, boxes, poses and classes of the generated street are exact."""

import numpy as np
import pytest
from helpers.street_oracle import off_surface

from pcinv_data.lidar_sim import CLASS_NAMES, lidar_sim, make_clip
from pcinv_data.lidar_sim.classes import GROUND, PERSON, THINGS
from pcinv_data.lidar_sim.sensor import BEAMS, elevations
from pcinv_data.lidar_sim.street import HALF_TURN, TURN
from pcinv_data.lidar_sim.traffic import KNOTS, matrices

EXACT = {"noise": 0.0, "dropout": False}


def carried(points, T):
    return points.astype(np.float64) @ T[:3, :3].T + T[:3, 3]


@pytest.mark.parametrize("rolling", [False, True])
def test_without_traffic_flow_is_that_of_the_sensor(rolling):
    street = lidar_sim(60, 4, beams=16, columns=128, traffic=False, rolling=rolling)
    for index in (0, 30, 58):
        scan = street.deskewed(index)
        E = np.linalg.inv(street.poses[index + 1]) @ street.poses[index]
        rigid = carried(scan.xyz, E) - scan.xyz
        assert np.abs(scan.flow - rigid).max() < 1e-6
        assert scan.is_deskewed and scan.time is None
    assert np.linalg.norm(street.poses[59, :3, 3]) > 10


def scanned(seed, index, rolling=False):
    street = lidar_sim(200, seed, columns=512, rolling=rolling, max_range=60, **EXACT)
    scanner = street._scanner
    return street, scanner.street.scene(index), scanner.fire(scanner.street.scene(index))


@pytest.mark.parametrize("seed, index, rolling", [(0, 8, False), (1, 150, False), (0, 8, True)])
def test_flow_takes_points_to_the_surface_of_the_moved_thing(seed, index, rolling):
    street, scene, echoes = scanned(seed, index, rolling)
    scan = street.deskewed(index)
    before, after = matrices(scene.sensor[[HALF_TURN, TURN + 1]])
    moved = 0
    for row in np.unique(echoes.owner[echoes.owner >= 0]):
        drawing, mine = scene.drawings[row], echoes.owner == row
        for points, T, knot in ((scan.xyz, before, HALF_TURN),
                                (scan.xyz + scan.flow, after, TURN + 1)):
            world = carried(points[mine], T)
            local = carried(world, np.linalg.inv(matrices(scene.tracks[row, knot])))
            assert off_surface(scene.parts, drawing.first, drawing.last, local).max() < 2e-5
        moved += scene.moves[row]
    assert moved > 5
    E = np.linalg.inv(street.poses[index + 1]) @ street.poses[index]
    residual = np.linalg.norm(scan.flow - (carried(scan.xyz, E) - scan.xyz), axis=1)
    assert residual[~scene.moves[echoes.owner] | (echoes.owner < 0)].max() < 2e-6
    assert residual[scene.moves[echoes.owner] & (echoes.owner >= 0)].max() > 0.3
    assert residual.max() < 2.5  # 20 m/s and a bend


@pytest.mark.parametrize("rolling", [False, True])
def test_boxes_hold_their_points(rolling):
    for seed, index in ((0, 8), (3, 100)):
        street, _, _ = scanned(seed, index, rolling)
        scan = street.deskewed(index)
        boxes = scan.boxes
        assert len(np.unique(boxes.instance)) == len(boxes) > 20
        inside = 0
        for k in range(len(boxes)):
            mine = scan.instance == boxes.instance[k]
            assert mine.sum() == boxes.num_points[k]
            assert (scan.label[mine] == boxes.label[k]).all()
            away = scan.xyz[mine] - boxes.centre[k]
            c, s = np.cos(boxes.yaw[k]), np.sin(boxes.yaw[k])
            own = away @ np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
            assert (np.abs(own) <= boxes.size[k] / 2 + 1e-4).all()
            inside += len(own)
        assert inside == (scan.label < len(THINGS)).sum() == (scan.instance > 0).sum()
        assert (boxes.size[:, 0] > 0.2).all() and (boxes.size < 13.5).all()


def test_velocities_are_those_of_the_boxes():
    street = lidar_sim(80, 2, beams=16, columns=64, ego_speed=0.0)
    first, second = street[50].boxes, street[51].boxes
    both = np.intersect1d(first.instance, second.instance)
    assert len(both) > 30
    speeds = np.linalg.norm(first.velocity, axis=1)
    assert speeds.max() > 4 and (speeds < 21.5).all() and (speeds == 0).sum() > 5
    for number in both:
        i, = np.flatnonzero(first.instance == number)
        j, = np.flatnonzero(second.instance == number)
        step = (second.centre[j] - first.centre[i])[:2] * 10
        assert np.abs(step - (first.velocity[i] + second.velocity[j]) / 2).max() < 0.6


def test_standing_still_a_rolling_scan_is_an_instantaneous_one():
    told = {"beams": 16, "columns": 256, "traffic": False, "ego_speed": 0.0}
    one, other = (lidar_sim(3, 7, rolling=rolling, **told) for rolling in (False, True))
    for a, b in zip(one, other, strict=True):
        assert np.abs(a.xyz - b.xyz).max() < 1e-5
        for name in ("label", "ring", "instance", "is_ground"):
            assert np.array_equal(getattr(a, name), getattr(b, name))
        assert np.abs(b.flow).max() < 1e-6 and a.time is None
        assert b.time.min() < -0.049 and b.time.max() > 0.049
    moving = lidar_sim(3, 7, rolling=True, beams=16, columns=256, ego_speed=10.0, **EXACT)
    assert np.abs(moving[0].xyz - moving.deskewed(0).xyz).max() > 0.3


def test_houses_are_where_they_stand_however_fast_the_scanner_drives():
    """Points of a rolling scan, put right, lie on the solids of the street; as measured, not."""
    house = CLASS_NAMES.index("building")
    street, scene, echoes = scanned(0, 8, rolling=True)
    some = np.flatnonzero(echoes.label == house)[::40]
    T = matrices(scene.sensor[HALF_TURN])
    solids = np.flatnonzero(scene.parts.label == house)
    for scan, low, high in ((street.deskewed(8), 0, 2e-5), (street[8], 0.001, 2)):
        world = carried(scan.xyz[some], T)
        away = np.min([off_surface(scene.parts, p, p + 1, world) for p in solids], axis=0)
        assert low <= np.median(away) and away.max() < high and len(away) > 50


def test_poses_are_those_of_a_car():
    street = lidar_sim(1200, 11, beams=16, columns=64)
    T = street.poses
    assert np.array_equal(T[0], np.eye(4))
    assert np.abs(T[:, :3, :3] @ T[:, :3, :3].transpose(0, 2, 1) - np.eye(3)).max() < 1e-12
    steps = np.linalg.inv(T[:-1]) @ T[1:]
    speed = np.linalg.norm(steps[:, :3, 3], axis=1) * 10
    assert speed.max() < 15 and speed.min() < 0.5 and np.median(speed) > 4
    turn = np.degrees(np.arctan2(steps[:, 1, 0], steps[:, 0, 0])) * 10
    assert 4 < np.abs(turn).max() < 10.0
    level = street._scanner.street.poses(1200)
    assert 0.3 < np.degrees(np.arccos(level[:, 2, 2])).max() < 8
    assert np.ptp(level[:, 2, 3]) > 1
    assert np.array_equal(street.stamps, np.arange(1200) / 10)
    assert KNOTS == 10 * TURN


def test_all_classes_occur_in_50_scans():
    for seed in (0, 6):
        street = lidar_sim(50, seed, beams=64, columns=512)
        seen, ground = np.zeros(len(CLASS_NAMES), np.int64), 0
        for index in range(0, 50, 7):
            scan = street[index]
            seen += np.bincount(scan.label, minlength=len(CLASS_NAMES))
            assert np.array_equal(scan.is_ground, np.isin(scan.label, GROUND))
            ground += scan.is_ground.sum()
        assert (seen > 0).all(), [CLASS_NAMES[k] for k in np.flatnonzero(seen == 0)]
        assert 0.3 < ground / seen.sum() < 0.8


def test_beams_are_those_of_scanners():
    for beams in BEAMS:
        table = np.degrees(elevations(beams))
        assert len(table) == beams and (np.diff(table) > 0).all()
    assert np.degrees(elevations(16)) == pytest.approx(np.arange(-15, 16, 2))
    scan = make_clip(0, 1, beams=32)[0]
    elevation = np.arcsin(scan.xyz[:, 2] / np.linalg.norm(scan.xyz, axis=1))
    assert np.abs(elevation - elevations(32)[scan.ring]).max() < 1e-5


def test_intensity_falls_and_far_dark_things_are_lost():
    full = lidar_sim(3, 0, columns=512, dropout=False)[0]
    some = lidar_sim(3, 0, columns=512)[0]
    assert 0.6 < len(some) / len(full) < 0.99
    far = [np.mean(np.linalg.norm(s.xyz[s.label == 8], axis=1) > 30) for s in (full, some)]
    assert far[1] < 0.7 * far[0]
    for name, low, high in (("road", 0.03, 0.3), ("traffic-sign", 0.5, 1.0)):
        values = full.intensity[full.label == CLASS_NAMES.index(name)]
        assert low < values.mean() < high
    assert full.intensity.min() >= 0 and full.intensity.max() <= 1
    assert PERSON in full.label
