"""Forecast rows in the form that fev evaluates."""

from __future__ import annotations

import polars as pl

from benchmarks.fev_bench.tables import KEYS, Task
from storage.schemas import quantile_column

#: Metrics whose best point forecast is the mean. That of all others is the median.
_OF_THE_MEAN = ("MSE", "RMSE", "RMSSE")


class MissingRows(Exception):
    """Gatecast published no row for a series and time. The message names the first one."""


def to_predictions(task: Task, horizon: pl.DataFrame, rows: pl.DataFrame) -> dict[str, list[dict[str, list[float]]]]:
    """Return the predictions of a window by target column, one entry per item in fev's order.

    Gatecast publishes quantiles. The mean of a row is the mean of its quantiles, which leaves out the tails.

    Args:
        task: The task.
        horizon: Rows to forecast (see `WindowTables`).
        rows: Rows of the forecast files.

    Raises:
        MissingRows: A row of the horizon has no forecast.
    """
    found = horizon.join(rows, on=KEYS, how="left", maintain_order="left", validate="1:1")
    missing = found.filter(pl.col("q50").is_null())
    if len(missing):
        series, valid_time = missing.select(KEYS).row(0)
        raise MissingRows(f"{len(missing)} of {len(found)} rows have no forecast (first: {series} at {valid_time})")
    metric = task.eval_metric if isinstance(task.eval_metric, str) else str(task.eval_metric["name"])
    is_mean = metric.upper() in _OF_THE_MEAN
    point = pl.mean_horizontal(pl.selectors.matches(r"^q\d")) if is_mean else pl.col("q50")
    quantiles = [pl.col(quantile_column(level)).alias(str(level)) for level in task.quantile_levels]
    items = found.select("target", "series_id", point.alias("predictions"), *quantiles)
    lists = items.group_by("target", "series_id", maintain_order=True).agg(pl.all())
    return {
        target: lists.filter(target=target).drop("target", "series_id").to_dicts() for target in task.target_columns
    }
