"""HTTP requests with retries, for all feeds on the web."""

from __future__ import annotations

import json
import logging
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from threading import Timer
from typing import Any
from urllib.parse import urljoin, urlsplit, urlunsplit
from weakref import WeakKeyDictionary

import httpx
import tenacity

from storage.schemas import DataError
from storage.sources.bodies import ACCEPTED, IncompleteBody, read_body
from storage.sources.request import Request

Parameters = Mapping[str, str | int | float | Sequence[str]]

_TRANSIENT_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})
_MAX_WAIT = 60.0
# Limit of a whole response, in timeouts: one that arrives slowly but steadily never exceeds the timeout of a pause.
_BODY_TIMEOUTS = 10
_MAX_REDIRECTS = 10
_DEFAULT_PORTS = {"http": 80, "https": 443}

# Sockets of each client, which it may use for several requests.
_sockets: WeakKeyDictionary[httpx.Client, list[socket.socket]] = WeakKeyDictionary()


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
    return httpx.Client(timeout=request.options["timeout"], headers={"Accept-Encoding": ACCEPTED})


def join_address(address: str, path: str) -> str:
    """Return the address of `path` below `address`. The query of `address`, such as a proxy's key, stays."""
    parts = urlsplit(address)
    return urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/{path}"))


def follow(request: Request, address: str, link: str, what: str) -> str:
    """Return the address to which a redirect or a link of a response leads.

    Args:
        request: Request for the feed.
        address: Address of the response.
        link: Address within the response, absolute or relative.
        what: Kind of the link, for the error.

    Raises:
        DataError: It leads to another host, or from https to http. A key of the feed would be sent there, or a server
            inside the user's network would be read.
    """
    try:
        target = urljoin(address, link)
        old, new = urlsplit(address), urlsplit(target)
        ports = [parts.port or _DEFAULT_PORTS.get(parts.scheme) for parts in (old, new)]
    except ValueError:
        raise DataError(f"{request.redacted_uri}: the {what} is not a valid address") from None
    is_same_scheme = new.scheme == old.scheme or (old.scheme, new.scheme) == ("http", "https")
    is_default = [port == _DEFAULT_PORTS.get(parts.scheme) for port, parts in zip(ports, (old, new), strict=True)]
    is_same_host = new.hostname == old.hostname and (ports[0] == ports[1] or all(is_default))
    named = {new.netloc.rpartition("@")[2].lower(), *([new.hostname] if is_default[1] else [])}
    is_named = not named.isdisjoint(host.lower() for host in request.options.get("hosts", ()))
    if not is_same_scheme or not (is_same_host or is_named):
        where = f"{new.scheme}://{new.netloc.rpartition('@')[2]}"
        raise DataError(
            f"{request.redacted_uri}: the {what} leads to {request.redact(where)}; add this host to hosts in "
            "[feed.options] if it belongs to the source"
        )
    return target


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
    limit = _BODY_TIMEOUTS * request.options["timeout"]
    try:
        # The client's `params` argument would replace the query of the address.
        url = str(httpx.URL(address).copy_merge_params(parameters) if parameters else address)
        for _ in range(_MAX_REDIRECTS):
            response = _get(request, client, url, limit)
            if response.status not in (301, 302, 303, 307, 308) or "location" not in response.headers:
                break
            url = follow(request, url, response.headers["location"], "redirect")
        else:
            raise DataError(f"{request.redacted_uri}: there are more than {_MAX_REDIRECTS} redirects; check the uri")
    except (httpx.RequestError, IncompleteBody) as error:
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
    request.limits.count_bytes(len(response.body))
    return response.body


def _get(request: Request, client: httpx.Client, url: str, limit: float) -> _Response:
    read = 0

    def count(length: int) -> None:
        nonlocal read
        read += length
        request.limits.require_bytes(read)

    with _cut_after(client, limit) as trace, client.stream("GET", url, extensions={"trace": trace}) as response:
        body = read_body(response, count)
        return _Response(response.status_code, response.headers, body)


@contextmanager
def _cut_after(client: httpx.Client, limit: float) -> Iterator[Any]:
    """Yield a trace for a request, whose connection is cut when the limit in seconds is over.

    A timeout of the client starts again with each byte. A server that sends a byte at a time, of a header or of the
    body, would never exceed it.
    """
    sockets = _sockets.setdefault(client, [])
    end = time.monotonic() + limit

    def trace(event: str, info: dict[str, Any]) -> None:
        if event in ("connection.connect_tcp.complete", "connection.start_tls.complete"):
            sockets.append(info["return_value"].get_extra_info("socket"))

    def cut() -> None:
        for connection in sockets:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    timer = Timer(limit, cut)
    timer.daemon = True
    timer.start()
    try:
        yield trace
    except (httpx.RequestError, IncompleteBody):
        if time.monotonic() >= end:
            raise httpx.ReadTimeout(f"the response was incomplete after {limit:.0f} s") from None
        raise
    finally:
        timer.cancel()


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
