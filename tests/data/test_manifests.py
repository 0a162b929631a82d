"""The manifests, and what is told of each data set."""

import json
import logging

import pytest

import pcinv_data
from pcinv.errors import DatasetError, UnknownNameError
from pcinv_data.manifest import parse_manifest

GOOD = """
name = "toy"
title = "Toy"
summary = "s"
terms = "t"
licence = "l"
citation = "c"
get = "g"
classes = ["a", "b"]
[sizes.official]
train = 3
[[layouts]]
name = "x"
title = "y"
tree = ["*.ply"]
normals = false
"""


@pytest.mark.parametrize("name", pcinv_data.list_datasets())
def test_every_data_set_is_described_in_full(name):
    told = pcinv_data.describe_dataset(name)
    json.dumps(told)
    assert told["name"] == name and told["layouts"] and told["terms"] and told["licence"]
    assert told["num_classes"] == len(told["classes"])
    if told["needs_root"] and name != "folder":
        assert told["url"].startswith("https://") and told["sizes"]
        assert all(layout["tree"] for layout in told["layouts"])


@pytest.mark.parametrize("name, edition, sizes, classes", [
    ("modelnet40", "official", {"train": 9843, "test": 2468}, 40),
    ("modelnet10", "official", {"train": 3991, "test": 908}, 10),
    ("scanobjectnn", "pb_t50_rs", {"train": 11416, "test": 2882}, 15),
    ("scanobjectnn", "obj_bg", {"train": 2309, "test": 581}, 15),
    ("shapenetpart", "official", {"train": 12137, "val": 1870, "test": 2874}, 16),
])
def test_official_sizes(name, edition, sizes, classes):
    told = pcinv_data.describe_dataset(name)
    assert told["sizes"][edition] == sizes and told["num_classes"] == classes


def test_class_lists_are_sorted_where_the_files_are():
    for name in ("modelnet40", "modelnet10", "shapenetpart"):
        classes = pcinv_data.describe_dataset(name)["classes"]
        assert classes == sorted(classes)


def test_a_good_manifest_passes():
    assert parse_manifest(GOOD, "toy").sizes == {"official": {"train": 3}}


@pytest.mark.parametrize("old, new, says", [
    ('name = "toy"', 'name = "joy"', "name 'joy'"),
    ('licence = "l"', "", "no text 'licence'"),
    ('"a", "b"', '"a", "a"', "'classes'"),
    ("train = 3", "train = -3", "positive"),
    ("normals = false", "", "a layout needs"),
    ('get = "g"', 'get = "g"\ncolour = 3', "unknown key"),
    ("[[layouts]]", "[[layouts", "manifest:"),
])
def test_a_damaged_manifest_names_its_fault(old, new, says):
    with pytest.raises(DatasetError) as caught:
        parse_manifest(GOOD.replace(old, new, 1), "toy")
    assert says in caught.value.message


def test_unknown_names_are_answered_with_the_nearest():
    with pytest.raises(UnknownNameError, match="shapenetpart"):
        pcinv_data.describe_dataset("shapenetparts")
    with pytest.raises(UnknownNameError, match="shapes"):
        pcinv_data.verify_dataset("shape")


def test_generated_shapes_verify(caplog):
    with caplog.at_level(logging.WARNING):
        report = pcinv_data.verify_dataset("shapes", per_class=1)
    assert report.ok and report.counts == {"train": 28, "test": 28} and not caplog.records
