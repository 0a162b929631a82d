"""The first weights of attention over point pair features."""

import torch
import torch.nn.functional as F

from pcinv.models.roitr import RoITr
from pcinv.models.roitr_sizes import Hyper
from pcinv.nn.ppf_attention import LocalPPFAttention
from pcinv.nn.standardise import standardise

SMALL = Hyper(widths=(16, 16, 16), layers=(1, 1, 1), neighbours=(8, 8, 8), width=16, blocks=2,
              length=16)


def example(seed=0):
    torch.manual_seed(seed)
    network = RoITr(SMALL)
    points = torch.rand(2, 700, 3)
    source, target = (network.survey(xyz, F.normalize(xyz - 0.5, dim=1)) for xyz in points)
    return network, lambda: network.describe(source, target)


def outputs(network, run):
    """Return what each normalisation gives for the first cloud, by name."""
    seen, hooks = {}, []
    for name, module in network.named_modules():
        if isinstance(module, torch.nn.LayerNorm):
            hooks.append(module.register_forward_hook(
                lambda m, i, out, name=name: seen.setdefault(name, out.detach()) is None or None))
    with torch.enable_grad():
        described = run()
    for hook in hooks:
        hook.remove()
    return seen, described


def test_channels_have_mean_0_and_variance_1_over_the_points():
    network, run = example()
    before, described = outputs(network, run)
    spread = described[0].point_desc.std(0).mean() / described[0].point_desc.abs().mean()
    assert float(spread) < 0.1  # so it starts without: all points are nearly alike
    standardise(network, (network.node_head, network.point_head), run)
    after, described = outputs(network, run)
    assert set(after) == set(before) and len(after) > 20
    for name, out in after.items():
        assert float(out.mean(0).abs().max()) < 1e-3, name
        assert float((out.std(0) - 1).abs().max()) < 1e-2, name
    points = described[0].point_desc
    assert float(points.mean(0).abs().max()) < 1e-4
    assert float(points.std(0).mean() / points.abs().mean()) > 0.5


def test_pair_features_enter_with_mean_0_and_variance_1():
    network, run = example()
    layer = network.encoder.down[0]
    embed = layer.embed.weight.clone(), layer.embed.bias.clone()
    standardise(network, (), run)
    ppf = torch.rand(50, 4)
    changed = ppf @ layer.embed.weight.T + layer.embed.bias - embed[1]
    scaled = changed @ torch.linalg.pinv(embed[0]).T  # features as the weights of before see them
    slope = torch.linalg.lstsq(torch.cat((ppf, torch.ones(50, 1)), 1), scaled).solution
    assert float((slope[:4] - torch.diag(slope[:4].diag())).abs().max()) < 1e-2 * float(
        slope.abs().max())
    assert slope[0, 0] > 5  # distances of a tenth are enlarged most
    assert slope[0, 0] > slope[1:4].diag().max()


def test_it_leaves_no_hooks_and_is_the_same_each_time():
    states = []
    for _ in range(2):
        network, run = example()
        standardise(network, (network.node_head,), run)
        assert not any(module._forward_hooks or module._forward_pre_hooks
                       for module in network.modules())
        states.append(network.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(*(s.values() for s in states), strict=True))


def test_channels_without_variance_stay_finite():
    network, run = example()
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, LocalPPFAttention):
                module.map_out.weight.zero_()
    standardise(network, (network.node_head,), run)
    assert all(torch.isfinite(p).all() for p in network.parameters())
