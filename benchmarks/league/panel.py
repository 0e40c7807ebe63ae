"""A task as dense arrays: what every forecaster but Gatecast is given, and what all are judged by."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import polars as pl

from benchmarks.league.tasks import Task
from model.calendar import CALENDAR, calendar_covariates
from model.timegrid import TimeGrid, midnights

LEVELS = np.round(np.arange(0.1, 0.95, 0.1), 1)


@dataclass(frozen=True)
class Panel:
    """S series over N steps; I issue times.

    Attributes:
        first: number of the first step (column 0) on the pipeline's grid.
        target: (S, N), NaN where no value is.
        known: (N, F) covariates known in advance, the calendar's (as Gatecast has them) last.
        names: (F,) names of the columns of `known`.
        issues: (I,) instants, us.
        origins: (I,) column of the first step forecast; all columns before it are known at the issue time.
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
        """Steps forecast."""
        return int(self.task.pipeline["horizon"])

    @property
    def context(self) -> int:
        """Steps that a network sees."""
        return int(self.task.pipeline["context"])

    @property
    def season(self) -> int:
        """Steps per season."""
        return int(self.task.pipeline["season"])

    @property
    def daily(self) -> np.ndarray:
        """Columns at which a forecast could have been issued before the test period, one a day, ascending."""
        start = self.origins[0] % self.grid.steps_per_day
        return np.arange(start, self.origins[0], self.grid.steps_per_day)

    def actual(self) -> np.ndarray:
        """(S, I, H) what came true, NaN where it is not known."""
        return self.target[:, self.origins[:, None] + np.arange(self.horizon)]

    def scale(self) -> np.ndarray:
        """(S,) MAE of the seasonal naive before the test period: what losses of a series are divided by."""
        past = self.target[:, : self.origins[0]]
        return np.nanmean(np.abs(past[:, self.season :] - past[:, : -self.season]), axis=1)

    def filled(self) -> np.ndarray:
        """(S, N) the target with its holes filled by the last value before: never by a later one."""
        seen = np.where(np.isnan(self.target), -1, np.arange(self.target.shape[1]))
        last = np.maximum.accumulate(seen, axis=1)
        return np.where(last < 0, np.nan, np.take_along_axis(self.target, np.maximum(last, 0), axis=1))


def load(task: Task, last: int | None = None) -> Panel:
    """The arrays of a prepared task.

    Args:
        last: only so many of the last issue times.
    """
    at = task.pipeline
    grid = TimeGrid(at["frequency"], at["timezone"], at["holidays"])
    tables = [pl.read_parquet(path) for path in task.tables()]
    steps = [_steps(grid, table) for table in tables]
    target, on_grid = tables[0], steps[0] >= 0
    target, at_step = target.filter(pl.Series(on_grid)), steps[0][on_grid]
    first, count = int(at_step.min()), int(at_step.max() - at_step.min()) + 1
    series = tuple(target["series_id"].unique().sort())
    row = target["series_id"].replace_strict(series, range(len(series))).to_numpy()
    values = np.full((len(series), count), np.nan)
    values[row, at_step - first] = target["y"].to_numpy()
    known = np.full((count, len(task.covariates)), np.nan)
    for table, step in zip(tables[1:], steps[1:], strict=True):
        inside = (step >= first) & (step < first + count)
        known[step[inside] - first] = table.select(task.covariates).to_numpy()[inside]
    known = np.concatenate([known, calendar_covariates(grid, first + np.arange(count))], axis=1)
    days = np.array(issue_days(task, last), "datetime64[D]")
    issues = midnights(days, at["timezone"])
    origins = np.array([grid.first_step(int(issue)) for issue in issues]) - first
    names = (*task.covariates, *CALENDAR)
    return Panel(task, grid, series, first, values, known, names, issues, origins)


def issue_days(task: Task, last: int | None = None) -> list[date]:
    """Local days of the issue times; the last of them, or all."""
    at = task.pipeline
    grid = TimeGrid(at["frequency"], at["timezone"], at["holidays"])
    start, end = date.fromisoformat(task.start), date.fromisoformat(task.end)
    days = np.arange(np.datetime64(start), np.datetime64(end + timedelta(days=1)))
    days = days[grid.is_day(days)].tolist()
    return days[-last:] if last else days


def data_hash(task: Task) -> str:
    """Of the prepared tables and of what the pipeline file says of time."""
    digest = hashlib.sha256(repr(sorted(task.pipeline.items())).encode())
    for path in task.tables():
        digest.update(pl.read_parquet(path).write_csv().encode())
    return digest.hexdigest()[:16]


def _steps(grid: TimeGrid, table: pl.DataFrame) -> np.ndarray:
    """Step of each row, -1 where it is on no step of the grid (a close on a holiday)."""
    if grid.step:
        return table["ds"].dt.epoch("us").to_numpy() // grid.step
    days = table["ds"].dt.date().to_numpy().astype("datetime64[D]")
    steps = grid.index(midnights(days, grid.timezone))
    return np.where(grid.is_day(days), steps, -1)
