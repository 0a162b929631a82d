"""Scans of a street are functions of seed and index, and cost the same however many there are."""

import hashlib
import os
import pickle
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import pcinv_data
from pcinv.errors import InputError
from pcinv_data.lidar_sim import CLASS_NAMES, lidar_sim, make_clip
from pcinv_data.lidar_sim.road import Road
from pcinv_data.lidar_sim.solids import Thing

FIELDS = ("xyz", "intensity", "ring", "label", "instance", "flow", "is_ground", "T_world_sensor")
SMALL = {"beams": 16, "columns": 128}


def digest(scan):
    arrays = [getattr(scan, name) for name in FIELDS]
    arrays += [getattr(scan.boxes, name) for name in scan.boxes.__dataclass_fields__]
    return hashlib.sha256(b"".join(np.ascontiguousarray(a).tobytes() for a in arrays)).hexdigest()


def test_the_same_bits_whatever_was_asked_before():
    street = lidar_sim(400, 5, **SMALL)
    wanted = {k: digest(street[k]) for k in (3, 399, 200, 201)}
    again = lidar_sim(1000, 5, **SMALL)
    for k in (201, 3):
        assert digest(again[k]) == wanted[k]
    code = ("import sys; sys.path.insert(0, {!r}); from test_street_sequence import *;"
            "print(digest(lidar_sim(400, 5, **SMALL)[399]))").format(__file__.rpartition("/")[0])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == wanted[399]


def test_threads_read_the_same():
    street = lidar_sim(12, 1, rolling=True, **SMALL)
    alone = [digest(scan) for scan in lidar_sim(12, 1, rolling=True, **SMALL)]
    assert [digest(scan) for scan in street.prefetch(3)] == alone


def test_another_process_can_be_given_it():
    street = lidar_sim(12, 1, **SMALL)
    copy = pickle.loads(pickle.dumps(street))
    assert digest(copy[7]) == digest(street[7]) and len(copy) == 12
    assert len(pickle.dumps(lidar_sim(2, 1, **SMALL))) < 5000


def test_seeds_differ():
    one, other = (lidar_sim(2, seed, **SMALL) for seed in (0, 1))
    assert len({digest(street[k]) for street in (one, other) for k in (0, 1)}) == 4
    assert not np.allclose(one.poses[1], other.poses[1])


def test_it_is_a_sequence():
    street = lidar_sim(30, 2, **SMALL)
    assert isinstance(street, pcinv_data.ScanSequence) and len(street) == 30
    assert street.class_names == CLASS_NAMES and street.names[7] == "000007" == street[7].name
    assert street.names[-1] == "000029" and street.names[:2] == ["000000", "000001"]
    assert list(street.names)[28:] == ["000028", "000029"]
    told = street.describe()
    assert told["format"] == "lidar_sim" and told["num_scans"] == 30 and told["hz"] > 9.9
    assert set(told["fields"]) >= {"flow", "boxes", "label", "instance", "ring", "is_ground"}
    scan = street[4]
    assert scan.stamp == 0.4 and np.array_equal(scan.T_world_sensor, street.poses[4])
    types = {"xyz": "f4", "intensity": "f4", "flow": "f4", "ring": "u1", "label": "i8",
             "instance": "i8", "is_ground": "?"}
    for name, kind in types.items():
        values = getattr(scan, name)
        assert values.dtype == np.dtype(kind) and len(values) == len(scan)
    assert np.isfinite(scan.flow).all() and np.linalg.norm(scan.xyz, axis=1).max() < 80.2
    with pytest.raises(IndexError):
        street[30]


def resident():
    """Bytes of memory that this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="Linux tells how much is held")
def test_memory_does_not_grow():
    street = lidar_sim(3000, 3, ego_speed=13.0, **SMALL)
    held = []
    for index in range(300):
        street[index * 4]  # half a kilometre for each hundred
        if index in (99, 299):
            held.append(resident())
    assert held[1] - held[0] < 12e6


def test_clips_are_quick():
    make_clip(1)
    begin = time.process_time()
    clip = make_clip(2)
    assert time.process_time() - begin < 1.5 and len(clip) == 8
    assert all(2000 < len(scan) < 4096 for scan in clip)


def test_scans_are_quick():
    street = lidar_sim(20, 0)
    street[0]
    took = []
    for index in range(1, 9):
        begin = time.thread_time()
        street[index]
        took.append(time.thread_time() - begin)
    assert min(took) < 0.15  # a third of it where nothing else runs


def test_the_road_does_not_depend_on_how_it_is_asked_for():
    one, other = Road(9), Road(9)
    one.extend(3000)
    for until in (300, 700, 701, 1500, 3000):
        other.extend(until)
    n = min(len(one.x), len(other.x))
    assert n > 3200 and all(np.array_equal(getattr(one, k)[:n], getattr(other, k)[:n])
                            for k in ("x", "y", "heading"))
    assert (np.diff(one.x) > 0.3).all()  # so it never meets itself
    assert np.abs(np.diff(one.heading)).max() < 1 / 90 and np.abs(one.heading).max() > 0.5


def test_bounds_hold_a_thing():
    thing = Thing(0)
    thing.rod((0, 0, 0), (1, 1, 1), 0.5)
    thing.ball((0, 0, 2), (1, 2, 0.5), 0.3)
    low, high = thing.bounds()
    assert (low <= (-1, -2, -0.408)).all() and (high >= (1.4, 2, 2.5)).all()


@pytest.mark.parametrize("told", [
    {"scans": 0}, {"scans": 10**7}, {"seed": -1}, {"beams": 40}, {"columns": 10},
    {"columns": 10**5}, {"noise": -0.1}, {"noise": float("nan")}, {"max_range": 500.0},
    {"max_range": 1}, {"ego_speed": 30.0}, {"ego_speed": -1.0}, {"scans": 2.5}, {"seed": True}])
def test_bad_settings_are_named(told):
    with pytest.raises(InputError) as caught:
        lidar_sim(**told)
    assert caught.value.where in told and str(next(iter(told.values()))) in caught.value.message
