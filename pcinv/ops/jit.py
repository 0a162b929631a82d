"""Compile numeric loops for the CPU with numba, which needs no compiler on the machine.

Modules of compiled loops are called `*kernels.py`; they import numba through this one, and are
themselves imported inside the functions that use them, so that importing pcinv costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba

Kernel = Callable[..., Any]


def jit(function: Kernel) -> Kernel:
    """Compile the function on its first call; the machine code is kept on disk where it may be.

    Compiled loops release the interpreter's lock. Arithmetic keeps its order (no fast-math), so a
    result does not depend on the machine's vector width.
    """
    options: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
    try:
        kernel: Kernel = numba.njit(cache=True, **options)(function)
    except RuntimeError:  # no folder that numba may write to: compile anew in each process
        kernel = numba.njit(**options)(function)
    return kernel
