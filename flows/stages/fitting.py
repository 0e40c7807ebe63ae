"""Fitting of a challenger: from the training data to a verified ONNX file.

It is the only stage module that imports `model.training`, and with it torch and onnx, when a fit begins.
"""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from importlib import metadata
from typing import TYPE_CHECKING

import numpy as np

from flows.settings.pipeline import Pipeline
from flows.stages.panels import to_instant, to_micros
from flows.stages.progress import Progress
from flows.stages.training_data import TrainingSplit, excluded_steps, past_issue_times
from flows.stages.warm_start import WarmStart
from model.evaluation.comparison import IssueTimes
from model.forecaster import Forecaster
from model.linear_refit import LinearRefit, refit_linear
from model.panel import Panel
from model.spec import ModelSpec
from storage.schemas import DataError
from storage.schemas.records import FitRecord, LearningRecord, Manifest

if TYPE_CHECKING:
    from model.training.fit_progress import FitProgress
    from model.training.network import Ensemble

_COMPARISON_SECONDS = 15.0  # for export, verification and comparison; at most half of the budget
_FIT_SHARE = 0.9  # part of the progress of a training.
_MAX_VALIDATION_WINDOWS = 4096  # more do not change when a fit stops
_MAX_SCALE_AGE = timedelta(days=365)  # required interval scales of older models do not count


@dataclass(frozen=True)
class FitPlan:
    """Inputs of a fit, except the clock that ends it.

    Attributes:
        spec: Model to fit.
        split: History and its parts.
        data_sha256: Hash of the history.
        warm_start: Model to start from, None for random weights.
        past_scales: Interval scales that the models of the last year would have needed, newest first.
    """

    spec: ModelSpec
    split: TrainingSplit
    data_sha256: str
    warm_start: WarmStart | None
    past_scales: list[float]

    def fingerprint(self, settings: Pipeline, as_of: datetime) -> str:
        """Return the sha256 of everything that the result of the training at `as_of` depends on."""
        start = self.warm_start
        inputs = {
            "gatecast": metadata.version("gatecast"),
            "spec": self.spec.to_json(),
            "training": settings.training.model_dump(mode="json", exclude={"every", "keep"}),
            "promotion": settings.promotion.model_dump(mode="json"),
            "as_of": as_of.isoformat(),
            "data": self.data_sha256,
            "start": (start.version, start.needs_full_fit, start.may_fit_copy) if start else None,
            "past": self.past_scales,
        }
        return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()


def past_scales(manifests: list[Manifest], as_of: datetime, first_held_out: int) -> list[float]:
    """Return the interval scales that earlier models would have needed, newest first.

    The scale of a model is the product of the one it has and the one that its held-out issue times required. No issue
    time counts twice.

    Args:
        manifests: Manifests of earlier models.
        as_of: Issue time of the training. Models more than a year older do not count.
        first_held_out: First held-out issue time (us) of the training. Models trained later do not count.
    """
    scales = []
    for manifest in sorted(manifests, key=lambda m: datetime.fromisoformat(m["as_of"]), reverse=True):
        trained, required = datetime.fromisoformat(manifest["as_of"]), manifest.get("required_scale")
        first = manifest["folds"]["first"]
        if to_micros(trained) > first_held_out or trained < as_of - _MAX_SCALE_AGE or not required or first is None:
            continue
        scales.append(round(required * manifest["interval_scale"], 4))
        first_held_out = to_micros(datetime.fromisoformat(first))
    return scales


def _half_life(settings: Pipeline) -> int | None:
    """Return `training.half_life` in microseconds."""
    half_life = settings.training.half_life
    return None if half_life is None else half_life // timedelta(microseconds=1)


