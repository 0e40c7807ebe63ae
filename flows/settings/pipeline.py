"""The pipeline: frozen, validated settings, one class per table of the pipeline file."""

from __future__ import annotations

from datetime import datetime, time, timedelta
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import BeforeValidator, ConfigDict, Field, model_validator

from flows.settings.feed import Feed
from flows.settings.types import (
    Days,
    Duration,
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
    duration_text,
    to_tuple,
)
from model.evaluation.alerts import Limits
from model.evaluation.promotion import MIN_ISSUE_TIMES
from model.linear_expert import MOST_SERIES as MOST_LINEAR_SERIES
from model.spec import ModelSpec, segment_steps
from model.timegrid import FREQUENCIES, MINUTE, SUBDAILY, TimeGrid, default_offset

# Load: a day ahead from two weeks. Days: a week ahead from two months. Business days: a week ahead, with a season of
# one step, which makes the baseline a random walk.
_STEPS = {
    "15m": {"horizon": 96, "context": 1344, "season": 672},
    "30m": {"horizon": 48, "context": 672, "season": 336},
    "1h": {"horizon": 24, "context": 336, "season": 168},
    "1d": {"horizon": 7, "context": 56, "season": 7},
    "1b": {"horizon": 5, "context": 60, "season": 1},
}
assert set(_STEPS) == set(FREQUENCIES)
#: Keys whose defaults follow from the frequency.
FREQUENCY_KEYS = frozenset(_STEPS["1h"])
#: Frequencies by other names that users write, in lower case without blanks.
FREQUENCY_NAMES = {
    "15min": "15m", "15t": "15m", "15minutes": "15m", "quarterhourly": "15m", "pt15m": "15m", "30min": "30m",
    "30t": "30m", "30minutes": "30m", "halfhourly": "30m", "pt30m": "30m", "h": "1h", "hour": "1h", "hourly": "1h",
    "60m": "1h", "60min": "1h", "1hour": "1h", "pt1h": "1h", "d": "1d", "day": "1d", "daily": "1d", "24h": "1d",
    "1day": "1d", "p1d": "1d", "b": "1b", "businessdaily": "1b", "businessday": "1b", "businessdays": "1b",
}  # fmt: skip


def _by_frequency(key: str) -> str:
    return "Default: " + ", ".join(f"{steps[key]} ({frequency})" for frequency, steps in _STEPS.items()) + "."


def _allow_default_steps(schema: dict[str, Any]) -> None:
    """Remove the keys that `_STEPS` fills from the required keys of the JSON Schema."""
    schema["required"] = [key for key in schema["required"] if key not in _STEPS["1h"]]


class Bounds(Section):
    """Physical limits of the target, in its unit."""

    min: float | None = Field(default=None, description="Lower limit.", examples=[0.0])
    max: float | None = Field(default=None, description="Upper limit.")

    @model_validator(mode="after")
    def _check_order(self) -> Bounds:
        if self.min is not None and self.max is not None and self.min >= self.max:
            raise ValueError(f"min must be below max, got {self.min:g} and {self.max:g}")
        return self


