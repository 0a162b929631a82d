"""A network of flow and its teacher: what is taught, that it learns, what it says of a pair."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.tiny_streets import tiny

import pcinv
from pcinv.engine.check_lidar import check_lidar
from pcinv.engine.checkpoint import load_weights
from pcinv.engine.flow import Placed, own_motion
from pcinv.engine.lidar_flow import FlowStore
from pcinv.engine.lidar_scans import load_scans
from pcinv.engine.student import FlowLearner, measure_student, residual_of
from pcinv.engine.trainer import train
from pcinv.errors import ConfigError, DatasetError, Interrupted, UsageError
from pcinv.models.registry import create_model, weights_file
from pcinv.nn.pillars import ScanBatch
from pcinv.tasks import flow as task
from pcinv_data.lidar_sim import lidar_sim

SMALL = {"reach": 12.8, "cell": 0.8, "channels": [8, 8, 16, 16], "hidden": 16, "window": 2}
STREETS = {"streets": 1, "scans": 3, "every": 2, "test_streets": 1, "beams": 16, "columns": 256}


def config(**changes):
    sections = {"model": {"backbone": "pillar_flow", "overrides": {**SMALL, "reach": 19.2}},
                "data": {"options": dict(STREETS)}, "pretrain": {"flow_method": "labels"}}
    for name, keys in changes.items():
        sections[name] = {**sections.get(name, {}), **keys}
    return tiny("flow", **sections)


def pair(seed=0, count=200):
    """Two blocks, of which the first moves this way, that way or not; two scans, and the flow."""
    rng = np.random.default_rng(seed)
    step = (seed % 3 - 1) * np.array([1.0, 0.4, 0.0])
    middle = np.repeat(np.array([[-5.0, 2, 0], [4, -3, 0]]), count, axis=0)
    first = middle + rng.uniform(-1, 1, (2 * count, 3))
    flow = np.where((middle[:, :1] < 0), np.array([step]), 0.0)
    second = middle + rng.uniform(-1, 1, (2 * count, 3)) + flow
    return [torch.from_numpy(x.astype(np.float32)) for x in (first, second, flow)]


def test_the_loss_weighs_groups_of_speeds_alike():
    taught = torch.tensor([[0.0, 0, 0]] * 6 + [[0.06, 0, 0]] * 2 + [[1.0, 0, 0]])
    found = torch.zeros(9, 3, requires_grad=True)
    assert task.loss(found, taught).item() == pytest.approx(0.06 + 1.0)
    unknown = torch.cat([taught, torch.full((3, 3), torch.nan)])
    more = torch.zeros(12, 3, requires_grad=True)
    assert task.loss(more, unknown).item() == pytest.approx(1.06)
    nothing = task.loss(more, torch.full((12, 3), torch.nan))
    nothing.backward()
    assert nothing.item() == 0 and bool((more.grad == 0).all())


@torch.no_grad()
def test_likeness_is_that_of_the_cells_around_and_of_empty_ones_none():
    """One pillar, found again two cells to the right and one down: its likeness there is 1."""
    torch.manual_seed(0)
    model = create_model("pillar_flow", task="flow", **SMALL).double().eval()
    grid, side = model.hyper.grid, 2 * model.hyper.window + 1
    maps = torch.randn(1, 16, *grid.shape, dtype=torch.float64)
    maps[:, 8:] = torch.roll(maps[:, :8], (-1, 2), (2, 3))  # rows are y, columns x
    row, column = 10, 20
    cells = torch.tensor([row * grid.shape[1] + column])
    found = model._likeness(maps, cells, torch.arange(grid.shape[0] * grid.shape[1]))
    assert found.shape == (1, side * side) and found.argmax() == (2 - 1) * side + 2 + 2
    assert found.max() == pytest.approx(1) and model.steps[found.argmax()].tolist() == (
        pytest.approx([2 * grid.cell, -grid.cell]))
    none = model._likeness(maps, cells, torch.tensor([0]))
    assert bool((none == 0).all())
    corner = model._likeness(maps, torch.tensor([0]), torch.arange(grid.shape[0] ** 2))
    assert bool((corner.view(side, side)[:2] == 0).all())  # beyond the map there is nothing


def test_a_moving_block_is_followed_after_it_has_learned():
    torch.manual_seed(0)
    model = create_model("pillar_flow", task="flow", **SMALL)
    held = pair(seed=998)
    batch = ScanBatch.of([held[0]]), ScanBatch.of([held[1]])
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for step in range(80):
        first, second, flow = zip(*(pair(seed=3 * step + k) for k in range(3)), strict=True)
        loss = task.loss(model(ScanBatch.of(first), ScanBatch.of(second)), torch.cat(flow))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    error = (model.eval()(*batch) - held[2]).norm(dim=1)
    moves = held[2].norm(dim=1) > 0
    assert error[moves].mean() < 0.3 and error[~moves].mean() < 0.15
    standing = ScanBatch.of([held[0]])
    assert model(standing, standing).norm(dim=1).mean() < 0.3  # it looks at the second scan


def test_order_and_batch_mates_are_no_matter_and_beyond_the_map_nothing_moves():
    torch.manual_seed(1)
    model = create_model("pillar_flow", task="flow", **SMALL).double().eval()
    torch.nn.init.normal_(model.head[-1].weight)
    a, b = (x.double() for x in pair()[:2])
    alone = model(ScanBatch.of([a]), ScanBatch.of([b]))
    order = torch.randperm(len(a))
    assert torch.allclose(model(ScanBatch.of([a[order]]), ScanBatch.of([b])), alone[order],
                          atol=1e-10)
    mates = model(ScanBatch.of([a, b]), ScanBatch.of([b, a]))[:len(a)]
    assert torch.allclose(mates, alone, atol=1e-10)
    far = torch.cat([a, a + 40])
    found = model(ScanBatch.of([far]), ScanBatch.of([b]))
    assert bool((found[len(a):] == 0).all()) and bool((found[:len(a)] != 0).any())


@pytest.mark.parametrize("change", [{"cell": 0.0}, {"window": 0}, {"reach": 13.0},
                                    {"channels": [8, 8, 8]},
                                    {"channels": [8, 8, 8, 12]}])
def test_sizes_that_make_no_map_are_named(change):
    with pytest.raises(ConfigError):
        create_model("pillar_flow", task="flow", **{**SMALL, **change})


class TestTeaching:
    """What is taught is the residual flow in the second sensor's frame, and no label is seen."""

    @pytest.fixture(scope="class")
    def pool(self):
        return load_scans(config(), "train", 19.2)

    def test_labels_are_seen_only_where_they_are_asked_for(self, pool, tmp_path):
        before = pool.before(1)
        own = FlowStore(tmp_path, "ego").towards(pool, 1)[1]
        taught = FlowStore(tmp_path, "ego", known=False).towards(pool, 1)[1]
        assert np.array_equal(own, before.flow, equal_nan=True)
        T, _ = own_motion(Placed(before), Placed(pool[1]))
        rigid = before.xyz @ T[:3, :3].T + T[:3, 3] - before.xyz
        assert np.abs(taught - rigid).max() < 2e-3  # kept in half precision
        assert not np.allclose(own, taught, atol=0.1)  # something moves there
        hidden = _without_flow(pool)
        assert np.isnan(FlowStore(tmp_path, "labels").towards(hidden, 1)[1]).all()

    def test_points_and_flow_of_a_view_belong_together(self, pool, tmp_path):
        learner = FlowLearner(config(), create_model("pillar_flow", task="flow", **SMALL), pool,
                              None, tmp_path)
        drawn = learner.draw((3,), [1])
        again = learner.draw((3,), [1])
        assert torch.equal(drawn.flow, again.flow)
        before = pool.before(1)
        moved, residual, other = residual_of(before, before.flow, pool[1])
        assert len(drawn.first.points) == min(400, len(moved))
        assert len(drawn.second.points) == min(400, len(other))
        speed = np.linalg.norm(residual, axis=1)
        seen = drawn.flow.norm(dim=1)
        assert np.isfinite(speed).all() and speed.max() > 0.2
        assert 0.94 * speed.max() < float(seen.max()) < 1.06 * speed.max() or len(moved) > 400

    def test_the_truth_scores_no_error_and_the_ego_motion_what_moves(self, pool, monkeypatch):
        model = create_model("pillar_flow", task="flow", **{**SMALL, "reach": 19.2})
        monkeypatch.setattr("pcinv.engine.student.ask", lambda network, moved, other: (
            0 * moved, None))
        found = measure_student(model, pool)
        still = found["epe_foreground_dynamic_ego"]
        assert still > 0.1 and found["epe_foreground_dynamic"] == pytest.approx(still, rel=1e-3)
        assert found["dynamic_iou"] == 0
        rows = iter(range(1, len(pool)))

        def truth(network, moved, other):
            before = pool.before(row := next(rows))
            return residual_of(before, before.flow, pool[row])[1], None

        monkeypatch.setattr("pcinv.engine.student.ask", truth)
        found = measure_student(model, replace_places(pool))
        # but for feet and tyres, which are taken for ground
        assert found["epe_foreground_dynamic"] < 0.1 * still and found["dynamic_iou"] > 0.95

    def test_without_any_flow_there_is_nothing_to_measure(self, pool):
        model = create_model("pillar_flow", task="flow", **SMALL)
        with pytest.raises(DatasetError, match="to measure against"):
            measure_student(model, _without_flow(pool))