def fit_challenger(
    settings: Pipeline, plan: FitPlan, as_of: datetime, started: float, progress: Progress
) -> tuple[bytes, FitRecord]:
    """Fit, export and verify the model of `plan`.

    Args:
        settings: Settings of the pipeline.
        plan: Inputs of the fit.
        as_of: Issue time of the training. The linear expert is fitted for its time of day.
        started: `time.monotonic()` at the start of the training, from which its budget counts.
        progress: Callback for the progress.

    Returns:
        Content of the ONNX file, and the facts of the fit.

    Raises:
        DataError: The history has too few training windows.
    """
    from model.training.devices import resolve_device
    from model.training.export import to_onnx, verified_network, verify_export, with_tables
    from model.training.export_ahead import ExportAhead
    from model.training.fit import fit, is_member_copy
    from model.training.linear_fit import fit_linear_expert
    from model.training.options import FitOptions, TrainingData
    from model.training.samples import TooLittleHistory, build_sampler, make_batch

    spec, split, start = plan.spec, plan.split, plan.warm_start
    panel = _without_new_series(split.panel, spec)
    first_steps = split.held_out.steps
    issue_to_first_step = int(panel.grid.start(first_steps[-1:])[0] - split.held_out.issues[-1])
    nightly = past_issue_times(settings, panel, spec, as_of, split.last_step)
    try:
        sampler = build_sampler(
            spec, panel, split.last_step, issue_to_first_step, int(first_steps[-1]),
            excluded_steps(settings, panel), _half_life(settings), nightly.steps,
        )  # fmt: skip
    except TooLittleHistory as error:
        raise DataError(f"pipeline {settings.name!r}: too little history to train on: {error}") from None
    linear = fit_linear_expert(spec, panel, nightly.steps, nightly.issues) if spec.linear else None
    seed, budget = settings.training.seed, settings.training.budget.total_seconds()
    validation = make_batch(spec, panel, *_validation_windows(split.validation, panel, seed))
    samples = sampler.draw(np.random.default_rng(seed), 1000).windows
    weights = verified_network(start.onnx, spec, samples) if start else None
    if weights is None:
        start = None
    device = resolve_device(settings.training.device)
    from_random = (
        start is not None
        and weights is not None
        and (start.needs_full_fit or (start.may_fit_copy and is_member_copy(weights)))
    )
    options = FitOptions(
        seed, max_seconds=max(budget - _COMPARISON_SECONDS, budget / 2), max_updates=settings.training.max_updates,
        device=device,
    )  # fmt: skip
    states: list[FitProgress] = []

    def advance(state: FitProgress) -> None:
        states.append(state)
        _report_fit(progress, state)

    with ExportAhead(None if start else spec) as export:
        network = fit(
            TrainingData(sampler, validation, linear), options, weights, from_random, plan.past_scales,
            elapsed=lambda: time.monotonic() - started, advance=advance,
        )  # fmt: skip
        is_cut_short = time.monotonic() - started >= options.max_seconds
        progress("export and verify", _FIT_SHARE)
        onnx = to_onnx(network, start.onnx if start else export.template())
    parity = verify_export(network, onnx, samples)
    refit = refit_as_of(settings, panel, Forecaster(onnx), as_of, to_micros(as_of))
    if refit is not None:
        onnx = with_tables(onnx, refit.tables)

    def horizon_end(step: int) -> str:
        return to_instant(int(panel.grid.end(np.array([step + spec.horizon - 1]))[0])).isoformat()

    return onnx, {
        "windows": len(sampler.starts),
        "fitted_to": horizon_end(split.last_step),
        "seen_to": horizon_end(int(split.validation.steps[-1])),
        "parity": parity,
        "interval_scale": round(float(network.interval_scale), 4),
        "device": device,
        "warm_start_from": start.version if start else None,
        "full_fit": start.full_fit if start and not from_random else None,
        **_learning_record(states, len(sampler.starts), network),
        "is_cut_short": is_cut_short,
    }


def _learning_record(states: list[FitProgress], windows: int, network: Ensemble) -> LearningRecord:
    """Return updates, epochs and losses of a fit from its evaluations, and the weight of the linear expert."""
    from model.training.fit import BATCH_SIZE

    newest = {state.member: state.update for state in states}
    updates = sum(newest.values())
    record: LearningRecord = {
        "updates": updates,
        "epochs": round(updates * BATCH_SIZE / windows),
        "loss_curve": [(state.member, state.update, round(state.loss, 5)) for state in states],
    }
    if states:
        record["baseline_loss"] = round(states[0].baseline, 5)
    if network.linear is not None:
        share = network.linear.share[-1].tolist()
        # Neighbouring steps of one block have the same weight.
        record["linear_weights"] = [round(one, 3) for n, one in enumerate(share) if not n or one != share[n - 1]]
    return record


def refit_as_of(
    settings: Pipeline, panel: Panel, forecaster: Forecaster, as_of: datetime, instant: int
) -> LinearRefit | None:
    """Return the linear expert of a model, fitted on the data known at `instant` (us), None if it has none.

    Args:
        settings: Settings of the pipeline.
        panel: Panel of the training.
        forecaster: Model whose expert is fitted.
        as_of: Issue time of the training, which gives the time of day.
        instant: Instant until which values may be used.
    """
    spec = forecaster.spec
    if not spec.linear:
        return None
    last = min(int(panel.grid.index(np.array([instant]))[0]) - 1, panel.first + panel.columns - spec.horizon)
    times = past_issue_times(settings, panel, spec, as_of, last)
    return refit_linear(forecaster, panel, times, instant)


def _report_fit(progress: Progress, state: FitProgress) -> None:
    """Report the update, and the validation loss beside the baseline's."""
    progress(f"update {state.update}, loss {state.loss:.4f}, baseline {state.baseline:.4f}", _FIT_SHARE * state.share)


def _without_new_series(panel: Panel, spec: ModelSpec) -> Panel:
    """Return the panel without new series. They use the embedding of unknown series, which is fitted on the others."""
    if len(spec.series) == len(panel.series):
        return panel
    return panel.take(np.flatnonzero(np.isin(panel.series, spec.series)))


def _validation_windows(validation: IssueTimes, panel: Panel, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return rows, first steps and issue times of the validation windows, a random selection if there are many."""
    rows, steps, issues = validation.window_keys(panel)
    if len(rows) <= _MAX_VALIDATION_WINDOWS:
        return rows, steps, issues
    drawn = np.random.default_rng(seed).choice(len(rows), _MAX_VALIDATION_WINDOWS, replace=False)
    drawn.sort()
    return rows[drawn], steps[drawn], issues[drawn]
