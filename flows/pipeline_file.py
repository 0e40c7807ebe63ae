"""The pipeline file: one TOML file, one pipeline, read into frozen and validated objects.

The only place that reads the environment: `GATECAST_PIPELINE__STORE=...` gives a value, `${NAME}` in a uri a
secret.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from model.feed_checks import FeedShape
from model.series_checks import Action
from model.spec import ModelSpec, segment_steps
from model.timegrid import FREQUENCIES, TimeGrid, holiday_calendar

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)([smhd])")
_PREFIX = "GATECAST_"


class PipelineFileError(Exception):
    """The pipeline file is wrong: the message names the key, the value and what is allowed. Exit status 2."""


def _duration(value: object) -> timedelta:
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError('must be a number and a unit of s, m, h or d, such as "90s" or "1d"')
    return timedelta(**{_UNITS[match[2]]: float(match[1])})


def _positive(value: timedelta) -> timedelta:
    if value <= timedelta(0):
        raise ValueError("must be longer than nothing")
    return value


def _window(value: object) -> object:
    return None if value == "all" else _duration(value)


def _zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except Exception:  # zoneinfo raises what the file system raises for odd names
        raise ValueError('must be a time zone of the IANA database, such as "Europe/Madrid"') from None
    return value


def _local_time(value: object) -> time:
    match = re.fullmatch(r"([01]\d|2[0-3]):([0-5]\d)", value) if isinstance(value, str) else None
    if match is None:
        raise ValueError('must be a local time of day such as "00:00" or "13:30"')
    return time(int(match[1]), int(match[2]))


def _holidays(value: str) -> str:
    try:
        holiday_calendar(value, range(2020, 2021))
    except ValueError:
        raise ValueError(
            'must be a code of the holidays library: a country ("US"), a subdivision ("DE-BY") or a financial '
            'market ("NYSE", "ECB")'
        ) from None
    return value


def _levels(value: tuple[float, ...]) -> tuple[float, ...]:
    if any(not 0 < level < 1 for level in value):
        raise ValueError("must hold levels between 0 and 1, both excluded")
    if 0.5 not in value:
        raise ValueError("must hold 0.5, the median")
    if list(value) != sorted(set(value)):
        raise ValueError("must ascend, each level once")
    return value


_KINDS = {"sqlite": "sql", "postgresql": "sql", "postgres": "sql", "http": "http", "https": "http"}


def _day(value: object) -> object:
    try:
        return datetime.fromisoformat(value).replace(tzinfo=UTC) if isinstance(value, str) else value
    except ValueError:
        raise ValueError('must be a day such as "2018-01-01"') from None


Duration = Annotated[timedelta, BeforeValidator(_duration)]
PositiveDuration = Annotated[Duration, AfterValidator(_positive)]
Steps = Annotated[int, Field(ge=1, le=100_000)]
Text = Annotated[str, Field(min_length=1)]


class Section(BaseModel):
    """A table of the file: frozen, no unknown keys, no silent conversion of types."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Bounds(Section):
    """Physical limits of the target, in its unit."""

    min: float | None = None
    max: float | None = None

    @model_validator(mode="after")
    def _ordered(self) -> Bounds:
        if self.min is not None and self.max is not None and self.min >= self.max:
            raise ValueError("min must be below max")
        return self


