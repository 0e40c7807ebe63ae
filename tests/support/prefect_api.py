"""What a Prefect server has kept, through its API."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import httpx

T = TypeVar("T")
_PAGE = 200


def every(url: str, what: str, **conditions: Any) -> list[dict[str, Any]]:
    """All objects of a kind (`logs`, `artifacts`, `flow_runs`, `task_runs`, ...) that fit the conditions."""
    objects: list[dict[str, Any]] = []
    while True:
        request = {"limit": _PAGE, "offset": len(objects), **conditions}
        answer = httpx.post(f"{url}/{what}/filter", json=request, timeout=30)
        answer.raise_for_status()
        objects += answer.json()
        if len(answer.json()) < _PAGE:
            return objects


def events(url: str) -> list[dict[str, Any]]:
    """All events of this server, newest first."""
    answer = httpx.post(f"{url}/events/filter", json={"limit": 50}, timeout=30).json()
    newest_first: list[dict[str, Any]] = answer["events"]
    while answer["next_page"]:
        # Behind a proxy, the address of the next page names another host.
        page = answer["next_page"].partition("/api/")[2]
        answer = httpx.get(f"{url}/{page}", timeout=30).json()
        newest_first += answer["events"]
    return newest_first


def finished(coroutine: Coroutine[Any, Any, T]) -> T:
    """Return the result of a coroutine, run in another thread: browser tests keep an event loop in this one."""
    with ThreadPoolExecutor(1) as beside:
        return beside.submit(contextvars.copy_context().run, asyncio.run, coroutine).result()
