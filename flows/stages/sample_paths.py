"""Sample paths of a published forecast, in the order of its errors in the past.

Errors are those of earlier forecasts, with the actuals known at the issue time. A series with too few of them follows
the order of its own values on past days.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from datetime import datetime
from functools import partial
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl

from flows.settings.pipeline import Pipeline
from flows.stages.panels import to_micros, visible_target
from model.sample_paths import Floats, choose_templates, shuffle, spread_quantiles
from storage import forecasts, sample_paths
from storage.schemas import INSTANT, quantile_column, quantile_levels
from storage.schemas.attempts import attempt
from storage.store import Store

logger = logging.getLogger(__name__)

_FEWEST_ERRORS = 20  # complete issue times; fewer say too little about the order
_FEWEST_DAYS = 2
_BATCH_VALUES = 2_000_000  # sampled values in memory at once


class _OutOfTime(Exception):
    """No time is left before the deadline."""


def write_sample_paths(
    settings: Pipeline, store: Store, issue_time: datetime, has_time: Callable[[], bool]
) -> str | None:
    """Write the sample paths of a published forecast and return their uri, None if no time is left.

    Without new paths, those of an earlier forecast of this issue time are removed.

    Args:
        settings: Settings of the pipeline.
        store: Store of the pipeline.
        issue_time: Issue time of the forecast.
        has_time: Function that returns False once no time is left.
    """
    name, timezone = settings.name, settings.pipeline.timezone
    try:
        rows, _ = forecasts.read(store, name, timezone, issue_time)
        dependence = {"errors": 0, "days": 0, "none": 0}
        blocks = _blocks(settings, store, issue_time, rows, has_time, dependence)
        return sample_paths.write(store, name, timezone, issue_time, blocks, dependence)
    except _OutOfTime:
        logger.warning("No time was left for sample paths. The forecast is published without them.")
        sample_paths.remove(store, name, timezone, issue_time)
        return None
    except BaseException:
        attempt(partial(sample_paths.remove, store, name, timezone, issue_time))
        raise


def _blocks(
    settings: Pipeline,
    store: Store,
    issue_time: datetime,
    rows: pl.DataFrame,
    has_time: Callable[[], bool],
    dependence: dict[str, int],
) -> Iterator[pl.DataFrame]:
    """Yield the sample paths of a few series at a time, and count the series in `dependence`."""
    horizon, count = settings.pipeline.horizon, settings.forecast.samples
    levels = quantile_levels(rows.columns)
    issue_times = _earlier_issue_times(settings, store, issue_time)
    size = max(1, _BATCH_VALUES // (horizon * count))
    for batch in rows.iter_slices(size * horizon):
        if not has_time():
            raise _OutOfTime
        series = tuple(batch["series_id"].gather_every(horizon))
        quantiles = batch.select(map(quantile_column, levels)).to_numpy().reshape(len(series), horizon, -1)
        values = spread_quantiles(quantiles, np.array(levels), count)
        values = np.clip(values, settings.pipeline.bounds.min, settings.pipeline.bounds.max)
        errors = _past_errors(settings, store, series, issue_time, issue_times)
        templates = _templates(settings, store, issue_time, series, errors, dependence)
        yield _table(batch, shuffle(values, templates))


def _earlier_issue_times(settings: Pipeline, store: Store, issue_time: datetime) -> list[datetime]:
    """Return the newest earlier issue times of the same local time whose horizon has ended, newest first."""
    zone, grid, horizon = ZoneInfo(settings.pipeline.timezone), settings.grid, settings.pipeline.horizon
    at = issue_time.astimezone(zone).time()
    last = grid.first_step(to_micros(issue_time)) - horizon
    earlier = [
        time
        for time in reversed(forecasts.list_issue_times(store, settings.name))
        if time < issue_time and time.astimezone(zone).time() == at and grid.first_step(to_micros(time)) <= last
    ]
    return earlier[: max(settings.forecast.samples, _FEWEST_ERRORS)]


def _past_errors(
    settings: Pipeline, store: Store, series: tuple[str, ...], issue_time: datetime, issue_times: list[datetime]
) -> Floats:
    """Return actual minus median of M earlier forecasts as known at `issue_time`, shape (S, M, H), NaN if unknown."""
    horizon, grid = settings.pipeline.horizon, settings.grid
    errors = np.full((len(series), len(issue_times), horizon), np.nan)
    if not issue_times:
        return errors
    first_steps = np.array([grid.first_step(to_micros(time)) for time in issue_times])
    begin = int(first_steps.min())
    span = int(first_steps.max()) - begin + horizon
    actuals = visible_target(settings, store, series, issue_time, begin, span)
    rows = forecasts.read_medians(
        store, settings.name, settings.pipeline.timezone, issue_times, (series[0], series[-1])
    )
    numbers = {name: number for number, name in enumerate(series)}
    orders = pl.DataFrame(
        {"issue_time": issue_times, "order": range(len(issue_times))}, schema={"issue_time": INSTANT, "order": pl.Int64}
    )
    rows = rows.join(orders, on="issue_time").with_columns(
        pl.col("series_id").replace_strict(numbers, default=None, return_dtype=pl.Int64)
    )
    rows = rows.filter(pl.col("series_id").is_not_null(), pl.col("step") <= horizon)
    series_number, order, step = (rows[name].to_numpy().astype(np.int64) for name in ("series_id", "order", "step"))
    column = first_steps[order] + step - 1
    # A forecast that was made with other settings may have periods of another grid.
    is_on_grid = grid.start(column) == rows["valid_time"].dt.epoch("us").to_numpy()
    series_number, order, step, column = (part[is_on_grid] for part in (series_number, order, step, column))
    medians = rows["q50"].to_numpy()[is_on_grid]
    errors[series_number, order, step - 1] = actuals[series_number, column - begin] - medians
    return errors


def _templates(
    settings: Pipeline,
    store: Store,
    issue_time: datetime,
    series: tuple[str, ...],
    errors: Floats,
    dependence: dict[str, int],
) -> Floats:
    """Return a past course for each series and path, shape (S, N, H).

    They are errors, else values of past days. For a series with neither they are equal, so that path k has the k-th
    smallest value at every step.
    """
    count, horizon = settings.forecast.samples, settings.pipeline.horizon
    templates = np.zeros((len(series), count, horizon))
    chosen = [choose_templates(courses, count, _FEWEST_ERRORS) for courses in errors]
    if any(courses is None for courses in chosen):
        values = _past_days(settings, store, series, issue_time)
    for row, courses in enumerate(chosen):
        source = "errors"
        if courses is None:
            source, courses = "days", choose_templates(values[row], count, _FEWEST_DAYS)
        if courses is None:
            source, courses = "none", templates[row]
        dependence[source] += 1
        templates[row] = courses
    return templates


def _past_days(settings: Pipeline, store: Store, series: tuple[str, ...], issue_time: datetime) -> Floats:
    """Return the target in the windows of the horizon's length before the issue time, shape (S, M, H), newest first.

    The windows begin whole days before the forecast, those of daily and business-daily grids whole seasons.
    """
    horizon, grid = settings.pipeline.horizon, settings.grid
    shift = grid.steps_per_day if grid.step else settings.pipeline.season
    first = grid.first_step(to_micros(issue_time))
    back = shift * (-(-horizon // shift) + np.arange(settings.forecast.samples))
    begin = first - int(back[-1])
    values = visible_target(settings, store, series, issue_time, begin, first - begin)
    columns = (first - back - begin)[:, None] + np.arange(horizon)
    windows: Floats = values[:, columns].astype(np.float64)
    return windows


def _table(rows: pl.DataFrame, paths: Floats) -> pl.DataFrame:
    """Return the paths, shape (S, N, H), of S series as rows sorted by series_id, sample and valid_time.

    Args:
        rows: Forecast rows of the series, H rows each.
        paths: Sample paths.
    """
    count, horizon = paths.shape[1:]
    series = np.arange(len(paths))[:, None, None] * horizon
    row = np.broadcast_to(series + np.arange(horizon), paths.shape).reshape(-1)
    sample = np.broadcast_to(np.arange(1, count + 1)[:, None], paths.shape).reshape(-1)
    keys = rows.select("series_id", "issue_time", "valid_time", "step")[row]
    return keys.with_columns(sample=pl.Series(sample), value=pl.Series(paths.reshape(-1)))
