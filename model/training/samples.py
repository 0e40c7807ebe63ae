"""Training windows at random issue times with their actuals, some with inputs hidden that a run may lack."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from model.calendar import CALENDAR
from model.panel import Panel
from model.spec import UNKNOWN, ModelSpec
from model.windows import Windows, build_windows

_FEWEST_WINDOWS = 64
_ALIGNED = 0.5  # share of windows that start where a segment of the nightly forecasts starts
_LATE_TAIL = 0.1
_GAP = 0.05
_MOSTLY_MISSING = 0.1
_SCATTERED = 0.25  # of the windows whose context is mostly missing
_NO_COVARIATE = 0.05
_NO_COVARIATE_AHEAD = 0.05
_UNKNOWN_SERIES = 0.1
_NO_DAY_OF_YEAR = 0.7
_OF_YEAR = np.array([name.startswith("year_") for name in CALENDAR])


class TooLittleHistory(ValueError):
    """The history has too few windows to train a model."""


@dataclass(frozen=True)
class LabeledWindows:
    """Windows and their actuals: what the model may see, and the truth.

    Attributes:
        windows: B windows.
        actual: Actuals of the horizon, (B, H) float32, NaN if unknown.
        steps: First step of each horizon, (B,).
    """

    windows: Windows
    actual: np.ndarray
    steps: np.ndarray


@dataclass(frozen=True)
class Sampler:
    """Source of random training windows: any series at any step, as of the issue time that belongs to the step.

    Attributes:
        spec: Spec of the windows.
        panel: Series with all revisions.
        first: First step at which a forecast may start.
        last: Last step at which a forecast may start.
        issue_to_first_step: Microseconds from the issue time to the start of the first period.
        phase: Step whose remainder modulo the segment is that of nightly forecasts. Half of the windows start there.
        starts: (row, step) pairs at which a window has enough context and an actual, (N, 2). With a linear expert they
            are those of the pipeline's own issue times, for which alone the expert is fitted.
        is_excluded: Mask of the steps from `panel.first` on at which no horizon may start. None: there are none.
        shares: Cumulative probabilities of `starts`, ending with 1, (N,). None: all are equally probable.
    """

    spec: ModelSpec
    panel: Panel
    first: int
    last: int
    issue_to_first_step: int
    phase: int
    starts: np.ndarray
    is_excluded: np.ndarray | None = None
    shares: np.ndarray | None = None

    def draw(self, random: np.random.Generator, count: int) -> LabeledWindows:
        """Return `count` random windows with their actuals."""
        if self.shares is None:
            chosen = random.integers(0, len(self.starts), count)
        else:
            chosen = np.searchsorted(self.shares, random.random(count), side="right")
        pairs = self.starts[chosen]
        rows, steps = pairs[:, 0], pairs[:, 1].copy()
        if self.spec.linear:
            return make_batch(self.spec, self.panel, rows, steps, self._issues(steps))
        is_aligned = random.random(count) < _ALIGNED
        segment = self.spec.segment if self.spec.grid.step else 1
        aligned = steps - (steps - self.phase) % segment
        is_aligned &= aligned >= self.first
        if self.is_excluded is not None:
            is_aligned &= ~self.is_excluded[np.maximum(aligned, self.first) - self.panel.first]
        steps = np.where(is_aligned, aligned, steps)
        return make_batch(self.spec, self.panel, rows, steps, self._issues(steps))

    def _issues(self, steps: np.ndarray) -> np.ndarray:
        return self.panel.grid.start(steps) - self.issue_to_first_step


def make_batch(
    spec: ModelSpec, panel: Panel, rows: np.ndarray, steps: np.ndarray, issues: np.ndarray
) -> LabeledWindows:
    """Return windows with the newest revision of their actuals.

    Args:
        spec: Spec of the windows.
        panel: Series with all revisions.
        rows: Series of each window, (B,).
        steps: First step of each horizon, (B,).
        issues: Issue times in microseconds, (B,).
    """
    actual = panel.target.final(rows, steps - panel.first, spec.horizon)
    return LabeledWindows(build_windows(spec, panel, rows, steps, issues), actual, steps)


def build_sampler(
    spec: ModelSpec,
    panel: Panel,
    last: int,
    issue_to_first_step: int,
    phase: int,
    excluded: np.ndarray | None = None,
    half_life: int | None = None,
    nightly: np.ndarray | None = None,
) -> Sampler:
    """Return the sampler of all windows that a model may be fitted on.

    Args:
        spec: Spec of the windows.
        panel: Series with all revisions.
        last: Last step at which a forecast may start.
        issue_to_first_step: Attribute of `Sampler`.
        phase: Attribute of `Sampler`.
        excluded: Mask of the panel's steps that no horizon may contain. None: there are none.
        half_life: Microseconds over which the probability of a window halves with its age. None: all are equal.
        nightly: First steps of the forecasts at the pipeline's issue times. Only a model with a linear expert needs
            them.

    Raises:
        TooLittleHistory: Fewer than 64 windows have enough visible context and an actual.
    """
    final = panel.target.final(np.arange(len(panel.series)), np.zeros(len(panel.series), np.int64), panel.columns)
    visible = np.cumsum(np.pad(~np.isnan(final), ((0, 0), (1, 0))), axis=1)
    starts = np.arange(spec.context, last - panel.first + 1)
    history = visible[:, starts] - visible[:, starts - spec.context]
    future = visible[:, np.minimum(starts + spec.horizon, panel.columns)] - visible[:, starts]
    is_usable = (history >= spec.min_visible) & (future > 0)
    touches = None if excluded is None else _touches(excluded, spec.horizon)
    if touches is not None:
        is_usable &= ~touches[starts]
    if spec.linear and nightly is not None:
        at_issue = is_usable & np.isin(starts + panel.first, nightly)
        # A short history has too few of them. Windows at other times of day are better than no model.
        is_usable = at_issue if at_issue.sum() >= _FEWEST_WINDOWS else is_usable
    row, column = np.nonzero(is_usable)
    if len(row) < _FEWEST_WINDOWS:
        raise TooLittleHistory(
            f"the history has {len(row)} training windows of {spec.context} + {spec.horizon} steps, of which at least "
            f"{_FEWEST_WINDOWS} are needed"
        )
    pairs = np.stack([row, starts[column] + panel.first], axis=1)
    shares = None if half_life is None else _recency_shares(panel, pairs[:, 1], last, half_life)
    return Sampler(spec, panel, panel.first + spec.context, last, issue_to_first_step, phase, pairs, touches, shares)


def _touches(excluded: np.ndarray, horizon: int) -> np.ndarray:
    """Return at which steps a horizon starts that contains an excluded step, (columns,)."""
    counts = np.cumsum(np.pad(excluded, (1, horizon)))
    touches: np.ndarray = counts[horizon:-1] > counts[: -horizon - 1]
    return touches


def _recency_shares(panel: Panel, steps: np.ndarray, last: int, half_life: int) -> np.ndarray:
    """Return cumulative probabilities of windows that halve with each `half_life` (us) of age, (N,)."""
    ages = panel.grid.start(np.array([last])) - panel.grid.start(steps)
    shares = np.cumsum(0.5 ** (ages / half_life))
    normalised: np.ndarray = shares / shares[-1]
    return normalised


def augment_missing(random: np.random.Generator, spec: ModelSpec, drawn: Windows) -> Windows:
    """Return windows in which some inputs are hidden, so that the network learns to forecast without them.

    It may hide the newest values of the target, a gap in its context, or most of the context. It may hide a covariate,
    everywhere or in the horizon alone, the identity of the series and the day of the year.
    """
    count = len(drawn)
    target, known = drawn.target.copy(), drawn.known_future.copy()
    observed, series = drawn.observed.copy(), drawn.series.copy()
    column = np.arange(spec.context)
    tail = np.where(random.random(count) < _LATE_TAIL, random.integers(1, spec.segment + 1, count), 0)
    target[column >= (spec.context - tail)[:, None]] = np.nan
    gap = np.where(random.random(count) < _GAP, random.integers(1, spec.context // 2 + 1, count), 0)
    start = random.integers(0, spec.context, count)
    target[(column >= start[:, None]) & (column < (start + gap)[:, None])] = np.nan
    target[_most_of_context(random, spec, count)] = np.nan
    absent = random.random((count, known.shape[2])) < _NO_COVARIATE
    known[np.broadcast_to(absent[:, None], known.shape)] = np.nan
    blind = random.random((count, known.shape[2])) < _NO_COVARIATE_AHEAD
    known[:, spec.context :][np.broadcast_to(blind[:, None], (count, spec.horizon, known.shape[2]))] = np.nan
    absent = random.random((count, observed.shape[2])) < _NO_COVARIATE
    observed[np.broadcast_to(absent[:, None], observed.shape)] = np.nan
    series[random.random(count) < _UNKNOWN_SERIES] = UNKNOWN
    # With few years of history, the day of the year identifies the year, and the network memorises its days. Hidden in
    # most windows, it still carries the season.
    calendar = np.repeat(drawn.calendar, count // len(drawn.calendar), axis=0)
    calendar *= ~((random.random(count) < _NO_DAY_OF_YEAR)[:, None, None] & _OF_YEAR)
    return Windows(target, known, observed, calendar, series)


def _most_of_context(random: np.random.Generator, spec: ModelSpec, count: int) -> np.ndarray:
    """Return a mask of the steps to hide of each context, shape (B, C): mostly none, else at least half of them.

    They are the oldest, as of a new series, the newest, as of a late feed, in between, or scattered. About as many
    values as the model needs are left at least.
    """
    fewest, most = spec.context // 2, max(spec.context - spec.min_visible, spec.context // 2)
    is_hidden = random.random(count) < _MOSTLY_MISSING
    length = np.where(is_hidden, random.integers(fewest, most + 1, count), 0)
    start = (random.choice([0.0, 0.5, 1.0, 1.0], count) * (spec.context - length))[:, None]
    column = np.arange(spec.context)
    is_block = (column >= start) & (column < start + length[:, None])
    is_scattered = random.random((count, spec.context)) < (length / spec.context)[:, None]
    hidden: np.ndarray = np.where((random.random(count) < _SCATTERED)[:, None], is_scattered, is_block)
    return hidden
