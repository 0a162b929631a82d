"""The generated data set: determinism, balance, parts, the mirrored pair."""

import pickle
import subprocess
import sys
import zlib

import numpy as np
import pytest

import pcinv_data
from pcinv.errors import InputError, UnknownNameError, UsageError
from pcinv_data.generate.classes import (
    CLASS_NAMES,
    CLASSES,
    FIRST_PART,
    PART_LABELS,
    draw_shape,
    part_ids,
)
from pcinv_data.generate.mechanical import spring_right
from pcinv_data.shapes import generate


def load(split="train", **options):
    small = {"per_class": 2, "num_points": 128}
    return pcinv_data.load_dataset("shapes", split=split, **small | options)


def test_there_are_at_least_twenty_classes_and_the_manifest_agrees():
    manifest = pcinv_data.DATASETS["shapes"].manifest
    assert len(CLASS_NAMES) >= 20
    assert manifest.classes == CLASS_NAMES
    assert manifest.parts == {name: list(kind.parts) for name, kind in CLASSES.items()}
    count = len(CLASS_NAMES)
    assert manifest.sizes["default"] == {"train": 40 * count, "test": 20 * count}


def test_samples_are_centred_in_the_unit_ball_with_unit_normals():
    data = load()
    assert data.xyz.dtype == np.float32 and data.normal.dtype == np.float32
    assert np.abs(data.xyz.mean(1)).max() < 1e-5
    radius = np.linalg.norm(data.xyz, axis=2).max(1)
    assert np.abs(radius - 1).max() < 1e-5
    assert np.abs(np.linalg.norm(data.normal, axis=2) - 1).max() < 1e-5
    sample = data[5]
    assert sample.xyz.shape == (128, 3) and sample.label == data.labels[5]
    assert sample.part is None and data.has_normals


def test_the_same_seed_gives_the_same_bits_and_another_seed_does_not():
    first, again, other = load(), load(), load(seed=1)
    assert np.array_equal(first.xyz, again.xyz) and np.array_equal(first.normal, again.normal)
    assert not np.array_equal(first.xyz, other.xyz)


def test_an_item_depends_on_seed_part_and_index_alone():
    few, many = load("trainval"), load("trainval", per_class=3)
    assert np.array_equal(few.xyz, many.xyz[:len(few)])
    assert few.names == many.names[:len(few)]
    one = generate(0, "train", 7, 128)
    assert np.allclose(one.normal, few.normal[7], atol=1e-6)


def test_items_are_the_same_in_another_process():
    code = ("import zlib, pcinv_data as d; "
            "made = d.load_dataset('shapes', per_class=2, num_points=128); "
            "print(zlib.crc32(made.xyz.tobytes()))")
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(out.stdout) == zlib.crc32(load().xyz.tobytes())


def test_splits_share_no_shape_and_are_balanced():
    train, val = load("train", per_class=10), load("val", per_class=10)
    both, test = load("trainval", per_class=10), load("test", per_class=10)
    keys = [{x.tobytes() for x in part.xyz} for part in (train, val, test)]
    assert not keys[0] & keys[1] and not keys[0] & keys[2] and not keys[1] & keys[2]
    assert keys[0] | keys[1] == {x.tobytes() for x in both.xyz}
    assert set(np.bincount(train.labels)) == {9} and set(np.bincount(val.labels)) == {1}
    assert set(np.bincount(test.labels)) == {10}


def test_limit_takes_the_classes_in_turn():
    data = load(per_class=5, limit=2 * len(CLASS_NAMES))
    assert set(np.bincount(data.labels)) == {2}
    assert len(load(limit=5)) == 5


def test_left_and_right_springs_are_exact_mirror_images():
    for seed in range(5):
        right = draw_shape("spring_right", 200, np.random.default_rng(seed))
        left = draw_shape("spring_left", 200, np.random.default_rng(seed))
        flip = np.array([-1.0, 1, 1])
        assert np.array_equal(left[0], right[0] * flip)
        assert np.array_equal(left[1], right[1] * flip)


def handedness(xyz):
    """Mean sign of the turn of a spring about its axis (z) as one climbs it."""
    order = np.argsort(xyz[:, 2])
    angle = np.unwrap(np.arctan2(xyz[order, 1], xyz[order, 0]))
    return np.sign(angle[-1] - angle[0])


def test_springs_wind_the_way_their_class_says():
    for seed in range(10):
        # points of the wire's axis: its width would blur their order
        tube = spring_right(np.random.default_rng(seed))[0].solid
        assert handedness(tube.nodes) == 1
        assert handedness(tube.nodes * [-1, 1, 1]) == -1


def test_springs_of_a_split_are_not_mirror_copies():
    data = load("trainval", per_class=4)
    right, left = (data.xyz[data.labels == CLASS_NAMES.index(name)]
                   for name in ("spring_right", "spring_left"))
    for one in right:
        for other in left:
            assert not np.allclose(one * [-1, 1, 1], other, atol=1e-3)


