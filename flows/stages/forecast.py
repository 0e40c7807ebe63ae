"""Forecast: champion + history as of T -> one forecast file. No torch, no onnx, no Prefect."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import polars as pl

from flows.settings import Pipeline
from flows.stages.panels import known_series, micros, seen_panel
from flows.stages.progress import Progress, silent
from model.baseline import history_steps, seasonal_naive
from model.forecast_checks import faults
from model.forecaster import Forecaster
from model.windows import windows
from storage import forecasts, registry
from storage.schemas import BASELINE, INSTANT, MODEL, STALE_MODEL, DataError, quantile_column
from storage.store import Store

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Serving:
    """The model that serves an issue time; `why_stale` says why it is not the champion, None if it is."""

    forecaster: Forecaster
    version: str
    sha256: str
    why_stale: str | None


def forecast(
    pipeline: Pipeline,
    store: Store,
    issue_time: datetime,
    needs_champion: bool = True,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Publish the forecast of `issue_time` from what was known then.

    Args:
        needs_champion: refuse to publish without one; else every row comes from the baseline.

    Returns:
        path, issue_time, series, rows, rows by status, reasons (of rows that are not `model`), model_version.

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
    serving, why_none = champion(pipeline, store, issue_time)
    if serving is None and needs_champion:
        raise DataError(f"pipeline {pipeline.name!r}: {why_none}; run `gatecast train`")
    spec = serving.forecaster.spec if serving else pipeline.spec()
    grid, at = pipeline.grid, pipeline.pipeline
    issue, first = micros(issue_time), grid.first_step(micros(issue_time))
    back = history_steps(at.season, at.context)
    panel = seen_panel(pipeline, store, series, issue_time, first - back, back + at.horizon)
    past = panel.target.layers[0].values[:, :back]
    silent_series = np.isnan(past).all(axis=1)
    if silent_series.any():
        # Out of sight of the panel is not unknown: look as far back as there is history.
        past = _with_older_values(pipeline, store, series, issue_time, first, past, silent_series)
    if np.isnan(past).all():
        raise DataError(f"pipeline {pipeline.name!r}: no series has a value that was known at the issue time")
    levels = np.array(at.quantile_levels)
    lower, upper = at.bounds.min, at.bounds.max
    quantiles = np.clip(  # type: ignore[call-overload]
        seasonal_naive(past, at.season, at.horizon, levels), lower, upper
    )
    reasons = np.full(len(series), why_none or "", dtype=object)
    digest = hashlib.sha256(past.tobytes())
    if serving:
        progress("forecast", 0.3)
        count = len(series)
        seen = windows(spec, panel, np.arange(count), np.full(count, first), np.full(count, issue))
        digest.update(seen.sha256().encode())
        visible = (~np.isnan(seen.target)).sum(axis=1)
        predicted = serving.forecaster.quantiles(seen)
        reasons = faults(predicted, lower, upper)
        too_few = visible < spec.min_visible
        reasons[too_few] = [
            f"only {n} of {spec.context} values of the context were known; the model needs {spec.min_visible}"
            for n in visible[too_few]
        ]
        by_model = reasons == ""
        quantiles[by_model] = predicted[by_model]
    progress("forecast", 0.8)
    rows = _rows(pipeline, series, issue_time, first, quantiles, reasons, serving)
    path = forecasts.publish(
        store, pipeline.name, at.timezone, issue_time, rows, list(at.quantile_levels),
        serving.sha256 if serving else None, digest.hexdigest(),
    )  # fmt: skip
    progress("forecast", 1.0)
    return _report(path, issue_time, rows, serving)


def champion(pipeline: Pipeline, store: Store, issue_time: datetime) -> tuple[Serving | None, str | None]:
    """The model that serves `issue_time`: the champion, else the newest predecessor that can be used.

    Returns:
        The model and None, or None and why there is none.
    """
    try:
        versions = registry.champions(store, pipeline.name, issue_time)
    except DataError as error:
        return None, str(error)
    if not versions:
        later = registry.champions(store, pipeline.name)
        if later:
            return None, f"every champion was trained on data after the issue time {issue_time.isoformat()}"
        return None, registry.no_champion(store, pipeline.name)
    why = None
    for version in versions:
        try:
            onnx = registry.load(store, pipeline.name, version)
            forecaster = Forecaster(onnx, pipeline.forecast.providers, threads=os.cpu_count() or 1)
            difference = forecaster.spec.differs(pipeline.spec())
            if difference:
                raise DataError(f"model {version} does not fit the pipeline file: {difference}")
        except (DataError, ValueError) as error:
            logger.warning("model %s cannot serve: %s", version, error)
            why = why or str(error)
            continue
        return Serving(forecaster, version, hashlib.sha256(onnx).hexdigest(), why), None
    return None, why


def _with_older_values(
    pipeline: Pipeline, store: Store, series: tuple[str, ...], issue_time: datetime, first: int,
    past: np.ndarray, wanted: np.ndarray,
) -> np.ndarray:  # fmt: skip
    """`past` (S, N), with the newest values ever known of the `wanted` series (S,) moved up to its end."""
    step_zero = int(pipeline.grid.index(np.array([0]))[0])
    names = tuple(name for name, want in zip(series, wanted, strict=True) if want)
    panel = seen_panel(pipeline, store, names, issue_time, step_zero, first - step_zero)
    past = past.copy()
    season = pipeline.pipeline.season
    for row, values in zip(np.flatnonzero(wanted), panel.target.layers[0].values, strict=True):
        seen = np.flatnonzero(~np.isnan(values))
        if len(seen):
            # By whole seasons, so that the shape of the season keeps its place.
            shift = -(-(len(values) - 1 - seen[-1] + 1) // season) * season
            moved = values[max(0, len(values) - shift - past.shape[1]) : len(values) - shift]
            past[row, past.shape[1] - len(moved) :] = moved
    return past


def _rows(
    pipeline: Pipeline, series: tuple[str, ...], issue_time: datetime, first: int, quantiles: np.ndarray,
    reasons: np.ndarray, serving: Serving | None,
) -> pl.DataFrame:  # fmt: skip
    horizon = pipeline.pipeline.horizon
    count = len(series)
    valid = pipeline.grid.start(first + np.arange(horizon))
    by_model = reasons == ""
    stale, made_by = (serving.why_stale, serving.version) if serving else (None, None)
    status = [(STALE_MODEL if stale else MODEL) if model else BASELINE for model in by_model]
    why = [stale if model else reason for model, reason in zip(by_model, reasons, strict=True)]
    version = [made_by if model else None for model in by_model]

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
                quantile_column(level): quantiles[:, :, i].ravel()
                for i, level in enumerate(pipeline.pipeline.quantile_levels)
            },
            "status": each(status),
            "reason": each(why),
            "model_version": each(version),
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
