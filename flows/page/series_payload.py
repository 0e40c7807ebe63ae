"""Figures and curves of the series, rounded for display, as the browser receives them.

The page contains the figures of all series, and the curves of as many as MAX_VALUES allows.
"""

from __future__ import annotations

import math
from typing import TypedDict

import numpy as np
import polars as pl

from flows.page.local_time import LocalTimeFormat, Tick, instant_from_micros
from flows.page.page_data import PageData
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
    recent_skill: list[float | None]
    coverage: list[float | None]
    periods: list[str]
    ticks: list[Tick]
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
    quantiles, forecast_column = _quantiles_on_grid(data, data.latest, names)
    earlier, earlier_column = (None, 0) if data.earlier is None else _quantiles_on_grid(data, data.earlier, names)
    decimals = [_decimals(largest) for largest in np.nan_to_num(np.abs(quantiles)).max(axis=(1, 2))]
    values_per_series = columns + 2 * quantiles[0].size + 3 * len(scores.issue_times)
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
    steps = data.first_step + np.arange(columns)
    starts = [instant_from_micros(int(start)) for start in data.settings.grid.start(steps)]
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
        "recent_skill": [_round_or_none(value, 4) for value in table["recent_skill"]],
        "coverage": [_round_or_none(value, 4) for value in table["coverage"]],
        "periods": [times.format_period(start) for start in starts],
        "ticks": times.period_ticks(starts),
        "issue_x": forecast_column - 0.5,
        "forecast_column": forecast_column,
        "earlier_column": earlier_column,
        "horizon": data.settings.pipeline.horizon,
        "quantile_names": names,
        "issue_labels": [times.format_day(issue_time) for issue_time in scores.issue_times],
        "issue_ticks": times.issue_ticks(scores.issue_times),
        "curves": curves,
    }


def _quantiles_on_grid(data: PageData, forecast: pl.DataFrame, names: list[str]) -> tuple[np.ndarray, int]:
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
