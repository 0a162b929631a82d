"""The configuration of a training run: frozen dataclasses, strict TOML, overrides with a source.

Precedence, lowest first: defaults (with the backbone's own recipe) < file < environment <
`--set` < flag. Unknown keys and values of the wrong type are errors, never ignored.
"""

from __future__ import annotations

import dataclasses
import json
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from pcinv.engine import toml
from pcinv.errors import ConfigError, nearest
from pcinv.limits import MAX_HEADER_BYTES
from pcinv.models.registry import get_spec

HEADS = ("linear", "matryoshka", "relative")
_STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)
Tree = dict[str, Any]
Count = Annotated[int, Field(ge=1)]
NotNegative = Annotated[float, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, lt=1)]


@dataclass(frozen=True, config=_STRICT)
class ModelConfig:
    """Which network: a row of the table of backbones, one of its presets, changes to it.

    head : of a classifier: "linear" is the backbone's own; "matryoshka" makes every prefix of the
        vector of a cloud usable, "relative" tells a cloud by its likeness to others.
    head_options : fields of `pcinv.nn.embedding_heads.MatryoshkaOptions` or `RelativeOptions`.
    init : run or weights file whose backbone a network of LiDAR scans begins with.
    """

    backbone: str = "risurconv"
    preset: str | None = None
    task: Literal["classification", "part_segmentation", "normals", "matching", "pose",
                  "pretraining", "segmentation", "detection", "flow"] = "classification"
    overrides: Tree = Field(default_factory=dict)
    head: Literal["linear", "matryoshka", "relative"] = "linear"
    head_options: Tree = Field(default_factory=dict)
    init: str | None = None


@dataclass(frozen=True, config=_STRICT)
class DataConfig:
    """Which data, how many points of each cloud, and how clouds are turned.

    protocol : rotations in training / in validation, as "z/so3".
    val_fraction : share of the training split that is kept for validation.
    limit : at most so many clouds of each split.
    label_fraction : share of the labelled scans that are learned from, evenly spread; an epoch has
        as many steps as with all of them. LiDAR only.
    normals : "auto" takes the data's normals, or estimates them where there are none;
        "estimate" and "data" insist on one of these; "none" leaves them to the model.
    """

    dataset: str = "shapes"
    root: str | None = None
    num_points: Count = 1024
    protocol: str = "z/so3"
    val_fraction: Share = 0.1
    limit: Count | None = None
    label_fraction: Annotated[float, Field(gt=0, le=1)] = 1.0
    normals: Literal["auto", "estimate", "data", "none"] = "auto"
    options: Tree = Field(default_factory=dict)


@dataclass(frozen=True, config=_STRICT)
class AugmentConfig:
    """Changes to training clouds (which lie in the unit ball), besides the protocol's rotation.

    stretch : largest factor by which each axis of the data set is stretched or shrunk on its own.
    scale : lowest and highest factor.  shift : largest shift along each axis.
    jitter : standard deviation of noise on each coordinate.
    dropout : largest share of points that are lost.
    """

    stretch: Annotated[float, Field(ge=1)] = 1.0
    scale: tuple[Positive, Positive] = (0.8, 1.25)
    shift: NotNegative = 0.1
    jitter: NotNegative = 0.0
    dropout: Share = 0.5


@dataclass(frozen=True, config=_STRICT)
class OptimConfig:
    """Optimiser and learning rate.

    schedule : after a linear warm-up, "cosine" falls to a hundredth of `lr`, "step" multiplies by
        `decay` every `decay_epochs`, "constant" stays.
    balance : 0 trains for the classes as often as they occur, 1 for all classes alike (logit
        adjustment, Menon et al., ICLR 2021); classification only.
    grad_clip : largest norm of the gradient; 0 switches clipping off.
    """

    name: Literal["adam", "adamw", "sgd"] = "adamw"
    lr: Positive = 1e-3
    weight_decay: NotNegative = 1e-4
    schedule: Literal["cosine", "step", "constant"] = "cosine"
    warmup_epochs: NotNegative = 1.0
    decay: Annotated[float, Field(gt=0, le=1)] = 0.7
    decay_epochs: Count = 20
    label_smoothing: Share = 0.1
    balance: NotNegative = 0.0
    grad_clip: NotNegative = 10.0


@dataclass(frozen=True, config=_STRICT)
class TrainConfig:
    """How long, in what batches, on what device.

    batch_size : clouds in a step, over all processes together.
    keep_checkpoints : how many of the newest checkpoints stay, besides the best one.
    """

    epochs: Count = 30
    batch_size: Annotated[int, Field(ge=2)] = 32
    workers: Annotated[int, Field(ge=0)] = 0
    mixed_precision: Literal["no", "bf16", "fp16"] = "no"
    device: Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:\d+)?)$")] = "auto"
    keep_checkpoints: Count = 2


