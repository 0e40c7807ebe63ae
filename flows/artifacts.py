"""What Prefect shows of a night: what was published, how good it is, what was refused, where the page is."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact

from flows import summary

logger = logging.getLogger(__name__)

_SHOWN = 50  # rows of a table


def publish_artifacts(report: Mapping[str, Any]) -> None:
    """Make the artifacts of a night, whatever became of it.

    Keys are `<pipeline>-published`, `-page`, `-scores`, `-skill`, `-ingest`, `-quarantine` and `-alerts`; what a
    night has nothing of, it has no artifact of. A server that does not answer costs the artifacts, not the night.
    """
    try:
        _show(report)
    except Exception as error:  # whatever an HTTP client or the server says
        logger.warning("Prefect has not kept the night's artifacts: %s: %s", type(error).__name__, error)


def _show(report: Mapping[str, Any]) -> None:
    key = report["pipeline"]

    def table(name: str, rows: list[dict[str, Any]], description: str) -> None:
        if rows:
            more = f"; the first {_SHOWN} of {len(rows)}" if len(rows) > _SHOWN else ""
            create_table_artifact(key=f"{key}-{name}", table=rows[:_SHOWN], description=description + more)

    create_markdown_artifact(
        key=f"{key}-published", markdown=forecast_markdown(report), description="What was published"
    )
    if report.get("page"):
        link = _link(report["page"])
        create_link_artifact(key=f"{key}-page", link=link, link_text="the page", description="What people read")
    train = report.get("train")
    if train and train["trained"]:
        table("scores", summary.score_rows(train), summary.held_out_sentence(train))
    table("skill", summary.skill_rows(report["score"]), "Forecasts that came true, beside the baseline")
    if report.get("ingest"):
        table("ingest", summary.feed_rows(report["ingest"]), "Rows of each feed")
        table("quarantine", summary.refused_rows(report["ingest"]), "Rows refused, by feed and reason")
    table("alerts", report["alerts"], "What the scores complain about")


def forecast_markdown(report: Mapping[str, Any]) -> str:
    """The night in Markdown; what others wrote, such as names and errors, as code."""
    forecast = report["forecast"]
    head = summary.forecast_sentence(forecast) if forecast else "nothing was published"
    lines = [f"**{_code(head)}**", "", f"issue time {report.get('issue_time', 'unknown')}", ""]
    lines += [f"- {_code(line)}" for line in (summary.reason_lines(forecast) if forecast else [])]
    lines += [f"- {stage} failed: {_code(error)}" for stage, error in report["failures"].items()]
    lines += [f"- {feed} is late: {_code(how)}" for feed, how in report["late"].items()]
    if report.get("page"):
        lines += ["", f"page: {_code(report['page'])}"]
    if report.get("train") and report["train"]["trained"]:
        lines += ["", _code(report["train"]["decision"]["reason"])]
    return "\n".join(lines)


def _code(text: str) -> str:
    return f"`{' '.join(text.replace('`', chr(39)).split())}`"


def _link(place: str) -> str:
    return place if "://" in place else Path(place).absolute().as_uri()
