"""Packages that offer data sets, asked in turn for a name.

A package offers data sets through an entry point of the group "pcinv.datasets". It names a module
with `list_datasets()` and `load_dataset(name, root, split, num_points=..., seed=..., ...)`, and
perhaps `open_sequence(path, format, ...)`, which raise `UnknownNameError` for names that are not
its own. Packages are asked in turn, pcinv_data first; one that cannot be imported is left out, with
a warning.
"""

from __future__ import annotations

from typing import Any

from pcinv import plugins
from pcinv.errors import DependencyError, UnknownNameError, unknown_name


def from_providers(function: str, name: str, **options: Any) -> Any:
    """Return `function(name, **options)` of the first package whose function knows the name.

    Raises the first UnknownNameError where none does, DependencyError where there is no package.
    """
    providers = plugins.entries(plugins.DATASETS)
    if not providers:
        raise DependencyError("no package with data sets is installed", where=f"data set '{name}'",
                              hint="pip install pcinv, which brings pcinv_data")
    unknown, broken = [], []
    for entry in providers:
        try:
            provider = plugins.load(entry)
            if hasattr(provider, function):
                return getattr(provider, function)(name, **options)
        except UnknownNameError as error:
            unknown.append(error)
        except plugins.PluginError as error:
            plugins.warn(error)
            broken.append(error)
    raise next(iter([*unknown, *broken]), unknown_name("data set", name, ()))
