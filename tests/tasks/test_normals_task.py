"""Normals as a task: what they are measured by, and from training to a file with normals."""

import contextlib
import json
import math

import pytest
import torch
import torch.nn.functional as F
from click.testing import CliRunner
from helpers.bodies import cloud

from pcinv import io
from pcinv.engine.check import Slopes
from pcinv.engine.config import Config, DataConfig, ModelConfig
from pcinv.engine.datasets import pick_normals
from pcinv.errors import ConfigError, DatasetError
from pcinv.metrics.invariance import measure_invariance
from pcinv.models.registry import create_model
from pcinv.tasks import Batch, Labels, get_task
from pcinv.types import PointCloud
from pcinv_cli.main import cli

LABELS = Labels(("chair", "table", "lamp"))
CPU = torch.device("cpu")


def make_batch(count=6, points=8):
    g = torch.Generator().manual_seed(0)
    xyz = torch.rand(count, points, 3, generator=g)
    normal = F.normalize(torch.randn(count, points, 3, generator=g), dim=-1)
    return Batch(xyz, normal, torch.arange(count) % 3, None, torch.arange(count))


def test_the_sign_does_not_matter_and_the_angle_is_that_between():
    functions, score = get_task("normals")
    batch = make_batch()
    for angle in (0.0, 7.0, 60.0, 90.0):
        across = F.normalize(torch.linalg.cross(batch.normal, torch.tensor([0.3, 0.2, 1.0])
                                                .expand_as(batch.normal)), dim=-1)
        a = math.radians(angle)
        tilted = math.cos(a) * batch.normal + math.sin(a) * across
        sign = torch.tensor([1.0, -1.0]).repeat(4)[:, None]
        state = functions.new_state(LABELS, CPU)
        losses = functions.loss(3 * sign * tilted, batch, 0.1)
        assert losses.shape == (6,) and (losses - math.sin(a) ** 2).abs().max() < 1e-6
        functions.update(state, sign * tilted, batch, losses, LABELS)
        found = functions.compute(state)
        assert abs(found["mean_deg"] - angle) < 1e-3
        assert found[score] == (1.0 if angle < 10 else 0.0)
        assert set(functions.per_class(state, LABELS)) == set(LABELS.class_names)


def test_sums_over_batches_give_the_figures_of_the_whole():
    functions, score = get_task("normals")
    batch = make_batch()
    estimated = torch.randn(6, 8, 3, generator=torch.Generator().manual_seed(1))
    whole, halves = functions.new_state(LABELS, CPU), functions.new_state(LABELS, CPU)
    functions.update(whole, estimated, batch, functions.loss(estimated, batch, 0.0), LABELS)
    for rows in (slice(0, 4), slice(4, 6)):
        some = batch.map(lambda tensor: tensor[rows])  # noqa: B023
        losses = functions.loss(estimated[rows], some, 0.0)
        functions.update(halves, estimated[rows], some, losses, LABELS)
    assert functions.compute(whole) == pytest.approx(functions.compute(halves))
    empty = functions.new_state(LABELS, CPU)
    assert functions.compute(empty)[score] == 0.0 and functions.per_class(empty, LABELS) == {}


def test_clouds_without_normals_are_named():
    functions, _ = get_task("normals")
    batch = make_batch()
    bare = Batch(batch.xyz, None, batch.label, None, batch.index)
    with pytest.raises(DatasetError, match="without normals"):
        functions.loss(batch.normal, bare, 0.0)

    class NoNormals:
        has_normals = False

    class WithNormals:
        has_normals = True

    model = ModelConfig(backbone="fa_pointnet", task="normals")
    with pytest.raises(ConfigError, match="those of the data"):
        pick_normals(Config(model=model), NoNormals())
    with pytest.raises(ConfigError, match="those of the data"):
        pick_normals(Config(model=model, data=DataConfig(normals="estimate")), WithNormals())
    assert pick_normals(Config(model=model), WithNormals()) == "data"


def draw(i):
    return cloud(count=100, batch=1, seed=i, dtype=torch.float32)[0], None, 0


def ask(folder, *args):
    with contextlib.chdir(folder):
        done = CliRunner().invoke(cli, [*map(str, args), "--json"])
    assert done.exit_code == 0, done.stderr + done.stdout
    return json.loads(done.stdout)["result"]


def test_from_training_to_a_file_with_normals(tmp_path):
    """The figures of a trained network do not depend on the pose, and a file gets its normals."""
    trained = ask(tmp_path, "train", "--task", "normals", "--backbone", "fa_pointnet", "--dataset",
                  "shapes", "--epochs", 1, "--set", "data.limit=32", "--set",
                  "data.num_points=128", "--set", "train.batch_size=8", "-o", "run")
    assert {"mean_deg", "within_10deg", "loss"} <= set(trained["metrics"])
    plain, turned = (ask(tmp_path, "eval", "run", "--rotation", r, "--limit", 16)["metrics"]
                     for r in ("none", "so3"))
    assert abs(plain["mean_deg"] - turned["mean_deg"]) < 1e-2
    assert 0 < plain["mean_deg"] < 90
    xyz = make_batch(1, 300).xyz[0].numpy()
    io.write(tmp_path / "scan.ply", PointCloud(xyz))
    row, = ask(tmp_path, "predict", "run", "scan.ply")["files"]
    assert row["normals_file"].endswith("scan.normals.ply") and row["normals"] == "answer"
    made = io.read_cloud(tmp_path / "scan.normals.ply")
    assert len(made) == 300 and abs((made.normal**2).sum(1) - 1).max() < 1e-5
    out = made.xyz - made.xyz.mean(0)
    assert ((made.normal * out).sum(1) >= -0.2).all()  # turned away from the centroid


def test_the_check_of_normals_sees_what_turns_wrongly():
    """Normals are compared by how they stand to the cloud."""
    found = {}
    for name in ("fa_pointnet", "pointnet"):
        model = Slopes(create_model(name, task="normals").eval())
        found[name] = measure_invariance(model, draw, rotations=4, num_clouds=1,
                                         with_normals=(True,))
    assert found["fa_pointnet"].passed and found["fa_pointnet"].errors["permutation"] < 1e-6
    assert not found["pointnet"].passed and found["pointnet"].errors["rotation"] > 1e-2
