"""The newest forecast in figures: peak, minimum and total, each with its change from last week and the forecast before.

The sum over all series comes first if their unit allows one, then the largest series.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import NamedTuple, TypedDict

import numpy as np

from flows.page.chart_data import ChartData, ChartRow
from flows.page.local_time import LocalTimeFormat, instant_from_micros
from flows.page.number_format import MISSING, column_decimals, format_change, format_number
from flows.page.page_data import PageData
from flows.page.units import TotalUnit, total_unit

#: Series in the table.
MAX_SERIES = 6

_SUM_CURVES = ("forecast", "actual", "earlier", "last_week")


class OutlookFigure(NamedTuple):
    """One figure as text. `when` is the period of a peak or minimum, else a description."""

    name: str
    value: str
    unit: str
    when: str
    from_earlier: str
    from_last_week: str


class OutlookRow(TypedDict):
    """Figures of one series, or of the sum of all, as text. `row` is None for the sum."""

    row: int | None
    name: str
    figures: list[OutlookFigure]


class Outlook(TypedDict):
    """Figures of the newest forecast.

    Attributes:
        head: The sum of all series, or the only series; None if there are several and their unit allows no sum.
        rows: The largest of several series, the largest first.
        cards: Figures by row number, of the series with a card.
        span: Days of the horizon, for example `Mon 9 Jul to Sun 15 Jul`.
        last_week: Days a week before, None if no actuals of them are known.
        earlier: Days of the forecast before, None if there is none.
        earlier_issue: Day on which the forecast before was issued.
        same_periods: Whether the change from the forecast before is that of the periods that both cover.
        left_out: Number of series without values to compare, which the changes of the sum leave out.
        is_one_day: Whether all periods of the horizon lie on one local day.
        sum_table: Period, medians of the newest forecast and of the one before, and last week's actual of the sum.
        curves: Names of the curves that the chart has.
        chart: Medians and actuals of the sum, None without a sum of several series.
    """

    head: OutlookRow | None
    rows: list[OutlookRow]
    cards: dict[int, list[OutlookFigure]]
    hidden: int
    span: str
    last_week: str | None
    earlier: str | None
    earlier_issue: str | None
    same_periods: bool
    left_out: int
    is_one_day: bool
    sum_table: list[tuple[str, str, str, str]]
    curves: list[str]
    chart: ChartData | None


class _Curves(NamedTuple):
    """Medians of one series or sum, and the values that they are compared with; all (H,).

    Attributes:
        median: Medians of the newest forecast.
        earlier: Medians of the forecast before.
        last_week: Actuals of last week.
        beside_earlier: Medians of the newest forecast, of the series that `earlier` has.
        beside_last_week: Medians of the newest forecast, of the series that `last_week` has.
    """

    median: np.ndarray
    earlier: np.ndarray
    last_week: np.ndarray
    beside_earlier: np.ndarray
    beside_last_week: np.ndarray


def make_outlook(
    data: PageData, medians: np.ndarray, earlier: np.ndarray | None, shift: int, cards: list[int],
    times: LocalTimeFormat,
) -> Outlook | None:  # fmt: skip
    """Return the figures of the newest forecast, None without a forecast.

    Args:
        data: Content of the store.
        medians: Medians of the newest forecast, shape (S, H).
        earlier: Medians of the forecast before, shape (S, H), NaN where it has none.
        shift: Steps from the first period of the forecast before to that of the newest.
        cards: Row numbers of the series with a card.
        times: Format of times.
    """
    if data.latest is None or not medians.size:
        return None
    horizon = medians.shape[1]
    previous = np.full_like(medians, np.nan) if earlier is None else earlier
    last_week = data.last_week if data.last_week.shape == medians.shape else np.full_like(medians, np.nan)
    total = total_unit(data.settings.unit, data.settings.pipeline.frequency)
    steps = data.first_step_at(data.latest["issue_time"][0]) + np.arange(horizon)
    names = [times.format_peak(instant_from_micros(int(start))) for start in data.settings.grid.start(steps)]
    has_overlap = earlier is not None and 0 <= shift < horizon
    days = _days(data, steps, times)
    make = _FigureMaker(data.settings.unit or "", total, names, _span(days), shift if has_overlap else None)
    has_sum = len(medians) > 1 and total is not None and bool(np.isfinite(medians.sum(axis=0)).all())
    order = np.argsort(-np.nan_to_num(np.abs(medians).mean(axis=1)), kind="stable")
    listed = medians[order[:MAX_SERIES]]
    decimals = [column_decimals(column) for column in make.values(listed).T]

    def of_series(row: int, decimals: list[int] | None = None) -> list[OutlookFigure]:
        median = medians[row]
        return make.figures(_Curves(median, previous[row], last_week[row], median, median), decimals)

    rows: list[OutlookRow] = [
        {"row": int(row), "name": data.series_ids[row], "figures": of_series(row, decimals)}
        for row in order[:MAX_SERIES]
    ]
    head: OutlookRow | None = None
    sums, left_out = _sum_curves(medians, previous, last_week)
    # A line of some series beside one of all would mislead, so the chart has only sums of all series.
    drawn = sums._replace(earlier=previous.sum(axis=0), last_week=last_week.sum(axis=0))
    chart = _sum_chart(data, drawn, shift, times) if has_sum else None
    if len(rows) == 1:
        head = {"row": 0, "name": data.series_ids[0], "figures": of_series(0)}
    elif has_sum:
        head = {"row": None, "name": f"Sum of {len(medians):,} series", "figures": make.figures(sums)}
    week_before = times.local(data.latest["issue_time"][0]) - timedelta(days=7)
    week_days = _days(data, data.first_step_at(week_before) + np.arange(horizon), times)
    return {
        "head": head,
        "rows": rows if len(rows) > 1 else [],
        "cards": {row: of_series(row) for row in cards},
        "hidden": max(0, len(medians) - MAX_SERIES),
        "span": _span(days),
        "last_week": _span(week_days) if np.isfinite(last_week).any() else None,
        "earlier": None if data.earlier is None else _span(_days(data, steps - shift, times)),
        "earlier_issue": None if data.earlier is None else times.format_day(data.earlier["issue_time"][0]),
        "same_periods": has_overlap,
        "left_out": left_out if has_sum else 0,
        "is_one_day": len(days) == 1 and horizon > 1,
        "sum_table": _sum_table(names, drawn, shift) if has_sum else [],
        "curves": [name for name in _SUM_CURVES if chart and any(row.get(name) is not None for row in chart["rows"])],
        "chart": chart,
    }


def _days(data: PageData, steps: np.ndarray, times: LocalTimeFormat) -> list[str]:
    """Return the names of the local days of some steps."""
    starts = data.settings.grid.start(steps)
    return list(dict.fromkeys(times.format_day(instant_from_micros(int(start))) for start in starts))


def _span(days: list[str]) -> str:
    return days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"


def _sum_curves(medians: np.ndarray, previous: np.ndarray, last_week: np.ndarray) -> tuple[_Curves, int]:
    """Return the curves of the sum, and the number of series that a comparison leaves out.

    A series that has just begun has no values of last week, and a sum with it would be compared with one without it.
    """
    in_earlier = np.isfinite(previous).any(axis=1)
    in_last_week = 2 * np.isfinite(last_week).sum(axis=1) >= last_week.shape[1]

    def sum_of(values: np.ndarray, chosen: np.ndarray) -> np.ndarray:
        return values[chosen].sum(axis=0) if chosen.any() else np.full(values.shape[1], np.nan)

    sums = _Curves(
        medians.sum(axis=0), sum_of(previous, in_earlier), sum_of(last_week, in_last_week),
        sum_of(medians, in_earlier), sum_of(medians, in_last_week),
    )  # fmt: skip
    left_out = [int((~chosen).sum()) for chosen in (in_earlier, in_last_week) if chosen.any()]
    return sums, max(left_out, default=0)


class _FigureMaker(NamedTuple):
    """Settings that the figures of all series share. `shift` is None if two forecasts cover no common period."""

    unit: str
    total: TotalUnit | None
    names: list[str]
    span: str
    shift: int | None

    def values(self, medians: np.ndarray) -> np.ndarray:
        """Return peak, minimum and total or mean of curves of the shape (N, H), shape (N, 3)."""
        last = medians.mean(axis=1) if self.total is None else medians.sum(axis=1) * self.total.factor
        return np.stack([medians.max(axis=1), medians.min(axis=1), last], axis=1)

    def figures(self, curves: _Curves, decimals: list[int] | None = None) -> list[OutlookFigure]:
        """Return peak, minimum and total, or the mean where a total means nothing.

        Args:
            curves: Curves of one series or sum.
            decimals: Number of decimals of each figure, by default as many as its own size needs.
        """
        median = curves.median
        last = "Mean" if self.total is None else "Total"
        if not np.isfinite(median).all():
            return [OutlookFigure(name, MISSING, "", "", MISSING, MISSING) for name in ("Peak", "Minimum", last)]
        shift = self.shift
        new, old = (curves.beside_earlier, curves.earlier) if shift is None else (
            curves.beside_earlier[: len(median) - shift], curves.earlier[shift:]
        )  # fmt: skip

        def changes(measure: str, position: int = 0) -> tuple[str, str]:
            of = getattr(np, measure)
            # The forecast before does not cover a peak of its last periods, and another peak would mislead.
            is_covered = shift is None or position < len(median) - shift
            return (
                format_change(of(new), of(old)) if is_covered else MISSING,
                _change_where_known(of, curves.beside_last_week, curves.last_week),
            )

        peak, minimum, amount = (
            format_number(float(value), places)
            for value, places in zip(self.values(median[None])[0], decimals or (None, None, None), strict=True)
        )
        highest, lowest = int(median.argmax()), int(median.argmin())
        last_unit, last_measure = (self.unit, "mean") if self.total is None else (self.total.name, "sum")
        return [
            OutlookFigure("Peak", peak, self.unit, self.names[highest], *changes("max", highest)),
            OutlookFigure("Minimum", minimum, self.unit, self.names[lowest], *changes("min", lowest)),
            OutlookFigure(last, amount, last_unit, self.span, *changes(last_measure)),
        ]


def _change_where_known(measure: Callable[[np.ndarray], float], new: np.ndarray, old: np.ndarray) -> str:
    """Return the change of a measure over the periods that have an old value, a dash if these are less than half."""
    is_known = np.isfinite(old)
    if 2 * is_known.sum() < len(old):
        return MISSING
    return format_change(measure(new[is_known]), measure(old[is_known]))


def _sum_chart(data: PageData, sums: _Curves, shift: int, times: LocalTimeFormat) -> ChartData:
    """Return medians and actuals of the sum over the columns of the fan charts."""
    count = data.actuals.shape[1]
    steps = data.first_step + np.arange(count)
    starts = [instant_from_micros(int(start)) for start in data.settings.grid.start(steps)]
    begin = count - len(sums.median)
    curves = {
        "forecast": _placed(sums.median, begin, count),
        "actual": data.actuals.astype(np.float64).sum(axis=0),
        "earlier": _placed(sums.earlier, begin - shift, count),
        "last_week": _placed(sums.last_week, begin, count),
    }
    curves = {name: curve for name, curve in curves.items() if np.isfinite(curve).any()}
    rows: list[ChartRow] = []
    for x, start in enumerate(starts):
        row: ChartRow = {"x": x, "when": times.format_period(start)}
        for name, curve in curves.items():
            value = float(curve[x])
            row[name] = None if value != value else float(f"{value:.5g}")
            row[f"{name}_text"] = format_number(value)
        rows.append(row)
    return {"rows": rows, "ticks": times.period_ticks(starts), "datasets": {"issue": [{"x": begin - 0.5}]}}


def _sum_table(names: list[str], sums: _Curves, shift: int) -> list[tuple[str, str, str, str]]:
    """Return period, forecast, forecast before and last week as text; the columns without any value are dashes."""
    earlier = _placed(sums.earlier, -shift, len(names))
    decimals = column_decimals(sums.median.tolist())
    texts = [
        [format_number(float(value), decimals) for value in values] for values in (sums.median, earlier, sums.last_week)
    ]
    return list(zip(names, *texts, strict=True))


def _placed(values: np.ndarray, begin: int, count: int) -> np.ndarray:
    """Return `count` columns with `values` from column `begin` on, NaN elsewhere."""
    placed = np.full(count, np.nan)
    first, last = max(begin, 0), min(begin + len(values), count)
    if first < last:
        placed[first:last] = values[first - begin : last - begin]
    return placed
