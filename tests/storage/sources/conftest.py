"""Fixture that builds requests for sources."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from storage.sources.request import Request


@pytest.fixture
def request_of() -> Callable[..., Request]:
    """Return `request_of(uri, columns, ...)`, which makes a request with short waits."""

    def make(uri: str, columns: list[str], query: str | None = None, zone: str = "UTC", **options: Any) -> Request:
        defaults = {"timeout": 0.5, "retries": 2, "backoff": 0.01, "format": None, "records": None, "next": None}
        since, until = datetime(2018, 9, 1, tzinfo=UTC), datetime(2018, 9, 2, tzinfo=UTC)
        return Request(uri, tuple(columns), query, since, until, zone, defaults | options)

    return make
