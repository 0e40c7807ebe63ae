"""Report pages of earlier issue times in the store, and links from one page to others."""

from __future__ import annotations

from datetime import datetime

from storage import layout
from storage.store import Store

#: Number of kept pages. Each has about 1 MB.
MAX_PAGES = 28


def list_pages(store: Store, name: str, before: datetime | None) -> tuple[tuple[datetime, str], ...]:
    """Return the issue times of the kept pages before an issue time, newest first, with links from the newest page."""
    times = sorted(layout.issue_times(store.keys(layout.kept_reports(name), "*.html")).values(), reverse=True)
    earlier = [time for time in times if before is None or time < before]
    return tuple((time, f"{name}/{layout.stamp(time)}.html") for time in earlier[: MAX_PAGES - 1])


def keep_page(store: Store, name: str, issue_time: datetime, page: str) -> None:
    """Keep the page of an issue time beside those of earlier ones, and remove all but the newest MAX_PAGES.

    The page lies one folder deeper than the newest page, so its relative links change.
    """
    moved = page.replace(f'href="{name}/', 'href="').replace('href="../inspections/', 'href="../../inspections/')
    store.put(layout.kept_report(name, issue_time), moved.encode())
    for key in list(layout.issue_times(store.keys(layout.kept_reports(name), "*.html")))[:-MAX_PAGES]:
        store.remove(key)


def inspection_links(store: Store, name: str, issue_time: datetime, series: tuple[str, ...]) -> dict[str, str]:
    """Return the inspection pages of one issue time that exist, by series, as links from the newest page."""
    found = set(store.keys(layout.inspections(name), f"{layout.stamp(issue_time)}-*.html"))
    if not found:
        return {}
    keys = {series_id: layout.inspection(name, issue_time, series_id) for series_id in series}
    return {series_id: f"../{key}" for series_id, key in keys.items() if key in found}
