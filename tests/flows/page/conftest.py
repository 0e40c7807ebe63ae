"""A real browser, and the page of a thousand series with names that mean harm."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from flows.settings import file as pipeline_file
from flows.stages.report import report
from storage.store import open_store
from tests.support.browser import HOSTILE, Reader
from tests.support.report_store import NOW, made

FEEDERS = [f"feeder {number:04d}" for number in range(1000 - len(HOSTILE))]
_OPTIONS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium, which `.ci/run` installs; playwright's own download is not needed."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        pytest.skip("no Chromium here: apt-get install chromium")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=found, headless=True, args=_OPTIONS.split())
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def thousand(tmp_path_factory) -> Path:
    """The page of 1,000 series over 29 nights; nine of them fell back tonight."""
    path = made(tmp_path_factory.mktemp("thousand"), [*HOSTILE, *FEEDERS], count=29, fallback=9)
    pipeline = pipeline_file.read(path)
    return Path(report(pipeline, open_store(pipeline.pipeline.store), NOW)["path"])


@pytest.fixture
def reader(browser):
    """`reader(width=390, dark=True)`: a window of its own."""
    contexts = []

    def window(width: int = 1280, dark: bool = False) -> Reader:
        scheme = "dark" if dark else "light"
        # A zone far from the pipeline's: no time on the page may be the reader's.
        context = browser.new_context(
            viewport={"width": width, "height": 844}, color_scheme=scheme, timezone_id="Pacific/Auckland"
        )
        contexts.append(context)
        return Reader(context.new_page())

    yield window
    for context in contexts:
        context.close()
