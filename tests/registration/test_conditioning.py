"""Open motions of plane, sphere, cylinder, corridor and room, anywhere and at any scale."""

import math

import numpy as np
import pytest
import torch

from pcinv.errors import InputError, ShapeError
from pcinv.geometry.rotation import random_rotation
from pcinv.registration.conditioning import conditioning, move_information

RNG_SIZE = 4000


def face(rng, axis, at, extent, count=RNG_SIZE):
    p = rng.uniform(-0.5, 0.5, (count, 3)) * extent
    p[:, axis] = at
    return p, np.tile(np.eye(3)[axis], (count, 1))


def surface(name, seed=0):
    """Points and normals; the known axis is z, the known centre the origin."""
    rng = np.random.default_rng(seed)
    extent = np.array([3.0, 2.0, 4.0])
    walls = [face(rng, 0, -1.5, extent), face(rng, 0, 1.5, extent),
             face(rng, 1, -1.0, extent), face(rng, 1, 1.0, extent)]
    ends = [face(rng, 2, -2.0, extent), face(rng, 2, 2.0, extent)]
    ball = rng.normal(size=(RNG_SIZE, 3))
    ball /= np.linalg.norm(ball, axis=1, keepdims=True)
    ring = ball * [1, 1, 0]
    ring /= np.linalg.norm(ring, axis=1, keepdims=True)
    height = rng.uniform(-1, 1, (RNG_SIZE, 1)) * [0, 0, 1]
    if name == "plane":
        return face(rng, 2, 0.0, extent)
    if name == "two planes":
        return tuple(map(np.concatenate, zip(*ends, strict=True)))
    if name == "sphere":
        return 0.7 * ball, ball
    if name == "half a sphere":
        ball = ball[ball[:, 0] > 0.2]
        return ball, ball
    if name == "cylinder":
        return ring + height, ring
    if name == "quarter of a cylinder":
        part = (ring[:, 0] > 0) & (ring[:, 1] > 0)
        return (ring + 2 * height)[part], ring[part]
    if name == "cone":
        return ring * (2 - height.sum(1, keepdims=True)) + height, (ring + np.eye(3)[2]) / 2**0.5
    if name == "spiral staircase":  # z = angle
        angle, r = rng.uniform(0, 4 * np.pi, RNG_SIZE), rng.uniform(0.5, 1.5, RNG_SIZE)
        c, s = np.cos(angle), np.sin(angle)
        n = np.stack([s, -c, r], 1)
        return (np.stack([r * c, r * s, angle], 1) - [0, 0, 2 * np.pi],
                n / np.linalg.norm(n, axis=1, keepdims=True))
    parts = walls if name == "corridor" else walls + ends
    return tuple(map(np.concatenate, zip(*parts, strict=True)))


CASES = {
    "plane": ("plane", ["translation"] * 2 + ["rotation"]),
    "two planes": ("plane", ["translation"] * 2 + ["rotation"]),
    "sphere": ("sphere", ["rotation"] * 3), "half a sphere": ("sphere", ["rotation"] * 3),
    "cylinder": ("cylinder", ["translation", "rotation"]),
    "quarter of a cylinder": ("cylinder", ["translation", "rotation"]),
    "cone": ("body of revolution", ["rotation"]), "spiral staircase": ("unnamed", ["screw"]),
    "corridor": ("corridor", ["translation"]), "room": ("room", []),
}


def motion(seed):
    g = torch.Generator().manual_seed(seed)
    return (random_rotation(generator=g, dtype=torch.float64).numpy(),
            3 * torch.randn(3, generator=g, dtype=torch.float64).numpy())


def degrees_between(a, b):
    return math.degrees(math.acos(min(1.0, abs(float(a @ b)))))


@pytest.mark.parametrize("scale", [1e-3, 1.0, 50.0])
@pytest.mark.parametrize("name", CASES)
def test_item_12_open_motions(name, scale):
    p, n = surface(name)
    (shape, kinds), (R, t) = CASES[name], motion(7)
    found = conditioning(scale * (p @ R.T + t), n @ R.T)
    assert [m.kind for m in found.open_motions] == kinds
    assert found.shape == shape and found.degenerate == bool(kinds)
    assert (np.diff(found.eigenvalues) >= 0).all() and found.eigenvalues[0] > -1e-12
    axis = R[:, 2]
    for m in found.open_motions:
        assert np.linalg.norm(m.direction) == pytest.approx(1)
        if shape == "plane" and m.kind == "translation":
            assert degrees_between(m.direction, axis) > 85
        elif shape != "sphere":
            assert degrees_between(m.direction, axis) < 5
        if shape == "sphere":
            assert np.linalg.norm(m.centre / scale - t) < 0.05
        elif m.kind != "translation" and shape != "plane":
            off = m.centre / scale - t
            assert np.linalg.norm(off - (off @ axis) * axis) < 0.05


