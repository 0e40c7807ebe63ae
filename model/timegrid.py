"""The regular grid of periods of a pipeline. It converts instants to step numbers and back by arithmetic.

Instants are int64 microseconds since 1970-01-01 UTC. Steps of 15m, 30m and 1h are counted in UTC, so a clock change
never merges two of them. In a zone such as Asia/Kolkata, hours begin 30 minutes after those of UTC. Steps of 1d and 1b
are local dates: days, or business days of a calendar.
"""

from __future__ import annotations

from functools import cache, cached_property
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from numpy.typing import NDArray

from storage.schemas.suggestions import closest

if TYPE_CHECKING:
    from holidays import HolidayBase

MINUTE = 60_000_000
DAY = 24 * 60 * MINUTE
SUBDAILY = {"15m": 15 * MINUTE, "30m": 30 * MINUTE, "1h": 60 * MINUTE}
FREQUENCIES = (*SUBDAILY, "1d", "1b")

_EPOCH = np.datetime64("1970-01-05")  # Business days are counted from this Monday.
_CALENDAR_YEARS = range(1970, 2071)


def local_naive(instants: NDArray[np.int64], zone: str) -> NDArray[np.datetime64]:
    """Return the local wall-clock times (datetime64[us]) of instants."""
    times = pl.Series(instants).cast(pl.Datetime("us", "UTC"))
    return times.dt.convert_time_zone(zone).dt.replace_time_zone(None).to_numpy()


def day_starts(dates: NDArray[np.datetime64], zone: str, offset: int = 0) -> NDArray[np.int64]:
    """Return the instants at which local dates begin.

    Where a clock change skips that time, the day begins at the first instant that exists.

    Args:
        dates: Local dates (datetime64[D]).
        zone: IANA zone.
        offset: Microseconds by the wall clock from midnight to the start of the day.
    """
    naive = pl.DataFrame({"t": dates.astype("datetime64[us]") + np.timedelta64(offset, "us")})
    earliest = pl.col("t").dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null")
    skipped = (pl.col("t") + pl.duration(hours=1)).dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null")
    start = pl.coalesce(earliest, skipped).dt.convert_time_zone("UTC").dt.epoch("us")
    return naive.select(start)["t"].to_numpy()


def default_offset(frequency: str, zone: str) -> int:
    """Return the microseconds from a whole step of UTC to a step that begins with an hour of the zone.

    A zone whose clock changes by half an hour has no regular hours. Its offset is 0.
    """
    step = SUBDAILY.get(frequency)
    if step is None:
        return 0
    instants = np.array(["2025-01-01", "2025-07-01"], dtype="datetime64[us]").astype(np.int64)
    winter, summer = ((instants - local_naive(instants, zone).astype(np.int64)) % step).tolist()
    return int(winter) if winter == summer else 0


