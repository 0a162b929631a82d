"""The sample pairs to register: made by the project, seen from their origin, half in each other."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import pcinv
from pcinv.geometry.rotation import geodesic_angle, is_rotation
from pcinv.ops import knn

FOLDER = Path(__file__).parents[2] / "data" / "samples"
PAIRS = ("room", "part")
FILES = ("{}_a.ply", "{}_b.ply", "{}_truth.txt")
POINTS = {"room_a": (8_000, 15_000), "room_b": (8_000, 15_000),
          "part_a": (6_000, 6_000), "part_b": (3_500, 4_500)}
OVERLAP = {"room": (0.4, 0.6), "part": (0.35, 0.5)}
BACKWARD = {"room": (0.4, 0.6), "part": (0.95, 1.0)}


@pytest.fixture(scope="module")
def maker():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(FOLDER))
        import make_pairs

        yield make_pairs
        for name in ("make_pairs", "sample_room"):
            sys.modules.pop(name, None)


def load(name):
    return pcinv.read_cloud(FOLDER / f"{name}.ply").absolute()


def truth(name):
    return np.loadtxt(FOLDER / f"{name}_truth.txt")


def moved(points, motion):
    return points @ motion[:3, :3].T + motion[:3, 3]


def reach(name):
    """5 cm in the room, 2 % of the diagonal of the part."""
    return 0.05 if name == "room" else 0.02 * np.linalg.norm(np.ptp(load("part_a"), axis=0))


def overlap(source, target, distance):
    near = knn(torch.from_numpy(source)[None], torch.from_numpy(target)[None], 1).dist2
    return float((near <= distance**2).double().mean())


@pytest.mark.parametrize("name", PAIRS)
def test_making_them_again_gives_the_same_bytes(name, maker, tmp_path):
    assert tuple(maker.PAIRS) == PAIRS
    maker.write_pair(name, tmp_path)
    for pattern in FILES:
        file = pattern.format(name)
        assert (tmp_path / file).read_bytes() == (FOLDER / file).read_bytes(), file


@pytest.mark.parametrize("name", POINTS)
def test_clouds_are_small_and_finite(name):
    cloud = pcinv.read_cloud(FOLDER / f"{name}.ply")
    low, high = POINTS[name]
    assert low <= len(cloud) <= high and np.isfinite(cloud.absolute()).all()
    assert (FOLDER / f"{name}.ply").stat().st_size < 200_000


@pytest.mark.parametrize("name", PAIRS)
def test_the_truth_is_a_large_motion_and_says_what_it_is(name):
    motion = torch.from_numpy(truth(name))
    assert motion.shape == (4, 4) and motion[3].tolist() == [0, 0, 0, 1]
    assert is_rotation(motion[:3, :3], tolerance=1e-8)
    angle = np.degrees(float(geodesic_angle(torch.eye(3, dtype=torch.float64), motion[:3, :3])))
    assert angle > (30 if name == "room" else 90)
    first = (FOLDER / f"{name}_truth.txt").read_text().splitlines()[0]
    assert first.startswith("# T_target_source") and f"{name}_a.ply (source)" in first


@pytest.mark.parametrize("name", PAIRS)
def test_clouds_overlap_under_the_true_motion_alone(name):
    source, target, motion = load(f"{name}_a"), load(f"{name}_b"), truth(name)
    there, distance = moved(source, motion), reach(name)
    share = overlap(there, target, distance)
    assert OVERLAP[name][0] <= share <= OVERLAP[name][1]
    assert BACKWARD[name][0] <= overlap(target, there, distance) <= BACKWARD[name][1]
    middle = there.mean(0)
    quarter = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    wrong = {"not moved": source, "centred": source - source.mean(0) + target.mean(0),
             "moved back": moved(source, np.linalg.inv(motion)),
             "turned": (there - middle) @ quarter.T + middle}
    for how, points in wrong.items():
        assert overlap(points, target, distance) < share / 2, how


def in_view(points, camera):
    """Share of points in the image of a camera at the origin that looks along z."""
    half = [pixels / 2 / camera.FOCAL for pixels in camera.PIXELS]
    return float((np.abs(points[:, :2]) < points[:, 2:] * half).all(1).mean())


@pytest.mark.parametrize("name", ["room_a", "room_b"])
def test_the_room_is_seen_from_the_origin(name, maker):
    points = load(name)
    ranges = np.linalg.norm(points, axis=1)
    assert ranges.min() > 0.3 and ranges.max() < 5
    assert in_view(points, maker) == 1
    motion = truth("room")
    elsewhere = moved(points, motion if name == "room_a" else np.linalg.inv(motion))
    assert in_view(elsewhere, maker) < 0.95


def test_the_part_is_seen_from_the_origin_alone():
    """One point in a direction, but for the noise: nothing lies behind what hides it."""
    ray = 0.02

    def depth_of_rays(points):
        cell = np.floor(points[:, :2] / points[:, 2:] / ray)
        _, which = np.unique(cell, axis=0, return_inverse=True)
        order = np.lexsort([points[:, 2], which.ravel()])
        which, z = which.ravel()[order], points[order, 2]
        first = np.flatnonzero(np.r_[True, np.diff(which) > 0])
        return np.median(np.maximum.reduceat(z, first) - np.minimum.reduceat(z, first))

    whole, scan = moved(load("part_a"), truth("part")), load("part_b")
    assert depth_of_rays(scan) < 0.25 * depth_of_rays(whole)
