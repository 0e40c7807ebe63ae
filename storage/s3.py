"""The S3 client of feeds and stores, and the translation of its errors into one line.

Credentials, endpoint and region come from AWS's environment variables each time a client is opened. Polars' own S3
reader was measured and rejected. It keeps the first credentials and endpoint until the process ends. It sends several
requests per Parquet file, which may be replaced between them. Its errors are unstructured text.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from storage.redaction import redact
from storage.schemas import DataError, Missing

_METADATA_SERVICE = "169.254.169.254"  # source of an AWS machine's credentials if the environment has none
_CONNECT_TIMEOUT = timedelta(seconds=5)
_PAGE = 1000  # entries of a full page
_LIST_WAITS = (0.2, 0.5, 1.0)  # seconds before each further attempt
_NO_HEADERS = "Unable to extract metadata from headers"
_NO_S3 = "the response is none of an S3 server; check AWS_ENDPOINT_URL and proxies"
_NO_KEY = ".gatecast-no-such-object"
_ENDPOINT_USER = re.compile(r"(?<=//)[^/@\s]+@")
_NO_RESPONSE = re.compile(r"performing \w+ (\S+?://[^/\s]+)\S* in .*?after (\d+) retries.* - HTTP error: (.+)")


def open_client(bucket: str, prefix: str, timeout: float, retries: int, backoff: float) -> Any:
    """Return an obstore `S3Store` of one bucket. Use it within `translate_errors`.

    Args:
        bucket: Name of the bucket.
        prefix: Start of every key, which callers leave out. May be empty.
        timeout: Seconds that one request may take.
        retries: How often a failed request is repeated.
        backoff: Seconds before the first retry. Each later wait is twice as long.
    """
    from obstore.store import S3Store

    # `allow_http` has no effect unless AWS_ENDPOINT_URL names an http:// endpoint.
    limits: Any = {"timeout": timedelta(seconds=timeout), "connect_timeout": _CONNECT_TIMEOUT, "allow_http": True}
    waits = {"init_backoff": timedelta(seconds=backoff), "max_backoff": timedelta(minutes=1), "base": 2}
    retry: Any = {"max_retries": retries, "backoff": waits, "retry_timeout": timedelta(minutes=10)}
    return S3Store(bucket, prefix=prefix or None, client_options=limits, retry_config=retry)


def list_keys(client: Any, prefix: str | None) -> list[str]:
    """Return the keys below a prefix. An answer that is cut is requested again, as the client does not.

    The client takes any page with status 200 for an empty one, such as the login page of a proxy. So a listing is
    requested twice if it is empty or ends with a full page. A GET must show that the server is one of S3.

    Raises:
        ConnectionError: The server is none of S3.
    """
    found = _list(client, prefix)
    if len(found) % _PAGE:
        return found
    try:
        client.get(_NO_KEY)
    except Exception as error:
        if _error_code(error) is None:  # S3 refuses with a code.
            raise
        return max(found, _list(client, prefix), key=len)
    raise ConnectionError(_NO_S3)


def _list(client: Any, prefix: str | None) -> list[str]:
    for wait in (*_LIST_WAITS, None):
        try:
            return [entry["path"] for page in client.list(prefix) for entry in page]
        except Exception as error:
            if wait is None or _error_code(error) or _NO_RESPONSE.search(str(error)):
                raise
            time.sleep(wait)
    raise AssertionError


@contextmanager
def translate_errors(
    name: str, redact: Callable[[str], str] = str, keeps: Callable[[Exception], bool] = lambda _: False
) -> Iterator[None]:
    """Turn errors of the S3 client into one DataError, or Missing if the object does not exist.

    Args:
        name: Object of the request. The message starts with it.
        redact: Removes secrets from the client's message.
        keeps: Returns whether an error is raised as it is.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise DataError(f"{name}: S3 needs {error.name}: pip install 'gatecast[s3]'") from None
    except BaseException as error:
        # obstore raises FileNotFoundError and plain exceptions. An invalid endpoint makes it raise PanicException,
        # which derives from BaseException and has no public class.
        if type(error).__name__ == "PanicException":
            raise DataError(f"{name}: the S3 client failed; check that AWS_ENDPOINT_URL is a valid address") from None
        if not isinstance(error, Exception) or isinstance(error, DataError) or keeps(error):
            raise
        kind = Missing if _error_code(error) == "NoSuchKey" else DataError
        raise kind(f"{name}: {redact(_describe(error))}") from None


def is_conflict(error: Exception) -> bool:
    """Return whether a conditional write failed because another process has written meanwhile."""
    from obstore.exceptions import AlreadyExistsError, PreconditionError

    # Two writes at the same moment: S3 asks the second one to try again.
    is_concurrent = _error_code(error) == "ConditionalRequestConflict"
    return isinstance(error, AlreadyExistsError | PreconditionError) or is_concurrent


def _error_code(error: Exception) -> str | None:
    match = re.search(r"<Code>(\w+)</Code>", str(error))
    return match[1] if match else None


def _describe(error: Exception) -> str:
    """Return one line that explains an error of the S3 client."""
    text, code = str(error), _error_code(error)
    if _METADATA_SERVICE in text:
        return "no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give the machine a role"
    if code == "NoSuchBucket":
        return "there is no such bucket; check its name"
    if code == "NoSuchKey":
        return "there is no such object; check its key"
    if code:
        message = re.search(r"<Message>([^<]*)</Message>", text)
        return f"the store refuses: {code}{': ' + message[1] if message else ''}"
    if _NO_HEADERS in text:
        return _NO_S3
    text = _ENDPOINT_USER.sub("", text.split("Debug source")[0].split("\n")[0].strip())
    no_response = _NO_RESPONSE.search(text)
    if no_response:
        return f"no answer from {no_response[1]} after {no_response[2]} retries: {no_response[3]}"
    return redact(text) or type(error).__name__
