"""`pcinv doctor`: what this installation can do, and the command that adds what is missing."""

from __future__ import annotations

import ctypes
import dataclasses
import importlib.metadata
import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterator

from pcinv import __version__
from pcinv_cli.failures import Failure
from pcinv_cli.options import verb
from pcinv_cli.output import Outcome, Talk

_SYSTEM_LIBRARIES = {
    "OpenGL": ("libGL.so.1", "libgl1"),
    "EGL": ("libEGL.so.1", "libegl1"),
    "Vulkan": ("libvulkan.so.1", "libvulkan1 mesa-vulkan-drivers"),
}
_TRY_OPEN3D = """
import ctypes
try:
    import libusb_package
    ctypes.CDLL(str(libusb_package.get_library_path()), mode=ctypes.RTLD_GLOBAL)
except (ImportError, OSError):
    pass
import open3d
print(open3d.__version__)
"""
_SPECIAL_INSTALL = {"torch-cluster": "pip install --no-build-isolation torch-cluster  (compiles)"}


@dataclasses.dataclass(frozen=True)
class Finding:
    """One row: `state` is ok, missing (optional, can be added) or broken (the base needs it)."""

    name: str
    state: str
    detail: str
    fix: str | None = None


@verb("doctor", "Check this installation and say what is missing.", (
    ("pcinv doctor", "a table, with the command that adds each missing part"),
    ("pcinv doctor --json", "for a bug report"),
    ("pcinv doctor && pcinv train", "exit code 0 unless something the base needs is broken"),
))
def command(talk: Talk) -> Outcome:
    """Look at Python, the packages, the devices, the backends and the system's libraries."""
    found = [*_python(), *_packages(), *_torch(), *_backends(), *_open3d(), *_system()]
    broken = [row for row in found if row.state == "broken"]
    gate = None
    if broken:
        gate = Failure(4, "dependency", f"{', '.join(row.name for row in broken)}: broken",
                       "pcinv doctor", broken[0].fix)
    return Outcome({"healthy": not broken, "checks": found}, lambda t: _show(t, found), gate)


def _show(talk: Talk, found: list[Finding]) -> None:
    talk.table(("what", "state", "detail", "to add it"),
               [(row.name, row.state, row.detail, row.fix) for row in found])


def _python() -> Iterator[Finding]:
    version = platform.python_version()
    state = "ok" if sys.version_info >= (3, 11) else "broken"
    yield Finding("python", state, f"{version} on {platform.platform()}",
                  None if state == "ok" else "install Python 3.11 or newer")
    yield Finding("pcinv", "ok", __version__)


def _packages() -> Iterator[Finding]:
    """One row for each requirement of the package's own metadata, the extras' last."""
    from packaging.markers import default_environment
    from packaging.requirements import Requirement

    try:
        lines = importlib.metadata.requires("pcinv") or []
    except importlib.metadata.PackageNotFoundError:
        yield Finding("packages", "missing", "pcinv runs from its source, not installed",
                      "pip install .")
        return
    environment = {key: str(value) for key, value in default_environment().items()}
    for requirement in map(Requirement, lines):
        extra = _extra_of(requirement)
        if extra in ("dev", "docs") or not _applies(requirement, environment, extra):
            continue
        install = (_SPECIAL_INSTALL.get(requirement.name, f"pip install 'pcinv[{extra}]'") if extra
                   else f"pip install '{requirement.name}{requirement.specifier}'")
        name = f"{requirement.name} [{extra}]" if extra else requirement.name
        absent = "missing" if extra else "broken"
        try:
            version = importlib.metadata.version(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            yield Finding(name, absent, "not installed", install)
            continue
        fits = requirement.specifier.contains(version, prereleases=True)
        yield Finding(name, "ok" if fits else absent,
                      version if fits else f"{version}, {requirement.specifier} needed",
                      None if fits else install)


def _extra_of(requirement: object) -> str | None:
    found = re.search(r"""extra\s*==\s*["']([^"']+)["']""", str(getattr(requirement, "marker", "")))
    return found.group(1) if found else None


def _applies(requirement: object, environment: dict[str, str], extra: str | None) -> bool:
    marker = getattr(requirement, "marker", None)
    return marker is None or bool(marker.evaluate({**environment, "extra": extra or ""}))


def _torch() -> Iterator[Finding]:
    try:
        import torch
    except (ImportError, OSError) as error:
        yield Finding("device", "broken", f"torch does not start: {error}", "pip install torch")
        return
    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(k) for k in range(torch.cuda.device_count())]
        yield Finding("device", "ok", ", ".join(f"cuda:{k} {n}" for k, n in enumerate(names)))
    else:
        yield Finding("device", "ok", "cpu (no CUDA device seen)")
    yield Finding("threads", "ok", f"{torch.get_num_threads()} of {os.cpu_count()} cores")


def _backends() -> Iterator[Finding]:
    """What answers neighbour and sampling queries here, and which of them by default."""
    try:
        from pcinv.ops import available_backends
    except (ImportError, OSError) as error:
        yield Finding("backends", "broken", str(error), "pip install --force-reinstall pcinv")
        return
    rows = [row for row in available_backends() if row.available]
    for kind, operation in (("nearest neighbours", "knn"),
                            ("farthest points", "farthest_point_sample")):
        names = [f"{row.name} (default on cpu)" if row.default else row.name
                 for row in rows if row.operation == operation]
        yield Finding(kind, "ok", ", ".join(names))


def _open3d() -> Iterator[Finding]:
    """Import open3d in a child: without its system libraries it may end the process."""
    try:
        done = subprocess.run([sys.executable, "-c", _TRY_OPEN3D], capture_output=True, text=True,
                              timeout=120, check=False, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired) as error:
        yield Finding("import open3d", "broken", str(error), "pip install open3d-cpu")
        return
    if done.returncode == 0:
        yield Finding("import open3d", "ok", done.stdout.strip().splitlines()[-1])
        return
    last = (done.stderr.strip().splitlines() or [f"exit {done.returncode}"])[-1]
    yield Finding("import open3d", "broken", last[:120], "pip install libusb-package open3d-cpu")


def _system() -> Iterator[Finding]:
    """Libraries that windows and pictures need from the system; nothing else needs them."""
    if platform.system() != "Linux":
        return
    for name, (library, package) in _SYSTEM_LIBRARIES.items():
        try:
            ctypes.CDLL(library)
        except OSError:
            yield Finding(name, "missing", f"{library} not found (windows and pictures)",
                          f"apt-get install {package}")
        else:
            yield Finding(name, "ok", library)
