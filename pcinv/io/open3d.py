"""Open3D, imported on a machine that lacks its system library libusb as well."""

from __future__ import annotations

import ctypes
import os
from contextlib import suppress
from importlib import import_module
from typing import Any

from pcinv.errors import DependencyError


def import_open3d(where: str | None = None) -> Any:
    """Return the module open3d.

    where : argument that asked for it, for the error.

    Raises DependencyError where it is not installed, or does not start.
    """
    with suppress(ImportError, OSError):  # the wheel's libusb, for all libraries to see
        libusb = import_module("libusb_package").get_library_path()
        ctypes.CDLL(str(libusb), mode=ctypes.RTLD_GLOBAL)
    # in a notebook it would start a server for windows of its own, and talk about it
    os.environ.setdefault("OPEN3D_DISABLE_WEB_VISUALIZER", "true")
    try:
        return import_module("open3d")
    except (ImportError, OSError) as error:
        raise DependencyError(f"open3d does not start: {error}", where=where,
                              hint="pcinv doctor says what is missing") from error
