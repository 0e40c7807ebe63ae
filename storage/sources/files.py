"""Feeds in Parquet or CSV files: one file, or a glob of files with the same columns."""

from __future__ import annotations

import time
from pathlib import Path

import polars as pl

from storage.schemas import DataError
from storage.sources import formats, globs
from storage.sources.csv_text import CsvForm
from storage.sources.request import Request

_READ_ATTEMPTS = 5
_PAUSE = 0.5  # seconds for the process that writes


def read(request: Request) -> pl.DataFrame:
    """Return the requested columns of the files with their own types. CSV cells stay text.

    Raises:
        DataError: No file matches, a file cannot be read, or a column is missing. The message names the file.
    """
    uri = request.uri
    if "://" in uri:
        raise DataError(f"{request.redacted_uri}: the uri of a file feed must be a path, a glob or s3://bucket/key")
    # A file name may contain the special characters of a glob. Path.glob does not accept an absolute pattern.
    matches = [uri] if Path(uri).is_file() else sorted(globs.match(uri), key=formats.natural_order)
    paths = [path for path in matches if Path(path).is_file()]
    if not paths:
        raise DataError(f"{uri}: there is no such file; check the uri of the feed")
    form = CsvForm.of(request.options)
    tables = []
    for path in paths:
        try:
            request.limits.count_file(Path(path))
        except OSError as error:
            raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None
        tables.append(_read_unchanged(Path(path), request, form))
    return formats.concatenate_tables(tables, paths, uri, request.series_id)


def _read_unchanged(path: Path, request: Request, form: CsvForm) -> pl.DataFrame:
    """Return the columns of a file that was not written to while it was read, which would give a part of its rows."""
    for _ in range(_READ_ATTEMPTS):
        before = _version(path)
        table = formats.read(path, str(path), request.columns, form, request.limits)
        if _version(path) == before:
            return table
        time.sleep(_PAUSE)
    raise DataError(f"{path}: it was changed while it was read; write another file and rename it to this name")


def _version(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None  # it was replaced at this moment
    return status.st_ino, status.st_size, status.st_mtime_ns
