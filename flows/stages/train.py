"""Train: a challenger is fitted, exported, proven, compared on unseen nights, and promoted or refused."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from importlib import metadata
from zoneinfo import ZoneInfo

import numpy as np

from flows.settings.pipeline import Pipeline
from flows.stages.fallback import LoadedModel, load_champion
from flows.stages.panels import to_instant, to_micros
from flows.stages.progress import Progress, no_progress
from flows.stages.training_data import read_training_panel, split_history
from flows.stages.warm_start import WarmStart, select_warm_start
from model.evaluation.comparison import CHALLENGER, CHAMPION, IssueTimes, compare
from model.evaluation.promotion import MIN_ISSUE_TIMES, Decision, decide, refuse_too_few
from model.forecaster import Forecaster
from model.panel import Panel
from model.spec import ModelSpec
from model.windows import has_enough_history
from storage import registry
from storage.schemas import DataError
from storage.schemas.records import CandidateScores, FitRecord, Manifest
from storage.store import Store

logger = logging.getLogger(__name__)

#: From the fingerprint of a training to the ONNX bytes that it gave and the facts kept of it, or None.
Reuse = Callable[[str], tuple[bytes, FitRecord] | None]

_SHORT_DAY = timedelta(hours=1)  # by which a night follows another sooner when the clocks go forward
_OVERHEAD = 15.0  # seconds for export, proof and comparison, out of the budget
_VALIDATION = 4096  # windows looked at for the early stop; more say the same
_REMEMBERED = timedelta(days=365)  # how long what was right for a model's intervals counts


def retrain_reason(settings: Pipeline, store: Store, issue_time: datetime, decay: str | None = None) -> str | None:
    """Why a retrain is due at `issue_time`, or None.

    It is when the models that should serve cannot be loaded, and else when the newest attempt, promoted or refused,
    is older than `training.every`.

    Args:
        decay: what the scores say against the model that serves. A model younger than `monitoring.recent` is given
            the time to show itself: the nights complained about are its predecessor's.
    """
    serving, why_none = load_champion(settings, store, issue_time)
    if serving is None and registry.champions(store, settings.name, issue_time):
        return why_none
    if serving and serving.stale_reason:
        return serving.stale_reason
    tried = [datetime.fromisoformat(m["as_of"]) for m in registry.valid_manifests(store, settings.name)]
    newest = max((as_of for as_of in tried if as_of <= issue_time), default=None)
    if newest is None:
        return why_none
    age = issue_time - newest
    if age >= settings.training.every - _SHORT_DAY:
        return f"the newest model is {age} old; one is trained every {settings.training.every}"
    if decay and age >= settings.monitoring.recent:
        return decay
    return None


def train(
    settings: Pipeline,
    store: Store,
    as_of: datetime,
    now: datetime,
    progress: Progress = no_progress,
    find_fit: Reuse | None = None,
    requires_promotion: bool = True,
) -> Manifest:
    """Train a challenger on what was known at `as_of`.

    Args:
        now: when this happens; kept in the manifest.
        requires_promotion: False lets it serve whatever the comparison says, which is kept in the reason.
        find_fit: asked for a model of the same fingerprint before one is fitted.

    Returns:
        The manifest: version, scores of challenger, champion and baseline on the folds, decision. Where the very
        champion came out again, its own.

    Raises:
        DataError: too little history, the training extra is not installed, or `champion.json` cannot be read.
    """
    started = time.monotonic()
    try:
        import scipy.special  # noqa: F401

        from model.training import export  # noqa: F401
    except ModuleNotFoundError as error:
        raise DataError(f"training needs {error.name}: pip install 'gatecast[train]'") from None
    rolled_back = registry.rolled_back_versions(store, settings.name)
    progress("read history", 0.0)
    panel, first = read_training_panel(settings, store, as_of)
    folds, recent, last = split_history(settings, as_of, first, panel.first)
    grown = has_enough_history(panel, settings.pipeline.context, last)
    spec = settings.spec(tuple(name for name, is_grown in zip(panel.series, grown, strict=True) if is_grown))
    data = panel.sha256()
    serving, _ = load_champion(settings, store, as_of)
    records = registry.valid_manifests(store, settings.name)
    start = select_warm_start(settings, store, serving, records, as_of)
    past = _past_widths(records, as_of, int(folds.issues[0]))
    fingerprint = _fingerprint(settings, spec, as_of, data, start, past)
    reused = find_fit(fingerprint) if find_fit else None
    onnx, facts = reused or _fit(settings, spec, panel, folds, recent, last, start, past, started, progress)
    progress("compare", 0.95)
    version = registry.model_version(as_of, onnx)
    if serving and serving.version == version:
        return registry.read_manifest(store, settings.name, version)
    fair, scores, asked, decision = _judge(settings, store, spec, panel, folds, onnx, facts, serving)
    if decision.promoted and version in rolled_back:
        why = f"refused: this very model was rolled back from at {rolled_back[version]}; --rollback brings it back"
        decision = replace(decision, promoted=False, reason=why)
    if not requires_promotion and not decision.promoted:
        decision = replace(decision, promoted=True, reason=f"serves without promotion, which says: {decision.reason}")
    registry.add(
        store, settings.name, as_of, onnx,
        {
            "windows": facts["windows"],
            "fitted_to": facts["fitted_to"],
            "seen_to": facts["seen_to"],
            "parity": facts["parity"],
            "interval_scale": facts["interval_scale"],
            "device": facts["device"],
            "trained_at": now.isoformat(),
            "seconds": round(time.monotonic() - started, 1),
            "data_sha256": data,
            "fingerprint": fingerprint,
            "warm_start_from": facts.get("warm_start_from"),
            "full_fit": facts.get("full_fit") or as_of.isoformat(),
            "series": len(spec.series),
            "new_series": len(panel.series) - len(spec.series),
            "folds": {
                "count": len(fair),
                "held_out": len(folds),
                "first": _local(settings, fair.issues[0]) if len(fair) else None,
                "last": _local(settings, fair.issues[-1]) if len(fair) else None,
            },
            "scores": scores,
            "required_scale": asked,
            "compared_with": serving.version if serving else None,
            "decision": decision.to_record(),
            "seed": settings.training.seed,
            "pipeline": settings.model.model_dump(),
        },
    )  # fmt: skip
    if decision.promoted:
        registry.promote(store, settings.name, version)
    for gone in registry.prune(store, settings.name, settings.training.keep, as_of, now):
        logger.info("pruned the file of model %s; its manifest stays", gone)
    progress("train", 1.0)
    return registry.read_manifest(store, settings.name, version)


def _fit(
    settings: Pipeline, spec: ModelSpec, panel: Panel, folds: IssueTimes, recent: IssueTimes, last: int,
    start: WarmStart | None, past: list[float], started: float, progress: Progress,
) -> tuple[bytes, FitRecord]:  # fmt: skip
    """The ONNX bytes of a new model of the series of `spec`, proven, and the facts of its training."""
    from model.training.devices import resolve_device
    from model.training.export import to_onnx, verified_network, verify_export
    from model.training.fit import fit, is_member_copy
    from model.training.options import FitOptions, TrainingData
    from model.training.samples import TooLittleHistory, build_sampler, make_batch

    if len(spec.series) < len(panel.series):
        # New series are forecast through the unknown identity, which must not be fitted on them alone.
        panel = panel.take(np.flatnonzero(np.isin(panel.series, spec.series)))
    lead = int(panel.grid.start(folds.steps[-1:])[0] - folds.issues[-1])
    try:
        source = build_sampler(spec, panel, last, lead, int(folds.steps[-1]))
    except TooLittleHistory as error:
        raise DataError(f"pipeline {settings.name!r}: too little history to train on: {error}") from None
    nights = recent.window_keys(panel)
    if len(nights[0]) > _VALIDATION:
        drawn = np.random.default_rng(settings.training.seed).choice(len(nights[0]), _VALIDATION, replace=False)
        drawn.sort()
        nights = (nights[0][drawn], nights[1][drawn], nights[2][drawn])
    validation = make_batch(spec, panel, *nights)
    budget = settings.training.budget.total_seconds()
    samples = source.draw(np.random.default_rng(settings.training.seed), 1000).windows
    weights = verified_network(start.onnx, spec, samples) if start else None
    if weights is None:
        start = None
    device = resolve_device(settings.training.device)
    renew = start is not None and weights is not None and (start.renew or (start.fill and is_member_copy(weights)))
    options = FitOptions(
        settings.training.seed, max_seconds=max(budget - _OVERHEAD, budget / 2),
        max_updates=settings.training.max_updates, device=device,
    )  # fmt: skip
    network = fit(
        TrainingData(source, validation), options, weights, renew, past,
        elapsed=lambda: time.monotonic() - started, advance=lambda share: progress("train", 0.9 * share),
    )  # fmt: skip
    progress("export and prove", 0.9)
    onnx = to_onnx(network, start.onnx if start else None)

    def end(step: int) -> str:
        return to_instant(int(panel.grid.end(np.array([step + spec.horizon - 1]))[0])).isoformat()

    return onnx, {
        "windows": len(source.starts),
        "fitted_to": end(last),
        "seen_to": end(int(recent.steps[-1])),
        "parity": verify_export(network, onnx, samples),
        "interval_scale": round(float(network.interval_scale), 4),
        "device": device,
        "warm_start_from": start.version if start else None,
        "full_fit": start.full_fit if start and not renew else None,
    }


def _judge(
    settings: Pipeline, store: Store, spec: ModelSpec, panel: Panel, folds: IssueTimes, onnx: bytes,
    facts: FitRecord, serving: LoadedModel | None,
) -> tuple[IssueTimes, dict[str, CandidateScores], float | None, Decision]:  # fmt: skip
    """The nights that no candidate has seen, the scores on them, how much wider the challenger's intervals would have
    had to be on them, and the decision.
    """
    models, seen_to = {CHALLENGER: Forecaster(onnx)}, {CHALLENGER: str(facts["seen_to"])}
    if serving:
        record = registry.read_manifest(store, settings.name, serving.version)
        models[CHAMPION] = serving.forecaster
        seen_to[CHAMPION] = record.get("seen_to", record["as_of"])
    fair = folds.since(max(to_micros(datetime.fromisoformat(until)) for until in seen_to.values()))
    if len(fair) < MIN_ISSUE_TIMES:
        return fair, {}, None, refuse_too_few(len(fair), len(folds), seen_to)
    comparison = compare(spec, panel, fair, models)
    return fair, comparison.scores(), comparison.required_scale, decide(comparison, settings.promotion.margin)


def _past_widths(records: list[Manifest], as_of: datetime, judged: int) -> list[float]:
    """Factors that were right for the intervals of the models of the last year on the nights that judged each.

    Args:
        judged: issue time (us) of the first night that will judge this training. What is known of it or later nights
            is not looked at, and no night twice.
    """
    factors = []
    for record in sorted(records, key=lambda m: datetime.fromisoformat(m["as_of"]), reverse=True):
        at, asked = datetime.fromisoformat(record["as_of"]), record.get("required_scale")
        if to_micros(at) > judged or at < as_of - _REMEMBERED or not asked:
            continue
        factors.append(round(asked * record["interval_scale"], 4))
        first = record["folds"]["first"]
        assert first is not None, "a required scale comes from held-out issue times"
        judged = to_micros(datetime.fromisoformat(first))
    return factors


def _fingerprint(
    settings: Pipeline, spec: ModelSpec, as_of: datetime, data: str, start: WarmStart | None, past: list[float]
) -> str:
    """sha256 of everything that a training is made from, besides the clock that ends it."""
    made_from = {
        "gatecast": metadata.version("gatecast"),
        "spec": spec.to_json(),
        "training": settings.training.model_dump(mode="json", exclude={"every", "keep"}),
        "promotion": settings.promotion.model_dump(mode="json"),
        "as_of": as_of.isoformat(),
        "data": data,
        "start": (start.version, start.renew, start.fill) if start else None,
        "past": past,
    }
    return hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()


def _local(settings: Pipeline, issue: int) -> str:
    """An issue time (us) as people know it, with its offset."""
    return to_instant(int(issue)).astimezone(ZoneInfo(settings.pipeline.timezone)).isoformat()
