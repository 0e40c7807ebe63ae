"""The report page: one pipeline's store as one HTML file, readable without network, other files or local settings."""

from __future__ import annotations

import base64
from datetime import datetime
from typing import NamedTuple, TypedDict

import polars as pl

from flows.page import skill
from flows.page.chart_data import ChartData, VegaSpec
from flows.page.document import render_document
from flows.page.local_time import LocalTimeFormat
from flows.page.night_section import error_profiles, night_section
from flows.page.number_format import format_number, format_percent
from flows.page.operation_sections import fallback_section, feed_entries, ingest_day, model_entries, stage_durations
from flows.page.outlook import Outlook, OutlookFigure, make_outlook
from flows.page.page_data import PageData
from flows.page.score_sections import calibration_section, trend_section
from flows.page.series_payload import SeriesPayload, quantiles_on_grid, series_payload
from flows.page.series_table import SELECTION_RULE, SelectedSeries, select_series, series_table
from flows.page.skill import Figures
from flows.page.terms import TERMS
from flows.page.verdict import Verdict, format_duration, make_verdict
from storage.schemas import MODEL

_SHOWN_ROWS = 10  # rows of the list of series that page.js shows at first
_MAX_INPUTS = 3  # covariates below the chart of a series
_SCRIPTS = ("theme.js", "drawing.js", "unpack.js", "page.js")


class ReportContent(TypedDict):
    """Data that the scripts of the report page read."""

    series: SeriesPayload
    specs: dict[str, VegaSpec]
    charts: dict[str, ChartData]
    unit: str
    downloads: list[DownloadPayload]


class KeyFigure(NamedTuple):
    """A figure at the head of the page."""

    name: str
    value: str
    note: str


class Card(TypedDict):
    """One of the series that the page shows first, with its figures as text.

    Attributes:
        inputs: Names of the covariates with a chart.
        has_past: Whether past forecasts are drawn over actuals.
    """

    row: int
    id: str
    reasons: list[str]
    figures: list[OutlookFigure]
    skill: str
    coverage: str
    has_curves: bool
    inputs: list[str]
    has_past: bool
    inspection: str | None


class DownloadPayload(TypedDict):
    """One file in the page, as base64."""

    name: str
    media_type: str
    content: str


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
    selected_rows = [row for row, _ in selected]
    verdict = make_verdict(data, times, figures, len(issue_times))
    outlook = _outlook(data, selected_rows, times)
    night = night_section(data, rows, selected_rows, times)
    errors = error_profiles(data, rows)
    trend = trend_section(by_issue_time, times) if len(issue_times) > 1 else None
    calibration = calibration_section(data, rows)
    fallbacks = fallback_section(data, times)
    scores = skill.score_arrays(rows, data.series_ids, issue_times)
    series = series_payload(data, table, selected_rows, scores, times)
    charts = {"status": fallbacks["chart"]} | {profile.name: profile.chart for profile in errors}
    if outlook and outlook["chart"]:
        charts["sum"] = outlook["chart"]
    if night:
        charts |= {chart["chart_name"]: chart["chart"] for chart in night["charts"]}
    if night and night["sum"]:
        charts["night-sum"] = night["sum"]["chart"]
    if trend:
        charts["skill"] = charts["coverage"] = trend["chart"]
    if calibration:
        charts |= {"reliability": calibration["reliability"], "pit": calibration["pit"]}
    is_daily = settings.frequency in ("1d", "1b")
    last_title = f"{settings.horizon} days ahead" if is_daily and settings.horizon > 1 else None
    content: ReportContent = {
        "series": series,
        "specs": report_specs(
            settings.quantile_levels, data.unit, data.earlier is not None, last_title, len(selected) == 1
        ),
        "charts": charts,
        "unit": data.unit,
        "downloads": [
            {"name": file.name, "media_type": file.media_type, "content": base64.b64encode(file.content).decode()}
            for file in data.downloads
        ],
    }  # fmt: skip
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
            "issue_local": times.local(issue_time).isoformat() if issue_time else None,
            "verdict": verdict,
            "terms": TERMS,
            "outlook": outlook,
            "key_figures": _key_figures(data, figures, len(issue_times)),
            "selection_rule": SELECTION_RULE,
            "cards": [_card(data, choice, table, series, outlook) for choice in selected],
            "count": series["count"],
            "shown_rows": _SHOWN_ROWS,
            "drawn": len(series.get("curves", {})),
            "quantile_names": series.get("quantile_names", []),
            "has_holidays": bool(series.get("holidays")),
            "has_earlier": data.earlier is not None,
            "is_daily": is_daily,
            "scored": len(issue_times),
            "night": night,
            "errors": errors,
            "trend": trend,
            "calibration": calibration,
            "models": model_entries(data, times),
            "feeds": feed_entries(data, times),
            "ingest_day": ingest_day(data, times),
            "fallbacks": fallbacks,
            "stages": stage_durations(data),
            "downloads": [(file.name, _size_text(len(file.content))) for file in data.downloads],
            "pages": [(times.format_day(time, year=True), link) for time, link in data.pages],
        },
    )
    return page, verdict


