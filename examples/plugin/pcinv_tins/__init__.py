"""What this package adds to pcinv. It is imported to list names, so it does not import torch."""

from pcinv.models.registry import BackboneSpec

DISTANCE_NET = BackboneSpec(
    name="distance_net",
    title="Distances to the mean and to the neighbours, pooled",
    module="pcinv_tins.backbone",
    paper="none; an example",
    symmetry="SO(3)",
    tasks=("classification",),
    presets={"light": "64 channels", "wide": "128 channels"},
    min_points=2,
    recipe={"data": {"num_points": 256}, "augment": {"dropout": 0.0}, "optim": {"lr": 0.01},
            "train": {"epochs": 20, "batch_size": 12}},
)
