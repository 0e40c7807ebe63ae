"""Exceedance: P(value > x) of a forecast for any x, told and not published."""

from __future__ import annotations

from datetime import datetime

import polars as pl

from flows.settings.pipeline import Pipeline
from flows.stages.assemble import forecast_table
from flows.stages.forecast import no_deadline, prepare_forecast
from flows.stages.shard import forecast_shard, shard_slices
from storage.schemas import exceedance_column
from storage.store import Store


def exceedance(settings: Pipeline, store: Store, issue_time: datetime, above: tuple[float, ...]) -> pl.DataFrame:
    """The probabilities of the forecast of `issue_time`, by the models that serve it.

    Args:
        settings: with a softmax head.
        above: ascending.

    Returns:
        series_id, valid_time, step, status, and a column `p_above_...` for each of `above`.

    Raises:
        DataError: as `forecast.forecast` does.
    """
    asked = settings.model_copy(update={"forecast": settings.forecast.model_copy(update={"above": above})})
    series, models, why_none = prepare_forecast(asked, store, issue_time, True, None)
    parts = (
        forecast_shard(asked, store, issue_time, series[shard], models, why_none, None, no_deadline)
        for shard in shard_slices(asked, len(series))
    )
    columns = [exceedance_column(threshold) for threshold in above]
    return forecast_table(asked, issue_time, parts).select("series_id", "valid_time", "step", "status", *columns)
