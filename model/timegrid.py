"""The regular grid of periods of a pipeline: instants to step numbers and back, by arithmetic.

Instants are int64 microseconds since 1970-01-01 UTC. Steps of 15m, 30m and 1h are counted in UTC, so a clock
change never makes two of them one. Steps of 1d and 1b are local dates: days, or business days of a calendar.
"""

from __future__ import annotations

from functools import cache, cached_property

import numpy as np
import polars as pl

MINUTE = 60_000_000
DAY = 24 * 60 * MINUTE
SUBDAILY = {"15m": 15 * MINUTE, "30m": 30 * MINUTE, "1h": 60 * MINUTE}
FREQUENCIES = (*SUBDAILY, "1d", "1b")

_EPOCH = np.datetime64("1970-01-05")  # a Monday; business days are counted from it
_CALENDAR_YEARS = range(1970, 2071)


def local_naive(instants: np.ndarray, zone: str) -> np.ndarray:
    """Local wall-clock times (datetime64[us]) of UTC instants (int64 us)."""
    times = pl.Series(instants).cast(pl.Datetime("us", "UTC"))
    return times.dt.convert_time_zone(zone).dt.replace_time_zone(None).to_numpy()


def day_starts(dates: np.ndarray, zone: str, after: int = 0) -> np.ndarray:
    """UTC instants (int64 us) at which local `dates` (datetime64[D]) begin in `zone`: at midnight, or `after` (us)
    it by the wall clock.

    Where a clock change skips that time, the day begins at the first instant that exists.
    """
    naive = pl.DataFrame({"t": dates.astype("datetime64[us]") + np.timedelta64(after, "us")})
    earliest = pl.col("t").dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null")
    skipped = (pl.col("t") + pl.duration(hours=1)).dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null")
    start = pl.coalesce(earliest, skipped).dt.convert_time_zone("UTC").dt.epoch("us")
    return naive.select(start)["t"].to_numpy()


class TimeGrid:
    """Steps of `frequency`; `timezone` and `holidays` decide what a day and a business day are.

    Args:
        frequency: one of FREQUENCIES.
        timezone: IANA zone of the local delivery day.
        holidays: code of the holidays library, or None.
        day_start: microseconds after local midnight at which a period of 1d begins (a gas day: 06:00).
    """

    def __init__(self, frequency: str, timezone: str, holidays: str | None, day_start: int = 0) -> None:
        self.frequency, self.timezone, self.holidays, self.day_start = frequency, timezone, holidays, day_start
        self.step = SUBDAILY.get(frequency)

    @property
    def steps_per_day(self) -> int:
        """Steps in a day of 24 hours; 1 for daily and business-daily grids."""
        return DAY // self.step if self.step else 1

    def index(self, instants: np.ndarray) -> np.ndarray:
        """Step number (int64) of the period that contains each instant."""
        if self.step:
            return instants // self.step
        wall = local_naive(instants, self.timezone)
        if self.frequency == "1d":
            steps = (wall - np.timedelta64(self.day_start, "us")).astype("datetime64[D]").astype(np.int64)
        else:
            # A Saturday belongs to no period: it counts with the business day before it.
            dates = wall.astype("datetime64[D]")
            business = np.busday_offset(dates, 0, roll="backward", busdaycal=self._business)
            steps = np.busday_count(_EPOCH, business, busdaycal=self._business).astype(np.int64)
        # A clock that is put back over midnight shows the old date again, on the day that has begun.
        return steps + (instants >= self.start(steps + 1)) - (instants < self.start(steps))

    def dates(self, steps: np.ndarray) -> np.ndarray:
        """Local dates (datetime64[D]) on which steps begin."""
        if self.step:
            return local_naive(self.start(steps), self.timezone).astype("datetime64[D]")
        if self.frequency == "1d":
            return steps.astype("datetime64[D]")
        return np.busday_offset(_EPOCH, steps, roll="forward", busdaycal=self._business)

    def start(self, steps: np.ndarray) -> np.ndarray:
        """Instants (int64 us) at which steps begin."""
        return steps * self.step if self.step else self.start_of_dates(self.dates(steps))

    def start_of_dates(self, dates: np.ndarray) -> np.ndarray:
        """Instants at which the periods named by local dates (datetime64[D]) begin; 1d and 1b only."""
        # The hours of a day share its midnight, and the way from the wall clock to UTC is long.
        runs = np.flatnonzero(np.diff(dates, prepend=dates[:1] - 1))
        return np.repeat(day_starts(dates[runs], self.timezone, self.day_start), np.diff(runs, append=len(dates)))

    def end(self, steps: np.ndarray) -> np.ndarray:
        """Instants at which the periods end; a business day ends at the next local midnight."""
        if self.step:
            return (steps + 1) * self.step
        return self.start_of_dates(self.dates(steps) + np.timedelta64(1, "D"))

    def first_step(self, instant: int) -> int:
        """The first step that starts at or after `instant`: step 1 of a forecast issued then."""
        step = int(self.index(np.array([instant]))[0])
        return step if int(self.start(np.array([step]))[0]) >= instant else step + 1

    def is_period_date(self, dates: np.ndarray) -> np.ndarray:
        """Whether local dates (datetime64[D]) are steps of this grid: all are, but for a business-day grid."""
        if self.frequency != "1b":
            return np.ones(dates.shape, bool)
        return np.is_busday(dates, busdaycal=self._business)

    def is_holiday(self, dates: np.ndarray) -> np.ndarray:
        """Whether local dates (datetime64[D]) are holidays of the calendar; all False without one."""
        days, inverse = np.unique(dates, return_inverse=True)
        return np.isin(days, self._holiday_dates)[inverse]

    @cached_property
    def _holiday_dates(self) -> np.ndarray:
        return np.array([], dtype="datetime64[D]") if self.holidays is None else _holiday_dates(self.holidays)

    @cached_property
    def _business(self) -> np.busdaycalendar:
        return np.busdaycalendar(holidays=self._holiday_dates)


@cache
def _holiday_dates(code: str) -> np.ndarray:
    # A hundred years take 20 ms, and a night asks for them again and again.
    return np.array(sorted(holiday_calendar(code, _CALENDAR_YEARS)), dtype="datetime64[D]")


def holiday_calendar(code: str, years: range):  # -> holidays.HolidayBase (imported late: 60 ms)
    """Holidays of a country (`US`), a subdivision (`DE-BY`) or a financial market (`NYSE`, `ECB`).

    Raises ValueError for a code that the holidays library does not know.
    """
    import holidays

    if code in holidays.list_supported_financial(include_aliases=True):
        return holidays.financial_holidays(code, years=years)
    country, _, subdivision = code.partition("-")
    try:
        return holidays.country_holidays(country, subdiv=subdivision or None, years=years)
    except NotImplementedError as error:
        raise ValueError(str(error)) from None
