"""The picture of the README is what its command makes."""

import importlib.util
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).parents[2]


def test_the_picture_is_made_by_its_command():
    spec = importlib.util.spec_from_file_location("make_picture", ROOT / "docs/make_picture.py")
    maker = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(maker)
    made = np.asarray(maker.make().convert("RGB"), float)
    kept = np.asarray(Image.open(ROOT / "docs/img/registration.png").convert("RGB"), float)
    assert kept.shape == made.shape
    assert np.abs(made - kept).mean() < 3  # of 255: fewer colours are kept
    assert np.abs(np.roll(made, 40, axis=1) - kept).mean() > 20  # another picture is not taken
    assert "docs/img/registration.png" in (ROOT / "README.md").read_text()
