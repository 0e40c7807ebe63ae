"""Comparison of challenger, champion and baseline on the same issue times. Losses are stored before any mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from model.baseline import history_steps, seasonal_naive
from model.checks.forecasts import find_faults
from model.evaluation import calibration, metrics
from model.panel import Panel
from model.spec import ModelSpec
from model.windows import Windows, build_windows
from storage.schemas.records import CandidateScores

CHALLENGER, CHAMPION, BASELINE = "challenger", "champion", "baseline"


class Model(Protocol):
    """A `Forecaster`, or anything else that forecasts windows."""

    spec: ModelSpec

    def quantiles(self, windows: Windows) -> NDArray[np.float64]:
        """Return the quantiles in the target's unit, shape (B, H, Q)."""


@dataclass(frozen=True)
class IssueTimes:
    """Issue times in ascending order.

    Attributes:
        issues: Microseconds, shape (N,).
        steps: First step of the forecast of each, shape (N,).
    """

    issues: NDArray[np.int64]
    steps: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.issues)

    def since(self, instant: int) -> IssueTimes:
        """Return the issue times at or after `instant` (us)."""
        return IssueTimes(self.issues[self.issues >= instant], self.steps[self.issues >= instant])

    def window_keys(self, panel: Panel) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Return rows, steps and issue times of the windows of every series, by issue time, each of shape (N * S,)."""
        count = len(panel.series)
        rows = np.tile(np.arange(count), len(self.steps))
        return rows, np.repeat(self.steps, count), np.repeat(self.issues, count)


@dataclass(frozen=True)
class Comparison:
    """Losses of all candidates over the same cells, for N issue times and S series.

    A step is judged if its actual is known and every candidate has a finite forecast of it.

    Attributes:
        series: Names of the series.
        count: Number of judged steps, shape (N, S).
        sums: Sum over the judged steps, by candidate and measure (`pinball`, `mae`, `coverage_80`), each (N, S).
        mean_actual: Mean absolute actual of each series, shape (S,), NaN where no step is judged.
        overlap: Number of issue times that one horizon covers.
        fault: Why the challenger's output cannot be published, None if it can.
        required_scale: Interval scale that the issue times require of the challenger, on top of its own.
    """

    series: tuple[str, ...]
    count: NDArray[np.int64]
    sums: dict[str, dict[str, NDArray[np.float64]]]
    mean_actual: NDArray[np.float64]
    overlap: int
    fault: str | None
    required_scale: float | None = None

    @property
    def judged_issues(self) -> int:
        """Number of issue times with a judged step."""
        return int((self.count.sum(axis=1) > 0).sum())

    def scores(self) -> dict[str, CandidateScores]:
        """Return the mean of each measure over the `n` judged steps, by candidate. NaN without judged steps."""
        n = int(self.count.sum())

        def mean(total: NDArray[np.float64]) -> float:
            return float(total.sum()) / n if n else np.nan

        return {
            name: {
                "n": n, "pinball": mean(sums["pinball"]), "mae": mean(sums["mae"]),
                "coverage_80": mean(sums["coverage_80"]),
            }
            for name, sums in self.sums.items()
        }  # fmt: skip

    def by_series(self, candidate: str) -> NDArray[np.float64]:
        """Return the mean pinball of each series, shape (S,), NaN where no step is judged."""
        with np.errstate(invalid="ignore"):
            mean: NDArray[np.float64] = self.sums[candidate]["pinball"].sum(axis=0) / self.count.sum(axis=0)
        return mean

    def difference(self, other: str, rows: NDArray[np.int64] | None = None) -> NDArray[np.float64]:
        """Return the challenger's mean pinball minus that of `other`, at each issue time with a judged step.

        Args:
            other: The other candidate.
            rows: Series to include. All by default.
        """
        rows = np.arange(len(self.series)) if rows is None else rows
        count = self.count[:, rows].sum(axis=1)
        total = (self.sums[CHALLENGER]["pinball"] - self.sums[other]["pinball"])[:, rows].sum(axis=1)
        difference: NDArray[np.float64] = total[count > 0] / count[count > 0]
        return difference


class _Fault(NamedTuple):
    """A forecast of the challenger that cannot be published."""

    issue: int
    row: int
    reason: str


def compare(spec: ModelSpec, panel: Panel, issue_times: IssueTimes, models: Mapping[str, Model]) -> Comparison:
    """Forecast every series with every candidate and the baseline, and judge the forecasts.

    One issue time is forecast at a time, so memory does not grow with their number.

    Args:
        spec: Spec of the pipeline.
        panel: Panel that covers all contexts and horizons.
        issue_times: At least one.
        models: `challenger`, and `champion` if there is one.
    """
    shape, levels = (len(issue_times), len(panel.series)), np.array(spec.levels)
    count, absolute_actuals = np.zeros(shape, np.int64), np.zeros(shape)
    sums = {name: {measure: np.zeros(shape) for measure in metrics.MEASURES} for name in (BASELINE, *models)}
    faults: list[_Fault] = []
    ratios: list[NDArray[np.float64]] = []
    rows = np.arange(len(panel.series))
    history = min(history_steps(spec.season, spec.context), int(issue_times.steps[0]) - panel.first)
    for number, (issue, step) in enumerate(zip(issue_times.issues, issue_times.steps, strict=True)):
        steps, issues = np.full(len(rows), step), np.full(len(rows), issue)
        actual = panel.target.final(rows, steps - panel.first, spec.horizon).astype(np.float64)
        past = panel.target.as_of(rows, steps - panel.first - history, history, issues)
        naive = seasonal_naive(past, spec.season, spec.horizon, levels)
        forecasts = {BASELINE: np.clip(naive, spec.lower, spec.upper)}
        is_served = np.ones(len(rows), bool)
        for name, model in models.items():
            windows = build_windows(model.spec, panel, rows, steps, issues)
            forecasts[name] = model.quantiles(windows)
            # A nightly forecast uses the baseline for a series with less context, whichever model serves.
            is_served &= (~np.isnan(windows.target)).sum(axis=1) >= model.spec.min_visible
        reasons = find_faults(forecasts[CHALLENGER], spec.lower, spec.upper)
        faults += [_Fault(number, int(row), reasons[row]) for row in np.flatnonzero(is_served & (reasons != ""))]
        is_finite = np.stack([np.isfinite(forecast).all(axis=2) for forecast in forecasts.values()]).all(axis=0)
        actual[~(is_finite & is_served[:, None])] = np.nan
        ratios.append(calibration.interval_ratios(forecasts[CHALLENGER], actual, spec.levels))
        count[number] = (~np.isnan(actual)).sum(axis=1)
        absolute_actuals[number] = np.nansum(np.abs(actual), axis=1)
        for name, forecast in forecasts.items():
            for measure, loss in metrics.MEASURES.items():
                judged = np.where(np.isnan(actual), 0.0, loss(forecast, levels, actual))
                sums[name][measure][number] = judged.sum(axis=1)
    with np.errstate(invalid="ignore"):
        mean_actual = absolute_actuals.sum(axis=0) / count.sum(axis=0)
    return Comparison(
        series=panel.series,
        count=count,
        sums=sums,
        mean_actual=mean_actual,
        overlap=-(-spec.horizon // spec.grid.steps_per_day),
        fault=_describe(faults, panel.series, len(issue_times)),
        required_scale=calibration.required_scale(np.concatenate(ratios), spec.levels),
    )


def _describe(faults: list[_Fault], series: tuple[str, ...], issue_count: int) -> str | None:
    """Return a phrase for the first fault with its series and the numbers of others, None without faults."""
    if not faults:
        return None
    others = len({fault.row for fault in faults}) - 1
    more = f" and {others} more series" if others else ""
    affected = len({fault.issue for fault in faults})
    return (
        f"{faults[0].reason} for series {series[faults[0].row]!r}{more}, at {affected} of {issue_count} issue times"
    )  # fmt: skip
