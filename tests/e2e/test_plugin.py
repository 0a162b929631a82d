"""The worked example adds a backbone, a data set and a format; a broken package breaks nothing."""

import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples/plugin"
TALLY = "TALLY 3\n0 0 1 17\n0.5 0 1 3\n0 1 1 2\n"


def install(folder: Path, package: str, version: str, entries: str) -> None:
    """Write what pip would: a folder of metadata beside the modules."""
    info = folder / f"{package.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n")
    (info / "entry_points.txt").write_text(entries)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder into which pip has installed the example."""
    copy = tmp_path_factory.mktemp("source") / "plugin"  # pip builds in the source folder
    shutil.copytree(EXAMPLE, copy, ignore=shutil.ignore_patterns("build", "*.egg-info"))
    target = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation",
         "--no-index", "--disable-pip-version-check", "--target", target, copy],
        capture_output=True, text=True, timeout=120)
    if done.returncode and "setuptools" in done.stderr:  # too old, or not there
        project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]
        install(target, project["name"], project["version"], "\n".join(
            f"[{group}]\n" + "\n".join(f"{name} = {value}" for name, value in rows.items())
            for group, rows in project["entry-points"].items()))
        shutil.copytree(EXAMPLE / "pcinv_tins", target / "pcinv_tins")
        return target
    assert done.returncode == 0, done.stderr
    return target


def console(site, *args, cwd, code=0):
    """Run `pcinv ARGS --json` as a process that sees `site`; return its one object."""
    paths = [str(site), *(str(ROOT / part) for part in ("", "data", "cli"))]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PCINV_")}
    done = subprocess.run(
        [sys.executable, "-m", "pcinv_cli", *map(str, args), "--json"], capture_output=True,
        text=True, timeout=240, cwd=cwd, stdin=subprocess.DEVNULL,
        env={**kept, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"})
    assert done.returncode == code, done.stdout + done.stderr
    return json.loads(done.stdout)


def test_what_the_example_adds_is_listed(site, tmp_path):
    rows = {row["name"]: row for row in console(site, "models", cwd=tmp_path)["result"]["models"]}
    assert "risurconv" in rows and rows["distance_net"]["symmetry"] == "SO(3)"
    assert rows["distance_net"]["params"]["classification/light"] == 9_960
    near = console(site, "train", "--backbone", "distance_ne", cwd=tmp_path, code=2)
    assert near["error"]["hint"] == "did you mean distance_net?"
    near = console(site, "train", "--dataset", "tin", cwd=tmp_path, code=2)
    assert near["error"]["hint"].startswith("did you mean tins")


def test_without_the_package_nothing_of_it_is_there(tmp_path):
    names = [row["name"] for row in console(tmp_path, "models", cwd=tmp_path)["result"]["models"]]
    assert "distance_net" not in names
    (tmp_path / "p.tally").write_text(TALLY)
    told = console(tmp_path, "info", "p.tally", cwd=tmp_path, code=3)
    assert told["error"]["code"] == "file"


def test_the_backbone_passes_the_check(site, tmp_path):
    told = console(site, "check", "distance_net", "--rotations", "16", cwd=tmp_path)["result"]
    assert told["passed"] and told["backbone"] == "distance_net"


def test_it_trains_on_the_data_set_and_is_loaded_again(site, tmp_path):
    (tmp_path / "p.tally").write_text(TALLY)
    told = console(site, "train", "--backbone", "distance_net", "--dataset", "tins", "--epochs",
                   "1", "-o", "run", cwd=tmp_path)["result"]
    assert told["dataset"] == "tins" and told["num_samples"] == 30
    file, = console(site, "predict", "run", "p.tally", cwd=tmp_path)["result"]["files"]
    assert {item["label"] for item in file["top"]} == {"box", "cone", "cylinder"}
    lost = console(tmp_path, "predict", "run", "p.tally", cwd=tmp_path, code=2)
    assert lost["error"]["message"] == "unknown backbone 'distance_net'"


def test_the_format_is_read_by_suffix_by_content_and_by_name(site, tmp_path):
    for name in ("p.tally", "p.unknown"):
        (tmp_path / name).write_text(TALLY)
    files = console(site, "info", "p.tally", "p.unknown", cwd=tmp_path)["result"]["files"]
    assert [(f["format"], f["num_points"]) for f in files] == [("tally", 3)] * 2
    assert files[0]["attributes"] == {"count": {"dtype": "int64", "shape": [3]}}
    console(site, "info", "p.unknown", "--from", "tally", cwd=tmp_path)
    (tmp_path / "cut.tally").write_text(TALLY[:-9])
    told = console(site, "info", "cut.tally", cwd=tmp_path, code=3)
    assert told["error"]["message"] == "the first line promises 3 points, there are 2"


BROKEN = """
[pcinv.backbones]
lame = broken_package:SPEC
odd = broken_objects:NUMBER
late = broken_objects:LATE

