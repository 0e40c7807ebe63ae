"""Which source reads a feed."""

from __future__ import annotations

import importlib
import traceback
from datetime import datetime, timedelta

import polars as pl

from flows.settings.feed import Feed
from storage.schemas import DataError
from storage.sources.request import Request

# The module of each kind, imported late, each with its own library.
_READERS = {
    "file": "files", "s3": "objects", "sql": "sql", "http": "web",
    "open-meteo": "open_meteo", "entsoe": "entsoe", "eia": "eia", "ecb": "ecb",
}  # fmt: skip


def read_feed(feed: Feed, since: datetime, until: datetime, asked: datetime) -> pl.DataFrame:
    """The columns that a feed names, as they are in its source.

    Args:
        since, until: valid times; a source that can be asked for a part gives that part, a file gives all it has.
        asked: the time at which what the source says only now counts as known.

    Raises:
        DataError: nothing can be read from there; the message names the feed, and no secret of it.
    """
    options = feed.options.model_dump(exclude={"kind", "api_key"})
    options |= {name: value.total_seconds() for name, value in options.items() if isinstance(value, timedelta)}
    key = getattr(feed.options, "api_key", None)
    reader = importlib.import_module(f"storage.sources.{_READERS[feed.source]}")
    address = feed.uri if feed.uri is not None else reader.default_address(options, key is not None)
    request = Request(
        address, tuple(feed.shape().columns), feed.query, since, until, feed.time_zone, options, asked,
        key.get_secret_value() if key is not None else None, feed.secrets,
    )  # fmt: skip
    try:
        return reader.read(request)
    except DataError as error:
        raise DataError(f"feed {feed.name!r}: {request.redact(str(error))}") from None
    except Exception as error:
        # A library's error may hold the address. Only one that does not may be shown with all that it says.
        said = "".join(traceback.format_exception(error))
        if request.redact(said) == said:
            raise
        raise DataError(f"feed {feed.name!r}: {type(error).__name__}: {request.redact(str(error))}") from None
