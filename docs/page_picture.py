"""Picture of a report page, or of one of its sections: `python -m docs.page_picture PAGE.html OUT.png [HEADING]`.

docs/page.png is the top of a page, docs/operation.png its section "Fallbacks and failures".
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from playwright.sync_api import ViewportSize, sync_playwright

_SIZE: ViewportSize = {"width": 1280, "height": 1500}


def main(report: str, out: str, heading: str | None = None) -> None:
    """Open a page in a browser, and write a screenshot of its top or of the section with a heading."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        sys.exit("The picture needs Chromium (apt-get install chromium).")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, headless=True, args=["--no-sandbox"])
        page = browser.new_page(viewport=_SIZE)
        page.goto(Path(report).resolve().as_uri())
        page.wait_for_selector("html[data-ready=yes]")
        if heading is None:
            page.wait_for_timeout(1000)  # until the charts in sight are drawn
            page.screenshot(path=out)
        else:
            section = page.locator("section", has=page.get_by_role("heading", name=heading, exact=True))
            section.scroll_into_view_if_needed()
            page.wait_for_timeout(1000)
            section.screenshot(path=out)
        browser.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
