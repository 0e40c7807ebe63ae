"""Score: published forecasts against what came, each once, and again when an actual is revised."""

from __future__ import annotations

import numpy as np
import polars as pl

from flows.settings import Pipeline
from flows.stages.panels import actuals as known_actuals
from flows.stages.panels import known_series, micros
from flows.stages.past import seen_past
from model.baseline import seasonal_naive, seasonal_scale
from model.scoring import score_rows
from storage.history import KEY
from storage.schemas import DataError, quantile_levels, score_schema
from storage.store import Store


def judge(pipeline: Pipeline, store: Store, rows: pl.DataFrame, actuals: pl.DataFrame | None = None) -> pl.DataFrame:
    """The scores of one issue time's forecast rows, as far as they came true.

    The baseline and the scale of MASE are made from what was known at the issue time, as the forecast was.

    Args:
        rows: columns of a forecast file, all of one issue time.
        actuals: `panels.actuals` of at least these periods, to read them once for many issue times; by default
            they are read from the history, the latest known.

    Returns:
        A table of `storage.schemas.score_schema`, in the order of `rows`.

    Raises:
        DataError: the rows are of several issue times, or not on the pipeline's grid.
    """
    if rows.is_empty():
        return pl.DataFrame(schema=score_schema())
    if actuals is None:
        actuals = known_actuals(pipeline, store, rows["valid_time"].min())  # type: ignore[arg-type]
    true = with_actuals(rows, actuals)
    if true.is_empty():
        return pl.DataFrame(schema=score_schema())
    issue_time = rows["issue_time"][0]
    grid, at = pipeline.grid, pipeline.pipeline
    first = grid.first_step(micros(issue_time))
    step = true["step"].to_numpy().astype(np.int64)
    starts = grid.start(first - 1 + step)
    if rows["issue_time"].n_unique() > 1 or (starts != true["valid_time"].dt.epoch("us").to_numpy()).any():
        raise DataError(
            f"the forecast of {issue_time.isoformat()} is not of one issue time on the {grid.frequency} grid of "
            f"pipeline {pipeline.name!r}; it was made with other settings and cannot be scored"
        )
    series = known_series(pipeline, store, issue_time)
    past = seen_past(pipeline, store, series, issue_time, first)
    levels = quantile_levels(rows.columns)
    bar = np.clip(  # type: ignore[call-overload]
        seasonal_naive(past, at.season, int(step.max()), np.array(levels)), at.bounds.min, at.bounds.max
    )
    scale = seasonal_scale(past.astype(np.float64), at.season)
    # A series that the history did not know then has neither.
    row = true["series_id"].replace_strict(
        list(series), list(range(len(series))), default=-1, return_dtype=pl.Int64
    ).to_numpy()  # fmt: skip
    known = row >= 0
    baseline, scales = np.full((len(true), len(levels)), np.nan), np.full(len(true), np.nan)
    baseline[known], scales[known] = bar[row[known], step[known] - 1], scale[row[known]]
    return score_rows(true, levels, baseline, scales)


def with_actuals(rows: pl.DataFrame, actuals: pl.DataFrame) -> pl.DataFrame:
    """The forecast `rows` whose actual is known, with it as `actual`, in their order."""
    within = actuals.filter(pl.col("valid_time").is_between(rows["valid_time"].min(), rows["valid_time"].max()))
    return rows.join(within, on=KEY, how="inner", maintain_order="left")
