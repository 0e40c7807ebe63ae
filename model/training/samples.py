"""What a network is fitted on: windows at random issue times with what came, some without what a night may lack."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from model.calendar import CALENDAR
from model.panel import Panel
from model.spec import UNKNOWN, ModelSpec
from model.windows import Windows, build_windows

_NO_SEASON = 0.7  # share of training windows that do not see the position in the year
_OF_YEAR = np.array([name.startswith("year_") for name in CALENDAR])


class TooLittleHistory(ValueError):
    """There are not enough windows to fit a model and to stop it early."""


@dataclass(frozen=True)
class LabeledWindows:
    """Windows and the truth apart: what the model may see, and what came."""

    windows: Windows
    actual: np.ndarray  # (B, H) float32, NaN where it is not known


@dataclass(frozen=True)
class Sampler:
    """Draws training windows: any series at any step, as of an issue time that lies as far before its step
    as the pipeline's does.

    Attributes:
        first, last: steps at which a forecast may start (inclusive) so that it ends within the fitting data.
        lead: microseconds from issue time to the start of the first period.
        phase: one window in two starts at this remainder modulo a segment, as nightly forecasts do.
    """

    spec: ModelSpec
    panel: Panel
    first: int
    last: int
    lead: int
    phase: int
    starts: np.ndarray  # (starts,) (row, step) pairs that have something to learn from

    def draw(self, random: np.random.Generator, count: int) -> LabeledWindows:
        """`count` windows with their truth."""
        pairs = self.starts[random.integers(0, len(self.starts), count)]
        rows, steps = pairs[:, 0], pairs[:, 1].copy()
        nightly = random.random(count) < 0.5
        segment = self.spec.segment if self.spec.grid.step else 1
        aligned = steps - (steps - self.phase) % segment
        steps = np.where(nightly & (aligned >= self.first), aligned, steps)
        return make_batch(self.spec, self.panel, rows, steps, self.panel.grid.start(steps) - self.lead)


def make_batch(
    spec: ModelSpec, panel: Panel, rows: np.ndarray, steps: np.ndarray, issues: np.ndarray
) -> LabeledWindows:
    """Windows as of `issues`, and the last known actuals of their horizons."""
    actual = panel.target.final(rows, steps - panel.first, spec.horizon)
    return LabeledWindows(build_windows(spec, panel, rows, steps, issues), actual)


def build_sampler(spec: ModelSpec, panel: Panel, last: int, lead: int, phase: int) -> Sampler:
    """Everything a model may be fitted on: forecasts that begin within the panel and at `last` at the latest.

    Raises:
        TooLittleHistory: fewer than 64 such windows hold enough of a context and an actual.
    """
    final = panel.target.final(np.arange(len(panel.series)), np.zeros(len(panel.series), np.int64), panel.columns)
    seen = np.cumsum(np.pad(~np.isnan(final), ((0, 0), (1, 0))), axis=1)
    starts = np.arange(spec.context, last - panel.first + 1)
    history = seen[:, starts] - seen[:, starts - spec.context]
    future = seen[:, np.minimum(starts + spec.horizon, panel.columns)] - seen[:, starts]
    row, column = np.nonzero((history >= spec.min_visible) & (future > 0))
    if len(row) < 64:
        raise TooLittleHistory(
            f"only {len(row)} training windows of {spec.context} + {spec.horizon} steps; at least 64 are needed"
        )
    known = np.stack([row, starts[column] + panel.first], axis=1)
    return Sampler(spec, panel, panel.first + spec.context, last, lead, phase, known)


def augment_missing(random: np.random.Generator, spec: ModelSpec, drawn: Windows) -> Windows:
    """Take away what a night may lack, so that the network has met it: gaps, late tails, absent covariates,
    series it does not know.
    """
    count = len(drawn)
    target, known = drawn.target.copy(), drawn.known_future.copy()
    observed, series = drawn.observed.copy(), drawn.series.copy()
    column = np.arange(spec.context)
    tail = np.where(random.random(count) < 0.1, random.integers(1, spec.segment + 1, count), 0)
    target[column >= (spec.context - tail)[:, None]] = np.nan
    gap = np.where(random.random(count) < 0.05, random.integers(1, spec.context // 2 + 1, count), 0)
    start = random.integers(0, spec.context, count)
    target[(column >= start[:, None]) & (column < (start + gap)[:, None])] = np.nan
    absent = random.random((count, known.shape[2])) < 0.05
    known[np.broadcast_to(absent[:, None], known.shape)] = np.nan
    blind = random.random((count, known.shape[2])) < 0.05
    known[:, spec.context :][np.broadcast_to(blind[:, None], (count, spec.horizon, known.shape[2]))] = np.nan
    absent = random.random((count, observed.shape[2])) < 0.05
    observed[np.broadcast_to(absent[:, None], observed.shape)] = np.nan
    series[random.random(count) < 0.1] = UNKNOWN
    # The day of the year tells which year's days these are when there are few years: learned by heart, it is wrong
    # the year after. Hidden in most windows, it says no more than a season does.
    calendar = np.repeat(drawn.calendar, count // len(drawn.calendar), axis=0)
    calendar *= ~((random.random(count) < _NO_SEASON)[:, None, None] & _OF_YEAR)
    return Windows(target, known, observed, calendar, series)
