"""A browser without a screen, which draws in software, for tests of pages."""

import io
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
# The machine may have no graphics card; --no-sandbox because tests may run as root.
ARGUMENTS = ("--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader",
             "--enable-unsafe-swiftshader")


@contextmanager
def browser() -> Iterator:
    """Lend a browser of playwright; skip the test, with the reason, where there is none."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        pytest.skip("there is no chromium on this machine (Debian: chromium)")
    with api.sync_playwright() as run:
        started = run.chromium.launch(executable_path=program, args=list(ARGUMENTS))
        try:
            yield started
        finally:
            started.close()


@contextmanager
def page(browser, width: int = 900, height: int = 600) -> Iterator:
    """Lend an empty page with lists of what it asks for and of what it complains about.

    page.asked : addresses of all requests.  page.errors : words of errors of the console.
    """
    context = browser.new_context(viewport={"width": width, "height": height})
    page = context.new_page()
    page.asked, page.errors = [], []
    page.on("request", lambda request: page.asked.append(request.url))
    page.on("websocket", lambda socket: page.asked.append(socket.url))
    page.on("pageerror", lambda error: page.errors.append(str(error)))
    page.on("console", lambda message: page.errors.append(message.text)
            if message.type == "error" else None)
    try:
        yield page
    finally:
        context.close()


def picture(page, selector: str) -> np.ndarray:
    """Return what is seen of an element: (H, W, 3) uint8."""
    from PIL import Image

    shot = page.locator(selector).first.screenshot()
    return np.asarray(Image.open(io.BytesIO(shot)).convert("RGB"))


def changed(before: np.ndarray, after: np.ndarray) -> float:
    """Return the share of pixels that differ."""
    return float((np.abs(before.astype(int) - after).max(axis=2) > 20).mean())
