"""Changes to the hyper-parameters of a method, by name."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from pcinv.errors import ConfigError, nearest, unknown_name

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Hyper = TypeVar("Hyper", bound="DataclassInstance")


def with_overrides(
    hyper: Hyper, overrides: dict[str, Any], name: str, where: str = "model"
) -> Hyper:
    """Return the hyper-parameters of a method with some changed; lists become tuples.

    where : the table of the configuration that they stand in.

    Raises ConfigError for one that the method does not have, UnknownNameError for a choice that is
    not among those that its annotation lists.
    """
    known = [f.name for f in dataclasses.fields(hyper)]
    for key in overrides:
        if key not in known:
            near = nearest(key, known) or known
            raise ConfigError(f"{name} has no hyper-parameter '{key}'", where=f"{where}.{key}",
                              hint=f"did you mean {' or '.join(near)}?")
        known_values = _choices(hyper, key)
        if known_values and overrides[key] not in known_values:
            names = [str(v) for v in known_values if v is not None]
            raise unknown_name(key, str(overrides[key]), names, where=f"{where}.{key}")
    values = {k: tuple(v) if isinstance(v, list) else v for k, v in overrides.items()}
    return dataclasses.replace(hyper, **values)


def _choices(hyper: DataclassInstance, key: str) -> tuple[Any, ...]:
    """Return the values that `Literal[...]`, or None beside it, lists for a field; else nothing."""
    try:
        hint = get_type_hints(type(hyper))[key]
    except NameError:  # of another package, which imports names for type checkers alone
        return ()
    parts = (hint,) if get_origin(hint) is Literal else get_args(hint)
    listed = [part for part in parts if get_origin(part) is Literal]
    if not listed:
        return ()
    none = (None,) if type(None) in parts else ()
    return (*(value for part in listed for value in get_args(part)), *none)
