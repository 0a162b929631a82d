"""Nearest neighbours: exact, independent of order, position and pose, and honest about ties."""

import numpy as np
import pytest
import torch
from helpers.clouds import TIE_FREE, clouds, haar, make_cloud, rotations
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial import cKDTree

from pcinv.errors import InputError, ShapeError, UnknownNameError
from pcinv.ops import ball_query, knn, reference, track_margins, trees
from pcinv.ops.order import centre

FAR_APART = torch.tensor([[[-1e200, 0, 0], [1e200, 0, 0]]], dtype=torch.float64)
BACKENDS = ("reference", "scipy")


def batch(xyz: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(xyz)[None]


def neighbours(xyz: np.ndarray, k: int, backend: str = "auto") -> np.ndarray:
    """The coordinates of the neighbours of each point, (N, k, 3)."""
    return xyz[knn(batch(xyz), batch(xyz), k, backend=backend).index[0].numpy()]


@pytest.mark.parametrize("backend", BACKENDS)
@given(xyz=clouds(max_size=80), k=st.integers(1, 12))
def test_distances_are_those_of_brute_force(backend, xyz, k):
    k = min(k, len(xyz))
    found = knn(batch(xyz), batch(xyz), k, backend=backend)
    all_dist2 = np.square(xyz[:, None] - xyz[None]).sum(-1)
    expected = np.sort(all_dist2, axis=1)[:, :k]
    scale = max(np.ptp(xyz, axis=0).max(), 1e-300) ** 2
    np.testing.assert_allclose(found.dist2[0], expected, rtol=2e-9, atol=1e-15 * scale)
    own = np.take_along_axis(all_dist2, found.index[0].numpy(), axis=1)
    np.testing.assert_allclose(found.dist2[0], own, rtol=2e-9, atol=1e-15 * scale)
    assert all(len(set(row)) == k for row in found.index[0].tolist())


@pytest.mark.parametrize("backend", BACKENDS)
@given(xyz=clouds(max_size=100), seed=st.integers(0, 99), k=st.integers(1, 10))
def test_order_of_points_does_not_matter(backend, xyz, seed, k):
    k = min(k, len(xyz))
    shuffle = np.random.default_rng(seed).permutation(len(xyz))
    np.testing.assert_array_equal(
        neighbours(xyz, k, backend)[shuffle], neighbours(xyz[shuffle], k, backend)
    )


def test_order_would_matter_without_the_tie_rule():
    """Negative control: on a lattice, scipy's own answer depends on the order of the points."""
    xyz = make_cloud("lattice", 216, 0)
    shuffle = np.random.default_rng(1).permutation(len(xyz))
    plain = xyz[cKDTree(xyz).query(xyz, 5)[1]][shuffle]
    shuffled = xyz[shuffle][cKDTree(xyz[shuffle]).query(xyz[shuffle], 5)[1]]
    assert (plain != shuffled).any()


@given(xyz=clouds(max_size=80, kinds=("uniform", "lattice", "duplicates", "sphere")))
def test_exact_shifts_do_not_matter(xyz):
    xyz = np.round(xyz * 2**20) / 2**20  # so that the sum is exact
    shift = np.array([1000.0, -4096.0, 0.5])
    k = min(6, len(xyz))
    np.testing.assert_array_equal(neighbours(xyz, k) + shift, neighbours(xyz + shift, k))


@given(xyz=clouds(min_size=3, max_size=100, kinds=TIE_FREE), rotation=rotations())
def test_rotation_does_not_matter_where_nothing_ties(xyz, rotation):
    turned = xyz @ rotation.T
    k = min(8, len(xyz))
    with track_margins() as margins:
        index = knn(batch(xyz), batch(xyz), k).index
    if margins.smallest > 1e-9:
        other = knn(batch(turned), batch(turned), k).index
        assert torch.equal(index.sort(-1).values, other.sort(-1).values)


def test_margin_tells_a_lattice_from_a_generic_cloud():
    with track_margins() as lattice:
        xyz = batch(make_cloud("lattice", 216, 0))
        knn(xyz, xyz, 5)
    with track_margins() as generic:
        xyz = batch(make_cloud("uniform", 216, 0))
        knn(xyz, xyz, 5)
    assert lattice.smallest < 1e-12 < 1e-7 < generic.smallest < 1.0


def test_margin_is_the_gap_over_the_radius():
    xyz = torch.tensor([[[-2.0, 0, 0], [0.0, 0, 0], [0.5, 0, 0], [1.5, 0, 0]]], dtype=torch.float64)
    with track_margins() as margins:
        knn(xyz[:, 1:2], xyz, 2)  # 0 itself, then 0.5; the first left out is at 1.5
    assert margins.smallest == pytest.approx((1.5 - 0.5) / 2.0)


def test_lattice_under_rotation_agrees_as_far_as_the_centroid_can_tell():
    """The ties that remain are between points equally far from the query and from the centroid."""
    xyz = make_cloud("lattice", 300, 3)[:250]  # no longer symmetric
    turned = xyz @ haar(np.random.default_rng(0)).T
    a, b = (knn(batch(c), batch(c), 7).index[0].sort(-1).values for c in (xyz, turned))
    plain_a, plain_b = (np.sort(cKDTree(c).query(c, 7)[1], axis=1) for c in (xyz, turned))
    ours = (a == b).all(-1).double().mean()
    assert ours > 0.9 > (plain_a == plain_b).all(-1).mean()


@pytest.mark.parametrize("backend", BACKENDS)
def test_far_from_the_origin_all_sets_are_right(backend):
    """At 1,000 m, plain torch.cdist in float32 gets no 16-neighbour set right."""
    near = np.random.default_rng(0).uniform(-1, 1, (500, 3)).astype(np.float32)
    far = torch.from_numpy(near + np.float32(1000.0))[None]
    exact = torch.from_numpy(cKDTree(far[0].double()).query(far[0].double(), 16)[1])
    index = knn(far, far, 16, backend=backend).index[0]
    assert torch.equal(index.sort(-1).values, exact.sort(-1).values)
    plain = torch.cdist(far[0], far[0]).topk(16, largest=False).indices
    assert (plain.sort(-1).values == exact.sort(-1).values).all(-1).double().mean() < 0.1


def test_a_query_is_its_own_first_neighbour():
    xyz = torch.randn(3, 50, 3)
    assert torch.equal(knn(xyz, xyz, 4).index[..., 0], torch.arange(50).expand(3, 50))


def test_clouds_of_a_batch_do_not_see_each_other():
    a, b = torch.randn(2, 40, 3).unbind()
    both = knn(torch.stack([a, b]), torch.stack([a, b + 100]), 5).index
    assert torch.equal(both[0], knn(a[None], a[None], 5).index[0])


@pytest.mark.parametrize("threads", [1, 2])
def test_threads_do_not_change_the_answer(threads):
    before = torch.get_num_threads()
    xyz = torch.randn(3, 700, 3)
    expected = knn(xyz, xyz, 9).index
    try:
        torch.set_num_threads(threads)
        assert torch.equal(knn(xyz, xyz, 9).index, expected)
        assert torch.equal(knn(xyz[:1], xyz[:1], 9).index, expected[:1])
    finally:
        torch.set_num_threads(before)


def test_every_point_ties_with_every_other_from_the_centre():
    """A tie group of the size of the cloud: 2,000 points on a circle, and their centre."""
    angle = np.arange(2000) * np.pi / 1000
    circle = np.stack([np.cos(angle), np.sin(angle), np.zeros(2000)], 1)
    xyz = np.concatenate([np.zeros((1, 3)), circle])
    shuffle = np.random.default_rng(0).permutation(2000)
    moved = np.concatenate([np.zeros((1, 3)), circle[shuffle]])
    for backend in BACKENDS:
        a, b = (batch(c)[0][knn(batch(c)[:, :1], batch(c), 9, backend=backend).index[0, 0]]
                for c in (xyz, moved))
        assert torch.equal(a, b)


def test_heavy_duplication_is_thinned_and_stays_exact():
    rng = np.random.default_rng(0)
    some = rng.normal(size=(3000, 3))
    xyz = rng.permutation(np.concatenate([some, np.zeros((3000, 3))]))  # as zero padding does
    assert len(xyz) > trees.MIN_THINNED
    found = knn(batch(xyz[:200]), batch(xyz), 5)
    expected = cKDTree(xyz).query(xyz[:200], 5)[0] ** 2
    np.testing.assert_allclose(found.dist2[0], expected, atol=1e-12)
    assert all(len(set(row)) == 5 for row in found.index[0].tolist())


def test_reference_in_chunks_is_the_reference():
    xyz, _ = centre(torch.randn(2, 90, 3), torch.randn(2, 90, 3))
    whole = reference.knn(xyz, xyz, 4)
    small = reference.knn(xyz, xyz, 4, max_bytes=reference.BYTES_A_PAIR * 90 * 7)
    assert torch.equal(whole[1], small[1]) and torch.equal(whole[0], small[0])
    many, _ = centre(torch.randn(5, 90, 3), torch.randn(5, 90, 3))
    alone = [reference.knn(cloud[None], cloud[None], 4)[1] for cloud in many]
    for pairs in (90 * 90 * 5, 90 * 90 * 2, 90 * 100):  # all at once, by two, one and a piece
        found = reference.knn(many, many, 4, max_bytes=reference.BYTES_A_PAIR * pairs)[1]
        assert torch.equal(found, torch.cat(alone))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_every_float_type_is_taken(dtype):
    xyz = torch.randn(1, 30, 3).to(dtype)
    found = knn(xyz, xyz, 3)
    assert found.dist2.dtype == dtype and found.index.dtype == torch.int64


def test_gradients_stop():
    xyz = torch.randn(1, 10, 3, requires_grad=True)
    assert not knn(xyz, xyz, 3).dist2.requires_grad


@given(xyz=clouds(min_size=2, max_size=80), share=st.floats(0.05, 1.5))
def test_ball_is_the_near_part_of_the_neighbours(xyz, share):
    radius = share * float(np.linalg.norm(xyz - xyz.mean(0), axis=1).max()) + 1e-12
    k = min(8, len(xyz))
    index, mask = ball_query(batch(xyz), batch(xyz), radius, k)
    assert torch.equal(index, knn(batch(xyz), batch(xyz), k).index)
    dist = np.linalg.norm(xyz[:, None] - xyz[index[0].numpy()], axis=-1)
    assert (dist[mask[0].numpy()] <= radius * (1 + 1e-8)).all()
    assert (dist[~mask[0].numpy()] >= radius * (1 - 1e-8)).all()
    assert mask[..., 0].all()  # the point itself


def test_a_point_at_the_radius_is_within_in_every_pose():
    xyz = np.array([[0.0, 0, 0], [0.1, 0.2, 0.2], [3, 0, 0]])  # 0.3 from the first
    for seed in range(20):
        turned = xyz @ haar(np.random.default_rng(seed)).T
        _, mask = ball_query(batch(turned)[:, :1], batch(turned), 0.3, 3)
        assert mask[0, 0].tolist() == [True, True, False]


def test_ball_records_how_near_a_point_is_to_the_radius():
    xyz = torch.tensor([[[0.0, 0, 0], [1.0, 0, 0]]], dtype=torch.float64)
    with track_margins() as margins:
        ball_query(xyz[:, :1], xyz, 0.9, 2)
    assert margins.smallest == pytest.approx(0.1 / 0.9)


@pytest.mark.parametrize(
    ("query", "points", "k", "error", "words"),
    [
        (torch.zeros(1, 4, 3), torch.zeros(1, 4, 3), 5, InputError, "5 neighbours .* 4 points"),
        (torch.zeros(1, 4, 3), torch.zeros(1, 4, 3), 0, InputError, "k is 0"),
        (torch.zeros(2, 4, 3), torch.zeros(1, 4, 3), 1, ShapeError, "2 clouds .* for 1"),
        (torch.zeros(1, 4, 2), torch.zeros(1, 4, 3), 1, ShapeError, r"\(1, 4, 2\)"),
        (torch.zeros(1, 4, 3), torch.zeros(1, 0, 3), 1, InputError, "0 points"),
        (torch.full((1, 4, 3), torch.nan), torch.zeros(1, 4, 3), 1, InputError, "not finite"),
        (torch.zeros(1, 4, 3), torch.full((1, 4, 3), torch.inf), 1, InputError, "not finite"),
        (torch.zeros(1, 2, 3).double(), FAR_APART, 1, InputError, "rescale"),
        (FAR_APART, torch.zeros(1, 2, 3).double(), 1, InputError, "rescale"),
    ],
)
def test_bad_input_is_a_typed_error(query, points, k, error, words):
    with pytest.raises(error, match=words) as caught:
        knn(query, points, k)
    assert caught.value.where and caught.value.hint


def test_unknown_backend_names_the_nearest():
    with pytest.raises(UnknownNameError, match="scipy"):
        knn(torch.zeros(1, 4, 3), torch.zeros(1, 4, 3), 1, backend="scypi")


def test_bad_radius():
    with pytest.raises(InputError, match="radius is nan"):
        ball_query(torch.zeros(1, 4, 3), torch.zeros(1, 4, 3), float("nan"), 1)
