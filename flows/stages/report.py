"""Report stage: write the HTML page from the content of the store."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime, timedelta
from functools import partial
from pathlib import Path

import polars as pl

from flows import clock
from flows.page.page_data import (
    SCORE_SCHEMA,
    SCORED_ISSUE_TIMES,
    SHOWN_ISSUE_TIMES,
    STATUS_SCHEMA,
    Download,
    PageData,
)
from flows.page.report_page import render_report_page
from flows.settings.pipeline import Pipeline
from flows.stages.advisory_steps import AdvisorySteps
from flows.stages.kept_pages import inspection_links, keep_page, list_pages
from flows.stages.lateness import REPLAY_AGE
from flows.stages.page_curves import Actuals, holiday_names, past_forecasts, read_actuals, read_inputs
from flows.stages.panels import newest_target, to_micros
from storage import forecasts, layout, quarantine, registry, run_records
from storage.errors import encodable
from storage.redaction import redact_registered
from storage.schemas.records import PageReport
from storage.store import Store, open_store

# Limits of the files within the page, so that it stays small: rows of the CSV file, bytes of the Parquet file.
_MAX_CSV_ROWS = 50_000
_MAX_PARQUET_BYTES = 4_000_000


def report(settings: Pipeline, store: Store, now: datetime, output: Path | None = None) -> PageReport:
    """Write the page of a pipeline as of `now`, without the parts that cannot be read. The page names them.

    Args:
        settings: Settings of the pipeline.
        store: Store of the pipeline.
        now: Present instant.
        output: File to write, by default `reports/<name>.html` in the store, and a copy under
            `reports/<name>/` that later pages do not replace.
    """
    data = collect_page_data(settings, store, now, with_links=output is None)
    page, verdict = render_report_page(data)
    page = redact_registered(page)
    content = encodable(page).encode()
    if output is None:
        uri = store.put(layout.report(settings.name), content)
        if data.latest_issue_time is not None:
            keep_page(store, settings.name, data.latest_issue_time, page)
    else:
        uri = open_store(str(output.parent)).put(output.name, content)
    return {"path": uri, "colour": verdict.colour, "sentence": verdict.sentence, "bytes": len(content)}


def collect_page_data(settings: Pipeline, store: Store, now: datetime, with_links: bool = True) -> PageData:
    """Read everything that the page shows, as of `now`, with links to other pages of the store if requested."""
    name, issue_at, timezone = settings.name, settings.pipeline.issue_at, settings.pipeline.timezone
    steps = AdvisorySteps()
    # A store that cannot be listed has no part at all, and one error says so.
    issue_times = [time for time in forecasts.list_issue_times(store, name) if time <= now]
    newest = steps.run("newest value", lambda: newest_target(settings, store, now), None)
    due = clock.last_issue_time(issue_at, timezone, now - settings.forecast.deadline)
    published, tables = _read_forecasts(settings, store, issue_times, steps)
    latest = tables[published[-1]] if published else None
    is_replayed = steps.run("run records", lambda: _is_replayed(settings, store, published), False)
    is_replay = is_replayed or (newest is not None and now - newest > REPLAY_AGE)
    if is_replay:
        # The data may go on long after the replayed issue time. No later forecast is due.
        due = published[-1] if published else clock.default_issue_time(issue_at, timezone, newest, now)
    shown = _shown_issue_times(settings, published, due)
    oldest_record = now - timedelta(days=2 * SHOWN_ISSUE_TIMES)
    since = shown[0] if shown else oldest_record
    champions = steps.run("champion", lambda: registry.champions(store, name), [])
    no_scores = pl.DataFrame(schema=SCORE_SCHEMA)
    scores = steps.run(
        "scores", lambda: _read_scores(store, name, published[-1] if is_replayed else now, steps), no_scores
    )
    data = PageData(
        settings=settings,
        made_at=now,
        due=due,
        is_replay=is_replay,
        latest=latest,
        earlier=tables[published[-2]] if len(published) > 1 else None,
        newest_target=newest,
        past_forecasts=past_forecasts(settings, [tables[time] for time in published if time in tables]),
        complete_night=_complete_night(scores, tables),
        issue_times=shown,
        status_counts=_status_counts([tables[time] for time in published if time >= since]),
        scores=scores,
        run_records=steps.run(
            "run records", lambda: tuple(run_records.read(store, name, min(since, oldest_record))), ()
        ),
        manifests=steps.run("models", lambda: tuple(registry.valid_manifests(store, name)), ()),
        champion=champions[0] if champions else None,
        quarantined={feed.name: _read_quarantine(store, name, feed.name, steps) for feed in settings.feed},
        unreadable=steps.failures,
    )
    return data if latest is None else _with_forecast(data, store, latest, with_links, steps)


def _with_forecast(
    data: PageData, store: Store, latest: pl.DataFrame, with_links: bool, steps: AdvisorySteps
) -> PageData:  # fmt: skip
    """Add what surrounds the newest forecast: actuals, covariates, holidays, files and links."""
    settings, name, issue_time = data.settings, data.settings.name, latest["issue_time"][0]
    series = tuple(latest["series_id"].unique().sort())
    actuals = read_actuals(settings, store, series, issue_time, data.made_at, steps)
    columns = actuals.values.shape[1]
    return replace(
        data,
        series_ids=series,
        data_until=steps.run("newest value", lambda: newest_target(settings, store, issue_time), None),
        first_step=actuals.first_step,
        actuals=actuals.values,
        past_first_step=actuals.past_first_step,
        past_actuals=actuals.past,
        last_week=actuals.last_week,
        inputs=steps.run("covariates", lambda: read_inputs(settings, store, latest, actuals.first_step, columns), ()),
        holidays=steps.run("holidays", lambda: _holidays(settings, actuals), {}),
        downloads=steps.run("files of the forecast", lambda: _downloads(settings, store, latest), ()),
        pages=steps.run("earlier pages", lambda: list_pages(store, name, issue_time), ()) if with_links else (),
        inspections=steps.run("inspections", lambda: inspection_links(store, name, issue_time, series), {})
        if with_links
        else {},
    )


def _read_quarantine(store: Store, name: str, feed: str, steps: AdvisorySteps) -> pl.DataFrame:
    return steps.run(
        f"refused rows of {feed}",
        lambda: quarantine.read(store, name, feed),
        pl.DataFrame(schema={"reason": pl.String}),
    )


def _holidays(settings: Pipeline, actuals: Actuals) -> dict[date, str]:
    """Return the holidays of all days in the charts."""
    first = min(actuals.first_step, actuals.past_first_step)
    end = actuals.first_step + actuals.values.shape[1]
    return holiday_names(settings, first, end - first)


def _is_replayed(settings: Pipeline, store: Store, published: list[datetime]) -> bool:
    """Return whether the newest forecast was made long after its issue time, so that it replays the past."""
    if not published:
        return False
    records = run_records.read(store, settings.name, published[-1])
    started = [record["started_at"] for record in records if record.get("issue_time") == published[-1].isoformat()]
    return bool(started) and datetime.fromisoformat(started[-1]) - published[-1] > REPLAY_AGE


def _complete_night(scores: pl.DataFrame, tables: dict[datetime, pl.DataFrame]) -> pl.DataFrame | None:
    """Return the newest forecast whose actuals are all known, with the column `actual`, None if there is none.

    Without a complete one, it is the newest with any actual.
    """
    counts = dict(scores.filter(pl.col("actual").is_finite()).group_by("issue_time").len().iter_rows())
    known = [time for time in sorted(counts, reverse=True) if time in tables]
    complete = [time for time in known if counts[time] >= len(tables[time])]
    if not known:
        return None
    issue_time = (complete or known)[0]
    actuals = scores.filter(issue_time=issue_time).select("series_id", "step", "actual")
    return tables[issue_time].join(actuals, on=["series_id", "step"], how="left").sort("series_id", "step")


def _downloads(settings: Pipeline, store: Store, latest: pl.DataFrame | None) -> tuple[Download, ...]:
    """Return the newest forecast as CSV with local times, and its Parquet file, each if it is small enough."""
    if latest is None:
        return ()
    issue_time, timezone = latest["issue_time"][0], settings.pipeline.timezone
    stem, downloads = f"{settings.name}-{layout.stamp(issue_time)}", []
    if len(latest) <= _MAX_CSV_ROWS:
        local = [
            pl.col(name).dt.convert_time_zone(timezone).dt.strftime("%Y-%m-%dT%H:%M:%S%:z")
            for name in ("issue_time", "valid_time")
        ]
        csv = latest.with_columns(local).write_csv().encode()
        downloads.append(Download(f"{stem}.csv", "text/csv", csv))
    parquet = store.get(layout.forecast(settings.name, issue_time, timezone))
    if len(parquet) <= _MAX_PARQUET_BYTES:
        downloads.append(Download(f"{stem}.parquet", "application/vnd.apache.parquet", parquet))
    return tuple(downloads)


def _read_forecasts(
    settings: Pipeline, store: Store, issue_times: list[datetime], steps: AdvisorySteps
) -> tuple[list[datetime], dict[datetime, pl.DataFrame]]:
    """Return the issue times with a forecast, and the rows of the last SHOWN_ISSUE_TIMES of them.

    A file that cannot be read is shown as a missing forecast.
    """
    recent = issue_times[-SHOWN_ISSUE_TIMES:]
    tables = {}
    for issue_time in recent:
        read = partial(forecasts.read, store, settings.name, settings.pipeline.timezone, issue_time)
        found = steps.run(f"forecast of {issue_time:%Y-%m-%d %H:%M} UTC", read, None)
        if found is not None:
            tables[issue_time] = found[0]
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


def _read_scores(store: Store, name: str, before: datetime, steps: AdvisorySteps) -> pl.DataFrame:
    """Return the scores of periods before an instant, of the last SCORED_ISSUE_TIMES scored issue times.

    In a replay the instant is the issue time, as for the score stage of that run. So both have the same figures.
    """
    times = layout.issue_times(store.keys(layout.scores(name), "*.parquet"))
    files = [key for key, time in times.items() if time < before][-SCORED_ISSUE_TIMES:]
    columns = [pl.col(name).cast(dtype) for name, dtype in SCORE_SCHEMA.items()]

    def read(key: str) -> pl.DataFrame:
        return store.scan([key]).select(columns).filter(pl.col("valid_time") < before).collect()

    empty = pl.DataFrame(schema=SCORE_SCHEMA)
    return pl.concat([empty, *(steps.run(f"scores {key}", partial(read, key), empty) for key in files)])