def _outlook(data: PageData, cards: list[int], times: LocalTimeFormat) -> Outlook | None:
    """Return the figures of the newest forecast from the medians of its series."""
    if data.latest is None:
        return None
    medians, column = quantiles_on_grid(data, data.latest, ["q50"])
    if data.earlier is None:
        return make_outlook(data, medians[:, :, 0], None, 0, cards, times)
    earlier, earlier_column = quantiles_on_grid(data, data.earlier, ["q50"])
    return make_outlook(data, medians[:, :, 0], earlier[:, :, 0], column - earlier_column, cards, times)


def _size_text(size: int) -> str:
    """Return the size of a file, for example `12 kB`."""
    return f"{max(1, round(size / 1000)):,} kB"


def _key_figures(data: PageData, figures: Figures, scored: int) -> list[KeyFigure]:
    key_figures = []
    if scored:
        nights = "last night" if scored == 1 else f"last {scored} nights"
        of = " of one series" if len(data.series_ids) > 1 else ""
        note = f"mean absolute error{of}, {data.unit}, {nights}"
        key_figures.append(KeyFigure("Error", format_number(figures["mae"]), note))
        key_figures.append(KeyFigure("Skill", format_percent(figures["skill"]), f"against the baseline, {nights}"))
        key_figures.append(
            KeyFigure("Coverage", format_percent(figures["coverage"]), "of the 80% interval; 80% is expected")
        )
    if data.latest is not None:
        share = data.latest.filter(status=MODEL).height / data.latest.height if data.latest.height else None
        key_figures.append(KeyFigure("By the champion", format_percent(share), f"of {len(data.latest):,} rows"))
    record = data.run_record(data.latest_issue_time)
    started_at, published_at = (record.get("started_at"), record.get("published_at")) if record else (None, None)
    if started_at and published_at:
        duration = datetime.fromisoformat(published_at) - datetime.fromisoformat(started_at)
        key_figures.append(KeyFigure("Duration", format_duration(duration), "from start to publication"))
    return key_figures


def _card(
    data: PageData, choice: SelectedSeries, table: pl.DataFrame, series: SeriesPayload, outlook: Outlook | None
) -> Card:
    row = choice.row
    curves = series["curves"].get(row)
    own = curves.get("inputs") if curves else None
    return {
        "row": row,
        "id": table["series_id"][row],
        "reasons": choice.reasons,
        "figures": outlook["cards"][row] if outlook else [],
        "skill": format_percent(table["skill"][row]),
        "coverage": format_percent(table["coverage"][row]),
        "has_curves": curves is not None,
        "inputs": [
            curve.name
            for number, curve in enumerate(data.inputs)
            if curve.rows is None or (own is not None and own[number] is not None)
        ][:_MAX_INPUTS],
        "has_past": curves is not None and "past" in curves,
        "inspection": data.inspections.get(table["series_id"][row]),
    }
