"""`[[feed]]` of the pipeline file: one table of observations, how it is read and what is checked."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, Field, PrivateAttr, model_validator

from flows.settings.feed_options import (
    CSV_KEYS,
    FileOptions,
    Kind,
    KnownSourceOptions,
    Options,
    TextOptions,
    WebOptions,
)
from flows.settings.types import Day, Duration, Offset, Section, Text, Zone, to_tuple
from model.checks.feed_shape import FeedShape
from storage.schemas.records import Action
from storage.sources.request import AVAILABLE_AT, SERIES_ID, VALID_TIME

_KIND_BY_SCHEME = {
    "sqlite": "sql", "postgresql": "sql", "postgres": "sql", "http": "http", "https": "http", "s3": "s3",
}  # fmt: skip

_REASON = "reason"  # column of the quarantine
_OWN_COLUMNS = frozenset({SERIES_ID, VALID_TIME, AVAILABLE_AT, "ingested_at", _REASON})

_Warning = Literal["accept", "warn"]
_Action = Literal["accept", "warn", "quarantine"]
# Other checks of a covariate do not run by default.
_COVARIATE_ACTIONS: dict[str, Action] = {
    "gap": "warn", "stopped": "warn", "clock_change": "warn", "sentinel": "quarantine", "unit_jump": "quarantine",
}  # fmt: skip


class Checks(Section):
    """Action on each finding of the checks of whole series, `[feed.checks]`.

    `accept` skips the check, `warn` reports the finding, `quarantine` also refuses the rows. A covariate is checked
    for gap, stopped and clock_change. Its rows with a sentinel or a unit_jump are refused, because a forecast would
    use them. Other checks must be set in the file.
    """

    gap: _Warning = Field(default="warn", description="Periods missing between a series' first and last.")
    flat_line: _Action = Field(default="warn", description="Equal values for half a day (7 days, 5 business days).")
    spike: _Action = Field(
        default="warn", description="A value more than 5 times the largest one a step and a season around it."
    )
    dropout: _Action = Field(
        default="warn", description="A zero where all values around it are above a fifth of the mean."
    )
    unit_jump: _Action = Field(
        default="warn",
        description="A few days of values over 100 times all others of four weeks, or of a thousandth. A forecast "
        "leaves them out. Default of a covariate: quarantine.",
    )
    day_jump: _Warning = Field(
        default="warn",
        description="A day whose mean is over 5 times the largest, or below a fifth of the smallest, of the four weeks "
        "before. Not for series with negative values.",
    )
    sentinel: _Action = Field(
        default="warn",
        description="Numbers such as -999 or 9999 that are far from all others. Default of a covariate: quarantine.",
    )
    level_jump: _Warning = Field(
        default="warn", description="A mean of 28 days that at least doubles or halves within two days."
    )
    repeated_block: _Action = Field(
        default="quarantine", description="At a clock change, values equal to those an hour or a day earlier."
    )
    stopped: _Warning = Field(
        default="warn", description="No value for three days while other series of the feed have values."
    )
    same_series: _Warning = Field(default="warn", description="All values equal those of another series.")
    renamed: _Warning = Field(default="warn", description="Values that end where those of a new series begin.")
    clock_change: _Warning = Field(
        default="warn",
        description="A value at a time that a clock change skips, or one value for an hour that it repeats.",
    )
    emptied: Literal["accept", "warn", "refuse"] = Field(
        default="refuse",
        description="More than half of the values read again are empty, and at least five. refuse: the history keeps "
        "its values, and the feed fails. Fewer empty values withdraw those of the history, with a warning.",
    )
    other_unit: _Warning = Field(
        default="warn", description="A multiple of the series' own covariate, or of its level in `expected`."
    )


class Feed(Section):
    """One table of observations, `[[feed]]`. A file has one or more; several feeds may have the same role."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]{0,62}$")] = Field(
        description="Name of the feed, and of its folder in the store.", examples=["demand"]
    )
    role: Literal["target", "known_future", "observed"] = Field(
        description="Use of the values: target is forecast; known_future is a covariate known for the whole horizon, "
        "observed one known for the past only."
    )
    uri: Annotated[Text | None, Field(repr=False)] = Field(
        default=None,
        description="Address of the table: a Parquet or CSV file or glob, relative to the pipeline file, or a uri of "
        "S3, a database or the web. ${NAME} stands for an environment variable. Default: the address of the kind; "
        "required for file, s3, sql and http.",
        examples=["load.parquet", "s3://bucket/load/*.parquet", "postgresql://reader:${PASSWORD}@host/db"],
    )
    query: Text | None = Field(
        default=None,
        description="SQL query of a database feed, which requires it. :since and :until are bound to valid times.",
        examples=["select meter, at, mw from demand where at >= :since and at < :until"],
    )
    series_id: Text | None = Field(
        default=None,
        description="Column of the series ids. Without it the table is one series, or a covariate shared by all "
        "series.",
    )
    valid_time: Text = Field(
        default=VALID_TIME,
        description="Column of the START of the period that a value describes. Required, except for kinds that name "
        "their columns.",
    )
    values: Annotated[tuple[Text, ...], BeforeValidator(to_tuple)] = Field(
        description="Columns of the values: exactly one for a target; one or more for covariates, which they name.",
        examples=[["y"]],
    )
    unit: Text | None = Field(default=None, description="Unit of the target, as the page shows it.", examples=["MW"])
    time_zone: Zone = Field(default="UTC", description="Time zone of timestamps without an offset.")
    fixed_offset: Offset | None = Field(
        default=None,
        description="Offset from UTC of timestamps without an offset, instead of time_zone: for feeds in standard time "
        "all year.",
    )
    fold: Literal["auto", "first", "second", "refuse"] = Field(
        default="auto",
        description="Hour that a timestamp means which a clock change repeats, where the order of the rows does not "
        "show it: first, second, or refuse the row. auto: the first if the source lists the hour once, else refuse.",
    )
    available_after: Duration = Field(
        default=timedelta(0),
        description="Time from the END of a period until its value is known. For target and observed feeds.",
    )
    available_at: Text | None = Field(
        default=None,
        description="Column of the time at which a row became known, instead of available_after. Several rows of one "
        "period are revisions.",
    )
    early: Literal["accept", "warn", "refuse"] = Field(
        default="warn",
        description="Action on a target or observed value whose available_at is before its period ends (business "
        "days: begins). Set accept for values that are fixed in advance, such as day-ahead prices.",
    )
    resample: Literal["mean", "sum", "last"] | None = Field(
        default=None,
        description="Aggregation of finer periods into the pipeline's: mean (power, prices), sum (energy per period) "
        "or last. Default: finer periods are refused.",
    )
    upsample: Literal["repeat", "divide"] | None = Field(
        default=None,
        description='Spread of periods of 30 minutes or an hour over a pipeline of "15m" or "30m": repeat (power, '
        "prices) or divide (energy per period). Default: the steps between are missing.",
    )
    repeats: Literal["error", "last"] = Field(
        default="error",
        description="What to do if most series and times of one read come several times with different values: error "
        "(a column is missing as series_id), or last (the last row of each counts). A few repeats are always resolved "
        "by the last row.",
    )
    kind: Kind | None = Field(
        default=None, description="Kind of the source, required for the last four. Default: by the uri."
    )
    start: Day = Field(default=datetime(1970, 1, 1, tzinfo=UTC), description="First day to request, in UTC.")
    overlap: Duration = Field(
        default=timedelta(days=7),
        description="Time before the newest stored period from which each ingest reads again, to see revisions.",
    )
    options: Options = Field(default=FileOptions(), description="Options of the kind of source: docs/sources.md.")
    checks: Checks = Field(default=Checks(), description="Action on each finding in a series.")
    expected: dict[str, Annotated[float, Field(gt=0)]] = Field(
        default_factory=dict,
        description="Mean level by series, in the feed's unit, to detect a wrong unit.",
        examples=[{"DE": 55000.0}],
    )
    _secrets: tuple[str, ...] = PrivateAttr(default=())

    @model_validator(mode="before")
    @classmethod
    def _tag_options(cls, table: Any) -> Any:
        """Add the kind of the source to the options, which selects their table."""
        if not isinstance(table, dict):
            return table
        options = table.get("options", {})
        if not isinstance(options, dict):
            raise ValueError(f"options must be a table, not {options!r}")
        if "kind" in options:
            raise ValueError("kind is a key of the feed, not of its options")
        kind = _source(table.get("kind"), table.get("uri"))
        return {**table, "options": {**options, "kind": kind if kind in get_args(Kind) else "file"}}

    @model_validator(mode="after")
    def _check_values(self) -> Feed:
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
        self._check_names()
        return self

    def _check_names(self) -> None:
        """Raise ValueError if a column of the feed has the name of a column that the store adds."""
        columns = [*self.values, *(name for name in self.shape().columns if name == _REASON)]
        reserved = [name for name in columns if name in _OWN_COLUMNS or name.startswith(":")]
        if reserved:
            raise ValueError(
                f"feed {self.name!r} must not have a column {reserved[0]!r}, because the store adds one of this name; "
                "rename it in the source, or in the query of a database feed (select ... as another_name)"
            )

    @model_validator(mode="after")
    def _check_columns(self) -> Feed:
        if self.fixed_offset is not None and "time_zone" in self.model_fields_set:
            raise ValueError("fixed_offset and time_zone exclude each other: the offset is that of standard time")
        if not isinstance(self.options, KnownSourceOptions):
            if self.uri is None:
                raise ValueError("uri is required: the address of the feed's table")
            if "valid_time" not in self.model_fields_set:
                raise ValueError("valid_time is required: the column of the start of each period")
            return self
        for key, own in (("valid_time", VALID_TIME), ("series_id", SERIES_ID)):
            if getattr(self, key) not in (own, None):
                raise ValueError(f"{key} of kind {self.kind!r} is {own!r}, because the kind names its columns")
        for key in ("fixed_offset", "fold"):
            if key in self.model_fields_set:
                raise ValueError(f"{key} is not for kind {self.kind!r}, whose times have an offset")
        if self.available_at is not None:
            raise ValueError(
                f"available_at is not for kind {self.kind!r}, whose availability times are used by themselves"
            )
        if self.options.has_availability_times and "available_after" in self.model_fields_set:
            raise ValueError("available_after is not for rows that have the time at which they became known")
        if self.source != "open-meteo" and len(self.values) != 1:
            raise ValueError(f"values of kind {self.kind!r} must be one name, because the kind has one value column")
        if self.series_id is None and self.options.has_several_series:
            raise ValueError('several series need series_id = "series_id"')
        return self

    @model_validator(mode="after")
    def _check_text_options(self) -> Feed:
        options = self.options
        if self.upsample and self.resample:
            raise ValueError("upsample and resample exclude each other; remove the one that the feed does not need")
        if self.upsample and isinstance(options, TextOptions) and options.label == "end":
            raise ValueError('upsample needs label = "start", because the length of each period follows from its start')
        if "early" in self.model_fields_set and (self.available_at is None or self.role == "known_future"):
            raise ValueError("early is for target and observed feeds with available_at")
        if not isinstance(options, TextOptions):
            return self
        path = (self.uri or "").split("?")[0].lower()
        is_csv = ".csv" in path
        if isinstance(options, WebOptions) and options.format is not None:
            is_csv = options.format == "csv"
        elif not isinstance(options, WebOptions) and not path.endswith((".parquet", ".pq")):
            is_csv = True
        for key in () if is_csv else CSV_KEYS:
            if key in options.model_fields_set:
                raise ValueError(f"options.{key} is for CSV, which this feed is not")
        if options.wide is not None and len(self.values) != 1:
            raise ValueError("values of a wide table must be one name, that of the values in all its columns")
        if options.wide == "series" and self.series_id is None:
            raise ValueError('options.wide = "series" needs series_id: a name for the columns\' names, such as "zone"')
        if options.label == "end" and self.resample and options.period is None:
            raise ValueError('label = "end" with resample needs options.period, the length of the feed\'s own periods')
        if options.period is not None and not self.resample:
            raise ValueError("options.period is for a feed with resample")
        return self

    @property
    def secrets(self) -> tuple[str, ...]:
        """Values that replaced `${NAME}` in the uri. No message may contain them."""
        return self._secrets

    def with_uri(self, uri: str, secrets: tuple[str, ...]) -> Feed:
        """Return the feed with another uri, whose parts `secrets` are secret."""
        feed = self.model_copy(update={"uri": uri})
        feed._secrets = secrets
        return feed

    @property
    def source(self) -> str:
        """Kind of the source: `kind`, or else the one that the uri implies."""
        source: str = _source(self.kind, self.uri)
        return source

    @property
    def zone(self) -> str:
        """Zone of timestamps without an offset: an IANA name, or an offset such as "-05:00"."""
        return self.fixed_offset or self.time_zone

    def actions(self) -> dict[str, Action]:
        """Return the action of each check. Those of a covariate have other defaults."""
        actions: dict[str, Action] = self.checks.model_dump(exclude={"emptied"})
        if self.role == "target":
            return actions
        return {
            check: action if check in self.checks.model_fields_set else _COVARIATE_ACTIONS.get(check, "accept")
            for check, action in actions.items()
        }

    def shape(self) -> FeedShape:
        """Return the columns of the feed's table and how to interpret them."""
        options = self.options
        has_times = isinstance(options, KnownSourceOptions) and options.has_availability_times
        shape = FeedShape(
            self.name, self.role, self.series_id, self.valid_time, self.values, self.zone,
            self.available_after, AVAILABLE_AT if has_times else self.available_at, self.resample, self.upsample,
            self.fold, self.repeats,
        )  # fmt: skip
        if isinstance(options, TextOptions):
            text = options.text_format()
            if options.wide == "periods" and self.available_at is None:
                text = replace(text, time_formats=())  # The columns of a day become instants before the checks.
            shape = replace(shape, text=text, label=options.label, period=options.period, early=self.early)
        return shape


def _source(kind: Any, uri: Any) -> Any:
    if kind:
        return kind
    scheme = uri.split("://")[0] if isinstance(uri, str) and "://" in uri else ""
    return _KIND_BY_SCHEME.get(scheme, "file")
