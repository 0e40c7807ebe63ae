"""`[feed.options]`: settings of each kind of source. docs/sources.md describes the kinds.

`kind` is the tag of the union, so that a key of one kind is refused for another. The feed fills it in; in the file it
is a key of the feed.
"""

from __future__ import annotations

import codecs
from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Discriminator,
    Field,
    SecretStr,
    Tag,
    WithJsonSchema,
    model_validator,
)

from flows.settings.types import Duration, LocalTime, PositiveDuration, Section, SettingError, Text, to_tuple
from model.checks.text_format import TextFormat
from model.checks.time_texts import check_format
from model.checks.wide_tables import WideLayout, clock_formats
from storage.sources.entsoe_areas import eic

_API_KEY = (
    'API key, as "${NAME}" of an environment variable, or left out here and set as '
    "GATECAST_FEED__<NAME>__OPTIONS__API_KEY. A key written into the file itself is refused."
)

Names = Annotated[tuple[Text, ...], Field(min_length=1), BeforeValidator(to_tuple)]
LeadDays = Annotated[
    tuple[Annotated[int, Field(ge=1, le=7)], ...], Field(min_length=1), BeforeValidator(to_tuple)
]  # fmt: skip
RunHours = Annotated[
    tuple[Annotated[int, Field(ge=0, le=23)], ...], Field(min_length=1), BeforeValidator(to_tuple)
]  # fmt: skip
ApiKey = Annotated[
    SecretStr,
    WithJsonSchema({"type": "string", "pattern": r"^\$\{\w+\}$", "examples": ["${API_KEY}"]}),
]
EcbKey = Annotated[str, Field(pattern=r"^[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)+$")]


def _to_texts(value: object) -> object:
    return (value,) if isinstance(value, str) else to_tuple(value)


