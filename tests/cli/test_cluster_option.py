"""`--cluster`: pairs of `pcinv register` and of `pcinv benchmark` on the workers of a cluster."""

import sys

import numpy as np
import pytest
from helpers.fake_threedmatch import write_scene
from helpers.local_cluster import local_cluster
from helpers.surfaces import body_view

import pcinv

NOWHERE = "tcp://127.0.0.1:1"
BENCHMARK = ("benchmark", "registration", "--dataset", "3dmatch", "--root", "copy", "--fast")


@pytest.fixture
def here(tmp_path):
    """Two scans, a list of them, and a copy of a data set in the working folder."""
    (tmp_path / "scans").mkdir()
    for k in range(2):
        points = body_view(35.0 * k, count=1200)[0].astype(np.float32)
        pcinv.write(tmp_path / f"scans/{k}.ply", pcinv.PointCloud(points))
    (tmp_path / "list.csv").write_text("source,target\nscans/0.ply,scans/1.ply\n")
    write_scene(tmp_path / "copy", "kitchen", [(0, 2), (1, 3)], points=1000)


def test_the_workers_do_it(ask, here):
    with local_cluster() as address:
        many = ask("register", "--folder", "scans", "-o", "model", "--fast", "--cluster", address)
        listed = ask("register", "--pairs", "list.csv", "-o", "out", "--fast", "--cluster", address)
        figures = ask(*BENCHMARK, "--cluster", address)["result"]
    assert many["result"]["counts"]["trusted"] == listed["result"]["counts"]["trusted"] == 1
    assert figures["num_pairs"] == 2 and figures["num_errors"] == 0
    # what is there needs no cluster any more
    again = ask("register", "--pairs", "list.csv", "-o", "out", "--fast", "--cluster", NOWHERE)
    assert again["result"]["num_skipped"] == 1


@pytest.mark.parametrize("args", [("register", "--pairs", "list.csv", "-o", "out"), BENCHMARK])
def test_how_it_fails(ask, here, monkeypatch, args):
    error = ask(*args, "--jobs", 2, "--cluster", NOWHERE, code=2)["error"]
    assert error["code"] == "usage" and error["where"] == "--jobs"
    monkeypatch.setitem(sys.modules, "distributed", None)
    error = ask(*args, "--cluster", NOWHERE, code=4)["error"]
    assert error["code"] == "dependency" and "pcinv[dask]" in error["hint"]
    monkeypatch.undo()


def test_an_address_where_nothing_is(ask, here, monkeypatch):
    pytest.importorskip("distributed", reason="distributed is not installed")
    monkeypatch.setattr("pcinv.registration.cluster.CONNECT_SECONDS", 0.5)
    error = ask("register", "--folder", "scans", "-o", "out", "--cluster", NOWHERE, code=8)["error"]
    assert error["code"] == "network" and error["where"] == NOWHERE


def test_one_pair_needs_none(ask, here):
    error = ask("register", "scans/0.ply", "scans/1.ply", "--cluster", NOWHERE, code=2)["error"]
    assert error["where"] == "--cluster" and "--folder" in error["hint"]
