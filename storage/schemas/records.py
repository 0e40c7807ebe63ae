"""Records that pass between stages, processes, files and pages. Each is JSON: manifests, run records, stage reports.

A key that is not always present is `NotRequired`. Instants are ISO 8601 text with an offset. docs/reference.md
describes the records that users read.
"""

from __future__ import annotations

from typing import Literal, NotRequired, TypedDict

Action = Literal["accept", "warn", "quarantine"]


class FindingRecord(TypedDict):
    """Result of one check on one series; `series_id` is null for a covariate shared by all series."""

    check: str
    action: Action
    series_id: str | None
    rows: int
    first: str
    last: str
    detail: str


class SeriesMatching(TypedDict):
    """Ids of a feed beside the series of the target, with a few examples of each kind."""

    #: Ids of the feed, and those that belong to no series.
    ids: int
    unmatched: int
    unmatched_examples: list[str]
    #: Series of the target, and those without a row in the feed.
    series: int
    uncovered: int
    uncovered_examples: list[str]
    #: Pairs of an id and a series that differ only by case, blanks or zeros.
    similar: int
    similar_examples: list[list[str]]


class FeedReport(TypedDict):
    """Row counts of one feed.

    read = accepted + refused + later; after an ingest, accepted = added + unchanged + aggregated.
    """

    read: int
    accepted: int
    #: Finer rows that were merged, minus the periods that they gave. Records before version 0.2.0 call it `folded`.
    aggregated: int
    refused: int
    #: Rows that are not available yet, or whose period is incomplete.
    later: int
    series: int
    first: str | None
    last: str | None
    #: Number of refused rows by reason. The cell that a reason is about is in `examples`.
    reasons: dict[str, int]
    #: First refused cell and its time, by reason.
    examples: NotRequired[dict[str, str]]
    findings: list[FindingRecord]
    added: NotRequired[int]
    unchanged: NotRequired[int]
    #: Paths of damaged history parts that were set aside.
    damaged: NotRequired[list[str]]
    #: Paths of history parts that a read from the start has replaced.
    replaced: NotRequired[list[str]]
    #: Lateness of the newest value, null if it is not late.
    late: NotRequired[str | None]
    #: Absent if each series has its covariate, and each id its series.
    matching: NotRequired[SeriesMatching]


class IngestReport(TypedDict):
    """Result of an ingest; `failures` maps a feed's name to its error."""

    feeds: dict[str, FeedReport]
    failures: dict[str, str]


class CheckReport(TypedDict):
    """Result of `gatecast check`."""

    next_issue: str
    feeds: dict[str, FeedReport]
    failures: dict[str, str]
    #: Feeds whose role and values do not fit together, by feed.
    warnings: dict[str, str]


class InitReport(TypedDict):
    """Result of `gatecast init`: the paths of the files written, the pipeline file first."""

    written: list[str]
    #: What a proposed pipeline file leaves to the user.
    questions: list[str]


class CandidateScores(TypedDict):
    """Mean scores of one candidate on the held-out issue times, over `n` steps."""

    n: int
    pinball: float
    mae: float
    coverage_80: float


class TestRecord(TypedDict):
    """Diebold-Mariano test of the challenger against another candidate; a number that is not finite is null."""

    #: Test statistic with the correction for small samples; negative if the challenger's loss is lower.
    statistic: float | None
    #: Statistic of Diebold and Mariano (1995), without that correction.
    uncorrected: float | None
    #: One-sided p-value: if it is small, the challenger's loss is significantly lower.
    better: float | None
    #: One-sided p-value: if it is small, the challenger's loss is significantly higher.
    worse: float | None
    #: Number of issue times with a judged step.
    nights: int
    #: Number of issue times that one horizon covers, at most half of those compared. Their losses may be correlated.
    overlap: int


class GroupTestRecord(TypedDict):
    """One-sided test that the challenger is worse on one group of series, with Holm's adjusted p-value."""

    group: str
    series: int
    p_value: float
    statistic: float | None
    #: Whether the challenger's loss is below 0.1% of the mean value, so that the test refuses nothing.
    negligible: NotRequired[bool]


