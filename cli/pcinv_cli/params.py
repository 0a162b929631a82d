"""The kinds of value that options take; each completes its names and suggests the nearest."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from pcinv.errors import UsageError, unknown_name

ROTATIONS = ("none", "z", "so3")
PROTOCOLS = ("z/z", "z/so3", "so3/so3")


class Name(click.ParamType):
    """One of the names that `known()` returns, in any case, with `-` for `_`."""

    def __init__(self, kind: str, known: Callable[[], Iterable[str]]) -> None:
        self.name = kind
        self.known = known

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        names = list(self.known())
        wanted = str(value).lower()
        for candidate in (wanted, wanted.replace("-", "_")):
            if candidate in names:
                return candidate
        raise unknown_name(self.name, str(value), names, where=param.opts[-1] if param else None)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str
                       ) -> list[CompletionItem]:
        return _matching(self.known(), incomplete)


class Device(click.ParamType):
    """`auto`, `cpu`, `cuda` or `cuda:N`; whether it is there is seen when it is used."""

    name = "device"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        text = str(value).lower()
        if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", text):
            raise UsageError(f"'{value}' is not a device", where="--device",
                             hint="--device auto, cpu, cuda or cuda:0")
        return text

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str
                       ) -> list[CompletionItem]:
        return _matching(("auto", "cpu", "cuda", "cuda:0"), incomplete)


class KeyValue(click.ParamType):
    """`key=value` of the configuration; the key is checked where the configuration is made."""

    name = "key=value"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        key, equals, _ = str(value).partition("=")
        if not equals or not key.strip():
            raise UsageError(f"'{value}' is not key=value", where="--set",
                             hint="--set optim.lr=0.001; pcinv config show lists the keys")
        return str(value)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str
                       ) -> list[CompletionItem]:
        from pcinv.engine.config import Config, flatten, to_tree

        return _matching((f"{key}=" for key in flatten(to_tree(Config()))), incomplete)


class ViewPoint(click.ParamType):
    """`auto`, `origin`, `none`, or three numbers `X,Y,Z`."""

    name = "view point"
    words = ("auto", "origin", "none")

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None
                ) -> str | tuple[float, ...]:
        if isinstance(value, tuple) or str(value).lower() in self.words:
            return value if isinstance(value, tuple) else str(value).lower()
        try:
            place = tuple(float(part) for part in str(value).split(","))
        except ValueError:
            place = ()
        if len(place) != 3 or not all(math.isfinite(x) for x in place):
            raise UsageError(f"'{value}' is no view point", where="--view-point",
                             hint="auto, origin, none, or three numbers: --view-point 0,0,1.5")
        return place

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str
                       ) -> list[CompletionItem]:
        return _matching(self.words, incomplete)


class Look(click.ParamType):
    """A name of `pcinv.vis.camera.LOOKS`, or a direction `X,Y,Z`."""

    name = "view"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None
                ) -> str | tuple[float, ...]:
        from pcinv.vis.camera import LOOKS

        if isinstance(value, tuple) or str(value).lower() in LOOKS:
            return value if isinstance(value, tuple) else str(value).lower()
        try:
            way = tuple(float(part) for part in str(value).split(","))
        except ValueError:
            way = ()
        if len(way) != 3 or not all(math.isfinite(x) for x in way) or not any(way):
            raise UsageError(f"'{value}' is no view", where="--look",
                             hint=f"{', '.join(LOOKS)}, or a direction: --look 1,-1,0.5")
        return way


class Size(click.ParamType):
    """Pixels of a picture, `WIDTHxHEIGHT`."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None
                ) -> tuple[int, int]:
        if isinstance(value, tuple):
            return value
        found = re.fullmatch(r"(\d{1,5})x(\d{1,5})", str(value).lower())
        size = (int(found[1]), int(found[2])) if found else (0, 0)
        if not (min(size) >= 32 and max(size) <= 8192):
            raise UsageError(f"'{value}' is no size of a picture", where="--size",
                             hint="width x height in pixels, 32 to 8192: --size 1280x960")
        return size


class Seeds(click.ParamType):
    """Whole numbers `N,N,...`."""

    name = "seeds"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None
                ) -> tuple[int, ...]:
        if isinstance(value, tuple):
            return value
        parts = str(value).split(",")
        if not all(part.strip().isdecimal() for part in parts):
            raise UsageError(f"'{value}' is no list of seeds", where="--seeds",
                             hint="whole numbers: --seeds 0,1,2")
        return tuple(dict.fromkeys(int(part) for part in parts))


