"""The request for a feed's data, the same for every kind of source."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any

from storage.redaction import find_secrets, redact
from storage.sources.limits import Limits

#: Columns that a source with tables of its own, such as ENTSO-E, provides beside the values.
SERIES_ID, VALID_TIME, AVAILABLE_AT = OWN = ("series_id", "valid_time", "available_at")


@dataclass(frozen=True)
class Request:
    """A request for the rows of one feed.

    Attributes:
        uri: Address of the data. It may contain secrets: print `redacted_uri` instead.
        columns: Columns of the feed, in the order of the result. None at all requests every column of a file, a query
            or an address on the web.
        query: SQL query, for databases only.
        since: Earliest valid time (UTC) to request. A file returns all rows.
        until: Latest valid time (UTC) to request.
        time_zone: Time zone of naive times in the feed: an IANA name, or an offset such as "-05:00".
        options: Options of this kind of source, see docs/sources.md.
        requested_at: Time of the request. Values without a time of publication count as known from then on.
        api_key: Key of the user, if the source needs one.
        secrets: Parts of the uri that are secret.
        series_id: Column of the series ids, which are read as text. None if the feed has none.
        valid_time: Column of the start of each period, or None.
    """

    uri: str = field(repr=False)
    columns: tuple[str, ...]
    query: str | None
    since: datetime
    until: datetime
    time_zone: str
    options: Mapping[str, Any]
    requested_at: datetime | None = None
    api_key: str | None = field(repr=False, default=None)
    secrets: tuple[str, ...] = field(repr=False, default=())
    series_id: str | None = None
    valid_time: str | None = None

    @property
    def values(self) -> tuple[str, ...]:
        """Value columns of a source with tables of its own."""
        return tuple(column for column in self.columns if column not in OWN)

    @property
    def redacted_uri(self) -> str:
        """The uri without passwords and values of secret parameters."""
        return self.redact(self.uri)

    @cached_property
    def limits(self) -> Limits:
        """Limits of this read, and what it has read so far."""
        return Limits(self.redacted_uri, self.options.get("max_megabytes"), self.options.get("max_pages"))

    def redact(self, text: str) -> str:
        """Return `text`, such as a driver's error, without the secrets of the uri and without the key."""
        return redact(text, {*find_secrets(self.uri), *self.secrets, self.api_key or ""})
