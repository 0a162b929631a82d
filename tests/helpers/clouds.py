"""Hypothesis strategies for hostile point clouds and for rotations, as numpy float64.

    from helpers.clouds import clouds, rotations

    @given(clouds(min_size=4, max_size=128), rotations())
    def test_something(xyz, rotation): ...

The coordinates come from a seeded generator, so that examples are quick to draw and shrink to
small sizes and seeds; `KINDS` may be narrowed with `clouds(kinds=("sphere", "lattice"))`.
"""

import numpy as np
from hypothesis import strategies as st

KINDS = (
    "uniform",
    "sphere",
    "plane",
    "line",
    "lattice",
    "clusters",
    "duplicates",
    "outliers",
    "tiny",
    "huge",
    "far",
)
TIE_FREE = ("uniform", "sphere", "clusters", "outliers", "tiny", "huge")
"""Kinds whose distances are all different, but for unlucky draws and for two points of a pair."""


def make_cloud(kind: str, size: int, seed: int) -> np.ndarray:
    """Return the (size, 3) float64 cloud of this kind and seed."""
    rng = np.random.default_rng(seed)
    xyz = rng.uniform(-1.0, 1.0, (size, 3))
    if kind == "sphere":
        xyz = rng.normal(size=(size, 3))
        xyz /= np.linalg.norm(xyz, axis=1, keepdims=True)
    elif kind == "plane":
        xyz = xyz @ (np.diag([1.0, 1.0, 0.0]) @ haar(rng))
    elif kind == "line":
        xyz = xyz[:, :1] * haar(rng)[0]
    elif kind == "lattice":
        side = int(np.ceil(size ** (1 / 3)))
        xyz = np.stack(np.unravel_index(rng.permutation(side**3)[:size], (side,) * 3), 1) * 0.25
    elif kind == "clusters":
        centres = rng.uniform(-1.0, 1.0, (4, 3))
        xyz = centres[rng.integers(0, 4, size)] + 0.01 * xyz
    elif kind == "duplicates":  # half of the points are copies of the other half
        half = (size + 1) // 2
        xyz = rng.permutation(np.concatenate([xyz[:half], xyz[: size - half]]))
    elif kind == "outliers":
        few = max(1, size // 20)
        xyz[rng.permutation(size)[:few]] *= 1e3
    elif kind == "tiny":
        xyz = xyz * 1e-6
    elif kind == "huge":
        xyz = xyz * 1e6
    elif kind == "far":
        xyz = xyz + rng.choice([1e3, 5e5, 5e6], 3)
    return xyz.astype(np.float64)


def haar(rng: np.random.Generator) -> np.ndarray:
    """Return a 3x3 rotation drawn from the uniform (Haar) distribution."""
    q, r = np.linalg.qr(rng.normal(size=(3, 3)))
    q = q * np.sign(np.diag(r))
    return q if np.linalg.det(q) > 0 else -q


def axis_angle(axis: np.ndarray, angle: float) -> np.ndarray:
    """Return the 3x3 rotation by `angle` (radians) about `axis` (Rodrigues)."""
    x, y, z = axis / np.linalg.norm(axis)
    k = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    return np.eye(3) + np.sin(angle) * k + (1.0 - np.cos(angle)) * (k @ k)


def make_rotation(kind: str, seed: int) -> np.ndarray:
    """Return the 3x3 float64 rotation of this kind and seed."""
    rng = np.random.default_rng(seed)
    random_axis = rng.normal(size=3)
    if kind == "identity":
        return np.eye(3)
    if kind in ("quarter", "half"):  # about a coordinate axis: exact, entries -1, 0, 1
        return np.round(axis_angle(np.eye(3)[seed % 3], np.pi / (2 if kind == "quarter" else 1)))
    if kind == "half_any":
        return axis_angle(random_axis, np.pi)
    if kind == "near_half":
        return axis_angle(random_axis, np.pi - 10.0 ** rng.uniform(-9, -3))
    if kind == "tiny":
        return axis_angle(random_axis, 10.0 ** rng.uniform(-12, -4))
    return haar(rng)


def clouds(
    min_size: int = 1, max_size: int = 512, kinds: tuple[str, ...] = KINDS
) -> st.SearchStrategy[np.ndarray]:
    """Clouds (N, 3) float64 with min_size <= N <= max_size, of every hostile kind."""
    seeds = st.integers(0, 2**32 - 1)
    return st.builds(make_cloud, st.sampled_from(kinds), st.integers(min_size, max_size), seeds)


def rotations() -> st.SearchStrategy[np.ndarray]:
    """Rotations 3x3 float64: Haar, identity, 90°, 180°, near 180°, tiny."""
    kinds = ("haar", "identity", "quarter", "half", "half_any", "near_half", "tiny")
    return st.builds(make_rotation, st.sampled_from(kinds), st.integers(0, 2**32 - 1))
