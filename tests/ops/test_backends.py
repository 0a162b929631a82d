"""The choice of backends, and the guards around those that are optional."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from helpers.clouds import KINDS, make_cloud

from pcinv.errors import DependencyError, DeviceError
from pcinv.ops import available_backends, extras, farthest_point_sample, knn
from pcinv.ops.backends import fps_backend, knn_backend


def test_the_table_names_one_default_for_each_operation_which_needs_no_extra():
    rows = available_backends()
    for operation in ("knn", "farthest_point_sample"):
        default = [r for r in rows if r.operation == operation and r.default]
        assert len(default) == 1 and default[0].available
        assert default[0].name not in extras.PACKAGES


def test_a_missing_package_is_a_typed_error(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch_cluster", None)
    monkeypatch.setitem(sys.modules, "torch_quickfps", None)
    xyz = torch.randn(1, 5, 3)
    with pytest.raises(DependencyError, match="torch_cluster") as caught:
        knn(xyz, xyz, 2, backend="cluster")
    assert "pip install" in caught.value.hint
    with pytest.raises(DependencyError, match="torch_quickfps"):
        farthest_point_sample(xyz, 2, backend="quickfps")
    assert not any(r.available for r in available_backends() if r.name in extras.PACKAGES)


def test_a_cpu_backend_refuses_another_device():
    place = torch.device("cuda")
    assert knn_backend("auto", place) is knn_backend("reference", place)
    assert fps_backend("auto", place) is fps_backend("numba", place)
    with pytest.raises(DeviceError, match="CPU"):
        knn_backend("scipy", place)


class FakeCluster(SimpleNamespace):
    """torch_cluster's calling convention in plain torch, with its faults to be switched on."""

    fault: str | None = None

    def knn(self, x, y, k, batch_x, batch_y):
        rows, columns = [], []
        for i in range(len(y)):
            mine = (batch_x == batch_y[i]).nonzero()[:, 0]
            near = mine[(x[mine] - y[i]).norm(dim=1).argsort()[:k]]
            rows.append(torch.full_like(near, i))
            columns.append(near)
        if self.fault == "drops a row":
            rows, columns = rows[1:], columns[1:]
        if self.fault == "repeats":
            columns = [c[:1].expand_as(c) for c in columns]
        if self.fault == "out of range":
            columns = [c + len(x) for c in columns]
        return torch.stack([torch.cat(rows), torch.cat(columns)])

    def fps(self, x, batch, ratio, random_start):
        out = []
        for b in range(int(batch.max()) + 1):
            mine = (batch == b).nonzero()[:, 0]
            nearest, chosen = torch.full((len(mine),), torch.inf, dtype=x.dtype), [0]
            for _ in range(int(np.ceil(ratio * len(mine))) - 1):
                nearest = nearest.minimum((x[mine] - x[mine[chosen[-1]]]).norm(dim=1))
                chosen.append(0 if self.fault == "repeats" else int(nearest.argmax()))
            out.append(mine[chosen])
        found = torch.cat(out)
        return found[1:] if self.fault == "drops a row" else found


@pytest.fixture
def fake(monkeypatch):
    module = FakeCluster()
    monkeypatch.setitem(sys.modules, "torch_cluster", module)
    return module


def test_cluster_is_called_as_it_wants_to_be(fake):
    xyz = torch.randn(3, 40, 3)
    query = xyz[:, :15]
    assert torch.equal(knn(query, xyz, 6, backend="cluster").index, knn(query, xyz, 6).index)
    for m in (1, 13, 40):
        ours = farthest_point_sample(xyz, m)
        assert torch.equal(farthest_point_sample(xyz, m, backend="cluster"), ours)


@pytest.mark.parametrize("fault", ["drops a row", "repeats", "out of range"])
def test_faults_of_cluster_neighbours_are_caught(fake, fault):
    fake.fault = fault
    xyz = torch.randn(2, 10, 3)
    with pytest.raises(extras.BackendError, match="cluster"):
        knn(xyz, xyz, 3, backend="cluster")


@pytest.mark.parametrize("fault", ["drops a row", "repeats"])
def test_faults_of_cluster_samples_are_caught(fake, fault):
    fake.fault = fault
    with pytest.raises(extras.BackendError, match="cluster"):
        farthest_point_sample(torch.randn(2, 10, 3), 3, backend="cluster")


@pytest.mark.parametrize("kind", KINDS)
def test_the_installed_cluster_agrees_with_the_reference(kind):
    pytest.importorskip("torch_cluster", reason="torch_cluster is not installed")
    xyz = torch.from_numpy(make_cloud(kind, 200, 0))[None]
    theirs, ours = knn(xyz, xyz, 8, backend="cluster"), knn(xyz, xyz, 8, backend="reference")
    torch.testing.assert_close(theirs.dist2, ours.dist2, rtol=1e-8, atol=1e-12)


def test_the_installed_quickfps_agrees_on_a_generic_cloud():
    pytest.importorskip("torch_quickfps", reason="torch_quickfps is not installed")
    xyz = torch.randn(2, 300, 3, generator=torch.Generator().manual_seed(0))
    ours = farthest_point_sample(xyz, 100)
    assert torch.equal(farthest_point_sample(xyz, 100, backend="quickfps"), ours)


def test_quickfps_that_samples_duplicates_twice_is_caught():
    pytest.importorskip("torch_quickfps", reason="torch_quickfps is not installed")
    with pytest.raises(extras.BackendError, match="twice"):
        farthest_point_sample(torch.zeros(1, 8, 3), 8, backend="quickfps")
