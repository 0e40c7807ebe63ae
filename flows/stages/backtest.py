"""Backtest: the nights of the past through the stages of a real one, each honest as of its issue time.

Models and forecasts lie in a store of the backtest's own; only the history is the pipeline's.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from flows.settings.pipeline import Pipeline
from flows.stages.ingest import ingest
from flows.stages.panels import known_actuals
from flows.stages.progress import Progress, no_progress
from flows.stages.replay import issue_times_between, replay_issue_times
from flows.stages.score import score_forecast
from storage import forecasts, registry
from storage.schemas import DataError
from storage.schemas.records import BacktestReport, FitRecord, Manifest, ModelDecision
from storage.store import ReplayStore, Store, open_store

logger = logging.getLogger(__name__)

_PLAN = "plan.json"
_WORK = "replay"  # folder under the output that holds models and nights, so that a backtest can be resumed
_KEEP = 1_000_000  # models: a night that is still computed may need any of them


@dataclass(frozen=True)
class Plan:
    """What a backtest does.

    Attributes:
        start, end: local days of the first and the last issue, both included.
        retrain_every: instead of the pipeline file's `training.every`.
        promotion: False lets every challenger serve.
    """

    start: date
    end: date
    retrain_every: timedelta | None = None
    promotion: bool = True


def backtest(
    settings: Pipeline, store: Store, plan: Plan, output: Path | None, now: datetime, progress: Progress = no_progress
) -> BacktestReport:
    """Replay the nights of `plan`.

    Args:
        output: a folder for `forecasts.parquet` and `scores.parquet`; a backtest that broke off is resumed in it.
        now: when this happens; actuals are those known by then.

    Returns:
        issues, rows by status, models trained and promoted, overall scores, failures, and the files' paths.

    Raises:
        DataError: no issue time lies in between, there is no history, or `output` holds another backtest.
    """
    every = plan.retrain_every or settings.training.every
    training = settings.training.model_copy(update={"every": every, "keep": _KEEP})
    settings = settings.model_copy(update={"training": training})
    issues = issue_times_between(settings, plan.start, plan.end)
    if not issues:
        raise DataError(f"pipeline {settings.name!r}: no issue time lies between {plan.start} and {plan.end}")
    failures = _take_in(settings, store, now, progress)
    with _work(settings, plan, output) as folder:
        replay = ReplayStore(open_store(str(folder)), store)
        _finish_promotions(replay, settings.name)
        find_fit = partial(_trained, store, settings.name)
        failures |= replay_issue_times(
            settings, replay, issues, now, progress, requires_promotion=plan.promotion, find_fit=find_fit
        ).failures
        progress("score", 0.97)
        rows, scores = _scored(settings, replay, issues)
        report: BacktestReport = {
            "pipeline": settings.name,
            "start": str(plan.start),
            "end": str(plan.end),
            "issues": len(issues),
            "status": dict(rows.group_by("status").len().sort("status").iter_rows()),
            "models": [_brief(manifest) for manifest in registry.valid_manifests(replay, settings.name)],
            "scores": overall_scores(scores_by_step(rows, scores)),
            "failures": failures,
        }
        if output is not None:
            target = open_store(str(output))
            report["forecasts"] = target.put_parquet("forecasts.parquet", rows)
            report["scored"] = target.put_parquet("scores.parquet", scores_by_step(rows, scores))
    progress("backtest", 1.0)
    return report


def _take_in(settings: Pipeline, store: Store, now: datetime, progress: Progress) -> dict[str, str]:
    """What the feeds say today. A feed that fails is no reason not to replay what the history has."""
    try:
        ingest(settings, store, now, now, progress)
    except DataError as error:
        logger.warning("the backtest uses the history as it is: %s", error)
        return {"ingest": str(error)}
    return {}


@contextmanager
def _work(settings: Pipeline, plan: Plan, output: Path | None) -> Iterator[Path]:
    """The folder of the replay: kept beside the results until they are there, or for the time of the run only."""
    if output is None:
        with tempfile.TemporaryDirectory(prefix="gatecast-backtest-") as scratch:
            yield Path(scratch)
        return
    folder = output / _WORK
    asked = _fingerprint(settings, plan)
    place = open_store(str(folder))
    if place.has(_PLAN):
        found = json.loads(place.get(_PLAN))
        if found != asked:
            differs = ", ".join(key for key in asked if found.get(key) != asked[key])
            raise DataError(f"{output} holds another backtest ({differs} differs); choose another folder or remove it")
    elif output.exists() and any(output.iterdir()):
        raise DataError(f"{output} is not empty and holds no backtest; choose another folder")
    else:
        place.put(_PLAN, json.dumps(asked, indent=2).encode())
    yield folder


def _fingerprint(settings: Pipeline, plan: Plan) -> dict[str, Any]:
    settings_json = settings.model_dump_json(exclude={"pipeline": {"store"}, "feed": {"__all__": {"uri"}}})
    return {
        "start": str(plan.start), "end": str(plan.end), "promotion": plan.promotion,
        "pipeline": hashlib.sha256(settings_json.encode()).hexdigest(),
    }  # fmt: skip


def _finish_promotions(store: Store, name: str) -> None:
    """What a crash left between a decision and its effect: a promoted model that does not serve."""
    serving = registry.champions(store, name)
    for manifest in registry.valid_manifests(store, name):
        if manifest["decision"]["promoted"] and manifest["version"] not in serving:
            registry.promote(store, name, manifest["version"])


def _trained(store: Store, name: str, issue: datetime, fingerprint: str) -> tuple[bytes, FitRecord] | None:
    """A real night's training on the same data and settings is the one that this night would repeat."""
    manifest = registry.find_by_fingerprint(store, name, issue, fingerprint)
    if manifest is None:
        return None
    record: FitRecord = {
        "windows": manifest["windows"], "fitted_to": manifest["fitted_to"], "seen_to": manifest["seen_to"],
        "parity": manifest["parity"], "interval_scale": manifest["interval_scale"], "device": manifest["device"],
        "warm_start_from": manifest.get("warm_start_from"), "full_fit": manifest.get("full_fit"),
    }  # fmt: skip
    try:
        return registry.load(store, name, manifest["version"]), record
    except DataError as error:
        logger.warning("trained anew: %s", error)
        return None


