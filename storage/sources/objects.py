"""Feeds that are Parquet or CSV objects of an S3 store: one object, or a glob of objects of the same columns.

Each object is one GET, read whole. Polars' own S3 reader was measured beside it and not taken: it keeps the first
credentials and endpoint of a process for ever, asks several times for one Parquet file, which may be replaced in
between, and its errors are text. Credentials, endpoint and region come from the environment, as AWS names them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import polars as pl

from storage.schemas import DataError
from storage.sources import formats
from storage.sources.request import Request

_GLOB = re.compile(r"[*?\[]")
_METADATA_SERVICE = "169.254.169.254"  # where a machine of AWS finds credentials when the environment has none
_CONNECT = timedelta(seconds=5)


def read(request: Request) -> pl.DataFrame:
    """The named columns of the object or objects at the uri, as they are (CSV cells stay text).

    Raises DataError, naming the object, when the bucket, the object or the credentials are missing or refused, the
    store cannot be reached, or what is there cannot be read.
    """
    bucket, _, key = request.uri.removeprefix("s3://").partition("/")
    if not bucket or not key:
        raise DataError(f"{request.shown}: write it as s3://bucket/key; the key may be a glob")
    with _errors(request, f"s3://{bucket}"):
        import obstore

        store = _store(bucket, request)
        keys = _matching(obstore, store, key) if _GLOB.search(key) else [key]
    if not keys:
        raise DataError(f"{request.shown}: no object of the bucket matches")
    tables = []
    for found in keys:
        name = f"s3://{bucket}/{found}"
        with _errors(request, name):
            content = bytes(obstore.get(store, found).bytes())
        tables.append(formats.read(content, name, request.columns))
    return formats.one_table(tables, request.shown)


def _store(bucket: str, request: Request) -> Any:
    from obstore.store import S3Store

    options = request.options
    # An http:// endpoint is used only where AWS_ENDPOINT_URL names one.
    limits = {"timeout": timedelta(seconds=options["timeout"]), "connect_timeout": _CONNECT, "allow_http": True}
    backoff = {"init_backoff": timedelta(seconds=options["backoff"]), "max_backoff": timedelta(minutes=1), "base": 2}
    retry = {"max_retries": options["retries"], "backoff": backoff, "retry_timeout": timedelta(minutes=10)}
    return S3Store(bucket, client_options=limits, retry_config=retry)  # type: ignore[arg-type]


def _matching(obstore: Any, store: Any, pattern: str) -> list[str]:
    """Keys that match a glob: `*` and `?` stay within a folder, `**` goes into folders."""
    match = _GLOB.search(pattern)
    folder = pattern[: match.start() if match else None].rpartition("/")[0]
    form = re.compile(_expression(pattern))
    listed = (entry["path"] for page in obstore.list(store, folder or None) for entry in page)
    return sorted(key for key in listed if form.fullmatch(key))


def _expression(pattern: str) -> str:
    signs = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    parts = re.split(r"(\*\*/|\*\*|\*|\?|\[!?[^\]]+\])", pattern)
    return "".join(
        signs.get(part)
        or (part.replace("[!", "[^", 1) if part.startswith("[") and part.endswith("]") else re.escape(part))
        for part in parts
    )


@contextmanager
def _errors(request: Request, name: str) -> Iterator[None]:
    """One line for what the store or its client says."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise DataError(f"a feed on S3 needs {error.name}: pip install 'gatecast[s3]'") from None
    except Exception as error:  # obstore's own errors have FileNotFoundError and plain ones among them
        if isinstance(error, DataError):
            raise
        raise DataError(f"{name}: {request.redact(_what(error))}") from None


def _what(error: Exception) -> str:
    said = str(error)
    code = re.search(r"<Code>(\w+)</Code>", said)
    if _METADATA_SERVICE in said:
        return "no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give the machine a role"
    if code and code[1] == "NoSuchBucket":
        return "there is no such bucket"
    if code and code[1] == "NoSuchKey":
        return "there is no such object"
    if code:
        message = re.search(r"<Message>([^<]*)</Message>", said)
        return f"the store refuses: {code[1]}{': ' + message[1] if message else ''}"
    return said.split("Debug source")[0].split("\n")[0].strip() or type(error).__name__
