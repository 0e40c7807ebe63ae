"""Sums of scores by series and issue time, and the ratios made from them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from model.evaluation.monitoring import sum_by

#: Name of row 0, the sum over all series.
ALL_SERIES = "all series"


@dataclass(frozen=True)
class ScoreSums:
    """Sums of score rows for S - 1 series and their total, at T issue times.

    Attributes:
        series: Names of the rows. Row 0 is the sum over all series.
        issues: Issue times in microseconds, ascending, shape (T,).
        overlap: Number of issue times that one horizon covers.
        sums: Sums by name as in `monitoring.sum_by`, each of shape (S, T), NaN where a series has no score.
    """

    series: tuple[str, ...]
    issues: NDArray[np.int64]
    overlap: int
    sums: dict[str, NDArray[np.float64]]

    @classmethod
    def of(cls, scores: pl.LazyFrame) -> ScoreSums:
        """Sum score rows (`score_schema`)."""
        summed = sum_by(scores, "series_id", "issue_time")
        horizons = scores.group_by("issue_time").agg(pl.col("valid_time").max()).sort("issue_time")
        ends = horizons.collect(engine="in-memory")
        names = [name for name in summed.columns if name not in ("series_id", "issue_time")]
        series, issues = summed["series_id"].unique().sort(), ends["issue_time"]
        # The total at an issue time covers the series that have scores there.
        total = summed.group_by("issue_time").agg(pl.col(names).sum()).sort("issue_time")
        row, column = (key.search_sorted(summed[key.name]).to_numpy() for key in (series, issues))
        tables = {}
        for name in names:
            table = np.full((len(series) + 1, len(issues)), np.nan)
            table[0] = total[name].to_numpy()
            table[row + 1, column] = summed[name].to_numpy()
            tables[name] = table
        covered = issues.search_sorted(ends["valid_time"], side="right").to_numpy() - np.arange(len(issues))
        return cls((ALL_SERIES, *series), issues.dt.epoch("us").to_numpy(), int(covered.max(initial=1)), tables)

    def select(self, mask: NDArray[np.bool_]) -> ScoreSums:
        """Return the sums at the issue times of a mask (T,)."""
        tables = {name: table[:, mask] for name, table in self.sums.items()}
        return ScoreSums(self.series, self.issues[mask], self.overlap, tables)

    def ratio(self, numerator: str, denominator: str) -> NDArray[np.float64]:
        """Return the ratio of two sums over all issue times, shape (S,), NaN where the denominator is zero."""
        with np.errstate(invalid="ignore", divide="ignore"):
            ratio: NDArray[np.float64] = np.nansum(self.sums[numerator], axis=1) / np.nansum(
                self.sums[denominator], axis=1
            )
        return ratio

    def ratio_by_issue(self, numerator: str, denominator: str) -> NDArray[np.float64]:
        """Return the ratio of two sums at each issue time, shape (S, T), NaN where the denominator is zero."""
        with np.errstate(invalid="ignore", divide="ignore"):
            ratio = self.sums[numerator] / self.sums[denominator]
            return np.where(self.sums[denominator] > 0, ratio, np.nan)

    def skill(self) -> NDArray[np.float64]:
        """Return 1 - pinball / baseline pinball over all issue times, shape (S,)."""
        return 1 - self.ratio("compared", "baseline_pinball")

    def excess_pinball(self, allowed: float | NDArray[np.float64]) -> NDArray[np.float64]:
        """Return how far the pinball exceeds `allowed` times the baseline's at each issue time, shape (S, T).

        The excess is (p - b) / (p + b) with the pinball p and the allowed pinball b. It lies in [-1, 1], so that no
        single issue time dominates the mean.
        """
        pinball, limit = self.sums["compared"], allowed * self.sums["baseline_pinball"]
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(pinball + limit > 0, (pinball - limit) / (pinball + limit), np.nan)

    def period(self) -> str:
        """Return a phrase for the issue times: their number, and the first and the last date."""
        first, last = (np.datetime64(int(self.issues[end]), "us").astype("datetime64[D]") for end in (0, -1))
        return f"over {len(self.issues)} issue times from {first} to {last}"
