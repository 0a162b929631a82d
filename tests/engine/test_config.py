"""Configuration: strict TOML both ways, overrides with their source, errors that name the key."""

import json
import math
import tomllib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pcinv.engine import toml
from pcinv.engine.config import (
    Config,
    apply_overrides,
    differing,
    dump_config,
    flatten,
    from_tree,
    load_config,
    schema,
    to_tree,
)
from pcinv.errors import ConfigError, UnknownNameError
from pcinv.models import registry

LEAVES = (st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text()
          | st.floats(allow_nan=False))
TREES = st.dictionaries(st.text(), st.recursive(
    LEAVES | st.lists(LEAVES, max_size=4),
    lambda inner: st.dictionaries(st.text(), inner, max_size=4), max_leaves=8), max_size=5)


@settings(max_examples=60, deadline=None)
@given(TREES)
def test_written_toml_is_read_back(tree):
    tree = json.loads(json.dumps(tree), parse_constant=float)
    assert tomllib.loads(toml.dumps(tree)) == tree


def test_values_without_a_toml_type_are_refused():
    with pytest.raises(ConfigError, match="NoneType"):
        toml.dumps({"key": [None]})
    assert math.isnan(tomllib.loads(toml.dumps({"x": math.nan}))["x"])


def test_a_configuration_survives_its_file(tmp_path):
    config = from_tree({"model": {"overrides": {"k": [8, 16], "name": 'a "b"\n'}}, "seed": 5,
                        "data": {"root": "/data/ä b", "limit": 9}, "optim": {"lr": 1e-5}})
    (tmp_path / "c.toml").write_text(dump_config(config))
    read, sources = load_config(tmp_path / "c.toml")
    assert read == config
    assert sources["optim.lr"] == "file" and sources["model.overrides.k"] == "file"
    assert sources["data.task" if "data.task" in sources else "model.preset"] == "default"
    assert from_tree(to_tree(config)) == config


def test_later_sources_win_and_are_named(tmp_path):
    (tmp_path / "c.toml").write_text("seed = 1\n[optim]\nlr = 0.1\nweight_decay = 0.1\n"
                                     "[train]\nepochs = 1\nbatch_size = 10\n")
    config, sources = load_config(
        tmp_path / "c.toml", ["optim.lr=0.3", "train.epochs=3", "data.dataset=modelnet10"],
        {"PCINV_OPTIM__LR": "0.2", "PCINV_OPTIM__WEIGHT_DECAY": "0.2", "PCINV_SEED": "2",
         "HOME": "/", "PCINV_CACHE": "x"},
        {"train.epochs": 4, "train.device": None})
    assert (config.optim.lr, config.optim.weight_decay, config.seed) == (0.3, 0.2, 2)
    assert (config.train.epochs, config.train.batch_size) == (4, 10)
    assert config.data.dataset == "modelnet10"
    chosen = {key: source for key, source in sources.items() if source != "default"}
    assert chosen == {"optim.lr": "set", "optim.weight_decay": "environment",
                      "seed": "environment", "train.epochs": "flag", "train.batch_size": "file",
                      "data.dataset": "set"}


def test_the_recipe_of_a_backbone_is_a_default(monkeypatch):
    import dataclasses

    spec = dataclasses.replace(registry.BACKBONES["risurconv"], recipe={"optim": {"lr": 0.5},
                                                                       "train.epochs": 7})
    monkeypatch.setitem(registry.BACKBONES, "risurconv", spec)
    config, sources = load_config(overrides=["train.epochs=8"])
    assert config.optim.lr == 0.5 and sources["optim.lr"] == "default"
    assert config.train.epochs == 8 and sources["train.epochs"] == "set"
    assert load_config(overrides=["model.backbone=riconvpp"])[0].optim.lr == Config().optim.lr


