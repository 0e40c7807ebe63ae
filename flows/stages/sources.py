"""Which source reads a feed."""

from __future__ import annotations

from datetime import datetime

import polars as pl

from flows.feed_settings import Feed
from storage.schemas import DataError
from storage.sources.request import Request


def read_feed(feed: Feed, since: datetime, until: datetime) -> pl.DataFrame:
    """The columns that a feed names, as they are in its source.

    Args:
        since, until: valid times; a source that can be asked for a part gives that part, a file gives all it has.

    Raises:
        DataError: nothing can be read from there; the message names the feed, and no secret of its uri.
    """
    options = feed.options.model_dump()
    seconds = {name: options[name].total_seconds() for name in ("timeout", "backoff")}
    request = Request(
        feed.uri, tuple(feed.shape().columns), feed.query, since, until, feed.time_zone, options | seconds
    )  # fmt: skip
    try:
        return _reader(feed.source)(request)
    except DataError as error:
        raise DataError(f"feed {feed.name!r}: {error}") from None


def _reader(kind: str):  # -> Callable[[Request], pl.DataFrame]; imported late, each with its own library
    if kind == "sql":
        from storage.sources import sql

        return sql.read
    if kind == "http":
        from storage.sources import web

        return web.read
    from storage.sources import files

    return files.read
