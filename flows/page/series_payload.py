"""Figures and curves of the series, rounded for display, as the browser receives them.

The page contains the figures of all series, and the curves of as many as MAX_VALUES allows.
"""

from __future__ import annotations

import math
from datetime import date, datetime
from typing import NamedTuple, NotRequired, TypedDict

import numpy as np
import polars as pl

from flows.page.local_time import LocalTimeFormat, Tick, instant_from_micros
from flows.page.page_data import InputCurves, PageData
from flows.page.skill import ScoreArrays
from storage.schemas import quantile_column

#: Largest number of values in the curves of all series together. They make about 13 MB of page.
MAX_VALUES = 4_000_000
_DIGITS = 5

Values = list[float | int | None]


class Curves(TypedDict):
    """Curves of one series. Quantiles of a forecast are flat lists: step by step, all levels of a step together."""

    actual: Values
    quantiles: Values
    #: Quantiles of the forecast before, null if there is none.
    earlier: Values | None
    pinball: Values
    baseline_pinball: Values
    coverage: Values
    #: Covariates of this series in the order of `inputs`, null for one that all series share or that it lacks.
    inputs: NotRequired[list[Values | None]]
    past: NotRequired[PastCurves]


class PastCurves(TypedDict):
    """Past forecasts over the actuals, one value per column of `past_periods`.

    `first` is the median of the newest forecast of a period, with its outer quantiles `low` and `high`. `last` is the
    median of the last step, for daily pipelines only.
    """

    actual: Values
    first: Values
    low: Values
    high: Values
    last: NotRequired[Values]


class InputPayload(TypedDict):
    """One covariate; `values` is null if each series has its own."""

    name: str
    values: Values | None


class HolidayBand(TypedDict):
    """One holiday on an axis of columns."""

    left: float
    right: float
    name: str


class SeriesPayload(TypedDict, total=False):
    """All series of the newest forecast. Only `count` is present if there is no forecast.

    The lists `ids` to `coverage` have one entry per series. `periods` labels the columns of the curves `actual`, and
    `issue_labels` those of `pinball` and `coverage`.
    """

    count: int
    ids: list[str]
    status: list[str]
    #: Distinct reasons, and for each series the number of its reason.
    reasons: list[str]
    reason_numbers: list[int | None]
    decimals: list[int]
    mean_q50: list[float | None]
    skill: list[float | None]
    coverage: list[float | None]
    periods: list[str]
    ticks: list[Tick]
    holidays: list[HolidayBand]
    inputs: list[InputPayload]
    #: Labels, ticks and holidays of the columns of `past`.
    past_periods: list[str]
    past_ticks: list[Tick]
    past_holidays: list[HolidayBand]
    #: Link to the inspection page, by row number.
    inspections: dict[int, str]
    #: Position of the issue time on the axis of columns: the left edge of step 1.
    issue_x: float
    #: Column of step 1 of the newest forecast and of the forecast before.
    forecast_column: int
    earlier_column: int
    horizon: int
    quantile_names: list[str]
    issue_labels: list[str]
    issue_ticks: list[Tick]
    #: Curves by row number.
    curves: dict[int, Curves]