@pytest.mark.parametrize(("text", "words", "hint"), [
    ("optim.lrr=1", "unknown key 'optim.lrr'", "optim.lr"),
    ("optm.lr=1", "unknown key 'optm.lr'", "optim.lr"),
    ("lr=1", "unknown key 'lr'", "optim.lr"),
    ("trainepochs=3", "unknown key", "train.epochs"),
    ("optim=3", "unknown key 'optim'", "optim."),
    ("seed.x=3", "unknown key 'seed.x'", "seed"),
    ("optim.lr=-1", "optim.lr is -1", "schema"),
    ("optim.lr=fast", "optim.lr is 'fast'", "schema"),
    ('optim.lr="0.1"', "optim.lr is '0.1'", "schema"),
    ("train.epochs=1.5", "train.epochs is 1.5", "schema"),
    ("optim.lr=nan", "optim.lr is", "schema"),
    ("train.device=tpu", "train.device is 'tpu'", "schema"),
    ("augment.scale=[1.0]", "augment.scale", "schema"),
    ("augment.scale=[2.0, 1.0]", r"augment.scale is \[2.0, 1.0\]", "lowest"),
    ("optim.name=adan", "adan", "schema"),
    ("optim.lr=[1", "not a TOML value", "key="),
    ("optim.lr", "not key=value", "--set"),
])
def test_wrong_keys_and_values_are_told_with_their_cure(text, words, hint):
    with pytest.raises(ConfigError, match=words) as caught:
        apply_overrides(Config(), [text])
    assert caught.value.exit_code == 2
    assert hint in caught.value.hint and "--set" in caught.value.where
    with pytest.raises(ConfigError, match=words):
        load_config(overrides=[text])


@pytest.mark.parametrize(("content", "words"), [
    (b"[optim]\nlrr = 1\n", "optim.lrr"),
    (b"[optm]\n", "optm"),
    (b"[optim\n", "not valid TOML"),
    (b"\xff\xfe", "not valid TOML"),
    (b"optim = 3\n", "optim"),
    (b"x = " + b"[" * 100_000, "not valid TOML"),
    (b"#" * 2**21, "larger than"),
])
def test_a_bad_file_is_named(tmp_path, content, words):
    path = tmp_path / "bad.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=words) as caught:
        load_config(path)
    assert caught.value.where == str(path)


def test_a_missing_file_and_a_bad_variable_are_named(tmp_path):
    with pytest.raises(ConfigError, match="No such file"):
        load_config(tmp_path / "none.toml")
    with pytest.raises(ConfigError, match=r"optim\.lrr") as caught:
        load_config(env={"PCINV_OPTIM__LRR": "1"})
    assert caught.value.where == "environment PCINV_OPTIM__LRR"


def test_an_unknown_backbone_is_answered_with_the_nearest():
    with pytest.raises(UnknownNameError) as caught:
        load_config(overrides=["model.backbone=risurcon"])
    assert "risurconv" in caught.value.hint


def test_trees_that_are_no_tables_are_refused():
    with pytest.raises(ConfigError, match="expected a table"):
        from_tree({"optim": 3})
    with pytest.raises(ConfigError, match="goes into a value"):
        load_config(overrides=["data.options.a=1", "data.options.a.b=2"])


def test_overrides_of_open_tables_are_kept_as_they_are():
    config = apply_overrides(Config(), ["model.overrides.attention=false",
                                        "data.options.sampling=random"])
    assert config.model.overrides == {"attention": False}
    assert config.data.options == {"sampling": "random"}
    assert Config().model.overrides == {}


def test_the_schema_names_every_section_and_forbids_others():
    whole = schema()
    assert whole["additionalProperties"] is False
    assert {key.split(".")[0] for key in flatten(to_tree(Config()))} <= whole["properties"].keys()


def test_differences_are_listed_by_key():
    lines = differing(to_tree(Config()), to_tree(Config(seed=3)))
    assert lines == ["seed: 0 here, 3 there"]
