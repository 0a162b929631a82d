"""Samples of points: greedy and nested, random without repeats, means of voxels."""

import numpy as np
import pytest
import torch
from helpers.clouds import TIE_FREE, clouds, haar, make_cloud, rotations
from hypothesis import given, settings
from hypothesis import strategies as st

from pcinv.errors import InputError, UnknownNameError
from pcinv.ops import farthest_point_sample, greedy, random_sample, track_margins, voxel_sample


def batch(xyz: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(xyz)[None]


def sample(xyz: np.ndarray, m: int, backend: str = "auto") -> np.ndarray:
    """The coordinates of the samples, in order."""
    return xyz[farthest_point_sample(batch(xyz), m, backend=backend)[0].numpy()]


@given(xyz=clouds(max_size=120), part=st.floats(0, 1))
def test_each_sample_is_the_farthest_from_those_before(xyz, part):
    m = max(1, round(part * len(xyz)))
    index = farthest_point_sample(batch(xyz), m)[0].numpy()
    assert len(set(index)) == m
    radius = np.linalg.norm(xyz - xyz.mean(0), axis=1)
    assert radius[index[0]] >= radius.max() * (1 - 1e-8)
    nearest = np.full(len(xyz), np.inf)
    for j in range(1, m):
        nearest = np.minimum(nearest, np.linalg.norm(xyz - xyz[index[j - 1]], axis=1))
        assert nearest[index[j]] >= nearest.max() * (1 - 1e-8) - 1e-15 * radius.max()


@given(xyz=clouds(max_size=150), part=st.floats(0, 1), direct=st.sampled_from([1, 512]))
def test_numba_is_the_reference_index_for_index(xyz, part, direct):
    m = max(1, round(part * len(xyz)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(greedy, "DIRECT", direct)  # 1: rounds, as for large clouds
        patch.setattr(greedy, "LEAF", 8)
        ours = farthest_point_sample(batch(xyz), m, backend="numba")
    assert torch.equal(ours, farthest_point_sample(batch(xyz), m, backend="reference"))


@pytest.mark.parametrize("kind", ["uniform", "lattice", "duplicates", "plane"])
def test_large_clouds_are_sampled_as_the_reference_does(kind):
    xyz = batch(make_cloud(kind, 33_000, 0))
    ours = farthest_point_sample(xyz, 150)
    assert torch.equal(ours, farthest_point_sample(xyz, 150, backend="reference"))


@pytest.mark.parametrize("backend", ["reference", "numba"])
@given(xyz=clouds(max_size=150), seed=st.integers(0, 99))
def test_order_of_points_does_not_matter(backend, xyz, seed):
    m = (len(xyz) + 1) // 2
    shuffled = np.random.default_rng(seed).permutation(xyz)
    np.testing.assert_array_equal(sample(xyz, m, backend), sample(shuffled, m, backend))


@given(xyz=clouds(max_size=80, kinds=("uniform", "lattice", "duplicates", "sphere")))
def test_exact_shifts_do_not_matter(xyz):
    xyz = np.round(xyz * 2**20) / 2**20
    shift = np.array([1000.0, -4096.0, 0.5])
    m = (len(xyz) + 1) // 2
    np.testing.assert_array_equal(sample(xyz, m) + shift, sample(xyz + shift, m))


@given(xyz=clouds(min_size=2, max_size=100, kinds=TIE_FREE), rotation=rotations())
def test_rotation_does_not_matter_where_nothing_ties(xyz, rotation):
    m = (len(xyz) + 1) // 2
    with track_margins() as margins:
        index = farthest_point_sample(batch(xyz), m)
    if margins.smallest > 1e-9:
        assert torch.equal(index, farthest_point_sample(batch(xyz @ rotation.T), m))


def test_margin_tells_a_lattice_from_a_generic_cloud():
    """Negative control: a lattice does change under rotation, and the margin said so."""
    smallest = {}
    for kind in ("lattice", "uniform"):
        xyz = make_cloud(kind, 216, 0)
        turned = xyz @ haar(np.random.default_rng(0)).T
        with track_margins() as margins:
            index = farthest_point_sample(batch(xyz), 60)
        same = torch.equal(index, farthest_point_sample(batch(turned), 60))
        smallest[kind] = margins.smallest
        assert same == (kind == "uniform")
    assert smallest["lattice"] < 1e-12 < 1e-7 < smallest["uniform"]


@given(xyz=clouds(min_size=2, max_size=100), part=st.floats(0, 1))
def test_samples_are_nested(xyz, part):
    few = max(1, round(part * len(xyz)))
    all_of_them = farthest_point_sample(batch(xyz), len(xyz))[0]
    assert sorted(all_of_them.tolist()) == list(range(len(xyz)))
    assert torch.equal(all_of_them[:few], farthest_point_sample(batch(xyz), few)[0])


def test_the_start_is_not_index_zero():
    xyz = torch.tensor([[[0.0, 0, 0], [1, 0, 0], [5, 0, 0], [-1, 0, 0]]])
    assert farthest_point_sample(xyz, 2).tolist() == [[2, 3]]


def test_clouds_of_a_batch_do_not_see_each_other():
    xyz = torch.randn(5, 300, 3)
    together = farthest_point_sample(xyz, 40)
    alone = torch.cat([farthest_point_sample(cloud[None], 40) for cloud in xyz])
    assert torch.equal(together, alone)


def test_scale_does_not_matter():
    xyz = torch.randn(1, 200, 3)
    expected = farthest_point_sample(xyz, 50)
    for scale in (2.0**-60, 2.0**60):
        assert torch.equal(farthest_point_sample(xyz * scale, 50), expected)


def test_a_large_cloud_of_one_sample():
    assert farthest_point_sample(torch.randn(1, 3000, 3), 1).shape == (1, 1)


@pytest.mark.parametrize(
    ("xyz", "m", "words"),
    [
        (torch.zeros(1, 4, 3), 5, "5 samples asked of a cloud of 4"),
        (torch.zeros(1, 4, 3), 0, "m is 0"),
        (torch.full((1, 4, 3), torch.nan), 1, "not finite"),
        (torch.zeros(1, 0, 3), 1, "0 points"),
    ],
)
def test_bad_input_is_a_typed_error(xyz, m, words):
    with pytest.raises(InputError, match=words) as caught:
        farthest_point_sample(xyz, m)
    assert caught.value.where and caught.value.hint
    with pytest.raises(InputError, match=words):
        random_sample(xyz, m, torch.Generator())


def test_unknown_backend():
    with pytest.raises(UnknownNameError, match="numba"):
        farthest_point_sample(torch.zeros(1, 4, 3), 1, backend="nunba")


def test_random_samples_are_seeded_nested_and_fair():
    xyz = torch.randn(1, 10, 3).expand(4000, 10, 3)
    index = random_sample(xyz, 3, torch.Generator().manual_seed(0))
    assert torch.equal(index, random_sample(xyz, 3, torch.Generator().manual_seed(0)))
    assert torch.equal(index[:, :2], random_sample(xyz, 2, torch.Generator().manual_seed(0)))
    assert (index.sort(1).values.diff(dim=1) > 0).all()
    counts = torch.bincount(index.reshape(-1), minlength=10)
    assert (counts - 1200).abs().max() < 150  # 5 standard deviations


@given(xyz=clouds(max_size=150, kinds=("uniform", "plane", "clusters", "duplicates", "outliers")),
       size=st.floats(0.01, 3.0), seed=st.integers(0, 99))
@settings(max_examples=60)
def test_voxels_hold_the_means_of_their_points(xyz, size, seed):
    found = voxel_sample(torch.from_numpy(xyz), size)
    assert int(found.counts.sum()) == len(xyz) and len(found.xyz) == len(found.counts)
    for v in range(len(found.xyz)):
        mine = xyz[found.inverse.numpy() == v]
        assert len(mine) == found.counts[v]
        np.testing.assert_allclose(found.xyz[v], mine.mean(0), atol=1e-9)
        assert np.ptp(mine, axis=0).max() <= size * (1 + 1e-6)
    shuffled = voxel_sample(torch.from_numpy(np.random.default_rng(seed).permutation(xyz)), size)
    np.testing.assert_allclose(shuffled.xyz, found.xyz, atol=1e-9)


def test_voxels_move_with_the_cloud_but_do_not_turn_with_it():
    xyz = torch.from_numpy(make_cloud("uniform", 200, 0))
    found = voxel_sample(xyz, 0.5)
    moved = voxel_sample(xyz + torch.tensor([1024.0, -512.0, 0.25]), 0.5)
    assert torch.equal(moved.inverse, found.inverse)
    turned = voxel_sample(xyz @ torch.from_numpy(haar(np.random.default_rng(0))).T, 0.5)
    assert not torch.equal(turned.counts.sort().values, found.counts.sort().values)


def test_a_lattice_of_voxels_falls_on_their_edges_and_the_margin_says_so():
    xyz = torch.from_numpy(make_cloud("lattice", 216, 0))  # 6 a side: centroid between two points
    with track_margins() as margins:
        voxel_sample(xyz, 0.125)
    assert margins.smallest < 1e-9
    with track_margins() as margins:
        voxel_sample(xyz, 0.1)
    assert margins.smallest > 1e-3


def test_voxel_far_too_small():
    with pytest.raises(InputError, match="voxel far too small") as caught:
        voxel_sample(torch.tensor([[0.0, 0, 0], [1e6, 0, 0]]), 1e-3)
    assert "choose a size" in caught.value.hint
    with pytest.raises(InputError, match="size is 0"):
        voxel_sample(torch.zeros(2, 3), 0.0)
