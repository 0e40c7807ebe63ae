"""Which source reads a feed, by its uri."""

from __future__ import annotations

import polars as pl

from flows.pipeline_file import Feed
from storage.schemas import DataError
from storage.sources import files


def read_feed(feed: Feed) -> pl.DataFrame:
    """The columns that a feed names, as they are in its source.

    Raises:
        DataError: nothing can be read from there; the message names the feed.
    """
    if "://" in feed.uri:
        scheme = feed.uri.split("://")[0]
        raise DataError(f"feed {feed.name!r}: {scheme}:// feeds cannot be read yet; give a Parquet or CSV file")
    try:
        return files.read(feed.uri, feed.shape().columns)
    except DataError as error:
        raise DataError(f"feed {feed.name!r}: {error}") from None