@pytest.mark.parametrize("name", CASES)
def test_item_12_open_motions_keep_the_points_on_the_surface(name):
    p, n = surface(name, seed=1)
    p = p + 5
    for m in conditioning(p, n).open_motions:
        shift = np.tile(m.direction, (len(p), 1))
        if m.kind != "translation":
            shift = np.cross(m.direction, p - m.centre)
        if m.kind == "screw":  # rises by one for each radian
            shift = shift + m.direction
        across = np.abs((shift * n).sum(1)).mean() / np.linalg.norm(shift, axis=1).mean()
        assert across < 0.05


def test_noise_does_not_hold_a_plane():
    p, n = surface("plane")
    rng = np.random.default_rng(0)
    n = n + 0.03 * rng.normal(size=n.shape)
    n /= np.linalg.norm(n, axis=1, keepdims=True)
    assert conditioning(p + 0.01 * rng.normal(size=p.shape), n).shape == "plane"
    assert conditioning(p, n, threshold=1e-6).shape == "room"


def test_signs_order_and_number_of_pairs_are_no_matter():
    rng = np.random.default_rng(0)
    p, n = surface("corridor")
    one = conditioning(p, n)
    sign = rng.choice([-1.0, 1.0], (len(n), 1))
    order = rng.permutation(len(n))
    for again in (conditioning(p, sign * n), conditioning(p[order], n[order]),
                  conditioning(np.tile(p, (3, 1)), np.tile(n, (3, 1)))):
        assert np.abs(again.eigenvalues - one.eigenvalues).max() < 1e-12


def test_words():
    found = conditioning(*surface("cylinder"))
    text = [str(m) for m in found.open_motions]
    assert text[0].startswith("translation along (") and ", 1)" in text[0].replace("-1)", "1)")
    assert text[1].startswith("rotation about the axis (") and "through (" in text[1]
    assert "-0," not in " ".join(text)


def test_degenerate_input():
    same = conditioning(np.ones((9, 3)), np.tile([0.0, 0, 1], (9, 1)))
    assert len(same.open_motions) == 5 and same.shape == "unnamed"
    assert conditioning(np.ones((9, 3)), np.zeros((9, 3))).shape == "no surface"
    assert len(conditioning(np.ones((1, 3)), np.eye(3)[:1]).open_motions) == 5
    for p, n, error, text in (
        (np.ones((4, 2)), np.ones((4, 2)), ShapeError, "points"),
        (np.ones((4, 3)), np.ones((5, 3)), ShapeError, "points"),
        (np.ones((0, 3)), np.ones((0, 3)), InputError, "no pairs"),
        (np.full((4, 3), np.nan), np.ones((4, 3)), InputError, "finite"),
    ):
        with pytest.raises(error, match=text):
            conditioning(p, n)


class TestMoveInformation:
    def information(self, p, n):
        jacobian = np.concatenate([np.cross(p, n), n], axis=1)
        return jacobian.T @ jacobian

    def test_is_the_information_of_the_moved_points(self):
        p, n = surface("room")
        origin = np.array([3.0, -1.0, 0.5])
        moved = move_information(self.information(p, n), origin)
        expected = self.information(p - origin, n)
        assert np.abs(moved - expected).max() < 1e-9 * np.abs(expected).max()
        assert np.abs(moved - self.information(p, n)).max() > 0.1 * np.abs(expected).max()

    def test_there_and_back_and_in_two_steps(self):
        H, (a, b) = self.information(*surface("cone")), np.random.default_rng(0).normal(size=(2, 3))
        assert np.abs(move_information(move_information(H, a), -a) - H).max() < 1e-9
        two = move_information(move_information(H, a), b)
        assert np.abs(two - move_information(H, a + b)).max() < 1e-8

    def test_the_smallest_eigenvalue_depends_on_the_origin(self):
        H = self.information(*surface("room"))
        values = [np.linalg.eigvalsh(move_information(H, np.array([d, 0, 0])))[0] for d in (0, 4)]
        assert values[1] < 0.5 * values[0]

    def test_bad_input(self):
        with pytest.raises(ShapeError, match="rotation before translation"):
            move_information(np.eye(3), np.zeros(3))
