"""How long a night has, and what of it each stage may take."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta

_INGEST = 0.4  # of the total: a source that has not answered by then is gone without
_FORECAST = 0.25  # kept back for the forecast, whatever training takes
_BASELINE = 0.1  # kept back for the baseline, whatever the model takes
_MOST_FOR_FORECAST, _MOST_FOR_BASELINE = 150.0, 60.0  # seconds
_ANSWERING = 0.8  # of a stage's limit: by then it stops by itself, and does not have to be stopped


class Deadline:
    """Counts down from now.

    Args:
        total: what the night has until the forecast file must be there.
        clock: seconds that only go up.
    """

    def __init__(self, total: timedelta, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.total = total.total_seconds()
        self._end = clock() + self.total

    @property
    def remaining(self) -> float:
        """Seconds left, negative once it is over."""
        return self._end - self._clock()

    @property
    def for_ingest(self) -> float:
        """Seconds that ingest may take."""
        return min(_INGEST * self.total, self.remaining - self._kept_for_forecast)

    @property
    def for_training(self) -> float:
        """Seconds that a training may take which is to serve this night."""
        return self.remaining - self._kept_for_forecast

    @property
    def for_forecast(self) -> float:
        """Seconds that the model's forecast may take."""
        return self.remaining - min(_BASELINE * self.total, _MOST_FOR_BASELINE)

    @property
    def _kept_for_forecast(self) -> float:
        return min(_FORECAST * self.total, _MOST_FOR_FORECAST)


def response_limit(limit: float) -> float:
    """Seconds after which a stage that is stopped after `limit` should answer with what it has."""
    return _ANSWERING * limit