def replace_places(pool):
    """The same scans but for the first, which may have none before it."""
    from pcinv.engine.lidar_scans import ScanPool

    return ScanPool(pool.sequences, pool.places[1:], pool.reach)


def _without_flow(pool):
    from pcinv.engine.lidar_scans import ScanPool

    class Bare:
        def __init__(self, of):
            self.of, self.name, self.class_names = of, of.name, of.class_names

        def __len__(self):
            return len(self.of)

        def __getitem__(self, index):
            return replace(self.of[index], flow=None)

    return ScanPool([Bare(each) for each in pool.sequences], pool.places, pool.reach)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("student") / "run"
    return train(config(), output=folder).path


def test_a_run_is_measured_and_asked(run, tmp_path):
    found = pcinv.evaluate(run)
    assert found.num_samples == 3 and found.metrics["epe_foreground_dynamic_ego"] > 0
    with pytest.raises(UsageError, match="as they are"):
        pcinv.evaluate(run, rotation="z")
    scans = load_scans(config(), "test", 19.2)
    first, second = scans.before(1), scans[1]
    told = pcinv.flow(first, second, method="student", weights=run, device="cpu")
    assert told.flow.shape == first.xyz.shape and np.isfinite(told.flow).all()
    assert "student" in told.scores and "ego" in told.scores and told.time_ms["student"] > 0
    with pytest.raises(UsageError, match="has no weights"):
        pcinv.flow(first, second, weights=run)


