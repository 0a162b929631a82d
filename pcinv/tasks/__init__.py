"""Tasks: what a network is trained for, as loss, metrics and the numbers of its outputs.

`TASKS` is the one table; each row is a module of functions with the same names: `num_outputs`,
`loss`, `new_state`, `update`, `compute`, `per_class`.
"""

from typing import Any, NamedTuple

from torch import nn

from pcinv.errors import unknown_name
from pcinv.nn.embedding_heads import MatryoshkaHead
from pcinv.nn.headed import Headed
from pcinv.tasks import (
    classification,
    detection,
    flow,
    matching,
    normals,
    part_segmentation,
    pose,
    pretraining,
    segmentation,
)
from pcinv.tasks.auxiliary import WithAuxiliary
from pcinv.tasks.batch import Batch, Item, Labels, collate
from pcinv.tasks.nested import Nested

__all__ = ["LIDAR_TASKS", "TASKS", "Batch", "Item", "Labels", "Task", "collate", "get_task",
           "task_of"]


class Task(NamedTuple):
    """A row: the functions of the task, and the metric by which the best epoch is chosen."""

    functions: Any
    score: str


TASKS = {
    "classification": Task(classification, "oa"),
    "part_segmentation": Task(part_segmentation, "instance_miou"),
    "normals": Task(normals, "within_10deg"),
    "matching": Task(matching, "inlier_ratio"),
    "pose": Task(pose, "within_10deg"),
    "pretraining": Task(pretraining, "point_spread"),
    "segmentation": Task(segmentation, "miou_present"),
    "detection": Task(detection, "map"),
    "flow": Task(flow, "dynamic_iou"),
}
LIDAR_TASKS = ("pretraining", "segmentation", "detection", "flow")
"""Of scans, which come in ragged batches; `pcinv.engine.lidar` is their engine."""


def get_task(name: str) -> Task:
    """Return the row of `name`; raise `UnknownNameError` with the nearest names."""
    if name not in TASKS:
        raise unknown_name("task", name, TASKS)
    return TASKS[name]


def task_of(name: str, network: nn.Module) -> Task:
    """Return the row of `name`, changed for networks that ask for it.

    For a network with prefixes it measures each of them; the loss of a network includes its own.
    """
    task = get_task(name)
    if isinstance(network, Headed) and isinstance(network.head, MatryoshkaHead):
        task = Task(Nested(network.head), task.score)
    backbone = network.backbone if isinstance(network, Headed) else network
    if hasattr(backbone, "take_auxiliary"):
        task = Task(WithAuxiliary(task.functions, backbone), task.score)
    return task
