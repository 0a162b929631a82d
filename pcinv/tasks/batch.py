"""What a task works on: the names of its labels, and batches of equal-sized clouds."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from pcinv.errors import DatasetError


@dataclass(frozen=True)
class Labels:
    """Names of the classes, and of the parts where the data has them.

    part_names : name of each part label.
    category_parts : for each class, the part labels that its shapes can have.
    """

    class_names: tuple[str, ...]
    part_names: tuple[str, ...] = ()
    category_parts: tuple[tuple[int, ...], ...] = ()

    @cached_property
    def allowed(self) -> Tensor:
        """(C, P) bool: which parts each class has."""
        mask = torch.zeros(len(self.class_names), len(self.part_names), dtype=torch.bool)
        for category, parts in enumerate(self.category_parts):
            mask[category, list(parts)] = True
        return mask


@dataclass(frozen=True)
class Item:
    """One prepared cloud.

    index : place in its data set.  xyz : (N, 3).  normal : (N, 3) or None.  label : class.
    part : (N,) or None.
    second, rotation : (N, 3) and (3, 3), for the task pose; else None.
    """

    index: int
    xyz: Tensor
    normal: Tensor | None
    label: int
    part: Tensor | None
    second: Tensor | None = None
    rotation: Tensor | None = None


@dataclass(frozen=True)
class Batch:
    """Clouds side by side.

    xyz : (B, N, 3) float32.  normal : (B, N, 3) float32 or None.  label : (B,) int64.
    part : (B, N) int64 or None.  index : (B,) int64, places in the data set.
    second : (B, N, 3) float32 or None, the same things turned by `rotation` (B, 3, 3), float64,
        their points in another order.
    """

    xyz: Tensor
    normal: Tensor | None
    label: Tensor
    part: Tensor | None
    index: Tensor
    second: Tensor | None = None
    rotation: Tensor | None = None

    def __len__(self) -> int:
        return len(self.xyz)

    def map(self, change: Any) -> "Batch":
        """Return the batch with `change` applied to each of its tensors."""
        present = {f.name: getattr(self, f.name) for f in fields(self)}
        return replace(self, **{k: change(v) for k, v in present.items() if v is not None})

    def to(self, device: torch.device) -> "Batch":
        """Return the batch on another device."""
        return self.map(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> "Batch":
        """Return the batch in page-locked memory; the data loader calls it for a GPU."""
        return self.map(Tensor.pin_memory)


def collate(items: Sequence[Item]) -> Batch:
    """Stack prepared clouds into one batch.

    Raises
    ------
    DatasetError where the clouds have different numbers of points.
    """
    sizes = sorted({len(item.xyz) for item in items})
    if len(sizes) > 1:
        raise DatasetError(f"clouds of {sizes[0]} to {sizes[-1]} points in one batch",
                           where="data.num_points",
                           hint=f"--set data.num_points={sizes[0]}, or fewer if others are smaller")
    normals = [item.normal for item in items if item.normal is not None]
    parts = [item.part for item in items if item.part is not None]
    seconds = [item.second for item in items if item.second is not None]
    rotations = [item.rotation for item in items if item.rotation is not None]
    return Batch(
        xyz=torch.stack([item.xyz for item in items]),
        normal=torch.stack(normals) if len(normals) == len(items) else None,
        label=torch.tensor([item.label for item in items]),
        part=torch.stack(parts) if len(parts) == len(items) else None,
        index=torch.tensor([item.index for item in items]),
        second=torch.stack(seconds) if len(seconds) == len(items) else None,
        rotation=torch.stack(rotations) if len(rotations) == len(items) else None,
    )
