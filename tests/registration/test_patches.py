"""Patches of prepared clouds: what they turn with, and registration with them."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.surfaces import body_view, motion, moved, pose_error, two_views

import pcinv
from pcinv.errors import CheckpointError, InputError
from pcinv.models import registry
from pcinv.models.cylinder_patch import CylinderPatch
from pcinv.models.point_patch import PointPatch
from pcinv.models.registry import weights_file
from pcinv.registration.patches import describe_patches, detail
from pcinv.registration.prepare import prepare
from pcinv.registration.shipped import load_shipped
from pcinv.registration.sight import sights


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return CylinderPatch().eval()


def seen(points, camera, network=None, voxel=0.06):
    cloud = replace(prepare(points, voxel), descriptor=network)
    place = (camera - cloud.origin) / cloud.unit
    (one, _) = next(iter(sights((cloud, cloud), "none"))).pair
    from pcinv.registration.viewpoint import orient_towards

    return replace(one, view_point=place,
                   normals=orient_towards(one.points, one.normals, place))


def test_the_detail_is_finer_and_lies_on_the_same_surface():
    cloud = seen(body_view(0.0, 6000)[0], np.zeros(3))
    fine = detail(cloud)
    assert 1.5 * len(cloud.points) < len(fine.points)
    assert np.abs(fine.points.mean(0)).max() < 0.1
    assert (((cloud.view_point - fine.points) * fine.normals).sum(1) >= -1e-9).all()
    # a body in millimetres is the same cloud
    large = detail(seen(1000 * body_view(0.0, 6000)[0], np.zeros(3), voxel=60.0))
    assert large.density == pytest.approx(fine.density, rel=0.03)


def test_a_closed_shape_hands_its_sides_to_the_detail():
    cloud = seen(body_view(0.0, 6000)[0], np.zeros(3))
    closed = replace(cloud, view_point=None, is_closed=True)
    same = (detail(cloud).normals * detail(closed).normals).sum(1)
    assert (same > 0).sum() > 0.99 * (same != 0).sum() > 1000


def test_descriptors_turn_with_the_cloud():
    """Key points and normals are kept, so that the voxel grid has no part in it."""
    cloud = seen(body_view(0.0, 3000)[0], np.zeros(3))
    one = describe_patches(cloud)
    for seed in range(3):
        R = motion(seed)[:3, :3]
        turned = replace(cloud, points=cloud.points @ R.T, normals=cloud.normals @ R.T,
                         view_point=cloud.view_point @ R.T, raw=cloud.raw @ R.T,
                         origin=R @ cloud.origin)
        assert (describe_patches(turned) - one).norm(dim=1).median() < 0.1  # the fine grid turns
    mirrored = replace(cloud, points=cloud.points * [-1, 1, 1], normals=cloud.normals * [-1, 1, 1],
                       view_point=cloud.view_point * [-1, 1, 1], raw=cloud.raw * [-1, 1, 1],
                       origin=cloud.origin * [-1, 1, 1])
    assert (describe_patches(mirrored) - one).norm(dim=1).median() > 0.2  # the negative control


@pytest.mark.parametrize("scale, kind", [(1.0, None), (1000.0, None), (1.0, PointPatch)])
def test_patches_find_the_truth(network, scale, kind):
    views = two_views(count=4000)
    if kind is not None:
        torch.manual_seed(0)
        network = kind().eval()
    found = pcinv.register(views.source * scale, views.target * scale, method="patch",
                           descriptor=network)
    angle, shift = pose_error(found.transform, views.T_target_source * 1.0) if scale == 1 else (
        pose_error(found.transform, np.block([
            [views.T_target_source[:3, :3], scale * views.T_target_source[:3, 3:]],
            [np.zeros((1, 3)), np.ones((1, 1))]])))
    assert angle < 1 and shift < found.voxel
    assert found.method == "patch" and found.features == "patch"
    assert found.to_dict()["features"] == "patch"


def test_auto_takes_patches_only_where_histograms_leave_a_doubt(network):
    views = two_views()
    easy = pcinv.register(views.source, views.target, descriptor=network)
    assert easy.verdict == "trusted" and easy.features == "fpfh"
    assert not any("patches" in stage.words for stage in easy.stages)
    apart = [body_view(0.0, seed=seed)[0] for seed in (0, 5)]  # two bodies
    hard = pcinv.register(*apart, descriptor=network, view_point="origin")
    assert hard.verdict != "trusted"
    assert any("patches" in stage.words for stage in hard.stages)
    assert sum("for patches" in stage.words for stage in hard.stages) == 1  # a finer voxel too
    asked = pcinv.register(*apart, descriptor=network, view_point="origin", voxel=0.08)
    assert asked.voxel == 0.08 and not any("for patches" in s.words for s in asked.stages)
    fast = pcinv.register(*apart, descriptor=network, view_point="origin", fast=True)
    assert not any("patches" in stage.words for stage in fast.stages)


def test_a_guess_is_the_same_place_at_another_voxel():
    points = body_view(0.0, 3000)[0] + [5.0, 0, 0]
    coarse, fine = (prepare(points, voxel) for voxel in (0.1, 0.05))
    sight = next(iter(sights((coarse, coarse), np.array([5.0, 0, 0]))))
    other = sight.on((fine, fine))
    for place in other.places:
        assert np.allclose(fine.origin + fine.unit * place, [5.0, 0, 0])
    seen_fine = other.prepared()[0]
    assert len(seen_fine.points) > len(coarse.points)
    assert (((seen_fine.view_point - seen_fine.points) * seen_fine.normals).sum(1) >= 0).all()


def test_without_a_view_point_there_are_no_patches(network):
    """Their axes need a side: `none` falls back to features that need none."""
    views = two_views()
    found = pcinv.register(views.source, views.target, method="patch", view_point="none",
                           descriptor=network)
    assert found.features == "sign_free_fpfh"


def test_two_runs_are_equal_bit_for_bit(network):
    views = two_views()
    one, other = (pcinv.register(moved(views.source, motion(1)), views.target, method="patch",
                                 descriptor=network) for _ in range(2))
    assert np.array_equal(one.transform, other.transform) and one.score == other.score


def test_a_network_that_is_no_descriptor_is_named():
    views = two_views()
    with pytest.raises(InputError, match="Linear"):
        pcinv.register(views.source, views.target, method="patch",
                       descriptor=torch.nn.Linear(3, 3))


class TestShipped:
    def test_it_is_read_in_evaluation_mode(self):
        network = load_shipped("cylinder_patch")
        assert not network.training and network.out.weight.dtype == torch.float32
        assert sum(p.numel() for p in network.parameters()) == 170_273

    @pytest.mark.parametrize("data", [None, b"", b"nothing of the kind", b"\x10" + b"\x00" * 30])
    def test_a_damaged_file_is_named(self, tmp_path, monkeypatch, data):
        file = tmp_path / "cylinder_patch.safetensors"
        if data is not None:
            file.write_bytes(data)
        monkeypatch.setattr(registry, "WEIGHTS", tmp_path)
        load_shipped.cache_clear()
        try:
            with pytest.raises(CheckpointError, match=r"install pcinv again|cannot be read"):
                load_shipped("cylinder_patch")
        finally:
            load_shipped.cache_clear()

    def test_the_card_names_this_file(self):
        import hashlib

        card = weights_file("cylinder_patch").with_suffix(".md").read_text()
        assert hashlib.sha256(weights_file("cylinder_patch").read_bytes()).hexdigest() in card
        assert weights_file("cylinder_patch").stat().st_size < 500_000

    def test_it_tells_nothing_of_where_it_was_made(self):
        from safetensors import safe_open

        with safe_open(weights_file("cylinder_patch"), "pt") as stored:
            assert '"root": null' in stored.metadata()["pcinv"]

    def test_it_is_a_weights_file_as_any_other(self):
        loaded = pcinv.load_model(weights_file("cylinder_patch"))
        for name, value in load_shipped("cylinder_patch").state_dict().items():
            assert torch.equal(loaded.model.state_dict()[name].float(), value.float()), name
