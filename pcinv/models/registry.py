"""How the name of a network becomes a module; what they are stands in `pcinv.models.table`.

torch is imported only when a model is made, so the console can list and complete names at once.
"""

from __future__ import annotations

import fnmatch
import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pcinv import plugins
from pcinv.errors import ConfigError, unknown_name
from pcinv.models.table import (
    BACKBONES,
    LIDAR_NETWORKS,
    MATCHERS,
    POSE_NETWORKS,
    BackboneSpec,
)

if TYPE_CHECKING:
    from torch import nn

__all__ = [
    "BACKBONES", "LIDAR_NETWORKS", "MATCHERS", "POSE_NETWORKS", "BackboneSpec", "create_model",
    "describe", "find_spec", "get_spec", "list_models", "weights_file",
]

WEIGHTS = Path(__file__).parents[1] / "weights"


def weights_file(name: str) -> Path:
    """Return where the weights are that come with the package, if it has any of this name."""
    return WEIGHTS / f"{name}.safetensors"


def find_spec(name: str) -> BackboneSpec | None:
    """Return the row of `name`, of pcinv or of a package that adds it, or None."""
    own = (BACKBONES | MATCHERS | POSE_NETWORKS | LIDAR_NETWORKS).get(name)
    found: BackboneSpec | None = own or plugins.find(plugins.BACKBONES, name, _fault)
    return found


def get_spec(name: str) -> BackboneSpec:
    """Return the row of `name`; raise `UnknownNameError` with the nearest names.

    Raises
    ------
    UnknownNameError : no such name, of pcinv or of a package that adds backbones.
    PluginError : the package that adds it cannot be imported.
    """
    spec = find_spec(name)
    if spec is None:
        raise unknown_name("backbone", name, list_models())
    return spec


def list_models(pattern: str = "*") -> list[str]:
    """Return the names that match a shell pattern, in alphabetical order.

    Those that other packages add are among them; a `PluginWarning` names a package that cannot be
    imported.
    """
    added = plugins.offered(plugins.BACKBONES, _fault)
    return sorted(fnmatch.filter(
        {*BACKBONES, *MATCHERS, *POSE_NETWORKS, *LIDAR_NETWORKS, *added}, pattern))


def _fault(spec: Any) -> str | None:
    """Say why what a package adds cannot be a row of the table."""
    if not isinstance(spec, BackboneSpec):
        kind = type(spec).__name__
        return f"it is an object of type {kind}, not a pcinv.models.registry.BackboneSpec"
    if "." not in spec.module or not spec.presets or not spec.tasks:
        return "it needs the dotted path of its module, a preset and a task"
    if "matching" in spec.tasks or "pretraining" in spec.tasks:
        return "networks for matching or LiDAR cannot be added, those for shapes and parts can"
    return None


def _module_of(spec: BackboneSpec) -> Any:
    if "." not in spec.module:
        return importlib.import_module(f"pcinv.models.{spec.module}")
    try:
        return importlib.import_module(spec.module)
    except Exception as error:
        package = spec.module.split(".")[0]
        raise plugins.PluginError(
            f"backbone '{spec.name}', which {package} adds, cannot be made: "
            f"{type(error).__name__}: {error}", where=spec.module,
            hint=f"update {package}, or install what it needs") from error


def create_model(
    name: str,
    *,
    task: str = "classification",
    num_classes: int = 40,
    preset: str | None = None,
    num_categories: int = 0,
    **overrides: Any,
) -> nn.Module:
    """Make a network with random weights.

    Parameters
    ----------
    name : row of `BACKBONES`.
    task : one of the row's tasks.
    num_classes : classes, or parts in all for part segmentation.
    preset : named set of sizes; the row's first where None.
    num_categories : object categories that a part segmenter is told (0: not told).
    overrides : fields of the method's hyper-parameters, see `describe(name)["hyper"]`.

    Raises
    ------
    UnknownNameError for a name, task or preset that is not in the table.
    ConfigError for a hyper-parameter that the method does not have.
    PluginError where the package that adds the backbone cannot be imported.
    """
    spec = get_spec(name)
    if task not in spec.tasks:
        raise unknown_name("task", task, spec.tasks, where=f"backbone {name}")
    if preset is None:
        preset = next(iter(spec.presets))
    if preset not in spec.presets:
        raise unknown_name("preset", preset, spec.presets, where=f"backbone {name}")
    if num_classes < 1:
        raise ConfigError(f"num_classes is {num_classes}", where="num_classes", hint="1 or more")
    model: nn.Module = _module_of(spec).build(
        name, task=task, num_classes=num_classes, preset=preset,
        num_categories=num_categories, overrides=overrides,
    )
    return model


def describe(name: str) -> dict[str, Any]:
    """Return what is known of a backbone, its size in each preset included.

    weights : the file that comes with the package, or None.
    """
    spec = get_spec(name)
    file = weights_file(name)
    params = {}
    for task in spec.tasks:
        for preset in spec.presets:
            model = create_model(name, task=task, preset=preset,
                                 num_classes=40 if task == "classification" else 50,
                                 num_categories=0 if task == "classification" else 16)
            params[f"{task}/{preset}"] = sum(p.numel() for p in model.parameters())
    return {
        "name": name,
        "title": spec.title,
        "paper": spec.paper,
        "symmetry": spec.symmetry,
        "tasks": list(spec.tasks),
        "presets": dict(spec.presets),
        "params": params,
        "min_points": spec.min_points,
        "needs_normals": spec.needs_normals,
        "weights": file.name if file.is_file() else None,
        "recipe": dict(spec.recipe),
        "limits": spec.limits,
    }
