"""The names that a pickle may ask for, and the plain values that are made in their place.

None of numpy's or Python's own functions of these names is called with what the file says: shapes,
types and sizes are checked first, and the bytes become an array by `numpy.frombuffer`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np

from pcinv.io.format import Array

_DTYPE = re.compile(r"b1|[iuf][1-9]\d?|[SU][1-9]\d{0,5}")  # U0 would be made a U1
_KEYS = (str, int, float, bytes, type(None))  # tuples could nest too deep to be hashed
_TOP_CODE_POINT = 0x10FFFF


class Name(NamedTuple):
    """The name of a class or function, which stays a name."""

    module: str
    name: str


class Box:
    """An array or number type under construction; the memo may point at it before it is ready."""

    def __init__(self, value: Any = None) -> None:
        self.value = value

    def build(self, state: Any) -> int:
        """Fill the array, or set the byte order of the type, as __setstate__ would; bytes made."""
        if isinstance(self.value, np.dtype):
            order, fields = state[1], state[2:5]
            if order not in ("<", ">", "|", "=") or fields != (None, None, None):
                raise ValueError("a structured type of numbers")
            self.value = self.value.newbyteorder(order)
            return 0
        if self.value is not None:
            raise ValueError("an array is filled twice")
        _, shape, kind, fortran, raw = state
        self.value, size = _array(raw, kind, shape, "F" if fortran else "C")
        return size


def expect(kind: Any, value: Any) -> Any:
    """Return `value` if it is of this kind, else raise ValueError."""
    if not isinstance(value, kind):
        raise ValueError(f"a {type(value).__name__} in a place where it makes no sense")
    return value


def as_key(value: Any) -> Any:
    """Return a value that may be a key of a dict or a member of a set."""
    return expect(_KEYS, value)


def fill(target: Any, items: list[Any]) -> Any:
    """Put key, value, key, value, ... into a dict, and return it."""
    expect(dict, target).update(
        (as_key(key), value) for key, value in zip(items[::2], items[1::2], strict=True)
    )
    return target


def _array(raw: Any, kind: Any, shape: Any, order: Any = "C") -> tuple[Array, int]:
    """Return the array (shape) of this kind in native byte order; `raw` must hold it exactly."""
    if isinstance(raw, str):
        raw = raw.encode("latin-1")
    if isinstance(shape, int):
        shape = (shape,)
    expect(np.dtype, kind), expect((bytes, bytearray), raw), expect(tuple, shape)
    if not all(type(n) is int and n >= 0 for n in shape) or order not in ("C", "F"):
        raise ValueError("an array whose shape is no tuple of sizes")
    needed = math.prod(shape) * kind.itemsize
    if needed != len(raw):
        raise ValueError(f"an array {shape} of {kind} needs {needed} bytes, there are {len(raw)}")
    if not needed:
        return np.empty(shape, kind), 0
    if kind.kind == "U" and int(np.frombuffer(raw, f"{kind.byteorder}u4").max()) > _TOP_CODE_POINT:
        raise ValueError("texts with characters that do not exist")
    flat = np.frombuffer(raw, kind).astype(kind.newbyteorder("="))
    return flat.reshape(shape, order=order), needed


def _scalar(kind: Any, raw: Any) -> tuple[Any, int]:
    array, size = _array(raw, kind, ())
    return array[()], size


def _empty_array(subtype: Any, shape: Any, kind: Any) -> tuple[Box, int]:
    """Stand in for numpy's _reconstruct; the content follows with BUILD."""
    if subtype != Name("numpy", "ndarray") or shape not in ((0,), 0):
        raise ValueError("an array of another class than numpy.ndarray")
    return Box(), 0


def _dtype(text: Any, align: Any = False, copy: Any = False) -> tuple[Box, int]:
    if not _DTYPE.fullmatch(expect(str, text)):
        raise ValueError(f"numbers of type {text!r}")
    return Box(np.dtype(text)), 0


def _encode(text: Any, encoding: Any) -> tuple[bytes, int]:
    """Return the bytes that old protocols write as a text."""
    if encoding not in ("latin1", "latin-1"):
        raise ValueError("bytes written in another encoding than latin-1")
    raw: bytes = expect(str, text).encode("latin-1")
    return raw, len(raw)


def _members(kind: Callable[[Iterable[Any]], Any]) -> Callable[..., tuple[Any, int]]:
    def make(items: Any = ()) -> tuple[Any, int]:
        made = kind(as_key(item) for item in expect((list, tuple), items))
        return made, 100 * len(made)

    return make


def _ordered(pairs: Any = ()) -> tuple[dict[Any, Any], int]:
    made = {as_key(key): value for key, value in expect((list, tuple), pairs)}
    return made, 100 * len(made)


CALLS: dict[Name, Callable[..., tuple[Any, int]]] = {
    Name("numpy", "dtype"): _dtype,
    Name("_codecs", "encode"): _encode,
    Name("collections", "OrderedDict"): _ordered,
    **{
        Name(f"numpy.{core}.{module}", name): make
        for core in ("core", "_core")
        for module, name, make in (
            ("multiarray", "_reconstruct", _empty_array),
            ("multiarray", "scalar", _scalar),
            ("numeric", "_frombuffer", _array),
        )
    },
    **{
        Name(module, name): make
        for module in ("builtins", "__builtin__")
        for name, make in (
            ("bytes", lambda: (b"", 0)),
            ("set", _members(set)),
            ("frozenset", _members(frozenset)),
        )
    },
}
"""Allowed name -> the maker of its value, which also tells how many bytes it made."""

PASSIVE = frozenset({Name("numpy", "ndarray")})
"""Names that may stand as arguments, but not be called."""
