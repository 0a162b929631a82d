"""Ceilings of memory, measured in a child process."""

import subprocess
import sys

import pytest

SCRIPT = """
import re, sys, torch
from pathlib import Path
from pcinv.ops import knn
torch.set_num_threads(1)

def peak():  # of this program alone; ru_maxrss begins with that of the parent
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])

backend, count, rows = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
xyz = torch.rand(1, count, 3)
knn(xyz[:, :50], xyz[:, :50], 2, backend=backend)
before = peak()
knn(xyz[:, :rows], xyz, 16, backend=backend)
print(peak() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from Linux's /proc")
@pytest.mark.parametrize(("backend", "rows"), [("scipy", 200_000), ("reference", 400)])
def test_neighbours_of_200_000_points_stay_below_a_gibibyte(backend, rows):
    """A matrix of all pairs would take 298 GiB; of 400 rows, and its copies, 3 GiB."""
    done = subprocess.run([sys.executable, "-c", SCRIPT, backend, "200000", str(rows)],
                          capture_output=True, text=True, check=True, timeout=200)
    assert 0 < int(done.stdout) < 2**20  # kilobytes