class PipelineSection(Section):
    """`[pipeline]`."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,62}$")]
    store: Text
    frequency: Literal["15m", "30m", "1h", "1d", "1b"]
    timezone: Annotated[str, AfterValidator(_zone)] = "UTC"
    holidays: Annotated[str, AfterValidator(_holidays)] | None = None
    horizon: Steps
    context: Steps
    season: Steps
    issue_at: Annotated[time, BeforeValidator(_local_time)] = time(0)
    day_start: Annotated[time, BeforeValidator(_local_time)] = time(0)
    quantile_levels: Annotated[tuple[float, ...], BeforeValidator(tuple), AfterValidator(_levels)] = tuple(
        round(0.1 * i, 1) for i in range(1, 10)
    )
    bounds: Bounds = Bounds()

    @model_validator(mode="after")
    def _days_begin(self) -> PipelineSection:
        if self.day_start != time(0) and self.frequency != "1d":
            raise ValueError(f'day_start is for frequency = "1d", not {self.frequency!r}')
        return self

    @property
    def day_start_micros(self) -> int:
        """`day_start` in microseconds after midnight."""
        return (self.day_start.hour * 60 + self.day_start.minute) * 60_000_000

    @model_validator(mode="before")
    @classmethod
    def _steps_that_serve(cls, values: Any) -> Any:
        """Horizon, context and season where the file leaves them out: by the frequency."""
        if isinstance(values, dict):
            defaults = _STEPS.get(str(values.get("frequency")), {})
            values = {**defaults, **values}
        return values


# A day ahead and two weeks of context for load; a week and two months of days; a week of business days, whose
# season is one step, which makes the baseline a random walk.
_STEPS = {
    "15m": {"horizon": 96, "context": 1344, "season": 672},
    "30m": {"horizon": 48, "context": 672, "season": 336},
    "1h": {"horizon": 24, "context": 336, "season": 168},
    "1d": {"horizon": 7, "context": 56, "season": 7},
    "1b": {"horizon": 5, "context": 60, "season": 1},
}
assert set(_STEPS) == set(FREQUENCIES)


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
    time_zone: Annotated[str, AfterValidator(_zone)] = "UTC"
    available_after: Duration = timedelta(0)
    available_at: Text | None = None
    kind: Literal["file", "sql", "http"] | None = None
    start: Annotated[datetime, BeforeValidator(_day)] = datetime(1970, 1, 1, tzinfo=UTC)
    overlap: Duration = timedelta(days=7)
    options: Options = Options()
    checks: Checks = Checks()
    expected: dict[str, Annotated[float, Field(gt=0)]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _values_of_the_role(self) -> Feed:
        if self.role == "target" and len(self.values) != 1:
            raise ValueError("values of a target feed must name exactly one column")
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
            self.available_after, self.available_at,
        )  # fmt: skip


class Model(Section):
    """`[model]`."""

    head: Literal["quantile", "softmax"] = "quantile"
    hidden_size: Annotated[int, Field(ge=1, le=4096)] = 128
    layers: Annotated[int, Field(ge=1, le=8)] = 1
    members: Annotated[int, Field(ge=1, le=64)] = 1
    cell: Literal["lstm", "rnn"] = "lstm"


class Training(Section):
    """`[training]`."""

    every: PositiveDuration = timedelta(days=1)
    window: Annotated[timedelta | None, BeforeValidator(_window)] = timedelta(days=730)
    budget: PositiveDuration = timedelta(seconds=120)
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 7


class Promotion(Section):
    """`[promotion]`."""

    folds: Annotated[int, Field(ge=1, le=1000)] = 28
    margin: Annotated[float, Field(ge=0, lt=1)] = 0.0


class Forecast(Section):
    """`[forecast]`."""

    providers: Annotated[
        tuple[Literal["cuda", "cpu"], ...],
        Field(min_length=1),
        BeforeValidator(lambda v: tuple(v) if isinstance(v, list) else v),
    ] = ("cpu",)
    deadline: PositiveDuration = timedelta(minutes=10)


class Scale(Section):
    """`[scale]`."""

    engine: Text = "local"
    shards: Annotated[int, Field(ge=0)] = 0


class Pipeline(Section):
    """One pipeline file, validated. `store` and file uris are absolute from here on."""

    pipeline: PipelineSection
    feed: Annotated[tuple[Feed, ...], BeforeValidator(lambda v: tuple(v) if isinstance(v, list) else v)]
    model: Model = Model()
    training: Training = Training()
    promotion: Promotion = Promotion()
    forecast: Forecast = Forecast()
    scale: Scale = Scale()

    @model_validator(mode="after")
    def _feeds_fit(self) -> Pipeline:
        names = [feed.name for feed in self.feed]
        if len(set(names)) != len(names):
            raise ValueError("feed names must differ")
        if not any(feed.role == "target" for feed in self.feed):
            raise ValueError('one feed must have role = "target"')
        covariates = [name for feed in self.feed if feed.role != "target" for name in feed.values]
        for name in covariates:
            owners = [feed for feed in self.feed if feed.role != "target" and name in feed.values]
            if len({feed.role for feed in owners}) > 1:
                raise ValueError(f"covariate {name!r} is known_future in one feed and observed in another")
        return self

    @property
    def name(self) -> str:
        """The pipeline's name."""
        return self.pipeline.name

    @property
    def grid(self) -> TimeGrid:
        """The grid of the pipeline's periods."""
        at = self.pipeline
        return TimeGrid(at.frequency, at.timezone, at.holidays, at.day_start_micros)

    def feeds(self, role: str) -> list[Feed]:
        """The feeds of one role, in the file's order."""
        return [feed for feed in self.feed if feed.role == role]

    def covariates(self, role: str) -> tuple[str, ...]:
        """Names of the covariates of a role, each once."""
        return tuple(dict.fromkeys(name for feed in self.feeds(role) for name in feed.values))

    def spec(self, series: tuple[str, ...] = ()) -> ModelSpec:
        """The model that this pipeline asks for, trained on `series`."""
        at, model = self.pipeline, self.model
        return ModelSpec(
            frequency=at.frequency, timezone=at.timezone, holidays=at.holidays, horizon=at.horizon,
            context=at.context, season=at.season, segment=segment_steps(at.frequency, at.context),
            levels=at.quantile_levels, lower=at.bounds.min, upper=at.bounds.max,
            known_future=self.covariates("known_future"), observed=self.covariates("observed"),
            head=model.head, cell=model.cell, hidden_size=model.hidden_size, layers=model.layers,
            members=model.members, day_start=at.day_start_micros, series=series,
        )  # fmt: skip


