"""The manifests: what each data set is, its terms, layout, class names and sizes."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import resources

from pcinv.errors import DatasetError

TEXTS = ("name", "title", "summary", "terms", "licence", "citation", "get")


@dataclass(frozen=True)
class Layout:
    """One form in which the data set is distributed. tree : paths that its folder must hold."""

    name: str
    title: str
    tree: list[str]
    normals: bool


@dataclass(frozen=True)
class Manifest:
    """A checked manifest. sizes : edition -> split -> number of shapes of the whole data set."""

    name: str
    title: str
    summary: str
    url: str
    terms: str
    licence: str
    citation: str
    get: str
    classes: list[str]
    layouts: list[Layout]
    sizes: dict[str, dict[str, int]]
    parts: dict[str, list[str]]
    checks: list[str]


@cache
def read_manifest(name: str) -> Manifest:
    """Read and check `manifests/<name>.toml`. Raises DatasetError for a damaged installation."""
    file = resources.files("pcinv_data").joinpath("manifests", f"{name}.toml")
    try:
        return parse_manifest(file.read_text("utf-8"), name)
    except FileNotFoundError as error:
        raise DatasetError(f"no manifest for '{name}'", where=f"manifests/{name}.toml",
                           hint="install pcinv again") from error


def parse_manifest(text: str, name: str) -> Manifest:
    """Check the text of a manifest. Raises DatasetError that names the key at fault."""
    where = f"manifests/{name}.toml"

    def need(condition: bool, what: str) -> None:
        if not condition:
            raise DatasetError(f"manifest: {what}", where=where, hint="install pcinv again")

    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise DatasetError(f"manifest: {error}", where=where, hint="install pcinv again") from error
    known = {*TEXTS, "url", "classes", "layouts", "sizes", "parts", "checks"}
    need(set(values) <= known, f"unknown key {sorted(set(values) - known)}")
    for key in TEXTS:
        need(isinstance(values.get(key), str) and bool(values[key].strip()), f"no text '{key}'")
    need(values["name"] == name, f"name '{values['name']}' is not that of the file")
    classes = values.get("classes", [])
    need(_texts(classes) and len(set(classes)) == len(classes), "'classes' must be different texts")
    layouts = values.get("layouts", [])
    need(bool(layouts), "no layout")
    for layout in layouts:
        need(set(layout) == {"name", "title", "tree", "normals"} and _texts(layout["tree"]),
             f"a layout needs name, title, tree and normals: {layout}")
    sizes = values.get("sizes", {})
    for edition, splits in sizes.items():
        need(bool(splits) and all(isinstance(n, int) and n > 0 for n in splits.values()),
             f"sizes of '{edition}' must be positive numbers")
    parts = values.get("parts", {})
    need(set(parts) <= set(classes) and all(_texts(p) for p in parts.values()),
         "'parts' must list texts for known classes")
    need(_texts(values.get("checks", [])), "'checks' must be texts")
    return Manifest(
        **{key: values[key].strip() for key in TEXTS}, url=values.get("url", ""), classes=classes,
        layouts=[Layout(**layout) for layout in layouts], sizes=sizes, parts=parts,
        checks=values.get("checks", []))


def _texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)
