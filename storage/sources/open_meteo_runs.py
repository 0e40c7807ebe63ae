"""Single runs of Open-Meteo: which runs a request needs, and when their values were known.

API: https://open-meteo.com/en/docs/single-runs-api. A run is named by the UTC time of its initialisation. It is served
some hours later, so its values count as known at that time plus the `delay`.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import polars as pl

from storage.schemas import INSTANT
from storage.sources.fetch import RefusedError
from storage.sources.request import AVAILABLE_AT, VALID_TIME, Request

_DAY = timedelta(days=1)


def run_times(request: Request) -> list[datetime]:
    """Return the initialisation times of the runs that cover the requested periods, oldest first.

    Runs that are not served yet are left out.
    """
    options = request.options
    served_until = request.requested_at or request.until
    first = request.since.astimezone(UTC).date() - _DAY * (options["run_days"] - 1)
    days = (request.until.astimezone(UTC).date() - first).days + 1
    runs = [
        datetime(first.year, first.month, first.day, hour, tzinfo=UTC) + _DAY * day
        for day in range(days)
        for hour in sorted(set(options["run_hours"]))
    ]
    return [run for run in runs if run + _delay(request) <= served_until]


def run_period(request: Request, run: datetime) -> dict[str, str]:
    """Return the parameters of a request that select a run and its days."""
    return {"run": f"{run:%Y-%m-%dT%H:%M}", "forecast_days": str(request.options["run_days"])}


def is_missing_run(error: RefusedError) -> bool:
    """Return whether the server refuses a request because its archive lacks the run."""
    return error.status == 400 and b"not available" in error.body.lower()


def add_run_times(request: Request, table: pl.DataFrame, run: datetime) -> pl.DataFrame:
    """Return the periods of a table that begin with the run or later, with the time at which they were known."""
    is_daily = table.schema[VALID_TIME] != INSTANT
    start = run.astimezone(ZoneInfo(request.time_zone)).replace(tzinfo=None) if is_daily else run
    known = pl.lit(run + _delay(request), dtype=INSTANT)
    return table.filter(pl.col(VALID_TIME) >= start).with_columns(known.alias(AVAILABLE_AT))


def _delay(request: Request) -> timedelta:
    return timedelta(seconds=request.options["delay"])
