"""Report stage: write the HTML page from the content of the store."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from flows import clock
from flows.page.page_data import SCORE_SCHEMA, SCORED_ISSUE_TIMES, SHOWN_ISSUE_TIMES, STATUS_SCHEMA, PageData
from flows.page.report_page import render_report_page
from flows.settings.pipeline import Pipeline
from flows.stages.lateness import REPLAY_AGE
from flows.stages.panels import newest_target, to_micros, visible_target
from storage import forecasts, layout, quarantine, registry, run_records
from storage.schemas import DataError
from storage.schemas.records import PageReport
from storage.store import Store, open_store

logger = logging.getLogger(__name__)

# Steps shown before the newest issue time: about four weeks of days, else two days.
_STEPS_BACK = {"1d": 28, "1b": 20}
_DAYS_BACK = 2


def report(settings: Pipeline, store: Store, now: datetime, output: Path | None = None) -> PageReport:
    """Write the page of a pipeline as of `now`, even if parts of its content are missing.

    Args:
        settings: Settings of the pipeline.
        store: Store of the pipeline.
        now: Present instant.
        output: File to write, by default `reports/<name>.html` in the store.

    Raises:
        DataError: A file that the page needs is damaged.
    """
    page, verdict = render_report_page(collect_page_data(settings, store, now))
    content = page.encode()
    if output is None:
        uri = store.put(layout.report(settings.name), content)
    else:
        uri = open_store(str(output.parent)).put(output.name, content)
    return {"path": uri, "colour": verdict.colour, "sentence": verdict.sentence, "bytes": len(content)}


def collect_page_data(settings: Pipeline, store: Store, now: datetime) -> PageData:
    """Read everything that the page shows, as of `now`."""
    name, issue_at, timezone = settings.name, settings.pipeline.issue_at, settings.pipeline.timezone
    newest = newest_target(settings, store, now)
    due = clock.last_issue_time(issue_at, timezone, now - settings.forecast.deadline)
    is_replay = newest is not None and now - newest > REPLAY_AGE
    if is_replay:
        due = clock.default_issue_time(issue_at, timezone, newest, now)
    published, tables = _read_forecasts(settings, store, now)
    latest = tables[published[-1]] if published else None
    series = tuple(latest["series_id"].unique().sort()) if latest is not None else ()
    first, actuals = 0, np.empty((0, 0), np.float32)
    if published:
        first, actuals = _read_actuals(settings, store, series, published[-1], now)
    shown = _shown_issue_times(settings, published, due)
    oldest_record = now - timedelta(days=2 * SHOWN_ISSUE_TIMES)
    since = shown[0] if shown else oldest_record
    champions = registry.champions(store, name)
    return PageData(
        settings=settings,
        made_at=now,
        due=due,
        is_replay=is_replay,
        latest=latest,
        earlier=tables[published[-2]] if len(published) > 1 else None,
        data_until=newest_target(settings, store, published[-1]) if published else None,
        newest_target=newest,
        first_step=first,
        actuals=actuals,
        series_ids=series,
        issue_times=shown,
        status_counts=_status_counts([tables[time] for time in published if time >= since]),
        scores=_read_scores(store, name),
        run_records=tuple(run_records.read(store, name, min(since, oldest_record))),
        manifests=tuple(registry.valid_manifests(store, name)),
        champion=champions[0] if champions else None,
        quarantined={feed.name: quarantine.read(store, name, feed.name) for feed in settings.feed},
    )


def _read_actuals(
    settings: Pipeline, store: Store, series: tuple[str, ...], issue_time: datetime, now: datetime
) -> tuple[int, np.ndarray]:
    """Return the first step shown, and the target known at `now` until the end of the horizon, shape (S, N)."""
    grid, horizon = settings.grid, settings.pipeline.horizon
    begin = grid.first_step(to_micros(issue_time))
    first = begin - max(_STEPS_BACK.get(settings.pipeline.frequency, _DAYS_BACK * grid.steps_per_day), horizon)
    return first, visible_target(settings, store, series, now, first, begin + horizon - first)


def _read_forecasts(
    settings: Pipeline, store: Store, now: datetime
) -> tuple[list[datetime], dict[datetime, pl.DataFrame]]:
    """Return the issue times up to `now` with a forecast, and the rows of the last SHOWN_ISSUE_TIMES of them."""
    issue_times = [time for time in forecasts.list_issue_times(store, settings.name) if time <= now]
    recent = issue_times[-SHOWN_ISSUE_TIMES:]
    tables = {}
    for issue_time in recent:
        try:
            tables[issue_time] = forecasts.read(store, settings.name, settings.pipeline.timezone, issue_time)[0]
        except DataError as error:
            # A file that nobody can read is shown as a missing forecast.
            logger.warning("The page is written without a forecast that cannot be read: %s.", error)
    return [time for time in issue_times if time in tables or time < recent[0]], tables


def _shown_issue_times(settings: Pipeline, published: list[datetime], due: datetime) -> tuple[datetime, ...]:
    """Return the last SHOWN_ISSUE_TIMES issue times since the first forecast with a forecast due or published."""
    if not published:
        return ()
    grid, issue_at, timezone = settings.grid, settings.pipeline.issue_at, settings.pipeline.timezone
    shown = set(published[-SHOWN_ISSUE_TIMES:])
    published_steps = {grid.first_step(to_micros(time)) for time in published[-2 * SHOWN_ISSUE_TIMES :]}
    issue_time = max(due, published[-1])
    for _ in range(2 * SHOWN_ISSUE_TIMES):
        issue_time = clock.last_issue_time(issue_at, timezone, issue_time)
        # On the weekend of a market no forecast is due: its first period is that of Monday's forecast.
        if published[0] <= issue_time <= due and grid.first_step(to_micros(issue_time)) not in published_steps:
            shown.add(issue_time)
        issue_time -= timedelta(seconds=1)
    return tuple(sorted(shown)[-SHOWN_ISSUE_TIMES:])


def _status_counts(tables: list[pl.DataFrame]) -> pl.DataFrame:
    counts = [
        rows.group_by("issue_time", "status", "reason").agg(
            pl.len().cast(pl.Int64).alias("rows"), pl.col("series_id").n_unique().cast(pl.Int64).alias("series")
        )
        for rows in tables
    ]
    return pl.concat([pl.DataFrame(schema=STATUS_SCHEMA), *(table.select(STATUS_SCHEMA.keys()) for table in counts)])


def _read_scores(store: Store, name: str) -> pl.DataFrame:
    """Return the scores of the last SCORED_ISSUE_TIMES scored issue times."""
    files = store.keys(layout.scores(name), "*.parquet")[-SCORED_ISSUE_TIMES:]
    if not files:
        return pl.DataFrame(schema=SCORE_SCHEMA)
    try:
        return store.scan(files).select(pl.col(c).cast(dtype) for c, dtype in SCORE_SCHEMA.items()).collect()
    except pl.exceptions.PolarsError as error:
        raise DataError(
            f"the scores in {store.uri(layout.scores(name))} cannot be read: {error}; remove the damaged file, and the "
            "next run writes it again"
        ) from None
