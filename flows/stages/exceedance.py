"""Exceedance probabilities of a forecast, P(value > x) for any x, computed without publishing anything."""

from __future__ import annotations

from datetime import datetime

import polars as pl

from flows.settings.pipeline import Pipeline
from flows.stages.assemble import forecast_table
from flows.stages.forecast import prepare_forecast
from flows.stages.shard import forecast_shard, shard_slices
from storage.schemas import exceedance_column
from storage.store import Store


def exceedance(settings: Pipeline, store: Store, issue_time: datetime, above: tuple[float, ...]) -> pl.DataFrame:
    """Return the exceedance probabilities of the forecast of `issue_time`, by the models that serve it.

    Args:
        settings: Settings of a pipeline whose model has a softmax head.
        store: Store with history and models.
        issue_time: Issue time of the forecast.
        above: Thresholds x, ascending.

    Returns:
        Table of series_id, valid_time, step, status, and a column `p_above_...` for each threshold.

    Raises:
        DataError: As `flows.stages.forecast.forecast` does.
    """
    forecast = settings.forecast.model_copy(update={"above": above})
    settings = settings.model_copy(update={"forecast": forecast})
    series, order = prepare_forecast(settings, store, issue_time)
    results = (
        forecast_shard(settings, store, issue_time, series[shard], order)
        for shard in shard_slices(settings, len(series))
    )
    columns = [exceedance_column(threshold) for threshold in above]
    return forecast_table(settings, issue_time, results).select("series_id", "valid_time", "step", "status", *columns)