def _check_areas(names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        eic(name)
    return names


def _check_time_formats(formats: tuple[str, ...]) -> tuple[str, ...]:
    for form in formats:
        problem = check_format(form)
        if problem:
            raise SettingError(problem, "%d/%m/%Y %H:%M")
    return formats


def _texts(*examples: str) -> WithJsonSchema:
    """Return the schema of one text or a list of texts."""
    text = {"type": "string", "minLength": 1, "examples": list(examples)}
    return WithJsonSchema({"type": ["string", "array"], "minLength": 1, "items": text})


TimeFormats = Annotated[
    tuple[Text, ...], Field(min_length=1), BeforeValidator(_to_texts), AfterValidator(_check_time_formats),
    _texts("%d/%m/%Y %H:%M", "epoch_ms"),
]  # fmt: skip
ColumnNames = Annotated[tuple[Text, ...], BeforeValidator(_to_texts), _texts("3B")]
MissingTexts = Annotated[tuple[Text, ...], BeforeValidator(_to_texts), _texts("n/e")]


def _check_separator(value: str) -> str:
    if len(value) != 1 or not value.isascii() or value in '"\r\n':
        raise SettingError("must be one ASCII character", ";")
    return value


def _check_encoding(value: str) -> str:
    try:
        "".encode(value)
        codecs.getincrementaldecoder(value)
    except (LookupError, ValueError):
        raise SettingError("must be an encoding of Python", "cp1252") from None
    return value


class ReadLimits(Section):
    """Limits of one read of a source. A source beyond them fails, with an error that names the limit."""

    max_megabytes: Annotated[float, Field(gt=0)] = Field(
        default=2000, description="Most megabytes of all files, objects or answers of one read, after decompression."
    )
    max_time: PositiveDuration = Field(
        default=timedelta(minutes=30), description="Longest time of one read, with all pages, files and tries."
    )


class TextOptions(ReadLimits):
    """Form of the texts of a table. Nothing is guessed: a cell of another form is refused."""

    decimal: Literal[".", ","] | None = Field(
        default=None, description='Decimal mark of numbers in text. Default: "." ("," if thousands is ".").'
    )
    thousands: Literal[".", ",", " ", "'"] | None = Field(
        default=None, description="Mark between groups of three digits of numbers in text. Default: none."
    )
    time_format: TimeFormats | None = Field(
        default=None,
        description='Form of times in text or whole numbers, one or a list: strftime as Polars has it, "epoch_s", '
        '"epoch_ms" or "iso". Default: ISO 8601 in text.',
    )
    missing: MissingTexts = Field(
        default=(),
        description="Texts that mean a missing value, one or a list: NA, null. An empty cell and NaN always do.",
    )
    label: Literal["start", "end"] = Field(
        default="start", description="Which end of its period valid_time names. With end, 24:00 is allowed."
    )
    period: PositiveDuration | None = Field(
        default=None,
        description='Length of the feed\'s own periods. Required with label = "end" and resample. Default: the '
        "pipeline's frequency.",
    )

    wide: Literal["series", "hours", "periods"] | None = Field(
        default=None,
        description="Wide table: a column per series, per hour of the day by the clock, or per period counted from the "
        "start of the day. series_id and values then name the columns of the long table. Default: a row per value.",
    )
    columns: ColumnNames = Field(
        default=(),
        description="Value columns of a wide table, those of a day in their order. Default: all that the feed does not "
        "name.",
    )
    repeated_hour: ColumnNames = Field(
        default=(),
        description='With wide = "hours": column of the hour that a clock change repeats. Its name has the number of '
        "the one it repeats, or it stands behind it.",
    )

    @model_validator(mode="after")
    def _check_wide(self) -> TextOptions:
        for key in ("columns", "repeated_hour") if self.wide is None else ():
            if getattr(self, key):
                raise ValueError(f"{key} is for a wide table: set wide")
        if self.repeated_hour and self.wide != "hours":
            raise ValueError('repeated_hour is for wide = "hours"')
        if self.wide in ("hours", "periods") and self.label == "end":
            raise ValueError('label is not for columns of a day, which are in the order of its periods; remove "end"')
        return self

    def wide_layout(self) -> WideLayout | None:
        """Return the columns of a wide table, None for a table with a row per value."""
        return None if self.wide is None else WideLayout(
            self.wide, self.columns, self.repeated_hour, self.time_format or ()
        )  # fmt: skip

    @model_validator(mode="after")
    def _check_text(self) -> TextOptions:
        if self.thousands is not None and self.thousands == self.decimal:
            raise ValueError(f"decimal and thousands are both {self.decimal!r}; they must differ")
        if self.period is not None and self.label == "start":
            raise ValueError('period is for label = "end"')
        return self

    def text_format(self) -> TextFormat:
        """Return the form of the text cells."""
        formats = self.time_format or ()
        # The hour of a wide table stands behind its date.
        formats = clock_formats(formats) if self.wide == "hours" else formats
        return TextFormat(self.decimal, self.thousands, formats, self.missing)


class CsvOptions(TextOptions):
    """Form of CSV."""

    separator: Annotated[str, AfterValidator(_check_separator)] = Field(
        default=",", description="Character between the cells of CSV.", examples=[";", "\t"]
    )
    encoding: Annotated[str, AfterValidator(_check_encoding)] = Field(
        default="utf-8", description="Encoding of CSV, by its name in Python.", examples=["cp1252", "utf-16"]
    )
    skip_rows: Annotated[int, Field(ge=0)] = Field(
        default=0, description="Lines of CSV before the one with the names of the columns."
    )


class StoredCsvOptions(CsvOptions):
    """Form of a CSV file in a folder or bucket, where it may be read while it is written."""

    last_line: Literal["refuse", "accept"] = Field(
        default="refuse",
        description="Action on a last line of CSV without a line end: the file may be cut while it is written.",
    )


#: Keys of CSV only.
CSV_KEYS = tuple(key for key in StoredCsvOptions.model_fields if key not in TextOptions.model_fields)


class FileOptions(StoredCsvOptions):
    """Options of files."""

    kind: Literal["file"] = "file"


class SqlOptions(TextOptions):
    """Options of databases."""

    kind: Literal["sql"]


class RequestOptions(ReadLimits):
    """Options of every kind that sends requests to a server."""

    timeout: PositiveDuration = Field(
        default=timedelta(seconds=30),
        description="Longest wait for a connection and between two parts of an answer. A whole answer, from its first "
        "header on, may take ten times as long.",
    )
    retries: Annotated[int, Field(ge=0, le=20)] = Field(default=4, description="Tries after the first one failed.")
    backoff: PositiveDuration = Field(
        default=timedelta(seconds=1),
        description="Wait before the second try. It doubles with each try, with jitter; a Retry-After of the server "
        "replaces it, up to a minute.",
    )


class S3Options(RequestOptions, StoredCsvOptions):
    """Options of objects on S3."""

    kind: Literal["s3"]


class HttpOptions(RequestOptions):
    """Options of every kind that sends requests over HTTP."""

    hosts: Annotated[tuple[Text, ...], BeforeValidator(_to_texts), _texts("data.example.com")] = Field(
        default=(),
        description="Other hosts, each with its port if it has one, to which redirects and the address of the next "
        "page may lead. The scheme stays, or becomes https.",
    )


class WebOptions(HttpOptions, CsvOptions):
    """Options of a CSV or JSON address on the web."""

    kind: Literal["http"]
    format: Literal["csv", "json"] | None = Field(
        default=None, description="Format of the answer. Default: csv if the path of the uri contains .csv, else json."
    )
    records: Text | None = Field(
        default=None,
        description="Dotted path of the list of records in a JSON answer. Default: the answer itself is the list.",
        examples=["data.items"],
    )
    next: Text | None = Field(
        default=None,
        description="Dotted path of the next page's address in a JSON answer. Default: there is one page.",
        examples=["links.next"],
    )
    max_pages: Annotated[int, Field(ge=1)] = Field(default=1000, description="Most pages of one read.")


class KnownSourceOptions(HttpOptions):
    """Options of a source with an interface of its own, whose tables have fixed columns."""

    @property
    def has_availability_times(self) -> bool:
        """True if each row of the source has the time at which it became known."""
        return False

    @property
    def has_several_series(self) -> bool:
        """True if these options request more than one series."""
        return False


class Location(Section):
    """A point on earth, and its weight in the average of all locations."""

    latitude: Annotated[float, Field(ge=-90, le=90)] = Field(description="Latitude in degrees north.")
    longitude: Annotated[float, Field(ge=-180, le=180)] = Field(description="Longitude in degrees east.")
    weight: Annotated[float, Field(gt=0)] = Field(default=1.0, description="Weight in the average of all locations.")


# Keys of Open-Meteo that only some of its interfaces have.
_KEYS_OF_API = {
    "lead_days": ("previous-runs",), "delay": ("previous-runs", "single-runs"),
    "run_hours": ("single-runs",), "run_days": ("single-runs",),
}  # fmt: skip


def _quoted(text: str) -> str:
    return f'"{text}"'


class OpenMeteoOptions(KnownSourceOptions):
    """Options of the weather service Open-Meteo."""

    kind: Literal["open-meteo"]
    api: Literal["archive", "historical-forecast", "forecast", "previous-runs", "single-runs"] = Field(
        description="Interface: archive (reanalysis), historical-forecast (first hours of each run, joined), "
        "forecast (the newest run), previous-runs (forecasts with the lead at which each was made), single-runs (each "
        "run as a whole)."
    )
    locations: Annotated[dict[str, Location], Field(min_length=1)] = Field(
        description="Points by name. With series_id each is a series; without it they are one weighted average."
    )
    resolution: Literal["hourly", "daily"] = Field(
        default="hourly", description="Length of a period. Days are days of the feed's time_zone."
    )
    model: Text | None = Field(
        default=None, description="Weather model by Open-Meteo's name. Default: Open-Meteo's best match."
    )
    lead_days: LeadDays = Field(
        default=(1, 2),
        description='Leads in days, for api = "previous-runs". A horizon of n days needs leads 1 to n + 1.',
    )
    delay: Duration = Field(
        default=timedelta(hours=9),
        description='Time from the start of a run until it is served, for api = "previous-runs" and "single-runs".',
    )
    run_hours: RunHours = Field(
        default=(0,), description='Hours (UTC) at which the runs to read start, for api = "single-runs".'
    )
    run_days: Annotated[int, Field(ge=1, le=16)] = Field(
        default=3,
        description='Days to read of each run, from the day of its start on, for api = "single-runs". A horizon of n '
        "days needs n + 2.",
    )
    api_key: ApiKey | None = Field(
        default=None, description=f"{_API_KEY} With a key, requests go to the customers' servers."
    )

    @model_validator(mode="after")
    def _check_keys_of_api(self) -> OpenMeteoOptions:
        for key, apis in _KEYS_OF_API.items():
            if key in self.model_fields_set and self.api not in apis:
                raise ValueError(f"{key} is for api = {' or '.join(map(_quoted, apis))}, not {self.api!r}")
        return self

    @property
    def has_availability_times(self) -> bool:
        """True if the rows are forecasts, which have an issue time. Measurements have none."""
        return self.api in ("forecast", "previous-runs", "single-runs")


class EntsoeOptions(KnownSourceOptions):
    """Options of the ENTSO-E Transparency Platform."""

    kind: Literal["entsoe"]
    document: Literal["load", "load_forecast", "price"] = Field(
        description="Document: actual load, day-ahead load forecast, or day-ahead price."
    )
    areas: Annotated[Names, AfterValidator(_check_areas)] = Field(
        description="Areas by short name (storage/sources/entsoe_areas.py) or EIC code. They name the series.",
        examples=[["DE_LU", "FR"]],
    )
    resolution: Literal["15m", "30m", "1h"] | None = Field(
        default=None,
        description="Length of a period: finer values are averaged where a set is complete, coarser ones repeated. "
        "Default: as published.",
    )
    published: LocalTime | None = Field(
        default=None,
        description="Brussels time on the day before at which a load forecast or price counts as known. "
        'Default: "10:00" for load_forecast, "13:00" for price.',
    )
    sequence: Annotated[int, Field(ge=1)] = Field(
        default=1, description="Number of the auction where a zone has several; 1 is the day-ahead coupling."
    )
    api_key: ApiKey = Field(description=f"Security token. {_API_KEY}")

    @model_validator(mode="after")
    def _check_keys_of_document(self) -> EntsoeOptions:
        if self.document == "load" and self.published is not None:
            raise ValueError("published is for load_forecast and price; for load, set available_after of the feed")
        return self

    @property
    def has_availability_times(self) -> bool:
        """True if the document is published on the day before, at a known time."""
        return self.document != "load"

    @property
    def has_several_series(self) -> bool:
        """True if there are several areas, each of which is a series."""
        return len(self.areas) > 1


class EiaOptions(KnownSourceOptions):
    """Options of the EIA's API, version 2."""

    kind: Literal["eia"]
    route: Annotated[str, Field(pattern=r"^[a-z0-9-]+(/[a-z0-9-]+)*$")] = Field(
        description="Route below /v2/, without /data.", examples=["electricity/rto/region-data", "natural-gas/pri/fut"]
    )
    frequency: Literal["hourly", "daily", "weekly", "monthly"] = Field(description="Length of a period.")
    facets: dict[str, Names] = Field(
        default_factory=dict,
        description="Values to select, by facet. Default: all.",
        examples=[{"respondent": ["CISO", "PJM"], "type": ["D"]}],
    )
    series: Text = Field(default="series", description="Column whose values name the series.")
    data: Text = Field(default="value", description="Column of the values.")
    api_key: ApiKey = Field(description=_API_KEY)


class EcbOptions(KnownSourceOptions):
    """Options of the ECB's data portal."""

    kind: Literal["ecb"]
    flow: Annotated[str, Field(pattern=r"^[A-Za-z0-9_,.-]+$")] = Field(
        description="Data flow of the portal.", examples=["EXR", "EST", "YC"]
    )
    series: Annotated[dict[str, EcbKey], Field(min_length=1)] = Field(
        description="Whole series keys of the portal, by the name of the series.",
        examples=[{"usd": "D.USD.EUR.SP00.A"}],
    )

    @property
    def has_several_series(self) -> bool:
        """True if there are several series keys."""
        return len(self.series) > 1


def _kind(options: Any) -> Any:
    return options.get("kind") if isinstance(options, dict) else getattr(options, "kind", None)


#: Kinds of sources; each has its table of options under its name.
Kind = Literal["file", "s3", "sql", "http", "open-meteo", "entsoe", "eia", "ecb"]

Options = Annotated[
    Annotated[FileOptions, Tag("file")]
    | Annotated[SqlOptions, Tag("sql")]
    | Annotated[S3Options, Tag("s3")]
    | Annotated[WebOptions, Tag("http")]
    | Annotated[OpenMeteoOptions, Tag("open-meteo")]
    | Annotated[EntsoeOptions, Tag("entsoe")]
    | Annotated[EiaOptions, Tag("eia")]
    | Annotated[EcbOptions, Tag("ecb")],
    Discriminator(_kind),
]
