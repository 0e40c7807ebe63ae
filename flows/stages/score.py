"""Score stage: compare published forecasts with the actuals, once for each, and again when an actual is revised."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from functools import partial
from typing import cast

import numpy as np
import polars as pl

from flows.settings.pipeline import Pipeline
from flows.stages.baseline_history import visible_history
from flows.stages.panels import known_actuals, known_series, to_micros
from flows.stages.progress import Progress, no_progress
from model.baseline import seasonal_naive, seasonal_scale
from model.evaluation import monitoring
from model.evaluation.alerts import DECAY, find_alerts
from model.evaluation.scoring import score_rows
from storage import forecasts, scores
from storage.history import KEY
from storage.schemas import DataError, quantile_levels, score_schema
from storage.schemas.attempts import Failed, attempt
from storage.schemas.records import Measures, ScoreReport, ScoreSummary
from storage.store import Store

logger = logging.getLogger(__name__)

LOOK_BACK = timedelta(days=90)  # span before the newest issue time in which forecasts are scored
_WINDOW = 28  # issue times summarised by series, step and weekday
_MAX_SERIES = 20  # series in the summary
_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


def score(
    settings: Pipeline, store: Store, now: datetime, look_back: timedelta = LOOK_BACK, progress: Progress = no_progress
) -> ScoreReport:
    """Score the published forecasts whose actuals are known, and summarise the newest scores.

    A forecast is scored again when more actuals are known, an actual was revised, it was published again, or its score
    file is damaged. All other score files keep their bytes.

    Args:
        settings: Settings of the pipeline.
        store: Store with forecasts and history.
        now: Present instant. Forecasts issued later are skipped. Summary and alerts use no later period.
        look_back: Span before the newest issue time in which forecasts are scored.
        progress: Callback for the progress.
    """
    issue_times = [time for time in forecasts.list_issue_times(store, settings.name) if time <= now]
    issue_times = [time for time in issue_times if time >= issue_times[-1] - look_back]
    counts = dict.fromkeys(("scored", "revised", "unchanged", "waiting"), 0)
    rows = 0
    failures: dict[datetime, str] = {}
    actuals = known_actuals(settings, store, issue_times[0]) if issue_times else pl.DataFrame()
    for number, issue_time in enumerate(issue_times):
        progress("score", number / len(issue_times))
        scored = attempt(partial(_score_issue_time, settings, store, issue_time, actuals))
        if isinstance(scored, Failed):
            failures[issue_time] = scored.text
            continue
        outcome, written = scored
        counts[outcome] += 1
        rows += written
    progress("score", 1.0)
    score_table = _read_scores(settings, store, issue_times, failures).filter(pl.col("valid_time") < now)
    alerts = find_alerts(score_table, settings.monitoring.limits())
    alert_reason = next((alert["detail"] for alert in alerts if alert["check"] in DECAY), None)
    return {
        "issues": len(issue_times),
        "scored": counts["scored"],
        "revised": counts["revised"],
        "unchanged": counts["unchanged"],
        "waiting": counts["waiting"],
        "rows": rows,
        "failures": {issue_time.isoformat(): error for issue_time, error in failures.items()},
        "summary": score_summary(score_table, settings.pipeline.timezone),
        "alerts": alerts,
        "decay": alert_reason if settings.monitoring.retrain else None,
    }


def _score_issue_time(settings: Pipeline, store: Store, issue_time: datetime, actuals: pl.DataFrame) -> tuple[str, int]:
    """Score the forecast of one issue time if necessary.

    Returns:
        Outcome (`scored`, `revised`, `unchanged` or `waiting`) and the number of rows written.
    """
    rows, sha256 = forecasts.read(store, settings.name, settings.pipeline.timezone, issue_time)
    earlier = _find_earlier(settings, store, issue_time)
    known = with_actuals(rows, actuals).select(*KEY, "actual")
    if earlier is None and known.is_empty():
        return "waiting", 0
    if earlier is not None and earlier[1] == sha256 and earlier[0].select(known.columns).equals(known):
        return "unchanged", 0
    scored = score_forecast(settings, store, rows, actuals)
    scores.write(store, settings.name, issue_time, scored, sha256)
    return "scored" if earlier is None else "revised", len(scored)


def _find_earlier(settings: Pipeline, store: Store, issue_time: datetime) -> tuple[pl.DataFrame, str] | None:
    """Return the scores of an issue time and the hash of the forecast, or None if they are missing or damaged."""
    try:
        return scores.find(store, settings.name, issue_time)
    except scores.DamagedScores as error:
        # No other file is made from the scores, and they are made again from the forecast and the actuals.
        logger.warning("%s", error)
        return None


def score_summary(score_table: pl.LazyFrame, timezone: str) -> ScoreSummary:
    """Return the measures of the newest issue times, and of the longer span by series, step and weekday.

    Of the series, it has those with the least skill. `monitoring.aggregate` returns all.
    """
    by_issue_time = monitoring.sum_by(score_table, "issue_time")
    if by_issue_time.is_empty():
        return {}
    first = by_issue_time["issue_time"][-min(len(by_issue_time), _WINDOW)]
    window = score_table.filter(pl.col("issue_time") >= first)
    by_weekday = monitoring.aggregate(monitoring.with_weekday(window, timezone), "weekday")
    by_series = monitoring.aggregate(window, "series_id").sort("skill", nulls_last=True, maintain_order=True)
    return {
        "newest_issue": by_issue_time["issue_time"][-1].isoformat(),
        "nights": min(len(by_issue_time), _WINDOW),
        "last_7_nights": _newest_measures(by_issue_time, 7),
        "last_28_nights": _newest_measures(by_issue_time, 28),
        "by_series": by_series.head(_MAX_SERIES).to_dicts(),
        "by_step": monitoring.aggregate(window, "step").to_dicts(),
        "by_weekday": [row | {"weekday": _WEEKDAYS[row["weekday"] - 1]} for row in by_weekday.to_dicts()],
        "pit": monitoring.pit_histogram(window).to_dicts(),
    }


def _newest_measures(by_issue_time: pl.DataFrame, count: int) -> Measures:
    """Return the measures of the newest `count` issue times together."""
    row = monitoring.rolling(by_issue_time, count).drop("issue_time").row(-1, named=True)
    return cast(Measures, row)


def _read_scores(
    settings: Pipeline, store: Store, issue_times: list[datetime], failures: dict[datetime, str]
) -> pl.LazyFrame:
    """Return the scores of `issue_times` without those whose file cannot be read."""
    if not issue_times:
        return pl.LazyFrame(schema=score_schema())
    table = scores.read(store, settings.name, issue_times[0], without=failures)
    return table.filter(pl.col("issue_time") <= issue_times[-1])


def score_forecast(
    settings: Pipeline, store: Store, rows: pl.DataFrame, actuals: pl.DataFrame | None = None
) -> pl.DataFrame:
    """Return the scores of the forecast rows of one issue time whose actuals are known.

    The baseline and the scale of MASE come from the data known at the issue time, as the forecast did.

    Args:
        settings: Settings of the pipeline.
        store: Store with the history.
        rows: Rows of one forecast file.
        actuals: Result of `panels.known_actuals` of at least these periods, to read them once for many issue times. By
            default they are read from the history.

    Returns:
        Table of `storage.schemas.score_schema`, in the order of `rows`.

    Raises:
        DataError: The rows are of several issue times, or not on the pipeline's grid.
    """
    if rows.is_empty():
        return pl.DataFrame(schema=score_schema())
    if actuals is None:
        actuals = known_actuals(settings, store, rows["valid_time"].min())  # type: ignore[arg-type]
    known = with_actuals(rows, actuals)
    if known.is_empty():
        return pl.DataFrame(schema=score_schema())
    issue_time = rows["issue_time"][0]
    grid = settings.grid
    first = grid.first_step(to_micros(issue_time))
    starts = grid.start(first - 1 + known["step"].to_numpy().astype(np.int64))
    if rows["issue_time"].n_unique() > 1 or (starts != known["valid_time"].dt.epoch("us").to_numpy()).any():
        raise DataError(
            f"the forecast of {settings.local_text(issue_time)} is not of one issue time on the {grid.frequency} grid "
            f"of pipeline {settings.name!r}; it was made with other settings and cannot be scored"
        )
    levels = quantile_levels(rows.columns)
    return score_rows(known, levels, *_baseline_and_scale(settings, store, known, levels))


def _baseline_and_scale(
    settings: Pipeline, store: Store, rows: pl.DataFrame, levels: list[float]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the baseline's quantiles, shape (N, Q), and the scale of MASE, shape (N,), of N rows of one issue time.

    Both are NaN for a series without a known value at the issue time.
    """
    baseline, scale = np.full((len(rows), len(levels)), np.nan), np.full(len(rows), np.nan)
    issue_time = rows["issue_time"][0]
    series = known_series(settings, store, issue_time)
    if not series:
        return baseline, scale
    season, bounds = settings.pipeline.season, settings.pipeline.bounds
    first = settings.grid.first_step(to_micros(issue_time))
    history = visible_history(settings, store, series, issue_time, first)
    step = rows["step"].to_numpy()
    quantiles = seasonal_naive(history, season, int(step.max()), np.array(levels))
    quantiles = np.clip(quantiles, bounds.min, bounds.max)
    positions = {name: position for position, name in enumerate(series)}
    row = rows["series_id"].replace_strict(positions, default=-1, return_dtype=pl.Int64).to_numpy()
    is_known = row >= 0
    baseline[is_known] = quantiles[row[is_known], step[is_known] - 1]
    scale[is_known] = seasonal_scale(history.astype(np.float64), season)[row[is_known]]
    return baseline, scale


def with_actuals(rows: pl.DataFrame, actuals: pl.DataFrame) -> pl.DataFrame:
    """Return the forecast `rows` with a known actual, in their order, with the column `actual`."""
    is_near = pl.col("valid_time").is_between(rows["valid_time"].min(), rows["valid_time"].max())
    return rows.join(actuals.filter(is_near), on=KEY, how="inner", maintain_order="left")
