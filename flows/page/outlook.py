"""The newest forecast in figures: peak, minimum and total, each with its change from the forecast before and last week.

The sum over all series comes first if their unit allows one, then the largest series.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypedDict

import numpy as np

from flows.page.chart_data import ChartData, ChartRow
from flows.page.local_time import LocalTimeFormat, instant_from_micros
from flows.page.number_format import MISSING, format_change, format_number
from flows.page.page_data import PageData
from flows.page.units import TotalUnit, total_unit

#: Series in the table.
MAX_SERIES = 6


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
        earlier: Name of the forecast before, None if there is none.
        same_periods: Whether the change from the forecast before is that of the periods that both cover.
        has_last_week: Whether the actuals of a week before are known.
        is_one_day: Whether all periods of the horizon lie on one local day.
        sum_table: Period, medians of the newest forecast and of the one before, and last week's actual of the sum.
        chart: Medians and actuals of the sum, None without a sum of several series.
    """

    head: OutlookRow | None
    rows: list[OutlookRow]
    cards: dict[int, list[OutlookFigure]]
    hidden: int
    earlier: str | None
    same_periods: bool
    has_last_week: bool
    is_one_day: bool
    sum_table: list[tuple[str, str, str, str]]
    chart: ChartData | None


class _Curves(NamedTuple):
    """Medians of one series or sum: of the newest forecast, of the one before, and actuals of last week; all (H,)."""

    median: np.ndarray
    earlier: np.ndarray
    last_week: np.ndarray


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
    steps = data.settings.grid.first_step(int(data.latest["issue_time"][0].timestamp()) * 1_000_000) + np.arange(
        horizon
    )
    names = [times.format_peak(instant_from_micros(int(start))) for start in data.settings.grid.start(steps)]
    has_overlap = earlier is not None and 0 <= shift < horizon
    days = list(
        dict.fromkeys(times.format_day(instant_from_micros(int(start))) for start in data.settings.grid.start(steps))
    )
    span = days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"
    make = _FigureMaker(data.settings.unit or "", total, names, span, shift if has_overlap else None)
    sums = _Curves(medians.sum(axis=0), previous.sum(axis=0), last_week.sum(axis=0))
    has_sum = len(medians) > 1 and total is not None and bool(np.isfinite(sums.median).all())
    order = np.argsort(-np.nan_to_num(np.abs(medians).mean(axis=1)), kind="stable")

    def of_series(row: int) -> list[OutlookFigure]:
        return make.figures(_Curves(medians[row], previous[row], last_week[row]))

    rows: list[OutlookRow] = [
        {"row": int(row), "name": data.series_ids[row], "figures": of_series(row)} for row in order[:MAX_SERIES]
    ]
    head = rows[0] if len(rows) == 1 else None
    if has_sum:
        head = {"row": None, "name": f"Sum of {len(medians):,} series", "figures": make.figures(sums)}
    issue = None if data.earlier is None else data.earlier["issue_time"][0]
    return {
        "head": head,
        "rows": rows if len(rows) > 1 else [],
        "cards": {row: of_series(row) for row in cards},
        "hidden": max(0, len(medians) - MAX_SERIES),
        "earlier": None if issue is None else times.format_day(issue),
        "same_periods": has_overlap,
        "has_last_week": bool(np.isfinite(last_week).any()),
        "is_one_day": len(days) == 1 and horizon > 1,
        "sum_table": _sum_table(names, sums, shift, earlier is not None) if has_sum else [],
        "chart": _sum_chart(data, sums, shift, earlier is not None, times) if has_sum else None,
    }


class _FigureMaker(NamedTuple):
    """Settings that the figures of all series share. `shift` is None if two forecasts cover no common period."""

    unit: str
    total: TotalUnit | None
    names: list[str]
    span: str
    shift: int | None

    def figures(self, curves: _Curves) -> list[OutlookFigure]:
        """Return peak, minimum and total, or the mean where a total means nothing."""
        median = curves.median
        if not np.isfinite(median).all():
            return [OutlookFigure(name, MISSING, "", "", MISSING, MISSING) for name in ("Peak", "Minimum", "Total")]
        shift = self.shift
        new, old = (median, curves.earlier) if shift is None else (
            median[: len(median) - shift], curves.earlier[shift:]
        )  # fmt: skip

        def changes(measure: str) -> tuple[str, str]:
            of = getattr(np, measure)
            return format_change(of(new), of(old)), _change_where_known(of, median, curves.last_week)

        peak, minimum = int(median.argmax()), int(median.argmin())
        figures = [
            OutlookFigure("Peak", format_number(median[peak]), self.unit, self.names[peak], *changes("max")),
            OutlookFigure("Minimum", format_number(median[minimum]), self.unit, self.names[minimum], *changes("min")),
        ]
        if self.total is None:
            mean = format_number(median.mean())
            return [*figures, OutlookFigure("Mean", mean, self.unit, self.span, *changes("mean"))]
        amount = format_number(median.sum() * self.total.factor)
        return [*figures, OutlookFigure("Total", amount, self.total.name, self.span, *changes("sum"))]


def _change_where_known(measure: Callable[[np.ndarray], float], new: np.ndarray, old: np.ndarray) -> str:
    """Return the change of a measure over the periods that have an old value, a dash if these are less than half."""
    is_known = np.isfinite(old)
    if 2 * is_known.sum() < len(old):
        return MISSING
    return format_change(measure(new[is_known]), measure(old[is_known]))


def _sum_chart(data: PageData, sums: _Curves, shift: int, has_earlier: bool, times: LocalTimeFormat) -> ChartData:
    """Return medians and actuals of the sum over the columns of the fan charts."""
    count = data.actuals.shape[1]
    steps = data.first_step + np.arange(count)
    starts = [instant_from_micros(int(start)) for start in data.settings.grid.start(steps)]
    begin = count - len(sums.median)
    actual = data.actuals.astype(np.float64).sum(axis=0)
    curves = {"actual": actual, "forecast": _placed(sums.median, begin, count)}
    if has_earlier:
        curves["earlier"] = _placed(sums.earlier, begin - shift, count)
    if np.isfinite(sums.last_week).any():
        curves["last_week"] = _placed(sums.last_week, begin, count)
    rows: list[ChartRow] = []
    for x, start in enumerate(starts):
        row: ChartRow = {"x": x, "when": times.format_period(start)}
        for name, curve in curves.items():
            value = float(curve[x])
            row[name] = None if value != value else float(f"{value:.5g}")
            row[f"{name}_text"] = format_number(value)
        rows.append(row)
    return {"rows": rows, "ticks": times.period_ticks(starts), "datasets": {"issue": [{"x": begin - 0.5}]}}


def _sum_table(names: list[str], sums: _Curves, shift: int, has_earlier: bool) -> list[tuple[str, str, str, str]]:
    count = len(names)
    earlier = _placed(sums.earlier, -shift, count) if has_earlier else np.full(count, np.nan)
    return [
        (name, format_number(float(median)), format_number(float(before)), format_number(float(week)))
        for name, median, before, week in zip(names, sums.median, earlier, sums.last_week, strict=True)
    ]


def _placed(values: np.ndarray, begin: int, count: int) -> np.ndarray:
    """Return `count` columns with `values` from column `begin` on, NaN elsewhere."""
    placed = np.full(count, np.nan)
    first, last = max(begin, 0), min(begin + len(values), count)
    if first < last:
        placed[first:last] = values[first - begin : last - begin]
    return placed