class PipelineSection(Section):
    """Name, store, time grid and target of the pipeline, `[pipeline]`."""

    model_config = ConfigDict(json_schema_extra=_allow_default_steps)

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,62}$")] = Field(
        description="Name of the pipeline, and of its folders in the store: lower case letters, digits and hyphens.",
        examples=["load"],
    )
    store: StoreUri = Field(
        description="Folder (relative to the pipeline file) or s3://bucket/prefix of history, models and forecasts."
    )
    frequency: Literal["15m", "30m", "1h", "1d", "1b"] = Field(
        description="Length of a period. 1b is a business day of the calendar in `holidays`."
    )
    timezone: Zone = Field(
        default="UTC", description="Time zone of the local day: issue times, calendar covariates and daily periods."
    )
    holidays: Holidays | None = Field(
        default=None,
        description="Code of the holidays library: a country, a subdivision or a financial market. Default: no "
        "holidays.",
    )
    horizon: Steps = Field(description=f"Steps to forecast. {_by_frequency('horizon')}")
    context: Steps = Field(description=f"Past steps that the model receives. {_by_frequency('context')}")
    season: Steps = Field(
        description=f"Steps per season, for the seasonal naive baseline and MASE. {_by_frequency('season')}"
    )
    issue_at: LocalTime = Field(default=time(0), description="Local time of day of the issue time.")
    day_start: LocalTime = Field(
        default=time(0), description='Local time at which a period of "1d" begins, such as "06:00" for gas days.'
    )
    grid_offset: Duration | None = Field(
        default=None,
        description='Time from a whole hour of UTC to the start of a period: "30m" for hours of India. Default: by '
        'timezone, so that periods begin with its hours. "0m": with those of UTC.',
    )
    quantile_levels: Levels = Field(
        default=tuple(round(0.1 * i, 1) for i in range(1, 10)),
        description="Levels of the quantiles to forecast, ascending. 0.5 is required.",
    )
    bounds: Bounds = Field(default=Bounds(), description="Physical limits of the target, in its unit.")

    @model_validator(mode="after")
    def _check_day_start(self) -> PipelineSection:
        if self.day_start != time(0) and self.frequency != "1d":
            raise ValueError(f'day_start is for frequency = "1d", not {self.frequency!r}')
        return self

    @model_validator(mode="after")
    def _check_grid_offset(self) -> PipelineSection:
        step = SUBDAILY.get(self.frequency)
        if self.grid_offset is None:
            return self
        if step is None:
            raise ValueError(f'grid_offset is for frequency = "15m", "30m" or "1h", not {self.frequency!r}')
        if not 0 <= self.grid_offset_micros < step or self.grid_offset_micros % (5 * MINUTE):
            text = duration_text(self.grid_offset)
            raise ValueError(f"grid_offset must be whole five minutes, shorter than a period, got {text!r}")
        return self

    @property
    def grid_offset_micros(self) -> int:
        """Microseconds from a whole period of UTC to the start of a period."""
        if self.grid_offset is None:
            return default_offset(self.frequency, self.timezone)
        return self.grid_offset // timedelta(microseconds=1)

    @property
    def day_start_micros(self) -> int:
        """Start of the day in microseconds after midnight."""
        return (self.day_start.hour * 60 + self.day_start.minute) * 60_000_000

    @model_validator(mode="before")
    @classmethod
    def _fill_steps(cls, values: Any) -> Any:
        """Fill in the horizon, context and season that the file leaves out, by the frequency."""
        if isinstance(values, dict):
            defaults = _STEPS.get(str(values.get("frequency")), {})
            values = {**defaults, **values}
        return values


class Model(Section):
    """Size and type of the network, `[model]`."""

    head: Literal["quantile", "softmax"] = Field(
        default="quantile",
        description="Output of the network: quantiles, or probabilities over bins, from which quantiles follow.",
    )
    hidden_size: Annotated[int, Field(ge=1, le=4096)] = Field(default=64, description="Units of a recurrent layer.")
    layers: Annotated[int, Field(ge=1, le=8)] = Field(default=1, description="Recurrent layers.")
    members: Annotated[int, Field(ge=1, le=64)] = Field(
        default=1,
        description="Ensemble members inside the one ONNX file, whose quantiles are averaged. Each training fits one "
        "of them in turn; the first one fits as many as its budget allows.",
    )
    linear: bool = Field(
        default=True,
        description="Whether a linear expert per series stands beside the network, which corrects its forecast. Not "
        "for markets, and for at most 64 series.",
    )
    cell: Literal["lstm", "rnn"] = Field(
        default="lstm", description="Recurrent cell. rnn is for comparison with lstm only."
    )


class Training(Section):
    """Time, data and resources of a training, `[training]`."""

    every: PositiveDuration = Field(
        default=timedelta(days=1), description="Age of the newest model at which a nightly run trains again."
    )
    window: TrainingWindow = Field(default=timedelta(days=730), description='History to fit on; "all" for everything.')
    budget: PositiveDuration = Field(
        default=timedelta(seconds=120),
        description="Longest wall-clock time of the fits of one training. The first training of a model "
        "shape also exports its graph in another process, about a minute of CPU.",
    )
    max_updates: Annotated[int, Field(ge=1)] = Field(
        default=3000,
        description="Most updates (optimiser steps) of one ensemble member. If the budget does not end the fits first, "
        "the speed of the machine does not matter.",
    )
    full_every: PositiveDuration = Field(
        default=timedelta(days=182),
        description="Time after which an ensemble member is fitted from random weights instead of a warm start.",
    )
    exclude: Annotated[tuple[Days, ...], BeforeValidator(to_tuple)] = Field(
        default=(),
        description="Local days, both ends included, that no target of a training window may touch, such as a "
        "lockdown. The windows for early stopping and the comparison of models remain.",
        examples=[["2020-03-15/2020-06-30"]],
    )
    half_life: PositiveDuration | None = Field(
        default=None,
        description="Age at which a training window is drawn half as often as a new one. Default: all are drawn "
        "equally often.",
        examples=["365d"],
    )
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = Field(
        default=7, description="Seed of all random numbers. The same data and seed give the same model."
    )
    keep: Annotated[int, Field(ge=1)] = Field(
        default=30,
        description="Newest models whose ONNX files are kept. The champion, its predecessor and all manifests always "
        "are.",
    )
    device: Literal["cpu", "cuda"] = Field(default="cpu", description="Device that fits the network.")