def test_parts_are_those_of_the_class():
    data = load(per_class=6, num_points=512, task="part_segmentation")
    assert data.num_parts == len(PART_LABELS) == sum(len(c.parts) for c in CLASSES.values())
    assert data.part_names == part_ids()
    seen = set()
    for sample in data:
        allowed = data.part_names[sample.label]
        assert set(sample.part.tolist()) <= set(allowed)
        seen |= set(sample.part.tolist())
    missing = [PART_LABELS[p] for p in range(data.num_parts) if p not in seen]
    assert not missing, missing
    assert data.part_labels[FIRST_PART["chair"] + 3] == "chair/arm"


def test_part_labels_follow_the_geometry():
    for seed in range(5):
        points, _, part = draw_shape("chair", 2000, np.random.default_rng(seed))
        local = part - FIRST_PART["chair"]
        leg, seat, back = (points[local == k, 2].mean() for k in (2, 0, 1))
        assert leg < seat < back
        points, _, part = draw_shape("gear", 2000, np.random.default_rng(seed))
        radius = np.hypot(points[:, 0], points[:, 1])
        tooth = part == FIRST_PART["gear"] + 1
        assert radius[tooth].min() > radius[~tooth].mean()


def test_shapes_of_a_class_differ_widely():
    for name in CLASS_NAMES:
        spread = []
        for seed in range(12):
            points, _, _ = draw_shape(name, 300, np.random.default_rng([11, seed]))
            values = np.sort(np.linalg.eigvalsh(np.cov(points.T)))
            spread.append(values[:2] / values[2])
        assert np.std(spread, axis=0).max() > (0.005 if name == "sphere" else 0.02), name


def test_noise_moves_points_by_about_its_size():
    clean, noisy = load(), load(noise=0.02)
    shift = np.linalg.norm(clean.xyz - noisy.xyz, axis=2)
    assert 0.015 < shift.mean() < 0.06
    assert np.array_equal(clean.normal, noisy.normal)


def test_dataset_can_be_pickled_for_loader_workers():
    data = load()
    again = pickle.loads(pickle.dumps(data))
    assert np.array_equal(again.xyz, data.xyz) and again[3].name == data[3].name


def test_other_than_1024_points_can_be_drawn():
    assert load(num_points=50).num_points == 50
    assert load("test", num_points=3000, limit=2)[0].xyz.shape == (3000, 3)


@pytest.mark.parametrize("wrong, kind, says", [
    ({"split": "valid"}, UnknownNameError, "val"),
    ({"task": "detection"}, UsageError, "part_segmentation"),
    ({"per_clas": 3}, UnknownNameError, "per_class"),
    ({"per_class": 0}, InputError, "1 to"),
    ({"noise": -1}, InputError, "0 to 1"),
    ({"num_points": 0}, InputError, "whole number"),
    ({"limit": 0}, InputError, "whole number"),
    ({"val_fraction": 1.0}, InputError, "0 to 1"),
    ({"sampling": "fsp"}, UnknownNameError, "fps"),
])
def test_wrong_requests_are_refused_with_what_is_right(wrong, kind, says):
    with pytest.raises(kind) as caught:
        load(**wrong)
    assert says in str(caught.value)


def test_an_unknown_data_set_is_answered_with_the_nearest():
    with pytest.raises(UnknownNameError, match="modelnet40"):
        pcinv_data.load_dataset("modelnet-40")
    with pytest.raises(UnknownNameError, match="shape class"):
        draw_shape("chiar", 10, np.random.default_rng(0))


def test_importing_the_package_stays_light():
    code = ("import sys, pcinv_data; heavy = ('torch', 'h5py', 'scipy', 'open3d', 'trimesh'); "
            "print([m for m in heavy if m in sys.modules])")
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def twist(xyz, normal):
    """A number of pairs of points that rotations keep and mirrors negate."""
    step = xyz[None] - xyz[:, None]
    length = np.linalg.norm(step, axis=2)
    unit = step / (length[..., None] + 1e-9)
    here = np.einsum("id,ijd->ij", normal, unit)
    there = np.einsum("jd,ijd->ij", normal, unit)
    triple = np.einsum("ijd,ijd->ij", np.cross(normal[:, None], normal[None]), unit)
    signed = triple * np.sign(here * there)
    return signed[length > 0.6].mean() - signed[length < 0.6].mean()


def test_handedness_can_be_told_from_the_surface_under_any_rotation():
    data = load("trainval", per_class=20, num_points=512)
    values = {}
    for name in ("spring_right", "spring_left"):
        chosen = np.flatnonzero(data.labels == CLASS_NAMES.index(name))
        values[name] = np.array([twist(data.xyz[k], data.normal[k]) for k in chosen])
    assert (values["spring_right"] > 0).mean() >= 0.8
    assert (values["spring_left"] < 0).mean() >= 0.8
    k = int(np.flatnonzero(data.labels == CLASS_NAMES.index("spring_right"))[0])
    turned = np.linalg.qr(np.random.default_rng(0).standard_normal((3, 3)))[0]
    turned *= np.sign(np.linalg.det(turned))
    again = twist(data.xyz[k] @ turned.T, data.normal[k] @ turned.T)
    assert again == pytest.approx(values["spring_right"][0], abs=1e-5)
