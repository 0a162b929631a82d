"""Sound files with bytes changed, cut out or put in: success or a typed error, nothing else."""

import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from seeds import FORMATS, seed_file

from pcinv.errors import PcinvError
from pcinv.io import read
from pcinv.types import PointCloud


@st.composite
def mutations(draw):
    """Return a few edits: (kind, place in [0, 1), bytes)."""
    interesting = st.sampled_from(
        [
            b"\0",
            b"\xff",
            b"-",
            b"9",
            b"\n",
            b" ",
            b"\x7f\xff\xff\xff",
            b"\xff\xff\xff\xff",
            b"\0\0\xc0\x7f",
            b"nan",
            b"999999999",
            b"1e999",
            b",",
            b"#",
            b"/",
        ]
    )
    piece = st.one_of(interesting, st.binary(min_size=1, max_size=8))
    edit = st.tuples(
        st.sampled_from(["set", "insert", "delete", "cut", "double"]),
        st.floats(0, 1, exclude_max=True),
        piece,
    )
    return draw(st.lists(edit, min_size=1, max_size=4)), draw(st.booleans())


def mutate(content: bytes, edits, early: bool) -> bytes:
    for kind, share, piece in edits:
        at = int(
            share * (min(len(content), 400) if early else len(content))
        )  # headers are where it hurts
        if kind == "set":
            content = content[:at] + piece + content[at + len(piece) :]
        elif kind == "insert":
            content = content[:at] + piece + content[at:]
        elif kind == "delete":
            content = content[:at] + content[at + len(piece) :]
        elif kind == "cut":
            content = content[:at]
        else:
            content = content[:at] + content[at : at + 64] + content[at:]
    return content


@pytest.mark.parametrize("name", [n for n in FORMATS if n not in ("h5", "laz")])
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(change=mutations())
def test_only_typed_errors(tmp_path, name, change):
    path = tmp_path / seed_file(name)[0]
    path.write_bytes(mutate(seed_file(name)[1], *change))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            data = read(path)
        except PcinvError as error:
            assert path.name in (error.where or ""), error
            assert error.exit_code in (3, 7)
            return
    xyz = data.xyz if isinstance(data, PointCloud) else data.vertices
    assert len(data) and np.isfinite(xyz).all()
    assert all(len(v) == len(data) for v in data.attributes.values())
    if not isinstance(data, PointCloud):
        assert data.faces.min() >= 0 and data.faces.max() < len(data)


@pytest.mark.parametrize("name,count", [("h5", 100), ("laz", 4)])
def test_formats_of_compiled_readers_in_a_child(tmp_path, name, count):
    """A crash of the compiled library would end the child, not the tests."""
    rng = np.random.default_rng(0)
    file, content = seed_file(name)
    names = []
    for k in range(count):
        changed = bytearray(content)
        for at in rng.integers(
            0, len(content) if k % 2 else min(len(content), 900), rng.integers(1, 6)
        ):
            changed[at] = rng.integers(0, 256)
        names.append(f"{k}-{file}")
        (tmp_path / names[-1]).write_bytes(
            bytes(changed[: rng.integers(1, len(changed))] if k % 10 == 0 else changed)
        )
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("child.py")), "3072", *names],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, (done.returncode, done.stdout[-300:], done.stderr[-1000:])
    assert done.stdout.count("\n") == count and '"untyped"' not in done.stdout, [
        line for line in done.stdout.splitlines() if "untyped" in line
    ][:3]
    assert '"exit": 3' in done.stdout