def test_a_run_that_was_stopped_ends_in_the_same_weights(run, tmp_path):
    count = 0

    def stop(tick):
        nonlocal count
        count += 1
        if count == 2:
            raise KeyboardInterrupt

    with pytest.raises((KeyboardInterrupt, Interrupted)):
        train(config(train={"epochs": 4}), output=tmp_path / "a", callback=stop)
    with pytest.raises(UsageError):
        train(config(), output=tmp_path / "a")
    whole = train(config(train={"epochs": 4}), output=tmp_path / "b").path
    again = train(config(train={"epochs": 4}), resume=tmp_path / "a").path
    for name, value in load_weights(whole, "last").tensors.items():
        assert torch.equal(value, load_weights(again, "last").tensors[name]), name


def test_weights_of_another_network_and_a_start_are_refused(tmp_path):
    other = train(tiny(), output=tmp_path / "other").path
    scans = load_scans(config(), "test", 19.2)
    with pytest.raises(UsageError, match="estimates no flow"):
        pcinv.flow(scans.before(1), scans[1], method="student", weights=other)
    with pytest.raises(ConfigError, match="does not begin"):
        train(config(model={"init": str(other)}), output=tmp_path / "new")


class TestShipped:
    """The network that comes with the package: whole, told on its card, and worth asking."""

    def test_the_card_tells_its_digest(self):
        file = weights_file("pillar_flow")
        assert hashlib.sha256(file.read_bytes()).hexdigest() in file.with_suffix(".md").read_text()
        assert load_weights(file).meta.config.data.root is None

    def test_it_beats_the_sensors_own_motion_on_a_street_that_it_has_not_seen(self):
        street = lidar_sim(4, 4321, beams=64)
        told = pcinv.flow(Placed(street[1], street, 1), Placed(street[2], street, 2),
                          method="student", device="cpu")
        mine, still = told.scores["student"], told.scores["ego"]
        assert mine["epe_foreground_dynamic"] < 0.4 * still["epe_foreground_dynamic"]
        assert mine["three_way_epe"] < 0.4 * still["three_way_epe"]
        assert told.cluster.max() > 0 and (told.motion[told.is_ground] == 0).all()
        again = pcinv.flow(Placed(street[1]), Placed(street[2]), method="student", device="cpu")
        assert np.array_equal(told.flow, again.flow)


def test_check_measures_the_weights_that_it_is_given():
    trained = pcinv.load_model(weights_file("pillar_flow")).model
    before = {name: value.clone() for name, value in trained.state_dict().items()}
    assert check_lidar(trained, "pillar_flow", torch.float32, 0).passed
    for name, value in trained.state_dict().items():
        assert torch.equal(value, before[name]), name
