"""Make the picture of the README: the two sample scans before and after registration.

    python docs/make_picture.py [-o docs/img/registration.png]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

import pcinv
from pcinv.vis.inline import draw

ROOT = Path(__file__).parents[1]
SAMPLES = ROOT / "data/samples"
SIZE = {"width": 760, "height": 560, "up": "-y", "look": (-0.55, -0.6, -1.3)}


def make() -> Image.Image:
    """Return the picture: as they come on the left, as registered on the right."""
    files = SAMPLES / "room_a.ply", SAMPLES / "room_b.ply"
    found = pcinv.register(*files)
    words = (f"pcinv register room_a.ply room_b.ply: {found.verdict}, "
             f"{found.overlap:.0%} overlap, {found.num_inliers} matches agree")
    sides = [draw(*files, title="two scans, as they come", **SIZE),
             draw(*files, transform=found.transform, title=words, **SIZE)]
    return Image.fromarray(np.concatenate([np.asarray(side) for side in sides], axis=1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "docs/img/registration.png")
    make().quantize(64, dither=Image.Dither.NONE).save(parser.parse_args().output, optimize=True)


if __name__ == "__main__":
    main()
