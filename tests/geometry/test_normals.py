"""Estimated normals: the formula, what motions leave alone, and what cannot be known."""

import numpy as np
import pytest
import torch
from helpers.clouds import clouds, rotations
from hypothesis import given, settings

import pcinv.geometry.normals as module
from pcinv.errors import InputError, ShapeError, UnknownNameError
from pcinv.geometry.normals import estimate_normals, mesh_normals
from pcinv.geometry.rotation import random_rotation
from pcinv.ops import track_margins

EQUIVARIANCE = {torch.float32: 2e-3, torch.float64: 1e-9}


def blob(generator, dtype=torch.float64, count=2, size=300):
    """Return a bumpy closed surface with some thickness, (B, N, 3)."""
    unit = torch.randn(count, size, 3, generator=generator, dtype=torch.float64)
    unit = torch.nn.functional.normalize(unit, dim=-1)
    bump = 1 + 0.2 * torch.sin(3 * unit[..., :1])
    bump = bump + 0.01 * torch.rand(count, size, 1, generator=generator)
    return (unit * bump * torch.tensor([1.0, 0.8, 0.6])).to(dtype)


def by_hand(xyz, k):
    """Return the axes of the sheet's formula, point by point, in numpy."""
    axes = []
    for x in xyz:
        distance = np.linalg.norm(xyz - x, axis=1)
        near = np.argsort(distance, kind="stable")[:k]
        weight = distance[near].max() - distance[near]
        offset = xyz[near] - x
        axes.append(np.linalg.eigh((weight / weight.sum() * offset.T) @ offset)[1][:, 0])
    return np.stack(axes)


class TestValues:
    @pytest.mark.parametrize("k", [8, 32])
    def test_formula(self, k, generator):
        xyz = blob(generator, count=1)
        found = estimate_normals(xyz, k).normal[0]
        expected = torch.from_numpy(by_hand(xyz[0].numpy(), k))
        assert torch.linalg.cross(found, expected).norm(dim=1).max() < 1e-9

    def test_sphere_is_outward(self, dtype, generator):
        xyz = torch.randn(1, 2_000, 3, generator=generator)
        xyz = torch.nn.functional.normalize(xyz, dim=-1) + 3
        found = estimate_normals(xyz.to(dtype), 16)
        assert found.normal.dtype == dtype and not found.ambiguous.any()
        assert ((found.normal * (xyz - 3)).sum(-1) > 0.99).all()

    def test_tilted_plane_beside_other_points(self, generator):
        plane = torch.rand(1, 200, 3, generator=generator, dtype=torch.float64)
        plane[..., 2] = 0.5 * plane[..., 0]
        xyz = torch.cat([plane, plane.flip(1)[:, :50] - torch.tensor([0.0, 0.0, 100.0])], 1)
        found = estimate_normals(xyz, 8).normal[0, :200]
        expected = torch.tensor([-0.5, 0.0, 1.0], dtype=torch.float64)
        assert (found - expected / expected.norm()).abs().max() < 1e-9

    def test_without_orientation_only_the_signs_differ(self, generator):
        xyz = blob(generator)
        free, turned = estimate_normals(xyz, orient=None).normal, estimate_normals(xyz).normal
        cosine = (free * turned).sum(-1)
        assert (cosine.abs() - 1).abs().max() < 1e-12
        assert cosine.min() < 0 < cosine.max()

    def test_chunks_do_not_matter(self, generator, monkeypatch):
        xyz = blob(generator)
        whole = estimate_normals(xyz, 12)
        monkeypatch.setattr(module, "_CHUNK", 12 * 2 * 7)
        parts = estimate_normals(xyz, 12)
        assert (whole.normal - parts.normal).abs().max() < 1e-12
        assert (whole.gap - parts.gap).abs().max() < 1e-12
        assert torch.equal(whole.ambiguous, parts.ambiguous)

    def test_batch_mates_do_not_matter(self, generator):
        xyz = blob(generator, count=3)
        together = estimate_normals(xyz).normal
        for i in range(3):
            alone = estimate_normals(xyz[i : i + 1]).normal[0]
            assert (alone - together[i]).abs().max() < 1e-12


