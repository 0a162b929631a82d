"""What other packages add by entry points: backbones, data sets, readers of formats.

A package declares, in its pyproject.toml, under the group the name and the object:

    [project.entry-points."pcinv.backbones"]
    mynet = "mypackage:MYNET"

It is imported when names are listed, or when a name is none of pcinv's own. One that cannot be
imported never keeps other names from working.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

from pcinv.errors import DependencyError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

BACKBONES = "pcinv.backbones"
DATASETS = "pcinv.datasets"
READERS = "pcinv.readers"
OWN_DATASETS = "pcinv_data"
"""The entry of `DATASETS` that comes with pcinv itself."""

Check = Callable[[Any], str | None]
"""Returns what is wrong with the object of an entry point, or None."""


class PluginError(DependencyError):
    """A package that adds to pcinv and cannot be used."""

    code = "plugin"


class PluginWarning(UserWarning):
    """A package that adds to pcinv cannot be used; what it adds is left out."""


def entries(group: str) -> list[EntryPoint]:
    """Return the entry points of a group, pcinv's own first, then by name."""
    import importlib.metadata

    found = importlib.metadata.entry_points(group=group)
    return sorted(found, key=lambda entry: (entry.name != OWN_DATASETS, entry.name))


def load(entry: EntryPoint, check: Check = lambda _: None) -> Any:
    """Return the object that an entry point names.

    Raises
    ------
    PluginError, which names the package, where it cannot be imported or `check` finds a fault.
    """
    try:
        found = entry.load()
    except (Exception, SystemExit) as error:
        raise broken(entry, f"{type(error).__name__}: {error}") from error
    fault = check(found)
    if fault is not None:
        raise broken(entry, fault)
    return found


def find(group: str, name: str, check: Check) -> Any | None:
    """Return the object of this name, or None where no package has it; others are not imported.

    Raises
    ------
    PluginError where a package has it and cannot be used.
    """
    for entry in entries(group):
        if entry.name == name:
            return load(entry, check)
    return None


@cache
def offered(group: str, check: Check) -> dict[str, Any]:
    """Return name -> object of all packages that can be used; a warning names each other one."""
    found: dict[str, Any] = {}
    for entry in entries(group):
        try:
            found.setdefault(entry.name, load(entry, check))
        except PluginError as error:
            warn(error)
    return found


def dataset_names() -> list[str]:
    """Return the names of data sets that other packages offer, by their `list_datasets()`."""
    names: list[str] = []
    for entry in entries(DATASETS):
        if entry.name == OWN_DATASETS:
            continue
        try:
            names += load(entry, _lists_names).list_datasets()
        except PluginError as error:
            warn(error)
    return names


def _lists_names(provider: Any) -> str | None:
    lacking = [name for name in ("load_dataset", "list_datasets") if not hasattr(provider, name)]
    return f"it has no {' and no '.join(lacking)}" if lacking else None


def broken(entry: EntryPoint, reason: str) -> PluginError:
    """Return the error for an entry point that cannot be used."""
    package = getattr(getattr(entry, "dist", None), "name", None) or "an unnamed package"
    return PluginError(
        f"'{entry.name}', which the package {package} adds, cannot be used: {reason}",
        where=f"{entry.group}: {entry.value}", hint=f"update it, or pip uninstall {package}")


def warn(error: PluginError) -> None:
    """Tell what is left out, and why."""
    warnings.warn(f"{error.message} ({error.where}); it is left out", PluginWarning, stacklevel=2)
