"""Pickles, read without running them: numbers, texts, plain containers and numpy arrays.

The standard `pickletools` parses the opcodes, and the small stack machine below interprets them.
A global is no more than a name that is looked up in `pickled_names.CALLS`: nothing is imported, no
foreign function is called and no attribute is set, so that a hostile file can only be refused.
Python's own unpickler is not used, for it allocates what a file tells it to; nor is torch's, which
has run foreign code before (CVE-2025-32434).
"""

from __future__ import annotations

import io
import os
import pickletools
import struct
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np

from pcinv.errors import LimitError
from pcinv.io.format import Array
from pcinv.io.pickled_names import CALLS, PASSIVE, Box, Name, as_key, expect, fill
from pcinv.io.source import Source, open_source

MAX_OPERATIONS = 10_000_000
"""Opcodes of one pickle; a list of 20,000 pairs with poses takes about a million."""
_LONGEST = 120  # characters of a file's own text in a message
_TORCH_MAGIC = 0x1950A86A20F9469CFC6C
_VALUES = frozenset(
    "INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT BINFLOAT STRING BINSTRING SHORT_BINSTRING"
    " UNICODE BINUNICODE SHORT_BINUNICODE BINUNICODE8 BINBYTES SHORT_BINBYTES BINBYTES8"
    " BYTEARRAY8".split()
)
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_CONTAINERS: dict[str, type] = {
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
    "EMPTY_TUPLE": tuple,
    "EMPTY_SET": set,
}
_DAMAGE = (ValueError, IndexError, KeyError, TypeError, OverflowError, AttributeError, struct.error)


def read_pickle(path: str | os.PathLike[str]) -> Any:
    """Return what one pickle holds: numbers, texts, lists, tuples, dicts, sets, numpy arrays.

    Raises
    ------
    FileFormatError : the file is missing or damaged, or its pickle names a class or function
        other than those that rebuild numpy arrays; the message holds that name.
    LimitError : it is larger than MAX_FILE_BYTES, or has more than MAX_OPERATIONS opcodes.
    """
    source = open_source(path)
    return _Machine(source, io.BytesIO(source.data)).run()


def read_torch_array(path: str | os.PathLike[str]) -> Array:
    """Return the one numpy array that `torch.save` wrote, in its old or its zip format.

    Raises FileFormatError and LimitError as `read_pickle` does; tensors are refused.
    """
    source = open_source(path)
    if source.head.startswith(b"PK\x03\x04"):
        content = _Machine(source, io.BytesIO(_zipped(source))).run()
    else:
        stream = io.BytesIO(source.data)
        magic = _Machine(source, stream).run()
        if not isinstance(magic, int) or magic != _TORCH_MAGIC:
            raise source.error("a pickle, but not one of torch.save", byte=0)
        version, system, content = (_Machine(source, stream).run() for _ in range(3))
        if not isinstance(version, int) or version != 1001 or not isinstance(system, dict):
            raise source.error("torch.save in a version that is not known")
    if not isinstance(content, np.ndarray):
        raise source.error(
            f"torch.save of a {type(content).__name__}, expected one numpy array",
            hint="save the coordinates alone: np.save(path, xyz)",
        )
    return content


def _zipped(source: Source) -> bytes:
    """Return the pickle of a zip of torch.save, which stores it without compression."""
    try:
        with zipfile.ZipFile(io.BytesIO(source.data)) as archive:
            names = [n for n in archive.namelist() if n.count("/") == 1 and n.endswith("/data.pkl")]
            if len(names) != 1 or archive.getinfo(names[0]).compress_type != zipfile.ZIP_STORED:
                raise source.error("a zip, but not one of torch.save")
            return archive.read(names[0])
    except (zipfile.BadZipFile, OSError, RuntimeError, NotImplementedError, *_DAMAGE) as error:
        raise source.error(f"the archive is damaged: {error}") from error


