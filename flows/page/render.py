"""PageData -> one HTML file that needs nothing else: no network, no other file, no time zone of the reader's."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from flows.page import document, payload, sections, skill
from flows.page.local_time import LocalTimes
from flows.page.number_format import figure, percent
from flows.page.page_data import PageData
from flows.page.series_table import RULE, matter, series_table
from flows.page.verdict import Verdict, duration, verdict

_DAILY = ("1d", "1b")
_SCRIPTS = ("theme.js", "drawing.js", "unpack.js", "page.js")


def render(data: PageData) -> tuple[str, Verdict]:
    """The page, and what it says of last night."""
    # Late: Altair takes half a second, and no other command draws.
    from flows.page.charts import specs

    at = data.settings.pipeline
    times = LocalTimes(at.timezone, at.frequency in _DAILY)
    rows = skill.came_true(data.scores)
    nights = skill.by_night(rows)
    issues = nights["issue_time"].to_list()
    figures = skill.overall(rows)
    table = series_table(data, rows)
    chosen = matter(table)
    judged = verdict(data, times, figures, len(issues))
    came = sections.came(data, rows, times)
    over_time = sections.over_time(nights, times)
    calibration = sections.calibration(data, rows)
    fallbacks = sections.fallbacks(data, times)
    arrays = skill.night_arrays(rows, data.series_ids, issues)
    series = payload.series(data, table, [row for row, _ in chosen], issues, arrays, times)
    page_charts = {
        "skill": over_time, "coverage": over_time, "status": fallbacks,
        "steps": came and {"chart": came["chart"]},
        "reliability": calibration and {"chart": calibration["reliability"]},
        "pit": calibration and {"chart": calibration["pit"]},
    }  # fmt: skip
    content = {
        "series": series,
        "specs": specs(at.quantile_levels, data.unit),
        "charts": {
            name: {"rows": found["chart"], "ticks": found.get("ticks", [])}
            for name, found in page_charts.items()
            if found
        },
        "unit": data.unit,
    }
    page = document.write(
        "page.html", _SCRIPTS, content, pipeline=data.settings, unit=data.unit, verdict=judged,
        made_at=times.moment(data.made_at, year=True),
        issue=data.latest_issue_time and times.moment(data.latest_issue_time, True),
        key_figures=_key_figures(data, figures, len(issues)), rule=RULE,
        cards=[_card(m.row, m.reasons, table, series) for m in chosen], count=series["count"],
        drawn=len(series.get("curves", {})), came=came, over_time=over_time, scored=len(issues),
        calibration=calibration,
        models=sections.models(data, times), feeds=sections.feeds(data, times), fallbacks=fallbacks,
        stages=sections.stages(data), names=series.get("names", []),
    )  # fmt: skip
    return page, judged


def _key_figures(data: PageData, figures: dict[str, Any], nights: int) -> list[tuple[str, str, str]]:
    """Name, value and what it is measured against."""
    found = []
    if data.latest is not None:
        by_model = (data.latest["status"] == "model").mean()
        found.append(("Made by the champion", percent(by_model), f"of {len(data.latest):,} rows"))  # type: ignore[arg-type]
    if nights:
        found.append(("Skill", percent(figures["skill"]), f"pinball below the baseline's, {nights} nights"))
        found.append(("80% interval held", percent(figures["coverage"]), "of what came; 80% is the aim"))
    record = data.run_record(data.latest_issue_time)
    if record.get("started_at") and record.get("published_at"):
        began, ended = (datetime.fromisoformat(record[key]) for key in ("started_at", "published_at"))
        found.append(("Took", duration(ended - began), "from start to publication"))
    return found


def _card(row: int, reasons: list[str], table: Any, data: dict[str, Any]) -> dict[str, Any]:
    return {
        "row": row,
        "id": table["series_id"][row],
        "reasons": reasons,
        "level": figure(table["level"][row]),
        "skill": percent(table["recent_skill"][row]),
        "coverage": percent(table["coverage"][row]),
        "drawn": row in data["curves"],
    }