class Promotion(Section):
    """Comparison of a challenger with the champion and the baseline, `[promotion]`."""

    folds: Annotated[int, Field(ge=MIN_ISSUE_TIMES, le=1000)] = Field(
        default=28, description="Held-out issue times, unseen by either model, on which models are compared."
    )
    margin: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.0, description="Relative improvement of the pinball loss that a challenger needs."
    )


class Coverage(Section):
    """Allowed shares of actuals inside the 80% interval."""

    min: Annotated[float, Field(ge=0, le=1)] = Field(default=0.6, description="Smallest share.")
    max: Annotated[float, Field(ge=0, le=1)] = Field(default=0.95, description="Largest share.")

    @model_validator(mode="after")
    def _check_around_nominal(self) -> Coverage:
        if not self.min < 0.8 < self.max:
            raise ValueError(
                f"min must be below 0.8, the nominal coverage, and max above it, got {self.min:g} and {self.max:g}"
            )
        return self


class Monitoring(Section):
    """Limits of the scores of the last issue times, `[monitoring]`. docs/scores.md explains the checks."""

    window: PositiveDuration = Field(
        default=timedelta(days=28), description="Time before the newest scored issue time that is checked; 14d or more."
    )
    recent: PositiveDuration = Field(
        default=timedelta(days=7),
        description="Newest part of the window, which the drift check compares with the time before. Also the "
        "shortest time between two retrains because of decay.",
    )
    min_skill: Annotated[float, Field(lt=1)] = Field(
        default=0.0, description="Smallest skill, 1 - pinball / baseline pinball. -inf disables the check."
    )
    coverage: Coverage = Field(default=Coverage(), description="Allowed shares of actuals inside the 80% interval.")
    max_bias: Annotated[float, Field(gt=0)] = Field(
        default=1.0, description="Largest absolute bias, in seasonal naive errors. inf disables the check."
    )
    drift: Annotated[float, Field(gt=0)] = Field(
        default=0.2, description="Largest fall of the recent skill below the earlier skill. inf disables the check."
    )
    evidence: Annotated[float, Field(ge=0, le=5)] = Field(
        default=2.5, description="Standard errors by which a score must exceed its limit before an alert is raised."
    )
    retrain: bool = Field(default=True, description="Whether an alert of skill or drift makes a retrain due.")
    metrics: Text | None = Field(
        default=None,
        description="Folder for the metrics of a run, such as that of a node exporter. Default: the store.",
    )
    reports_url: Annotated[str, Field(pattern=r"^https?://\S+$")] | None = Field(
        default=None,
        description="Address at which a web server offers the folder `reports` of the store. Prefect links to it.",
        examples=["https://forecasts.example.com/reports"],
    )

    @model_validator(mode="after")
    def _check_windows(self) -> Monitoring:
        if self.window < timedelta(days=14):
            raise ValueError('window must be "14d" or longer, because fewer issue times are too little evidence')
        if self.recent >= self.window:
            raise ValueError("recent must be shorter than window")
        return self

    def limits(self) -> Limits:
        """Return the limits in the form that the checks of scores take."""
        return Limits(
            self.window, self.recent, self.min_skill, self.coverage.min, self.coverage.max, self.max_bias,
            self.drift, self.evidence,
        )  # fmt: skip


class Forecast(Section):
    """Execution and content of a forecast, `[forecast]`."""

    providers: Annotated[
        tuple[Literal["cuda", "cpu"], ...], Field(min_length=1), BeforeValidator(to_tuple)
    ] = Field(
        default=("cpu",),
        description="Execution providers of ONNX Runtime by preference. Unavailable ones are skipped with a warning.",
    )  # fmt: skip
    strict: bool = Field(
        default=False, description="Whether it is an error that the model does not run on the first provider."
    )
    deadline: PositiveDuration = Field(
        default=timedelta(minutes=10),
        description="Time from the start of a nightly run until the forecast must be published. Rows still missing "
        "then come from the baseline.",
    )
    on_failure: Literal["baseline", "error"] = Field(
        default="baseline",
        description="What to do if no model can forecast a series that has enough values: publish the baseline for it, "
        "or publish nothing (exit status 1).",
    )
    ended_after: PositiveDuration = Field(
        default=timedelta(days=28),
        description="Time without values after which a series is not forecast any more, while others have values.",
    )
    above: Thresholds = Field(
        default=(),
        description='Values x whose probability P(value > x) is a column of the forecast file; needs head = "softmax".',
        examples=[[30000, 35000.5]],
    )
    samples: Annotated[int, Field(ge=0, le=10_000)] = Field(
        default=0,
        description="Sample paths of each series to write beside the forecast, for sums, peaks and hours above a "
        "threshold (docs/store.md). 0: none.",
        examples=[100],
    )


