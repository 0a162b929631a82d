"""What makes the descriptor of patches work on real scans: one change at a time, equal steps.

    python benchmarks/ablate_patches.py --rooms DIR --real DIR -o OUT [--pairs 130] [--only NAME]

Trains each variant for about 1,200 steps on generated rooms (made in `--rooms` where they are not
there yet), registers evenly spaced pairs of 3DLoMatch by its patches alone, and prints the table.
What is done is kept in OUT: the same command goes on. About 12 minutes a variant on one core.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

STEPS = 1224
PAIRS_A_ROOM = 13.6
"""In the mean."""


@dataclass(frozen=True)
class Variant:
    """One change. rooms : that are trained on.  clean : by a camera without noise and bias.

    batch : clouds of a step, two a pair.  overrides : of the network.
    """

    rooms: int = 108
    clean: bool = False
    seed: int = 0
    batch: int = 8
    backbone: str = "cylinder_patch"
    overrides: dict[str, Any] = field(default_factory=dict)


VARIANTS = {
    "base": Variant(),
    "27 rooms": Variant(rooms=27),
    "54 rooms": Variant(rooms=54),
    "54 rooms, no noise": Variant(rooms=54, clean=True),
    "radius 0.2": Variant(overrides={"radius": 0.2}),
    "radius 0.45": Variant(overrides={"radius": 0.45}),
    "half the batch": Variant(batch=4),
    "RISurConv, half batch": Variant(batch=4, backbone="risurconv_patch"),
    "half the width": Variant(overrides={"width": 48}),
    "seed 1": Variant(seed=1),
}


def rooms_folder(folder: Path, variant: Variant) -> Path:
    """Return where the rooms of a variant are; clean ones are made here, by a perfect lens."""
    if not variant.clean:
        return folder
    import numpy as np

    from pcinv_data import depth_camera
    from pcinv_data.room_store import make_rooms

    clean, noisy = folder / "clean", depth_camera.draw_lens
    try:
        depth_camera.draw_lens = lambda rng: depth_camera.Lens(0.0, np.ones_like(noisy(rng).bias))
        for _ in make_rooms(clean, variant.rooms + held(variant), jobs=1):
            pass
    finally:
        depth_camera.draw_lens = noisy
    return clean


def held(variant: Variant) -> int:
    """Return how many rooms are kept for validation."""
    return max(1, round(variant.rooms / 9))


def train_variant(name: str, variant: Variant, folder: Path, out: Path) -> Path:
    """Train, or take the run that is there; return its folder."""
    from pcinv.engine.config import load_config
    from pcinv.engine.trainer import train

    run = out / name.replace(" ", "-").replace(",", "")
    if (run / "done").is_file():
        return run
    total = variant.rooms + held(variant)
    epochs = max(1, round(STEPS / (PAIRS_A_ROOM * variant.rooms / (variant.batch / 2))))
    settings = [f"data.limit={total}", f"data.val_fraction={held(variant) / total}",
                f"train.epochs={epochs}", f"train.batch_size={variant.batch}",
                f"seed={variant.seed}",
                *(f"model.overrides.{key}={value}" for key, value in variant.overrides.items())]
    config, _ = load_config(None, settings, None, {
        "model.backbone": variant.backbone, "data.root": str(rooms_folder(folder, variant))})
    begun = (run / "last").is_file()
    train(config, output=None if begun else run, resume=run if begun else None, force=not begun)
    (run / "done").touch()
    return run


def measure(run: Path, real: Path, pairs: int) -> dict[str, Any]:
    """Register pairs of 3DLoMatch by the patches of a run alone."""
    from pcinv_data.benchmark import run_registration

    lines = (run / "metrics.jsonl").read_text().splitlines()
    table = run_registration("3dlomatch", real, method="patch", pairs=pairs, matches=True,
                             weights=run, output=run / f"3dlomatch-{pairs}")
    return {"steps": json.loads(lines[-1])["step"],
            "validation": json.loads(lines[-1])["val_inlier_ratio"],
            **{key: table[key] for key in ("recall", "inlier_ratio", "feature_matching_recall")}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("rooms", "real"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--pairs", type=int, default=130)
    parser.add_argument("--only", choices=VARIANTS, nargs="*")
    told = parser.parse_args()
    print(f"{'variant':<22}{'steps':>7}{'val. IR':>9}{'recall':>8}{'IR':>8}{'FMR':>8}", flush=True)
    for name in told.only or VARIANTS:
        run = train_variant(name, VARIANTS[name], told.rooms, told.output)
        row = measure(run, told.real, told.pairs)
        print(f"{name:<22}{row['steps']:>7}{row['validation']:>9.3f}{row['recall']:>8.3f}"
              f"{row['inlier_ratio']:>8.3f}{row['feature_matching_recall']:>8.3f}", flush=True)


if __name__ == "__main__":
    main()
