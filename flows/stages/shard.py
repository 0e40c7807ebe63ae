"""One shard: a run of neighbouring series, forecast from their own part of the history and nothing else.

What a series is given does not depend on which others are in its shard. What only all series together can tell, which
of them have ended and what one without any value is like, is left to whoever puts the shards together.

The model looks at its context; further back is read only for the series that it cannot forecast.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import polars as pl

from flows.settings.pipeline import Pipeline
from flows.stages.baseline_history import NO_VALUE, has_ended, newest_steps, visible_history_with_newest
from flows.stages.fallback import FallbackResult, LoadedModel, forecast_with_fallback
from flows.stages.panels import to_micros, visible_panel
from model.baseline import naive_probability_above, seasonal_naive
from model.distribution import clip_probability
from model.panel import Panel
from storage.schemas import BASELINE, shard_result_schema
from storage.store import Store

_CELLS = 1_500_000  # values of the target read at once: 75 MB as the history has them


@dataclass(frozen=True)
class ShardResult:
    """What a shard of S series made.

    Attributes:
        series: S rows of `shard_result_schema`; what has ended has no status.
        numbers: (S, H, Q + X) quantiles, then the probabilities asked for; NaN for what has ended and for what was
            never seen.
        tried: the model tried first (version, sha256, provider, fell_back), None if none was.
    """

    series: pl.DataFrame
    numbers: np.ndarray
    tried: dict[str, str | None] | None


def shard_slices(settings: Pipeline, count: int) -> list[slice]:
    """The shards of `count` series: slices of the sorted list of series, of one length or nearly, none empty."""
    at = settings.pipeline
    chosen = -(-count * (at.context + at.horizon) // _CELLS)
    shards = min(settings.scale.shards or chosen, count)
    return [slice(i * count // shards, (i + 1) * count // shards) for i in range(shards)]


def forecast_shard(
    settings: Pipeline,
    store: Store,
    issue_time: datetime,
    series: tuple[str, ...],
    models: Iterable[LoadedModel],
    why_none: str | None,
    stale_reason: str | None,
    has_time: Callable[[], bool],
) -> ShardResult:
    """Forecast `series` (sorted) as of `issue_time`.

    Args:
        models, why_none: see `ladder.climb`.
        stale_reason, has_time: see `forecast.forecast`.
    """
    grid, at = settings.grid, settings.pipeline
    issue, first = to_micros(issue_time), grid.first_step(to_micros(issue_time))
    panel = visible_panel(settings, store, series, issue_time, first - at.context, at.context + at.horizon)
    newest = newest_steps(panel.target.layers[0].values[:, : at.context], first)
    ever = newest != NO_VALUE
    quiet = np.flatnonzero(~ever)
    if len(quiet):
        past, newest[quiet] = visible_history_with_newest(settings, store, _named(series, quiet), issue_time, first)
        ever[quiet] = ~np.isnan(past).all(axis=1)
    # Others may turn out to have ended as well, but what has ended beside these has ended.
    kept = np.flatnonzero(~has_ended(settings, newest, ever))
    some = len(kept) < len(series)
    if some:
        panel = panel.take(kept)
    bounds = (at.bounds.min, at.bounds.max)
    made = forecast_with_fallback(
        models, why_none, panel, at.horizon, len(at.quantile_levels), settings.forecast.above, first, issue, bounds,
        stale_reason, has_time,
    )  # fmt: skip
    digests = _digests(panel, newest[kept], at.context)
    left = np.flatnonzero(made.status == BASELINE)
    if len(left):
        past, _ = visible_history_with_newest(settings, store, _named(panel.series, left), issue_time, first)
        # Like the others is, for what was never seen; and that is not for a shard to say.
        made.numbers[left] = np.where(ever[kept][left, None, None], _baseline(settings, past), np.nan)
        for row, values in zip(left, past, strict=True):
            digests[row] = hashlib.sha256(digests[row] + values.tobytes()).digest()
    table = _table(series, newest, ever, kept, made, digests)
    numbers = made.numbers
    if some:
        numbers = np.full((len(series), *numbers.shape[1:]), np.nan)
        numbers[kept] = made.numbers
    tried = None
    if made.first:
        forecaster = made.first.forecaster
        tried = {
            "version": made.first.version, "sha256": made.first.sha256, "provider": forecaster.provider,
            "fell_back": forecaster.fell_back,
        }  # fmt: skip
    return ShardResult(table, numbers, tried)


def _baseline(settings: Pipeline, past: np.ndarray) -> np.ndarray:
    """(S, H, Q + X) what the baseline says after `past` (S, N)."""
    at, above = settings.pipeline, settings.forecast.above
    lower, upper = at.bounds.min, at.bounds.max
    quantiles = seasonal_naive(past, at.season, at.horizon, np.array(at.quantile_levels))
    quantiles = np.clip(quantiles, lower, upper)  # type: ignore[call-overload]
    if not above:
        return quantiles
    chance = naive_probability_above(past, at.season, at.horizon, above)
    return np.concatenate([quantiles, clip_probability(chance, above, lower, upper)], axis=2)


def _named(series: tuple[str, ...], rows: np.ndarray) -> tuple[str, ...]:
    return tuple(series[row] for row in rows)


def _table(
    series: tuple[str, ...],
    newest: np.ndarray,
    ever: np.ndarray,
    kept: np.ndarray,
    made: FallbackResult,
    digests: list[bytes],
) -> pl.DataFrame:
    """S rows of `shard_result_schema`."""
    steps = pl.Series(newest)
    whole = pl.DataFrame({"series_id": series, "newest": steps.set(steps == NO_VALUE, None), "ever": ever})
    rows = pl.DataFrame(
        {"status": made.status.tolist(), "reason": made.reason.tolist(), "model_version": made.version.tolist(),
         "digest": digests},
        schema={name: shard_result_schema()[name] for name in ("status", "reason", "model_version", "digest")},
    )  # fmt: skip
    if len(kept) < len(series):
        # A row of nulls stands for what has ended.
        place = np.full(len(series), len(kept))
        place[kept] = np.arange(len(kept))
        rows = pl.concat([rows, rows.clear(1)])[place]
    return pl.concat([whole, rows], how="horizontal").select(shard_result_schema().keys())


def _digests(panel: Panel, newest: np.ndarray, context: int) -> list[bytes]:
    """The sha256 of what each series is forecast from: its name, its window, the calendar.

    The newest step tells a past that was moved up from a new one.
    """
    seen = [panel.target.layers[0].values[:, :context]]
    seen += [channel.layers[0].values for channel in panel.known_future]
    seen += [channel.layers[0].values[:, :context] for channel in panel.observed]
    # One row serves all series where they share a covariate.
    seen = [np.broadcast_to(values, (len(panel.series), values.shape[1])) for values in seen]
    rows = np.concatenate([np.ascontiguousarray(values).view(np.uint8) for values in (newest[:, None], *seen)], axis=1)
    common = hashlib.sha256(np.ascontiguousarray(panel.calendar).data).digest()
    length, content = rows.shape[1], rows.tobytes()
    return [
        hashlib.sha256(b"%b%b\n%b" % (common, name.encode(), content[at * length : (at + 1) * length])).digest()
        for at, name in enumerate(panel.series)
    ]
