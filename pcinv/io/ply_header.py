"""The header of PLY files: elements, their properties, and where the body begins."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import numpy as np

from pcinv import limits
from pcinv.io.source import Source

Order: TypeAlias = Literal["=", "<", ">"]
_KINDS = ("i1", "u1", "i2", "u2", "i4", "u4", "f4", "f8")
_OLD = ("char", "uchar", "short", "ushort", "int", "uint", "float", "double")
_NEW = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "float32", "float64")
TYPES = dict(zip(_OLD + _NEW, _KINDS * 2, strict=True))
"""Name of a property's type -> numpy type."""
NAMES = dict(zip(_KINDS, _OLD, strict=True))
_ORDER: dict[str, Order] = {
    "ascii": "=",
    "binary_little_endian": "<",
    "binary_big_endian": ">",
}
VECTOR = "comment pcinv vector"
"""Comment of pcinv's writer: properties NAME_0, NAME_1, ... are one attribute of this width."""


@dataclass
class Property:
    """One value of a row, or a list of values."""

    name: str
    type: np.dtype[np.generic]
    count_type: np.dtype[np.generic] | None = None  # of a list


@dataclass
class Element:
    """`count` rows of the same properties."""

    name: str
    count: int
    properties: list[Property] = field(default_factory=list)

    def least_bytes(self, ascii: bool) -> int:
        """Bytes that a row takes at least; in ascii a digit and a separator for each value."""
        if ascii:
            return 2 * len(self.properties)
        return sum((p.count_type or p.type).itemsize for p in self.properties)


@dataclass
class Header:
    """What the header says."""

    order: Order
    ascii: bool
    elements: list[Element]
    vectors: dict[str, int]
    body: int
    body_line: int


def read_header(source: Source) -> Header:
    """Parse the header.

    Raises
    ------
    FileFormatError : no PLY header, or one that contradicts itself.
    """
    if not source.head.startswith(b"ply"):
        raise source.error("no 'ply' at the start: this is not a PLY file", byte=0)
    text = source.data[: limits.MAX_HEADER_BYTES]
    end = text.find(b"\nend_header") + 1
    stop = text.find(b"\n", end)
    if not end or stop < 0:
        raise source.error(f"no line end_header in the first {len(text)} bytes")
    order: Order | None = None
    ascii, elements = False, []
    vectors: dict[str, int] = {}
    lines = text[: end - 1].decode("latin-1").replace("\r", "").split("\n")
    for number, line in enumerate(lines[1:], 2):
        words = line.split()
        try:
            if line.startswith(VECTOR):
                vectors[words[3]] = int(words[4])
            elif not words or words[0] in ("comment", "obj_info"):
                continue
            elif words[0] == "format":
                order = _ORDER[words[1]]
                ascii = words[1] == "ascii"
            elif words[0] == "element":
                elements.append(Element(words[1], int(words[2])))
            elif words[0] == "property":
                elements[-1].properties.append(_property(words, order or "="))
            else:
                raise source.error(f"unknown header line '{line[:60]}'", line=number)
        except (IndexError, KeyError, ValueError) as error:
            raise source.error(
                f"header line '{line[:60]}' cannot be understood", line=number
            ) from error
    if order is None:
        raise source.error("the header has no format line", line=2)
    for element in elements:
        names = [p.name for p in element.properties]
        if element.count < 0:
            raise source.error(f"the header promises {element.count} elements '{element.name}'")
        if (element.count and not names) or len(set(names)) != len(names):
            raise source.error(
                f"element '{element.name}' has no properties, or two of the same name"
            )
    if not any(e.name == "vertex" for e in elements):
        raise source.error("the header has no element 'vertex'")
    if len({e.name for e in elements}) != len(elements):
        raise source.error("the header has two elements of the same name")
    return Header(order, ascii, elements, vectors, stop + 1, len(lines) + 2)


def _property(words: list[str], order: Order) -> Property:
    if words[1] == "list":
        count = np.dtype(TYPES[words[2]]).newbyteorder(order)
        if count.kind == "f":
            raise ValueError(words[2])
        return Property(words[4], np.dtype(TYPES[words[3]]).newbyteorder(order), count)
    return Property(words[2], np.dtype(TYPES[words[1]]).newbyteorder(order))
