"""`[[feed]]` of the pipeline file: one table of observations, how it is read and what is checked."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from flows.setting_types import Day, Duration, PositiveDuration, Section, Text, Zone
from model.feed_checks import FeedShape
from model.series_checks import Action

_KINDS = {"sqlite": "sql", "postgresql": "sql", "postgres": "sql", "http": "http", "https": "http"}

_SAY = Literal["accept", "warn"]
_DO = Literal["accept", "warn", "quarantine"]


class Checks(Section):
    """`[feed.checks]`: what to do when a series of the feed shows something odd."""

    gap: _SAY = "warn"
    flat_line: _DO = "warn"
    spike: _DO = "warn"
    dropout: _DO = "warn"
    level_jump: _SAY = "warn"
    repeated_block: _DO = "quarantine"
    stopped: _SAY = "warn"
    same_series: _SAY = "warn"
    other_unit: _SAY = "warn"


class Options(Section):
    """`[feed.options]`: how a web feed is asked and read; see docs/sources.md."""

    format: Literal["csv", "json"] | None = None
    records: Text | None = None
    next: Text | None = None
    timeout: PositiveDuration = timedelta(seconds=30)
    retries: Annotated[int, Field(ge=0, le=20)] = 4
    backoff: PositiveDuration = timedelta(seconds=1)


class Feed(Section):
    """`[[feed]]`: one table of observations."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]{0,62}$")]
    role: Literal["target", "known_future", "observed"]
    uri: Text
    query: Text | None = None
    series_id: Text | None = None
    valid_time: Text
    values: Annotated[tuple[Text, ...], BeforeValidator(lambda v: tuple(v) if isinstance(v, list) else v)]
    unit: Text | None = None
    time_zone: Zone = "UTC"
    available_after: Duration = timedelta(0)
    available_at: Text | None = None
    resample: Literal["mean", "sum", "last"] | None = None
    kind: Literal["file", "sql", "http"] | None = None
    start: Day = datetime(1970, 1, 1, tzinfo=UTC)
    overlap: Duration = timedelta(days=7)
    options: Options = Options()
    checks: Checks = Checks()
    expected: dict[str, Annotated[float, Field(gt=0)]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _values_of_the_role(self) -> Feed:
        if self.role == "target" and len(self.values) != 1:
            raise ValueError("values of a target feed must name exactly one column")
        if self.role != "target" and self.unit is not None:
            raise ValueError("unit is for the target feed")
        if self.source == "sql" and self.query is None:
            raise ValueError("a database feed needs a query")
        if self.source != "sql" and self.query is not None:
            raise ValueError("query is for database feeds: sqlite:///... or postgresql://...")
        if not self.values or len(set(self.values)) != len(self.values):
            raise ValueError("values must name at least one column, each once")
        return self

    @property
    def source(self) -> str:
        """The kind of source: `kind`, or what the uri tells."""
        if self.kind:
            return self.kind
        scheme = self.uri.split("://")[0] if "://" in self.uri else ""
        return _KINDS.get(scheme, "file")

    def actions(self) -> dict[str, Action]:
        """What to do on each check of whole series. Of a covariate only its holes are odd, if the file says no more."""
        said = self.checks.model_dump()
        if self.role != "target":
            asked = {"gap", "stopped", *self.checks.model_fields_set}
            said = {check: action if check in asked else "accept" for check, action in said.items()}
        return said

    def shape(self) -> FeedShape:
        """How the feed's table is read."""
        return FeedShape(
            self.name, self.role, self.series_id, self.valid_time, self.values, self.time_zone,
            self.available_after, self.available_at, self.resample,
        )  # fmt: skip
