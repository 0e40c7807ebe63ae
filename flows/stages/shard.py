"""Shard: neighbouring series, forecast from their own history alone.

The values of a series do not depend on the other series of its shard. Two results need all series together: which
series have ended, and the forecast of a series without any value. `flows.stages.assemble` computes them.

A model reads its context only. Older history is read only for series that no model can forecast.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial

import numpy as np
import polars as pl

from flows.settings.pipeline import Pipeline
from flows.stages.advisory_steps import AdvisorySteps
from flows.stages.baseline_history import NO_VALUE, has_ended, newest_steps, visible_history_with_newest
from flows.stages.fallback import FallbackOrder, FallbackResult, forecast_with_fallback
from flows.stages.implausible_values import implausible_reasons, implausible_values
from flows.stages.late_inputs import find_late_inputs
from flows.stages.loaded_models import LoadedModel
from flows.stages.nightly_fit import NightlyFit
from flows.stages.panels import history_step, to_micros, visible_panel
from model.baseline import naive_probability_above, seasonal_naive
from model.distribution import clip_probability
from model.panel import Channel, Panel, RevisionLayer
from storage.history_parts import UnusableHistory
from storage.schemas import BASELINE, MODEL, STALE_MODEL, shard_result_schema
from storage.schemas.records import LateInput, ShardModel
from storage.store import Store

_LATE, _IMPLAUSIBLE = "late inputs", "implausible values"  # steps that may fail
_MAX_VALUES = 1_500_000  # target values read at once, 75 MB in the history's layout


@dataclass(frozen=True)
class ShardResult:
    """Forecasts of one shard of S series.

    Attributes:
        series: S rows of `shard_result_schema`. A series that has ended has no status.
        values: Quantiles, then the probabilities of `forecast.above`, shape (S, H, Q + X). NaN for a series that has
            ended and for one without any value.
        model: First model that was tried, None without any.
    """

    series: pl.DataFrame
    values: np.ndarray
    model: ShardModel | None


def shard_slices(settings: Pipeline, count: int) -> list[slice]:
    """Return the shards of `count` sorted series as slices of nearly equal length, none of them empty."""
    context, horizon = settings.pipeline.context, settings.pipeline.horizon
    automatic = -(-count * (context + horizon) // _MAX_VALUES)
    shards = min(settings.scale.shards or automatic, count)
    return [slice(i * count // shards, (i + 1) * count // shards) for i in range(shards)]


def forecast_shard(
    settings: Pipeline, store: Store, issue_time: datetime, series: tuple[str, ...], order: FallbackOrder
) -> ShardResult:
    """Forecast `series` (sorted ids) as of `issue_time`."""
    context, horizon = settings.pipeline.context, settings.pipeline.horizon
    first = settings.grid.first_step(to_micros(issue_time))
    steps = AdvisorySteps()
    panel = visible_panel(settings, store, series, issue_time, first - context, context + horizon, steps)
    target = panel.target.layers[0].values
    # Values that are left out below have arrived, so they are not late.
    incomplete = _incomplete_inputs(settings, store, issue_time, panel, order, steps)
    left_out = steps.run(
        _IMPLAUSIBLE,
        partial(implausible_values, settings, store, series, issue_time, first - context, target[:, :context]), None,
        (UnusableHistory,),
    )  # fmt: skip
    if left_out is not None:
        left_out_reasons = implausible_reasons(settings, target, left_out, first - context)
        for row in np.flatnonzero(left_out.any(axis=1)):
            _add_reason(incomplete, settings, series[row], left_out_reasons[row])
        target = target.copy()
        target[:, :context][left_out] = np.nan
        panel = replace(panel, target=_with_values(panel.target, target))
    if _IMPLAUSIBLE in steps.failures:
        for name in series:
            _add_reason(incomplete, settings, name, f"its values are not checked: {steps.failures[_IMPLAUSIBLE]}")
    newest = newest_steps(target[:, :context], first)
    was_known = newest != NO_VALUE
    without_value = np.flatnonzero(~was_known)
    if len(without_value):
        names = _select(series, without_value)
        history, newest[without_value] = visible_history_with_newest(settings, store, names, issue_time, first)
        was_known[without_value] = ~np.isnan(history).all(axis=1)
    # A series that has ended beside these has ended beside all. Others may prove to have ended later.
    kept = np.flatnonzero(~has_ended(settings, newest, was_known))
    if len(kept) < len(series):
        panel = panel.take(kept)
    fit = NightlyFit(settings, store, panel.series, issue_time, order.has_time, steps=steps)
    result = forecast_with_fallback(settings, order, panel, fit)
    if incomplete:
        _mark_stale(result, _join_reasons(panel.series, incomplete))
    digests = _digests(panel, newest[kept], context)
    for position, name in enumerate(panel.series):
        if name in fit.digests:
            digests[position] = hashlib.sha256(digests[position] + fit.digests[name]).digest()
    on_baseline = np.flatnonzero(result.status == BASELINE)
    if len(on_baseline):
        names = _select(panel.series, on_baseline)
        history, _ = visible_history_with_newest(settings, store, names, issue_time, first)
        # Series without history are imputed later from pooled forecasts: a shard does not hold the other series.
        is_known = was_known[kept][on_baseline, None, None]
        result.values[on_baseline] = np.where(is_known, _baseline(settings, history), np.nan)
        for row, values in zip(on_baseline, history, strict=True):
            digests[row] = hashlib.sha256(digests[row] + values.tobytes()).digest()
    table = _table(series, newest, was_known, kept, result, digests)
    late = pl.Series("incomplete", [incomplete.get(name) for name in series], shard_result_schema()["incomplete"])
    table = table.with_columns(late).select(shard_result_schema().keys())
    values = result.values
    if len(kept) < len(series):
        values = np.full((len(series), *values.shape[1:]), np.nan)
        values[kept] = result.values
    order.steps.failures.update(steps.failures)
    return ShardResult(table, values, _model_record(result.first_model))


def _incomplete_inputs(
    settings: Pipeline, store: Store, issue_time: datetime, panel: Panel, order: FallbackOrder, steps: AdvisorySteps
) -> dict[str, list[LateInput]]:
    """Return the late, unreadable and unchecked inputs of each series that has one."""
    nothing: dict[str, list[LateInput]] = {}
    find = partial(find_late_inputs, settings, store, issue_time, panel, order.failed_feeds)
    incomplete = steps.run(_LATE, find, nothing, (UnusableHistory,))
    unread = {feed.name: steps.failures.get(history_step(feed.name)) for feed in settings.feed}
    for name in panel.series:
        for feed, error in unread.items():
            if error is not None:
                reason = f"{feed}: its history cannot be read: {error}"
                incomplete.setdefault(name, []).append({"feed": feed, "reason": reason})
        if _LATE in steps.failures:
            _add_reason(incomplete, settings, name, f"it is not known what is late: {steps.failures[_LATE]}")
    return incomplete


def _add_reason(incomplete: dict[str, list[LateInput]], settings: Pipeline, name: str, reason: str) -> None:
    """Add a reason about the target of one series."""
    found: list[LateInput] = [{"feed": feed.name, "reason": reason} for feed in settings.feeds("target")]
    incomplete.setdefault(name, []).extend(found)


def _with_values(channel: Channel, values: np.ndarray) -> Channel:
    """Return an as-of view with other values."""
    return Channel(channel.name, (RevisionLayer(values, channel.layers[0].available),))


def _join_reasons(series: tuple[str, ...], incomplete: Mapping[str, list[LateInput]]) -> np.ndarray:
    """Return the reasons of each series as one text, shape (S,), None for a series whose inputs are complete."""
    reasons = np.full(len(series), None, object)
    for row, name in enumerate(series):
        if name in incomplete:
            # An input of two feeds has the same reason for both.
            reasons[row] = "; ".join(dict.fromkeys(late["reason"] for late in incomplete[name]))
    return reasons


def _mark_stale(result: FallbackResult, reasons: np.ndarray) -> None:
    """Give series with a reason the status `stale_model`, unless they come from the baseline anyway."""
    for row in np.flatnonzero(reasons != None):  # noqa: E711
        if result.status[row] == MODEL:
            result.status[row] = STALE_MODEL
        former = result.reason[row]
        result.reason[row] = reasons[row] if former is None else f"{former}; {reasons[row]}"


def _model_record(model: LoadedModel | None) -> ShardModel | None:
    if model is None:
        return None
    return {
        "version": model.version, "sha256": model.sha256, "provider": model.forecaster.provider,
        "fell_back": model.forecaster.provider_warning,
    }  # fmt: skip


def _baseline(settings: Pipeline, history: np.ndarray) -> np.ndarray:
    """Return the baseline's quantiles and probabilities, shape (S, H, Q + X), from `history`, shape (S, N)."""
    season, horizon, above = settings.pipeline.season, settings.pipeline.horizon, settings.forecast.above
    lower, upper = settings.pipeline.bounds.min, settings.pipeline.bounds.max
    levels = np.array(settings.pipeline.quantile_levels)
    quantiles: np.ndarray = np.clip(seasonal_naive(history, season, horizon, levels), lower, upper)
    if not above:
        return quantiles
    probabilities = naive_probability_above(history, season, horizon, above)
    values: np.ndarray = np.concatenate([quantiles, clip_probability(probabilities, above, lower, upper)], axis=2)
    return values


