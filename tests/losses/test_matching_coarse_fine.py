"""Losses of coarse-to-fine matching, against loops. Numbers are those of the list of promises."""

import math

import pytest
import torch
import torch.nn.functional as F

from pcinv.errors import InputError, ShapeError
from pcinv.losses.matching_coarse_fine import circle_loss, patch_overlaps, point_labels, point_loss


def unit(rows, seed, columns=6):
    g = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(rows, columns, generator=g, dtype=torch.float64), dim=1)


def patches(count, size=7, seed=0):
    """Small patches in a small room, some points missing."""
    g = torch.Generator().manual_seed(seed)
    middle = 0.3 * torch.rand(count, 1, 3, generator=g, dtype=torch.float64)
    points = middle + 0.1 * torch.rand(count, size, 3, generator=g, dtype=torch.float64)
    mask = torch.rand(count, size, generator=g) < 0.7
    mask[0] = False
    return points, mask


def overlap_by_loop(a, in_a, b, in_b, radius):
    shares = []
    for p, in_p, q, in_q in ((a, in_a, b, in_b), (b, in_b, a, in_a)):
        own, other = p[in_p], q[in_q]
        hits = [any(float((x - y).norm()) < radius for y in other) for x in own]
        if not hits:
            return 0.0
        shares.append(sum(hits) / len(hits))
    return sum(shares) / 2


def circle_by_loop(f, g, overlap):
    sides = []
    for one, other, o in ((f, g, overlap), (g, f, overlap.T)):
        losses = []
        for i in range(len(one)):
            pull, push = 0.0, 0.0
            if not ((o[i] > 0.1).any() and (o[i] == 0).any()):
                continue
            for j in range(len(other)):
                d, w = float((one[i] - other[j]).norm()), float(o[i, j])
                pull += math.exp(24 * (d - 0.1) * max(0, d - 0.1) * math.sqrt(w) if w > 0.1 else 0)
                push += math.exp(24 * (1.4 - d) * max(0, 1.4 - d) if w == 0 else 0)
            losses.append(math.log1p(math.exp(math.log(pull) + math.log(push))) / 24)
        sides.append(sum(losses) / len(losses))
    return sum(sides) / 2


def overlaps(seed=0):
    g = torch.Generator().manual_seed(seed)
    o = torch.rand(5, 8, generator=g, dtype=torch.float64)
    return torch.where(o < 0.5, 0.0, torch.where(o < 0.6, 0.05, o - 0.4))


def test_overlaps_against_a_loop():
    (a, in_a), (b, in_b) = patches(6), patches(5, seed=1)
    got = patch_overlaps(a, in_a, b, in_b, 0.05)
    expected = [[overlap_by_loop(a[i], in_a[i], b[j], in_b[j], 0.05) for j in range(5)]
                for i in range(6)]
    assert got.tolist() == [pytest.approx(row, abs=1e-12) for row in expected]
    assert not got[0].any() and (got > 0).sum() >= 4 and (got == 0).sum() > 12


def test_a_patch_overlaps_itself_and_no_distant_one():
    points, mask = patches(4)
    got = patch_overlaps(points[1:], mask[1:], points[1:], mask[1:])
    assert got.diagonal().tolist() == [1.0] * 3
    assert not patch_overlaps(points, mask, points + 5, mask).any()


def test_the_sides_swap():
    (a, in_a), (b, in_b) = patches(6), patches(5, seed=1)
    there, back = patch_overlaps(a, in_a, b, in_b), patch_overlaps(b, in_b, a, in_a)
    assert torch.allclose(there, back.T)
    f, g, o = unit(5, 0), unit(8, 1), overlaps()
    assert float(circle_loss(f, g, o)) == pytest.approx(float(circle_loss(g, f, o.T)), abs=1e-12)


def test_labels_against_a_loop():
    (a, in_a), (b, in_b) = patches(5), patches(5, seed=0)
    b = b + 0.03
    b[3] += 1
    got = point_labels(a, in_a, b, in_b, 0.06)
    for p in range(5):
        near = [[bool(in_a[p, i] and in_b[p, j] and (a[p, i] - b[p, j]).norm() < 0.06)
                 for j in range(7)] for i in range(7)]
        assert got[p, :-1, :-1].tolist() == near
        assert got[p, :-1, -1].tolist() == [bool(in_a[p, i]) and not any(near[i]) for i in range(7)]
        assert got[p, -1, :-1].tolist() == [
            bool(in_b[p, j]) and not any(row[j] for row in near) for j in range(7)]
        assert not got[p, -1, -1]
    assert got[:, :-1, :-1].sum() > 5 and got[:, :-1, -1].any()


