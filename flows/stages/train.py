"""Train: a challenger is fitted, exported, proven, compared on unseen nights, and promoted or refused."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

from flows.settings import Pipeline
from flows.stages.ladder import champion
from flows.stages.panels import instant, known_series, micros, revised_panel
from flows.stages.progress import Progress, silent
from model import metrics
from model.baseline import history_steps, seasonal_naive
from model.forecaster import Forecaster
from model.panel import Channel, Layer, Panel
from model.promotion import decide
from model.timegrid import TimeGrid, local_naive, midnights
from model.windows import windows
from storage import registry
from storage.schemas import DataError
from storage.store import Store

_FEWEST_NIGHTS = 5
_OVERHEAD = 15.0  # seconds for export, proof and comparison, out of the budget


@dataclass(frozen=True)
class Nights:
    """Issue times (us) and the first step of each, ascending."""

    issues: np.ndarray
    steps: np.ndarray

    def over(self, panel: Panel) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Rows, steps and issue times of every series at every one of these nights, night by night."""
        count = len(panel.series)
        rows = np.tile(np.arange(count), len(self.steps))
        return rows, np.repeat(self.steps, count), np.repeat(self.issues, count)


def due(pipeline: Pipeline, store: Store, issue_time: datetime, decay: str | None = None) -> str | None:
    """Why a retrain is due at `issue_time`, or None.

    Args:
        decay: what the scores say against the model that serves. A model younger than `monitoring.recent` is given
            the time to show itself: the nights complained about are its predecessor's.
    """
    serving, why_none = champion(pipeline, store, issue_time)
    if serving is None:
        return why_none
    if serving.why_stale:
        return serving.why_stale
    tried = [datetime.fromisoformat(m["as_of"]) for m in registry.manifests(store, pipeline.name)]
    age = issue_time - max(as_of for as_of in tried if as_of <= issue_time)
    if age >= pipeline.training.every:
        return f"the newest model is {age} old; one is trained every {pipeline.training.every}"
    if decay and age >= pipeline.monitoring.recent:
        return decay
    return None


def train(
    pipeline: Pipeline, store: Store, as_of: datetime, now: datetime, progress: Progress = silent
) -> dict[str, Any]:
    """Train a challenger on what was known at `as_of`.

    Returns:
        The manifest: version, scores of challenger, champion and baseline on the folds, decision.

    Raises:
        DataError: too little history, or the training extra is not installed.
    """
    started = time.monotonic()
    try:
        from model.training.export import prove, to_onnx
        from model.training.fit import TooLittleHistory, fit, fold, sampler
    except ModuleNotFoundError as error:
        raise DataError(f"training needs {error.name}: pip install 'gatecast[train]'") from None
    progress("read history", 0.0)
    panel, first = _history(pipeline, store, as_of)
    folds, recent, last = _split(pipeline, as_of, first, panel.first)
    spec = pipeline.spec(panel.series)
    try:
        source = sampler(
            spec,
            panel,
            last,
            int(panel.grid.start(folds.steps[-1:])[0] - folds.issues[-1]),
            int(folds.steps[-1]),
        )
    except TooLittleHistory as error:
        raise DataError(f"pipeline {pipeline.name!r}: too little history to train on: {error}") from None
    validation = fold(spec, panel, *recent.over(panel))
    budget = pipeline.training.budget.total_seconds()
    network = fit(
        spec, source, validation, pipeline.training.seed, max(budget - _OVERHEAD, budget / 2),
        lambda: time.monotonic() - started, lambda done: progress("train", 0.9 * done),
    )  # fmt: skip
    progress("export and prove", 0.9)
    samples = source.draw(np.random.default_rng(pipeline.training.seed), 1000).windows
    onnx = to_onnx(network, samples[:4])
    parity = prove(network, onnx, samples)
    progress("compare", 0.95)
    serving, _ = champion(pipeline, store, as_of)
    models = {"challenger": Forecaster(onnx)} | ({"champion": serving.forecaster} if serving else {})
    scores = _compare(pipeline, panel, folds, models)
    decision = decide(scores["challenger"], scores.get("champion"), scores["baseline"], pipeline.promotion.margin)
    version = registry.add(
        store, pipeline.name, as_of, onnx,
        {
            "trained_at": now.isoformat(),
            "seconds": round(time.monotonic() - started, 1),
            "data_sha256": samples.sha256(),
            "series": len(panel.series),
            "windows": len(source.known),
            "fitted_to": instant(int(panel.grid.end(np.array([last + spec.horizon - 1]))[0])).isoformat(),
            "folds": {
                "count": len(folds.issues),
                "first": _local(pipeline, folds.issues[0]),
                "last": _local(pipeline, folds.issues[-1]),
            },
            "scores": scores,
            "compared_with": serving.version if serving else None,
            "decision": {"promoted": decision.promoted, "reason": decision.reason},
            "parity": parity,
            "seed": pipeline.training.seed,
            "pipeline": pipeline.model.model_dump(),
        },
    )  # fmt: skip
    if decision.promoted:
        registry.promote(store, pipeline.name, version)
    progress("train", 1.0)
    return registry.manifest(store, pipeline.name, version)


