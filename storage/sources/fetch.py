"""One answer of a web server, tried again while that may help: every kind of feed on the web asks through this."""

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

_TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})
_LONGEST_WAIT = 60.0
_WHOLE = 10  # times the time-out of a silence: an answer that trickles must end too


class Refused(DataError):
    """The server will not answer this, and would not the next time. `status` and `body` say why."""

    def __init__(self, message: str, status: int, body: bytes) -> None:
        super().__init__(message)
        self.status, self.body = status, body


class _Again(Exception):
    """An answer that may be another one in a while. `wait` seconds if the server says so."""

    def __init__(self, what: str, wait: float | None = None) -> None:
        super().__init__(what)
        self.wait = wait


@dataclass(frozen=True)
class _Answer:
    status: int
    headers: httpx.Headers
    content: bytes


def client(request: Request) -> httpx.Client:
    """A client with the feed's time-out; to be closed by `with`."""
    # At INFO httpx logs every address, keys and all.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    return httpx.Client(timeout=request.options["timeout"], follow_redirects=True)


def join_address(address: str, path: str) -> str:
    """The address of `path` under `address`, whose query, such as a proxy's key, stays."""
    parts = urlsplit(address)
    return urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/{path}"))


def fetch(request: Request, client: httpx.Client, address: str, parameters: Parameters | None = None) -> bytes:
    """The body of one answer. Lost connections, time-outs, 408, 425, 429 and 5xx are tried again.

    Raises:
        Refused: any other status than success.
        DataError: no answer after all tries, or a web page where data belong.
    """
    tries = request.options["retries"] + 1
    backoff = tenacity.wait_random_exponential(multiplier=request.options["backoff"], max=_LONGEST_WAIT)

    def wait(state: tenacity.RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        asked = error.wait if isinstance(error, _Again) else None
        return backoff(state) if asked is None else min(asked, _LONGEST_WAIT)

    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(_Again), wait=wait, reraise=True, stop=tenacity.stop_after_attempt(tries)
    )
    try:
        return retrying(_once, request, client, address, parameters)
    except _Again as error:
        raise DataError(f"{request.shown}: {request.redact(str(error))}, after {tries} tries") from None


def _once(request: Request, client: httpx.Client, address: str, parameters: Parameters | None) -> bytes:
    try:
        answer = _whole(client, address, parameters, _WHOLE * request.options["timeout"])
    except httpx.RequestError as error:
        raise _Again(f"{type(error).__name__}: {error}") from None
    except httpx.InvalidURL as error:
        raise DataError(f"{request.shown}: not an address: {request.redact(str(error))}") from None
    if answer.status in _TRANSIENT:
        raise _Again(f"answer {answer.status}", _retry_after(answer.headers))
    if answer.status >= 400:
        what = f"{request.shown}: answer {answer.status}: {excerpt(request, answer.content)}"
        raise Refused(what, answer.status, answer.content)
    if "html" in answer.headers.get("content-type", ""):
        raise DataError(f"{request.shown}: the answer is a web page, not data: {excerpt(request, answer.content)}")
    return answer.content


def _whole(client: httpx.Client, address: str, parameters: Parameters | None, limit: float) -> _Answer:
    end = time.monotonic() + limit
    content = bytearray()
    # `params` of a request would take the place of the address's own query.
    url = httpx.URL(address).copy_merge_params(parameters) if parameters else address
    with client.stream("GET", url) as answer:
        for part in answer.iter_bytes():
            content += part
            if time.monotonic() > end:
                raise httpx.ReadTimeout(f"the answer has not ended after {limit:.0f} s")
        return _Answer(answer.status_code, answer.headers, bytes(content))


def _retry_after(headers: httpx.Headers) -> float | None:
    """Seconds; a date counts from the server's own clock."""
    said = headers.get("retry-after", "")
    if said.isdigit():
        return float(said)
    try:
        return max(0.0, (parsedate_to_datetime(said) - parsedate_to_datetime(headers["date"])).total_seconds())
    except (ValueError, TypeError, KeyError):
        return None


def parse(request: Request, content: bytes) -> Any:
    """The JSON of an answer. Raises DataError where it is none."""
    try:
        parsed = json.loads(content, parse_int=_number)
        if b"\\ud" in content.lower():
            # Half of a character is JSON, but no text.
            json.dumps(parsed, ensure_ascii=False).encode()
        return parsed
    except (ValueError, RecursionError):
        raise DataError(f"{request.shown}: the answer is not JSON: {excerpt(request, content)}") from None


def _number(digits: str) -> int | float:
    """A whole number, or infinity where no column could hold it."""
    return int(digits) if len(digits) < 300 else float(digits)


def excerpt(request: Request, content: bytes) -> str:
    """The beginning of an answer, on one line, as it may be printed."""
    return " ".join(request.redact(content[:4000].decode("utf-8", "replace")).split())[:160] or "nothing"
