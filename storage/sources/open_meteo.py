"""Weather of Open-Meteo: what was measured or analysed, and what was forecast when.

https://open-meteo.com/en/docs. Several places are a series each, or one average. Of the previous-runs API each period
comes once a lead: the value `previous_day2` is of the newest run at least 48 hours older than the period, so it could
be known 48 hours before the period, plus the `delay` of a run until it is served.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import polars as pl

from storage.schemas import INSTANT, DataError
from storage.sources.fetch import Refused, client, fetch, parse
from storage.sources.request import AVAILABLE_AT, SERIES_ID, VALID_TIME, Request

_HOSTS = {
    "archive": ("archive-api", "archive"),
    "historical-forecast": ("historical-forecast-api", "forecast"),
    "forecast": ("api", "forecast"),
    "previous-runs": ("previous-runs-api", "forecast"),
}
_YEAR = timedelta(days=365)
_ALLOWED = re.compile(r"allowed range from (\d{4}-\d\d-\d\d) to (\d{4}-\d\d-\d\d)")
_LEAD = "lead"


def address(options: Mapping[str, Any], keyed: bool) -> str:
    """Where Open-Meteo serves it; customers with a key have servers of their own."""
    host, path = _HOSTS[options["api"]]
    return f"https://{'customer-' if keyed else ''}{host}.open-meteo.com/v1/{path}"


def read(request: Request) -> pl.DataFrame:
    """series_id, valid_time (UTC, or the date of a day), available_at, the variables.

    Raises DataError when Open-Meteo cannot be reached or refuses, or does not have a variable.
    """
    options = request.options
    with client(request) as connection:
        frames = [frame for answer in _answers(request, connection) for frame in _places(request, answer)]
    if not frames:
        return pl.DataFrame(schema=dict.fromkeys(request.columns, pl.String))
    table = pl.concat(frames)
    if options["api"] == "previous-runs" and options["resolution"] == "daily":
        table = _days(request, table)
    if SERIES_ID not in request.columns:
        table = _mean(request, table)
    if options["api"] == "previous-runs":
        # No run of that lead is in the archive: nothing is known, and an earlier lead must not be undone by it.
        table = table.filter(pl.any_horizontal(pl.col(name).is_not_null() for name in request.values))
    return table.select(request.columns)


def _mean(request: Request, table: pl.DataFrame) -> pl.DataFrame:
    """The places' average by their weights; missing where a place is."""
    places = request.options["locations"]
    weights = pl.col(SERIES_ID).replace_strict({name: place["weight"] for name, place in places.items()})
    whole = pl.len() == len(places)
    means = [
        pl.when(whole & pl.col(name).is_not_null().all())
        .then((pl.col(name) * weights).sum() / weights.sum())
        .alias(name)
        for name in request.values
    ]
    return table.group_by(VALID_TIME, AVAILABLE_AT, maintain_order=True).agg(means)


def _answers(request: Request, connection: httpx.Client) -> Iterator[list[dict[str, Any]]]:
    """One answer a year: the places' objects. What the server says it does not have is not asked for."""
    zone = _zone(request)
    first, last = (time.astimezone(zone).date() for time in (request.since, request.until))
    while first <= last:
        end = min(last, first + _YEAR)
        try:
            yield _places_of(request, fetch(request, connection, request.uri, _asked(request, first, end)))
        except Refused as error:
            allowed = _allowed(error)
            if allowed is None:
                raise
            if allowed[0] <= first and end <= allowed[1]:
                raise
            first, last = max(first, allowed[0]), min(last, allowed[1])
            continue
        first = end + timedelta(days=1)


def _allowed(error: Refused) -> tuple[date, date] | None:
    """The days that the server has, if it refuses others."""
    found = _ALLOWED.search(error.body.decode("utf-8", "replace")) if error.status == 400 else None
    try:
        return (date.fromisoformat(found[1]), date.fromisoformat(found[2])) if found else None
    except ValueError:
        return None


def _asked(request: Request, first: date, last: date) -> dict[str, Any]:
    options = request.options
    places = options["locations"].values()
    asked = {
        "latitude": ",".join(str(place["latitude"]) for place in places),
        "longitude": ",".join(str(place["longitude"]) for place in places),
        "start_date": first.isoformat(), "end_date": last.isoformat(),
        "timezone": _zone(request).key,
        _table(request): ",".join(name for names in _variables(request).values() for name in names),
    }  # fmt: skip
    if options["model"]:
        asked["models"] = options["model"]
    if request.api_key:
        asked["apikey"] = request.api_key
    return asked