def _scored(settings: Pipeline, replay: Store, issues: list[datetime]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """All forecast rows, and the scores of those that came true."""
    zone = settings.pipeline.timezone
    there = [issue for issue in issues if forecasts.exists(replay, settings.name, zone, issue)]
    if not there:
        raise DataError(f"pipeline {settings.name!r}: no issue time of the backtest had anything to forecast from")
    frames = [forecasts.read(replay, settings.name, zone, issue)[0] for issue in there]
    known = known_actuals(settings, replay, issues[0])
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        judged = list(pool.map(lambda rows: score_forecast(settings, replay, rows, known), frames))
    return pl.concat(frames), pl.concat(judged)


def scores_by_step(rows: pl.DataFrame, scores: pl.DataFrame) -> pl.DataFrame:
    """The contract's score table of a backtest: a row for every forecast row; n is 0 where no actual is known."""
    keys = ["series_id", "issue_time", "step"]
    judged = scores.select(
        *keys, n=pl.lit(1, pl.Int64), mae="absolute_error", mase=pl.col("absolute_error") / pl.col("scale"),
        pinball="pinball", coverage_80="covered_80", baseline_mae="baseline_absolute_error",
        baseline_pinball="baseline_pinball",
    )  # fmt: skip
    every = rows.select(keys).join(judged, on=keys, how="left", maintain_order="left", validate="1:1")
    return every.with_columns(pl.col("n").fill_null(0))


def overall_scores(scores: pl.DataFrame) -> dict[str, float | int | None]:
    """Means of a backtest's scores over all that came true, and the skill against the baseline."""
    means = scores.filter(pl.col("n") > 0).select(pl.exclude("series_id", "issue_time", "step", "n").mean())
    skill = pl.select(1 - pl.lit(means["pinball"]) / pl.lit(means["baseline_pinball"])).item()
    return {"n": int(scores["n"].sum()), **means.row(0, named=True), "skill": skill}


def _brief(manifest: Manifest) -> ModelDecision:
    return {"version": manifest["version"], "as_of": manifest["as_of"], "decision": manifest["decision"]}
