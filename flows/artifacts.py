"""Prefect artifacts of a nightly run: the published forecast, its scores, refused rows, alerts and the page."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact

from flows import summary
from storage.schemas.records import RunRecord

logger = logging.getLogger(__name__)

_MAX_ROWS = 50  # of one table


def publish_artifacts(record: RunRecord) -> None:
    """Publish the artifacts of a run, also of one that failed.

    The keys are `<pipeline>-published`, `-page`, `-scores`, `-skill`, `-ingest`, `-quarantine` and `-alerts`. An
    artifact without content is left out. If the server does not respond, the run continues without artifacts.
    """
    try:
        _publish(record)
    except Exception as error:  # the HTTP client and the server raise errors of many types
        logger.warning("Cannot write the run's artifacts to Prefect (%s: %s).", type(error).__name__, error)


def _publish(record: RunRecord) -> None:
    pipeline = record["pipeline"]
    create_markdown_artifact(
        key=f"{pipeline}-published", markdown=forecast_markdown(record), description="Published forecast"
    )
    page = record.get("page")
    if page:
        create_link_artifact(key=f"{pipeline}-page", link=_link(page), link_text="the page", description="Report page")
    manifest = summary.trained_manifest(record)
    if manifest:
        _publish_table(f"{pipeline}-scores", summary.score_rows(manifest), summary.held_out_sentence(manifest))
    _publish_table(f"{pipeline}-skill", summary.skill_rows(record["score"]), "Scores of the forecasts with actuals")
    ingest = record["ingest"]
    if ingest:
        _publish_table(f"{pipeline}-ingest", summary.feed_rows(ingest), "Rows by feed")
        _publish_table(f"{pipeline}-quarantine", summary.refused_rows(ingest), "Refused rows by feed and reason")
    _publish_table(f"{pipeline}-alerts", record["alerts"], "Scores outside their limits")


def _publish_table(key: str, rows: Sequence[Mapping[str, object]], description: str) -> None:
    if rows:
        more = f"; the first {_MAX_ROWS} of {len(rows)}" if len(rows) > _MAX_ROWS else ""
        table = [dict(row) for row in rows[:_MAX_ROWS]]
        create_table_artifact(key=key, table=table, description=description + more)


def forecast_markdown(record: RunRecord) -> str:
    """Return the result of a run in Markdown. Names and errors of others are written as code."""
    forecast = record["forecast"]
    head = summary.forecast_sentence(forecast) if forecast else "Nothing was published."
    lines = [f"**{_code(head)}**", "", f"issue time {record.get('issue_time', 'unknown')}", ""]
    lines += [f"- {_code(line)}" for line in (summary.reason_lines(forecast) if forecast else [])]
    lines += [f"- {stage} failed: {_code(error)}" for stage, error in record["failures"].items()]
    lines += [f"- {feed} is late: {_code(lateness)}" for feed, lateness in record["late"].items()]
    page = record.get("page")
    if page:
        lines += ["", f"page: {_code(page)}"]
    manifest = summary.trained_manifest(record)
    if manifest:
        lines += ["", _code(manifest["decision"]["reason"])]
    return "\n".join(lines)


def _code(text: str) -> str:
    return f"`{' '.join(text.replace('`', chr(39)).split())}`"


def _link(uri: str) -> str:
    return uri if "://" in uri else Path(uri).absolute().as_uri()