def _zone(request: Request) -> ZoneInfo:
    """Hours are asked for in UTC, days as the feed's zone has them."""
    return ZoneInfo(request.time_zone if _table(request) == "daily" else "UTC")


def _table(request: Request) -> str:
    """The table of the answer. Of runs there are only hours, whose days are made here."""
    return "hourly" if request.options["api"] == "previous-runs" else request.options["resolution"]


def _variables(request: Request) -> dict[int, list[str]]:
    """The names of the variables at the server, by lead in days; 0 where leads are not told apart."""
    if request.options["api"] != "previous-runs":
        return {0: list(request.values)}
    return {lead: [f"{name}_previous_day{lead}" for name in request.values] for lead in request.options["lead_days"]}


def _places_of(request: Request, content: bytes) -> list[dict[str, Any]]:
    """One object a place, in the order asked for; of one place the answer is the object itself."""
    answer = parse(request, content)
    answer = answer if isinstance(answer, list) else [answer]
    if len(answer) != len(request.options["locations"]):
        raise DataError(
            f"{request.shown}: {len(answer)} places answered, {len(request.options['locations'])} were asked"
        )
    return answer


def _places(request: Request, answer: list[dict[str, Any]]) -> Iterator[pl.DataFrame]:
    for name, place in zip(request.options["locations"], answer, strict=True):
        columns = place.get(_table(request)) if isinstance(place, dict) else None
        for lead, variables in _variables(request).items():
            cells = _cells(request, columns, variables)
            yield _known(request, cells.with_columns(pl.lit(name).alias(SERIES_ID)), lead)


def _cells(request: Request, columns: Any, variables: list[str]) -> pl.DataFrame:
    """`time` and the variables under the feed's names for them."""
    wanted = dict(zip(["time", *variables], [VALID_TIME, *request.values], strict=True))
    if not isinstance(columns, dict) or not all(isinstance(columns.get(name), list) for name in wanted):
        missing = [name for name in wanted if not isinstance(columns, dict) or not isinstance(columns.get(name), list)]
        raise DataError(f"{request.shown}: the answer has no {missing[0]!r} in {_table(request)!r}")
    try:
        return pl.DataFrame(
            {own: columns[name] for name, own in wanted.items()},
            schema={VALID_TIME: pl.String} | dict.fromkeys(request.values, pl.Float64),
        )
    except (pl.exceptions.PolarsError, TypeError, ValueError) as error:
        what = str(error).splitlines()[0]
        raise DataError(f"{request.shown}: the answer's columns do not fit together: {what}") from None


def _known(request: Request, cells: pl.DataFrame, lead: int) -> pl.DataFrame:
    """The cells with their valid times, their lead, and when they could be known."""
    api = request.options["api"]
    by_day = _table(request) == "daily"
    form = "%Y-%m-%d" if by_day else "%Y-%m-%dT%H:%M"
    time = pl.col(VALID_TIME).str.to_datetime(form, time_unit="us", strict=False, time_zone=None if by_day else "UTC")
    cells = cells.with_columns(time)
    if api == "previous-runs":
        known = pl.col(VALID_TIME) + timedelta(seconds=request.options["delay"]) - timedelta(days=lead)
    else:
        known = pl.lit(request.asked if api == "forecast" else None, dtype=INSTANT)
    return cells.select(SERIES_ID, VALID_TIME, known.alias(AVAILABLE_AT), pl.lit(lead).alias(_LEAD), *request.values)


def _days(request: Request, hours: pl.DataFrame) -> pl.DataFrame:
    """Means of whole days of the feed's zone, a day in which a value is missing has none. It is known when its last
    hour is.
    """
    zone = request.time_zone
    day = pl.col(VALID_TIME).dt.convert_time_zone(zone).dt.truncate("1d")
    length = (day.dt.offset_by("1d") - day).dt.total_hours()
    means = [pl.when(pl.col(name).is_not_null().all()).then(pl.col(name).mean()).alias(name) for name in request.values]
    whole = pl.len() == length.first()
    days = hours.group_by(SERIES_ID, _LEAD, day.alias("day"), maintain_order=True).agg(
        pl.col(AVAILABLE_AT).max(), *means, whole.alias("whole")
    )
    days = days.filter("whole").with_columns(pl.col("day").dt.replace_time_zone(None).alias(VALID_TIME))
    return days.select(SERIES_ID, VALID_TIME, AVAILABLE_AT, _LEAD, *request.values)