class TestInvariance:
    def test_rotation_translation_and_order(self, dtype, generator):
        xyz = blob(generator, dtype)
        here = estimate_normals(xyz)
        for _ in range(10):
            rotation = random_rotation(generator=generator, dtype=torch.float64)
            order = torch.randperm(300, generator=generator)
            moved = (xyz.double() @ rotation.T)[:, order] + 0.5
            there = estimate_normals(moved.to(dtype))
            expected = (here.normal.double() @ rotation.T)[:, order]
            assert (there.normal - expected).norm(dim=-1).max() < EQUIVARIANCE[dtype]
            assert not there.ambiguous.any()

    def test_scale(self, generator):
        xyz = blob(generator)
        here = estimate_normals(xyz).normal
        for factor in (1e-6, 1e6):
            assert (estimate_normals(factor * xyz).normal - here).abs().max() < 1e-9

    def test_without_the_sign_rule_some_flip(self, generator):
        xyz = blob(generator)
        rotation = random_rotation(generator=generator, dtype=torch.float64)
        here, there = (estimate_normals(x, orient=None).normal for x in (xyz, xyz @ rotation.T))
        assert (there - here @ rotation.T).norm(dim=-1).max() > 1.9

    @pytest.mark.parametrize("shape", [(5, 5, 5), (6, 4, 3), (7, 7, 1)])
    def test_lattices_with_all_their_ties(self, shape, generator):
        axes = [torch.arange(n, dtype=torch.float64) for n in shape]
        xyz = torch.cartesian_prod(*axes)[None] / 4
        here = estimate_normals(xyz, 16)
        for _ in range(5):
            rotation = random_rotation(generator=generator, dtype=torch.float64)
            order = torch.randperm(xyz.shape[1], generator=generator)
            there = estimate_normals((xyz @ rotation.T)[:, order], 16)
            sound = ~here.ambiguous[:, order] & ~there.ambiguous
            error = (there.normal - (here.normal @ rotation.T)[:, order]).norm(dim=-1)
            assert error[sound].numel() == 0 or error[sound].max() < 1e-9
            assert torch.equal(here.ambiguous[:, order], there.ambiguous)
        # on the planes of symmetry through the centre the two signs are alike
        assert here.ambiguous.all() if 1 in shape else here.ambiguous.float().mean() < 0.4

    @settings(max_examples=60, deadline=None)
    @given(clouds(max_size=200), rotations())
    def test_hostile_clouds(self, xyz, rotation):
        xyz, rotation = torch.from_numpy(xyz)[None], torch.from_numpy(rotation)
        with track_margins() as margins:
            here = estimate_normals(xyz, 16)
        there = estimate_normals(xyz @ rotation.T, 16)
        for found in (here, there):
            assert torch.isfinite(found.normal).all() and (found.gap >= 0).all()
            assert (found.normal.norm(dim=-1) - 1).abs().max() < 1e-12
        # rounding relative to the spread of the cloud, and of its smallest gap where one is small
        spread = (xyz - xyz.mean(1, keepdim=True)).norm(dim=-1).max().clamp_min(1e-300)
        rounding = 1e-15 * float(xyz.abs().max() / spread)
        sound = ~here.ambiguous & ~there.ambiguous & (here.gap > 1e-3)
        if margins.smallest > 1e4 * rounding and sound.any():
            error = (there.normal - here.normal @ rotation.T).norm(dim=-1)[sound]
            assert error.max() < 1e-9 + 1e7 * rounding


class TestDegenerate:
    def test_finite_unit_vectors_in_both_types(self, degenerate, dtype):
        for k in (1, 2, 8, 32):
            found = estimate_normals(degenerate[None].to(dtype), k)
            assert found.normal.shape == (1, *degenerate.shape)
            assert (found.normal.norm(dim=-1) - 1).abs().max() < 1e-6

    @pytest.mark.parametrize("name", ["coplanar", "coincident", "zeros", "one"])
    def test_reports_what_it_cannot_know(self, name, dtype, degenerate_sets):
        assert estimate_normals(degenerate_sets[name][None].to(dtype)).ambiguous.all()

    def test_turned_planes_are_still_reported(self, dtype, generator, degenerate_sets):
        for _ in range(5):
            rotation = random_rotation(generator=generator, dtype=dtype)
            xyz = degenerate_sets["coplanar"].to(dtype) @ rotation.T + 2
            assert estimate_normals(xyz[None]).ambiguous.all()

    def test_lines(self, dtype, generator):
        """A bent wire has its normal across the wire, a straight one nothing but its ends."""
        along = torch.linspace(0, 1, 50, dtype=torch.float64)
        straight = torch.stack([along, 0 * along, 0 * along], 1)
        bent = torch.cat([straight, straight.flip(1)])
        rotation = random_rotation(generator=generator, dtype=torch.float64)
        for xyz, axis in ((straight, [1.0, 0, 0]), (bent, [0, 0, -1.0])):
            found = estimate_normals((xyz @ rotation.T).to(dtype)[None], 8)
            expected = rotation @ torch.tensor(axis, dtype=torch.float64)
            inner = slice(10, 50)  # at the bend it is a corner of a plane, with no side
            assert not found.ambiguous[:, inner].any() and found.gap[:, inner].max() < 1e-5
            assert (found.normal[0, 40].double() - expected).abs().max() < 1e-4

    def test_plane_keeps_its_axis(self, dtype, generator):
        xyz = torch.rand(1, 100, 3, generator=generator).to(dtype)
        xyz[..., 2] = 0
        found = estimate_normals(xyz)
        assert (found.normal[..., 2].abs() - 1).abs().max() < 1e-6
        assert found.ambiguous.all() and (found.gap > 0).all()

    def test_isolated_copies_take_the_direction_from_the_centroid(self):
        corners = torch.tensor([[1.0, 0, 0], [0, 2, 0], [-3, 0, 0], [0, 0, -1]]).double()
        xyz = corners.repeat_interleave(8, 0)[None]
        found = estimate_normals(xyz, 8)
        away = xyz - xyz.mean(1, keepdim=True)
        assert (found.normal - away / away.norm(dim=-1, keepdim=True)).abs().max() < 1e-12
        assert not found.ambiguous.any() and (found.gap == 0).all()

    def test_where_the_centroid_is_in_the_tangent_plane_curvature_decides(self, generator):
        x, y = torch.cartesian_prod(*[torch.linspace(-1, 1, 9).double()] * 2).unbind(1)
        hill = torch.stack([x, y, -(x * x + 0.5 * y * y)], 1)
        height = -float(hill[:, 2].sum()) / 2
        ballast = torch.tensor([[9.0, 0, height], [-9.0, 0, height]], dtype=torch.float64)
        xyz = torch.cat([hill, ballast])[None]  # the centroid is the top of the hill
        for _ in range(5):
            rotation = random_rotation(generator=generator, dtype=torch.float64)
            found = estimate_normals(xyz @ rotation.T, 9)
            assert (found.normal[0, 40] - rotation[:, 2]).abs().max() < 1e-9
            assert not found.ambiguous[0, 40]

    def test_fewer_points_than_neighbours(self, generator):
        xyz = blob(generator, size=10)
        assert torch.equal(estimate_normals(xyz, 32).normal, estimate_normals(xyz, 10).normal)

    def test_margin_is_recorded(self, generator):
        flat = blob(generator) * torch.tensor([1.0, 1, 0])
        for xyz, is_near in ((blob(generator), False), (flat, True)):
            with track_margins() as margins:
                estimate_normals(xyz)
            assert margins.count > 0 and (margins.smallest < 1e-12) is is_near


