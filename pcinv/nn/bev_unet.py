"""A small U-Net on maps from above: three times halved, and back with skips that are added."""

from __future__ import annotations

from itertools import pairwise

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F


def conv(inputs: int, outputs: int, stride: int = 1, size: int = 3) -> nn.Sequential:
    """Return convolution, group norm, ReLU. Groups: batches of whole scans are small."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False),
        nn.GroupNorm(min(8, outputs), outputs), nn.ReLU())


class Block(nn.Module):
    """Two convolutions, and what came in added."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = conv(channels, channels)
        self.second = conv(channels, channels)[:2]

    def forward(self, maps: Tensor) -> Tensor:
        """Return (B, C, H, W)."""
        return F.relu(maps + self.second(self.first(maps)))


class BevUNet(nn.Module):
    """(B, C0, H, W) to (B, C0, H, W) and the bottleneck (B, C3, H / 8, W / 8).

    channels : (C0, C1, C2, C3), at full size and after each halving.  blocks : of each halving.
    """

    def __init__(self, channels: tuple[int, ...], blocks: int) -> None:
        super().__init__()
        self.stem = conv(channels[0], channels[0])
        pairs = list(pairwise(channels))
        self.down = nn.ModuleList(
            nn.Sequential(conv(low, high, stride=2), *(Block(high) for _ in range(blocks)))
            for low, high in pairs)
        self.narrow = nn.ModuleList(conv(high, low, size=1) for low, high in reversed(pairs))
        self.up = nn.ModuleList(conv(low, low) for low, _ in reversed(pairs))

    def forward(self, maps: Float[Tensor, "b c h w"]) -> tuple[Tensor, Tensor]:
        """Return the map at full size and the bottleneck."""
        x = self.stem(maps)
        skips = []
        for down in self.down:
            skips.append(x)
            x = down(x)
        bottleneck = x
        for narrow, up, skip in zip(self.narrow, self.up, reversed(skips), strict=True):
            x = F.interpolate(narrow(x), size=skip.shape[-2:], mode="nearest")
            x = up(x + skip)
        return x, bottleneck
