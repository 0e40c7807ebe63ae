"""What is asked of a source: the same for every kind of feed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import quote, unquote, urlsplit

# Names of query parameters whose values are nobody's business.
_SECRET = re.compile(r"(?i)((?:^|[?&;\s])[\w.-]*(?:key|token|secret|password|passwd|pwd|sig|signature)=)([^&\s'\"]+)")


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
    """

    uri: str = field(repr=False)
    columns: tuple[str, ...]
    query: str | None
    since: datetime
    until: datetime
    time_zone: str
    options: Mapping[str, Any]

    @property
    def shown(self) -> str:
        """The uri as it may be printed: without password and without the values of secret parameters."""
        return self.redact(self.uri)

    def redact(self, text: str) -> str:
        """`text`, such as a driver's error, without the secrets of the uri."""
        parts = urlsplit(self.uri)
        secrets = [value for _, value in _SECRET.findall(self.uri)]
        if parts.password:
            secrets.append(parts.password)
        for secret in secrets:
            for form in {secret, unquote(secret), quote(unquote(secret), safe="")}:
                text = text.replace(form, "***")
        return _SECRET.sub(r"\1***", text)
