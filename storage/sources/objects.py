"""Feeds that are Parquet or CSV objects of an S3 bucket: one object, or a glob of objects of the same columns.

Each object is one GET, read whole.
"""

from __future__ import annotations

import re
from typing import Any

import polars as pl

from storage import s3
from storage.schemas import DataError
from storage.sources import formats
from storage.sources.request import Request

_GLOB = re.compile(r"[*?\[]")


def read(request: Request) -> pl.DataFrame:
    """The named columns of the object or objects at the uri, as they are (CSV cells stay text).

    Raises DataError, naming the object, when the bucket, the object or the credentials are missing or refused, the
    store cannot be reached, or what is there cannot be read.
    """
    bucket, _, key = request.uri.removeprefix("s3://").partition("/")
    if not bucket or not key:
        raise DataError(f"{request.shown}: write it as s3://bucket/key; the key may be a glob")
    options = request.options
    with s3.translate_errors(f"s3://{bucket}", request.redact):
        client = s3.open_client(bucket, "", options["timeout"], options["retries"], options["backoff"])
        keys = _matching(client, key) if _GLOB.search(key) else [key]
    if not keys:
        raise DataError(f"{request.shown}: no object of the bucket matches")
    tables = []
    for found in keys:
        name = f"s3://{bucket}/{found}"
        with s3.translate_errors(name, request.redact):
            content = bytes(client.get(found).bytes())
        tables.append(formats.read(content, name, request.columns))
    return formats.concatenate_tables(tables, request.shown)


def _matching(client: Any, pattern: str) -> list[str]:
    """Keys that match a glob: `*` and `?` stay within a folder, `**` goes into folders."""
    match = _GLOB.search(pattern)
    folder = pattern[: match.start() if match else None].rpartition("/")[0]
    form = re.compile(_expression(pattern))
    listed = (entry["path"] for page in client.list(folder or None) for entry in page)
    return sorted(key for key in listed if form.fullmatch(key))


def _expression(pattern: str) -> str:
    signs = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    parts = re.split(r"(\*\*/|\*\*|\*|\?|\[!?[^\]]+\])", pattern)
    return "".join(
        signs.get(part)
        or (part.replace("[!", "[^", 1) if part.startswith("[") and part.endswith("]") else re.escape(part))
        for part in parts
    )
