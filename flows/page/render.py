"""Facts -> one HTML file that needs nothing else: no network, no other file, no time zone of the reader's."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from flows.page import document, payload, sections, skill
from flows.page.facts import Facts
from flows.page.local_time import LocalTimes
from flows.page.numbers import figure, percent
from flows.page.series_table import RULE, matter, series_table
from flows.page.verdict import Verdict, duration, verdict

_DAILY = ("1d", "1b")
_SCRIPTS = ("theme.js", "drawing.js", "unpack.js", "page.js")


def render(facts: Facts) -> tuple[str, Verdict]:
    """The page, and what it says of last night."""
    # Late: Altair takes half a second, and no other command draws.
    from flows.page.charts import specs

    at = facts.pipeline.pipeline
    times = LocalTimes(at.timezone, at.frequency in _DAILY)
    rows = skill.came_true(facts.scores)
    nights = skill.by_night(rows)
    issues = nights["issue_time"].to_list()
    figures = skill.overall(rows)
    table = series_table(facts, rows)
    chosen = matter(table)
    judged = verdict(facts, times, figures, len(issues))
    came = sections.came(facts, rows, times)
    over_time = sections.over_time(nights, times)
    calibration = sections.calibration(facts, rows)
    fallbacks = sections.fallbacks(facts, times)
    arrays = skill.night_arrays(rows, facts.series, issues)
    data = payload.series(facts, table, [row for row, _ in chosen], issues, arrays, times)
    page_charts = {
        "skill": over_time, "coverage": over_time, "status": fallbacks,
        "steps": came and {"chart": came["chart"]},
        "reliability": calibration and {"chart": calibration["reliability"]},
        "pit": calibration and {"chart": calibration["pit"]},
    }  # fmt: skip
    content = {
        "series": data,
        "specs": specs(at.quantile_levels, facts.unit),
        "charts": {
            name: {"rows": found["chart"], "ticks": found.get("ticks", [])}
            for name, found in page_charts.items()
            if found
        },
        "unit": facts.unit,
    }
    page = document.write(
        "page.html", _SCRIPTS, content, pipeline=facts.pipeline, unit=facts.unit, verdict=judged,
        made_at=times.moment(facts.made_at, year=True), issue=facts.published and times.moment(facts.published, True),
        key_figures=_key_figures(facts, figures, len(issues)), rule=RULE,
        cards=[_card(m.row, m.reasons, table, data) for m in chosen], count=data["count"],
        drawn=len(data.get("curves", {})), came=came, over_time=over_time, scored=len(issues), calibration=calibration,
        models=sections.models(facts, times), feeds=sections.feeds(facts, times), fallbacks=fallbacks,
        stages=sections.stages(facts), names=data.get("names", []),
    )  # fmt: skip
    return page, judged


def _key_figures(facts: Facts, figures: dict[str, Any], nights: int) -> list[tuple[str, str, str]]:
    """Name, value and what it is measured against."""
    found = []
    if facts.latest is not None:
        by_model = (facts.latest["status"] == "model").mean()
        found.append(("Made by the champion", percent(by_model), f"of {len(facts.latest):,} rows"))  # type: ignore[arg-type]
    if nights:
        found.append(("Skill", percent(figures["skill"]), f"pinball below the baseline's, {nights} nights"))
        found.append(("80% interval held", percent(figures["coverage"]), "of what came; 80% is the aim"))
    record = facts.record(facts.published)
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
