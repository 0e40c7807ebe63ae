"""Score: published forecasts against what came, each once, and again when an actual is revised."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import cast

import numpy as np
import polars as pl

from flows.settings.pipeline import Pipeline
from flows.stages.baseline_history import visible_history
from flows.stages.panels import known_actuals, known_series, to_micros
from flows.stages.progress import Progress, no_progress
from model.baseline import seasonal_naive, seasonal_scale
from model.evaluation import monitoring
from model.evaluation.alerts import DECAY, find_alerts
from model.evaluation.scoring import score_rows
from storage import forecasts, scores
from storage.history import KEY
from storage.schemas import DataError, quantile_levels, score_schema
from storage.schemas.records import Measures, ScoreReport, ScoreSummary
from storage.store import Store

_LOOK_BACK = timedelta(days=90)
_WINDOW = 28  # issue times
_SHOWN = 20  # series
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


def score(
    settings: Pipeline, store: Store, now: datetime, look_back: timedelta = _LOOK_BACK, progress: Progress = no_progress
) -> ScoreReport:
    """Score the published forecasts that came true, and say how good the last nights were.

    A forecast is scored as its periods come true, and anew when it was republished or one of its actuals is not what
    it was. Whatever else has a score keeps its bytes.

    Args:
        now: forecasts issued after it are passed over, and the summary and the alerts see no period after it.
        look_back: issue times further back than this from the newest are not looked at any more.

    Returns:
        Counts of issue times (`issues` = `scored` + `revised` + `unchanged` + `waiting` + failures) and of the `rows`
        that were written; `failures` by issue time, which all else leaves out; `summary`; `alerts`; and `decay`: why
        a model should be trained anew, None if nothing says so.
    """
    issues = [issue for issue in forecasts.list_issue_times(store, settings.name) if issue <= now]
    issues = [issue for issue in issues if issue >= issues[-1] - look_back]
    counts = dict.fromkeys(("scored", "revised", "unchanged", "waiting"), 0)
    written = 0
    failures: dict[datetime, str] = {}
    actuals = known_actuals(settings, store, issues[0]) if issues else pl.DataFrame()
    for number, issue in enumerate(issues):
        progress("score", number / len(issues))
        try:
            outcome, rows = _score_one(settings, store, issue, actuals)
        except DataError as error:
            failures[issue] = str(error)
            continue
        counts[outcome] += 1
        written += rows
    progress("score", 1.0)
    found = _readable(settings, store, issues, failures).filter(pl.col("valid_time") < now)
    rung = find_alerts(found, settings.monitoring.limits())
    decay = next((alert["detail"] for alert in rung if alert["check"] in DECAY), None)
    return {
        "issues": len(issues),
        "scored": counts["scored"],
        "revised": counts["revised"],
        "unchanged": counts["unchanged"],
        "waiting": counts["waiting"],
        "rows": written,
        "failures": {issue.isoformat(): error for issue, error in failures.items()},
        "summary": score_summary(found, settings.pipeline.timezone),
        "alerts": rung,
        "decay": decay if settings.monitoring.retrain else None,
    }


def _score_one(settings: Pipeline, store: Store, issue: datetime, actuals: pl.DataFrame) -> tuple[str, int]:
    """What was done with the forecast of one issue time, and how many rows were written."""
    rows, sha256 = forecasts.read(store, settings.name, settings.pipeline.timezone, issue)
    earlier = scores.find(store, settings.name, issue)
    true = with_actuals(rows, actuals).select(*KEY, "actual")
    if earlier is None and true.is_empty():
        return "waiting", 0
    if earlier is not None and earlier[1] == sha256 and earlier[0].select(true.columns).equals(true):
        return "unchanged", 0
    judged = score_forecast(settings, store, rows, actuals)
    scores.write(store, settings.name, issue, judged, sha256)
    return "scored" if earlier is None else "revised", len(judged)


def score_summary(found: pl.LazyFrame, timezone: str) -> ScoreSummary:
    """The last nights in numbers, JSON-ready: windows of nights, and the longer one by series, step and weekday.

    Of the series, those with the least skill; `monitoring.aggregate` has all.
    """
    nightly = monitoring.sum_by(found, "issue_time")
    if nightly.is_empty():
        return {}
    first = nightly["issue_time"][-min(len(nightly), _WINDOW)]
    window = found.filter(pl.col("issue_time") >= first)
    by_weekday = monitoring.aggregate(monitoring.with_weekday(window, timezone), "weekday")
    by_series = monitoring.aggregate(window, "series_id").sort("skill", nulls_last=True, maintain_order=True)
    return {
        "newest_issue": nightly["issue_time"][-1].isoformat(),
        "last_7_nights": _measures(nightly, 7),
        "last_28_nights": _measures(nightly, 28),
        "by_series": by_series.head(_SHOWN).to_dicts(),
        "by_step": monitoring.aggregate(window, "step").to_dicts(),
        "by_weekday": [row | {"weekday": _DAYS[row["weekday"] - 1]} for row in by_weekday.to_dicts()],
        "pit": monitoring.pit_histogram(window).to_dicts(),
    }  # fmt: skip


def _measures(nightly: pl.DataFrame, issue_times: int) -> Measures:
    """Return the measures of the newest `issue_times` rows of `nightly`, together."""
    row = monitoring.rolling(nightly, issue_times).drop("issue_time").row(-1, named=True)
    return cast(Measures, row)


def _readable(settings: Pipeline, store: Store, issues: list[datetime], failures: dict[datetime, str]) -> pl.LazyFrame:
    """The scores of `issues` but those of a file that failed."""
    if not issues:
        return pl.LazyFrame(schema=score_schema())
    found = scores.read(store, settings.name, issues[0], without=failures)
    return found.filter(pl.col("issue_time") <= issues[-1])


def score_forecast(
    settings: Pipeline, store: Store, rows: pl.DataFrame, actuals: pl.DataFrame | None = None
) -> pl.DataFrame:
    """The scores of one issue time's forecast rows, as far as they came true.

    The baseline and the scale of MASE are made from what was known at the issue time, as the forecast was.

    Args:
        rows: columns of a forecast file, all of one issue time.
        actuals: `panels.known_actuals` of at least these periods, to read them once for many issue times; by default
            they are read from the history, the latest known.

    Returns:
        A table of `storage.schemas.score_schema`, in the order of `rows`.

    Raises:
        DataError: the rows are of several issue times, or not on the pipeline's grid.
    """
    if rows.is_empty():
        return pl.DataFrame(schema=score_schema())
    if actuals is None:
        actuals = known_actuals(settings, store, rows["valid_time"].min())  # type: ignore[arg-type]
    true = with_actuals(rows, actuals)
    if true.is_empty():
        return pl.DataFrame(schema=score_schema())
    issue_time = rows["issue_time"][0]
    grid = settings.grid
    first = grid.first_step(to_micros(issue_time))
    starts = grid.start(first - 1 + true["step"].to_numpy().astype(np.int64))
    if rows["issue_time"].n_unique() > 1 or (starts != true["valid_time"].dt.epoch("us").to_numpy()).any():
        raise DataError(
            f"the forecast of {issue_time.isoformat()} is not of one issue time on the {grid.frequency} grid of "
            f"pipeline {settings.name!r}; it was made with other settings and cannot be scored"
        )
    levels = quantile_levels(rows.columns)
    return score_rows(true, levels, *_bar(settings, store, true, issue_time, first, levels))


def _bar(
    settings: Pipeline, store: Store, true: pl.DataFrame, issue_time: datetime, first: int, levels: list[float]
) -> tuple[np.ndarray, np.ndarray]:
    """(N, Q) the baseline's quantiles of the rows `true`, and (N,) their scale; NaN for a series unknown then."""
    baseline, scale = np.full((len(true), len(levels)), np.nan), np.full(len(true), np.nan)
    series = known_series(settings, store, issue_time)
    if not series:
        return baseline, scale
    at = settings.pipeline
    past = visible_history(settings, store, series, issue_time, first)
    step = true["step"].to_numpy()
    quantiles = np.clip(  # type: ignore[call-overload]
        seasonal_naive(past, at.season, int(step.max()), np.array(levels)), at.bounds.min, at.bounds.max
    )
    row = true["series_id"].replace_strict(
        list(series), list(range(len(series))), default=-1, return_dtype=pl.Int64
    ).to_numpy()  # fmt: skip
    known = row >= 0
    baseline[known] = quantiles[row[known], step[known] - 1]
    scale[known] = seasonal_scale(past.astype(np.float64), at.season)[row[known]]
    return baseline, scale


def with_actuals(rows: pl.DataFrame, actuals: pl.DataFrame) -> pl.DataFrame:
    """The forecast `rows` whose actual is known, with it as `actual`, in their order."""
    within = actuals.filter(pl.col("valid_time").is_between(rows["valid_time"].min(), rows["valid_time"].max()))
    return rows.join(within, on=KEY, how="inner", maintain_order="left")
