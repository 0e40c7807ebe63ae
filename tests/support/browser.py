"""A browser window that records errors and requests, and names meant to break the page."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import ConsoleMessage, Dialog, Error, Locator, Page, Request

HOSTILE = [
    "<script>alert(1)</script>", "</script><img src=x onerror=alert(2)>", "\"quoted\" 'single' & <b>bold</b>",
    "x" * 300, "\N{HIGH VOLTAGE SIGN}\N{FACTORY} emoji", "\u05e9\u05dc\u05d5\u05dd \u202e right to left",
    "line\u2028separator",
]  # fmt: skip


class Reader:
    """One browser window.

    Attributes:
        page: The window's page.
        errors: Messages of the console, errors and dialogs.
        requests: Addresses that the page requested.
    """

    def __init__(self, page: Page) -> None:
        self.page = page
        self.errors: list[str] = []
        self.requests: list[str] = []

        def on_console(message: ConsoleMessage) -> None:
            self.errors.append(f"{message.type}: {message.text}")

        def on_error(error: Error) -> None:
            self.errors.append(str(error))

        def on_dialog(dialog: Dialog) -> None:
            self.errors.append(f"dialog: {dialog.message}")
            dialog.dismiss()

        def on_request(request: Request) -> None:
            self.requests.append(request.url)

        page.on("console", on_console)
        page.on("pageerror", on_error)
        page.on("dialog", on_dialog)
        page.on("request", on_request)

    def open(self, path: Path, fragment: str = "") -> Page:
        """Open a page and wait until its scripts have run."""
        self.page.goto(path.as_uri() + fragment)
        self.page.wait_for_selector("html[data-ready=yes]", timeout=30_000)
        return self.page

    def scroll_to_end(self) -> None:
        """Scroll to the end, and wait until every chart is drawn."""
        for chart in self.page.locator(".chart:visible").all():
            chart.scroll_into_view_if_needed()
            self.page.wait_for_function("element => element.dataset.drawn", arg=chart.element_handle(), timeout=30_000)

    def tooltips(self, chart: Locator) -> list[str]:
        """Move the mouse over a chart, and return the tooltips that appear."""
        chart.scroll_into_view_if_needed()
        self.page.wait_for_function("element => element.dataset.drawn", arg=chart.element_handle(), timeout=30_000)
        box = chart.bounding_box()
        assert box is not None
        tooltip, texts = self.page.locator("#tooltip"), []
        for share_x in (0.2, 0.35, 0.5, 0.65, 0.8, 0.95):
            for share_y in (0.35, 0.65):
                self.page.mouse.move(box["x"] + share_x * box["width"], box["y"] + share_y * box["height"])
                if tooltip.is_visible():
                    texts.append(tooltip.inner_text())
        self.page.mouse.move(0, 0)
        return texts


#: A function that opens a window, for example `reader(width=390, dark=True)`.
OpenWindow = Callable[..., Reader]