class PromotionTests(TypedDict):
    """Tests behind a promotion decision."""

    #: "champion", or "baseline" if there is no champion.
    incumbent: str
    #: Test against the incumbent, over all series.
    overall: TestRecord
    #: Test against the baseline, over all series.
    baseline: TestRecord
    groups: list[GroupTestRecord]


class PromotionFigures(TypedDict, total=False):
    """Figures of a comparison. Only `folds` is present where no comparison was possible."""

    #: Number of held-out issue times with a judged step; of unseen ones where no comparison was possible.
    folds: int
    p_value: float | None
    coverage_80: dict[str, float | None]
    #: `series_id`, the challenger's `pinball`, and the incumbent's under its name.
    worst_series: dict[str, str | float]
    tests: PromotionTests


class DecisionRecord(PromotionFigures):
    """Promotion decision with its figures."""

    promoted: bool
    reason: str


class FoldsRecord(TypedDict):
    """Held-out issue times of one training. `folds` is the earlier name of issue times."""

    #: Number of unseen ones, at or after `seen_to` of every candidate. Only they are compared.
    count: int
    #: Number of all, at most `promotion.folds`.
    held_out: int
    #: First unseen issue time.
    first: str | None
    #: Last unseen issue time.
    last: str | None


class LearningRecord(TypedDict):
    """Record how far a fit came, and the weight of the linear expert. Manifests of earlier versions lack the keys."""

    #: Updates (optimiser steps) until the fit ended, summed over the members that it trained.
    updates: NotRequired[int]
    #: True if the budget ended the fit, and not early stopping or the most updates.
    is_cut_short: NotRequired[bool]
    #: Passes over the training windows that these updates make.
    epochs: NotRequired[int]
    #: Validation loss at each evaluation: member in the order of training, update, loss so far.
    loss_curve: NotRequired[list[tuple[int, int, float]]]
    #: Validation loss of the seasonal naive forecast.
    baseline_loss: NotRequired[float]
    #: Weight of the linear expert beside the network, by block of steps. Absent without a linear expert.
    linear_weights: NotRequired[list[float]]


class FitRecord(LearningRecord):
    """Facts about a fit, as opposed to its comparison with other models."""

    windows: int
    #: End of the newest period whose actual the weights were fitted on.
    fitted_to: str
    #: End of the newest period whose actual was used to stop early. Issue times before it are seen.
    seen_to: str
    #: Largest relative difference between torch and ONNX Runtime.
    parity: float
    interval_scale: float
    device: str
    #: Version whose weights the fit started from, null for a fit from random weights.
    warm_start_from: str | None
    #: Issue time of the last fit from random weights; null if this is one.
    full_fit: str | None


class ModelSettings(TypedDict):
    """`[model]` of the pipeline file."""

    head: str
    hidden_size: int
    layers: int
    members: int
    cell: str


class Manifest(LearningRecord):
    """Manifest of one model version, `models/<pipeline>/<version>/manifest.json`."""

    version: str
    as_of: str
    sha256: str
    windows: int
    #: As in `FitRecord`.
    fitted_to: str
    #: As in `FitRecord`.
    seen_to: str
    parity: float
    #: Factor on the interval width. storage/renamed_keys.py reads its name before version 0.2.0.
    interval_scale: float
    device: str
    trained_at: str
    seconds: float
    data_sha256: str
    fingerprint: str
    #: `went_on_from` in manifests before version 0.2.0.
    warm_start_from: str | None
    full_fit: str
    series: int
    new_series: int
    folds: FoldsRecord
    scores: dict[str, CandidateScores]
    #: Factor on the model's own interval scale with which the outer interval would have covered its share of the
    #: held-out actuals. `stretch_asked` before version 0.2.0.
    required_scale: float | None
    compared_with: str | None
    decision: DecisionRecord
    seed: int
    #: Settings `[model]` of the pipeline file, despite the name of the key.
    pipeline: ModelSettings
    #: When the ONNX file was deleted to save space.
    pruned: NotRequired[str]