def series_payload(
    data: PageData, table: pl.DataFrame, selected_rows: list[int], scores: ScoreArrays, times: LocalTimeFormat
) -> SeriesPayload:
    """Return the figures of every series, and the curves of as many as fit.

    Args:
        data: Content of the store.
        table: Series from `series_table`.
        selected_rows: Row numbers of the series that get curves first. The others follow in the table's order.
        scores: Scores by series and issue time.
        times: Format of times.
    """
    if data.latest is None:
        return {"count": 0}
    names = [quantile_column(level) for level in data.settings.pipeline.quantile_levels]
    count, columns = data.actuals.shape
    quantiles, forecast_column = quantiles_on_grid(data, data.latest, names)
    earlier, earlier_column = (None, 0) if data.earlier is None else quantiles_on_grid(data, data.earlier, names)
    decimals = [_decimals(largest) for largest in np.nan_to_num(np.abs(quantiles)).max(axis=(1, 2))]
    past = past_arrays(data)
    own_inputs = [curve for curve in data.inputs if curve.rows is not None]
    values_per_series = (
        columns * (1 + len(own_inputs)) + 2 * quantiles[0].size + 3 * len(scores.issue_times)
        + (0 if past is None else (4 + (past.last is not None)) * data.past_actuals.shape[1])
    )  # fmt: skip
    curves: dict[int, Curves] = {}
    for row in list(dict.fromkeys([*selected_rows, *range(count)]))[: MAX_VALUES // values_per_series]:
        places = decimals[row]
        curves[row] = {
            "actual": _rounded(data.actuals[row], places),
            "quantiles": _rounded(quantiles[row].ravel(), places),
            "earlier": None if earlier is None else _rounded(earlier[row].ravel(), places),
            "pinball": _rounded(scores.pinball[row], places + 1),
            "baseline_pinball": _rounded(scores.baseline_pinball[row], places + 1),
            "coverage": _rounded(scores.coverage[row], 3),
        }
        if any(row in (curve.rows or {}) for curve in own_inputs):
            curves[row]["inputs"] = [_own_input(curve, row) for curve in data.inputs]
        if past is not None:
            curves[row]["past"] = _past_curves(data, past, row, places)
    steps = data.first_step + np.arange(columns)
    starts = [instant_from_micros(int(start)) for start in data.settings.grid.start(steps)]
    past_steps = data.past_first_step + np.arange(data.past_actuals.shape[1])
    past_starts = [instant_from_micros(int(start)) for start in data.settings.grid.start(past_steps)]
    reasons = {reason: number for number, reason in enumerate(table["reason"].drop_nulls().unique().sort())}
    return {
        "count": count,
        "ids": table["series_id"].to_list(),
        "status": table["status"].to_list(),
        "reasons": list(reasons),
        "reason_numbers": [reasons.get(reason) for reason in table["reason"]],
        "decimals": decimals,
        "mean_q50": [_round_or_none(value, places) for value, places in zip(table["mean_q50"], decimals, strict=True)],
        "skill": [_round_or_none(value, 4) for value in table["skill"]],
        "coverage": [_round_or_none(value, 4) for value in table["coverage"]],
        "periods": [times.format_period(start) for start in starts],
        "ticks": times.period_ticks(starts),
        "holidays": holiday_bands(data.holidays, starts, times),
        "inputs": [
            {"name": curve.name, "values": None if curve.rows is not None else _significant(curve.values[0])}
            for curve in data.inputs
        ],
        "past_periods": [times.format_period(start) for start in past_starts],
        "past_ticks": times.period_ticks(past_starts),
        "past_holidays": holiday_bands(data.holidays, past_starts, times),
        "inspections": {
            row: data.inspections[series_id]
            for row, series_id in enumerate(data.series_ids)
            if series_id in data.inspections
        },
        "issue_x": forecast_column - 0.5,
        "forecast_column": forecast_column,
        "earlier_column": earlier_column,
        "horizon": data.settings.pipeline.horizon,
        "quantile_names": names,
        "issue_labels": [times.format_day(issue_time) for issue_time in scores.issue_times],
        "issue_ticks": times.issue_ticks(scores.issue_times),
        "curves": curves,
    }


class PastArrays(NamedTuple):
    """Past forecasts in the columns of `PageData.past_actuals`, each (S, M), NaN where there is none."""

    first: np.ndarray
    low: np.ndarray
    high: np.ndarray
    last: np.ndarray | None


def past_arrays(data: PageData) -> PastArrays | None:
    """Return the past forecasts of each period: the newest, and for daily pipelines that of the last step."""
    table = data.past_forecasts
    if data.latest is None or table.is_empty():
        return None
    count, columns = data.past_actuals.shape
    horizon = data.settings.pipeline.horizon
    levels = data.settings.pipeline.quantile_levels
    row_of = {series_id: row for row, series_id in enumerate(data.series_ids)}
    known = table.filter(
        pl.col("series_id").is_in(data.series_ids), pl.col("issue_time") < data.latest["issue_time"][0]
    ).sort("issue_time")
    if known.is_empty():
        return None
    column = data.settings.grid.index(known["valid_time"].dt.epoch("us").to_numpy()) - data.past_first_step
    row = known["series_id"].replace_strict(row_of, return_dtype=pl.Int64).to_numpy()
    is_shown = (column >= 0) & (column < columns)
    if not is_shown.any():
        return None

    def placed(name: str, chosen: np.ndarray) -> np.ndarray:
        values = np.full((count, columns), np.nan)
        # Rows are sorted by issue time, and of several values for one cell the last one stays.
        values[row[chosen], column[chosen]] = known[name].to_numpy()[chosen]
        return values

    is_daily = data.settings.pipeline.frequency in ("1d", "1b") and horizon > 1
    is_last = is_shown & (known["step"].to_numpy() == horizon)
    return PastArrays(
        first=placed("q50", is_shown),
        low=placed(quantile_column(levels[0]), is_shown),
        high=placed(quantile_column(levels[-1]), is_shown),
        last=placed("q50", is_last) if is_daily else None,
    )


def _past_curves(data: PageData, past: PastArrays, row: int, places: int) -> PastCurves:
    curves: PastCurves = {
        "actual": _rounded(data.past_actuals[row], places),
        "first": _rounded(past.first[row], places),
        "low": _rounded(past.low[row], places),
        "high": _rounded(past.high[row], places),
    }
    if past.last is not None:
        curves["last"] = _rounded(past.last[row], places)
    return curves


def _own_input(curve: InputCurves, row: int) -> Values | None:
    if curve.rows is None or row not in curve.rows:
        return None
    return _significant(curve.values[curve.rows[row]])


def _significant(values: np.ndarray) -> Values:
    """Return values with four significant digits, None for NaN."""
    return [None if value != value else float(f"{value:.4g}") for value in values.tolist()]


def holiday_bands(holidays: dict[date, str], starts: list[datetime], times: LocalTimeFormat) -> list[HolidayBand]:
    """Return the columns of each holiday among consecutive periods."""
    bands: list[HolidayBand] = []
    for at, start in enumerate(starts):
        name = holidays.get(times.local(start).date())
        if name is None:
            continue
        if bands and bands[-1]["name"] == name and bands[-1]["right"] == at - 0.5:
            bands[-1]["right"] = at + 0.5
        else:
            bands.append({"left": at - 0.5, "right": at + 0.5, "name": name})
    return bands


def quantiles_on_grid(data: PageData, forecast: pl.DataFrame, names: list[str]) -> tuple[np.ndarray, int]:
    """Return the quantiles of the page's series, and the column of step 1.

    Returns:
        Quantiles, shape (S, H, Q), NaN for a series that is not in the file; and the column number of step 1 in
        `data.actuals`.
    """
    horizon = data.settings.pipeline.horizon
    issue_time = forecast["issue_time"][0]
    column = data.settings.grid.first_step(int(issue_time.timestamp()) * 1_000_000) - data.first_step
    row_of = {series_id: row for row, series_id in enumerate(data.series_ids)}
    known = forecast.filter(pl.col("series_id").is_in(data.series_ids), pl.col("step") <= horizon)
    row = known["series_id"].replace_strict(row_of, return_dtype=pl.Int64).to_numpy()
    step = known["step"].to_numpy() - 1
    quantiles = np.full((len(data.series_ids), horizon, len(names)), np.nan)
    for level, name in enumerate(names):
        # An older file lacks a level that was added to the pipeline file later.
        if name in known.columns:
            quantiles[row, step, level] = known[name].to_numpy()
    return quantiles, column


def _decimals(largest: float) -> int:
    """Return the number of decimals with which the largest value has _DIGITS significant digits."""
    if not math.isfinite(largest) or largest == 0:
        return 2
    return int(min(max(_DIGITS - 1 - math.floor(math.log10(largest)), 0), 12))


def _rounded(values: np.ndarray, places: int) -> Values:
    """Return rounded values, None for NaN; integers if no decimal is needed, since they are shorter as JSON."""
    rounded = np.round(values.astype(np.float64), places)
    as_integer = places == 0
    return [None if value != value else int(value) if as_integer else value for value in rounded.tolist()]


def _round_or_none(value: float | None, places: int) -> float | None:
    return None if value is None or not math.isfinite(value) else round(value, places)
