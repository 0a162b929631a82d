"""The sample files: made by the project, small, and in no split."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from pcinv.io import read, sample_surface
from pcinv.types import Mesh, PointCloud
from pcinv_data.generate.classes import CLASS_NAMES
from pcinv_data.shapes import generate

FOLDER = Path(__file__).parents[2] / "data" / "samples"
SPEC = importlib.util.spec_from_file_location("make_samples", FOLDER / "make_samples.py")
MAKER = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(MAKER)


@pytest.mark.parametrize("name", MAKER.SAMPLES)
def test_files_are_what_the_script_makes(name):
    stored, made = read(FOLDER / name), MAKER.SAMPLES[name]()
    assert type(stored) is type(made) and len(stored) == len(made)
    points = (thing.vertices if isinstance(thing, Mesh) else thing.absolute()
              for thing in (stored, made))
    assert np.allclose(*points, atol=1e-4)
    if isinstance(made, PointCloud) and made.normal is not None:
        assert np.allclose(stored.normal, made.normal, atol=1e-6)


def test_samples_are_small():
    assert sum(file.stat().st_size for file in FOLDER.iterdir() if file.is_file()) < 1_000_000


def test_the_bolt_is_closed_and_faces_outwards():
    bolt = read(FOLDER / "bolt.off")
    edges = np.concatenate([bolt.faces[:, [0, 1]], bolt.faces[:, [1, 2]], bolt.faces[:, [2, 0]]])
    forth, back = ({tuple(e) for e in way.tolist()} for way in (edges, edges[:, ::-1]))
    assert forth == back and len(forth) == len(edges)
    corner = bolt.vertices[bolt.faces]
    volume = np.einsum("ij,ij->i", corner[:, 0], np.cross(corner[:, 1], corner[:, 2])).sum() / 6
    head, shank = np.sqrt(27) / 2 * 7.5**2 * 5.3, 12 * np.sin(np.pi / 12) * 16 * 39.8
    assert volume == pytest.approx(head + shank, rel=0.02)
    assert len(sample_surface(bolt, 100, 0)) == 100


def test_samples_are_of_no_split():
    chair = CLASS_NAMES.index("chair")
    drawn = generate(0, "sample", chair, 64).normal
    for part in ("train", "test"):
        for k in range(40):
            other = generate(0, part, chair + k * len(CLASS_NAMES), 64).normal
            assert not np.array_equal(drawn, other)
