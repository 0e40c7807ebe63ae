"""What is asked of a source: the same for every kind of feed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from storage.redaction import find_secrets, redact

#: Columns that a source with tables of its own, such as ENTSO-E, gives beside the values.
SERIES_ID, VALID_TIME, AVAILABLE_AT = OWN = ("series_id", "valid_time", "available_at")


@dataclass(frozen=True)
class Request:
    """One reading of a feed.

    Attributes:
        uri: where; may hold secrets, so it is never printed but by `shown`.
        columns: the columns that the feed names, in the order wanted.
        query: of a database.
        since, until: valid times (UTC) that a source which can be asked for a part is asked for.
        time_zone: of naive times of the feed.
        options: of the kind, see docs/sources.md.
        asked: when this is asked; what a source says only now is known from then on.
        api_key: what the source knows its user by, if it wants to.
        hidden: parts of the uri that are secret wherever they stand in it.
    """

    uri: str = field(repr=False)
    columns: tuple[str, ...]
    query: str | None
    since: datetime
    until: datetime
    time_zone: str
    options: Mapping[str, Any]
    asked: datetime | None = None
    api_key: str | None = field(repr=False, default=None)
    hidden: tuple[str, ...] = field(repr=False, default=())

    @property
    def values(self) -> tuple[str, ...]:
        """The columns that hold values, of a source with tables of its own."""
        return tuple(column for column in self.columns if column not in OWN)

    @property
    def shown(self) -> str:
        """The uri as it may be printed: without password and without the values of secret parameters."""
        return self.redact(self.uri)

    def redact(self, text: str) -> str:
        """`text`, such as a driver's error, without the secrets of the uri and without the key."""
        return redact(text, {*find_secrets(self.uri), *self.hidden, self.api_key or ""})
