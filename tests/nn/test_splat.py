"""Pictures of clouds against the formulas written out, and what they do not depend on."""

import math

import numpy as np
import pytest
import torch

from pcinv.errors import UnknownNameError
from pcinv.geometry.pca_frames import PROPER_SIGNS
from pcinv.geometry.rotation import is_rotation, random_rotation
from pcinv.nn import splat as s

SIGNS = torch.diag_embed(torch.tensor(PROPER_SIGNS, dtype=torch.float64))


def cloud(count=60, batch=2, seed=0, dtype=torch.float64):
    """Points in the unit ball with unit normals, and some views."""
    g = torch.Generator().manual_seed(seed)
    normal = torch.nn.functional.normalize(
        torch.randn(batch, count, 3, generator=g, dtype=torch.float64), dim=-1)
    xyz = normal * torch.tensor([0.9, 0.6, 0.3])
    return xyz, normal.to(dtype), random_rotation(batch, 3, generator=g, dtype=torch.float64)


def written_out(xyz, normal, axes, pixels, radius):
    """One picture, pixel by pixel, as the docstring says."""
    picture = np.zeros((2, pixels, pixels))
    x, y, z = (xyz @ axes).T
    shade = np.abs(normal @ axes[:, 2])
    for row in range(pixels):
        for column in range(pixels):
            away = np.hypot((x + 1) / 2 * (pixels - 1) - column,
                            (y + 1) / 2 * (pixels - 1) - (pixels - 1 - row))
            cover = np.clip(radius - away, 0, 1)
            value = cover * (0.1 + 0.45 * (z + 1))
            front = value.max()
            shown = cover * np.maximum(0, 1 - (front - value) / 0.1)
            picture[:, row, column] = front, (shown * shade).sum() / (shown.sum() + 0.1)
    return picture


@pytest.fixture(params=["compiled", "scattered"])
def way(request, monkeypatch):
    """Both ways to draw: the compiled loops, and the one for every device."""
    if request.param == "scattered":
        monkeypatch.setattr(s, "is_fused", lambda tensor: False)
    return request.param


@pytest.mark.parametrize("radius, pixels", [(1.0, 9), (1.5, 16), (2.3, 11), (4.0, 12)])
def test_pictures_are_those_of_the_formulas(way, radius, pixels):
    xyz, normal, axes = cloud()
    found = s.splat(xyz, normal, axes, pixels=pixels, radius=radius)
    assert found.shape == (2, 3, 2, pixels, pixels)
    for b in range(2):
        for v in range(3):
            expected = written_out(*(t.numpy() for t in (xyz[b], normal[b], axes[b, v])),
                                   pixels, radius)
            np.testing.assert_allclose(found[b, v], expected, atol=1e-12)


def test_single_precision_is_near(way):
    xyz, normal, axes = cloud()
    found = s.splat(xyz, normal.float(), axes, pixels=32)
    assert found.dtype == torch.float32
    assert (found - s.splat(xyz, normal, axes, pixels=32)).abs().max() < 1e-5


def test_many_pictures_are_drawn_in_pieces(way, monkeypatch):
    xyz, normal, axes = cloud(batch=8)
    whole = s.splat(xyz, normal, axes, pixels=16)
    monkeypatch.setattr(s, "_CHUNK", 60 * 9 * 5)
    assert torch.equal(s.splat(xyz, normal, axes, pixels=16), whole)
    alone = torch.cat([s.splat(xyz[i : i + 1], normal[i : i + 1], axes[i : i + 1], pixels=16)
                       for i in range(8)])
    assert torch.equal(alone, whole)


def test_order_and_the_sign_of_normals_do_not_matter(way):
    xyz, normal, axes = cloud()
    base = s.splat(xyz, normal, axes, pixels=24)
    p = torch.randperm(60, generator=torch.Generator().manual_seed(1))
    assert (s.splat(xyz[:, p], normal[:, p], axes, pixels=24) - base).abs().max() < 1e-14
    assert torch.equal(s.splat(xyz, -normal, axes, pixels=24), base)
    assert (s.splat(xyz, normal[:, p], axes, pixels=24) - base).abs().max() > 0.1


