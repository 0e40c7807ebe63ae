"""Inspect stage: write a page about one forecast of one series and the model that made it."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import numpy as np
import polars as pl

from flows.page.inspection import Inspection
from flows.page.inspection_page import render_inspection_page
from flows.settings.pipeline import Pipeline
from flows.stages.fallback import no_deadline
from flows.stages.loaded_models import LoadedModel, ModelChain, load_champion
from flows.stages.nightly_fit import NightlyFit
from flows.stages.panels import known_series, to_micros, visible_panel, visible_target
from model.linear_contributions import LinearContributions, covariate_responses, linear_contributions
from model.occlusion import occlusion_effects
from model.windows import Windows, build_windows
from storage import forecasts, layout, registry
from storage.redaction import redact_registered
from storage.schemas import DataError, quantile_column
from storage.schemas.records import InspectionReport, LinearReport
from storage.store import Store, open_store

_MAX_NAMED = 5  # known series named in the error about an unknown one
_TOLERANCE = 1e-5  # relative difference that another version of ONNX Runtime may cause


def inspect(
    settings: Pipeline, store: Store, series_id: str, issue_time: datetime, now: datetime, output: Path | None = None
) -> InspectionReport:
    """Write the page about the forecast of `series_id` at `issue_time`.

    Args:
        settings: Settings of the pipeline.
        store: Store with history, forecasts and models.
        series_id: Series to inspect.
        issue_time: Issue time of the forecast.
        now: Present instant. The page shows the actuals known by then.
        output: File to write, by default `inspections/<name>/<issue time>-<series>.html` in the store.

    Raises:
        DataError: The series is unknown or has too few values; no model serves the issue time, or its file is missing;
            or the training extra is not installed.
    """
    inspection = collect_inspection(settings, store, series_id, issue_time, now)
    content = redact_registered(render_inspection_page(inspection)).encode()
    if output is None:
        uri = store.put(layout.inspection(settings.name, issue_time, series_id), content)
    else:
        uri = open_store(str(output.parent)).put(output.name, content)
    effects = inspection.effects
    return {
        "path": uri,
        "series_id": series_id,
        "issue_time": issue_time.isoformat(),
        "model_version": inspection.manifest["version"],
        "unit": settings.unit,
        "responses": {name: float(change.mean()) for name, change in inspection.responses.items()},
        "linear": None if inspection.linear is None else _mean_contributions(inspection.linear),
        "moved": _mean_sizes(effects.covariates),
        "moved_by_horizon": _mean_sizes(effects.horizon_covariates),
        "moved_by_segments": [float(size) for size in np.abs(effects.segments).mean(axis=1)],
        "bytes": len(content),
    }


def _mean_sizes(effects: dict[str, np.ndarray]) -> dict[str, float]:
    return {name: float(np.abs(effect).mean()) for name, effect in effects.items()}


def _mean_contributions(linear: LinearContributions) -> LinearReport:
    return {
        "forecast": float(linear.forecast.mean()),
        "reference": float(linear.reference.mean()),
        "days": {str(lag): float(effect.mean()) for lag, effect in linear.days.items()},
        "covariates": {name: float(effect.mean()) for name, effect in linear.covariates.items()},
        "calendar": float(linear.calendar.mean()),
        "remainder": float(linear.remainder.mean()),
    }


def collect_inspection(
    settings: Pipeline, store: Store, series_id: str, issue_time: datetime, now: datetime
) -> Inspection:
    """Compute everything that the page shows. Arguments and errors are those of `inspect`."""
    try:
        from model.training.introspection import UnsupportedGraphError, trace_recurrent_layers
    except ModuleNotFoundError as error:
        raise DataError(f"inspect opens the model, which needs {error.name}: pip install 'gatecast[train]'") from None
    _require_known(settings, store, series_id, issue_time)
    published = _read_published(settings, store, series_id, issue_time)
    model = _load_model(settings, store, issue_time, published)
    first = settings.grid.first_step(to_micros(issue_time))
    window = _read_window(settings, store, series_id, issue_time, model)
    # A forecast uses the linear expert as it was fitted for its issue time.
    forecaster = NightlyFit(settings, store, (series_id,), issue_time, no_deadline).apply(model)
    quantiles = forecaster.quantiles(window)[0]
    try:
        layers = trace_recurrent_layers(model.onnx, window)
    except UnsupportedGraphError as error:
        raise DataError(f"model {model.version} cannot be opened: {error}") from None
    return Inspection(
        settings=settings,
        series_id=series_id,
        issue_time=issue_time,
        made_at=now,
        spec=model.forecaster.spec,
        manifest=registry.read_manifest(store, settings.name, model.version),
        first_step=first,
        window=window,
        quantiles=quantiles,
        actuals=visible_target(settings, store, (series_id,), now, first, settings.pipeline.horizon)[0],
        layers=layers,
        effects=occlusion_effects(forecaster, window),
        responses=covariate_responses(forecaster, window),
        linear=linear_contributions(forecaster, window),
        notes=tuple(_notes(settings, model, published, quantiles)),
    )


def series_to_choose(settings: Pipeline, store: Store, issue_time: datetime) -> tuple[str, ...]:
    """Return the ids of the series that were known at an issue time, sorted.

    Raises:
        DataError: No target value was known then.
    """
    known = known_series(settings, store, issue_time)
    if not known:
        raise DataError(
            f"pipeline {settings.name!r}: no target value was known at {settings.local_text(issue_time)}; "
            "run `gatecast ingest` or choose a later issue time"
        )
    return known


def _require_known(settings: Pipeline, store: Store, series_id: str, issue_time: datetime) -> None:
    known = series_to_choose(settings, store, issue_time)
    if series_id not in known:
        more = f" and {len(known) - _MAX_NAMED} more" if len(known) > _MAX_NAMED else ""
        raise DataError(
            f"series {series_id!r} was not known at {settings.local_text(issue_time)}; known were "
            f"{', '.join(known[:_MAX_NAMED])}{more}"
        )


def _read_published(settings: Pipeline, store: Store, series_id: str, issue_time: datetime) -> pl.DataFrame | None:
    """Return the rows of the series in the forecast file of that issue time, None if there are none."""
    if not forecasts.exists(store, settings.name, settings.pipeline.timezone, issue_time):
        return None
    rows, _ = forecasts.read(store, settings.name, settings.pipeline.timezone, issue_time)
    of_series = rows.filter(pl.col("series_id") == series_id)
    return None if of_series.is_empty() else of_series


def _load_model(settings: Pipeline, store: Store, issue_time: datetime, published: pl.DataFrame | None) -> LoadedModel:
    """Load the model that made the published rows, or the one that serves the issue time."""
    version = None if published is None else published["model_version"][0]
    if version is None:
        model, no_model_reason = load_champion(settings, store, issue_time)
        if model is None:
            raise DataError(f"pipeline {settings.name!r}: {no_model_reason}; run `gatecast train`")
        return model
    chain = ModelChain(settings, store, [version])
    if chain.first is None:
        raise DataError(f"the model that made this forecast cannot be opened: {chain.error}")
    return chain.first


def _read_window(settings: Pipeline, store: Store, series_id: str, issue_time: datetime, model: LoadedModel) -> Windows:
    """Return the model's input for the series, one window."""
    spec, issue = model.forecaster.spec, to_micros(issue_time)
    first = settings.grid.first_step(issue)
    panel = visible_panel(settings, store, (series_id,), issue_time, first - spec.context, spec.context + spec.horizon)
    window = build_windows(spec, panel, np.array([0]), np.array([first]), np.array([issue]))
    visible = int((~np.isnan(window.target)).sum())
    if visible < spec.min_visible:
        raise DataError(
            f"series {series_id!r}: only {visible} of {spec.context} values of the context were known at "
            f"{settings.local_text(issue_time)}; the model needs {spec.min_visible}, so the baseline forecasts it"
        )
    return window


def _notes(settings: Pipeline, model: LoadedModel, published: pl.DataFrame | None, quantiles: np.ndarray) -> list[str]:
    """Return sentences about the differences between the inspected and the published forecast."""
    if published is None:
        return ["No forecast of this issue time is published. The page shows the forecast of the model that serves it."]
    status, reason = published["status"][0], published["reason"][0]
    if published["model_version"][0] is None:
        return [f"The published forecast of this series is the baseline's: {reason}. The page shows the model's."]
    notes = [f"Published as {status}: {reason}."] if reason else []
    columns = [quantile_column(level) for level in model.forecaster.spec.levels]
    published_quantiles = published.select(columns).to_numpy()
    difference = np.abs(published_quantiles - quantiles).max(initial=0)
    has_other_shape = published_quantiles.shape != quantiles.shape
    if has_other_shape or not difference <= _TOLERANCE * np.abs(quantiles).max():
        unit = settings.unit or "the target's unit"
        notes.append(
            f"The published forecast differs by up to {difference:.4g} {unit}: values that were available at the issue "
            "time were ingested only later."
        )
    return notes
