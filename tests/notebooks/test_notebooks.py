"""The notebooks run from a clean start, show pictures, and are kept without their outputs."""

import base64
import io
import tempfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed (extra dev)")
nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed (extra dev)")

FOLDER = Path(__file__).parents[2] / "notebooks"
PICTURES = {"01_invariance": 3, "02_register": 2, "03_train": 3, "04_extend": 1,
            "05_parts_and_search": 4, "06_lidar": 6}
"""Notebook -> pictures that it shows at least."""


def read(name):
    return nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)


def run(book):
    client = nbclient.NotebookClient(book, timeout=280, kernel_name="python3",
                                     resources={"metadata": {"path": str(FOLDER)}})
    manager = client.create_kernel_manager()
    with tempfile.TemporaryDirectory() as sockets:
        manager.transport, manager.ip = "ipc", f"{sockets}/kernel"
        client.execute()


def pictures(book):
    found = [output.data["image/png"] for cell in book.cells for output in cell.get("outputs", [])
             if "data" in output and "image/png" in output.data]
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB"))
            for data in found]


def test_all_notebooks_are_known_here():
    assert {path.stem for path in FOLDER.glob("*.ipynb")} == set(PICTURES)


@pytest.mark.parametrize("name", PICTURES)
def test_a_notebook_is_kept_without_outputs(name):
    for cell in read(name).cells:
        assert cell.cell_type == "markdown" or not cell.outputs and cell.execution_count is None
    assert "/home/" not in (FOLDER / f"{name}.ipynb").read_text()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", PICTURES)
def test_a_notebook_runs_and_shows_its_pictures(name):
    book = read(name)
    run(book)
    shown = pictures(book)
    assert len(shown) >= PICTURES[name]
    assert all(image.std() > 5 for image in shown)  # none of one colour


def test_a_cell_that_fails_is_seen():
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("assert 1 == 2")])
    with pytest.raises(nbclient.exceptions.CellExecutionError):
        run(book)
