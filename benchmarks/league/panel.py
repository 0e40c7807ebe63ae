"""A task as dense arrays: the input of every forecaster except Gatecast, and the actuals of all."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import polars as pl

from benchmarks.league.tasks import Task
from model.calendar import CALENDAR, calendar_covariates
from model.timegrid import TimeGrid, day_starts

LEVELS = np.round(np.arange(0.1, 0.95, 0.1), 1)


@dataclass(frozen=True)
class Panel:
    """S series over N steps, with I issue times.

    Attributes:
        task: The task.
        grid: Time grid of the pipeline.
        series: Ids of the S series.
        first: Step of column 0 on the pipeline's grid.
        target: Values of shape (S, N), NaN where there is none.
        known: Covariates known in advance, shape (S, N, F). The calendar covariates that Gatecast uses come last.
        names: Names of the F covariates.
        issues: Issue times in microseconds, shape (I,).
        origins: Column of the first forecast step, shape (I,). All columns before it are known at the issue time.
    """

    task: Task
    grid: TimeGrid
    series: tuple[str, ...]
    first: int
    target: np.ndarray
    known: np.ndarray
    names: tuple[str, ...]
    issues: np.ndarray
    origins: np.ndarray

    @property
    def horizon(self) -> int:
        """Steps of one forecast."""
        return int(self.task.pipeline_table["horizon"])

    @property
    def context(self) -> int:
        """Steps of a network's context."""
        return int(self.task.pipeline_table["context"])

    @property
    def season(self) -> int:
        """Steps per season."""
        return int(self.task.pipeline_table["season"])

    @property
    def daily_origins(self) -> np.ndarray:
        """Columns of possible origins before the test period, one per day, ascending."""
        start = self.origins[0] % self.grid.steps_per_day
        return np.arange(start, self.origins[0], self.grid.steps_per_day)

    def actual(self) -> np.ndarray:
        """Return the actuals, shape (S, I, H), NaN where unknown and where the task does not score the step."""
        values: np.ndarray = self.target[:, self.origins[:, None] + np.arange(self.horizon)]
        values[..., : self.task.unscored] = np.nan
        return values

    def scale(self) -> np.ndarray:
        """Return the MAE of the seasonal naive before the test period, shape (S,). Losses are divided by it."""
        past = self.target[:, : self.origins[0]]
        mean: np.ndarray = np.nanmean(np.abs(past[:, self.season :] - past[:, : -self.season]), axis=1)
        return mean

    def filled(self) -> np.ndarray:
        """Return the target, shape (S, N), with each gap filled by the last value before it."""
        columns = np.where(np.isnan(self.target), -1, np.arange(self.target.shape[1]))
        last = np.maximum.accumulate(columns, axis=1)
        return np.where(last < 0, np.nan, np.take_along_axis(self.target, np.maximum(last, 0), axis=1))


def load_panel(task: Task, last: int | None = None) -> Panel:
    """Return the arrays of a prepared task.

    Args:
        task: The task.
        last: Number of issue times at the end of the test period, or None for all.
    """
    settings = task.pipeline_table
    grid = _grid(task)
    tables = [_spread(pl.read_parquet(path), grid) for path in task.table_paths()]
    steps = [_steps(grid, table) for table in tables]
    target, on_grid = tables[0], steps[0] >= 0
    target, target_steps = target.filter(pl.Series(on_grid)), steps[0][on_grid]
    first, count = int(target_steps.min()), int(target_steps.max() - target_steps.min()) + 1
    series = tuple(target["series_id"].unique().sort())
    row = target["series_id"].replace_strict(series, range(len(series))).to_numpy()
    values = np.full((len(series), count), np.nan)
    values[row, target_steps - first] = target["y"].to_numpy()
    known = np.full((len(series), count, len(task.covariates)), np.nan)
    for table, step in zip(tables[1:], steps[1:], strict=True):
        inside = (step >= first) & (step < first + count)
        cells = table.select(task.covariates).to_numpy()[inside]
        if "series_id" in table.columns:
            owner = table["series_id"].replace_strict(series, range(len(series))).to_numpy()[inside]
            known[owner, step[inside] - first] = cells
        else:
            known[:, step[inside] - first] = cells
    calendar = calendar_covariates(grid, first + np.arange(count))
    known = np.concatenate([known, np.broadcast_to(calendar, (len(series), *calendar.shape))], axis=2)
    days = np.array(issue_days(task, last), "datetime64[D]")
    issues = day_starts(days, settings["timezone"], _microseconds(settings["issue_at"]))
    origins = np.array([grid.first_step(int(issue)) for issue in issues]) - first
    names = (*task.covariates, *CALENDAR)
    return Panel(task, grid, series, first, values, known, names, issues, origins)


def issue_days(task: Task, last: int | None = None) -> list[date]:
    """Return the local days of all issue times, or of the `last` ones."""
    grid = _grid(task)
    start, end = date.fromisoformat(task.start), date.fromisoformat(task.end)
    days = np.arange(np.datetime64(start), np.datetime64(end + timedelta(days=1)))
    selected: list[date] = days[grid.is_period_date(days)].tolist()
    return selected[-last:] if last else selected


def _spread(table: pl.DataFrame, grid: TimeGrid) -> pl.DataFrame:
    """Return a table with one row per step: each longer period is repeated, as `upsample` of a feed does."""
    if "minutes" not in table.columns or grid.step is None:
        return table
    minutes = grid.step // 60_000_000
    parts = table.with_columns(part=pl.int_ranges(0, pl.col("minutes") // minutes)).explode("part")
    return parts.with_columns(pl.col("ds") + minutes * pl.duration(minutes=pl.col("part"))).drop("minutes", "part")


def _grid(task: Task) -> TimeGrid:
    settings = task.pipeline_table
    day_start = _microseconds(settings.get("day_start", "00:00"))
    return TimeGrid(settings["frequency"], settings["timezone"], settings.get("holidays"), day_start)


def _microseconds(time_of_day: str) -> int:
    hours, minutes = time_of_day.split(":")
    return (60 * int(hours) + int(minutes)) * 60_000_000


def data_hash(task: Task) -> str:
    """Return a hash of the prepared tables and of the pipeline file's `[pipeline]` table."""
    digest = hashlib.sha256(repr(sorted(task.pipeline_table.items())).encode())
    for path in task.table_paths():
        digest.update(pl.read_parquet(path).write_csv().encode())
    return digest.hexdigest()[:16]


def _steps(grid: TimeGrid, table: pl.DataFrame) -> np.ndarray:
    """Return the step of each row, -1 where the row is off the grid (a close on a holiday)."""
    if grid.step:
        steps: np.ndarray = table["ds"].dt.epoch("us").to_numpy() // grid.step
        return steps
    days = table["ds"].dt.date().to_numpy().astype("datetime64[D]")
    return np.where(grid.is_period_date(days), grid.index(day_starts(days, grid.timezone, grid.day_start)), -1)
