"""Training stage: fit a challenger, compare it with the champion, and promote or refuse it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from zoneinfo import ZoneInfo

from flows.settings.pipeline import Pipeline
from flows.settings.types import duration_text
from flows.stages.fitting import FitPlan, fit_challenger, past_scales, refit_as_of
from flows.stages.panels import to_instant, to_micros
from flows.stages.progress import Progress, no_progress
from flows.stages.trained_models import TrainedModels, read_trained_models
from flows.stages.training_data import read_training_split
from flows.stages.warm_start import select_warm_start
from model.evaluation.comparison import CHALLENGER, CHAMPION, IssueTimes, compare
from model.evaluation.promotion import MIN_ISSUE_TIMES, Decision, decide, refuse_too_few
from model.forecaster import Forecaster
from storage import registry
from storage.schemas import DataError
from storage.schemas.records import CandidateScores, FitRecord, LearningRecord, Manifest
from storage.store import Store

logger = logging.getLogger(__name__)

_FEWEST_UPDATES = 50  # of a network from random weights, the first evaluation of early stopping

#: Function that returns the result of an earlier fit with the same fingerprint, None if there is none.
FindFit = Callable[[str], tuple[bytes, FitRecord] | None]


def train(
    settings: Pipeline,
    store: Store,
    as_of: datetime,
    now: datetime,
    progress: Progress = no_progress,
    models: TrainedModels | None = None,
    find_fit: FindFit | None = None,
    requires_promotion: bool = True,
) -> Manifest:
    """Train a challenger on the data that were available at `as_of`.

    Args:
        settings: Settings of the pipeline.
        store: Store with history and models.
        as_of: Issue time of the training.
        now: Present instant, recorded in the manifest.
        progress: Callback for the progress.
        models: Trained models as of `as_of`. They are read from the store if they are not given.
        find_fit: Function that finds an earlier fit of the same fingerprint, which is then used.
        requires_promotion: Whether the challenger must pass the comparison to serve. If False, the manifest records
            the result of the comparison.

    Returns:
        Manifest of the challenger. If the fit reproduces the champion, it is the champion's and nothing is changed.

    Raises:
        DataError: The history is too short, the training extra is not installed, or `champion.json` cannot be read.
    """
    started = time.monotonic()
    _require_training_extra()
    rolled_back = registry.rolled_back_versions(store, settings.name)
    progress("read history", 0.0)
    split = read_training_split(settings, store, as_of)
    models = models or read_trained_models(settings, store, as_of)
    plan = FitPlan(
        split.spec(settings), split, split.panel.sha256(), select_warm_start(settings, store, models, as_of),
        past_scales(models.manifests, as_of, int(split.held_out.issues[0])),
    )  # fmt: skip
    fingerprint = plan.fingerprint(settings, as_of)
    earlier = find_fit(fingerprint) if find_fit else None
    onnx, fit = earlier or fit_challenger(settings, plan, as_of, started, progress)
    progress("compare", 0.95)
    version = registry.model_version(as_of, onnx)
    if models.champion and models.champion.version == version:
        return models.manifest(version)
    judgement = _compare(settings, plan, onnx, fit, models)
    decision = _final_decision(
        _refuse_unlearned(settings, judgement.decision, fit), rolled_back.get(version), requires_promotion
    )
    unseen = judgement.issue_times
    registry.add(
        store, settings.name, as_of, onnx,
        {
            "windows": fit["windows"],
            "fitted_to": fit["fitted_to"],
            "seen_to": fit["seen_to"],
            "parity": fit["parity"],
            "interval_scale": fit["interval_scale"],
            "device": fit["device"],
            "trained_at": now.isoformat(),
            "seconds": round(time.monotonic() - started, 1),
            "data_sha256": plan.data_sha256,
            "fingerprint": fingerprint,
            "warm_start_from": fit.get("warm_start_from"),
            "full_fit": fit.get("full_fit") or as_of.isoformat(),
            **learning_record(fit),
            "series": len(plan.spec.series),
            "new_series": len(split.panel.series) - len(plan.spec.series),
            "folds": {
                "count": len(unseen),
                "held_out": len(split.held_out),
                "first": _local_time(settings, unseen.issues[0]) if len(unseen) else None,
                "last": _local_time(settings, unseen.issues[-1]) if len(unseen) else None,
            },
            "scores": judgement.scores,
            "required_scale": judgement.required_scale,
            "compared_with": models.champion.version if models.champion else None,
            "decision": decision.to_record(),
            "seed": settings.training.seed,
            "pipeline": settings.model.model_dump(),
        },
    )  # fmt: skip
    if decision.promoted:
        try:
            registry.promote(store, settings.name, version)
        except registry.OutdatedComparison as error:
            registry.withdraw(store, settings.name, version, f"refused: {error}")
    for pruned in registry.prune(store, settings.name, settings.training.keep, as_of, now):
        logger.info("The ONNX file of model %s was deleted (training.keep); its manifest stays.", pruned)
    progress("train", 1.0)
    return registry.read_manifest(store, settings.name, version)


def _require_training_extra() -> None:
    try:
        import scipy.special  # noqa: F401

        from model.training import export  # noqa: F401
    except ModuleNotFoundError as error:
        raise DataError(f"training needs {error.name}: pip install 'gatecast[train]'") from None


@dataclass(frozen=True)
class _Judgement:
    """Comparison of a challenger with the champion and the baseline.

    Attributes:
        issue_times: Held-out issue times that no candidate has seen.
        scores: Scores of each candidate on them, empty if they are too few.
        required_scale: Interval scale that they required of the challenger, None if unknown.
        decision: Decision by these scores.
    """

    issue_times: IssueTimes
    scores: dict[str, CandidateScores]
    required_scale: float | None
    decision: Decision


def _compare(settings: Pipeline, plan: FitPlan, onnx: bytes, fit: FitRecord, trained: TrainedModels) -> _Judgement:
    """Compare the challenger `onnx` with the champion on the held-out issue times that neither has seen."""
    models: dict[str, Forecaster] = {CHALLENGER: Forecaster(onnx)}
    seen_to = {CHALLENGER: str(fit["seen_to"])}
    if trained.champion:
        manifest = trained.manifest(trained.champion.version)
        models[CHAMPION] = trained.champion.forecaster
        seen_to[CHAMPION] = manifest.get("seen_to", manifest["as_of"])
    held_out = plan.split.held_out
    unseen = held_out.since(max(to_micros(datetime.fromisoformat(end)) for end in seen_to.values()))
    if len(unseen) < MIN_ISSUE_TIMES:
        return _Judgement(unseen, {}, None, refuse_too_few(len(unseen), len(held_out), seen_to))
    # The tables of both models hold newer data than the issue times to be judged, so both are fitted as of the first.
    as_of, first = to_instant(int(unseen.issues[-1])), int(unseen.issues[0])
    for name, model in models.items():
        refit = refit_as_of(settings, plan.split.panel, model, as_of, first)
        models[name] = model if refit is None else model.with_tables(refit.tables)
    comparison = compare(plan.spec, plan.split.panel, unseen, models)
    decision = decide(comparison, settings.promotion.margin)
    return _Judgement(unseen, comparison.scores(), comparison.required_scale, decision)


def learning_record(record: FitRecord | Manifest) -> LearningRecord:
    """Return how far a fit came, empty if it is from a version that did not record it."""
    learned: LearningRecord = {}
    for name in LearningRecord.__annotations__:
        if name in record:
            learned[name] = record[name]  # type: ignore[literal-required]
    return learned


def _refuse_unlearned(settings: Pipeline, decision: Decision, fit: FitRecord) -> Decision:
    """Refuse a network from random weights whose time ended before it had learned."""
    fewest = min(_FEWEST_UPDATES, settings.training.max_updates)
    updates = fit.get("updates", fewest)
    if not decision.promoted or fit.get("warm_start_from") or updates >= fewest:
        return decision
    reason = (
        f"refused: the budget of {duration_text(settings.training.budget)} ended after fewer than {fewest} updates, so "
        "the network has not learned; raise training.budget"
    )
    return replace(decision, promoted=False, reason=reason)


def _final_decision(decision: Decision, rolled_back_at: str | None, requires_promotion: bool) -> Decision:
    """Return the decision with regard to a rollback, and to whether a promotion is required at all."""
    if decision.promoted and rolled_back_at:
        reason = f"refused: this very model was rolled back from at {rolled_back_at}; --rollback brings it back"
        decision = replace(decision, promoted=False, reason=reason)
    if not requires_promotion and not decision.promoted:
        reason = f"promoted because none is required (--no-promotion); by the comparison {decision.reason}"
        decision = replace(decision, promoted=True, reason=reason)
    return decision


def _local_time(settings: Pipeline, issue: int) -> str:
    """Return an issue time (us) as local time with its offset."""
    return to_instant(int(issue)).astimezone(ZoneInfo(settings.pipeline.timezone)).isoformat()
