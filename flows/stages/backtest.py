"""Backtest stage: replay past issue times through the stages of a nightly run, each with the data known then.

Models and forecasts are in a store of the backtest. The history, and models of identical trainings, are read from the
pipeline's store.
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

import polars as pl

from flows.settings.pipeline import Pipeline
from flows.stages.ingest import ingest
from flows.stages.panels import known_actuals
from flows.stages.progress import Progress, no_progress
from flows.stages.replay import issue_times_between, replay_issue_times
from flows.stages.score import score_forecast
from flows.stages.train import learning_record
from model.evaluation import monitoring
from storage import forecasts, registry
from storage.schemas import DataError
from storage.schemas.records import BacktestReport, FitRecord, Manifest, ModelDecision
from storage.store import ReplayStore, Store, open_store

logger = logging.getLogger(__name__)

_PLAN = "plan.json"
_STORE = "replay"  # folder under the output with models and forecasts, from which a backtest can be resumed
_MAX_MODELS = 1_000_000  # training.keep of a backtest: forecasts that run in parallel may load any model


@dataclass(frozen=True)
class Plan:
    """Extent and options of a backtest.

    Attributes:
        start: Local day of the first issue time.
        end: Local day of the last issue time, included.
        retrain_every: Value that replaces `training.every`, None to keep that of the pipeline file.
        promotion: Whether a challenger must pass the comparison to serve.
    """

    start: date
    end: date
    retrain_every: timedelta | None = None
    promotion: bool = True


def backtest(
    settings: Pipeline, store: Store, plan: Plan, output: Path | None, now: datetime, progress: Progress = no_progress
) -> BacktestReport:
    """Replay the issue times of `plan` and score the forecasts.

    Args:
        settings: Settings of the pipeline.
        store: Store with the history.
        plan: Extent and options of the backtest.
        output: Folder for `forecasts.parquet` and `scores.parquet`. A backtest that was interrupted is resumed there.
        now: Present instant. The feeds are ingested as of then.
        progress: Callback for the progress.

    Raises:
        DataError: There is no issue time between the days, there is no history, or `output` holds something else.
    """
    every = plan.retrain_every or settings.training.every
    training = settings.training.model_copy(update={"every": every, "keep": _MAX_MODELS})
    settings = settings.model_copy(update={"training": training})
    issue_times = issue_times_between(settings, plan.start, plan.end)
    failures = _ingest(settings, store, now, progress)
    with _own_store(settings, plan, output) as folder:
        replay = ReplayStore(open_store(str(folder)), store)
        _finish_promotions(replay, settings.name)
        find_fit = partial(_find_fit, store, settings.name)
        result = replay_issue_times(settings, replay, issue_times, now, progress, plan.promotion, find_fit)
        failures |= result.failures
        progress("score", 0.97)
        rows, scores = _score(settings, replay, issue_times)
        report: BacktestReport = {
            "pipeline": settings.name,
            "start": str(plan.start),
            "end": str(plan.end),
            "issues": len(issue_times),
            "status": dict(rows.group_by("status").len().sort("status").iter_rows()),
            "models": [_model_decision(manifest) for manifest in registry.valid_manifests(replay, settings.name)],
            "scores": overall_scores(scores_by_step(rows, scores)),
            "failures": failures,
        }
        if output is not None:
            folder_store = open_store(str(output))
            report["forecasts"] = folder_store.put_parquet("forecasts.parquet", rows)
            report["scored"] = folder_store.put_parquet("scores.parquet", scores_by_step(rows, scores))
    progress("backtest", 1.0)
    return report


def _ingest(settings: Pipeline, store: Store, now: datetime, progress: Progress) -> dict[str, str]:
    """Ingest the feeds, and return the failures. If one cannot be read, the replay uses the history as it is."""
    try:
        failures = ingest(settings, store, now, now, progress)["failures"]
        return {f"ingest:{feed}": error for feed, error in failures.items()}
    except DataError as error:
        logger.warning("The feeds cannot be ingested, so the backtest uses the history as it is: %s.", error)
        return {"ingest": str(error)}


@contextmanager
def _own_store(settings: Pipeline, plan: Plan, output: Path | None) -> Iterator[Path]:
    """Yield the folder of the backtest's own store: within `output`, or temporary without an output."""
    if output is None:
        with tempfile.TemporaryDirectory(prefix="gatecast-backtest-") as temporary:
            yield Path(temporary)
        return
    folder = output / _STORE
    record = _plan_record(settings, plan)
    store = open_store(str(folder))
    if store.has(_PLAN):
        earlier = json.loads(store.get(_PLAN))
        if earlier != record:
            keys = ", ".join(key for key in record if earlier.get(key) != record[key])
            raise DataError(f"{output} holds another backtest ({keys} differs); choose another folder or remove it")
    elif output.exists() and any(output.iterdir()):
        raise DataError(f"{output} is not empty and holds no backtest; choose another folder")
    else:
        store.put(_PLAN, json.dumps(record, indent=2).encode())
    yield folder


