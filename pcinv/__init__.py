"""pcinv: 3D point clouds in arbitrary poses.

    import pcinv
    run = pcinv.train(pcinv.Config())          # generated shapes
    pcinv.evaluate(run.path, rotation="so3")
    pcinv.check(run.path).passed
    pcinv.predict(run.path, ["chair.ply"])[0].label

Names are resolved on first use, so that importing the package costs nothing.
"""

import importlib
import logging
from typing import Any

__version__ = "0.1.0"

# A library is silent unless its user asks for its log.
logging.getLogger("pcinv").addHandler(logging.NullHandler())

_WHERE = {
    "Config": "pcinv.engine.config",
    "load_config": "pcinv.engine.config",
    "train": "pcinv.engine.trainer",
    "pretrain": "pcinv.engine.pretrain",
    "evaluate": "pcinv.engine.evaluator",
    "predict": "pcinv.engine.predict",
    "embed": "pcinv.engine.embed",
    "search": "pcinv.engine.search",
    "check": "pcinv.engine.check",
    "register": "pcinv.registration.pipeline",
    "register_pairs": "pcinv.registration.many",
    "register_folder": "pcinv.registration.many",
    "odometry": "pcinv.engine.odometry",
    "flow": "pcinv.engine.flow",
    "RegistrationResult": "pcinv.registration.result",
    "load_model": "pcinv.engine.loading",
    "load_dataset": "pcinv.engine.datasets",
    "open_sequence": "pcinv.engine.sequences",
    "create_model": "pcinv.models.registry",
    "list_models": "pcinv.models.registry",
    "describe_model": "pcinv.models.registry",
    "read": "pcinv.io",
    "read_cloud": "pcinv.io",
    "write": "pcinv.io",
    "sample_surface": "pcinv.io",
    "describe_file": "pcinv.io",
    "PointCloud": "pcinv.types",
    "Mesh": "pcinv.types",
    "Sample": "pcinv.types",
    "Scan": "pcinv.types",
    "PcinvError": "pcinv.errors",
}
_NAMED = {"describe_model": "describe", "describe_file": "describe"}

__all__ = ["__version__", *_WHERE]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'pcinv' has no attribute '{name}'")
    return getattr(importlib.import_module(_WHERE[name]), _NAMED.get(name, name))


def __dir__() -> list[str]:
    return sorted([*globals(), *_WHERE])
