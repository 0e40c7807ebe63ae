"""Late inputs of a forecast: values that are later than their feed declares, and later than is typical for it.

The typical lateness is read only if something is missing, so a run with complete inputs reads nothing more.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

import numpy as np

from flows.settings.pipeline import Pipeline
from flows.settings.types import duration_text
from flows.stages.baseline_history import NO_VALUE, newest_steps
from flows.stages.panels import known_series, to_instant, to_micros
from flows.stages.usual_lateness import SHARED, Input, UsualLateness, due_step, usual_lateness
from model.panel import Panel
from storage import history
from storage.schemas.records import LateInput
from storage.store import Store

_MAX_GAPS = 0.1  # Share of the horizon that gaps inside a covariate may take, such as the hour of a clock change.


@dataclass(frozen=True)
class _Ends:
    """Newest step with a value and number of missing steps of the horizon, each of shape (R,), R series or 1."""

    newest: np.ndarray
    missing: np.ndarray


def find_late_inputs(
    settings: Pipeline, store: Store, issue_time: datetime, panel: Panel, failed_feeds: Mapping[str, str] | None = None
) -> dict[str, list[LateInput]]:
    """Return the late inputs of each series that has one.

    If the last ingest of a feed failed and none has succeeded since the issue time, no lateness of it is typical.

    Args:
        settings: Settings of the pipeline.
        store: Store with the history.
        issue_time: Issue time of the forecast.
        panel: As-of view of `issue_time`, with the steps of context and horizon.
        failed_feeds: Error by feed of which the last ingest failed.
    """
    first = settings.grid.first_step(to_micros(issue_time))
    texts: dict[tuple[str, tuple[str, ...]], dict[str, list[str]]] = {}
    for source, values in _inputs(settings, panel):
        ends = _ends(values, source.is_future, first, settings.pipeline.horizon)
        errors = {feed.name: error for feed in source.feeds if (error := (failed_feeds or {}).get(feed.name))}
        late = _late_series(settings, store, source, ends, panel.series, issue_time, list(errors))
        for name, lateness in late:
            text = "; the ingest failed: ".join((lateness, *errors.values()))
            feeds = tuple(feed.name for feed in source.feeds)
            texts.setdefault((text, feeds), {}).setdefault(name, []).append(source.name)
    found: dict[str, list[LateInput]] = {}
    columns = {feed.name: len(feed.values) for feed in settings.feed}
    for (text, feeds), by_series in texts.items():
        for name, names in by_series.items():
            # Only some columns of a feed are named.
            label = " and ".join(feeds)
            if len(names) < columns[feeds[0]]:
                label += f" ({', '.join(names)})"
            found.setdefault(name, []).extend({"feed": feed, "reason": f"{label}: {text}"} for feed in feeds)
    return found


def _inputs(settings: Pipeline, panel: Panel) -> Iterator[tuple[Input, np.ndarray]]:
    """Yield each input of the model with its values, shape (S or 1, context + horizon)."""
    context = settings.pipeline.context
    targets = settings.feeds("target")
    yield Input(targets[0].values[0], tuple(targets), False), panel.target.layers[0].values[:, :context]
    for role, channels in (("known_future", panel.known_future), ("observed", panel.observed)):
        for channel in channels:
            feeds = tuple(feed for feed in settings.feeds(role) if channel.name in feed.values)
            values = channel.layers[0].values
            is_future = role == "known_future"
            yield Input(channel.name, feeds, is_future), values if is_future else values[:, :context]


def _ends(values: np.ndarray, is_future: bool, first: int, horizon: int) -> _Ends:
    if not is_future:
        return _Ends(newest_steps(values, first), np.zeros(len(values), np.int64))
    missing = np.isnan(values[:, -horizon:]).sum(axis=1)
    return _Ends(newest_steps(values, first + horizon), missing)


def _late_series(
    settings: Pipeline, store: Store, source: Input, ends: _Ends, series: tuple[str, ...], issue_time: datetime,
    failed: list[str],
) -> Iterator[tuple[str, str]]:  # fmt: skip
    """Yield each series whose values of one input are late, with by how much. `failed` are feeds without an ingest."""
    horizon = settings.pipeline.horizon
    due = due_step(settings, source, issue_time)
    is_behind = (ends.newest < due) | (ends.missing > _MAX_GAPS * horizon)
    if not is_behind.any():
        return
    # A covariate has one row if all series share it, or if it could not be read.
    newest, missing = (np.broadcast_to(values, len(series)) for values in (ends.newest, ends.missing))
    rows = np.flatnonzero(np.broadcast_to(is_behind, len(series)))
    names = tuple(series[row] for row in rows)
    newest, missing = newest[rows].copy(), missing[rows]
    _find_older(settings, store, source, names, newest, issue_time)
    never = newest == NO_VALUE
    is_expected = source.is_future or bool(failed)
    if is_expected and never.any() and not _is_used(settings, store, source, issue_time):
        what = f"0 of {horizon} periods of the horizon, and no earlier value" if source.is_future else "no value"
        for name in (names[row] for row in np.flatnonzero(never)):
            yield name, f"{what} of any series"
    if never.all():
        return
    usual = UsualLateness({}, {})
    if not any(_lacks_ingest(settings, store, feed, issue_time) for feed in failed):
        usual = usual_lateness(settings, store, source, names, issue_time)
    for row in np.flatnonzero(~never):
        text = _lateness_text(
            settings, source, due, int(newest[row]), int(missing[row]), usual,
            SHARED if source.is_shared else names[row],
        )  # fmt: skip
        if text:
            yield names[row], text


def _find_older(
    settings: Pipeline, store: Store, source: Input, names: tuple[str, ...], newest: np.ndarray, issue_time: datetime
) -> None:
    """Replace NO_VALUE in `newest`, shape (R,), by the newest step before the panel, if the series has one."""
    empty = np.flatnonzero(newest == NO_VALUE)
    if not len(empty):
        return
    within = None if source.is_shared else (names[empty[0]], names[empty[-1]])
    found: dict[str, int] = {}
    for feed in source.feeds:
        table = history.newest_periods(store, settings.name, feed.name, source.name, issue_time, within)
        steps = settings.grid.index(table["valid_time"].dt.epoch("us").to_numpy())
        for name, step in zip(table["series_id"].fill_null(SHARED).to_list(), steps.tolist(), strict=True):
            found[name] = max(step, found.get(name, step))
    for row in empty:
        newest[row] = found.get(SHARED if source.is_shared else names[row], NO_VALUE)


def _lacks_ingest(settings: Pipeline, store: Store, feed: str, issue_time: datetime) -> bool:
    """Return whether no rows of a feed were ingested at or after an issue time."""
    newest = history.last_ingest(store, settings.name, feed)
    return newest is None or newest < issue_time


def _is_used(settings: Pipeline, store: Store, source: Input, issue_time: datetime) -> bool:
    """Return whether any series of the pipeline has ever had a value of this covariate."""
    ids: set[str | None] = set()
    for feed in source.feeds:
        table = history.newest_periods(store, settings.name, feed.name, source.name, issue_time)
        ids.update(table["series_id"].to_list())
    return bool(ids) if source.is_shared else not ids.isdisjoint(known_series(settings, store, issue_time))


def _lateness_text(
    settings: Pipeline, source: Input, due: int, newest: int, missing: int, usual: UsualLateness, key: str
) -> str | None:
    """Return by how much the values of one series are late, None if that is typical."""
    horizon = settings.pipeline.horizon
    late, usual_late, usual_missing = max(0, due - newest), usual.late.get(key, 0), usual.missing.get(key, 0)
    if not source.is_future:
        if late <= usual_late:
            return None
        return (
            f"the newest period is {_period(settings, newest)}, {periods_text(late)} late by {_declared(source)}, "
            f"usually {usual_late}"
        )
    has_gaps = missing > usual_missing and missing - min(late, horizon) > _MAX_GAPS * horizon
    if late <= usual_late and not has_gaps:
        return None
    return (
        f"{horizon - missing} of {horizon} periods of the horizon, usually {horizon - usual_missing}; the newest "
        f"period is {_period(settings, newest)}"
    )


def _declared(source: Input) -> str:
    dates_values = all(feed.shape().available_at is None for feed in source.feeds)
    delay = duration_text(source.delay) if source.delay else "0h"
    return f"available_after = {delay}" if dates_values else "the end of the last period"


def periods_text(count: int) -> str:
    """Return a number of periods with its noun."""
    return "1 period" if count == 1 else f"{count:,} periods"


def _period(settings: Pipeline, step: int) -> str:
    section = settings.pipeline
    start = to_instant(int(settings.grid.start(np.array([step]))[0])).astimezone(ZoneInfo(section.timezone))
    return start.strftime("%Y-%m-%d" if section.frequency in ("1d", "1b") else "%Y-%m-%d %H:%M")
