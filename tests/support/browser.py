"""A browser window that records errors and requests, and names meant to break the page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Page

HOSTILE = [
    "<script>alert(1)</script>", "</script><img src=x onerror=alert(2)>", "\"quoted\" 'single' & <b>bold</b>",
    "x" * 300, "\N{HIGH VOLTAGE SIGN}\N{FACTORY} emoji", "\u05e9\u05dc\u05d5\u05dd \u202e right to left",
    "line\u2028separator",
]  # fmt: skip


class Reader:
    """One browser window; it remembers what went wrong and what was asked of the network."""

    def __init__(self, page: Page) -> None:
        self.page, self.trouble, self.requests = page, [], []
        page.on("console", lambda message: self.trouble.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: self.trouble.append(str(error)))
        page.on("dialog", lambda dialog: (self.trouble.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        page.on("request", lambda request: self.requests.append(request.url))

    def open(self, path: Path, fragment: str = "") -> Page:
        self.page.goto(path.as_uri() + fragment)
        self.page.wait_for_selector("html[data-ready=yes]", timeout=30_000)
        return self.page

    def to_the_end(self) -> None:
        """Scroll as a reader does, and wait until every chart is drawn."""
        for chart in self.page.locator(".chart:visible").all():
            chart.scroll_into_view_if_needed()
            self.page.wait_for_function("element => element.dataset.drawn", arg=chart.element_handle(), timeout=30_000)
