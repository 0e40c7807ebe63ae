"""The whole of a night's shards: what only all series together can tell, and the one file."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

import numpy as np
import polars as pl

from flows.settings import Pipeline
from flows.stages.panels import micros
from flows.stages.past import SILENT, ended
from flows.stages.shard import Part
from model.baseline import typical
from storage import forecasts
from storage.schemas import BASELINE, INSTANT, MODEL, DataError, above_column, quantile_column
from storage.store import Store

_SAMPLE = 1000  # series, spread evenly, that the others of a never seen one are


def publish(pipeline: Pipeline, store: Store, issue_time: datetime, parts: Iterable[Part]) -> dict[str, Any]:
    """Write the forecast file of `issue_time`, the same whatever the shards were.

    Args:
        parts: of all shards, in the order of the series. They are gone through up to three times, and one at a time
            is held.

    Returns:
        What `forecast.forecast` returns.

    Raises:
        DataError: no value of any series was known.
    """
    series, over, fill, tried = _settle(pipeline, parts)
    kept = series.filter(~pl.Series(over))
    data = hashlib.sha256(b"".join(kept["digest"]))
    place = forecasts.publish(
        store, pipeline.name, pipeline.pipeline.timezone, issue_time, _blocks(pipeline, issue_time, parts, over, fill),
        list(pipeline.pipeline.quantile_levels), tried["sha256"] if tried else None, data.hexdigest(),
        pipeline.forecast.above,
    )  # fmt: skip
    report = _report(kept, pipeline.pipeline.horizon)
    return {
        "path": place,
        "issue_time": issue_time.isoformat(),
        **report,
        "model_version": tried["version"] if tried else None,
        "provider": tried["provider"] if tried else None,
        "ended": series.filter(pl.Series(over))["series_id"].to_list(),
    }


def table(pipeline: Pipeline, issue_time: datetime, parts: list[Part]) -> pl.DataFrame:
    """The rows that `publish` would write. Raises DataError as it does."""
    _, over, fill, _ = _settle(pipeline, parts)
    return pl.concat(_blocks(pipeline, issue_time, parts, over, fill))


def _settle(
    pipeline: Pipeline, parts: Iterable[Part]
) -> tuple[pl.DataFrame, np.ndarray, np.ndarray | None, dict[str, str] | None]:
    """Of all series: facts, which have ended, what one never seen is forecast as; and the model tried first."""
    facts, tried = [], None
    for part in parts:
        facts.append(part.rows.drop("quantiles"))
        tried = tried or part.tried
    series = pl.concat(facts)
    ever = series["ever"].to_numpy()
    if not ever.any():
        raise DataError(f"pipeline {pipeline.name!r}: no series has a value that was known at the issue time")
    over = ended(pipeline, series["newest"].fill_null(SILENT).to_numpy(), ever)
    unknown = (~pl.col("ever") & (pl.col("status") == BASELINE)).fill_null(False)
    like = series.filter(~pl.Series(over)).select(unknown.any()).item()
    fill = _like_the_others(pipeline, parts, over, series.select(unknown).to_series().to_numpy()) if like else None
    return series, over, fill, tried


def _like_the_others(pipeline: Pipeline, parts: Iterable[Part], over: np.ndarray, unknown: np.ndarray) -> np.ndarray:
    """(H, Q + X) what a series gets of which nothing is known: the others' forecasts taken together."""
    others = np.flatnonzero(~over & ~unknown)
    chosen = others[:: -(-len(others) // _SAMPLE)]
    found, begin = [], 0
    for part in parts:
        rows = chosen[(chosen >= begin) & (chosen < begin + len(part.rows))] - begin
        found.append(_numbers(pipeline, part.rows)[rows])
        begin += len(part.rows)
    levels = np.array(pipeline.pipeline.quantile_levels)
    quantiles, probabilities = np.split(np.concatenate(found), [len(levels)], axis=2)
    return np.concatenate([typical(quantiles, levels), probabilities.mean(axis=0)], axis=1)


def _blocks(
    pipeline: Pipeline, issue_time: datetime, parts: Iterable[Part], over: np.ndarray, fill: np.ndarray | None
) -> Iterator[pl.DataFrame]:
    """The rows of the forecast file, part by part."""
    first = pipeline.grid.first_step(micros(issue_time))
    horizon = pipeline.pipeline.horizon
    valid = pipeline.grid.start(first + np.arange(horizon))
    columns = [quantile_column(level) for level in pipeline.pipeline.quantile_levels]
    columns += [above_column(threshold) for threshold in pipeline.forecast.above]
    begin = 0
    for part in parts:
        made = part.rows.filter(~pl.Series(over[begin : begin + len(part.rows)]))
        begin += len(part.rows)
        numbers = _numbers(pipeline, made)
        if fill is not None:
            unknown = (~made["ever"] & (made["status"] == BASELINE)).to_numpy()
            numbers = np.where(unknown[:, None, None], fill, numbers)
        again = np.repeat(np.arange(len(made)), horizon)
        yield pl.DataFrame(
            {
                "series_id": made["series_id"].gather(again),
                "issue_time": pl.repeat(issue_time, len(again), dtype=INSTANT, eager=True),
                "valid_time": pl.Series(np.tile(valid, len(made))).cast(INSTANT),
                "step": np.tile(np.arange(1, horizon + 1, dtype=np.int32), len(made)),
                **{name: numbers[:, :, i].ravel() for i, name in enumerate(columns)},
                "status": made["status"].gather(again),
                "reason": made["reason"].gather(again),
                "model_version": made["model_version"].gather(again),
            }
        )


def _numbers(pipeline: Pipeline, rows: pl.DataFrame) -> np.ndarray:
    """(S, H, Q + X) quantiles and probabilities of the rows of a part."""
    at, above = pipeline.pipeline, pipeline.forecast.above
    return rows["quantiles"].to_numpy().reshape(len(rows), at.horizon, len(at.quantile_levels) + len(above))


def _report(kept: pl.DataFrame, horizon: int) -> dict[str, Any]:
    """What was published: series, rows, rows by status, and reasons of what is not `model`."""
    count = kept.group_by("status").len().sort("status")
    degraded = kept.filter(pl.col("status") != MODEL)
    reasons = degraded.group_by("status", "reason").agg(pl.len().alias("series"))
    return {
        "series": len(kept),
        "rows": len(kept) * horizon,
        "status": {status: rows * horizon for status, rows in count.iter_rows()},
        "reasons": reasons.sort("status", "reason").to_dicts(),
        "degraded": not degraded.is_empty(),
    }