class LateInput(TypedDict):
    """Input that a forecast of one series lacked: its feed, and by how much it was late."""

    feed: str
    reason: str


class ReasonCount(TypedDict):
    """Number of series whose rows have this status and reason."""

    status: str
    reason: str
    series: int


class ForecastReport(TypedDict):
    """Result of publishing one forecast."""

    path: str
    issue_time: str
    series: int
    rows: int
    #: Number of rows by status.
    status: dict[str, int]
    reasons: list[ReasonCount]
    #: Inputs that were late or missing, by feed. Empty if the inputs were complete.
    incomplete: dict[str, str]
    degraded: bool
    model_version: str | None
    #: Execution provider in use: the backend of ONNX Runtime.
    provider: str | None
    #: Sentence if the first of `forecast.providers` is not the one in use, else null.
    fell_back: str | None
    #: Series that have ended and are not forecast any more.
    ended: list[str]
    #: Exceedance probabilities that `gatecast forecast --above` requests, one row a series and step.
    above: NotRequired[list[dict[str, str | int | float]]]
    #: Uri of the sample paths that `[forecast] samples` requests. Missing if they were not written.
    samples: NotRequired[str]
    #: Error by step without which the forecast was published, such as the copy to `latest/`.
    failures: dict[str, str]


class ShardModel(TypedDict):
    """Model that a shard tried first, with its execution provider."""

    version: str
    sha256: str
    provider: str
    #: As in `ForecastReport`.
    fell_back: str | None


class ShardPlan(TypedDict):
    """Plan of a distributed forecast, the same for all its shards."""

    issue_time: str
    #: Model versions by preference.
    versions: list[str]
    no_model_reason: str | None
    stale_reason: str | None
    #: Error by feed of which the last ingest failed.
    failed_feeds: dict[str, str]
    #: Hash of the settings that the plan was made with.
    settings: str


class PlanReport(TypedDict):
    """Result of planning a distributed forecast: the name of the run, and its numbers of shards and series."""

    run: str
    shards: int
    series: int


class ShardReport(TypedDict):
    """Result of forecasting one shard, counted from 0: its number of series."""

    shard: int
    series: int


class DistributedReport(ForecastReport):
    """Result of publishing a distributed forecast."""

    #: Number of shards without a result of their own, which the baseline forecast.
    stood_in: int


class Measures(TypedDict):
    """Mean scores of published forecasts; null where the denominator is zero or missing."""

    n: int
    mae: float | None
    mase: float | None
    pinball: float | None
    coverage_80: float | None
    baseline_mae: float | None
    baseline_pinball: float | None
    skill: float | None


class Alert(TypedDict):
    """Significant excess over one limit of `[monitoring]`; `series_id` is null for all series together."""

    check: str
    series_id: str | None
    detail: str


class ScoreSummary(TypedDict, total=False):
    """Scores of the newest issue times; empty without any. The tables are rows of measures with their group."""

    newest_issue: str
    #: Number of issue times in `last_28_nights`, at most 28.
    nights: int
    #: Measures of the newest 7 issue times with scores together.
    last_7_nights: Measures
    #: Measures of the newest 28 issue times with scores together. The tables cover the same issue times.
    last_28_nights: Measures
    #: The series with the least skill, at most 20.
    by_series: list[dict[str, str | float | int | None]]
    by_step: list[dict[str, str | float | int | None]]
    by_weekday: list[dict[str, str | float | int | None]]
    pit: list[dict[str, float | int]]


class ScoreReport(TypedDict):
    """Result of scoring: issues = scored + revised + unchanged + waiting + the number of failures."""

    #: Number of published forecasts that were examined, one per issue time.
    issues: int
    #: Number that were scored for the first time.
    scored: int
    #: Number that were scored again: more actuals are known, an actual or the forecast has changed.
    revised: int
    #: Number whose scores are still valid.
    unchanged: int
    #: Number without scores, because no actual is known yet.
    waiting: int
    #: Number of score rows written.
    rows: int
    #: Error by issue time.
    failures: dict[str, str]
    summary: ScoreSummary
    alerts: list[Alert]
    #: Detail of the skill or drift alert that requires a retrain, null without one.
    decay: str | None


