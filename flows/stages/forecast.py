"""Forecast: champion + history as of T -> one forecast file. No torch, no onnx, no Prefect."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import numpy as np
import polars as pl

from flows.settings import Pipeline
from flows.stages.ladder import Climb, Serving, climb, servings
from flows.stages.panels import known_series, micros, seen_panel
from flows.stages.past import ended, with_older_values
from flows.stages.progress import Progress, silent
from model.baseline import history_steps, seasonal_naive
from storage import forecasts
from storage.schemas import INSTANT, MODEL, DataError, quantile_column
from storage.store import Store

logger = logging.getLogger(__name__)


def _always() -> bool:
    return True


def forecast(
    pipeline: Pipeline,
    store: Store,
    issue_time: datetime,
    needs_champion: bool = True,
    stale: str | None = None,
    without_model: str | None = None,
    in_time: Callable[[], bool] = _always,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Publish the forecast of `issue_time` from what was known then.

    Args:
        needs_champion: refuse to publish without one; else every row comes from the baseline.
        stale: why even the champion's rows are stale: what it or its input should have been renewed by failed.
        without_model: why no model is to be asked, so that every row comes from the baseline.
        in_time: asked on the way; once it is False, the rows still missing come from the baseline.

    Returns:
        path, issue_time, series, rows, rows by status, reasons (of rows that are not `model`), model_version, and the
        series that have ended (`forecast.ended_after`) and are not forecast any more.

    Raises:
        DataError: there is no target value to forecast from, or no champion although one is needed.
    """
    progress("forecast", 0.0)
    series = known_series(pipeline, store, issue_time)
    if not series:
        raise DataError(
            f"pipeline {pipeline.name!r}: no target value was known at {issue_time.isoformat()}; "
            "run `gatecast ingest` or choose a later issue time"
        )
    models, why_none = (iter(()), without_model) if without_model else servings(pipeline, store, issue_time)
    if why_none and needs_champion and not without_model:
        raise DataError(f"pipeline {pipeline.name!r}: {why_none}; run `gatecast train`")
    grid, at = pipeline.grid, pipeline.pipeline
    issue, first = micros(issue_time), grid.first_step(micros(issue_time))
    back = history_steps(at.season, at.context)
    panel = seen_panel(pipeline, store, series, issue_time, first - back, back + at.horizon)
    past = with_older_values(pipeline, store, series, issue_time, first, panel.target.layers[0].values[:, :back])
    if np.isnan(past).all():
        raise DataError(f"pipeline {pipeline.name!r}: no series has a value that was known at the issue time")
    over = ended(pipeline, panel, first, past)
    if over.any():
        kept = np.flatnonzero(~over)
        logger.info("%d series have ended and are not forecast", int(over.sum()))
        panel, past = panel.take(kept), past[kept]
    levels = np.array(at.quantile_levels)
    bounds = (at.bounds.min, at.bounds.max)
    baseline = np.clip(seasonal_naive(past, at.season, at.horizon, levels), *bounds)  # type: ignore[call-overload]
    progress("forecast", 0.3)
    made = climb(baseline, models, why_none, panel, first, issue, bounds, stale, in_time)
    digest = hashlib.sha256(past.tobytes())
    for seen in made.seen:
        digest.update(seen.encode())
    progress("forecast", 0.8)
    rows = _rows(pipeline, panel.series, issue_time, first, made)
    path = forecasts.publish(
        store, pipeline.name, at.timezone, issue_time, rows, list(at.quantile_levels),
        made.first.sha256 if made.first else None, digest.hexdigest(),
    )  # fmt: skip
    progress("forecast", 1.0)
    return _report(path, issue_time, rows, made.first) | {"ended": [series[row] for row in np.flatnonzero(over)]}


def _rows(pipeline: Pipeline, series: tuple[str, ...], issue_time: datetime, first: int, made: Climb) -> pl.DataFrame:
    horizon = pipeline.pipeline.horizon
    count = len(series)
    valid = pipeline.grid.start(first + np.arange(horizon))

    def each(values: Sequence[str | None]) -> pl.Series:
        """One value a series, repeated over the horizon."""
        return pl.Series(values, dtype=pl.String).gather(np.repeat(np.arange(count), horizon))

    return pl.DataFrame(
        {
            "series_id": each(series),
            "issue_time": pl.repeat(issue_time, count * horizon, dtype=INSTANT, eager=True),
            "valid_time": pl.Series(np.tile(valid, count)).cast(INSTANT),
            "step": np.tile(np.arange(1, horizon + 1, dtype=np.int32), count),
            **{
                quantile_column(level): made.quantiles[:, :, i].ravel()
                for i, level in enumerate(pipeline.pipeline.quantile_levels)
            },
            "status": each(made.status.tolist()),
            "reason": each(made.reason.tolist()),
            "model_version": each(made.version.tolist()),
        }
    )


def _report(path: Any, issue_time: datetime, rows: pl.DataFrame, serving: Serving | None) -> dict[str, Any]:
    count = rows.group_by("status").len().sort("status")
    degraded = rows.filter(pl.col("status") != MODEL)
    reasons = degraded.group_by("status", "reason").agg(pl.col("series_id").n_unique().alias("series"))
    return {
        "path": str(path),
        "issue_time": issue_time.isoformat(),
        "series": rows["series_id"].n_unique(),
        "rows": len(rows),
        "status": dict(count.iter_rows()),
        "reasons": reasons.sort("status", "reason").to_dicts(),
        "degraded": not degraded.is_empty(),
        "model_version": serving.version if serving else None,
        "provider": serving.forecaster.provider if serving else None,
    }
