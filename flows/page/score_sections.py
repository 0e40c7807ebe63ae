"""Sections of the report page about all scored forecasts: skill and coverage over time, calibration."""

from __future__ import annotations

from itertools import pairwise
from typing import TypedDict

import polars as pl

from flows.page import skill
from flows.page.chart_data import ChartData, ChartRow, rounded
from flows.page.local_time import LocalTimeFormat
from flows.page.number_format import format_percent
from flows.page.page_data import PageData
from flows.page.skill import LevelShare
from storage.schemas.counts import counted

_TOLERANCE = 0.03  # difference from the nominal share that counts as calibrated


class IssueFigures(TypedDict):
    """Figures of one issue time as text."""

    when: str
    skill: str
    coverage: str
    n: int


class TrendSection(TypedDict):
    """Skill and coverage by issue time; the table is newest first."""

    chart: ChartData
    table: list[IssueFigures]


class CalibrationSection(TypedDict):
    """Reliability and PIT histogram of `n` values, and the conclusion in words."""

    reliability: ChartData
    pit: ChartData
    table: list[tuple[str, str]]
    conclusion: str
    n: int


def trend_section(figures: pl.DataFrame, times: LocalTimeFormat) -> TrendSection | None:
    """Return skill and coverage over time from `skill.by_issue_time`, None without scored rows."""
    if figures.is_empty():
        return None
    chart: list[ChartRow] = []
    table: list[IssueFigures] = []
    for x, row in enumerate(figures.iter_rows(named=True)):
        when, values = times.format_day(row["issue_time"]), (rounded(row["skill"]), rounded(row["coverage"]))
        chart.append({"x": x, "when": when, "skill": values[0], "coverage": values[1], "n": row["n"]})
        table.append(
            {"when": when, "skill": format_percent(values[0], 1), "coverage": format_percent(values[1], 1),
             "n": row["n"]}
        )  # fmt: skip
    ticks = times.issue_ticks(figures["issue_time"].to_list())
    return {"chart": {"rows": chart, "ticks": ticks}, "table": table[::-1]}


def calibration_section(data: PageData, rows: pl.DataFrame) -> CalibrationSection | None:
    """Return the section on calibration, None without scored rows."""
    levels = data.settings.pipeline.quantile_levels
    shares = skill.reliability(rows, levels)
    if not shares:
        return None
    bins = skill.pit_histogram(rows, levels)
    middles = [(low + high) / 2 for low, high in pairwise(levels)]
    edges = [0.0, *middles, 1.0]
    return {
        "reliability": {
            "rows": [
                {"level": level, "share": rounded(share), "left": left, "right": right}
                for (level, share), left, right in zip(shares, edges, edges[1:], strict=False)
            ],
            "ticks": [],
        },
        "pit": {
            "rows": [{"left": low, "right": high, "density": rounded(density)} for low, high, density in bins],
            "ticks": [],
        },
        "table": [(f"{100 * level:g}%", format_percent(share, 1)) for level, share in shares],
        "conclusion": _calibration_conclusion(rows, shares, levels),
        "n": rows["pit"].count(),
    }


def _calibration_conclusion(rows: pl.DataFrame, shares: list[LevelShare], levels: tuple[float, ...]) -> str:
    """Return sentences on the width of the outermost interval and on the bias of the median, if the nights show it."""
    share_of = dict(shares)
    low, high = levels[0], levels[-1]
    nights = counted(rows["issue_time"].n_unique(), "night")
    if low == high:
        conclusion = "The forecast has one quantile and no interval."
    else:
        nominal, coverage = high - low, share_of[high] - share_of[low]
        contained = f"the {format_percent(nominal)} interval contains {format_percent(coverage)} of the actuals"
        by_chance = skill.share_by_chance(rows, low, high)
        side = "narrow" if coverage < nominal else "wide"
        if abs(coverage - nominal) <= _TOLERANCE:
            conclusion = f"The intervals have about the right width: {contained} of {nights}."
        elif by_chance[0] <= nominal <= by_chance[1]:
            ends = " and ".join(format_percent(end) for end in by_chance)
            conclusion = (
                f"{contained[0].upper()}{contained[1:]}. From {nights} it cannot be said whether the intervals are too "
                f"{side}: the share in the long run lies between {ends} (95% confidence)."
            )
        else:
            conclusion = f"The intervals are too {side}: {contained} of {nights}."
    below = share_of[0.5]
    by_chance = skill.share_by_chance(rows, 0.0, 0.5)
    if abs(below - 0.5) > _TOLERANCE and not by_chance[0] <= 0.5 <= by_chance[1]:
        side = "high" if below > 0.5 else "low"
        conclusion += (
            f" The median is too {side}: {format_percent(below)} of the actuals are at or below it, and 50% are "
            "expected."
        )
    return conclusion