class Shares(click.ParamType):
    """Shares `X,X,...`, each above 0 and 1 at most."""

    name = "shares"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None
                ) -> tuple[float, ...]:
        if isinstance(value, tuple):
            return value
        try:
            found = tuple(dict.fromkeys(float(part) for part in str(value).split(",")))
        except ValueError:
            found = ()
        if not found or not all(0 < share <= 1 for share in found):
            raise UsageError(f"'{value}' is no list of shares", where="--fractions",
                             hint="above 0, 1 at most: --fractions 0.05,1")
        return found


class RunOrName(click.ParamType):
    """A run folder or weights file; with `names`, the name of a backbone as well."""

    name = "run"

    def __init__(self, names: bool) -> None:
        self.names = names

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        text = str(value)
        is_path = os.path.exists(text) or os.sep in text or text.endswith(".safetensors")
        if not self.names or is_path:
            return text
        return BACKBONE.convert(text, param, ctx)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str
                       ) -> list[CompletionItem]:
        runs = [str(path) for path in Path("runs").glob("*") if path.is_dir()]
        items = _matching([*runs, *(_backbones() if self.names else ())], incomplete)
        return items or [CompletionItem(incomplete, type="file")]


def workers(jobs: int | None, cluster: str | None) -> dict[str, Any]:
    """Return who does many pairs, as the library wants it: processes here, or a cluster."""
    if jobs is not None and cluster is not None:
        raise UsageError("--jobs does not go with --cluster", where="--jobs",
                         hint="the cluster's workers are as many as were started")
    return {"jobs": jobs or 1, "cluster": cluster}


def _matching(names: Iterable[str], incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(name) for name in sorted(names) if name.startswith(incomplete)]


def _layouts() -> Iterable[str]:
    from pcinv_data.lidar import LAYOUTS

    return LAYOUTS


def _backbones() -> Iterable[str]:
    from pcinv.models.registry import list_models

    return list_models()


def _datasets() -> Iterable[str]:
    from pcinv.plugins import dataset_names
    from pcinv_data import DATASETS
    from pcinv_data.room_store import SETS

    return [*DATASETS, *SETS, *_scan_sets(), *dataset_names()]


def _scan_sets() -> Iterable[str]:
    from pcinv_data.lidar import LAYOUTS
    from pcinv_data.lidar.sets import SEQUENCE_SETS
    from pcinv_data.streets import GENERATED

    return dict.fromkeys([*GENERATED, *SEQUENCE_SETS, *LAYOUTS])


def _pair_sets() -> Iterable[str]:
    from pcinv_data.pairs import PAIR_SETS

    return PAIR_SETS


def _all_datasets() -> Iterable[str]:
    from pcinv_data import list_datasets

    return list_datasets()


def _tasks() -> Iterable[str]:
    from pcinv.models.registry import get_spec, list_models

    return sorted({task for name in list_models() for task in get_spec(name).tasks})


def _presets() -> Iterable[str]:
    from pcinv.models.registry import get_spec, list_models

    return sorted({preset for name in list_models() for preset in get_spec(name).presets})


def _heads() -> Iterable[str]:
    from pcinv.engine.config import HEADS

    return HEADS


def _methods() -> Iterable[str]:
    from pcinv.registration.pipeline import METHODS

    return METHODS


def _renderers() -> Iterable[str]:
    from pcinv.vis.picture import RENDERERS

    return RENDERERS


def _formats() -> Iterable[str]:
    from pcinv.io.formats import all_formats

    rows = all_formats()
    suffixes = (suffix.removeprefix(".") for row in rows.values() for suffix in row.suffixes)
    return {*rows, *suffixes}


BACKBONE = Name("backbone", _backbones)
DATASET = Name("data set", _datasets)
SCANS = Name("data set of scans", _scan_sets)
PAIR_SET = Name("data set of pairs", _pair_sets)
MADE_DATASET = Name("data set", lambda: [*_datasets(), "lidar_sim"])
ANY_DATASET = Name("data set", _all_datasets)
TASK = Name("task", _tasks)
PRESET = Name("preset", _presets)
HEAD = Name("head", _heads)
FORMAT = Name("format", _formats)
ROTATION = Name("rotation", lambda: ROTATIONS)
PROTOCOL = Name("protocol", lambda: PROTOCOLS)
METHOD = Name("method", _methods)
DEVICE = Device()
VIEW_POINT = ViewPoint()
LAYOUT = Name("layout", _layouts)
LOOK = Look()
SEEDS = Seeds()
SIZE = Size()
RENDERER = Name("renderer", _renderers)
KEY_VALUE = KeyValue()
RUN = RunOrName(names=False)
RUN_OR_BACKBONE = RunOrName(names=True)
