"""`[feed.options]`: what each kind of source is asked, and how; see docs/sources.md.

The kind is the tag that tells one table from another, so that a key of one kind is refused for another.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, SecretStr, Tag, model_validator

from flows.settings.types import Duration, LocalTime, PositiveDuration, Section, Text
from storage.sources.entsoe_areas import eic

_Tuple = BeforeValidator(lambda v: tuple(v) if isinstance(v, list) else v)
Names = Annotated[tuple[Text, ...], Field(min_length=1), _Tuple]


def _areas(names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        eic(name)
    return names


class FileOptions(Section):
    """Of a kind that has none: files, databases."""

    kind: Literal["file", "sql"] = "file"


class RequestOptions(Section):
    """How a server is asked, whatever it is asked for."""

    timeout: PositiveDuration = timedelta(seconds=30)
    retries: Annotated[int, Field(ge=0, le=20)] = 4
    backoff: PositiveDuration = timedelta(seconds=1)


class S3Options(RequestOptions):
    """Of objects on S3."""

    kind: Literal["s3"]


class WebOptions(RequestOptions):
    """Of any other server on the web."""

    kind: Literal["http"]
    format: Literal["csv", "json"] | None = None
    records: Text | None = None
    next: Text | None = None


class KnownSourceOptions(RequestOptions):
    """Of a source that Gatecast knows: its tables have columns of their own."""

    @property
    def has_availability_times(self) -> bool:
        """Whether its rows say when they became known."""
        return False

    @property
    def has_several_series(self) -> bool:
        """Whether it is asked for more than one series, and says so here."""
        return False


class Location(Section):
    """A place on earth, and what it counts in an average."""

    latitude: Annotated[float, Field(ge=-90, le=90)]
    longitude: Annotated[float, Field(ge=-180, le=180)]
    weight: Annotated[float, Field(gt=0)] = 1.0


class OpenMeteoOptions(KnownSourceOptions):
    """Of Open-Meteo."""

    kind: Literal["open-meteo"]
    api: Literal["archive", "historical-forecast", "forecast", "previous-runs"]
    locations: Annotated[dict[str, Location], Field(min_length=1)]
    resolution: Literal["hourly", "daily"] = "hourly"
    model: Text | None = None
    lead_days: Annotated[tuple[Annotated[int, Field(ge=1, le=7)], ...], Field(min_length=1), _Tuple] = (1, 2)
    delay: Duration = timedelta(hours=9)
    api_key: SecretStr | None = None

    @model_validator(mode="after")
    def _of_the_api(self) -> OpenMeteoOptions:
        if self.api != "previous-runs":
            for key in ("lead_days", "delay"):
                if key in self.model_fields_set:
                    raise ValueError(f'{key} is for api = "previous-runs", not {self.api!r}')
        return self

    @property
    def has_availability_times(self) -> bool:
        """Forecasts say when they became known; what was measured does not."""
        return self.api in ("forecast", "previous-runs")


class EntsoeOptions(KnownSourceOptions):
    """Of the ENTSO-E Transparency Platform."""

    kind: Literal["entsoe"]
    document: Literal["load", "load_forecast", "price"]
    areas: Annotated[Names, AfterValidator(_areas)]
    resolution: Literal["15m", "30m", "1h"] | None = None
    published: LocalTime | None = None
    sequence: Annotated[int, Field(ge=1)] = 1
    api_key: SecretStr

    @model_validator(mode="after")
    def _of_the_document(self) -> EntsoeOptions:
        if self.document == "load" and self.published is not None:
            raise ValueError("published is for load_forecast and price; of load, available_after says it")
        return self

    @property
    def has_availability_times(self) -> bool:
        """What is published on the day before says so."""
        return self.document != "load"

    @property
    def has_several_series(self) -> bool:
        """An area is a series."""
        return len(self.areas) > 1


class EiaOptions(KnownSourceOptions):
    """Of the EIA's API, version 2."""

    kind: Literal["eia"]
    route: Annotated[str, Field(pattern=r"^[a-z0-9-]+(/[a-z0-9-]+)*$")]
    frequency: Literal["hourly", "daily", "weekly", "monthly"]
    facets: dict[str, Names] = Field(default_factory=dict)
    series: Text = "series"
    data: Text = "value"
    api_key: SecretStr


class EcbOptions(KnownSourceOptions):
    """Of the ECB's data portal."""

    kind: Literal["ecb"]
    flow: Annotated[str, Field(pattern=r"^[A-Za-z0-9_,.-]+$")]
    series: Annotated[
        dict[str, Annotated[str, Field(pattern=r"^[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)+$")]], Field(min_length=1)
    ]

    @property
    def has_several_series(self) -> bool:
        """Each key is a series."""
        return len(self.series) > 1


def _kind(given: Any) -> Any:
    return given.get("kind") if isinstance(given, dict) else getattr(given, "kind", None)


#: Kinds of sources; each has its table of options under its name.
Kind = Literal["file", "s3", "sql", "http", "open-meteo", "entsoe", "eia", "ecb"]

Options = Annotated[
    Annotated[FileOptions, Tag("file")]
    | Annotated[FileOptions, Tag("sql")]
    | Annotated[S3Options, Tag("s3")]
    | Annotated[WebOptions, Tag("http")]
    | Annotated[OpenMeteoOptions, Tag("open-meteo")]
    | Annotated[EntsoeOptions, Tag("entsoe")]
    | Annotated[EiaOptions, Tag("eia")]
    | Annotated[EcbOptions, Tag("ecb")],
    Discriminator(_kind),
]