def read(path: Path | str, environment: Mapping[str, str] | None = None) -> Pipeline:
    """Read and validate a pipeline file.

    Args:
        path: the TOML file; relative paths in it are relative to its folder.
        environment: the process's by default.

    Raises:
        PipelineFileError: naming the first key that is wrong, its value and what is allowed.
    """
    path = Path(path)
    environment = os.environ if environment is None else environment
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, IsADirectoryError):
        raise PipelineFileError(f"{path}: there is no such file; `gatecast init DIR` writes one") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise PipelineFileError(f"{path}: not a TOML file: {error}") from None
    _overlay(content, environment)
    try:
        pipeline = Pipeline.model_validate(content)
    except ValidationError as error:
        raise PipelineFileError("\n".join(f"{path}: {line}" for line in _explain(error))) from None
    folder = path.resolve().parent
    at = pipeline.pipeline.model_copy(update={"store": _place(pipeline.pipeline.store, folder)})
    feeds = tuple(
        feed.model_copy(update={"uri": _place(_secrets(feed.uri, feed.name, path, environment), folder)})
        for feed in pipeline.feed
    )
    return pipeline.model_copy(update={"pipeline": at, "feed": feeds})


def _overlay(content: dict[str, Any], environment: Mapping[str, str]) -> None:
    """Values of `GATECAST_<TABLE>__<KEY>`; a feed is named by its number from 0 or by its name."""
    for variable in sorted(environment):
        if not variable.startswith(_PREFIX) or "__" not in variable:
            continue
        parts = variable.removeprefix(_PREFIX).lower().split("__")
        place: Any = content
        for part in parts[:-1]:
            if isinstance(place, list):
                place = _item(place, part, variable)
            elif isinstance(place, dict):
                place = place.setdefault(part, {})
            else:
                raise PipelineFileError(f"{variable}: {part!r} is not a table of the pipeline file")
        if not isinstance(place, dict):
            raise PipelineFileError(f"{variable}: names a table, not a key of one")
        place[parts[-1]] = _toml_value(environment[variable])


def _item(feeds: list[Any], part: str, variable: str) -> Any:
    for number, feed in enumerate(feeds):
        if part == str(number) or (isinstance(feed, dict) and part == str(feed.get("name")).lower()):
            return feed
    raise PipelineFileError(f"{variable}: there is no feed {part!r}")


def _toml_value(text: str) -> Any:
    """A number, list, table or boolean where the text is one in TOML; else the text itself."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _secrets(uri: str, feed: str, path: Path, environment: Mapping[str, str]) -> str:
    def value(match: re.Match[str]) -> str:
        if match[1] not in environment:
            raise PipelineFileError(f"{path}: feed.{feed}.uri: the environment has no variable {match[1]}; set it")
        return environment[match[1]]

    return re.sub(r"\$\{(\w+)\}", value, uri)


def _place(uri: str, folder: Path) -> str:
    return uri if "://" in uri else os.path.normpath(folder / uri)


def _explain(error: ValidationError) -> list[str]:
    lines = []
    for fault in error.errors():
        key = ".".join(str(part) for part in fault["loc"]) or "the file"
        what = fault["msg"].removeprefix("Value error, ")
        if fault["type"] == "extra_forbidden":
            what = "there is no such key"
        elif fault["type"] == "missing":
            what = "is required"
        else:
            given = fault["input"]
            what = what if isinstance(given, dict | list) and len(str(given)) > 60 else f"{given!r}: {what}"
        lines.append(f"{key}: {what}")
    return lines