class PageReport(TypedDict):
    """Result of writing the report page."""

    path: str
    colour: str
    sentence: str
    bytes: int


class LinearReport(TypedDict):
    """Linear expert's forecast, and the contributions to it; means over the horizon in the target's unit."""

    forecast: float
    #: Forecast with all inputs at their mean of the context at the same time of day.
    reference: float
    #: Contribution of the target of past days, by their distance in days.
    days: dict[str, float]
    covariates: dict[str, float]
    calendar: float
    #: What the contributions do not add up to, because of a transform.
    remainder: float


class InspectionReport(TypedDict):
    """Result of writing the page about one forecast of one series."""

    path: str
    series_id: str
    issue_time: str
    model_version: str
    unit: str | None
    #: Mean change of the median if a known_future covariate is higher by 1 over the horizon, by covariate.
    responses: dict[str, float]
    #: Contributions to the forecast of the linear expert, null for a model without one.
    linear: LinearReport | None
    #: Mean absolute change of the median when a covariate is hidden, by covariate, in the target's unit.
    moved: dict[str, float]
    #: The same when a covariate is hidden in the horizon only.
    moved_by_horizon: dict[str, float]
    #: The same when a segment of the context is hidden, oldest first.
    moved_by_segments: list[float]
    bytes: int


class TrainingReport(Manifest, total=False):
    """Manifest of a training run, with whether it ran and why it was due."""

    trained: bool
    due: str


class RunRecord(TypedDict):
    """Record of one nightly run, `nights/<pipeline>/<issue time>.json`."""

    pipeline: str
    started_at: str
    deadline: str
    #: Absent until the issue time is known.
    issue_time: NotRequired[str]
    #: Error by stage, by `ingest:<feed>`, or by `forecast:<step>` of the forecast that was published nevertheless.
    failures: dict[str, str]
    #: Wall-clock seconds by stage.
    seconds: dict[str, float]
    #: Inputs that were late or missing, by feed: `incomplete` of the forecast.
    late: dict[str, str]
    ingest: IngestReport | None
    train: TrainingReport | NotTrained | None
    published_at: str | None
    forecast: ForecastReport | None
    score: ScoreReport | None
    alerts: list[Alert]
    degraded: bool
    page: NotRequired[str | None]


class NotTrained(TypedDict):
    """Training part of a run in which no retrain was due."""

    trained: Literal[False]


class BackfillReport(TypedDict):
    """Result of a backfill; `failures` by stage and issue time."""

    pipeline: str
    issues: int
    published: list[ForecastReport]
    degraded: bool
    failures: dict[str, str]
    #: Scores after the backfill, and the page; null if they failed.
    score: ScoreReport | None
    page: PageReport | None
    #: Version that serves the next forecast. Models for past issue times serve these only. Null without any.
    champion: str | None


class ModelDecision(TypedDict):
    """One training of a backtest."""

    version: str
    as_of: str
    decision: DecisionRecord


class BacktestReport(TypedDict):
    """Result of a backtest; `forecasts` and `scored` are the paths of its files where they were requested."""

    pipeline: str
    start: str
    end: str
    issues: int
    status: dict[str, int]
    models: list[ModelDecision]
    scores: dict[str, float | int | None]
    failures: dict[str, str]
    forecasts: NotRequired[str]
    scored: NotRequired[str]


class ModelsReport(TypedDict):
    """Result of `gatecast models`: the version that serves, null if there is none, and every readable manifest."""

    champion: str | None
    models: list[Manifest]


class ChampionEntry(TypedDict):
    """Model version that serves issue times from `as_of` on."""

    as_of: str
    version: str


class ChampionState(TypedDict):
    """Content of `champion.json`, except its key `version`, the champion."""

    #: The champion of each time, oldest first.
    served: list[ChampionEntry]
    #: Time of the rollback by version, for versions that a rollback replaced.
    rolled_back: dict[str, str]