class Scale(Section):
    """Distribution of the forecast over processes and machines, `[scale]`."""

    engine: Engine = Field(
        default="local",
        description="Processes that forecast: local, dask (a cluster on this machine) or the address of a Dask "
        "scheduler.",
    )
    shards: Annotated[int, Field(ge=0)] = Field(
        default=0, description="Shards of series, each one task. 0: by the number of series."
    )


class Pipeline(Section):
    """A validated pipeline file. The store and the uris of files are absolute."""

    pipeline: PipelineSection
    feed: Annotated[tuple[Feed, ...], BeforeValidator(to_tuple)]
    model: Model = Model()
    training: Training = Training()
    promotion: Promotion = Promotion()
    forecast: Forecast = Forecast()
    monitoring: Monitoring = Monitoring()
    scale: Scale = Scale()

    @model_validator(mode="after")
    def _check_feeds(self) -> Pipeline:
        names = [feed.name for feed in self.feed]
        if len(set(names)) != len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise ValueError(f"feed names must differ, but two feeds have the name {twice!r}. Rename one")
        if not any(feed.role == "target" for feed in self.feed):
            raise ValueError('one feed must have role = "target"')
        if len({feed.unit for feed in self.feed if feed.role == "target"}) > 1:
            raise ValueError("all target feeds must have the same unit, or none, because they form one table")
        if self.pipeline.frequency == "1b" and any(feed.resample for feed in self.feed):
            raise ValueError('resample of a feed is for frequency = "15m", "30m", "1h" or "1d", not "1b"')
        if self.pipeline.frequency not in ("15m", "30m") and any(feed.upsample for feed in self.feed):
            raise ValueError(f'upsample of a feed is for frequency = "15m" or "30m", not "{self.pipeline.frequency}"')
        covariates = [name for feed in self.feed if feed.role != "target" for name in feed.values]
        for name in covariates:
            owners = [feed for feed in self.feed if feed.role != "target" and name in feed.values]
            if len({feed.role for feed in owners}) > 1:
                raise ValueError(f"covariate {name!r} is known_future in one feed and observed in another")
        return self

    @model_validator(mode="after")
    def _check_above(self) -> Pipeline:
        try:
            self.check_thresholds_supported(self.forecast.above)
        except ValueError as error:
            raise ValueError(f"forecast.above: {error}") from None
        return self

    def check_thresholds_supported(self, above: tuple[float, ...]) -> None:
        """Check that the model has probabilities if there are thresholds.

        Raises:
            ValueError: If there are thresholds and the head is not softmax.
        """
        if above and self.model.head != "softmax":
            raise ValueError(f'P(value > x) needs model.head = "softmax", not {self.model.head!r}')

    @property
    def name(self) -> str:
        """Name of the pipeline."""
        return self.pipeline.name

    @property
    def grid(self) -> TimeGrid:
        """Grid of the pipeline's periods."""
        at = self.pipeline
        return TimeGrid(at.frequency, at.timezone, at.holidays, at.day_start_micros, at.grid_offset_micros)

    @property
    def unit(self) -> str | None:
        """Unit of the target, None if the file has none."""
        return self.feeds("target")[0].unit

    def local_text(self, instant: datetime) -> str:
        """Return an instant for messages, as local time with its offset: 2018-09-01T00:00+02:00."""
        return instant.astimezone(ZoneInfo(self.pipeline.timezone)).isoformat(timespec="minutes")

    def feeds(self, role: str) -> list[Feed]:
        """Return the feeds of one role, in the order of the file."""
        return [feed for feed in self.feed if feed.role == role]

    def covariates(self, role: str) -> tuple[str, ...]:
        """Return the names of the covariates of a role, each once."""
        return tuple(dict.fromkeys(name for feed in self.feeds(role) for name in feed.values))

    def spec(self, series: tuple[str, ...] = ()) -> ModelSpec:
        """Return the specification of this pipeline's model for `series`."""
        at, model = self.pipeline, self.model
        return ModelSpec(
            frequency=at.frequency, timezone=at.timezone, holidays=at.holidays, horizon=at.horizon,
            context=at.context, season=at.season, segment=segment_steps(at.frequency, at.context),
            levels=at.quantile_levels, lower=at.bounds.min, upper=at.bounds.max,
            known_future=self.covariates("known_future"), observed=self.covariates("observed"),
            head=model.head, cell=model.cell, hidden_size=model.hidden_size, layers=model.layers,
            members=model.members, day_start=at.day_start_micros, series=series,
            grid_offset=at.grid_offset_micros,
            linear=model.linear and at.season > 1 and 0 < len(series) <= MOST_LINEAR_SERIES,
        )  # fmt: skip
