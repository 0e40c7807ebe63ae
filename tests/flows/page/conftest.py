"""Fixtures of the page tests: a browser, and the page of a thousand series with hostile names."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from flows.settings import file as pipeline_file
from flows.stages.report import report
from storage.store import open_store
from tests.support.browser import HOSTILE, OpenWindow, Reader
from tests.support.report_store import NOW, make_store

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext

FEEDERS = [f"feeder {number:04d}" for number in range(1000 - len(HOSTILE))]
_OPTIONS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Start the Chromium of the system, which `.ci/run` installs. Playwright's own download is not needed."""
    from playwright.sync_api import sync_playwright

    executable = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if executable is None:
        pytest.skip("Chromium is not installed: apt-get install chromium")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=executable, headless=True, args=_OPTIONS.split())
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def thousand(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the page of 1,000 series at 29 issue times. Nine series of the newest forecast are baseline rows."""
    path = make_store(tmp_path_factory.mktemp("thousand"), [*HOSTILE, *FEEDERS], count=29, fallback=9)
    settings = pipeline_file.read(path)
    return Path(report(settings, open_store(settings.pipeline.store), NOW)["path"])


@pytest.fixture
def reader(browser: Browser) -> Iterator[OpenWindow]:
    """Return a function that opens a window, for example `reader(width=390, dark=True)`."""
    contexts: list[BrowserContext] = []

    def window(width: int = 1280, dark: bool = False) -> Reader:
        # The reader's zone must not appear on the page, so it is far from the pipeline's zone.
        context = browser.new_context(
            viewport={"width": width, "height": 844},
            color_scheme="dark" if dark else "light",
            timezone_id="Pacific/Auckland",
        )
        contexts.append(context)
        return Reader(context.new_page())

    yield window
    for context in contexts:
        context.close()
