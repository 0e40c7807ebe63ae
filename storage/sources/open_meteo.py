"""Weather from Open-Meteo: measured or analysed values, and forecasts with the time of their publication.

API: https://open-meteo.com/en/docs. Each location is one series, or all are averaged into one. The previous-runs API
returns each period once per lead: `previous_day2` is the value from the newest run at least 48 hours before the
period. That value counts as known 48 hours before the period, plus the `delay` between a run and its publication.
The single-runs API returns each run as a whole (`storage/sources/open_meteo_runs.py`).
Radiation, precipitation and other sums of an hour carry the time of its end. They are stored by its start.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import polars as pl

from storage.schemas import INSTANT, DataError
from storage.sources.fetch import RefusedError, fetch, open_client, parse
from storage.sources.open_meteo_hours import OF_PRECEDING_HOUR, shift_to_starts
from storage.sources.open_meteo_runs import add_run_times, is_missing_run, run_period, run_times
from storage.sources.request import AVAILABLE_AT, SERIES_ID, VALID_TIME, Request

logger = logging.getLogger(__name__)

_HOSTS = {
    "archive": ("archive-api", "archive"),
    "historical-forecast": ("historical-forecast-api", "forecast"),
    "forecast": ("api", "forecast"),
    "previous-runs": ("previous-runs-api", "forecast"),
    "single-runs": ("single-runs-api", "forecast"),
}
_MAX_PERIOD = timedelta(days=365)
_ALLOWED_RANGE = re.compile(r"allowed range from (\d{4}-\d\d-\d\d) to (\d{4}-\d\d-\d\d)")
_LEAD = "lead"


def default_address(options: Mapping[str, Any], has_key: bool) -> str:
    """Return the address of Open-Meteo's API, which depends on whether the user has a key."""
    host, path = _HOSTS[options["api"]]
    return f"https://{'customer-' if has_key else ''}{host}.open-meteo.com/v1/{path}"


def read(request: Request) -> pl.DataFrame:
    """Return series_id, valid_time (UTC, or the date of a day), available_at and the variables.

    Raises:
        DataError: A request fails, or a variable does not exist.
    """
    options = request.options
    has_ends = _table_name(request) == "hourly" and not OF_PRECEDING_HOUR.isdisjoint(request.values)
    # The last hour of a day has its sums at 0:00 of the next day.
    requested = replace(request, until=request.until + timedelta(days=1)) if has_ends else request
    with open_client(request) as client:
        if options["api"] == "single-runs":
            tables = _run_tables(requested, client)
        else:
            tables = [table for locations in _responses(requested, client) for table in _tables(request, locations)]
    if not tables:
        return pl.DataFrame(schema=dict.fromkeys(request.columns, pl.String))
    table = pl.concat(tables)
    if has_ends:
        end = datetime.combine(request.until.astimezone(UTC).date() + timedelta(days=1), datetime.min.time(), UTC)
        table = shift_to_starts(table, request.values).filter(pl.col(VALID_TIME) < end)
    if options["api"] == "previous-runs" and options["resolution"] == "daily":
        table = _daily_means(request, table)
    if SERIES_ID not in request.columns:
        table = _average_locations(request, table)
    if options["api"] in ("previous-runs", "single-runs"):
        # A row without any value means that the archive has no run of this lead, or that a run is shorter than
        # requested. It must not hide an earlier forecast.
        table = table.filter(pl.any_horizontal(pl.col(name).is_not_null() for name in request.values))
    return table.select(request.columns)


def _average_locations(request: Request, table: pl.DataFrame) -> pl.DataFrame:
    """Return the weighted mean over all locations, null where a location has no value."""
    locations = request.options["locations"]
    weights = pl.col(SERIES_ID).replace_strict({name: location["weight"] for name, location in locations.items()})
    is_complete = pl.len() == len(locations)
    means = [
        pl.when(is_complete & pl.col(name).is_not_null().all())
        .then((pl.col(name) * weights).sum() / weights.sum())
        .alias(name)
        for name in request.values
    ]
    return table.group_by(VALID_TIME, AVAILABLE_AT, maintain_order=True).agg(means)


def _responses(request: Request, client: httpx.Client) -> Iterator[list[dict[str, Any]]]:
    """Yield the locations' objects, one list a year. Days outside the server's range are not requested again."""
    zone = _zone(request)
    start, last = (time.astimezone(zone).date() for time in (request.since, request.until))
    while start <= last:
        end = min(last, start + _MAX_PERIOD)
        try:
            period = {"start_date": start.isoformat(), "end_date": end.isoformat()}
            body = fetch(request, client, request.uri, _parameters(request, period))
        except RefusedError as error:
            allowed = _allowed_range(error)
            if allowed is None or (allowed[0] <= start and end <= allowed[1]):
                raise
            start, last = max(start, allowed[0]), min(last, allowed[1])
            continue
        yield _parse_locations(request, body)
        start = end + timedelta(days=1)


def _run_tables(request: Request, client: httpx.Client) -> list[pl.DataFrame]:
    """Return one table per run and location, without the runs that the archive lacks.

    Raises:
        DataError: A request fails, or the archive has none of the runs.
    """
    runs, tables, refusal = run_times(request), list[pl.DataFrame](), None
    for number, run in enumerate(runs):
        try:
            body = fetch(request, client, request.uri, _parameters(request, run_period(request, run)))
        except RefusedError as error:
            if not is_missing_run(error):
                raise
            logger.debug("The run of %s is not available.", run.isoformat())
            refusal = error
            continue
        for table in _tables(request, _parse_locations(request, body)):
            # Its number keeps a run apart from the others, as the lead does for previous runs.
            tables.append(add_run_times(request, table.with_columns(pl.lit(number).alias(_LEAD)), run))
    if refusal is not None:
        if not tables:
            raise refusal
        missing = len(runs) - len(tables) // len(request.options["locations"])
        logger.warning("%s: %s of %s runs are not in the archive.", request.redacted_uri, missing, len(runs))
    return tables


