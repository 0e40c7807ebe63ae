"""S3, for feeds and for stores alike: its client, and what it says as one line.

Credentials, endpoint and region come from the environment, as AWS names them, whenever a client is made. Polars' own
S3 reader was measured beside it and not taken: it keeps the first credentials and endpoint of a process for ever, asks
several times for one Parquet file, which may be replaced in between, and its errors are text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from storage.redaction import redact
from storage.schemas import DataError, Missing

_METADATA_SERVICE = "169.254.169.254"  # where a machine of AWS finds credentials when the environment has none
_CONNECT = timedelta(seconds=5)
_USER = re.compile(r"(?<=//)[^/@\s]+@")  # of an endpoint
_NO_ANSWER = re.compile(r"performing \w+ (\S+?://[^/\s]+)\S* in .*?after (\d+) retries.* - HTTP error: (.+)")


def client(bucket: str, prefix: str, timeout: float, retries: int, backoff: float) -> Any:
    """Return a client of one bucket, an obstore `S3Store` whose keys begin after `prefix`.

    Use it within `translate_errors`.

    Args:
        timeout: seconds that one request may take.
        retries: how often a request is tried again; `backoff` seconds before the first, twice as long each time.
    """
    from obstore.store import S3Store

    # An http:// endpoint is used only where AWS_ENDPOINT_URL names one.
    limits = {"timeout": timedelta(seconds=timeout), "connect_timeout": _CONNECT, "allow_http": True}
    waits = {"init_backoff": timedelta(seconds=backoff), "max_backoff": timedelta(minutes=1), "base": 2}
    retry: Any = {"max_retries": retries, "backoff": waits, "retry_timeout": timedelta(minutes=10)}
    return S3Store(bucket, prefix=prefix or None, client_options=limits, retry_config=retry)  # type: ignore[arg-type]


@contextmanager
def translate_errors(name: str, redact: Callable[[str], str] = str) -> Iterator[None]:
    """What the server or its client says as one DataError that begins with `name`; Missing for no such object."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise DataError(f"{name}: S3 needs {error.name}: pip install 'gatecast[s3]'") from None
    except BaseException as error:
        # obstore's own errors have FileNotFoundError and plain ones among them. Its Rust panics over an endpoint that
        # is no address, which Python does not count among the Exceptions.
        if type(error).__name__ == "PanicException":
            raise DataError(f"{name}: the client of S3 gave up; is AWS_ENDPOINT_URL an address?") from None
        if not isinstance(error, Exception):
            raise
        if isinstance(error, DataError):
            raise
        kind = Missing if _code(error) == "NoSuchKey" else DataError
        raise kind(f"{name}: {redact(_what(error))}") from None


def _code(error: Exception) -> str | None:
    found = re.search(r"<Code>(\w+)</Code>", str(error))
    return found[1] if found else None


def _what(error: Exception) -> str:
    said, code = str(error), _code(error)
    if _METADATA_SERVICE in said:
        return "no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give the machine a role"
    if code == "NoSuchBucket":
        return "there is no such bucket"
    if code == "NoSuchKey":
        return "there is no such object"
    if code:
        message = re.search(r"<Message>([^<]*)</Message>", said)
        return f"the store refuses: {code}{': ' + message[1] if message else ''}"
    said = _USER.sub("", said.split("Debug source")[0].split("\n")[0].strip())
    silent = _NO_ANSWER.search(said)
    if silent:
        return f"no answer from {silent[1]} after {silent[2]} retries: {silent[3]}"
    return redact(said) or type(error).__name__