class _Machine:
    """Interprets one pickle from a stream, and stops behind it."""

    def __init__(self, source: Source, stream: io.BytesIO) -> None:
        self.source, self.stream, self.byte = source, stream, 0
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []
        self.memo: dict[int, Any] = {}
        self.room = 8 * source.size + 2**20  # bytes that calls may make, so that none can multiply

    def run(self) -> Any:
        """Return the value of the pickle."""
        try:
            operations = pickletools.genops(self.stream)
            for count, (opcode, argument, byte) in enumerate(operations):
                self.byte = byte or 0
                if count >= MAX_OPERATIONS:
                    raise LimitError(
                        f"the pickle has more than MAX_OPERATIONS = {MAX_OPERATIONS} opcodes",
                        where=str(self.source.path),
                        hint="split the list",
                    )
                if opcode.name == "STOP":
                    return self.pop()
                self.step(opcode.name, argument)
        except _DAMAGE as error:
            text = str(error)[:_LONGEST]
            raise self.source.error(f"the pickle is damaged: {text}", byte=self.byte) from error
        except MemoryError as error:
            raise LimitError(
                "not enough memory for what the pickle holds",
                where=str(self.source.path),
                hint="use a machine with more memory",
            ) from error
        raise self.source.error("the pickle has no end", byte=self.byte)

    def step(self, name: str, argument: Any) -> None:
        """Carry out one opcode."""
        stack = self.stack
        if name in _VALUES:
            stack.append(argument)
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name in _CONTAINERS:
            stack.append(_CONTAINERS[name]())
        elif name in ("BINPUT", "LONG_BINPUT", "PUT"):
            self.memo[argument] = stack[-1]
        elif name == "MEMOIZE":
            self.memo[len(self.memo)] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET", "GET"):
            stack.append(self.memo[argument])
        elif name == "MARK":
            self.below.append(stack)
            self.stack = []
        elif name in ("TUPLE1", "TUPLE2", "TUPLE3"):
            items = [self.pop() for _ in range(int(name[-1]))]
            stack.append(tuple(reversed(items)))
        elif name == "TUPLE":
            self.replace_marked(tuple)
        elif name == "LIST":
            self.replace_marked(list)
        elif name == "FROZENSET":
            self.replace_marked(lambda items: frozenset(as_key(item) for item in items))
        elif name == "DICT":
            self.replace_marked(lambda items: fill({}, items))
        elif name in ("APPEND", "APPENDS"):
            items = [self.pop()] if name == "APPEND" else self.marked()
            expect(list, self.stack[-1]).extend(items)
        elif name == "SETITEM":
            value, key = self.pop(), self.pop()
            fill(stack[-1], [key, value])
        elif name == "SETITEMS":
            items = self.marked()
            fill(self.stack[-1], items)
        elif name == "ADDITEMS":
            items = self.marked()
            expect(set, self.stack[-1]).update(as_key(item) for item in items)
        elif name == "GLOBAL":
            stack.append(self.named(*argument.split(" ", 1)))
        elif name == "STACK_GLOBAL":
            last, module = expect(str, self.pop()), expect(str, self.pop())
            stack.append(self.named(module, last))
        elif name == "REDUCE":
            arguments, function = expect(tuple, self.pop()), expect(Name, self.pop())
            stack.append(self.call(function, arguments))
        elif name == "BUILD":
            state = expect(tuple, self.pop())
            self.charge(expect(Box, stack[-1]).build(state))
        elif name == "INST":
            self.named(*argument.split(" ", 1))
            raise ValueError("an object is built by INST")
        elif name in ("PERSID", "BINPERSID"):
            raise self.source.error(
                "the pickle points at a torch tensor; arrays are read, tensors are not",
                byte=self.byte,
                hint="save the tensor's numbers: np.save(path, tensor.numpy())",
            )
        elif name not in ("PROTO", "FRAME"):
            raise ValueError(f"opcode {name} has no place in plain data")

    def pop(self) -> Any:
        """Take the topmost value."""
        return _ready(self.stack.pop())

    def marked(self) -> list[Any]:
        """Take all values above the last mark."""
        items = [_ready(value) for value in self.stack]
        self.stack = self.below.pop()
        return items

    def replace_marked(self, make: Callable[[list[Any]], Any]) -> None:
        """Replace all values above the last mark by one container."""
        items = self.marked()
        self.stack.append(make(items))

    def charge(self, size: int) -> None:
        """Count bytes that a call makes; those of a sound file are never more than it holds."""
        self.room -= size
        if self.room < 0:
            raise ValueError("it unpacks to many times its size")

    def named(self, module: str, name: str) -> Name:
        """Return the name if it is one of the few that rebuild arrays, else raise."""
        found = Name(module, name)
        if found not in CALLS and found not in PASSIVE:
            shown = ascii(f"{module}.{name}"[:_LONGEST]).strip("'")
            raise self.source.error(
                f"the pickle asks for {shown}, which is not allowed; nothing was run",
                byte=self.byte,
                hint="only numbers, texts, containers and numpy arrays are read from pickles;"
                " get the file from its official place",
            )
        return found

    def call(self, function: Name, arguments: tuple[Any, ...]) -> Any:
        """Return what stands for a call of the named function."""
        made, size = CALLS[function](*arguments)
        self.charge(size)
        return made


def _ready(value: Any) -> Any:
    """Return the content of a box, which must have been filled, and anything else as it is."""
    if not isinstance(value, Box):
        return value
    if value.value is None:
        raise ValueError("an array without content")
    return value.value