[pcinv.datasets]
a_broken = broken_package.data

[pcinv.readers]
lame = broken_package:READER
ply = broken_objects:PLY
wild = broken_objects:WILD
"""
OBJECTS = """
from pcinv.io.format import Format
from pcinv.models.registry import BackboneSpec

def wild(source):
    raise ZeroDivisionError("three")

NUMBER = 3
LATE = BackboneSpec(
    "late", "", "no_such_module.net", "", "SO(3)", ("classification",), {"a": ""}, 1)
PLY = Format("ply", (".ply",), wild)
WILD = Format("wild", (".wild",), wild)
"""


class TestABrokenPackage:
    @pytest.fixture
    def broken(self, tmp_path):
        folder = tmp_path / "site"
        install(folder, "lame-package", "1.0", BROKEN)
        (folder / "broken_package.py").write_text("raise RuntimeError('on purpose')\n")
        (folder / "broken_objects.py").write_text(OBJECTS)
        return folder

    def test_other_backbones_are_listed_with_a_warning_that_names_it(self, broken, tmp_path):
        told = console(broken, "models", cwd=tmp_path)
        names = [row["name"] for row in told["result"]["models"]]
        assert "risurconv" in names and not {"lame", "odd", "late"} & set(names)
        said = " ".join(warning["message"] for warning in told["warnings"])
        assert "lame-package" in said and "RuntimeError: on purpose" in said
        assert "not a pcinv.models.registry.BackboneSpec" in said and "no_such_module" in said

    @pytest.mark.parametrize("name, reason", [
        ("lame", "RuntimeError: on purpose"), ("odd", "it is an object of type int"),
        ("late", "no_such_module")])
    def test_asked_for_by_name_it_is_an_error(self, broken, name, reason):
        code = (f"import pcinv, pcinv.errors\n"
                f"try: pcinv.create_model('{name}')\n"
                f"except pcinv.errors.DependencyError as error: print(error)")
        paths = os.pathsep.join([str(broken), str(ROOT), str(ROOT / "data")])
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True,
                              env={**os.environ, "PYTHONPATH": paths}, timeout=120)
        assert reason in done.stdout, done.stderr

    def test_files_of_pcinvs_own_formats_are_read_as_ever(self, broken, tmp_path):
        sample = ROOT / "data/samples/chair.ply"
        told = console(broken, "info", sample, cwd=tmp_path)
        assert told["result"]["files"][0]["format"] == "ply" and told["warnings"] == []
        (tmp_path / "p.wild").write_text("anything")
        told = console(broken, "info", "p.wild", cwd=tmp_path, code=3)
        assert "the reader of 'wild' gave up: ZeroDivisionError" in told["error"]["message"]
        said = " ".join(warning["message"] for warning in told["warnings"])
        assert "pcinv has 'ply' itself" in said and "RuntimeError: on purpose" in said

    def test_other_data_sets_load(self, broken, tmp_path):
        told = console(broken, "train", "--dataset", "shapes", "--dry-run", "--set",
                       "data.limit=56", cwd=tmp_path)
        assert told["result"]["sizes"]["num_clouds"]["train"] > 0
        assert any("a_broken" in warning["message"] for warning in told["warnings"])
