"""The table of all formats, and the choice among them: by content first, by suffix second."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pcinv import plugins
from pcinv.errors import FileFormatError, PcinvError, unknown_name
from pcinv.io import glb, h5, las, lidar_bin, numpy_files, obj, off, pcd, ply, stl, text
from pcinv.io.format import Format
from pcinv.io.source import Source

FORMATS: dict[str, Format] = {
    f.name: f
    for module in (ply, pcd, off, obj, stl, glb, numpy_files, h5, las, lidar_bin, text)
    for f in module.FORMATS
}
_BY_SUFFIX = {suffix: f for f in FORMATS.values() for suffix in f.suffixes}


def all_formats() -> dict[str, Format]:
    """Return pcinv's own formats, then those that other packages add; imports these packages."""
    added = plugins.offered(plugins.READERS, _fault)
    return {**FORMATS, **{name: _guarded(row) for name, row in added.items()}}


def _fault(row: Any) -> str | None:
    """Say why what a package adds cannot be a row of the table."""
    if not isinstance(row, Format):
        return f"it is an object of type {type(row).__name__}, not a pcinv.io.format.Format"
    taken = [key for key in (row.name, *row.suffixes) if key in FORMATS or key in _BY_SUFFIX]
    return f"pcinv has '{taken[0]}' itself" if taken else None


@functools.cache
def _guarded(row: Format) -> Format:
    """Let whatever a stranger's reader raises become an error that names the file."""

    def guard(function: Callable[[Source], Any]) -> Callable[[Source], Any]:
        def call(source: Source) -> Any:
            try:
                return function(source)
            except (PcinvError, MemoryError):
                raise
            except Exception as error:
                raise FileFormatError(
                    f"the reader of '{row.name}' gave up: {type(error).__name__}: {error}",
                    where=str(source.path),
                    hint="get the file again, or tell the authors of the reader",
                ) from error

        return call

    return dataclasses.replace(row, read=guard(row.read), sniff=row.sniff and guard(row.sniff))


def formats() -> list[dict[str, object]]:
    """Return a row for each format: name, suffixes, what can be read and written, and a remark."""
    return [
        {
            "name": f.name,
            "suffixes": list(f.suffixes),
            "read": True,
            "write": f.write is not None,
            "about": f.about,
        }
        for f in all_formats().values()
    ]


def format_named(name: str) -> Format:
    """Return the format of this name, or of this suffix."""
    key = name.lower().removeprefix(".")
    found = FORMATS.get(key) or all_formats().get(key) or format_of_suffix(Path(f"_.{key}"))
    if found is None:
        raise unknown_name("format", name, all_formats(), where="format")
    return found


def format_of_suffix(path: Path) -> Format | None:
    """Return the format that the last suffix stands for."""
    suffix = path.suffix.lower()
    if suffix in _BY_SUFFIX:
        return _BY_SUFFIX[suffix]
    return next((row for row in all_formats().values() if suffix in row.suffixes), None)


def choose_format(source: Source, name: str | None = None) -> Format:
    """Decide what a file is: `name` if given, else its content, else its suffix.

    Raises
    ------
    FileFormatError : neither content nor suffix is known.
    """
    if name is not None:
        return format_named(name)
    by_suffix = format_of_suffix(source.path)
    # packages that add formats are imported only for a suffix that is none of pcinv's own
    known = FORMATS if source.path.suffix.lower() in _BY_SUFFIX else all_formats()
    sniffed = [f for f in known.values() if f.sniff and f.sniff(source)]
    strong = [f for f in sniffed if f.name != "xyz"]
    by_content = strong[0] if strong else None
    if by_content is None and sniffed and (by_suffix is None or by_suffix.magic):
        by_content = sniffed[0]  # rows of numbers under a name that promises something else
    if by_content is None and by_suffix is None:
        if source.path.suffix.lower() in (".pt", ".pth", ".pkl", ".t7"):
            raise source.error(
                "a pickle can run code when it is opened; it is not read",
                hint="save the points by np.save or torch's safetensors",
            )
        raise source.error(
            f"neither its content nor its suffix '{source.path.suffix}' is that of a known format",
            hint=f"name the format if you know it, one of: {', '.join(known)}",
        )
    chosen = by_content or by_suffix
    if chosen is None:
        raise source.error("no known format")
    if by_suffix and by_content and by_suffix.read is not by_content.read:
        source.warn(
            f"named like {by_suffix.name}, but the content is {by_content.name};"
            f" read as {by_content.name}"
        )
    elif by_suffix:
        chosen = by_suffix
    return chosen
