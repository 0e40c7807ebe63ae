"""Feeds in Parquet or CSV objects of an S3 bucket: one object, or a glob of objects with the same columns.

One GET reads an object as a whole.
"""

from __future__ import annotations

import re
from typing import Any

import polars as pl

from storage import s3
from storage.schemas import DataError
from storage.sources import formats
from storage.sources.csv_text import CsvForm
from storage.sources.request import Request

_GLOB = re.compile(r"[*?\[]")


def read(request: Request) -> pl.DataFrame:
    """Return the requested columns of the objects with their own types. CSV cells stay text.

    Raises:
        DataError: No object matches, the request fails, or an object cannot be read. The message names the object.
    """
    bucket, _, key = request.uri.removeprefix("s3://").partition("/")
    if not bucket or not key:
        raise DataError(f"{request.redacted_uri}: the uri is incomplete; write it as s3://bucket/key or with a glob")
    options = request.options
    with s3.translate_errors(f"s3://{bucket}", request.redact):
        client = s3.open_client(bucket, "", options["timeout"], options["retries"], options["backoff"])
        keys = _match(client, key) if _GLOB.search(key) else [key]
    if not keys:
        raise DataError(f"{request.redacted_uri}: no object of the bucket matches; check the uri of the feed")
    tables = []
    for matched in keys:
        name = f"s3://{bucket}/{matched}"
        with s3.translate_errors(name, request.redact):
            answer = client.get(matched)
            request.limits.require_bytes(answer.meta["size"])
            content = bytes(answer.bytes())
        request.limits.count_unpacked(content)
        tables.append(formats.read(content, name, request.columns, CsvForm.of(options), request.limits))
    return formats.concatenate_tables(tables, keys, request.redacted_uri, request.series_id)


def _match(client: Any, pattern: str) -> list[str]:
    """Return the keys that match a glob, in natural order. `*` and `?` match within a folder, `**` across folders."""
    special = _GLOB.search(pattern)
    folder = pattern[: special.start() if special else None].rpartition("/")[0]
    expression = re.compile(_to_expression(pattern))
    keys = filter(expression.fullmatch, s3.list_keys(client, folder or None))
    return sorted(keys, key=formats.natural_order)


def _to_expression(pattern: str) -> str:
    """Return a glob as a regular expression."""
    wildcards = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    parts = re.split(r"(\*\*/|\*\*|\*|\?|\[!?[^\]]+\])", pattern)
    return "".join(
        wildcards.get(part)
        or (part.replace("[!", "[^", 1) if part.startswith("[") and part.endswith("]") else re.escape(part))
        for part in parts
    )
