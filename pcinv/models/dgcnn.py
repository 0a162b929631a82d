"""DGCNN (Wang, Sun, Liu, Sarma, Bronstein, Solomon, ACM TOG 38(5), 2019): not invariant either.

arXiv 1801.07829. Each layer maps the edges [x_j - x_i, x_i] from a point to its neighbours and
takes their maximum (eq. 7, 8). At the paper's size neighbours are looked for anew among the
features before each layer; the small preset keeps the graph of the points, which is a fraction of
the time on a CPU. Order and position of the points do not matter, rotations do.
"""

from typing import Any

from pcinv.nn.dgcnn import DGCNN_SIZES, DGCNNBody
from pcinv.nn.overrides import with_overrides
from pcinv.nn.views import PlainNetwork


def build(
    name: str, *, task: str, num_classes: int, preset: str, num_categories: int,
    overrides: dict[str, Any],
) -> PlainNetwork:
    """Make the network of a row of the registry."""
    hyper = with_overrides(DGCNN_SIZES[task, preset], overrides, name)
    body = DGCNNBody(hyper, task, num_classes, num_categories)
    return PlainNetwork(body, hyper, task, num_classes, num_categories)
