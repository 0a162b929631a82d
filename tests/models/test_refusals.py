"""What no network takes: choices and sizes that do not exist, masks and categories that do not fit.

One sweep over the table of backbones, so that a new row is asked the same.
"""

import dataclasses
from typing import Literal, get_args, get_origin, get_type_hints

import pytest
import torch

from pcinv.errors import ConfigError, InputError, ShapeError, UnknownNameError
from pcinv.models.registry import BACKBONES, POSE_NETWORKS, create_model


def cloud(batch=2, count=40):
    return torch.randn(batch, count, 3, generator=torch.Generator().manual_seed(0))


def choices():
    """(backbone, field) of each field with listed values."""
    found = []
    for name in BACKBONES:
        hints = get_type_hints(type(create_model(name).hyper))
        for key, hint in hints.items():
            if Literal in (get_origin(hint), *map(get_origin, get_args(hint))):
                found.append((name, key))
    return found


@pytest.mark.parametrize("name, key", choices())
def test_a_choice_that_is_not_listed_is_named(name, key):
    """A mistyped choice must not be taken for the other one."""
    with pytest.raises(UnknownNameError) as caught:
        create_model(name, **{key: "somewhat"})
    assert caught.value.where == f"model.{key}" and caught.value.hint


def test_there_are_choices_and_listed_ones_are_taken():
    assert {("fa_pointnet", "frames"), ("tinvnn", "tiebreak"), ("parot", "compat"),
            ("dgcnn", "edge_pool"), ("risurconv", "compat")} <= set(choices())
    for tiebreak in (None, "kernel"):
        hyper = create_model("tinvnn", tiebreak=tiebreak).hyper
        assert dataclasses.asdict(hyper)["tiebreak"] == tiebreak


@pytest.mark.parametrize("name, options", [
    ("fa_pointnet", {"draws": -1}), ("fa_pointnet", {"anchors": 0}),
    ("fa_pointnet", {"min_gap": 0}),
    ("pointnet", {"t_nets": True, "aligned": 0}), ("pointnet", {"t_nets": True, "aligned": 9}),
    ("pointnet", {"channels": [8]}), ("vsformer", {"pixels": 1}), ("vsformer", {"radius": 0.5}),
    ("vsformer", {"heads": 3}),
])
def test_sizes_that_make_no_network_are_named(name, options):
    with pytest.raises((ConfigError, InputError)) as caught:
        create_model(name, **options)
    assert caught.value.where.startswith("model.") and caught.value.hint


@pytest.mark.parametrize("name", sorted(BACKBONES))
def test_masks_that_do_not_fit_are_named(name):
    model, xyz = create_model(name, num_classes=5).eval(), cloud()
    for mask in (torch.ones(2, 41, dtype=torch.bool), torch.ones(2, 40)):
        with pytest.raises(ShapeError, match="like the points") as caught:
            model(xyz, mask=mask)
        assert caught.value.where == "mask"
    with pytest.raises(InputError):  # padding alone
        model(xyz, mask=torch.zeros(2, 40, dtype=torch.bool))


def test_masks_of_pairs_that_do_not_fit_are_named():
    model, xyz = create_model("posenet", task="pose").eval(), cloud()
    for key in ("mask", "second_mask"):
        with pytest.raises(ShapeError) as caught:
            model(xyz, xyz, **{key: torch.ones(2, 41, dtype=torch.bool)})
        assert caught.value.where == key


@pytest.mark.parametrize("name", sorted({*BACKBONES, *POSE_NETWORKS}))
def test_a_batch_without_clouds_is_named(name):
    nothing = cloud()[:0]
    model = create_model(name, task=(BACKBONES | POSE_NETWORKS)[name].tasks[0]).eval()
    with pytest.raises(InputError, match="without clouds"):
        model(*([nothing, nothing] if name in POSE_NETWORKS else [nothing]))


PARTS = sorted(name for name, row in BACKBONES.items() if "part_segmentation" in row.tasks)


@pytest.mark.parametrize("name", PARTS)
def test_categories_that_do_not_fit_are_named(name):
    """One for each cloud: of more than that the first would be taken for those of the clouds."""
    model = create_model(name, task="part_segmentation", num_classes=5, num_categories=3).eval()
    xyz, everywhere = cloud(), torch.ones(2, 40, dtype=torch.bool)
    for category, error in ((None, InputError), ([0], ShapeError), ([0, 1, 2], ShapeError),
                            ([0, 3], InputError), ([-1, 0], InputError)):
        category = None if category is None else torch.tensor(category)
        for mask in (None, everywhere):
            with pytest.raises(error) as caught:
                model(xyz, category=category, mask=mask)
            assert caught.value.where == "category" and caught.value.hint
    with torch.inference_mode():
        assert model(xyz, category=torch.tensor([0, 2])).shape == (2, 40, 5)
