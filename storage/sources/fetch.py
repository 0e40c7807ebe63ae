"""HTTP requests with retries, for all feeds on the web."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import httpx
import tenacity

from storage.schemas import DataError
from storage.sources.request import Request

Parameters = Mapping[str, str | int | float | Sequence[str]]

_TRANSIENT_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})
_MAX_WAIT = 60.0
# Limit of a whole response, in timeouts: one that arrives slowly but steadily never exceeds the timeout of a pause.
_BODY_TIMEOUTS = 10


class RefusedError(DataError):
    """A response with an error status that a retry would not change.

    Attributes:
        status: HTTP status.
        body: Body of the response.
    """

    def __init__(self, message: str, status: int, body: bytes) -> None:
        super().__init__(message)
        self.status, self.body = status, body


class _TransientError(Exception):
    """A failure that a retry may not repeat.

    Attributes:
        wait: Seconds that the server requests before the retry, if it does.
    """

    def __init__(self, message: str, wait: float | None = None) -> None:
        super().__init__(message)
        self.wait = wait


@dataclass(frozen=True)
class _Response:
    status: int
    headers: httpx.Headers
    body: bytes


def open_client(request: Request) -> httpx.Client:
    """Return a client with the feed's timeout. Close it by a `with` block."""
    # At level INFO httpx logs every address with its keys.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    return httpx.Client(timeout=request.options["timeout"], follow_redirects=True)


def join_address(address: str, path: str) -> str:
    """Return the address of `path` below `address`. The query of `address`, such as a proxy's key, stays."""
    parts = urlsplit(address)
    return urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/{path}"))


def fetch(request: Request, client: httpx.Client, address: str, parameters: Parameters | None = None) -> bytes:
    """Return the body of a response. Lost connections, timeouts and transient statuses are retried.

    Args:
        request: Request for the feed.
        client: Client from `open_client`.
        address: Address to request.
        parameters: Parameters to add to the query of `address`.

    Raises:
        RefusedError: The response has another error status.
        DataError: All attempts failed, or the response is a web page.
    """
    attempts = request.options["retries"] + 1
    backoff = tenacity.wait_random_exponential(multiplier=request.options["backoff"], max=_MAX_WAIT)

    def wait(state: tenacity.RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        requested = error.wait if isinstance(error, _TransientError) else None
        return backoff(state) if requested is None else min(requested, _MAX_WAIT)

    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(_TransientError), wait=wait, reraise=True,
        stop=tenacity.stop_after_attempt(attempts),
    )  # fmt: skip
    try:
        return retrying(_try_fetch, request, client, address, parameters)
    except _TransientError as error:
        count = f"{attempts} attempt{'s' if attempts > 1 else ''}"
        raise DataError(f"{request.redacted_uri}: {request.redact(str(error))}, after {count}") from None


def _try_fetch(request: Request, client: httpx.Client, address: str, parameters: Parameters | None) -> bytes:
    try:
        response = _get(client, address, parameters, _BODY_TIMEOUTS * request.options["timeout"])
    except httpx.RequestError as error:
        raise _TransientError(f"{type(error).__name__}: {error}") from None
    except httpx.InvalidURL as error:
        raise DataError(f"{request.redacted_uri}: this is not a valid address: {request.redact(str(error))}") from None
    if response.status in _TRANSIENT_STATUS:
        raise _TransientError(f"HTTP status {response.status}", _retry_after(response.headers))
    if response.status >= 400:
        message = f"{request.redacted_uri}: HTTP status {response.status}: {excerpt(request, response.body)}"
        raise RefusedError(message, response.status, response.body)
    if "html" in response.headers.get("content-type", ""):
        raise DataError(
            f"{request.redacted_uri}: the response is a web page, not data: {excerpt(request, response.body)}"
        )
    return response.body


def _get(client: httpx.Client, address: str, parameters: Parameters | None, limit: float) -> _Response:
    end = time.monotonic() + limit
    body = bytearray()
    # The client's `params` argument would replace the query of the address.
    url = httpx.URL(address).copy_merge_params(parameters) if parameters else address
    with client.stream("GET", url) as response:
        for part in response.iter_bytes():
            body += part
            if time.monotonic() > end:
                raise httpx.ReadTimeout(f"the response was incomplete after {limit:.0f} s")
        return _Response(response.status_code, response.headers, bytes(body))


def _retry_after(headers: httpx.Headers) -> float | None:
    """Return the seconds to wait. A date is compared with the server's own clock."""
    value = headers.get("retry-after", "")
    if value.isdigit():
        return float(value)
    try:
        return max(0.0, (parsedate_to_datetime(value) - parsedate_to_datetime(headers["date"])).total_seconds())
    except (ValueError, TypeError, KeyError):
        return None


def parse(request: Request, body: bytes) -> Any:
    """Return the JSON value of a response. Raises DataError if it is not JSON."""
    try:
        parsed = json.loads(body, parse_int=_parse_integer)
        if b"\\ud" in body.lower():
            # JSON allows half of a surrogate pair, which is not a character and cannot be encoded.
            json.dumps(parsed, ensure_ascii=False).encode()
        return parsed
    except (ValueError, RecursionError):
        raise DataError(f"{request.redacted_uri}: the response is not JSON: {excerpt(request, body)}") from None


def _parse_integer(digits: str) -> int | float:
    """Return an integer, or infinity for one that is too long for any column."""
    return int(digits) if len(digits) < 300 else float(digits)


def excerpt(request: Request, body: bytes) -> str:
    """Return the redacted beginning of a response as one line, or 'nothing'."""
    return " ".join(request.redact(body[:4000].decode("utf-8", "replace")).split())[:160] or "nothing"