def _select(series: tuple[str, ...], rows: np.ndarray) -> tuple[str, ...]:
    return tuple(series[row] for row in rows)


def _table(
    series: tuple[str, ...],
    newest: np.ndarray,
    was_known: np.ndarray,
    kept: np.ndarray,
    result: FallbackResult,
    digests: list[bytes],
) -> pl.DataFrame:
    """Return S rows of `shard_result_schema`, without `incomplete`.

    `result` and `digests` are of the series at `kept`.
    """
    steps = pl.Series(newest)
    all_series = pl.DataFrame({"series_id": series, "newest": steps.set(steps == NO_VALUE, None), "ever": was_known})
    schema = shard_result_schema()
    rows = pl.DataFrame(
        {"status": result.status.tolist(), "reason": result.reason.tolist(),
         "model_version": result.version.tolist(), "digest": digests},
        schema={name: schema[name] for name in ("status", "reason", "model_version", "digest")},
    )  # fmt: skip
    if len(kept) < len(series):
        # A row of nulls at the end stands for the series that have ended.
        positions = np.full(len(series), len(kept))
        positions[kept] = np.arange(len(kept))
        rows = pl.concat([rows, rows.clear(1)])[positions]
    return pl.concat([all_series, rows], how="horizontal")


def _digests(panel: Panel, newest: np.ndarray, context: int) -> list[bytes]:
    """Return the sha256 of the input of each series: its name, its window, the calendar, its newest step.

    The newest step distinguishes a history that was moved up from one that was not.
    """
    inputs = [panel.target.layers[0].values[:, :context]]
    inputs += [channel.layers[0].values for channel in panel.known_future]
    inputs += [channel.layers[0].values[:, :context] for channel in panel.observed]
    # A covariate that all series share has one row.
    inputs = [np.broadcast_to(values, (len(panel.series), values.shape[1])) for values in inputs]
    parts = [np.ascontiguousarray(values).view(np.uint8) for values in (newest[:, None], *inputs)]
    rows = np.concatenate(parts, axis=1)
    calendar = hashlib.sha256(np.ascontiguousarray(panel.calendar).data).digest()
    length, content = rows.shape[1], rows.tobytes()
    return [
        hashlib.sha256(b"%b%b\n%b" % (calendar, name.encode(), content[at * length : (at + 1) * length])).digest()
        for at, name in enumerate(panel.series)
    ]
