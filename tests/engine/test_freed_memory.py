"""Large blocks stay with the process, so that the system need not clear them again."""

import platform
import subprocess
import sys

import pytest

COUNT = """
import resource, sys, torch
from pcinv.engine.memory import keep_freed_memory
if sys.argv[1] == "keep" and not keep_freed_memory():
    sys.exit("not understood")
for _ in range(8):  # until the heap has grown
    torch.zeros(2**24).add_(1)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(8):
    torch.zeros(2**24).add_(1)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(mode):
    done = subprocess.run([sys.executable, "-c", COUNT, mode], capture_output=True, text=True,
                          check=True)
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_blocks_are_used_again():
    assert page_faults("keep") < page_faults("leave") / 4
