"""The compiled loops of the generated street against plain ones in float64."""

import numpy as np
import pytest
from helpers.street_oracle import above_ground, at_stamp, bilinear, meet, meet_all

from pcinv_data.lidar_sim import lidar_sim
from pcinv_data.lidar_sim.sequence import _between
from pcinv_data.lidar_sim.solids import Thing
from pcinv_data.lidar_sim.street import HALF_TURN
from pcinv_data.lidar_sim.traffic import KNOTS, matrices


def bare(**settings):
    """A street whose scanner measures exactly, and how far its kernel sees: no noise, no gaps."""
    return lidar_sim(400, beams=32, columns=256, noise=0.0, dropout=False, max_range=60,
                     **settings)._scanner


@pytest.mark.parametrize("seed, index, rolling", [(0, 3, False), (2, 40, True), (5, 200, True)])
def test_rays_meet_what_brute_force_says(seed, index, rolling):
    scanner = bare(seed=seed, rolling=rolling)
    scene = scanner.street.scene(index)
    echoes = scanner.fire(scene)
    table = np.full((256, 32), np.inf)
    whose = np.full((256, 32), -1)
    table[echoes.column, echoes.ring], whose[echoes.column, echoes.ring] = \
        echoes.distance, echoes.owner
    rng, leaves = np.random.default_rng(seed), {}
    rays = [(c, b) for c, b in zip(rng.integers(0, 256, 70), rng.integers(2, 32, 70), strict=True)]
    things = np.flatnonzero(echoes.owner >= 0)
    rays += [(echoes.column[k], echoes.ring[k]) for k in rng.choice(things, 30)]
    for c, b in rays:
        sensor, tracks = at_stamp(scene)
        if rolling:
            knot = np.array([HALF_TURN + scanner.time[c] * KNOTS])
            sensor = _between(scene.sensor[None], np.zeros(1, int), knot)[0]
            tracks = _between(scene.tracks, np.arange(len(tracks)), knot.repeat(len(tracks)))
        expected, owner = meet_all(scene, sensor, tracks, scanner.rays[c, b], 60.0, 1.0, leaves)
        assert table[c, b] == pytest.approx(expected, abs=1e-6), (c, b)
        assert whose[c, b] == owner


def every_kind():
    thing = Thing(0)
    thing.box((-1, -2, 0), (0.5, 1, 2))
    thing.hull([(0, 0, 0), (3, 0, 0.2), (0, 2, 0), (0.5, 0.5, 2.5)])
    thing.ball((1, -1, 1), (2, 1, 0.5), 0.4)
    thing.rod((0, 0, 0), (1, 2, 3), 0.5)
    thing.rod((0, 0, 0), (-1, 0, 2), 1.0, 0.2)
    thing.rod((0, 0, 0), (0, 0, 2), 1.0, 0.0)
    thing.leaves((0, 1, 2), (1.5, 1.0, 0.9), 77.0)
    thing.grille((0, 0, 1), (2, 1), (0.3, 0.1), (0.5, 0.1), 0.7)
    return thing.parts()


def test_each_kind_of_solid():
    from pcinv_data.lidar_sim import ray_kernels as kernels

    parts, leaves, rng = every_kind(), {}, np.random.default_rng(0)
    for p in range(len(parts.kind)):
        hits = 0
        for _ in range(400):
            o = rng.normal(size=3) * 6
            o += (8 + rng.uniform(0, 60)) * o / np.linalg.norm(o)
            d = parts.c[p] + rng.normal(0, 0.7, 3) - o
            d /= np.linalg.norm(d)
            q, along = parts.A[p] @ (o - parts.c[p]), parts.A[p] @ d
            t, *normal = kernels.meet(parts.kind[p], parts.planes, parts.first[p], parts.last[p],
                                      parts.values[p], *q, *along)
            assert t == pytest.approx(meet(parts, p, o, d, leaves), abs=1e-8)
            if np.isfinite(t):
                hits += 1
                assert parts.kind[p] == 4 or np.dot(normal, along) < 0  # towards the ray
        assert hits > 30


def test_columns_turn_clockwise_and_look_ahead_at_the_stamp():
    scanner = bare(seed=0)
    assert (np.diff(scanner.azimuth) < 0).all() and (np.diff(scanner.time) > 0).all()
    assert np.interp(0.0, scanner.time, scanner.azimuth) == pytest.approx(0, abs=1e-12)
    assert np.allclose(np.linalg.norm(scanner.rays, axis=-1), 1)


def test_the_ground_slopes_and_has_kerbs():
    """What is labelled as ground lies on it, upper side or lower side or the side of a kerb."""
    for seed in (0, 1):
        scanner = bare(seed=seed)
        scene = scanner.street.scene(0)
        echoes = scanner.fire(scene)
        T = matrices(scene.sensor[HALF_TURN])
        xyz = (scanner.rays[echoes.column, echoes.ring] * echoes.distance[:, None])
        xyz = (xyz @ T[:3, :3].T + T[:3, 3])[(echoes.owner < 0) & np.isin(echoes.label, (8, 9, 10,
                                                                                         16))]
        off = above_ground(scene.field, xyz)
        edge = np.abs(bilinear(scene.field.kerb, scene.field, *xyz[:, :2].T)) < 1e-6
        assert np.abs(off[~edge]).max() < 1e-6 and edge.any()
        assert np.abs(off[edge]).max() < scene.field.step + 1e-6
        heights = scene.field.height[scene.field.kerb < 0]
        assert np.ptp(heights) > 0.5 and (scene.field.kerb >= 0).any()
        slope = np.abs(np.diff(scene.field.height, axis=0))[(scene.field.kerb < 0)[1:]]
        assert 0.005 < slope.max() < 0.15
