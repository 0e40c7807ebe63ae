"""Deadline of a nightly run, and the share of it that each stage may take."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta

#: Seconds that the baseline may take even after the deadline.
BASELINE_LIMIT = 60.0
# Shares of the total time.
_INGEST = 0.4  # a source that has not responded by then is left out.
_FORECAST = 0.25  # reserved for the forecast, however long training takes.
_BASELINE = 0.1  # reserved for the baseline, however long the model's forecast takes.
_RESPONSE = 0.8  # of a stage's limit: time after which the stage ends by itself, before it is killed.
_MAX_FOR_FORECAST, _MAX_FOR_BASELINE = 150.0, 60.0  # seconds


class Deadline:
    """A countdown that starts when it is created.

    Args:
        total: Time until the forecast must be published.
        clock: Function that returns seconds and never goes back.
    """

    def __init__(self, total: timedelta, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.total = total.total_seconds()
        self._end = clock() + self.total

    @property
    def remaining(self) -> float:
        """Seconds left, negative after the deadline."""
        return self._end - self._clock()

    @property
    def for_ingest(self) -> float:
        """Seconds that ingest may take."""
        return min(_INGEST * self.total, self.remaining - self._reserved_for_forecast)

    @property
    def for_training(self) -> float:
        """Seconds that a training may take whose model is to serve in this run."""
        return self.remaining - self._reserved_for_forecast

    @property
    def for_forecast(self) -> float:
        """Seconds that the model's forecast may take."""
        return self.remaining - min(_BASELINE * self.total, _MAX_FOR_BASELINE)

    @property
    def for_supervision(self) -> float:
        """Seconds until a process that should have ended by itself is killed. Some are left for the baseline."""
        return (self.for_forecast + self.remaining) / 2

    def has_forecast_time(self) -> bool:
        """Return whether the model may still forecast. After that, the remaining rows come from the baseline."""
        return self.for_forecast > 0

    @property
    def _reserved_for_forecast(self) -> float:
        return min(_FORECAST * self.total, _MAX_FOR_FORECAST)


def response_limit(limit: float) -> float:
    """Return the seconds after which a stage that is killed after `limit` seconds should end by itself."""
    return _RESPONSE * limit
