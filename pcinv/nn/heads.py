"""The last layers of a network: on one vector a cloud, or on one vector a point."""

from __future__ import annotations

from itertools import pairwise

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from pcinv.nn.rows import LinearNorm


def activated(layer: LinearNorm, rows: Float[Tensor, "r c"], slope: float) -> Float[Tensor, "r d"]:
    """Return the layer's output after ReLU, or LeakyReLU of this negative slope."""
    if slope == 0:
        return layer.frozen(relu=True)(rows)
    return F.leaky_relu(layer(rows), slope, inplace=not layer.training)


class RowHead(nn.Module):
    """Hidden layers with batch norm, activation and dropout, then one linear layer.

    In: (rows, C).  Out: (rows, classes).

    bias : one entry a layer, the last one included.
    """

    def __init__(
        self, width_in: int, hidden: tuple[int, ...], width_out: int, dropout: float,
        slope: float = 0.0, bias: tuple[bool, ...] | None = None,
    ) -> None:
        super().__init__()
        self.slope = slope
        has_bias = (True,) * (len(hidden) + 1) if bias is None else bias
        self.hidden = nn.ModuleList(
            LinearNorm(before, width, bias=b)
            for before, width, b in zip((width_in, *hidden), hidden, has_bias[:-1], strict=False)
        )
        self.dropout = nn.Dropout(dropout)
        self.last = nn.Linear((width_in, *hidden)[-1], width_out, bias=has_bias[-1])

    def forward(self, rows: Tensor) -> Tensor:
        for layer in self.hidden:
            rows = self.dropout(activated(layer, rows, self.slope))
        logits: Tensor = self.last(rows)
        return logits


class PointHead(nn.Module):
    """The same on [vector of the cloud, vectors of the point, category], point by point.

    The first linear map is taken part by part, so that nothing is put side by side, and the part
    of the cloud once a cloud. Dropout follows the first hidden layer and precedes the last layer.

    widths : of the cloud's vector and of the point's vectors, in this order.
    told : width of what is known of the category.
    """

    def __init__(
        self, widths: tuple[int, ...], told: int, hidden: tuple[int, ...], width_out: int,
        dropout: float, slope: float = 0.0, *, bias: bool = True,
    ) -> None:
        super().__init__()
        self.widths, self.told, self.slope = widths, told, slope
        self.first = LinearNorm(sum(widths) + told, hidden[0], bias=bias)
        self.rest = nn.ModuleList(
            LinearNorm(before, width, bias=bias)
            for before, width in pairwise(hidden)
        )
        self.dropout = nn.Dropout(dropout)
        self.last = nn.Linear(hidden[-1], width_out, bias=bias)

    def columns(self) -> tuple[Tensor, ...]:
        """Return the columns of the first map for each part, (H, C_part), the category's last."""
        return self.first.linear.weight.split((*self.widths, self.told), dim=1)

    def join(
        self, cloud: Float[Tensor, "v g"], *parts: Float[Tensor, "v n _"]
    ) -> Float[Tensor, "v n h"]:
        """Return the first linear map of all but the category: the features of the points."""
        own, *others = self.columns()[: len(self.widths)]
        rows = F.linear(cloud, own, self.first.linear.bias)[:, None]
        for part, weight in zip(parts, others, strict=True):
            rows = rows + F.linear(part, weight)
        return rows

    def forward(
        self, rows: Float[Tensor, "v n h"], told: Float[Tensor, "v t"] | None = None
    ) -> Float[Tensor, "v n o"]:
        """Return the logits of each point.  told : what is known of the category."""
        v, n, _ = rows.shape
        if told is not None:
            rows = rows + F.linear(told, self.columns()[-1])[:, None]
        x = F.leaky_relu(self.first.norm(rows.reshape(v * n, -1)), self.slope)
        x = self.dropout(x)
        for layer in self.rest:
            x = activated(layer, x, self.slope)
        if len(self.rest):
            x = self.dropout(x)
        logits: Tensor = self.last(x).view(v, n, -1)
        return logits
