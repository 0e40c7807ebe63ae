"""The report page: one pipeline's store as one HTML file, readable without network, other files or local settings."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple, TypedDict

import polars as pl

from flows.page import skill
from flows.page.chart_data import ChartData, VegaSpec
from flows.page.document import render_document
from flows.page.local_time import LocalTimeFormat
from flows.page.number_format import format_number, format_percent
from flows.page.operation_sections import fallback_section, feed_entries, model_entries, stage_durations
from flows.page.page_data import PageData
from flows.page.score_sections import actuals_section, calibration_section, trend_section
from flows.page.series_payload import SeriesPayload, series_payload
from flows.page.series_table import SELECTION_RULE, SelectedSeries, select_series, series_table
from flows.page.skill import Figures
from flows.page.verdict import Verdict, format_duration, make_verdict
from storage.schemas import MODEL

_SCRIPTS = ("theme.js", "drawing.js", "unpack.js", "page.js")


class ReportContent(TypedDict):
    """Data that the scripts of the report page read."""

    series: SeriesPayload
    specs: dict[str, VegaSpec]
    charts: dict[str, ChartData]
    unit: str


class KeyFigure(NamedTuple):
    """A figure at the head of the page."""

    name: str
    value: str
    note: str


class Card(TypedDict):
    """One of the series that the page shows first, with its figures as text."""

    row: int
    id: str
    reasons: list[str]
    mean_q50: str
    skill: str
    coverage: str
    has_curves: bool


def render_report_page(data: PageData) -> tuple[str, Verdict]:
    """Return the HTML of the report page, and the verdict at its head."""
    # Altair takes half a second to import, and no other command draws charts.
    from flows.page.charts import report_specs

    settings = data.settings.pipeline
    times = LocalTimeFormat(settings.timezone, settings.frequency)
    rows = skill.scorable_rows(data.scores)
    figures = skill.overall(rows)
    by_issue_time = skill.by_issue_time(rows)
    issue_times = by_issue_time["issue_time"].to_list()
    table = series_table(data, rows)
    selected = select_series(table)
    verdict = make_verdict(data, times, figures, len(issue_times))
    actuals = actuals_section(data, rows, times)
    trend = trend_section(by_issue_time, times)
    calibration = calibration_section(data, rows)
    fallbacks = fallback_section(data, times)
    scores = skill.score_arrays(rows, data.series_ids, issue_times)
    series = series_payload(data, table, [row for row, _ in selected], scores, times)
    charts = {"status": fallbacks["chart"]}
    if actuals:
        charts["steps"] = actuals["chart"]
    if trend:
        charts["skill"] = charts["coverage"] = trend["chart"]
    if calibration:
        charts |= {"reliability": calibration["reliability"], "pit": calibration["pit"]}
    content: ReportContent = {
        "series": series,
        "specs": report_specs(settings.quantile_levels, data.unit),
        "charts": charts,
        "unit": data.unit,
    }
    issue_time = data.latest_issue_time
    page = render_document(
        "page.html",
        _SCRIPTS,
        content,
        {
            "settings": data.settings,
            "unit": data.unit,
            "made_at": times.format_moment(data.made_at, year=True),
            "issue": times.format_moment(issue_time, year=True) if issue_time else None,
            "verdict": verdict,
            "key_figures": _key_figures(data, figures, len(issue_times)),
            "selection_rule": SELECTION_RULE,
            "cards": [_card(choice, table, series) for choice in selected],
            "count": series["count"],
            "drawn": len(series.get("curves", {})),
            "quantile_names": series.get("quantile_names", []),
            "scored": len(issue_times),
            "actuals": actuals,
            "trend": trend,
            "calibration": calibration,
            "models": model_entries(data, times),
            "feeds": feed_entries(data, times),
            "fallbacks": fallbacks,
            "stages": stage_durations(data),
        },
    )
    return page, verdict


def _key_figures(data: PageData, figures: Figures, scored: int) -> list[KeyFigure]:
    key_figures = []
    if data.latest is not None:
        share = data.latest.filter(status=MODEL).height / data.latest.height if data.latest.height else None
        key_figures.append(KeyFigure("By the champion", format_percent(share), f"of {len(data.latest):,} rows"))
    if scored:
        nights = "last night" if scored == 1 else f"last {scored} nights"
        key_figures.append(KeyFigure("Skill", format_percent(figures["skill"]), f"against the baseline, {nights}"))
        key_figures.append(
            KeyFigure("Coverage", format_percent(figures["coverage"]), "of the 80% interval; 80% is expected")
        )
    record = data.run_record(data.latest_issue_time)
    started_at, published_at = (record.get("started_at"), record.get("published_at")) if record else (None, None)
    if started_at and published_at:
        duration = datetime.fromisoformat(published_at) - datetime.fromisoformat(started_at)
        key_figures.append(KeyFigure("Duration", format_duration(duration), "from start to publication"))
    return key_figures


def _card(choice: SelectedSeries, table: pl.DataFrame, series: SeriesPayload) -> Card:
    row = choice.row
    return {
        "row": row,
        "id": table["series_id"][row],
        "reasons": choice.reasons,
        "mean_q50": format_number(table["mean_q50"][row]),
        "skill": format_percent(table["recent_skill"][row]),
        "coverage": format_percent(table["coverage"][row]),
        "has_curves": row in series["curves"],
    }