def _allowed_range(error: RefusedError) -> tuple[date, date] | None:
    """Return the first and last day that the server has, if the refusal names them."""
    match = _ALLOWED_RANGE.search(error.body.decode("utf-8", "replace")) if error.status == 400 else None
    try:
        return (date.fromisoformat(match[1]), date.fromisoformat(match[2])) if match else None
    except ValueError:
        return None


def _parameters(request: Request, period: dict[str, str]) -> dict[str, str]:
    options = request.options
    locations = options["locations"].values()
    parameters = {
        "latitude": ",".join(str(location["latitude"]) for location in locations),
        "longitude": ",".join(str(location["longitude"]) for location in locations),
        **period,
        "timezone": _zone(request).key,
        _table_name(request): ",".join(name for names in _variables(request).values() for name in names),
    }  # fmt: skip
    if options["model"]:
        parameters["models"] = options["model"]
    if request.api_key:
        parameters["apikey"] = request.api_key
    return parameters


def _zone(request: Request) -> ZoneInfo:
    """Return the timezone of the response: UTC for hours, the feed's for days."""
    return ZoneInfo(request.time_zone if _table_name(request) == "daily" else "UTC")


def _table_name(request: Request) -> str:
    """Return the name of the response's table. Previous runs have hours only, which `read` averages to days."""
    return "hourly" if request.options["api"] == "previous-runs" else request.options["resolution"]


def _variables(request: Request) -> dict[int, list[str]]:
    """Return the server's names of the variables by lead in days. The lead is 0 where an API has no leads."""
    if request.options["api"] != "previous-runs":
        return {0: list(request.values)}
    return {lead: [f"{name}_previous_day{lead}" for name in request.values] for lead in request.options["lead_days"]}


def _parse_locations(request: Request, body: bytes) -> list[dict[str, Any]]:
    """Return one object per location, in the order of the request. A single location is not in a list."""
    content = parse(request, body)
    locations = content if isinstance(content, list) else [content]
    expected = len(request.options["locations"])
    if len(locations) != expected:
        raise DataError(
            f"{request.redacted_uri}: the response has {len(locations)} locations, {expected} were requested"
        )
    return locations


def _tables(request: Request, locations: list[dict[str, Any]]) -> Iterator[pl.DataFrame]:
    """Yield one table per location and lead."""
    for name, location in zip(request.options["locations"], locations, strict=True):
        columns = location.get(_table_name(request)) if isinstance(location, dict) else None
        for lead, variables in _variables(request).items():
            cells = _cells(request, columns, variables)
            yield _add_times(request, cells.with_columns(pl.lit(name).alias(SERIES_ID)), lead)


def _cells(request: Request, columns: Any, variables: list[str]) -> pl.DataFrame:
    """Return the times and variables of a response under the feed's column names."""
    names = dict(zip(["time", *variables], [VALID_TIME, *request.values], strict=True))
    missing = [name for name in names if not isinstance(columns, dict) or not isinstance(columns.get(name), list)]
    if missing:
        raise DataError(f"{request.redacted_uri}: the response has no {missing[0]!r} in {_table_name(request)!r}")
    try:
        return pl.DataFrame(
            {column: columns[name] for name, column in names.items()},
            schema={VALID_TIME: pl.String} | dict.fromkeys(request.values, pl.Float64),
        )
    except (pl.exceptions.PolarsError, TypeError, ValueError) as error:
        problem = str(error).splitlines()[0]
        raise DataError(f"{request.redacted_uri}: the columns of the response do not fit together: {problem}") from None


def _add_times(request: Request, cells: pl.DataFrame, lead: int) -> pl.DataFrame:
    """Return the cells with parsed valid times, their lead, and the time at which they became known."""
    api = request.options["api"]
    is_daily = _table_name(request) == "daily"
    time_format, zone = ("%Y-%m-%d", None) if is_daily else ("%Y-%m-%dT%H:%M", "UTC")
    valid_time = pl.col(VALID_TIME).str.to_datetime(time_format, time_unit="us", strict=False, time_zone=zone)
    cells = cells.with_columns(valid_time)
    if api == "previous-runs":
        known = pl.col(VALID_TIME) + timedelta(seconds=request.options["delay"]) - timedelta(days=lead)
    else:
        known = pl.lit(request.requested_at if api == "forecast" else None, dtype=INSTANT)
    return cells.select(SERIES_ID, VALID_TIME, known.alias(AVAILABLE_AT), pl.lit(lead).alias(_LEAD), *request.values)


def _daily_means(request: Request, hours: pl.DataFrame) -> pl.DataFrame:
    """Return means over complete days of the feed's timezone.

    A mean is null if a value of the day is missing. It becomes known with the last hour of the day.
    """
    day = pl.col(VALID_TIME).dt.convert_time_zone(request.time_zone).dt.truncate("1d")
    length = (day.dt.offset_by("1d") - day).dt.total_hours()
    means = [pl.when(pl.col(name).is_not_null().all()).then(pl.col(name).mean()).alias(name) for name in request.values]
    is_complete = pl.len() == length.first()
    days = hours.group_by(SERIES_ID, _LEAD, day.alias("day"), maintain_order=True).agg(
        pl.col(AVAILABLE_AT).max(), *means, is_complete.alias("is_complete")
    )
    days = days.filter("is_complete").with_columns(pl.col("day").dt.replace_time_zone(None).alias(VALID_TIME))
    return days.select(SERIES_ID, VALID_TIME, AVAILABLE_AT, _LEAD, *request.values)
