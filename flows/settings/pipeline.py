"""The pipeline, as its file says it: frozen, validated objects, one a table of the file."""

from __future__ import annotations

from datetime import time, timedelta
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from flows.settings.feed import Feed
from flows.settings.types import (
    Engine,
    Holidays,
    Levels,
    LocalTime,
    PositiveDuration,
    Section,
    Steps,
    StoreUri,
    Text,
    Thresholds,
    TrainingWindow,
    Zone,
)
from model.evaluation.alerts import Limits
from model.evaluation.promotion import MIN_ISSUE_TIMES
from model.spec import ModelSpec, segment_steps
from model.timegrid import FREQUENCIES, TimeGrid


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
    store: StoreUri
    frequency: Literal["15m", "30m", "1h", "1d", "1b"]
    timezone: Zone = "UTC"
    holidays: Holidays | None = None
    horizon: Steps
    context: Steps
    season: Steps
    issue_at: LocalTime = time(0)
    day_start: LocalTime = time(0)
    quantile_levels: Levels = tuple(round(0.1 * i, 1) for i in range(1, 10))
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


class Model(Section):
    """`[model]`."""

    head: Literal["quantile", "softmax"] = "quantile"
    hidden_size: Annotated[int, Field(ge=1, le=4096)] = 128
    layers: Annotated[int, Field(ge=1, le=8)] = 1
    members: Annotated[int, Field(ge=1, le=64)] = 4
    cell: Literal["lstm", "rnn"] = "lstm"


class Training(Section):
    """`[training]`."""

    every: PositiveDuration = timedelta(days=1)
    window: TrainingWindow = timedelta(days=730)
    budget: PositiveDuration = timedelta(seconds=120)
    full_every: PositiveDuration = timedelta(days=182)
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 7
    keep: Annotated[int, Field(ge=1)] = 30
    device: Literal["cpu", "cuda"] = "cpu"


class Promotion(Section):
    """`[promotion]`."""

    folds: Annotated[int, Field(ge=MIN_ISSUE_TIMES, le=1000)] = 28
    margin: Annotated[float, Field(ge=0, lt=1)] = 0.0


class Coverage(Section):
    """Shares of the actuals that the 80% interval may hold."""

    min: Annotated[float, Field(ge=0, le=1)] = 0.6
    max: Annotated[float, Field(ge=0, le=1)] = 0.95

    @model_validator(mode="after")
    def _around_nominal(self) -> Coverage:
        if not self.min < 0.8 < self.max:
            raise ValueError("min must be below 0.8, which the interval is made to hold, and max above it")
        return self


class Monitoring(Section):
    """`[monitoring]`: what the scores of the last nights are held to; see docs/scores.md."""

    window: PositiveDuration = timedelta(days=28)
    recent: PositiveDuration = timedelta(days=7)
    min_skill: Annotated[float, Field(lt=1)] = 0.0
    coverage: Coverage = Coverage()
    max_bias: Annotated[float, Field(gt=0)] = 1.0
    drift: Annotated[float, Field(gt=0)] = 0.2
    evidence: Annotated[float, Field(ge=0, le=5)] = 2.5
    retrain: bool = True
    metrics: Text | None = None

    @model_validator(mode="after")
    def _nights_enough(self) -> Monitoring:
        if self.window < timedelta(days=14):
            raise ValueError('window must be "14d" or longer: fewer nights tell nothing')
        if self.recent >= self.window:
            raise ValueError("recent must be shorter than window")
        return self

    def limits(self) -> Limits:
        """The same, as the model's room takes it."""
        return Limits(
            self.window, self.recent, self.min_skill, self.coverage.min, self.coverage.max, self.max_bias,
            self.drift, self.evidence,
        )  # fmt: skip


class Forecast(Section):
    """`[forecast]`."""

    providers: Annotated[
        tuple[Literal["cuda", "cpu"], ...],
        Field(min_length=1),
        BeforeValidator(lambda v: tuple(v) if isinstance(v, list) else v),
    ] = ("cpu",)
    strict: bool = False
    deadline: PositiveDuration = timedelta(minutes=10)
    ended_after: PositiveDuration = timedelta(days=28)
    above: Thresholds = ()


class Scale(Section):
    """`[scale]`."""

    engine: Engine = "local"
    shards: Annotated[int, Field(ge=0)] = 0


class Pipeline(Section):
    """One pipeline file, validated. `store` and file uris are absolute from here on."""

    pipeline: PipelineSection
    feed: Annotated[tuple[Feed, ...], BeforeValidator(lambda v: tuple(v) if isinstance(v, list) else v)]
    model: Model = Model()
    training: Training = Training()
    promotion: Promotion = Promotion()
    forecast: Forecast = Forecast()
    monitoring: Monitoring = Monitoring()
    scale: Scale = Scale()

    @model_validator(mode="after")
    def _feeds_fit(self) -> Pipeline:
        names = [feed.name for feed in self.feed]
        if len(set(names)) != len(names):
            raise ValueError("feed names must differ")
        if not any(feed.role == "target" for feed in self.feed):
            raise ValueError('one feed must have role = "target"')
        if len({feed.unit for feed in self.feed if feed.role == "target"}) > 1:
            raise ValueError("the target feeds are one table: give all of them the same unit, or none")
        if self.pipeline.frequency == "1b" and any(feed.resample for feed in self.feed):
            raise ValueError('resample of a feed is for frequency = "15m", "30m", "1h" or "1d", not "1b"')
        covariates = [name for feed in self.feed if feed.role != "target" for name in feed.values]
        for name in covariates:
            owners = [feed for feed in self.feed if feed.role != "target" and name in feed.values]
            if len({feed.role for feed in owners}) > 1:
                raise ValueError(f"covariate {name!r} is known_future in one feed and observed in another")
        return self

    @model_validator(mode="after")
    def _probabilities_can_be_told(self) -> Pipeline:
        try:
            self.check_thresholds_supported(self.forecast.above)
        except ValueError as error:
            raise ValueError(f"forecast.above: {error}") from None
        return self

    def check_thresholds_supported(self, above: tuple[float, ...]) -> None:
        """Raises ValueError where the model has no probabilities and some are asked for."""
        if above and self.model.head != "softmax":
            raise ValueError(f'P(value > x) needs model.head = "softmax", not {self.model.head!r}')

    @property
    def name(self) -> str:
        """The pipeline's name."""
        return self.pipeline.name

    @property
    def grid(self) -> TimeGrid:
        """The grid of the pipeline's periods."""
        at = self.pipeline
        return TimeGrid(at.frequency, at.timezone, at.holidays, at.day_start_micros)

    @property
    def unit(self) -> str | None:
        """The target's unit, if the file says it."""
        return self.feeds("target")[0].unit

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
