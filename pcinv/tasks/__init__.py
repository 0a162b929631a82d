"""Tasks: what a network is trained for, as loss, metrics and the numbers of its outputs.

`TASKS` is the one table; each row is a module of functions with the same names: `num_outputs`,
`loss`, `new_state`, `update`, `compute`, `per_class`.
"""

from types import ModuleType
from typing import NamedTuple

from pcinv.errors import unknown_name
from pcinv.tasks import classification, matching, part_segmentation
from pcinv.tasks.batch import Batch, Item, Labels, collate

__all__ = ["TASKS", "Batch", "Item", "Labels", "Task", "collate", "get_task"]


class Task(NamedTuple):
    """A row: the functions of the task, and the metric by which the best epoch is chosen."""

    functions: ModuleType
    score: str


TASKS = {
    "classification": Task(classification, "oa"),
    "part_segmentation": Task(part_segmentation, "instance_miou"),
    "matching": Task(matching, "inlier_ratio"),
}


def get_task(name: str) -> Task:
    """Return the row of `name`; raise `UnknownNameError` with the nearest names."""
    if name not in TASKS:
        raise unknown_name("task", name, TASKS)
    return TASKS[name]