def _plan_record(settings: Pipeline, plan: Plan) -> dict[str, str | bool]:
    """Return what must be equal for a backtest to be resumed."""
    text = settings.model_dump_json(exclude={"pipeline": {"store"}, "feed": {"__all__": {"uri"}}})
    return {
        "start": str(plan.start), "end": str(plan.end), "promotion": plan.promotion,
        "pipeline": hashlib.sha256(text.encode()).hexdigest(),
    }  # fmt: skip


def _finish_promotions(store: Store, name: str) -> None:
    """Promote models whose promotion was decided before a crash but not carried out."""
    serving = registry.champions(store, name)
    for manifest in registry.valid_manifests(store, name):
        if manifest["decision"]["promoted"] and manifest["version"] not in serving:
            registry.promote(store, name, manifest["version"])


def _find_fit(store: Store, name: str, issue_time: datetime, fingerprint: str) -> tuple[bytes, FitRecord] | None:
    """Return the model that the pipeline's store has of the same training, None if there is none."""
    manifest = registry.find_by_fingerprint(store, name, issue_time, fingerprint)
    if manifest is None:
        return None
    try:
        onnx = registry.load(store, name, manifest["version"])
    except DataError as error:
        logger.warning("Model %s cannot be reused and is trained again: %s.", manifest["version"], error)
        return None
    return onnx, {
        "windows": manifest["windows"], "fitted_to": manifest["fitted_to"], "seen_to": manifest["seen_to"],
        "parity": manifest["parity"], "interval_scale": manifest["interval_scale"], "device": manifest["device"],
        "warm_start_from": manifest.get("warm_start_from"), "full_fit": manifest.get("full_fit"),
        **learning_record(manifest),
    }  # fmt: skip


def _score(settings: Pipeline, replay: Store, issue_times: list[datetime]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return all forecast rows, and the scores of those whose actuals are known."""
    name, timezone = settings.name, settings.pipeline.timezone
    published = [time for time in issue_times if forecasts.exists(replay, name, timezone, time)]
    if not published:
        raise DataError(
            f"pipeline {name!r}: no issue time of the backtest had a value to forecast from; choose a later start"
        )
    tables = [forecasts.read(replay, name, timezone, time)[0] for time in published]
    actuals = known_actuals(settings, replay, issue_times[0])
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        scores = list(pool.map(lambda rows: score_forecast(settings, replay, rows, actuals), tables))
    return pl.concat(tables), pl.concat(scores)


def scores_by_step(rows: pl.DataFrame, scores: pl.DataFrame) -> pl.DataFrame:
    """Return the score table of a backtest: one row for each forecast row, with n = 0 where no actual is known."""
    keys = ["series_id", "issue_time", "step"]
    scored = scores.select(
        *keys, n=pl.lit(1, pl.Int64), mae="absolute_error", mase=pl.col("absolute_error") / pl.col("scale"),
        pinball="pinball", coverage_80="covered_80", baseline_mae="baseline_absolute_error",
        baseline_pinball="baseline_pinball",
    )  # fmt: skip
    table = rows.select(keys).join(scored, on=keys, how="left", maintain_order="left", validate="1:1")
    return table.with_columns(pl.col("n").fill_null(0))


def overall_scores(scores: pl.DataFrame) -> dict[str, float | int | None]:
    """Return the means of a backtest's scores over all rows with an actual, and the skill against the baseline."""
    means = scores.filter(pl.col("n") > 0).select(pl.exclude("series_id", "issue_time", "step", "n").mean())
    row = means.row(0, named=True)
    skill = monitoring.skill(row["pinball"], row["baseline_pinball"])
    return {"n": int(scores["n"].sum()), **row, "skill": skill}


def _model_decision(manifest: Manifest) -> ModelDecision:
    return {"version": manifest["version"], "as_of": manifest["as_of"], "decision": manifest["decision"]}
