"""Alerts: what in the scores of the last nights is worse than allowed, and is so beyond chance.

A check rings when its figure over the window is beyond the limit, and when the single nights agree on it: one number a
night, above zero where that night was worse than the limit, whose mean is above zero by `evidence` standard errors.
Where the horizons of neighbouring nights overlap, they tell of the same days: of n nights whose horizons reach over d
of them n / d count, as in the test of Diebold and Mariano (1995) errors further apart than the horizon are taken for
independent. Where few count, more standard errors are asked: as many as Student's t has at the probability that
`evidence` has in the normal distribution.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import NamedTuple

import numpy as np
import polars as pl

from model.evaluation.monitoring import sum_by
from storage.schemas.records import Alert

#: Checks that say that the model has grown worse, for which training anew is the remedy.
DECAY = ("skill", "drift")
_FEWEST = 10  # nights in the window
_FEWEST_COUNTING = 3.0  # however long the horizon: what is far beyond a limit rings all the same
_FEWEST_BEFORE = 28  # nights before the recent ones, for drift
_SHOWN = 20  # series a check


@dataclass(frozen=True)
class Limits:
    """What the scores are held to.

    Attributes:
        window: the nights looked at; recent: the newest of them, which drift compares with all before.
        min_skill: smallest 1 - pinball / baseline_pinball.
        min_coverage, max_coverage: of the 80% interval.
        max_bias: largest |mean error / scale|.
        drift: largest fall of the recent skill below the one before.
        evidence: standard errors by which a limit must be passed.
    """

    window: timedelta
    recent: timedelta
    min_skill: float
    min_coverage: float
    max_coverage: float
    max_bias: float
    drift: float
    evidence: float


class Check(NamedTuple):
    """One check of every series: by how much it rings, (S,), NaN where not; and the sentence about series i."""

    name: str
    rings: np.ndarray
    detail: Callable[[int], str]


@dataclass(frozen=True)
class ScoreSums:
    """Sums a series and night, (S, T), NaN where a series has no score; row 0 is all series together.

    Attributes:
        issues: (T,) us, ascending.
        overlap: nights that a horizon reaches over.
    """

    series: tuple[str, ...]
    issues: np.ndarray
    overlap: int
    sums: dict[str, np.ndarray]

    def part(self, nights: np.ndarray) -> ScoreSums:
        """The nights where `nights` (T,) is True."""
        tables = {name: table[:, nights] for name, table in self.sums.items()}
        return ScoreSums(self.series, self.issues[nights], self.overlap, tables)

    def mean(self, above: str, below: str) -> np.ndarray:
        """(S,) ratio of two sums over all nights, NaN where the lower is zero."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.nansum(self.sums[above], axis=1) / np.nansum(self.sums[below], axis=1)

    def each(self, above: str, below: str) -> np.ndarray:
        """(S, T) the same of each night."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(self.sums[below] > 0, self.sums[above] / self.sums[below], np.nan)

    def skill(self) -> np.ndarray:
        """(S,) 1 - pinball / baseline_pinball."""
        return 1 - self.mean("compared", "baseline_pinball")

    def worse(self, allowed: float | np.ndarray) -> np.ndarray:
        """(S, T) (pinball - b) / (pinball + b), b `allowed` times the baseline's: no night counts for more than one."""
        mine, bar = self.sums["compared"], allowed * self.sums["baseline_pinball"]
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(mine + bar > 0, (mine - bar) / (mine + bar), np.nan)

    def dates(self) -> str:
        """Which nights these are."""
        first, last = (np.datetime64(int(self.issues[end]), "us").astype("datetime64[D]") for end in (0, -1))
        return f"in the {len(self.issues)} nights from {first} to {last}"


def find_alerts(scores: pl.LazyFrame, limits: Limits) -> list[Alert]:
    """What rings: {"check", "series_id" (None: all series together), "detail": a sentence}.

    Args:
        scores: score rows of the window and of as many nights before it as drift is to be measured against.
    """
    nights = _nights(scores)
    if not len(nights.issues):
        return []
    window, recent = (nights.issues > nights.issues[-1] - _micros(part) for part in (limits.window, limits.recent))
    checks = [*_checks(nights.part(window), limits)]
    if (~recent).sum() >= _FEWEST_BEFORE:
        checks.append(_drift(nights.part(~recent), nights.part(recent), limits))
    found: list[Alert] = []
    for name, rings, detail in checks:
        # The clearest first; row 0, all series together, before any.
        rows = sorted(np.flatnonzero(~np.isnan(rings)).tolist(), key=lambda i: (i > 0, -rings[i]))
        found += [
            {"check": name, "series_id": nights.series[i] if i else None, "detail": detail(i)} for i in rows[:_SHOWN]
        ]
        if len(rows) > _SHOWN:
            more = f"{len(rows) - _SHOWN} more series ring for the same reason, less clearly"
            found.append({"check": name, "series_id": None, "detail": more})
    return found


