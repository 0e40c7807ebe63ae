"""Curves of the report page from the store: actuals, past forecasts, covariates and holidays around one forecast."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl

from flows.page.page_data import InputCurves
from flows.settings.pipeline import Pipeline
from flows.stages.advisory_steps import AdvisorySteps
from flows.stages.panels import to_micros, visible_panel, visible_target
from model.panel import Channel
from model.timegrid import holiday_calendar
from storage.schemas import quantile_column
from storage.store import Store

# Steps shown before the newest issue time: about four weeks of days, else two days.
_STEPS_BACK = {"1d": 28, "1b": 20}
_DAYS_BACK = 2
_PAST_DAYS = 7  # days of past forecasts of hours or shorter periods
_PAST_ISSUES = 28  # past forecasts of daily pipelines
_MAX_INPUT_SERIES = 200  # series with their own covariates on the page, the largest first


class Actuals(NamedTuple):
    """Target as known when the page is made.

    Attributes:
        first_step: Step number of the first column of `values`.
        values: From before the issue time to the end of the horizon, shape (S, N).
        past_first_step: Step number of the first column of `past`.
        past: Values before the issue time, as far back as past forecasts are drawn, shape (S, M).
        last_week: Values a week before each period of the horizon, shape (S, H).
    """

    first_step: int = 0
    values: np.ndarray = np.empty((0, 0), np.float32)
    past_first_step: int = 0
    past: np.ndarray = np.empty((0, 0), np.float32)
    last_week: np.ndarray = np.empty((0, 0), np.float32)


def read_actuals(
    settings: Pipeline,
    store: Store,
    series: tuple[str, ...],
    issue_time: datetime,
    now: datetime,
    steps: AdvisorySteps,
) -> Actuals:
    """Read the target around the forecast of `issue_time`, as known at `now`, NaN if it cannot be read."""
    grid, horizon = settings.grid, settings.pipeline.horizon
    begin = grid.first_step(to_micros(issue_time))
    first = begin - max(_STEPS_BACK.get(settings.pipeline.frequency, _DAYS_BACK * grid.steps_per_day), horizon)
    past = begin - max(_STEPS_BACK.get(settings.pipeline.frequency, _PAST_DAYS * grid.steps_per_day), horizon)
    local = issue_time.astimezone(ZoneInfo(settings.pipeline.timezone))
    week = grid.first_step(to_micros(local - timedelta(days=7)))
    oldest = min(first, past, week)
    count = begin + horizon - oldest
    values = steps.run(
        "actuals",
        lambda: visible_target(settings, store, series, now, oldest, count),
        np.full((len(series), count), np.nan, np.float32),
    )
    return Actuals(
        first_step=first,
        values=values[:, first - oldest :],
        past_first_step=past,
        past=values[:, past - oldest : begin - oldest],
        last_week=values[:, week - oldest : week - oldest + horizon],
    )


def past_forecasts(settings: Pipeline, tables: list[pl.DataFrame]) -> pl.DataFrame:
    """Return the rows of the last forecasts that are compared with actuals.

    Args:
        settings: Settings of the pipeline.
        tables: Forecasts, oldest first.
    """
    is_daily = settings.pipeline.frequency in _STEPS_BACK
    levels = settings.pipeline.quantile_levels
    names = [quantile_column(level) for level in (levels[0], 0.5, levels[-1])]
    columns = list(dict.fromkeys(["issue_time", "series_id", "valid_time", "step", *names]))
    known = [table.select(columns) for table in tables if set(columns) <= set(table.columns)]
    if not known:
        return pl.DataFrame()
    if is_daily:
        return pl.concat(known[-_PAST_ISSUES - 1 :])
    newest: datetime = known[-1]["issue_time"][0]
    since = newest - timedelta(days=_PAST_DAYS + 1)
    return pl.concat(table for table in known if table["issue_time"][0] >= since)


def read_inputs(
    settings: Pipeline, store: Store, latest: pl.DataFrame, first_step: int, columns: int
) -> tuple[InputCurves, ...]:
    """Return the covariates that are known for the horizon, as of the issue time of the forecast `latest`."""
    if not settings.covariates("known_future"):
        return ()
    issue_time: datetime = latest["issue_time"][0]
    series = tuple(latest["series_id"].unique().sort())
    size = pl.col("q50").abs().mean()
    largest = latest.group_by("series_id").agg(size).sort("q50", "series_id", descending=[True, False])
    chosen = tuple(sorted(largest["series_id"].head(_MAX_INPUT_SERIES).to_list()))
    panel = visible_panel(settings, store, chosen, issue_time, first_step, columns)
    row_of = {series_id: row for row, series_id in enumerate(series)}
    rows = [row_of[series_id] for series_id in chosen]
    curves = [_input_curves(channel, rows, columns, to_micros(issue_time)) for channel in panel.known_future]
    return tuple(curve for curve in curves if np.isfinite(curve.values).any())


def _input_curves(channel: Channel, rows: list[int], columns: int, issue: int) -> InputCurves:
    count = len(channel.layers[0].values)
    at = np.arange(count)
    values = channel.as_of(at, np.zeros_like(at), columns, np.full(count, issue))
    is_shared = count == 1 and len(rows) != 1
    return InputCurves(channel.name, None if is_shared else {row: i for i, row in enumerate(rows)}, values)


def holiday_names(settings: Pipeline, first_step: int, columns: int) -> dict[date, str]:
    """Return the names of the holidays on the local days of the columns."""
    code = settings.pipeline.holidays
    if code is None or not columns:
        return {}
    days = np.unique(settings.grid.dates(first_step + np.arange(columns))).tolist()
    calendar = holiday_calendar(code, range(days[0].year, days[-1].year + 1))
    return {day: str(calendar[day]) for day in days if day in calendar}
