"""Excerpt of a published forecast for an artifact: the series with the largest values, as rows and as a picture."""

from __future__ import annotations

import html
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from flows.settings.pipeline import Pipeline
from storage import layout
from storage.store import Store

_MAX_SERIES = 3
_WIDTH, _PANEL, _TOP = 760, 150, 22  # pixels: width of the picture, height of one series, and of its title
_LEFT, _RIGHT, _BOTTOM = 64, 12, 18  # pixels around the curves of a series
_DAILY = ("1d", "1b")
_STYLE = "text{font:12px sans-serif;fill:#222}.small{font-size:11px;fill:#555}"


@dataclass(frozen=True)
class SeriesExcerpt:
    """Forecast of one series.

    Attributes:
        series_id: Id of the series.
        times: Local starts of the periods, as text.
        low: Lowest quantile of each step.
        median: Median of each step.
        high: Highest quantile of each step.
        statuses: Status of each step.
    """

    series_id: str
    times: list[str]
    low: list[float]
    median: list[float]
    high: list[float]
    statuses: list[str]


@dataclass(frozen=True)
class ForecastExcerpt:
    """Forecast of the series with the largest medians, which come first.

    Attributes:
        series: The series.
        levels: Names of the lowest and the highest quantile, such as q10 and q90.
        unit: Unit of the target, or None.
    """

    series: list[SeriesExcerpt]
    levels: tuple[str, str]
    unit: str | None


def read_excerpt(settings: Pipeline, store: Store, issue_time: datetime) -> ForecastExcerpt:
    """Read the series with the largest medians from a forecast file."""
    section = settings.pipeline
    rows = store.scan([layout.forecast(settings.name, issue_time, section.timezone)])
    quantiles = [name for name in rows.collect_schema().names() if name.startswith("q")]
    largest = (
        rows.group_by("series_id").agg(pl.col("q50").abs().sum()).sort("q50", "series_id", descending=[True, False])
    )
    chosen = largest.head(_MAX_SERIES).select("series_id").collect()["series_id"].to_list()
    form = "%Y-%m-%d" if section.frequency in _DAILY else "%Y-%m-%d %H:%M"
    table = (
        rows.filter(pl.col("series_id").is_in(chosen))
        .sort("series_id", "step")
        .with_columns(pl.col("valid_time").dt.convert_time_zone(section.timezone).dt.strftime(form))
        .collect()
    )
    series = []
    for name in chosen:
        own = table.filter(pl.col("series_id") == name)
        columns = [own[column].to_list() for column in ("valid_time", quantiles[0], "q50", quantiles[-1], "status")]
        series.append(SeriesExcerpt(name, *columns))
    return ForecastExcerpt(series, (quantiles[0], quantiles[-1]), settings.unit)


def excerpt_rows(excerpt: ForecastExcerpt) -> list[dict[str, str | float]]:
    """Return the excerpt as a table, one row per series and step."""
    low, high = excerpt.levels
    return [
        {"series": one.series_id, "time": time, low: a, "q50": b, high: c, "status": status}
        for one in excerpt.series
        for time, a, b, c, status in zip(one.times, *_rounded(one), one.statuses, strict=True)
    ]


def peak_rows(excerpt: ForecastExcerpt) -> list[dict[str, str | float]]:
    """Return one row per series: its mean, and its highest median with the time and the interval."""
    low, high = excerpt.levels
    rows: list[dict[str, str | float]] = []
    for one in excerpt.series:
        peak = max(range(len(one.median)), key=one.median.__getitem__)
        mean = _round(sum(one.median) / len(one.median))
        rows.append({
            "series": one.series_id, "mean": mean, "peak": _round(one.median[peak]), "at": one.times[peak],
            f"{low} at peak": _round(one.low[peak]), f"{high} at peak": _round(one.high[peak]),
        })  # fmt: skip
    return rows


def picture(excerpt: ForecastExcerpt) -> str:
    """Return an SVG picture: of each series the median and the interval of the outer quantiles."""
    height = len(excerpt.series) * (_TOP + _PANEL)
    low, high = excerpt.levels
    unit = f", {excerpt.unit}" if excerpt.unit else ""
    panels = "".join(
        f'<g transform="translate(0 {number * (_TOP + _PANEL)})">'
        f'<text x="{_LEFT}" y="15">{html.escape(one.series_id)}: median, {low} to {high}{html.escape(unit)}</text>'
        f"{''.join(_curves(one))}</g>"
        for number, one in enumerate(excerpt.series)
    )
    # Its own white ground keeps the picture readable in a dark page.
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" viewBox="0 0 {_WIDTH} {height}">'
        f'<style>{_STYLE}</style><rect width="100%" height="100%" fill="#fff"/>{panels}</svg>'
    )


def _curves(one: SeriesExcerpt) -> Iterator[str]:
    """Yield the interval, the median and the labels of the axes of one series."""
    bottom, top = min(one.low), max(one.high)
    span, count = (top - bottom) or 1.0, len(one.median)

    def x(step: int) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * (step / (count - 1) if count > 1 else 0.5)

    def y(value: float) -> float:
        return _TOP + (_PANEL - _BOTTOM) * (1 - (value - bottom) / span)

    def points(values: list[float], steps: range) -> str:
        return " ".join(f"{x(step):.1f},{y(values[step]):.1f}" for step in steps)

    forward, back = range(count), range(count - 1, -1, -1)
    yield f'<polygon points="{points(one.high, forward)} {points(one.low, back)}" fill="#9ecae1"/>'
    yield f'<polyline points="{points(one.median, forward)}" fill="none" stroke="#08519c" stroke-width="2"/>'
    for value in (bottom, top):
        yield f'<text class="small" text-anchor="end" x="{_LEFT - 6}" y="{y(value) + 4:.1f}">{value:,.4g}</text>'
    for step, anchor in ((0, "start"), (count // 2, "middle"), (count - 1, "end")):
        label = f'<text class="small" text-anchor="{anchor}" x="{x(step):.1f}" y="{_TOP + _PANEL - 4}">'
        yield f"{label}{one.times[step]}</text>"


def _rounded(one: SeriesExcerpt) -> tuple[list[float], list[float], list[float]]:
    low, median, high = ([_round(value) for value in values] for values in (one.low, one.median, one.high))
    return low, median, high


def _round(value: float) -> float:
    """Return a number with five significant digits."""
    return float(f"{value:.5g}")
