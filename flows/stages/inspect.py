"""Inspect: one forecast of one series, and what went on in the model that made it -> one HTML page."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import numpy as np
import polars as pl

from flows.page.inspection import Inspection
from flows.page.inspection_page import render_inspection_page
from flows.settings.pipeline import Pipeline
from flows.stages.fallback import LoadedModel, ModelChain, load_champion
from flows.stages.panels import known_series, to_micros, visible_panel, visible_target
from model.occlusion import occlusion_effects
from model.windows import Windows, build_windows
from storage import forecasts, layout, registry
from storage.schemas import DataError, quantile_column
from storage.schemas.records import InspectionReport
from storage.store import Store, open_store

_SHOWN = 5  # series named to who asked for one that is not there
_ROUNDING = 1e-5  # of a forecast's size: other versions of ONNX Runtime may end in other last digits


def inspect(
    settings: Pipeline, store: Store, series_id: str, issue_time: datetime, now: datetime, output: Path | None = None
) -> InspectionReport:
    """Write the page of `series_id` as forecast at `issue_time`.

    Args:
        now: what has come is shown as known by then.
        output: where to; by default `inspections/<name>/<issue time>-<series>.html` in the store.

    Returns:
        path, series_id, issue_time, model_version, bytes, and by how much each part moved the median on average.

    Raises:
        DataError: the series is unknown or was known too little, no model serves that issue time, the file of the one
            that did is gone, or the training extra, with which a model is opened, is not installed.
    """
    found = collect_inspection(settings, store, series_id, issue_time, now)
    content = render_inspection_page(found).encode()
    if output is None:
        place = store.put(layout.inspection(settings.name, issue_time, series_id), content)
    else:
        place = open_store(str(output.parent)).put(output.name, content)
    return {
        "path": place,
        "series_id": series_id,
        "issue_time": issue_time.isoformat(),
        "model_version": found.manifest["version"],
        "unit": settings.unit,
        "moved": {what: float(np.abs(by).mean()) for what, by in found.effects.covariates.items()},
        "moved_by_horizon": {what: float(np.abs(by).mean()) for what, by in found.effects.horizon_covariates.items()},
        "moved_by_segments": [float(value) for value in np.abs(found.effects.segments).mean(axis=1)],
        "bytes": len(content),
    }


def collect_inspection(
    settings: Pipeline, store: Store, series_id: str, issue_time: datetime, now: datetime
) -> Inspection:
    """Everything that the page tells."""
    try:
        from model.training.introspection import UnsupportedGraphError, trace_recurrent_layers
    except ModuleNotFoundError as error:
        raise DataError(f"inspect opens the model, which needs {error.name}: pip install 'gatecast[train]'") from None
    _is_known(settings, store, series_id, issue_time)
    published = _published(settings, store, series_id, issue_time)
    serving = _served(settings, store, issue_time, published)
    forecaster, at, grid = serving.forecaster, settings.pipeline, settings.grid
    first = grid.first_step(to_micros(issue_time))
    window = _window(settings, store, series_id, issue_time, serving)
    quantiles = forecaster.quantiles(window)[0]
    try:
        layers = trace_recurrent_layers(registry.load(store, settings.name, serving.version), window)
    except UnsupportedGraphError as error:
        raise DataError(f"model {serving.version} cannot be opened: {error}") from None
    return Inspection(
        settings=settings,
        series_id=series_id,
        issue_time=issue_time,
        made_at=now,
        spec=forecaster.spec,
        manifest=registry.read_manifest(store, settings.name, serving.version),
        first_step=first,
        window=window,
        quantiles=quantiles,
        actuals=visible_target(settings, store, (series_id,), now, first, at.horizon)[0],
        layers=layers,
        effects=occlusion_effects(forecaster, window),
        notes=tuple(_notes(settings, serving, published, quantiles)),
    )


def _is_known(settings: Pipeline, store: Store, series_id: str, issue_time: datetime) -> None:
    known = known_series(settings, store, issue_time)
    if not known:
        raise DataError(
            f"pipeline {settings.name!r}: no target value was known at {issue_time.isoformat()}; "
            "run `gatecast ingest` or choose a later issue time"
        )
    if series_id not in known:
        more = f" and {len(known) - _SHOWN} more" if len(known) > _SHOWN else ""
        raise DataError(
            f"series {series_id!r} was not known at {issue_time.isoformat()}; known were "
            f"{', '.join(known[:_SHOWN])}{more}"
        )


def _published(settings: Pipeline, store: Store, series_id: str, issue_time: datetime) -> pl.DataFrame | None:
    """The rows of the series in the forecast file of that issue time, None if there are none."""
    if not forecasts.exists(store, settings.name, settings.pipeline.timezone, issue_time):
        return None
    rows, _ = forecasts.read(store, settings.name, settings.pipeline.timezone, issue_time)
    mine = rows.filter(pl.col("series_id") == series_id)
    return None if mine.is_empty() else mine


def _served(settings: Pipeline, store: Store, issue_time: datetime, published: pl.DataFrame | None) -> LoadedModel:
    """The model that made the published rows, else the one that serves that issue time."""
    version = None if published is None else published["model_version"][0]
    if version is None:
        serving, why_none = load_champion(settings, store, issue_time)
        if serving is None:
            raise DataError(f"pipeline {settings.name!r}: {why_none}; run `gatecast train`")
        return serving
    that = ModelChain(settings, store, [version])
    serving = next(iter(that), None)
    if serving is None:
        raise DataError(f"the model that made this forecast cannot be opened: {that.error}")
    return serving


def _window(settings: Pipeline, store: Store, series_id: str, issue_time: datetime, serving: LoadedModel) -> Windows:
    """What the model saw of the series."""
    spec, issue = serving.forecaster.spec, to_micros(issue_time)
    first = settings.grid.first_step(issue)
    panel = visible_panel(settings, store, (series_id,), issue_time, first - spec.context, spec.context + spec.horizon)
    window = build_windows(spec, panel, np.array([0]), np.array([first]), np.array([issue]))
    visible = int((~np.isnan(window.target)).sum())
    if visible < spec.min_visible:
        raise DataError(
            f"series {series_id!r}: only {visible} of {spec.context} values of the context were known at "
            f"{issue_time.isoformat()}; the model needs {spec.min_visible}, so the baseline forecasts it"
        )
    return window


def _notes(
    settings: Pipeline, serving: LoadedModel, published: pl.DataFrame | None, quantiles: np.ndarray
) -> list[str]:
    """What a reader must know before he believes that this is the forecast that was published."""
    if published is None:
        return ["No forecast of this issue time has been published: this is what the model that serves it would say."]
    status, reason = published["status"][0], published["reason"][0]
    if published["model_version"][0] is None:
        return [f"What was published for this series is the baseline's: {reason}. Below is what the model says."]
    notes = [f"Published as {status}: {reason}."] if reason else []
    columns = [quantile_column(level) for level in serving.forecaster.spec.levels]
    told = published.select(columns).to_numpy()
    apart = np.abs(told - quantiles).max(initial=0)
    if told.shape != quantiles.shape or not apart <= _ROUNDING * np.abs(quantiles).max():
        unit = settings.unit or "the target's unit"
        notes.append(
            f"The forecast published then differs by up to {apart:.4g} {unit}: what had become known by the issue time "
            "was taken in only later."
        )
    return notes
