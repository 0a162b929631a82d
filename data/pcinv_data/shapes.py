"""The generated data set `shapes`: 28 classes, exact normals and part labels, no file needed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from pcinv.errors import InputError
from pcinv_data.dataset import Raw, Request, Source, unit_ball
from pcinv_data.generate.classes import CLASS_NAMES, PART_LABELS, draw_shape, part_ids

STREAMS = {"train": 0, "test": 1, "sample": 2}
"""Own random streams: no shape of one part is ever drawn for another."""
PER_CLASS = {"train": 40, "test": 20}


def generate(seed: int, part: str, index: int, num_points: int = 1024, noise: float = 0.0) -> Raw:
    """Draw item `index` of a part; a pure function of its arguments.

    The class is `index` modulo the number of classes. `noise` is the standard deviation of a
    Gaussian shift of each point, in units of the shape's largest radius.
    """
    rng = np.random.default_rng([seed, STREAMS[part], index])
    name = CLASS_NAMES[index % len(CLASS_NAMES)]
    xyz, normal, parts = draw_shape(name, num_points, rng)
    if noise > 0:
        xyz = unit_ball(xyz, name).astype(np.float64)
        xyz += noise * rng.standard_normal(xyz.shape)
    return Raw(xyz, normal.astype(np.float32), parts)


def open_shapes(request: Request) -> Source:
    """Open the generated set; options `per_class` (40 in train, 20 in test) and `noise` (0)."""
    per_class = request.options.get("per_class")
    if per_class is None:
        per_class = PER_CLASS[request.part]
    if not isinstance(per_class, int) or not 1 <= per_class <= 100_000:
        raise InputError(f"per_class is {per_class}, expected 1 to 100000", where="per_class",
                         hint="shapes of each class; the default is 40 in train and 20 in test")
    noise = request.options.get("noise", 0.0)
    if not isinstance(noise, (int, float)) or not 0 <= noise < 1:
        raise InputError(f"noise is {noise}, expected 0 to 1", where="noise",
                         hint="a share of the shape's radius, such as 0.01")
    count = per_class * len(CLASS_NAMES)
    labels = np.arange(count) % len(CLASS_NAMES)
    names = [f"{CLASS_NAMES[k]}_{request.part}_{i // len(CLASS_NAMES):04d}"
             for i, k in enumerate(labels)]

    def read(indices: Sequence[int]) -> Iterator[Raw]:
        for i in indices:
            yield generate(request.seed, request.part, int(i), request.num_points, noise)

    return Source(layout="generated", class_names=list(CLASS_NAMES), labels=labels, names=names,
                  files=names, read=read, part_names=part_ids(), part_labels=list(PART_LABELS))
