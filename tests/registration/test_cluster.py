"""Many pairs on a dask cluster: the same answers, and nothing that waits for ever."""

import json
import os
import socket
import sys
import threading
import time

import numpy as np
import pytest
from helpers.fake_threedmatch import write_scene
from helpers.local_cluster import fail, local_cluster, square_or_end, threads
from helpers.surfaces import body_view

import pcinv
from pcinv.errors import DependencyError, LimitError, NetworkError, UsageError
from pcinv.registration import cluster as module
from pcinv.registration.cluster import cluster_answers
from pcinv.registration.jobs import answers
from pcinv_data.benchmark import run_registration


@pytest.fixture(scope="module")
def address():
    with local_cluster() as found:
        yield found


def timeless(rows):
    return sorted(json.dumps({**row, "time_ms": None}, sort_keys=True) for row in rows)


def test_the_same_answers_as_in_one_process(address, tmp_path, monkeypatch):
    for k in range(2):
        points = body_view(35.0 * k, count=1200)[0].astype(np.float32)
        pcinv.write(tmp_path / f"{k}.ply", pcinv.PointCloud(points))
    (tmp_path / "list.csv").write_text("source,target\n0.ply,none.ply\n0.ply,1.ply\n1.ply,0.ply\n")
    monkeypatch.chdir(tmp_path)  # the workers stay where they are
    seen = []
    alone = pcinv.register_pairs("list.csv", "alone", fast=True)
    many = pcinv.register_pairs("list.csv", "many", fast=True, cluster=address,
                                callback=lambda done, total, row: seen.append((done, total)))
    assert seen == [(0, 3), (1, 3), (2, 3), (3, 3)]
    assert [row["verdict"] for row in many.rows] == [None, "trusted", "trusted"]
    assert many.rows[0]["error"]["code"] == "file"
    assert timeless(alone.rows[1:]) == timeless(many.rows[1:])
    stored = [json.loads(line) for line in (tmp_path / "many/pairs.jsonl").read_text().splitlines()]
    assert timeless(stored) == timeless(many.rows)
    again = pcinv.register_pairs("list.csv", "many", fast=True, cluster=address)
    assert again.num_skipped == 2 and timeless(again.rows) == timeless(many.rows)


def test_a_benchmark_has_the_same_figures(address, tmp_path, monkeypatch):
    write_scene(tmp_path / "copy", "kitchen", [(0, 2), (1, 3), (2, 4)], points=800)
    monkeypatch.chdir(tmp_path)
    found = [run_registration("3dmatch", "copy", fast=True, **options)
             for options in ({}, {"cluster": address})]
    for figures in found:
        figures.pop("time_ms_median")
    assert found[0]["num_errors"] == 0 and found[0] == found[1]


def test_tasks_run_in_the_workers_with_one_thread(address):
    told = set(answers(threads, range(8), 1, address))
    assert len(told) == 2 and {count for _, count in told} == {1}
    assert os.getpid() not in {process for process, _ in told}
    assert list(answers(threads, [], 1, "tcp://127.0.0.1:1")) == []  # nothing to do: no cluster


def test_a_task_that_ends_its_worker_keeps_no_other(address):
    found = []
    with pytest.raises(LimitError, match="1 of 7 tasks ended their workers") as caught:
        for answer in cluster_answers(square_or_end, range(7), address):
            found.append(answer)
    assert caught.value.where == address
    assert sorted(found) == [0, 1, 4, 16, 25, 36]


def test_an_error_of_the_work_comes_here(address):
    with pytest.raises(UsageError, match="number 5"):
        list(cluster_answers(fail, [5], address))


def test_another_version_is_not_mixed_in(address, monkeypatch):
    monkeypatch.setattr(module, "__version__", "0.0.9")
    with pytest.raises(UsageError, match=f"pcinv {pcinv.__version__}, here it is 0.0.9"):
        list(cluster_answers(threads, [1], address))


def test_a_cluster_without_workers_is_told(monkeypatch):
    monkeypatch.setattr(module, "PATIENCE_SECONDS", 0.5)
    with local_cluster(workers=0) as address, pytest.raises(NetworkError, match="no worker") as e:
        list(cluster_answers(threads, [1], address))
    assert e.value.where == address


@pytest.fixture
def babbler():
    """The address of a port that answers, but not as a scheduler does."""
    server = socket.create_server(("127.0.0.1", 0))

    def babble():
        while True:
            try:
                connection = server.accept()[0]
            except OSError:
                return
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n" * 4)
            connection.close()

    thread = threading.Thread(target=babble, daemon=True)
    thread.start()
    yield f"tcp://127.0.0.1:{server.getsockname()[1]}"
    server.shutdown(socket.SHUT_RDWR)
    server.close()
    thread.join()


def test_what_is_no_scheduler_is_named(babbler, monkeypatch):
    pytest.importorskip("distributed", reason="distributed is not installed")
    monkeypatch.setattr(module, "CONNECT_SECONDS", 0.5)
    for address in ("tcp://127.0.0.1:1", babbler, "tcp://127.0.0.1:1", "127.0.0.1:1"):
        start = time.monotonic()
        with pytest.raises(NetworkError, match="no dask scheduler answers") as caught:
            list(cluster_answers(threads, [1], address))
        assert caught.value.where == address and caught.value.exit_code == 8
        assert time.monotonic() - start < 20
    for address in ("here://127.0.0.1:1", "tcp://127.0.0.1:port", ""):
        with pytest.raises(UsageError, match="no address of a scheduler") as caught:
            list(cluster_answers(threads, [1], address))
        assert f"'{address}'" in caught.value.message


def test_without_the_package_it_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(DependencyError) as caught:
        list(cluster_answers(threads, [1], "tcp://127.0.0.1:1"))
    assert caught.value.exit_code == 4 and "pcinv[dask]" in caught.value.hint
