"""Contributions of the inputs to the linear expert's forecast, and the response of the median to each covariate.

A contribution is the forecast minus that with one input at its reference value: the mean of the context at the same
time of day. The expert adds terms of single inputs, so the contributions add up to the difference from the reference
forecast. With the asinh transform, or the scale of the window, they do so only approximately: there is a remainder.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.forecaster import Forecaster
from model.windows import Windows

Floats = NDArray[np.float64]
_LEAST_SHARE = 1e-6  # of the forecast: a smaller contribution is rounding


@dataclass(frozen=True)
class LinearContributions:
    """Contributions to one forecast of the linear expert, in the target's unit, H steps each.

    Attributes:
        forecast: Forecast of the expert, (H,).
        reference: Forecast with all inputs at their reference values, (H,).
        days: Contribution of the target of each past day that has one, by its distance in days, (H,).
        covariates: Contribution of each covariate, by name, (H,).
        calendar: Contribution of weekday, season and holidays, (H,).
    """

    forecast: Floats
    reference: Floats
    days: dict[int, Floats]
    covariates: dict[str, Floats]
    calendar: Floats

    @property
    def remainder(self) -> Floats:
        """Difference from the reference forecast that no single input explains, (H,)."""
        return self.forecast - self.reference - sum([*self.days.values(), *self.covariates.values()], self.calendar)


def linear_contributions(forecaster: Forecaster, window: Windows) -> LinearContributions | None:
    """Return the contributions of one window, None for a model without a linear expert."""
    spec = forecaster.spec
    if not spec.linear:
        return None
    day = spec.grid.steps_per_day
    names = [*spec.known_future, *spec.observed]
    days = list(range(1, spec.context // day + 1))
    reference = _reference(window, spec.context, day)
    # A missing value stays missing, so that what the graph puts in its place counts for the day that it is from.
    reference.target[np.isnan(window.target)] = np.nan
    # Row 0 changes nothing, row 1 all inputs. Next are the days, the covariates and the calendar.
    count = 2 + len(days) + len(names) + 1
    target, future, past, calendar = (
        np.repeat(values, count, axis=0)
        for values in (window.target, window.known_future, window.observed, window.calendar)
    )
    target[1], future[1], past[1], calendar[1] = (
        reference.target[0], reference.known_future[0], reference.observed[0], reference.calendar[0],
    )  # fmt: skip
    for row, lag in enumerate(days, start=2):
        steps = slice(spec.context - lag * day, spec.context - (lag - 1) * day)
        target[row, steps] = reference.target[0, steps]
    for row, number in enumerate(range(len(names)), start=2 + len(days)):
        if number < len(spec.known_future):
            future[row, :, number] = reference.known_future[0, :, number]
        else:
            observed = number - len(spec.known_future)
            past[row, :, observed] = reference.observed[0, :, observed]
    calendar[-1] = reference.calendar[0]
    changed = Windows(target, future, past, calendar, np.repeat(window.series, count))
    forecasts = forecaster.outputs(changed, ["linear_forecast"])[0].astype(np.float64)
    effects = forecasts[0] - forecasts[2:]
    least = _LEAST_SHARE * np.abs(forecasts[0]).max()
    by_day = {lag: effect for lag, effect in zip(days, effects, strict=False) if np.abs(effect).max() > least}
    by_name = dict(zip(names, effects[len(days) : -1], strict=True))
    return LinearContributions(forecasts[0], forecasts[1], by_day, by_name, effects[-1])


def covariate_responses(forecaster: Forecaster, window: Windows) -> dict[str, Floats]:
    """Return how the median changes if a known_future covariate is higher by 1 over the horizon, (H,) by name.

    This is the response of the whole model, not of the linear expert alone. A covariate without a value in the horizon
    is left out.
    """
    spec = forecaster.spec
    names = [
        (number, name)
        for number, name in enumerate(spec.known_future)
        if np.isfinite(window.known_future[0, spec.context :, number]).any()
    ]
    rows = window[np.zeros(1 + len(names), int)]
    for row, (number, _) in enumerate(names, start=1):
        rows.known_future[row, spec.context :, number] += 1
    median = forecaster.quantiles(rows)[:, :, spec.levels.index(0.5)]
    return {name: median[row] - median[0] for row, (_, name) in enumerate(names, start=1)}


def _reference(window: Windows, context: int, day: int) -> Windows:
    """Return a window with each value at the mean of its context at the same time of day."""

    def mean_of(values: NDArray[np.float32], length: int) -> NDArray[np.float32]:
        known = values[:, :context]
        result = np.empty((1, length, *values.shape[2:]), np.float32)
        for step in range(day):
            # Columns at this time of day, counted from the issue time.
            own = known[:, (context + step) % day :: day]
            seen = np.isfinite(own)
            total = np.where(seen, own, 0).sum(axis=1, dtype=np.float64)
            count = seen.sum(axis=1)
            means = np.where(count > 0, total / np.maximum(count, 1), np.nan)
            result[:, (context + step) % day :: day] = means[:, None]
        return result

    return Windows(
        mean_of(window.target[..., None], context)[..., 0],
        mean_of(window.known_future, window.known_future.shape[1]),
        mean_of(window.observed, context),
        mean_of(window.calendar, window.calendar.shape[1]),
        window.series,
    )