@dataclass(frozen=True, config=_STRICT)
class PretrainConfig:
    """Objectives of pretraining LiDAR backbones, and their weights; 0 switches one off.

    contrast, rotation, flow : see `pcinv.losses.lidar_ssl`.
    temperature : of contrast.  matches : points of a scan that are told apart from all others.
    relative : by how much one view is turned against another is told, not against the scan.
    ema : how much of the target stays after the first step; the paper's 0.999 is for long runs.
    target : "ema" follows slowly; "online" is the encoder itself, gradients and all.
    predictor : a network between the encoder and the target. Without it and with the target online
        features collapse: to see that this is noticed.
    flow_method : where scans come without flow, how it is computed, of `pcinv.flow`; of a network
        of flow the teacher, and "labels" are the data's own.
    """

    contrast: NotNegative = 1.0
    rotation: NotNegative = 1.0
    flow: NotNegative = 1.0
    temperature: Positive = 0.07
    matches: Annotated[int, Field(ge=2)] = 512
    relative: bool = False
    ema: Annotated[float, Field(ge=0, le=1)] = 0.99
    target: Literal["ema", "online"] = "ema"
    predictor: bool = True
    flow_method: Literal["floxels", "fast_nsf", "ego", "labels"] = "floxels"


@dataclass(frozen=True, config=_STRICT)
class Config:
    """Everything that decides a training run."""

    model: ModelConfig = ModelConfig()
    data: DataConfig = DataConfig()
    augment: AugmentConfig = AugmentConfig()
    optim: OptimConfig = OptimConfig()
    train: TrainConfig = TrainConfig()
    pretrain: PretrainConfig = PretrainConfig()
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0


_ADAPTER = TypeAdapter(Config)
_OPEN_TABLES = ("model.overrides", "model.head_options", "data.options")


def to_tree(config: Config) -> Tree:
    """Return the configuration as nested plain values; tuples become lists."""
    tree: Tree = json.loads(_ADAPTER.dump_json(config))
    return tree


def flatten(tree: Mapping[str, Any], prefix: str = "") -> Tree:
    """Return dotted key -> value for all leaves of a tree."""
    flat: Tree = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def from_tree(tree: Mapping[str, Any], where: str = "config") -> Config:
    """Build a configuration from nested tables; keys that are absent take their defaults.

    Raises
    ------
    ConfigError for an unknown key or a value that the key does not take.
    """
    return _build(tree, dict.fromkeys(flatten(tree), where), where)


def dump_config(config: Config) -> str:
    """Write the configuration as TOML that `load_config` reads back to an equal one."""
    return toml.dumps(to_tree(config))


def schema() -> Tree:
    """Return the JSON schema of a configuration."""
    return _ADAPTER.json_schema()


def apply_overrides(config: Config, overrides: Iterable[str]) -> Config:
    """Return the configuration with `key=value` texts applied, values written as in TOML."""
    tree = to_tree(config)
    for text in overrides:
        key, value = parse_override(text)
        _set(tree, key, value, f"--set {key}")
    return from_tree(tree, "--set")


def parse_override(text: str) -> tuple[str, Any]:
    """Split `optim.lr=3e-4` into the key and the parsed value."""
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"'{text}' is not key=value", where="--set", hint="--set optim.lr=3e-4")
    return key.strip(), toml.parse_value(value.strip(), f"--set {key.strip()}")


def load_config(
    file: str | Path | None = None,
    overrides: Iterable[str] = (),
    env: Mapping[str, str] | None = None,
    flags: Mapping[str, Any] | None = None,
) -> tuple[Config, dict[str, str]]:
    """Merge all sources of configuration.

    Parameters
    ----------
    file : TOML file.
    overrides : texts `key=value`, later ones win.
    env : variables of the environment; `PCINV_OPTIM__LR` sets `optim.lr`, others are left alone.
    flags : dotted key -> value; None means not given.

    Returns
    -------
    The configuration, and for each dotted key where its value came from: default, file,
    environment, set or flag.

    Raises
    ------
    ConfigError for an unknown key or a wrong value, UnknownNameError for an unknown backbone.
    """
    layers: list[tuple[str, str, Tree]] = []  # (source, where, dotted key -> value)
    if file is not None:
        layers.append(("file", str(file), flatten(_read_toml(Path(file)))))
    for name, value in sorted((env or {}).items()):
        key = _env_key(name)
        if key is not None:
            where = f"environment {name}"
            layers.append(("environment", where, {key: toml.parse_value(value, where)}))
    for key, value in map(parse_override, overrides):
        layers.append(("set", f"--set {key}", flatten({key: value})))
    for key, value in (flags or {}).items():
        if value is not None:
            layers.append(("flag", f"option for {key}", {key: value}))

    chosen = {key: value for *_, values in layers for key, value in values.items()}
    backbone = chosen.get("model.backbone", ModelConfig().backbone)
    recipe = flatten(get_spec(backbone).recipe) if isinstance(backbone, str) else {}
    tree = to_tree(Config())
    sources: dict[str, str] = {}
    places: dict[str, str] = {}
    for source, where, values in [("default", f"recipe of {backbone}", recipe), *layers]:
        for key, value in values.items():
            _set(tree, key, value, where)
            sources[key], places[key] = source, where
    config = _build(tree, places, str(file) if file is not None else "config")
    return config, {key: sources.get(key, "default") for key in flatten(to_tree(config))}


