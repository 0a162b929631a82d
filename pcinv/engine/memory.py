"""Keep freed memory in the process: training on a CPU reuses the same large tensors every step."""

from __future__ import annotations

import ctypes
import platform

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4
_KEEP = 2**30


def keep_freed_memory() -> bool:
    """Tell the C library not to hand large blocks back to the system after each use.

    By default glibc maps every block above 32 MiB anew, and the system then clears each of its
    pages on first use; a training step frees and asks for hundreds of them. Affects the whole
    process. Returns whether the C library understood.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    libc = ctypes.CDLL(None)
    return bool(libc.mallopt(_M_MMAP_MAX, 0) and libc.mallopt(_M_TRIM_THRESHOLD, _KEEP))
