"""What a Prefect server has kept, through its API."""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import httpx

T = TypeVar("T")
_PAGE = 200
_ATTEMPTS = 20


def request(method: str, url: str, **options: Any) -> httpx.Response:
    """Send a request, again while the server answers 503: its SQLite database is locked for a moment by other work."""
    for attempt in range(_ATTEMPTS):
        answer = httpx.request(method, url, timeout=30, **options)
        if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE or attempt == _ATTEMPTS - 1:
            break
        time.sleep(1)
    answer.raise_for_status()
    return answer


def every(url: str, what: str, **conditions: Any) -> list[dict[str, Any]]:
    """All objects of a kind (`logs`, `artifacts`, `flow_runs`, `task_runs`, ...) that fit the conditions."""
    objects: list[dict[str, Any]] = []
    while True:
        body = {"limit": _PAGE, "offset": len(objects), **conditions}
        page = request("POST", f"{url}/{what}/filter", json=body).json()
        objects += page
        if len(page) < _PAGE:
            return objects


def events(url: str) -> list[dict[str, Any]]:
    """All events of this server, newest first."""
    answer = request("POST", f"{url}/events/filter", json={"limit": 50}).json()
    newest_first: list[dict[str, Any]] = answer["events"]
    while answer["next_page"]:
        # Behind a proxy, the address of the next page names another host.
        page = answer["next_page"].partition("/api/")[2]
        answer = request("GET", f"{url}/{page}").json()
        newest_first += answer["events"]
    return newest_first


def finished(coroutine: Coroutine[Any, Any, T]) -> T:
    """Return the result of a coroutine, run in another thread: browser tests keep an event loop in this one."""
    with ThreadPoolExecutor(1) as beside:
        return beside.submit(contextvars.copy_context().run, asyncio.run, coroutine).result()