def _history(pipeline: Pipeline, store: Store, as_of: datetime) -> tuple[Panel, int]:
    """All revisions within the training window, and the first step that a forecast at `as_of` would have."""
    series = known_series(pipeline, store, as_of)
    if not series:
        raise DataError(
            f"pipeline {pipeline.name!r}: no target value was known at {as_of.isoformat()}; run `gatecast ingest`"
        )
    grid = pipeline.grid
    first = grid.first_step(micros(as_of))
    window = pipeline.training.window
    begin = as_of - window if window else instant(0)
    start = int(grid.index(np.array([micros(begin)]))[0])
    panel = revised_panel(pipeline, store, series, as_of, start, first - start)
    seen = ~np.isnan(panel.target.layers[0].values).all(axis=0)
    if not seen.any():
        raise DataError(f"pipeline {pipeline.name!r}: the training window holds no target value")
    # Steps before the first value teach nothing; for a window of "all" there are many.
    skip = int(seen.argmax())
    return _crop(panel, skip), first


def _crop(panel: Panel, skip: int) -> Panel:
    def crop(channel: Channel) -> Channel:
        return Channel(channel.name, tuple(
            Layer(layer.values[:, skip:], None if layer.available is None else layer.available[:, skip:])
            for layer in channel.layers
        ))  # fmt: skip

    return replace(
        panel, first=panel.first + skip, target=crop(panel.target),
        known_future=tuple(map(crop, panel.known_future)), observed=tuple(map(crop, panel.observed)),
    )  # fmt: skip


def _split(pipeline: Pipeline, as_of: datetime, first: int, earliest: int) -> tuple[Nights, Nights, int]:
    """Folds for promotion, nights before them for the early stop, and the last step of a fitting window.

    No horizon of an earlier part reaches into a later one.
    """
    at = pipeline.pipeline
    room = first - earliest - at.context - at.horizon
    nights = max(0, room // pipeline.grid.steps_per_day)
    # A short history gives up to two in five of its nights to being judged.
    count = min(pipeline.promotion.folds, nights // 5)
    if count < _FEWEST_NIGHTS:
        raise DataError(
            f"pipeline {pipeline.name!r}: too little history to train on: {first - earliest} steps, of which a "
            f"context of {at.context} and a horizon of {at.horizon} leave {nights} issue times; "
            f"{5 * _FEWEST_NIGHTS} are needed"
        )
    folds = nights_before(pipeline.grid, as_of, first - at.horizon, count)
    recent = nights_before(pipeline.grid, as_of, int(folds.steps[0]) - at.horizon, count)
    return folds, recent, int(recent.steps[0]) - at.horizon


def _local(pipeline: Pipeline, issue: int) -> str:
    """An issue time (us) as people know it, with its offset."""
    return instant(int(issue)).astimezone(ZoneInfo(pipeline.pipeline.timezone)).isoformat()


def nights_before(grid: TimeGrid, as_of: datetime, last: int, count: int) -> Nights:
    """The last `count` nights, at the local time of day of `as_of`, whose forecast starts at step `last` or before."""
    local = local_naive(np.array([micros(as_of)]), grid.timezone)[0]
    day = local.astype("datetime64[D]")
    end = grid.dates(np.array([last]))[0]
    back = np.arange(2 * count + 30 + int((day - end).astype(int)), 0, -1)
    days = day - back.astype("timedelta64[D]")
    days = days[grid.is_day(days)]
    issues = midnights(days, grid.timezone) + int((local - day).astype("timedelta64[us]").astype(np.int64))
    steps = np.array([grid.first_step(int(issue)) for issue in issues])
    keep = steps <= last
    return Nights(issues[keep][-count:], steps[keep][-count:])


def _compare(
    pipeline: Pipeline, panel: Panel, folds: Nights, models: dict[str, Forecaster]
) -> dict[str, dict[str, float]]:
    """Mean scores on the folds, each model and the baseline as of every fold's issue time."""
    at = pipeline.pipeline
    levels = np.array(at.quantile_levels)
    rows, steps, issues = folds.over(panel)
    actual = panel.target.final(rows, steps - panel.first, at.horizon).astype(np.float64)
    back = min(history_steps(at.season, at.context), int(folds.steps[0]) - panel.first)
    past = panel.target.as_of(rows, steps - panel.first - back, back, issues)
    forecasts = {"baseline": seasonal_naive(past, at.season, at.horizon, levels)}
    for name, forecaster in models.items():
        forecasts[name] = forecaster.quantiles(windows(forecaster.spec, panel, rows, steps, issues))
    # One set of rows for all: those that every one of them can be judged on.
    actual[~np.isfinite(np.stack([f.sum(axis=2) for f in forecasts.values()])).all(axis=0)] = np.nan
    return {name: metrics.summary(quantiles, levels, actual) for name, quantiles in forecasts.items()}
