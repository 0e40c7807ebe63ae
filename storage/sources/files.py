"""Feeds that are Parquet or CSV files: one file, or a glob of files of the same columns."""

from __future__ import annotations

import glob
from pathlib import Path

import polars as pl

from storage.schemas import DataError
from storage.sources import formats
from storage.sources.request import Request


def read(request: Request) -> pl.DataFrame:
    """The named columns of the file or files at the uri, as they are (CSV cells stay text).

    Raises DataError, naming the file, when nothing is there, a file cannot be read or a column is missing.
    """
    uri = request.uri
    if "://" in uri:
        raise DataError(f"{request.shown}: a file feed is a path, a glob or s3://...; other places cannot be read")
    # A name may hold what a pattern means. Path.glob takes no absolute pattern.
    found = [uri] if Path(uri).is_file() else sorted(glob.glob(uri, recursive=True))
    paths = [path for path in found if Path(path).is_file()]
    if not paths:
        raise DataError(f"{uri}: there is no such file")
    return formats.concatenate_tables([formats.read(Path(path), path, request.columns) for path in paths], uri)