def _read_toml(path: Path) -> Tree:
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_HEADER_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"cannot read the configuration: {error.strerror}", where=str(path),
                          hint="pcinv config init writes one") from error
    if len(data) > MAX_HEADER_BYTES:
        raise ConfigError(f"the file is larger than {MAX_HEADER_BYTES} bytes", where=str(path),
                          hint="this is no configuration of pcinv")
    try:
        tree = tomllib.loads(data.decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"not valid TOML: {error}", where=str(path),
                          hint="pcinv config show prints a valid one") from error
    sections = [field.name for field in dataclasses.fields(Config)]
    for name in tree:
        if name not in sections:  # an unknown table is an error even when it is empty
            raise _unknown_key(name, sections, str(path))
    return tree


def _env_key(name: str) -> str | None:
    """Return the dotted key of `PCINV_SECTION__KEY` or `PCINV_SEED`, None for other variables."""
    if not name.startswith("PCINV_"):
        return None
    key = name.removeprefix("PCINV_").lower().replace("__", ".")
    return key if "." in key or key == "seed" else None


def _known_keys() -> list[str]:
    return [key for key in flatten(to_tree(Config()))] + list(_OPEN_TABLES)


def _set(tree: Tree, key: str, value: Any, where: str) -> None:
    """Set a dotted key of the tree, raising for keys that no configuration has."""
    known = _known_keys()
    if key not in known and not key.startswith(tuple(f"{table}." for table in _OPEN_TABLES)):
        raise _unknown_key(key, known, where)
    *parents, last = key.split(".")
    for parent in parents:
        tree = tree.setdefault(parent, {})
        if not isinstance(tree, dict):
            raise ConfigError(f"'{key}' goes into a value that is not a table", where=where,
                              hint=f"set {parent} or {key}, not both")
    tree[last] = value


def _unknown_key(key: str, known: Iterable[str], where: str) -> ConfigError:
    known = list(known)
    last = key.rpartition(".")[2]
    near = nearest(key, known) or [k for k in known if k.rpartition(".")[2] == last]
    hint = f"did you mean {' or '.join(near)}?" if near else "pcinv config show lists all keys"
    return ConfigError(f"unknown key '{key}'", where=where, hint=hint)


def _build(tree: Mapping[str, Any], places: Mapping[str, str], where: str) -> Config:
    """Validate the tree; `places` says for each dotted key where its value was written."""
    known = _known_keys()
    tables = {key.rpartition(".")[0] for key in known} | set(_OPEN_TABLES)
    for key, value in flatten(tree).items():
        if key not in known and not key.startswith(tuple(f"{table}." for table in _OPEN_TABLES)):
            if key in tables:
                raise ConfigError(f"{key} is {value!r}, expected a table",
                                  where=places.get(key, where),
                                  hint=f"write [{key}] and its keys below it")
            raise _unknown_key(key, known, places.get(key, where))
    try:
        # JSON in strict mode: no text becomes a number, but lists become tuples
        config = _ADAPTER.validate_json(json.dumps(tree, default=str), strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"] if not isinstance(part, int))
        near = next((place for k, place in places.items() if k.startswith(key)), where)
        raise ConfigError(f"{key} is {first['input']!r}: {first['msg']}", where=near,
                          hint="pcinv config schema lists what each key takes") from error
    low, high = config.augment.scale
    if low > high:
        raise ConfigError(f"augment.scale is [{low}, {high}]",
                          where=places.get("augment.scale", where),
                          hint="the lowest factor comes first")
    return config


def differing(mine: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """Return one line for each dotted key whose value is not the same in both trees."""
    left, right = flatten(mine), flatten(other)
    return [f"{key}: {left.get(key)!r} here, {right.get(key)!r} there"
            for key in sorted(left.keys() | right.keys()) if left.get(key) != right.get(key)]