def _checks(window: ScoreSums, limits: Limits) -> Iterator[Check]:
    dates, who = window.dates(), window.series
    skill, coverage, bias = window.skill(), window.mean("covered", "covered_n"), window.mean("scaled_error", "scaled_n")
    pinball, bar = window.mean("compared", "baseline_n"), window.mean("baseline_pinball", "baseline_n")
    inside, rows = window.each("covered", "covered_n"), window.sums["covered_n"]

    def ring(beyond: np.ndarray, worse: np.ndarray, chance: float = 0.0) -> np.ndarray:
        sure = _sure(worse, window.overlap, limits.evidence, np.nan_to_num(chance / np.fmax(np.nanmean(rows, 1), 1)))
        few = (~np.isnan(worse)).sum(axis=1) < _FEWEST
        return np.where(beyond & ~few, sure, np.nan)

    yield Check(
        "skill",
        ring(skill < limits.min_skill, window.worse(1 - limits.min_skill)),
        lambda i: (
            f"{who[i]}: skill against the baseline {skill[i]:.2f} {dates}, less than min_skill = {limits.min_skill:g} "
            f"(pinball {pinball[i]:.4g}, the baseline's {bar[i]:.4g}); look at the newest data of the feeds, then "
            "train a model on them"
        ),
    )
    # The spread of a share is at least what rows that know nothing of each other would have at the limit.
    low, high = limits.min_coverage, limits.max_coverage
    yield Check(
        "coverage",
        ring(coverage < low, low - inside, low * (1 - low)),
        lambda i: (
            f"{who[i]}: the 80% interval held {coverage[i]:.0%} of the actuals {dates}, less than coverage.min = "
            f"{low:g}: the intervals are too narrow or lie beside; do not plan by them as they are"
        ),
    )
    yield Check(
        "coverage",
        ring(coverage > high, inside - high, high * (1 - high)),
        lambda i: (
            f"{who[i]}: the 80% interval held {coverage[i]:.0%} of the actuals {dates}, more than coverage.max = "
            f"{high:g}: the intervals are wider than they need be; look for feeds that come late or not at all"
        ),
    )
    error = np.sign(bias)[:, None] * window.each("scaled_error", "scaled_n")
    yield Check(
        "bias",
        ring(np.abs(bias) > limits.max_bias, error - limits.max_bias),
        lambda i: (
            f"{who[i]}: the actuals lay {abs(bias[i]):.2f} seasonal naive errors {'above' if bias[i] > 0 else 'below'} "
            f"the median on average {dates}, more than max_bias = {limits.max_bias:g}; look for a change of level or "
            "of unit in the feeds"
        ),
    )


def _drift(before: ScoreSums, recent: ScoreSums, limits: Limits) -> Check:
    usual, now = before.skill(), recent.skill()
    allowed = (1 - usual + limits.drift)[:, None]
    # The spread is that of the many nights before; a week is too short to tell its own.
    sure = _sure(before.worse(allowed), before.overlap, limits.evidence, mean_of=recent.worse(allowed))
    few = (~np.isnan(before.sums["compared"])).sum(axis=1) < _FEWEST_BEFORE
    return Check(
        "drift",
        np.where((now < usual - limits.drift) & ~few, sure, np.nan),
        lambda i: (
            f"{before.series[i]}: skill against the baseline fell from {usual[i]:.2f} {before.dates()} to {now[i]:.2f} "
            f"{recent.dates()}, by more than drift = {limits.drift:g}; look at the newest data of the feeds, then "
            "train a model on them"
        ),
    )


def _sure(
    nightly: np.ndarray, overlap: int, evidence: float, least: np.ndarray | float = 0.0,
    mean_of: np.ndarray | None = None,
) -> np.ndarray:  # fmt: skip
    """(S,) standard errors by which the mean of `nightly` (S, T) is above zero, NaN where that is not enough.

    Args:
        least: (S,) the variance of a night is not taken for smaller.
        mean_of: (S, R) later nights, whose mean is judged by the spread of the `nightly` ones.
    """
    known = ~np.isnan(nightly)
    count = known.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.nansum(nightly, axis=1) / count
        apart = np.where(known, nightly - mean[:, None], 0.0)
        counting = np.maximum(count / overlap, _FEWEST_COUNTING)
        # Nights that tell of the same days show less of the spread than there is.
        variance = np.maximum((apart**2).sum(axis=1) / count / (1 - 1 / counting), least)
        if mean_of is None:
            error = np.sqrt(variance / counting)
        else:
            later = (~np.isnan(mean_of)).sum(axis=1)
            error = np.sqrt(variance / counting * (1 + count / later))
            mean = np.nansum(mean_of, axis=1) / later
        # Where nights do not differ at all, any excess is certain.
        size = np.where(error > 0, mean / error, np.where(mean > 0, np.inf, 0.0))
        return np.where((count > 0) & (size > _needed(evidence, counting - 1)), size, np.nan)


def _needed(normal: float, freedom: np.ndarray) -> np.ndarray:
    """Quantile of Student's t at the probability of `normal` in the normal distribution.

    Abramowitz and Stegun, 26.7.5.
    """
    z = normal
    terms = (
        z,
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
    )
    return sum((term / freedom**power for power, term in enumerate(terms)), np.zeros_like(freedom))


def _nights(scores: pl.LazyFrame) -> ScoreSums:
    each = sum_by(scores, "series_id", "issue_time")
    last = scores.group_by("issue_time").agg(pl.col("valid_time").max()).sort("issue_time").collect(engine="in-memory")
    names = [name for name in each.columns if name not in ("series_id", "issue_time")]
    series, issues = each["series_id"].unique().sort(), last["issue_time"]
    # A total is of the series that a night has, whichever they are.
    total = each.group_by("issue_time").agg(pl.col(names).sum()).sort("issue_time")
    row, column = (key.search_sorted(each[key.name]).to_numpy() for key in (series, issues))
    tables = {}
    for name in names:
        table = np.full((len(series) + 1, len(issues)), np.nan)
        table[0] = total[name].to_numpy()
        table[row + 1, column] = each[name].to_numpy()
        tables[name] = table
    reach = issues.search_sorted(last["valid_time"], side="right").to_numpy() - np.arange(len(issues))
    return ScoreSums(
        ("all series", *series), issues.dt.epoch("us").to_numpy(), int(reach.max(initial=1)), tables
    )  # fmt: skip


def _micros(length: timedelta) -> int:
    return length // timedelta(microseconds=1)
