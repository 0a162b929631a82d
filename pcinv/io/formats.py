"""The table of all formats, and the choice among them: by content first, by suffix second."""

from __future__ import annotations

from pathlib import Path

from pcinv.errors import unknown_name
from pcinv.io import glb, h5, las, lidar_bin, numpy_files, obj, off, pcd, ply, stl, text
from pcinv.io.format import Format
from pcinv.io.source import Source

FORMATS: dict[str, Format] = {
    f.name: f
    for module in (ply, pcd, off, obj, stl, glb, numpy_files, h5, las, lidar_bin, text)
    for f in module.FORMATS
}
_BY_SUFFIX = {suffix: f for f in FORMATS.values() for suffix in f.suffixes}


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
        for f in FORMATS.values()
    ]


def format_named(name: str) -> Format:
    """Return the format of this name, or of this suffix."""
    key = name.lower().removeprefix(".")
    found = FORMATS.get(key) or _BY_SUFFIX.get(f".{key}")
    if found is None:
        raise unknown_name("format", name, FORMATS, where="format")
    return found


def format_of_suffix(path: Path) -> Format | None:
    """Return the format that the last suffix stands for."""
    return _BY_SUFFIX.get(path.suffix.lower())


def choose_format(source: Source, name: str | None = None) -> Format:
    """Decide what a file is: `name` if given, else its content, else its suffix.

    Raises
    ------
    FileFormatError : neither content nor suffix is known.
    """
    if name is not None:
        return format_named(name)
    by_suffix = format_of_suffix(source.path)
    sniffed = [f for f in FORMATS.values() if f.sniff and f.sniff(source)]
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
            hint=f"name the format if you know it, one of: {', '.join(FORMATS)}",
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
