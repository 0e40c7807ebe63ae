"""`[[feed]]` of the pipeline file: one table of observations, how it is read and what is checked."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, Field, PrivateAttr, model_validator

from flows.settings.feed_options import FileOptions, Kind, KnownSourceOptions, Options
from flows.settings.types import Day, Duration, Section, Text, Zone
from model.checks.feed_shape import FeedShape
from model.checks.series import Action
from storage.sources.request import AVAILABLE_AT, SERIES_ID, VALID_TIME

_SCHEMES = {"sqlite": "sql", "postgresql": "sql", "postgres": "sql", "http": "http", "https": "http", "s3": "s3"}

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


class Feed(Section):
    """`[[feed]]`: one table of observations."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]{0,62}$")]
    role: Literal["target", "known_future", "observed"]
    uri: Annotated[Text | None, Field(repr=False)] = None
    query: Text | None = None
    series_id: Text | None = None
    valid_time: Text = VALID_TIME
    values: Annotated[tuple[Text, ...], BeforeValidator(lambda v: tuple(v) if isinstance(v, list) else v)]
    unit: Text | None = None
    time_zone: Zone = "UTC"
    available_after: Duration = timedelta(0)
    available_at: Text | None = None
    resample: Literal["mean", "sum", "last"] | None = None
    kind: Kind | None = None
    start: Day = datetime(1970, 1, 1, tzinfo=UTC)
    overlap: Duration = timedelta(days=7)
    options: Options = FileOptions()
    checks: Checks = Checks()
    expected: dict[str, Annotated[float, Field(gt=0)]] = Field(default_factory=dict)
    _secrets: tuple[str, ...] = PrivateAttr(default=())

    @model_validator(mode="before")
    @classmethod
    def _options_of_the_kind(cls, given: Any) -> Any:
        """The table of options is told what kind of source it is for."""
        if not isinstance(given, dict):
            return given
        options = given.get("options", {})
        if not isinstance(options, dict):
            raise ValueError(f"options must be a table, not {options!r}")
        if "kind" in options:
            raise ValueError("kind is a key of the feed, not of its options")
        kind = _source(given.get("kind"), given.get("uri"))
        return {**given, "options": {**options, "kind": kind if kind in get_args(Kind) else "file"}}

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

    @model_validator(mode="after")
    def _columns_of_the_source(self) -> Feed:
        if not isinstance(self.options, KnownSourceOptions):
            if self.uri is None:
                raise ValueError("uri is required: where the feed's table is")
            if "valid_time" not in self.model_fields_set:
                raise ValueError("valid_time is required: the column that says when a period starts")
            return self
        for key, own in (("valid_time", VALID_TIME), ("series_id", SERIES_ID)):
            if getattr(self, key) not in (own, None):
                raise ValueError(f"{key} of kind {self.kind!r} is {own!r}, the kind names its columns")
        if self.available_at is not None:
            raise ValueError(f"available_at is not for kind {self.kind!r}: where its rows say it, it is used")
        if self.options.has_availability_times and "available_after" in self.model_fields_set:
            raise ValueError("available_after is not for rows that say when they became known, as these do")
        if self.source != "open-meteo" and len(self.values) != 1:
            raise ValueError(f"values of kind {self.kind!r} must be one name, for the one value it gives")
        if self.series_id is None and self.options.has_several_series:
            raise ValueError('several series need series_id = "series_id"')
        return self

    @property
    def secrets(self) -> tuple[str, ...]:
        """What stands for `${NAME}` in the uri, which nothing may say."""
        return self._secrets

    def with_uri(self, uri: str, secrets: tuple[str, ...]) -> Feed:
        """The feed with another `uri`, of which the parts `secrets` are secret."""
        feed = self.model_copy(update={"uri": uri})
        feed._secrets = secrets
        return feed

    @property
    def source(self) -> str:
        """The kind of source: `kind`, or what the uri tells."""
        return _source(self.kind, self.uri)

    def actions(self) -> dict[str, Action]:
        """What to do on each check of whole series. Of a covariate only its holes are odd, if the file says no more."""
        said = self.checks.model_dump()
        if self.role != "target":
            asked = {"gap", "stopped", *self.checks.model_fields_set}
            said = {check: action if check in asked else "accept" for check, action in said.items()}
        return said

    def shape(self) -> FeedShape:
        """How the feed's table is read."""
        issued = isinstance(self.options, KnownSourceOptions) and self.options.has_availability_times
        return FeedShape(
            self.name, self.role, self.series_id, self.valid_time, self.values, self.time_zone,
            self.available_after, AVAILABLE_AT if issued else self.available_at, self.resample,
        )  # fmt: skip


def _source(kind: Any, uri: Any) -> Any:
    if kind:
        return kind
    scheme = uri.split("://")[0] if isinstance(uri, str) and "://" in uri else ""
    return _SCHEMES.get(scheme, "file")
