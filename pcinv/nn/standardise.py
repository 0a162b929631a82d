"""A start for attention over point pair features from which it learns at once.

Layer normalisation makes the channels of one point alike in size, not the points unlike each
other. A network whose points enter as ones, and by distances of a few centimetres, starts with
features that hardly differ from point to point: a hundredth of their size. Here each channel gets
mean 0 and variance 1 over the points of a first example, by the weights that are there already.

Source of the idea: layer-sequential unit-variance initialisation, Mishkin and Matas, ICLR 2016.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from pcinv.nn.ppf_attention import Hood, LocalPPFAttention

_LEAST = 1e-4
"""Standard deviation below which a channel says nothing, and is not enlarged further."""


def standardise(network: nn.Module, heads: tuple[nn.Linear, ...], example: Callable[[], Any]
                ) -> None:
    """Set the affine part of each normalisation and point pair embedding from one example.

    heads : last layers, whose mean over the points is taken away.
    example : runs the network; layers are set one after the other, as it comes to them.
    """
    done: set[nn.Module] = set()

    def first(module: nn.Module) -> bool:
        is_new = module not in done
        done.add(module)
        return is_new

    @torch.no_grad()
    def set_norm(module: nn.Module, inputs: Any, output: Tensor) -> Tensor | None:
        if not first(module) or not isinstance(module, nn.LayerNorm):
            return None
        mean, std = output.mean(0), output.std(0).clamp_min(_LEAST)
        module.weight /= std
        module.bias.sub_(mean).div_(std)
        return (output - mean) / std

    @torch.no_grad()
    def set_embedding(module: nn.Module, inputs: tuple[Tensor, Hood]) -> None:
        if not first(module) or not isinstance(module, LocalPPFAttention):
            return
        ppf = inputs[1].ppf.flatten(0, 1)
        mean, std = ppf.mean(0), ppf.std(0).clamp_min(_LEAST)
        module.embed.weight /= std
        module.embed.bias -= module.embed.weight @ mean

    @torch.no_grad()
    def set_head(module: nn.Module, inputs: Any, output: Tensor) -> Tensor | None:
        if not first(module) or not isinstance(module, nn.Linear):
            return None
        mean = output.mean(0)
        module.bias -= mean
        return output - mean

    hooks: list[Any] = [head.register_forward_hook(set_head) for head in heads]
    for module in network.modules():
        if isinstance(module, nn.LayerNorm):
            hooks.append(module.register_forward_hook(set_norm))
        elif isinstance(module, LocalPPFAttention):
            hooks.append(module.register_forward_pre_hook(set_embedding))
    try:
        with torch.enable_grad():  # without gradients clouds are worked on at the same time
            example()
    finally:
        for hook in hooks:
            hook.remove()