def test_circle_loss_against_a_loop():
    for seed in range(3):
        f, g, o = unit(5, seed), unit(8, seed + 9), overlaps(seed)
        assert float(circle_loss(f, g, o)) == pytest.approx(circle_by_loop(f, g, o), abs=1e-9)


def test_circle_loss_falls_towards_the_right_answer_and_rises_towards_the_wrong_one():
    f, o = torch.eye(6, dtype=torch.float64), torch.eye(6, dtype=torch.float64)
    right, wrong = circle_loss(f, f, o), circle_loss(f, f.roll(1, 0), o)
    assert float(right) < 0.2 < 0.5 < float(wrong)
    # more overlap, more loss for the same mistake
    assert float(circle_loss(f, f.roll(1, 0), 0.2 * o)) < float(wrong)


def test_pairs_with_a_little_overlap_do_not_count():
    f = unit(4, 0)
    g = F.normalize(f[:1] + unit(4, 1), dim=1).requires_grad_()
    o = torch.eye(4, dtype=torch.float64)
    o[0, 1] = 0.05
    circle_loss(f[:1], g, o[:1]).backward()
    assert not g.grad[1].any() and g.grad[0].any() and g.grad[2].any()


def test_circle_loss_is_safe_at_equal_descriptors():
    f = unit(4, 0).requires_grad_()
    circle_loss(f, f.detach().clone(), torch.eye(4, dtype=torch.float64)).backward()
    assert torch.isfinite(f.grad).all()


def test_point_loss_against_a_loop():
    g = torch.Generator().manual_seed(0)
    z = -torch.rand(3, 5, 4, generator=g, dtype=torch.float64)
    labels = torch.rand(3, 5, 4, generator=g) < 0.3
    picked = [-float(z[i]) for i in map(tuple, labels.nonzero().tolist())]
    assert float(point_loss(z, labels)) == pytest.approx(sum(picked) / len(picked), abs=1e-12)


@pytest.mark.parametrize("overlap", [0.0, 0.05, 1.0])
def test_9_nothing_to_learn_from_is_a_loss_of_zero_with_finite_gradients(overlap):
    """No positives, nothing that counts, no negatives."""
    f, g = unit(4, 0).requires_grad_(), unit(5, 1)
    loss = circle_loss(f, g, torch.full((4, 5), overlap, dtype=torch.float64))
    loss.backward()
    assert float(loss) == 0 and not f.grad.any()
    z = torch.full((2, 3, 3), -1e6, dtype=torch.float64, requires_grad=True)
    loss = point_loss(z, torch.zeros(2, 3, 3, dtype=torch.bool))
    loss.backward()
    assert float(loss) == 0 and not z.grad.any()
    assert float(point_loss(z[:0], torch.zeros(0, 3, 3, dtype=torch.bool))) == 0
    empty = torch.zeros(0, 5, 3, dtype=torch.float64)
    assert patch_overlaps(empty, empty[..., 0] > 0, empty, empty[..., 0] > 0).shape == (0, 0)


def test_9_with_one_positive_the_loss_is_not_zero():
    """Negative control."""
    o = torch.zeros(4, 5, dtype=torch.float64)
    o[0, 0] = 0.5
    assert float(circle_loss(unit(4, 0), unit(5, 1), o)) > 0.1


def test_bad_arguments_are_named():
    (a, mask), f = patches(3), unit(3, 0)
    o = torch.zeros(3, 3, dtype=torch.float64)
    for error, where, call in (
        (ShapeError, "target", lambda: patch_overlaps(a[0], mask, a, mask)),
        (ShapeError, "source", lambda: patch_overlaps(a, mask, a, mask[:, :2])),
        (InputError, "radius", lambda: patch_overlaps(a, mask, a, mask, 0.0)),
        (InputError, "source", lambda: point_labels(a, mask, a * torch.nan, mask)),
        (ShapeError, "overlap", lambda: circle_loss(f, f, o[:2])),
        (ShapeError, "overlap", lambda: circle_loss(f, f[:, :2], o)),
        (InputError, "target", lambda: circle_loss(f * torch.inf, f, o)),
        (ShapeError, "labels", lambda: point_loss(o[None], (o > 0)[None, :2])),
    ):
        with pytest.raises(error) as caught:
            call()
        assert caught.value.where == where and caught.value.hint