class TimeGrid:
    """Steps of one frequency.

    Args:
        frequency: One of FREQUENCIES.
        timezone: IANA zone of the local delivery day.
        holidays: Code of the holidays library, or None.
        day_start: Microseconds from local midnight to the start of a period of 1d (a gas day: 06:00).
        offset: Microseconds from a whole step of UTC to the start of a step of 15m, 30m or 1h.

    Attributes:
        step: Length of a step in microseconds, None for 1d and 1b.
    """

    def __init__(
        self, frequency: str, timezone: str, holidays: str | None, day_start: int = 0, offset: int = 0
    ) -> None:
        self.frequency, self.timezone, self.holidays, self.day_start = frequency, timezone, holidays, day_start
        self.offset = offset
        self.step = SUBDAILY.get(frequency)

    @property
    def steps_per_day(self) -> int:
        """Steps in a day of 24 hours, 1 for daily and business-daily grids."""
        return DAY // self.step if self.step else 1

    def index(self, instants: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the step number of the period that contains each instant."""
        if self.step:
            return (instants - self.offset) // self.step
        wall = local_naive(instants, self.timezone)
        if self.frequency == "1d":
            steps = (wall - np.timedelta64(self.day_start, "us")).astype("datetime64[D]").astype(np.int64)
        else:
            # A Saturday belongs to no period. It counts with the business day before it.
            dates = wall.astype("datetime64[D]")
            business = np.busday_offset(dates, 0, roll="backward", busdaycal=self._business)
            steps = np.busday_count(_EPOCH, business, busdaycal=self._business).astype(np.int64)
        # A clock that is put back over midnight shows the old date again, although the next day has already begun.
        return steps + (instants >= self.start(steps + 1)) - (instants < self.start(steps))

    def dates(self, steps: NDArray[np.int64]) -> NDArray[np.datetime64]:
        """Return the local dates (datetime64[D]) on which steps begin."""
        if self.step:
            return local_naive(self.start(steps), self.timezone).astype("datetime64[D]")
        if self.frequency == "1d":
            return steps.astype("datetime64[D]")
        return np.busday_offset(_EPOCH, steps, roll="forward", busdaycal=self._business)

    def start(self, steps: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the instants at which steps begin."""
        return steps * self.step + self.offset if self.step else self.start_of_dates(self.dates(steps))

    def start_of_dates(self, dates: NDArray[np.datetime64]) -> NDArray[np.int64]:
        """Return the instants at which the periods of local dates (datetime64[D]) begin. Only for 1d and 1b."""
        # Conversions from the wall clock to UTC are slow, so each run of equal dates is converted once.
        runs = np.flatnonzero(np.diff(dates, prepend=dates[:1] - 1))
        return np.repeat(day_starts(dates[runs], self.timezone, self.day_start), np.diff(runs, append=len(dates)))

    def end(self, steps: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the instants at which periods end. A business day ends at the next local midnight."""
        if self.step:
            return (steps + 1) * self.step + self.offset
        return self.start_of_dates(self.dates(steps) + np.timedelta64(1, "D"))

    def first_step(self, instant: int) -> int:
        """Return the first step that starts at or after `instant`, which is step 1 of a forecast issued then."""
        return int(self.first_steps(np.array([instant]))[0])

    def first_steps(self, instants: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the first step that starts at or after each instant."""
        steps = self.index(instants)
        return steps + (self.start(steps) < instants)

    def is_period_date(self, dates: NDArray[np.datetime64]) -> NDArray[np.bool_]:
        """Return whether local dates (datetime64[D]) have a period. All have, except on a business-day grid."""
        if self.frequency != "1b":
            return np.ones(dates.shape, bool)
        return np.is_busday(dates, busdaycal=self._business)

    def is_holiday(self, dates: NDArray[np.datetime64]) -> NDArray[np.bool_]:
        """Return whether local dates (datetime64[D]) are holidays of the calendar. Without a calendar none is."""
        days, inverse = np.unique(dates, return_inverse=True)
        return np.isin(days, self._holiday_dates)[inverse]

    @cached_property
    def _holiday_dates(self) -> NDArray[np.datetime64]:
        return np.array([], dtype="datetime64[D]") if self.holidays is None else _holiday_dates(self.holidays)

    @cached_property
    def _business(self) -> np.busdaycalendar:
        return np.busdaycalendar(holidays=self._holiday_dates)


@cache
def _holiday_dates(code: str) -> NDArray[np.datetime64]:
    # Cached, because a hundred years take 20 ms and a nightly run makes many grids.
    return np.array(sorted(holiday_calendar(code, _CALENDAR_YEARS)), dtype="datetime64[D]")


def closest_calendar(name: str) -> str | None:
    """Return the code of the calendar that a name or a wrong code probably means, None if none is similar."""
    import holidays
    from holidays.registry import COUNTRIES

    country, _, subdivision = name.partition("-")
    codes = holidays.list_supported_countries(include_aliases=True)
    if country in codes and subdivision:
        found = closest(subdivision, codes[country])
        return f"{country}-{found}" if found else country
    by_name = {name: code for alias, code, *others in COUNTRIES.values() for name in (alias, *others)}
    # A code that people make themselves, such as GER, is the begin of one name.
    begun = {
        code for alias, code, *_ in COUNTRIES.values() if len(name) > 2 and alias.casefold().startswith(name.casefold())
    }
    if len(begun) == 1:
        return begun.pop()
    by_name |= {code: code for code in [*codes, *holidays.list_supported_financial(include_aliases=True)]}
    found = closest(name.replace(" ", ""), by_name)
    return by_name[found] if found else None


def holiday_calendar(code: str, years: range) -> HolidayBase:
    """Return the holidays of a country (`US`), a subdivision (`DE-BY`) or a financial market (`NYSE`, `ECB`).

    Raises:
        ValueError: The holidays library does not know the code.
    """
    import holidays  # Imported here, because the import takes 60 ms.
    from holidays.registry import COUNTRIES, FINANCIAL

    # The library's lists of codes would import every calendar, which takes 0.4 s. Its tables also have class names.
    if code.isupper() and any(code in codes for _, *codes in FINANCIAL.values()):
        return holidays.financial_holidays(code, years=years)
    country, _, subdivision = code.partition("-")
    # The library also accepts names of its classes, such as Spain, but no subdivision of them.
    if not country.isupper() or not any(country in codes for _, *codes in COUNTRIES.values()):
        raise ValueError(f"there is no calendar {code!r}")
    try:
        return holidays.country_holidays(country, subdiv=subdivision or None, years=years)
    except NotImplementedError as error:
        raise ValueError(str(error)) from None