def test_a_small_move_changes_little_where_a_plain_depth_buffer_jumps(way):
    """Points half way between pixels: rounding puts them into one or the other."""
    pixels = 9
    place = torch.tensor([[2.5, 3.5, 0.2], [4.5, 4.0, -0.3], [6.0, 1.5, 0.4]])
    xyz = torch.stack([place[:, 0] / 4 - 1, place[:, 1] / 4 - 1, place[:, 2]], -1)[None].double()
    normal = torch.tensor([0.6, 0.0, 0.8]).double().expand(1, 3, 3)
    axes = torch.eye(3).double()[None, None]

    def plain(points):
        picture = np.zeros((pixels, pixels))
        for x, y, z in points[0].tolist():
            column, row = (round((c + 1) / 2 * (pixels - 1)) for c in (x, y))
            picture[row, column] = max(picture[row, column], 0.1 + 0.45 * (z + 1))
        return picture

    for move in (1e-9, -1e-9):
        nudged = xyz + move
        change = s.splat(nudged, normal, axes, pixels=pixels) - s.splat(xyz, normal, axes,
                                                                        pixels=pixels)
        assert change.abs().max() < 1e-6
    assert np.abs(plain(xyz + 1e-9) - plain(xyz - 1e-9)).max() > 0.1


def test_the_front_hides_what_is_behind(way):
    side = torch.linspace(-0.5, 0.5, 30).double()
    flat = torch.cartesian_prod(side, side)
    front = torch.cat([flat, torch.full((900, 1), 0.5).double()], 1)
    behind = torch.cat([flat, torch.full((900, 1), -0.5).double()], 1)
    xyz = torch.cat([front, behind])[None]
    normal = torch.cat([torch.tensor([0.0, 0.0, 1.0]).expand(900, 3),
                        torch.tensor([1.0, 0.0, 0.0]).expand(900, 3)]).double()[None]
    axes = torch.stack([torch.eye(3), torch.diag(torch.tensor([1.0, -1, -1]))]).double()[None]
    there, back = s.splat(xyz, normal, axes, pixels=17)[0, :, :, 8, 8]
    # the near one shows, facing us; from behind it is the other, which we see edge on
    assert there[0] == pytest.approx(0.1 + 0.45 * 1.5, abs=0.2) and there[1] > 0.9
    assert back[0] == pytest.approx(float(there[0])) and back[1] < 0.05


def test_what_lies_outside_is_cut_off(way):
    xyz, normal, _ = cloud(batch=1)
    far = torch.tensor([[[5.0, 0.0, 0.0], [0.0, -40.0, 1.0], [1.1, 1.1, 1e6]]]).double()
    both = s.splat(torch.cat([xyz, far], 1), torch.cat([normal, normal[:, :3]], 1),
                   torch.eye(3).double()[None, None], pixels=16)
    alone = s.splat(xyz, normal, torch.eye(3).double()[None, None], pixels=16)
    assert torch.equal(both[..., 2:-2, 2:-2], alone[..., 2:-2, 2:-2])


@pytest.mark.parametrize("count", [6, 12, 20])
def test_cameras_look_from_everywhere_and_signs_only_reorder_them(count):
    found = s.cameras(count)
    assert is_rotation(found, tolerance=1e-12).all()
    views = (SIGNS[:, None] @ found).flatten(0, 1)  # (4 C, 3, 3)
    assert len(views) == max(count, 12)
    back = torch.unique((views[..., 2] * 1e6).round().long(), dim=0)
    assert len(back) == count
    between = views[:, :, 2] @ views[:, :, 2].T
    nearest = between.masked_fill(between > 1 - 1e-9, -1).amax(1)
    assert float(nearest.max() - nearest.min()) < 1e-9
    assert math.degrees(math.acos(float(nearest[0]))) > 40
    for sign in SIGNS:
        moved = sign @ views
        distance = torch.cdist(moved.flatten(1), views.flatten(1))
        assert (distance.amin(1) < 1e-12).all() and len(distance.argmin(1).unique()) == len(views)
    mirrored = torch.diag(torch.tensor([-1.0, 1, 1]).double()) @ views
    assert torch.cdist(mirrored.flatten(1), views.flatten(1)).amin(1).max() > 0.1


def test_other_numbers_of_cameras_are_unknown():
    with pytest.raises(UnknownNameError) as caught:
        s.cameras(10)
    assert "12" in caught.value.hint