def test_bad_input():
    good = torch.rand(1, 5, 3)
    for call, kind in (
        (lambda: estimate_normals(good[0]), ShapeError),
        (lambda: estimate_normals(good[:, :0]), InputError),
        (lambda: estimate_normals(good * torch.nan), InputError),
        (lambda: estimate_normals(good, 0), InputError),
        (lambda: estimate_normals(good, orient="viewpoint"), UnknownNameError),
        (lambda: mesh_normals(good, torch.zeros(1, 3).long()), ShapeError),
        (lambda: mesh_normals(good[0], torch.zeros(1, 4).long()), ShapeError),
        (lambda: mesh_normals(good[0], torch.tensor([[0, 1, 2], [0, 1, 5]])), InputError),
        (lambda: mesh_normals(good[0], torch.tensor([[0, 1, -1]])), InputError),
    ):
        with pytest.raises(kind) as caught:
            call()
        assert caught.value.where and caught.value.hint


class TestMesh:
    def corner(self, dtype=torch.float64):
        """Return three faces of a box of sides 1, 2, 3 around the origin corner, outward."""
        vertices = torch.tensor([[0, 0, 0], [1, 0, 0], [0, 2, 0], [0, 0, 3]], dtype=dtype)
        return vertices, torch.tensor([[0, 2, 1], [0, 1, 3], [0, 3, 2]])

    def test_faces_and_area_weighted_vertices(self, dtype, tol):
        found = mesh_normals(*self.corner(dtype))
        assert torch.equal(found.face, -torch.eye(3, dtype=dtype).flip(0)[[0, 1, 2]])
        expected = -torch.tensor([6.0, 3.0, 2.0], dtype=dtype)  # twice the areas
        assert (found.vertex[0] - expected / 7).abs().max() < tol

    def test_turn_with_the_mesh_and_flip_with_the_faces(self, generator):
        vertices, faces = self.corner()
        here = mesh_normals(vertices, faces)
        rotation = random_rotation(generator=generator, dtype=torch.float64)
        there = mesh_normals(vertices @ rotation.T + 1, faces)
        assert (there.face - here.face @ rotation.T).abs().max() < 1e-12
        assert (there.vertex - here.vertex @ rotation.T).abs().max() < 1e-12
        assert torch.equal(mesh_normals(vertices, faces.flip(1)).face, -here.face)

    def test_faces_without_area_and_lonely_vertices_give_zeros(self, dtype):
        vertices, faces = self.corner(dtype)
        vertices = torch.cat([vertices, vertices[1:2] * 2, vertices[:1] + 9]).requires_grad_()
        faces = torch.cat([faces, torch.tensor([[0, 1, 4], [2, 2, 2]])])
        found = mesh_normals(vertices, faces)
        assert (found.face[3:] == 0).all() and (found.vertex[4:] == 0).all()
        assert torch.equal(found.vertex[:4], mesh_normals(*self.corner(dtype)).vertex)
        (found.face.sum() + found.vertex.sum()).backward()
        assert torch.isfinite(vertices.grad).all()

    def test_no_faces(self):
        found = mesh_normals(torch.rand(3, 3), torch.zeros(0, 3).long())
        assert found.face.shape == (0, 3) and (found.vertex == 0).all()
