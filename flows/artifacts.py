"""Prefect artifacts of a nightly run: the published forecast with a picture, scores, late inputs and refused rows."""

from __future__ import annotations

import base64
import logging
from collections.abc import Mapping, Sequence
from datetime import datetime
from urllib.parse import quote

from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact

from flows import summary
from flows.settings.pipeline import Pipeline
from flows.stages.forecast_excerpt import ForecastExcerpt, excerpt_rows, peak_rows, picture, read_excerpt
from storage.redaction import redact_registered, redact_values
from storage.schemas.attempts import Failed, attempt
from storage.schemas.records import RunRecord
from storage.store import Store

logger = logging.getLogger(__name__)

_MAX_ROWS = 72  # of one table
_REPORTS = "/reports/"  # in the path of the page


def publish_artifacts(settings: Pipeline, store: Store, record: RunRecord) -> None:
    """Publish the artifacts of a run, also of one that failed.

    The keys are `<pipeline>-published`, `-forecast`, `-page`, `-inputs`, `-scores`, `-skill`, `-ingest`,
    `-quarantine` and `-alerts`. An artifact without content is left out. If the server does not respond, the run
    continues without artifacts.
    """
    # The HTTP client and the server raise errors of many types.
    done = attempt(lambda: _publish(settings, record, _read_excerpt(settings, store, record)))
    if isinstance(done, Failed):
        logger.warning("Cannot write the run's artifacts to Prefect (%s).", done.text)


def _publish(settings: Pipeline, record: RunRecord, excerpt: ForecastExcerpt | None) -> None:
    pipeline, link = record["pipeline"], page_link(settings, record.get("page"))
    create_markdown_artifact(
        key=f"{pipeline}-published", description="Published forecast",
        markdown=redact_registered(run_markdown(record, excerpt, link)),
    )  # fmt: skip
    if excerpt is not None:
        _publish_table(f"{pipeline}-forecast", excerpt_rows(excerpt), "Forecast of the series with the largest values")
    if link:
        create_link_artifact(key=f"{pipeline}-page", link=link, link_text="the page", description="Report page")
    manifest = summary.trained_manifest(record)
    if manifest:
        _publish_table(f"{pipeline}-scores", summary.score_rows(manifest), summary.held_out_sentence(manifest))
    _publish_table(f"{pipeline}-skill", summary.skill_rows(record["score"]), "Scores of the forecasts with actuals")
    ingest = record["ingest"]
    if ingest:
        _publish_table(f"{pipeline}-inputs", input_rows(record), "Newest value of each feed, and how late it is")
        _publish_table(f"{pipeline}-ingest", summary.feed_rows(ingest), "Rows by feed")
        _publish_table(f"{pipeline}-quarantine", summary.refused_rows(ingest), "Refused rows by feed and reason")
    _publish_table(f"{pipeline}-alerts", record["alerts"], "Scores outside their limits")


def _read_excerpt(settings: Pipeline, store: Store, record: RunRecord) -> ForecastExcerpt | None:
    """Return the excerpt of the published forecast, None if nothing was published or it cannot be read."""
    forecast = record["forecast"]
    if forecast is None:
        return None
    excerpt = attempt(lambda: read_excerpt(settings, store, datetime.fromisoformat(forecast["issue_time"])))
    if not isinstance(excerpt, Failed):
        return excerpt
    logger.warning("Cannot read the forecast for its artifacts: %s.", excerpt.text)
    return None


def _publish_table(key: str, rows: Sequence[Mapping[str, object]], description: str) -> None:
    if rows:
        more = f"; the first {_MAX_ROWS} of {len(rows)}" if len(rows) > _MAX_ROWS else ""
        table = redact_values([dict(row) for row in rows[:_MAX_ROWS]])
        create_table_artifact(key=key, table=table, description=redact_registered(description) + more)


def input_rows(record: RunRecord) -> list[dict[str, str]]:
    """Return one row per feed: its newest period, and how late it is."""
    feeds = record["ingest"]["feeds"] if record["ingest"] else {}
    return [
        {"feed": name, "newest": feed["last"] or "nothing", "late": record["late"].get(name, "no")}
        for name, feed in feeds.items()
    ]


def page_link(settings: Pipeline, page: str | None) -> str | None:
    """Return the address of the page below `monitoring.reports_url`, None without that setting.

    A path of the worker's machine is of no use in a browser elsewhere.
    """
    address = settings.monitoring.reports_url
    if address is None or page is None or _REPORTS not in page:
        return None
    return f"{address.rstrip('/')}/{quote(page.rpartition(_REPORTS)[2])}"


def run_markdown(record: RunRecord, excerpt: ForecastExcerpt | None, link: str | None) -> str:
    """Return the result of a run in Markdown. Names and errors of others are written as code."""
    forecast = record["forecast"]
    head = summary.forecast_sentence(forecast) if forecast else "Nothing was published."
    lines = [f"**{_code(head)}**", "", f"Issue time {record.get('issue_time', 'unknown')}", ""]
    lines += [f"- {_code(line)}" for line in (summary.reason_lines(forecast) if forecast else [])]
    lines += [f"- {stage} failed: {_code(error)}" for stage, error in record["failures"].items()]
    lines += [f"- {feed} is late: {_code(lateness)}" for feed, lateness in record["late"].items()]
    if excerpt is not None:
        lines += ["", f"![Forecast]({_data_uri(picture(excerpt))})"]
        lines += _markdown_table("Largest series", peak_rows(excerpt))
    lines += _markdown_table("Scores of past forecasts", summary.skill_rows(record["score"]))
    lines += _markdown_table("Inputs", input_rows(record))
    page = record.get("page")
    if page:
        lines += ["", f"[Report page]({link})" if link else f"Report page on the worker: {_code(page)}"]
    manifest = summary.trained_manifest(record)
    if manifest:
        lines += ["", _code(manifest["decision"]["reason"])]
    return "\n".join(lines)


def _markdown_table(title: str, rows: Sequence[Mapping[str, object]]) -> list[str]:
    """Return a title and a table in Markdown, nothing without rows."""
    if not rows:
        return []
    cells = [[_cell(value) for value in row.values()] for row in rows]
    return [
        "", f"### {title}", "", f"| {' | '.join(rows[0])} |", f"|{'---|' * len(rows[0])}",
        *(f"| {' | '.join(line)} |" for line in cells),
    ]  # fmt: skip


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.5g}"
    return _code(str(value)).replace("|", "/") if isinstance(value, str) else str(value)


def _code(text: str) -> str:
    return f"`{' '.join(text.replace('`', chr(39)).split())}`"


def _data_uri(svg: str) -> str:
    return f"data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()}"
