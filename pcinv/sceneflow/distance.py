"""Distance fields: how far any place is from a cloud, and which way, at a glance.

Source: Li, Zheng, Ferroni, Pontes, Lucey, Fast Neural Scene Flow, ICCV 2023.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from pcinv.errors import InputError, LimitError

MOST_CELLS = 200_000_000
"""Of a field: 800 MB."""


@dataclass(frozen=True)
class DistanceField:
    """Distances to a cloud on a grid, in metres.

    values : (X, Y, Z) float32, at the middles of the cells.  low : (3,) corner of the first cell.
    cell : side of a cell.
    """

    values: Float[np.ndarray, "x y z"]
    low: Float[np.ndarray, "3"]
    cell: float

    def __call__(
        self, xyz: Float[np.ndarray, "n 3"]
    ) -> tuple[Float[np.ndarray, "n"], Float[np.ndarray, "n 3"]]:
        """Return the distance at points, interpolated, and its gradient; float64."""
        from pcinv.sceneflow.field_kernels import sample

        value, gradient = np.empty(len(xyz)), np.empty((len(xyz), 3))
        sample(self.values, self.low, self.cell, np.ascontiguousarray(xyz, np.float64), value,
               gradient)
        return value, gradient


def distance_field(
    xyz: Float[np.ndarray, "n 3"], low: Float[np.ndarray, "3"], high: Float[np.ndarray, "3"],
    cell: float = 0.2,
) -> DistanceField:
    """Return the distances to a cloud in a box, exact between the middles of occupied cells.

    xyz : (N, 3), points outside of the box are left out.  low, high : corners of the box.

    Raises InputError without a point in the box, LimitError for more than `MOST_CELLS` cells.
    """
    from pcinv.sceneflow.field_kernels import FAR, spread_distance

    low = np.asarray(low, np.float64)
    shape = np.maximum(2, np.ceil((np.asarray(high) - low) / cell).astype(np.int64))
    if not np.isfinite(shape).all() or shape.prod() > MOST_CELLS:
        raise LimitError(f"a field of {' x '.join(map(str, shape))} cells", where="cell",
                         hint="larger cells, or a smaller range")
    index = np.floor((xyz - low) / cell).astype(np.int64)
    index = index[((index >= 0) & (index < shape)).all(axis=1)]
    if len(index) == 0:
        raise InputError("no point in the box", where="xyz", hint="a larger range")
    square = np.full(shape, FAR, dtype=np.float32)
    square[tuple(index.T)] = 0.0
    spread_distance(square)
    np.sqrt(square, out=square)
    square *= np.float32(cell)
    return DistanceField(square, low, cell)
