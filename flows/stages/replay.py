"""Replay of past issue times in their order, as a backtest and a backfill need it."""

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
from flows.stages.retrain import retrain_reason
from flows.stages.train import train
from flows.stages.trained_models import read_trained_models
from storage import forecasts
from storage.schemas import DataError
from storage.schemas.attempts import Failed, attempt
from storage.schemas.records import FitRecord, ForecastReport
from storage.store import Store

#: Function from an issue time and a fingerprint to the result of an earlier fit, None if there is none.
FindEarlierFit = Callable[[datetime, str], tuple[bytes, FitRecord] | None]


@dataclass
class ReplayResult:
    """Forecasts that a replay published, by issue time, and its errors, by stage and issue time."""

    published: dict[datetime, ForecastReport] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)


def issue_times_between(settings: Pipeline, start: date, end: date) -> list[datetime]:
    """Return the issue times (UTC) of the local days from `start` to `end`, both included.

    On a grid of business days, only business days have an issue time.

    Raises:
        DataError: There is none.
    """
    days = np.arange(np.datetime64(start), np.datetime64(end + timedelta(days=1)))
    days = days[settings.grid.is_period_date(days)]
    if not len(days):
        raise DataError(f"pipeline {settings.name!r}: no issue time lies between {start} and {end}")
    issue_at, timezone = settings.pipeline.issue_at, settings.pipeline.timezone
    return [clock.issue_time_on(day, issue_at, timezone) for day in days.tolist()]


def replay_issue_times(
    settings: Pipeline,
    store: Store,
    issue_times: list[datetime],
    now: datetime,
    progress: Progress = no_progress,
    requires_promotion: bool = True,
    find_fit: FindEarlierFit | None = None,
) -> ReplayResult:
    """Publish the missing forecasts of `issue_times`, each from the data known then.

    A model is trained where a nightly run would have trained one. Between two trainings the forecasts are made in
    parallel, one per core.

    Args:
        settings: Settings of the pipeline.
        store: Store with the history, to train and publish in.
        issue_times: Issue times, ascending.
        now: Present instant.
        progress: Callback for the progress.
        requires_promotion: Whether a challenger must pass the comparison to serve.
        find_fit: Function that finds an earlier fit to use instead of a new one.
    """
    result = ReplayResult()
    # Forecasts are made in parallel, but sample paths need the earlier ones: a backfill writes them afterwards.
    without_samples = settings.forecast.model_copy(update={"samples": 0})
    settings = settings.model_copy(update={"forecast": without_samples})
    waiting: list[tuple[datetime, str | None]] = []

    def publish(issue_time: datetime, stale_reason: str | None) -> None:
        report = attempt(partial(forecast, settings, store, issue_time, stale_reason=stale_reason))
        if isinstance(report, Failed):
            result.failures[f"forecast {issue_time.isoformat()}"] = report.text
            return
        result.published[issue_time] = report
        for step, error in report["failures"].items():
            result.failures[f"{step} {issue_time.isoformat()}"] = error

    with ThreadPoolExecutor(os.cpu_count()) as pool:

        def publish_waiting(begun: int) -> None:
            for number, _ in enumerate(pool.map(lambda forecast: publish(*forecast), waiting), start=1):
                done = begun + number - len(waiting)
                progress(f"forecast {len(result.published)}", done / len(issue_times))
            waiting.clear()

        for number, issue_time in enumerate(issue_times):
            if forecasts.exists(store, settings.name, settings.pipeline.timezone, issue_time):
                continue
            stale_reason = None

            def train_if_due(number: int, issue_time: datetime) -> None:
                models = read_trained_models(settings, store, issue_time)
                if retrain_reason(settings, models, issue_time):
                    publish_waiting(number)
                    progress(f"train {issue_time:%Y-%m-%d}", number / len(issue_times))
                    find = partial(find_fit, issue_time) if find_fit else None
                    train(
                        settings, store, issue_time, now, models=models, find_fit=find,
                        requires_promotion=requires_promotion,
                    )  # fmt: skip

            trained = attempt(partial(train_if_due, number, issue_time))
            if isinstance(trained, Failed):
                result.failures[f"train {issue_time.isoformat()}"] = trained.text
                stale_reason = summary.stale_reason({"train": trained.text})
            waiting.append((issue_time, stale_reason))
        publish_waiting(len(issue_times))
    return result
