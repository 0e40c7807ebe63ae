"""Section of the report page about past forecasts: the newest complete night, and errors by hour, weekday and step."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from typing import NamedTuple, TypedDict
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl

from flows.page import skill
from flows.page.chart_data import ChartData, ChartRow
from flows.page.local_time import LocalTimeFormat, Tick
from flows.page.number_format import (
    MISSING,
    column_decimals,
    format_change,
    format_difference,
    format_number,
    format_percent,
)
from flows.page.page_data import PageData
from flows.page.series_payload import holiday_bands
from flows.page.units import total_unit
from storage.schemas import quantile_column

_WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_STEP_NAMES = {"15m": "quarter-hours", "30m": "half-hours", "1h": "hours", "1d": "days", "1b": "business days"}
_MAX_TABLE = 10


class NightSeries(TypedDict):
    """One series of the newest complete night as text."""

    row: int | None
    series_id: str
    mae: str
    baseline_mae: str
    skill: str
    bias: str
    inside: str
    largest: str
    when: str


class NightChart(TypedDict):
    """Forecast and actuals of one series, and the same as a table."""

    series_id: str
    chart_name: str
    chart: ChartData
    table: list[tuple[str, str, str, str, str, str]]


class NightSum(TypedDict):
    """The sum of all series in the newest complete night as text, over the periods with the actuals of all series.

    Attributes:
        name: Name of the sum.
        mae: Mean absolute error of the sum of the medians.
        share: `mae` in percent of the mean actual.
        bias: Mean of actual minus sum of the medians.
        largest: Actual minus sum of the medians where it is largest.
        when: Period of `largest`.
        total: Change from the forecast total to the actual total, in percent.
        chart: Sum of the medians and of the actuals.
        table: Period, actual, sum of the medians and error.
    """

    name: str
    mae: str
    share: str
    bias: str
    largest: str
    when: str
    total: str
    chart: ChartData
    table: list[tuple[str, str, str, str]]


class ErrorProfile(NamedTuple):
    """Mean absolute error by hour, weekday or step, of the forecast and of the baseline."""

    name: str
    title: str
    head: str
    chart: ChartData
    table: list[tuple[str, str, str]]


class DayErrors(TypedDict):
    """Errors of one local day as text: of which forecast, on average over all series, and the largest.

    `total` is the change from the forecast total to the actual total in percent, None if the unit allows no total.
    """

    day: str
    issued: str
    mae: str
    total: str | None
    largest: str
    series_id: str
    when: str


class NightSection(TypedDict):
    """The newest complete night. `is_complete` is False if some of its actuals are not known yet.

    `last_day` is None if the newest complete night is within one local day.
    """

    issue_time: str
    is_complete: bool
    figures: skill.Figures
    sum: NightSum | None
    series: list[NightSeries]
    hidden: int
    charts: list[NightChart]
    last_day: DayErrors | None


def night_section(
    data: PageData, rows: pl.DataFrame, selected_rows: list[int], times: LocalTimeFormat
) -> NightSection | None:
    """Return the newest complete night, None without scored rows. Series are the largest first.

    Args:
        data: Content of the store.
        rows: Scored rows from `skill.scorable_rows`.
        selected_rows: Row numbers of the series with a chart.
        times: Format of times.
    """
    night = data.complete_night
    if night is None or rows.is_empty():
        return None
    issue_time = night["issue_time"][0]
    scored = rows.filter(issue_time=issue_time)
    if scored.is_empty():
        return None
    row_of = {series_id: row for row, series_id in enumerate(data.series_ids)}
    size = night.group_by("series_id").agg(size=pl.col("q50").abs().mean())
    table = skill.by_series(scored).join(size, on="series_id").sort("size", "series_id", descending=[True, False])
    worst = scored.sort("absolute_error", descending=True).unique("series_id", keep="first", maintain_order=True)
    worst_of = {row["series_id"]: row for row in worst.iter_rows(named=True)}
    listed = list(table.head(_MAX_TABLE).iter_rows(named=True))
    places = column_decimals(row["mae"] for row in listed)
    error_places = column_decimals(worst_of[row["series_id"]]["error"] for row in listed)
    series: list[NightSeries] = [
        {
            "row": row_of.get(row["series_id"]),
            "series_id": row["series_id"],
            "mae": format_number(row["mae"], places),
            "baseline_mae": format_number(row["baseline_mae"], places),
            "skill": format_percent(row["skill"]),
            "bias": format_difference(row["bias"], places),
            "inside": format_percent(row["coverage"]),
            "largest": format_difference(worst_of[row["series_id"]]["error"], error_places),
            "when": times.format_peak(worst_of[row["series_id"]]["valid_time"]),
        }
        for row in listed
    ]
    chosen = [data.series_ids[row] for row in selected_rows]
    return {
        "issue_time": times.format_moment(issue_time, year=True),
        "is_complete": len(scored) >= len(night),
        "figures": skill.overall(scored),
        "sum": _night_sum(data, night, times),
        "series": series,
        "hidden": max(0, len(table) - _MAX_TABLE),
        "charts": [
            chart
            for number, series_id in enumerate(chosen)
            if (chart := _night_chart(data, night.filter(series_id=series_id), f"night-{number}", times)) is not None
        ],
        "last_day": _last_day(data, rows, issue_time, times),
    }


def _last_day(data: PageData, rows: pl.DataFrame, issue_time: datetime, times: LocalTimeFormat) -> DayErrors | None:
    """Return the errors of the last local day with all actuals, by the newest forecast that covers the whole day.

    Forecasts that begin within a day, or cover several, have no night for one day. None if the night of `issue_time`
    is within one day.
    """
    section = data.settings.pipeline
    local = rows.with_columns(day=pl.col("valid_time").dt.convert_time_zone(section.timezone).dt.date())
    if local.filter(issue_time=issue_time)["day"].n_unique() < 2:
        return None
    counts = local.group_by("day", "issue_time").agg(
        periods=pl.col("valid_time").n_unique(), rows=pl.len(), series=pl.col("series_id").n_unique()
    )
    for day, issued, periods, count, series in counts.sort("day", "issue_time", descending=True).iter_rows():
        if periods != _periods_of(day, data) or count != periods * series:
            continue
        chosen = local.filter(day=day, issue_time=issued)
        worst = chosen.sort("absolute_error", descending=True).row(0, named=True)
        return {
            "day": times.format_day(worst["valid_time"]),
            "issued": times.format_moment(issued),
            "mae": format_number(float(chosen.select(pl.col("absolute_error").mean()).item())),
            "total": _total_change(data, chosen),
            "largest": format_difference(worst["error"]),
            "series_id": worst["series_id"],
            "when": times.format_peak(worst["valid_time"]),
        }
    return None


def _total_change(data: PageData, rows: pl.DataFrame) -> str | None:
    """Return the change from the total of the medians to that of the actuals; None if the unit allows no total."""
    if total_unit(data.settings.unit, data.settings.pipeline.frequency) is None:
        return None
    actual, error = (float(rows[name].cast(pl.Float64).sum()) for name in ("actual", "error"))
    return format_change(actual, actual - error)


def _periods_of(day: date, data: PageData) -> int:
    """Return the number of periods of a local day, which has 23 or 25 hours at a clock change."""
    zone = ZoneInfo(data.settings.pipeline.timezone)
    begin, end = (data.first_step_at(datetime.combine(day + timedelta(days=days), time(), zone)) for days in (0, 1))
    return end - begin


def _night_sum(data: PageData, night: pl.DataFrame, times: LocalTimeFormat) -> NightSum | None:
    """Return the sum of all series, None if there is one series, or if the unit allows no sum."""
    unit = total_unit(data.settings.unit, data.settings.pipeline.frequency)
    count = night["series_id"].n_unique()
    if unit is None or count < 2:
        return None
    is_known = pl.col("actual").is_finite().fill_null(value=False)
    sums = (
        night.group_by("valid_time")
        .agg(pl.col("actual", "q50").cast(pl.Float64).sum(), known=is_known.sum())
        .filter(known=count)
        .sort("valid_time")
        .with_columns(error=pl.col("actual") - pl.col("q50"))
    )
    if sums.is_empty():
        return None
    error, actual, median = (sums[name].to_numpy() for name in ("error", "actual", "q50"))
    starts = sums["valid_time"].to_list()
    worst, mae, mean = int(np.abs(error).argmax()), float(np.abs(error).mean()), float(actual.mean())
    decimals = column_decimals([*actual.tolist(), *median.tolist()])
    chart_rows: list[ChartRow] = []
    table: list[tuple[str, str, str, str]] = []
    for x, (start, *values) in enumerate(zip(starts, actual.tolist(), median.tolist(), error.tolist(), strict=True)):
        texts = (format_number(values[0], decimals), format_number(values[1], decimals))
        when, error_text = times.format_period(start), format_difference(values[2], decimals)
        chart_rows.append(
            {"x": x, "when": when, "actual": _digits(values[0]), "forecast": _digits(values[1]),
             "actual_text": texts[0], "forecast_text": texts[1], "error_text": error_text}
        )  # fmt: skip
        table.append((when, *texts, error_text))
    return {
        "name": f"Sum of {count:,} series",
        "mae": format_number(mae),
        "share": format_percent(mae / mean if mean > 0 else None, 1),
        "bias": format_difference(float(error.mean())),
        "largest": format_difference(float(error[worst])),
        "when": times.format_peak(starts[worst]),
        "total": format_change(float(actual.sum()), float(median.sum())),
        "chart": {
            "chart_spec": "night-sum", "rows": chart_rows, "ticks": times.period_ticks(starts),
            "datasets": {"holidays": _holidays(data, starts, times)},
        },
        "table": table,
    }  # fmt: skip


def _holidays(data: PageData, starts: list[datetime], times: LocalTimeFormat) -> list[ChartRow]:
    return [{"left": band["left"], "right": band["right"]} for band in holiday_bands(data.holidays, starts, times)]


def _night_chart(data: PageData, rows: pl.DataFrame, name: str, times: LocalTimeFormat) -> NightChart | None:
    if rows.is_empty():
        return None
    columns = [quantile_column(level) for level in data.settings.pipeline.quantile_levels]
    columns = [column for column in columns if column in rows.columns]
    starts = rows["valid_time"].to_list()
    chart_rows: list[ChartRow] = []
    table: list[tuple[str, str, str, str, str, str]] = []
    decimals = column_decimals([*rows[columns[-1]], *rows["q50"]])
    for x, row in enumerate(rows.iter_rows(named=True)):
        actual = row["actual"] if row["actual"] is not None and np.isfinite(row["actual"]) else None
        low, median, high = (format_number(row[column], decimals) for column in (columns[0], "q50", columns[-1]))
        when = times.format_period(row["valid_time"])
        values: ChartRow = {
            "x": x, "when": when, "actual": _digits(actual), "actual_text": format_number(actual, decimals),
            "median_text": median, "range_text": f"{low} to {high}",
        }  # fmt: skip
        chart_rows.append(values | {column: _digits(row[column]) for column in columns})
        error = MISSING if actual is None else format_difference(actual - row["q50"], decimals)
        table.append((when, format_number(actual, decimals), low, median, high, error))
    return {
        "series_id": rows["series_id"][0],
        "chart_name": name,
        "chart": {
            "chart_spec": "night", "rows": chart_rows,
            "ticks": [tick._replace(level=0) for tick in times.period_ticks(starts)],
            "datasets": {"holidays": _holidays(data, starts, times)},
        },
        "table": table,
    }  # fmt: skip


def error_profiles(data: PageData, rows: pl.DataFrame) -> list[ErrorProfile]:
    """Return the errors by hour of the day, weekday and step, each only if there are several of them."""
    if rows.is_empty():
        return []
    timezone = data.settings.pipeline.timezone
    # With one step in each hour, a chart by step would be the same as that by hour.
    is_same_hour = _has_one_step_an_hour(rows, timezone)
    profiles = []
    if data.settings.pipeline.frequency not in ("1d", "1b"):
        by_hour = [(f"{row['hour']:02d}:00", row) for row in skill.by_hour(rows, timezone).iter_rows(named=True)]
        title = "Hour of the day and lead time" if is_same_hour else "Hour of the day"
        profiles.append(_profile("hour", title, "hour", by_hour, every=6))
    by_weekday = skill.by_weekday(rows, timezone).iter_rows(named=True)
    profiles.append(
        _profile("weekday", "Weekday", "weekday", [(_WEEKDAYS[row["weekday"] - 1], row) for row in by_weekday], every=1)
    )
    if is_same_hour:
        return [profile for profile in profiles if len(profile.table) > 1]
    by_step = [(str(row["step"]), row) for row in skill.by_step(rows).iter_rows(named=True)]
    every = max(1, len(by_step) // 8)
    length = _STEP_NAMES.get(data.settings.pipeline.frequency, "steps")
    profiles.append(_profile("step", f"Lead time in {length}", "step", by_step, every=every))
    return [profile for profile in profiles if len(profile.table) > 1]


def _has_one_step_an_hour(rows: pl.DataFrame, timezone: str) -> bool:
    """Return whether each step lies in its own hour of the day, at all issue times."""
    hour = pl.col("valid_time").dt.convert_time_zone(timezone).dt.hour()
    pairs = rows.select("step", hour=hour).unique()
    return pairs["step"].is_unique().all() and pairs["hour"].is_unique().all()


def _profile(name: str, title: str, head: str, rows: list[tuple[str, dict[str, float]]], every: int) -> ErrorProfile:
    chart: list[ChartRow] = [
        {"x": x, "when": f"{head} {label}" if head == "step" else label, "forecast": _digits(row["mae"]),
         "baseline": _digits(row["baseline_mae"])}
        for x, (label, row) in enumerate(rows)
    ]  # fmt: skip
    ticks = [Tick(x, 0, label) for x, (label, _) in enumerate(rows) if x % every == 0]
    decimals = column_decimals(row["mae"] for _, row in rows)
    table = [
        (label, format_number(row["mae"], decimals), format_number(row["baseline_mae"], decimals))
        for label, row in rows
    ]
    return ErrorProfile(f"error-{name}", title, head, {"chart_spec": "errors", "rows": chart, "ticks": ticks}, table)


def _digits(value: float | None) -> float | None:
    return None if value is None or value != value else float(f"{value:.5g}")
