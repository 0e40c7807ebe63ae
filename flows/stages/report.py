"""Report: what the store holds of a pipeline -> the page people read in the morning."""

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
from flows.stages.panels import newest_target, to_micros, visible_panel
from storage import forecasts, layout, quarantine, registry
from storage import run_records as nights
from storage.schemas import DataError
from storage.schemas.records import PageReport
from storage.store import Store, open_store

logger = logging.getLogger(__name__)

# Steps that the page shows before the newest issue: four weeks, else two days.
_BACK = {"1d": 28, "1b": 20}
_BACK_DAYS = 2


def report(settings: Pipeline, store: Store, now: datetime, output: Path | None = None) -> PageReport:
    """Write the page of a pipeline as of `now`, whatever of it is missing.

    Args:
        output: where to; by default `reports/<name>.html` in the store.

    Returns:
        path, colour (green, amber, red), sentence, bytes.

    Raises:
        DataError: a file that the page is made from is damaged.
    """
    page, verdict = render_report_page(collect_page_data(settings, store, now))
    content = page.encode()
    if output is None:
        place = store.put(layout.report(settings.name), content)
    else:
        place = open_store(str(output.parent)).put(output.name, content)
    return {"path": place, "colour": verdict.colour, "sentence": verdict.sentence, "bytes": len(content)}


def collect_page_data(settings: Pipeline, store: Store, now: datetime) -> PageData:
    """Everything that the page tells, as it stands at `now`."""
    at, name = settings.pipeline, settings.name
    newest = newest_target(settings, store, now)
    due = clock.last_issue_time(at.issue_at, at.timezone, now - settings.forecast.deadline)
    replay = newest is not None and now - newest > REPLAY_AGE
    if replay:
        due = clock.default_issue_time(at.issue_at, at.timezone, newest, now)
    issues, files = _files(settings, store, now)
    latest = files[issues[-1]] if issues else None
    series = tuple(latest["series_id"].unique().sort()) if latest is not None else ()
    first, actual = _actual(settings, store, series, issues[-1], now) if issues else (0, np.empty((0, 0), np.float32))
    issued = _issued(settings, issues, due)
    since = issued[0] if issued else now - timedelta(days=2 * SHOWN_ISSUE_TIMES)
    champions = registry.champions(store, name)
    return PageData(
        settings=settings,
        made_at=now,
        due=due,
        is_replay=replay,
        latest=latest,
        earlier=files[issues[-2]] if len(issues) > 1 else None,
        data_until=newest_target(settings, store, issues[-1]) if issues else None,
        newest_target=newest,
        first_step=first,
        actuals=actual,
        series_ids=series,
        issue_times=issued,
        status_counts=_statuses([files[issue] for issue in issues if issue >= since]),
        scores=_scores(store, name),
        run_records=tuple(nights.read(store, name, min(since, now - timedelta(days=2 * SHOWN_ISSUE_TIMES)))),
        manifests=tuple(registry.valid_manifests(store, name)),
        champion=champions[0] if champions else None,
        quarantined={feed.name: quarantine.read(store, name, feed.name) for feed in settings.feed},
    )


def _actual(
    settings: Pipeline, store: Store, series: tuple[str, ...], issue: datetime, now: datetime
) -> tuple[int, np.ndarray]:
    """The first step shown, and (S, N) target values as known at `now`, to the end of the horizon."""
    at, grid = settings.pipeline, settings.grid
    begin = grid.first_step(to_micros(issue))
    first = begin - max(_BACK.get(at.frequency, _BACK_DAYS * grid.steps_per_day), at.horizon)
    panel = visible_panel(settings, store, series, now, first, begin + at.horizon - first)
    values = panel.target.layers[0].values
    # A panel without any value has one row for all series.
    return first, np.broadcast_to(values, (len(series), values.shape[1]))


def _files(settings: Pipeline, store: Store, now: datetime) -> tuple[list[datetime], dict[datetime, pl.DataFrame]]:
    """The issue times up to `now` whose forecasts are there, and the rows of the last SHOWN_ISSUE_TIMES."""
    issues = [issue for issue in forecasts.list_issue_times(store, settings.name) if issue <= now]
    files = {}
    for issue in issues[-SHOWN_ISSUE_TIMES:]:
        try:
            files[issue] = forecasts.read(store, settings.name, settings.pipeline.timezone, issue)[0]
        except DataError as error:
            # Shown as a night without a forecast, which it is for everybody who reads it.
            logger.warning("the page goes on without %s", error)
    return [issue for issue in issues if issue in files or issue < issues[-SHOWN_ISSUE_TIMES:][0]], files


def _issued(settings: Pipeline, issues: list[datetime], due: datetime) -> tuple[datetime, ...]:
    """The last SHOWN_ISSUE_TIMES issue times at which a forecast was due or made, since the first one made."""
    if not issues:
        return ()
    at, grid = settings.pipeline, settings.grid
    found = set(issues[-SHOWN_ISSUE_TIMES:])
    covered = {grid.first_step(to_micros(issue)) for issue in issues[-2 * SHOWN_ISSUE_TIMES :]}
    night = max(due, issues[-1])
    for _ in range(2 * SHOWN_ISSUE_TIMES):
        night = clock.last_issue_time(at.issue_at, at.timezone, night)
        # On a weekend no period of a market begins that Friday's or Monday's issue does not have.
        if issues[0] <= night <= due and grid.first_step(to_micros(night)) not in covered:
            found.add(night)
        night -= timedelta(seconds=1)
    return tuple(sorted(found)[-SHOWN_ISSUE_TIMES:])


def _statuses(files: list[pl.DataFrame]) -> pl.DataFrame:
    found = [
        rows.group_by("issue_time", "status", "reason").agg(
            pl.len().cast(pl.Int64).alias("rows"), pl.col("series_id").n_unique().cast(pl.Int64).alias("series")
        )
        for rows in files
    ]
    return pl.concat([pl.DataFrame(schema=STATUS_SCHEMA), *(frame.select(STATUS_SCHEMA.keys()) for frame in found)])


def _scores(store: Store, name: str) -> pl.DataFrame:
    """The rows of the last SCORED_ISSUE_TIMES scored issue times."""
    files = store.keys(layout.scores(name), "*.parquet")[-SCORED_ISSUE_TIMES:]
    if not files:
        return pl.DataFrame(schema=SCORE_SCHEMA)
    try:
        return store.scan(files).select(pl.col(c).cast(dtype) for c, dtype in SCORE_SCHEMA.items()).collect()
    except pl.exceptions.PolarsError as error:
        raise DataError(f"the scores in {store.uri(layout.scores(name))} cannot be read: {error}") from None
