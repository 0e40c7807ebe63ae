"""Challenger, champion and baseline on the same issue times: losses first, means and differences apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from model.baseline import history_steps, seasonal_naive
from model.checks.forecasts import find_faults
from model.evaluation import calibration, metrics
from model.panel import Panel
from model.spec import ModelSpec
from model.windows import Windows, build_windows

CHALLENGER, CHAMPION, BASELINE = "challenger", "champion", "baseline"


class Model(Protocol):
    """What is compared: a `Forecaster`, or anything else that forecasts windows."""

    spec: ModelSpec

    def quantiles(self, windows: Windows) -> np.ndarray:
        """(B, H, Q) in the target's unit."""


@dataclass(frozen=True)
class IssueTimes:
    """Issue times (us) and the first step of each, ascending."""

    issues: np.ndarray
    steps: np.ndarray

    def __len__(self) -> int:
        return len(self.issues)

    def since(self, instant: int) -> IssueTimes:
        """Those issued at `instant` (us) or later."""
        return IssueTimes(self.issues[self.issues >= instant], self.steps[self.issues >= instant])

    def window_keys(self, panel: Panel) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Rows, steps and issue times of every series at every one of these nights, night by night."""
        count = len(panel.series)
        rows = np.tile(np.arange(count), len(self.steps))
        return rows, np.repeat(self.steps, count), np.repeat(self.issues, count)


@dataclass(frozen=True)
class Comparison:
    """Losses of every candidate over the same cells. N nights, S series.

    Attributes:
        count: (N, S) steps judged: their actual is known, and every candidate has a finite forecast of them.
        sums: candidate -> measure (`pinball`, `mae`, `coverage_80`) -> (N, S) sum over the steps judged.
        level: (S,) mean absolute actual, NaN where none is known.
        overlap: nights that one horizon reaches over.
        fault: why the challenger's output cannot be published, None if it can.
        required_scale: factor on the width of the challenger's intervals with which they would have held their share of
            the actuals, see `calibration.required_scale`.
    """

    series: tuple[str, ...]
    count: np.ndarray
    sums: dict[str, dict[str, np.ndarray]]
    level: np.ndarray
    overlap: int
    fault: str | None
    required_scale: float | None = None

    @property
    def nights(self) -> int:
        """Nights of which at least one step is judged."""
        return int((self.count.sum(axis=1) > 0).sum())

    def scores(self) -> dict[str, dict[str, float]]:
        """By candidate: `n` steps judged, and the mean over them of each measure; NaN if there are none."""
        n = int(self.count.sum())
        return {
            name: {"n": n, **{measure: float(total.sum()) / n if n else np.nan for measure, total in sums.items()}}
            for name, sums in self.sums.items()
        }

    def by_series(self, candidate: str) -> np.ndarray:
        """(S,) mean pinball of each series, NaN where none of its steps is judged."""
        with np.errstate(invalid="ignore"):
            return self.sums[candidate]["pinball"].sum(axis=0) / self.count.sum(axis=0)

    def difference(self, other: str, rows: np.ndarray | None = None) -> np.ndarray:
        """(n,) mean pinball of the challenger less that of `other` on each night that has a step judged.

        Args:
            rows: series to look at; all by default.
        """
        rows = np.arange(len(self.series)) if rows is None else rows
        count = self.count[:, rows].sum(axis=1)
        apart = (self.sums[CHALLENGER]["pinball"] - self.sums[other]["pinball"])[:, rows].sum(axis=1)
        return apart[count > 0] / count[count > 0]


def compare(spec: ModelSpec, panel: Panel, nights: IssueTimes, models: Mapping[str, Model]) -> Comparison:
    """Every candidate and the baseline as of every night, night by night: memory is that of one.

    Args:
        spec: what the pipeline asks for: levels, season, bounds, grid.
        nights: at least one; the panel covers their contexts and horizons.
        models: `challenger`, and `champion` where one serves.
    """
    count, levels = len(panel.series), np.array(spec.levels)
    names = [BASELINE, *models]
    judged = np.zeros((len(nights), count), np.int64)
    level = np.zeros((len(nights), count))
    sums = {name: {m: np.zeros((len(nights), count)) for m in metrics.MEASURES} for name in names}
    faulty: list[tuple[int, int, str]] = []
    widths: list[np.ndarray] = []
    back = min(history_steps(spec.season, spec.context), int(nights.steps[0]) - panel.first)
    rows = np.arange(count)
    for night, (issue, step) in enumerate(zip(nights.issues, nights.steps, strict=True)):
        steps, issues = np.full(count, step), np.full(count, issue)
        actual = panel.target.final(rows, steps - panel.first, spec.horizon).astype(np.float64)
        past = panel.target.as_of(rows, steps - panel.first - back, back, issues)
        naive = seasonal_naive(past, spec.season, spec.horizon, levels)
        forecasts = {BASELINE: np.clip(naive, spec.lower, spec.upper)}  # type: ignore[call-overload]
        served = np.ones(count, bool)
        for name, model in models.items():
            seen = build_windows(model.spec, panel, rows, steps, issues)
            forecasts[name] = model.quantiles(seen)
            # With less of a context the night takes the baseline, whoever serves.
            served &= (~np.isnan(seen.target)).sum(axis=1) >= model.spec.min_visible
        found = find_faults(forecasts[CHALLENGER], spec.lower, spec.upper)
        faulty += [(night, int(row), found[row]) for row in np.flatnonzero(served & (found != ""))]
        finite = np.stack([np.isfinite(f).all(axis=2) for f in forecasts.values()]).all(axis=0)
        actual[~(finite & served[:, None])] = np.nan
        widths.append(calibration.interval_ratios(forecasts[CHALLENGER], actual, spec.levels))
        judged[night] = (~np.isnan(actual)).sum(axis=1)
        level[night] = np.nansum(np.abs(actual), axis=1)
        for name in names:
            for measure, score in metrics.MEASURES.items():
                sums[name][measure][night] = np.where(
                    np.isnan(actual), 0.0, score(forecasts[name], levels, actual)
                ).sum(axis=1)
    with np.errstate(invalid="ignore"):
        mean_level = level.sum(axis=0) / judged.sum(axis=0)
    overlap = -(-spec.horizon // spec.grid.steps_per_day)
    return Comparison(
        panel.series, judged, sums, mean_level, overlap, _fault(panel.series, len(nights), faulty),
        calibration.required_scale(np.concatenate(widths), spec.levels),
    )  # fmt: skip


def _fault(series: tuple[str, ...], nights: int, faulty: list[tuple[int, int, str]]) -> str | None:
    """What is wrong with the challenger's output, and of which series."""
    if not faulty:
        return None
    _, row, what = faulty[0]
    others = len({row for _, row, _ in faulty}) - 1
    more = f" and {others} more series" if others else ""
    of = len({night for night, _, _ in faulty})
    return f"{what} for series {series[row]!r}{more}, on {of} of {nights} nights"
