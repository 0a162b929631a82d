"""Heads on the vector of a cloud. Numbers in names are those of the list of promises."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from pcinv.errors import ConfigError
from pcinv.losses.nested import nested_cross_entropy
from pcinv.nn.embedding_heads import (
    MatryoshkaHead,
    MatryoshkaOptions,
    RelativeHead,
    RelativeOptions,
    relative,
)

NESTING = (8, 16, 32, 64, 128, 256, 512)


def vectors(count=6, width=32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, width, generator=generator, dtype=torch.float64)


class TestMatryoshka:
    @pytest.mark.parametrize("efficient, count", [(False, 40_920), (True, 20_520)])
    def test_12_parameter_counts(self, efficient, count):
        head = MatryoshkaHead(512, 40, MatryoshkaOptions(efficient=efficient))
        assert head.nesting == NESTING
        assert sum(p.numel() for p in head.parameters()) == count

    @pytest.mark.parametrize("efficient", [False, True])
    def test_12_a_prefix_does_not_see_what_comes_after_it(self, efficient):
        head = MatryoshkaHead(32, 5, MatryoshkaOptions(efficient=efficient)).double()
        for number, m in enumerate(head.nesting):
            z = vectors().requires_grad_()
            head.prefixes(z)[:, number].sum().backward()
            assert torch.all(z.grad[:, m:] == 0) and torch.all(z.grad[:, :m] != 0)

    @pytest.mark.parametrize("efficient", [False, True])
    def test_logits_are_those_of_linear_layers_on_slices(self, efficient):
        head = MatryoshkaHead(32, 5, MatryoshkaOptions(efficient=efficient)).double()
        z, logits = vectors(), head.prefixes(vectors())
        assert logits.shape == (6, 3, 5)
        for number, m in enumerate(head.nesting):
            layer = head.linears[0 if efficient else number]
            expected = z[:, :m].numpy() @ layer.weight.detach().numpy()[:, :m].T \
                + layer.bias.detach().numpy()
            torch.testing.assert_close(logits[:, number], torch.from_numpy(expected),
                                       rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(head(z), logits[:, -1], rtol=1e-12, atol=1e-12)

    def test_12_the_loss_is_the_weighted_sum_over_prefixes(self):
        head = MatryoshkaHead(32, 5, MatryoshkaOptions(weights=(1.0, 0.5, 2.0))).double()
        target = torch.tensor([0, 1, 2, 3, 4, 0])
        logits = head.prefixes(vectors())
        each = [F.cross_entropy(logits[:, g], target, reduction="none", label_smoothing=0.1)
                for g in range(3)]
        loss = nested_cross_entropy(logits, target, head.weights, 0.1)
        torch.testing.assert_close(loss, each[0] + 0.5 * each[1] + 2 * each[2])
        plain = nested_cross_entropy(logits, target, torch.ones(3), 0.1)
        torch.testing.assert_close(plain, sum(each))
        assert not torch.allclose(plain, loss)

    @pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
    def test_12_weights_of_ones_own_work_on_a_gpu(self):
        head = MatryoshkaHead(32, 5, MatryoshkaOptions(weights=(1.0, 0.5, 2.0))).cuda()
        z, target = vectors().float().cuda(), torch.tensor([0, 1, 2, 3, 4, 0]).cuda()
        loss = nested_cross_entropy(head.prefixes(z), target, head.weights)
        assert loss.device.type == "cuda" and torch.isfinite(loss).all()

    def test_weights_move_with_the_head_and_are_no_weight_of_the_file(self):
        head = MatryoshkaHead(32, 5, MatryoshkaOptions(weights=(1.0, 0.5, 2.0)))
        assert head.double().weights.dtype == torch.float64
        assert "weights" not in head.state_dict()

    @pytest.mark.parametrize("width, nesting", [(8, (8,)), (9, (8, 9)), (100, (8, 16, 32, 64, 100)),
                                                (4, (4,))])
    def test_prefixes_of_widths_that_are_no_power_of_two(self, width, nesting):
        assert MatryoshkaHead(width, 3).nesting == nesting

    @pytest.mark.parametrize("options", [
        {"nesting": (8, 16)}, {"nesting": (16, 8, 32)}, {"nesting": (0, 32)}, {"nesting": ()},
        {"nesting": (8, 8, 32)}, {"nesting": (8.0, 32)}, {"weights": (1.0,)},
        {"weights": (1.0, -1.0, 1.0)}, {"weights": (1.0, "2", 1.0)},
        {"weights": (1.0, float("nan"), 1.0)}])
    def test_prefixes_and_weights_that_do_not_fit_are_told(self, options):
        with pytest.raises(ConfigError) as caught:
            MatryoshkaHead(32, 5, MatryoshkaOptions(**options))
        assert caught.value.where == f"model.head_options.{next(iter(options))}"


class TestRelative:
    def test_10_orthogonal_maps_and_scales_change_nothing(self):
        z, anchors = vectors(), vectors(10, seed=1)
        turn = torch.linalg.qr(vectors(32, seed=2))[0]
        r = relative(z, anchors)
        torch.testing.assert_close(relative(3.7 * z @ turn, 0.2 * anchors @ turn), r,
                                   rtol=0, atol=1e-12)
        single = relative(3.7 * (z @ turn).float(), 0.2 * (anchors @ turn).float())
        assert float((single - r).abs().max()) < 1e-5
        skew = vectors(32, seed=3)  # negative control: a linear map that is not orthogonal
        assert float((relative(z @ skew, anchors @ skew) - r).abs().max()) > 0.05
        assert float((relative(z @ turn, anchors) - r).abs().max()) > 0.05

    def test_10_the_order_of_anchors_is_the_order_of_columns(self):
        z, anchors = vectors(), vectors(10, seed=1)
        order = torch.randperm(10, generator=torch.Generator().manual_seed(4))
        torch.testing.assert_close(relative(z, anchors[order]), relative(z, anchors)[:, order],
                                   rtol=0, atol=1e-15)

    def test_cosines_of_a_plain_computation(self):
        z, anchors = vectors(), vectors(10, seed=1)
        expected = [[float(a @ b / (a.norm() * b.norm())) for b in anchors] for a in z]
        torch.testing.assert_close(relative(z, anchors), torch.tensor(expected).double(),
                                   rtol=0, atol=1e-6)
        assert torch.all(relative(torch.zeros(1, 32).double(), anchors) == 0)

    def make(self, share=3, **options):
        head = RelativeHead(32, 5, 16, RelativeOptions(anchors=10, share=share, **options))
        head.encoded.copy_(vectors(10, seed=1))
        return head.double()

    def test_layernorm_is_a_choice(self):
        assert isinstance(self.make().norm, nn.LayerNorm)
        head = self.make(layernorm=False, centred=False)
        expected = relative(vectors(), head.encoded) @ head.linear.weight.T + head.linear.bias
        torch.testing.assert_close(head(vectors()), expected)

    @pytest.mark.parametrize("centred", [True, False])
    def test_10_logits_too_do_not_change(self, centred):
        head, twin = self.make(centred=centred), self.make(centred=centred)
        twin.load_state_dict(head.state_dict())
        turn = torch.linalg.qr(vectors(32, seed=2))[0]
        twin.encoded.copy_(0.2 * head.encoded @ turn)
        torch.testing.assert_close(twin(0.2 * vectors() @ turn), head(vectors()),
                                   rtol=0, atol=1e-12)

    def test_from_their_mean_like_vectors_are_told_apart(self):
        z, far = vectors(), 100.0
        head, plain = (self.make(centred=choice) for choice in (True, False))
        for one in (head, plain):
            one.encoded += far
        spread, hardly = (one.cosines(z + far, one.encoded).std(1) for one in (head, plain))
        assert float(spread.min()) > 0.1 and float(hardly.max()) < 1e-3
        expected = relative(z - vectors(10, seed=1).mean(0),
                            vectors(10, seed=1) - vectors(10, seed=1).mean(0))
        torch.testing.assert_close(head.cosines(z + far, head.encoded), expected)

    def test_anchors_take_turns(self):
        head = self.make()
        seen = []
        for step in range(4):
            rows = head.next_rows()
            seen += rows.tolist()
            head.renewed(rows, torch.full((3, 32), float(step), dtype=torch.float64))
        assert seen == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]
        assert head.encoded[:, 0].tolist() == [3, 3, 0, 1, 1, 1, 2, 2, 2, 3]

    def test_those_whose_turn_it_is_carry_the_gradient(self):
        head, rows = self.make(), torch.tensor([2, 3, 4])
        z = vectors(3, seed=5).requires_grad_()
        head(vectors(), head.renewed(rows, z)).sum().backward()
        assert torch.all(z.grad.abs().sum(1) > 0)
        torch.testing.assert_close(head.encoded[rows], z.detach())
        assert not head.encoded.requires_grad

    @pytest.mark.parametrize("options", [{"share": 0}, {"share": 11}, {"share": 2.0}])
    def test_a_share_that_does_not_fit_is_told(self, options):
        with pytest.raises(ConfigError):
            RelativeHead(32, 5, 16, RelativeOptions(anchors=10, **options))

    def test_anchors_of_another_size_are_told(self):
        with pytest.raises(ConfigError, match="10 anchors of 20 points, the head takes 10 of 16"):
            self.make().set_anchors(torch.randn(10, 20, 3), None)
