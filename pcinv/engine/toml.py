"""Write configuration trees as TOML; the reader is `tomllib` of the standard library."""

from __future__ import annotations

import json
import math
import re
import tomllib
from collections.abc import Mapping
from typing import Any

from pcinv.errors import ConfigError

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


def parse_value(text: str, where: str) -> Any:
    """Read one TOML value; a lone word that is no TOML value is taken as a string.

    `3e-4` is a float, `true` a bool, `[0.8, 1.2]` a list, `adamw` the string "adamw".
    """
    try:
        parsed = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError as error:
        if text[:1] in ("[", "{", '"', "'") or "\n" in text:
            raise ConfigError(f"'{text}' is not a TOML value: {error}", where=where,
                              hint='write key=3, key="text" or key=[1, 2]') from error
        return text
    return parsed["value"]


def dumps(tree: Mapping[str, Any]) -> str:
    """Write a tree of tables, lists and plain values as TOML, without the keys that are None.

    Raises
    ------
    ConfigError for a value that TOML has no type for.
    """
    lines: list[str] = []
    _write_table(tree, (), lines)
    return "\n".join(lines).strip() + "\n"


def _write_table(table: Mapping[str, Any], path: tuple[str, ...], lines: list[str]) -> None:
    tables = {key: value for key, value in table.items() if isinstance(value, Mapping)}
    if path:
        lines += ["", f"[{'.'.join(_key(part) for part in path)}]"]
    for key, value in table.items():
        if key not in tables and value is not None:
            lines.append(f"{_key(key)} = {_value(value, '.'.join((*path, key)))}")
    for key, value in tables.items():
        _write_table(value, (*path, key), lines)


def _key(key: str) -> str:
    return key if _BARE_KEY.fullmatch(key) else _string(key)


def _string(text: str) -> str:
    # JSON escapes are TOML escapes, but for DEL, which TOML wants escaped as well
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _value(value: Any, where: str) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return repr(value) if math.isfinite(value) else str(value)
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(_value(item, where) for item in value)}]"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_key(k)} = {_value(v, where)}" for k, v in value.items()) + "}"
    raise ConfigError(f"a {type(value).__name__} cannot be written as TOML", where=where,
                      hint="use numbers, strings, booleans, lists and tables")
