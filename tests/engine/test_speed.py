"""What a backbone costs: that it is measured, and that more work costs more."""

import pytest

from pcinv.engine.speed import measure_speed
from pcinv.errors import UnknownNameError

SMALL = {"batch_size": 4, "num_points": 128, "repeats": 1, "device": "cpu"}


def test_each_has_a_process_and_a_row():
    rows = list(measure_speed(["pointnet", "dgcnn"], **SMALL))
    assert [(row.backbone, row.preset) for row in rows] == [("pointnet", "light"),
                                                            ("dgcnn", "light")]
    for row in rows:
        assert row.num_parameters > 1e4 and row.training_mib >= row.inference_mib >= 0
        assert row.training_ms > 0 < row.inference_ms


@pytest.mark.parametrize("task", ["part_segmentation", "normals"])
def test_other_tasks(task):
    row, = measure_speed(["pointnet"], task=task, **SMALL)
    assert row.task == task


def test_more_points_take_more_memory():
    few, = measure_speed(["dgcnn"], **SMALL)
    many, = measure_speed(["dgcnn"], **{**SMALL, "batch_size": 32, "num_points": 512})
    assert many.training_mib > few.training_mib + 20


@pytest.mark.parametrize(("name", "options"), [
    ("pointnett", {}), ("pointnet", {"preset": "large"}), ("vsformer", {"task": "normals"})])
def test_bad_names_come_before_any_work(name, options):
    with pytest.raises(UnknownNameError):
        next(measure_speed(["pointnet", name], **{**SMALL, **options}))
