"""What a Prefect server has kept, through its API."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx

_PAGE = 200


def every(url: str, what: str, **conditions: Any) -> list[dict[str, Any]]:
    """All objects of a kind (`logs`, `artifacts`, `flow_runs`, `task_runs`, ...) that fit the conditions."""
    found: list[dict[str, Any]] = []
    while True:
        asked = {"limit": _PAGE, "offset": len(found), **conditions}
        answer = httpx.post(f"{url}/{what}/filter", json=asked, timeout=30)
        answer.raise_for_status()
        found += answer.json()
        if len(answer.json()) < _PAGE:
            return found


def events(url: str) -> list[dict[str, Any]]:
    """All events of this server, newest first."""
    answer = httpx.post(f"{url}/events/filter", json={"limit": 50}, timeout=30).json()
    found = answer["events"]
    while answer["next_page"]:
        # Behind a server of another name the address is not the one that it was asked at.
        page = answer["next_page"].partition("/api/")[2]
        answer = httpx.get(f"{url}/{page}", timeout=30).json()
        found += answer["events"]
    return found


def finished(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """What a coroutine gives, in a thread of its own: the browser of other tests keeps a loop running in this one."""
    with ThreadPoolExecutor(1) as beside:
        return beside.submit(contextvars.copy_context().run, asyncio.run, coroutine).result()
