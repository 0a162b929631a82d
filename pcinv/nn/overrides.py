"""Changes to the hyper-parameters of a method, by name."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, TypeVar

from pcinv.errors import ConfigError, nearest

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Hyper = TypeVar("Hyper", bound="DataclassInstance")


def with_overrides(
    hyper: Hyper, overrides: dict[str, Any], name: str, where: str = "model"
) -> Hyper:
    """Return the hyper-parameters of a method with some changed; lists become tuples.

    where : the table of the configuration that they stand in.

    Raises ConfigError for one that the method does not have.
    """
    known = [f.name for f in dataclasses.fields(hyper)]
    for key in overrides:
        if key not in known:
            near = nearest(key, known) or known
            raise ConfigError(f"{name} has no hyper-parameter '{key}'", where=f"{where}.{key}",
                              hint=f"did you mean {' or '.join(near)}?")
    values = {k: tuple(v) if isinstance(v, list) else v for k, v in overrides.items()}
    return dataclasses.replace(hyper, **values)
