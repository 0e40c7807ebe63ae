"""Nights of the past, in the order of time: as a backtest replays them and a backfill publishes them."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import partial

import numpy as np

from flows import clock, summary
from flows.settings.pipeline import Pipeline
from flows.stages.forecast import forecast
from flows.stages.progress import Progress, no_progress
from flows.stages.train import retrain_reason, train
from storage import forecasts
from storage.schemas import DataError
from storage.schemas.records import FitRecord, ForecastReport
from storage.store import Store

#: (issue time, fingerprint) -> the ONNX bytes and the manifest of a training that need not be done again.
Reuse = Callable[[datetime, str], tuple[bytes, FitRecord] | None]


@dataclass
class ReplayResult:
    """What was published now, by issue time; and what failed, trainings and forecasts, by what and when."""

    published: dict[datetime, ForecastReport] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)


def issue_times_between(settings: Pipeline, start: date, end: date) -> list[datetime]:
    """Issue times (UTC) of the local days from `start` to `end`, both included; business days where the grid is."""
    at = settings.pipeline
    days = np.arange(np.datetime64(start), np.datetime64(end + timedelta(days=1)))
    days = days[settings.grid.is_period_date(days)]
    return [clock.issue_time_on(day, at.issue_at, at.timezone) for day in days.tolist()]


def replay_issue_times(
    settings: Pipeline,
    store: Store,
    issues: list[datetime],
    now: datetime,
    progress: Progress = no_progress,
    requires_promotion: bool = True,
    find_fit: Reuse | None = None,
) -> ReplayResult:
    """Publish the forecasts of `issues` that are not there yet, each from what was known then.

    Trainings come one after the other, where a night would have found one due; between two of them the nights are
    forecast side by side, one a core.

    Args:
        requires_promotion: False lets every challenger serve.
        find_fit: asked before a training.
    """
    done = ReplayResult()
    waiting: list[tuple[datetime, str | None]] = []

    def one(night: tuple[datetime, str | None]) -> None:
        issue, stale_reason = night
        try:
            done.published[issue] = forecast(settings, store, issue, needs_champion=False, stale_reason=stale_reason)
        except DataError as error:
            done.failures[f"forecast {issue.isoformat()}"] = str(error)

    with ThreadPoolExecutor(os.cpu_count()) as pool:

        def forecast_waiting() -> None:
            for number, _ in enumerate(pool.map(one, waiting), start=1):
                progress(f"night {len(done.published)}", (begun + number - len(waiting)) / len(issues))
            waiting.clear()

        for begun, issue in enumerate(issues):
            if forecasts.exists(store, settings.name, settings.pipeline.timezone, issue):
                continue
            stale_reason = None
            if retrain_reason(settings, store, issue):
                forecast_waiting()
                progress(f"train {issue:%Y-%m-%d}", begun / len(issues))
                try:
                    train(
                        settings,
                        store,
                        issue,
                        now,
                        requires_promotion=requires_promotion,
                        find_fit=partial(find_fit, issue) if find_fit else None,
                    )
                except DataError as error:
                    done.failures[f"train {issue.isoformat()}"] = str(error)
                    stale_reason = summary.stale_reason({"train": str(error)})
            waiting.append((issue, stale_reason))
        begun = len(issues)
        forecast_waiting()
    return done
