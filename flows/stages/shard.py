"""One shard: a run of neighbouring series, forecast from their own part of the history and nothing else.

What a series is given does not depend on which others are in its shard. What only all series together can tell, which
of them have ended and what one without any value is like, is left to whoever puts the shards together.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import polars as pl

from flows.settings import Pipeline
from flows.stages.ladder import Serving, climb
from flows.stages.panels import micros, seen_panel
from flows.stages.past import SILENT, ended, newest_steps, with_older_values
from model.baseline import history_steps, naive_probability_above, seasonal_naive
from model.distribution import within
from model.panel import Channel, Panel
from storage.schemas import part_schema
from storage.store import Store

_CELLS = 4_000_000  # values of the target read at once: 130 MB as the history has them


@dataclass(frozen=True)
class Part:
    """What a shard made: a table of `part_schema`, and which model it tried first (version, sha256, provider)."""

    rows: pl.DataFrame
    tried: dict[str, str] | None


def ranges(pipeline: Pipeline, count: int) -> list[slice]:
    """The shards of `count` series: slices of the sorted list of series, of one length or nearly, none empty."""
    at = pipeline.pipeline
    chosen = -(-count * history_steps(at.season, at.context) // _CELLS)
    shards = min(pipeline.scale.shards or chosen, count)
    return [slice(i * count // shards, (i + 1) * count // shards) for i in range(shards)]


def forecast_shard(
    pipeline: Pipeline,
    store: Store,
    issue_time: datetime,
    series: tuple[str, ...],
    models: Iterable[Serving],
    why_none: str | None,
    stale: str | None,
    in_time: Callable[[], bool],
) -> Part:
    """Forecast `series` (sorted) as of `issue_time`.

    Args:
        models, why_none: see `ladder.climb`.
        stale, in_time: see `forecast.forecast`.
    """
    grid, at = pipeline.grid, pipeline.pipeline
    issue, first = micros(issue_time), grid.first_step(micros(issue_time))
    back = history_steps(at.season, at.context)
    panel = seen_panel(pipeline, store, series, issue_time, first - back, back + at.horizon)
    before = panel.target.layers[0].values[:, :back]
    past = with_older_values(pipeline, store, series, issue_time, first, before)
    newest, ever = newest_steps(before, first), ~np.isnan(past).all(axis=1)
    # Others may turn out to have ended as well, but what has ended beside these has ended.
    kept = np.flatnonzero(~ended(pipeline, newest, ever))
    if len(kept) < len(series):
        panel, past = panel.take(kept), past[kept]
    levels = np.array(at.quantile_levels)
    bounds = (at.bounds.min, at.bounds.max)
    baseline = np.clip(seasonal_naive(past, at.season, at.horizon, levels), *bounds)  # type: ignore[call-overload]
    # Like the others is, for what was never seen; and that is not for a shard to say.
    above = pipeline.forecast.above
    chance = within(naive_probability_above(past, at.season, at.horizon, above), above, *bounds)
    baseline[~ever[kept]] = chance[~ever[kept]] = np.nan
    made = climb((baseline, chance), above, models, why_none, panel, first, issue, bounds, stale, in_time)
    numbers = np.concatenate([made.quantiles, made.probabilities], axis=2).reshape(len(kept), -1)
    rows = pl.DataFrame(
        {
            "row": kept,
            "status": pl.Series(made.status.tolist(), dtype=pl.String),
            "reason": pl.Series(made.reason.tolist(), dtype=pl.String),
            "model_version": pl.Series(made.version.tolist(), dtype=pl.String),
            "digest": pl.Series(_digests(panel, past, newest[kept], at.context, at.horizon), dtype=pl.Binary),
            "quantiles": pl.Series(numbers, dtype=pl.Array(pl.Float64, numbers.shape[1])),
        }
    )
    steps = pl.Series(newest)
    whole = pl.DataFrame({"series_id": series, "newest": steps.set(steps == SILENT, None), "ever": ever})
    if len(kept) == len(series):
        whole = pl.concat([whole, rows.drop("row")], how="horizontal")
    else:
        whole = whole.with_row_index("row").with_columns(pl.col("row").cast(pl.Int64))
        whole = whole.join(rows, on="row", how="left", maintain_order="left").drop("row")
    tried = None
    if made.first:
        tried = {
            "version": made.first.version, "sha256": made.first.sha256, "provider": made.first.forecaster.provider
        }  # fmt: skip
    return Part(whole.select(part_schema(numbers.shape[1]).keys()), tried)


def _digests(panel: Panel, past: np.ndarray, newest: np.ndarray, context: int, horizon: int) -> list[bytes]:
    """The sha256 of what each series was forecast from: its past, the covariates of its window, the calendar."""
    back = past.shape[1]
    window = slice(back - context, back + horizon)
    common = hashlib.sha256(np.ascontiguousarray(panel.calendar[window]).data)
    covariates = [_values(covariate)[:, window] for covariate in panel.known_future]
    covariates += [_values(covariate)[:, back - context : back] for covariate in panel.observed]
    digests = []
    for row, name in enumerate(panel.series):
        digest = common.copy()
        # Older values that were moved up are told from new ones by the time of the newest.
        digest.update(f"{name}\n{newest[row]}\n".encode())
        digest.update(past[row])
        for values in covariates:
            # One row serves all series where they share it.
            digest.update(values[row if len(values) > 1 else 0])
        digests.append(digest.digest())
    return digests


def _values(covariate: Channel) -> np.ndarray:
    return covariate.layers[0].values
