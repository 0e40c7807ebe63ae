"""Types of the values in a pipeline file: durations, zones, times of day, lists. Each refuses wrong values.

A type carries its JSON Schema, so that the reader of the file and an editor apply the same rule.
"""

from __future__ import annotations

import json
import math
import re
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated
from zoneinfo import ZoneInfo, available_timezones

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from model.timegrid import closest_calendar, holiday_calendar
from storage.schemas import DataError
from storage.schemas.offsets import OFFSET, parse_offset
from storage.schemas.suggestions import closest
from storage.store import open_store

_LONGEST_IN_SECONDS = 120
_SIMILAR_CITY = 0.75  # of difflib, between 0 and 1
_LONGEST = timedelta(days=36525)  # Longer durations leave the range of datetime.
_UNITS = {"d": "days", "h": "hours", "m": "minutes", "s": "seconds"}
#: Pattern of a duration: a number and a unit.
DURATION = r"(\d+(?:\.\d+)?)([smhd])"
#: Pattern of a local time of day, HH:MM.
LOCAL_TIME = r"([01]\d|2[0-3]):([0-5]\d)"
#: Pattern of a day, YYYY-MM-DD.
DAY = r"\d{4}-\d{2}-\d{2}.*"
_ONE_DAY = r"\d{4}-\d{2}-\d{2}"
_DASK_ADDRESS = r"(tcp|tls|ws|wss)://\S+:\d+"


class SettingError(ValueError):
    """A value that its key does not allow.

    Attributes:
        problem: Clause that begins with "must" and ends without a full stop.
        example: Value that the key allows, or None.
        meant: Allowed value that the wrong one probably means, or None.
    """

    def __init__(self, problem: str, example: str | None = None, meant: str | None = None) -> None:
        self.problem, self.example, self.meant = problem, example, meant
        super().__init__(problem if example is None else f"{problem}. Example: {json.dumps(example)}.")


def parse_duration(value: object) -> timedelta:
    """Return the duration that a text such as "90s" or "1d" names.

    Raises:
        SettingError: If the value is not a number and a unit.
    """
    match = re.fullmatch(DURATION, value) if isinstance(value, str) else None
    if match is None:
        raise SettingError("must be a number and a unit of s, m, h or d", "90s")
    count = float(match[1])
    if count > _LONGEST / timedelta(**{_UNITS[match[2]]: 1}):
        raise SettingError(f"must be at most {_LONGEST.days}d")
    return timedelta(**{_UNITS[match[2]]: count})


def duration_text(value: timedelta) -> str:
    """Return the duration as the file writes it: up to 120s in seconds, else in the largest unit without a fraction."""
    seconds = value.total_seconds()
    if seconds > _LONGEST_IN_SECONDS:
        for unit, name in _UNITS.items():
            count = seconds / timedelta(**{name: 1}).total_seconds()
            if count == int(count):
                return f"{int(count)}{unit}"
    return f"{seconds:g}s"


def _require_positive(value: timedelta) -> timedelta:
    if value <= timedelta(0):
        raise SettingError("must be positive", "120s")
    return value


def _parse_window(value: object) -> object:
    return None if value == "all" else parse_duration(value)


def check_zone(value: str) -> str:
    """Return the name of a time zone.

    Raises:
        SettingError: If there is no such zone.
    """
    try:
        ZoneInfo(value)
    except Exception:  # zoneinfo passes on errors of the file system for some names
        raise SettingError(
            "must be a time zone of the IANA database, which names a large city of each country",
            "Europe/Madrid",
            _closest_zone(value),
        ) from None
    return value


def _closest_zone(value: str) -> str | None:
    """Return a zone whose city is written almost like that of `value`, None if there is none."""
    # A common region would make any two of its cities similar: Munich is not Zurich.
    region, _, city = value.rpartition("/")
    names = sorted(available_timezones(), key=lambda name: (name.startswith(f"{region}/"), name))
    cities = {name.rpartition("/")[2]: name for name in names}
    return cities.get(closest(city, cities, _SIMILAR_CITY) or "")


def _check_offset(value: str) -> str:
    if parse_offset(value) is None:
        raise SettingError("must be an offset from UTC, +HH:MM or -HH:MM", "-05:00")
    return value


def _parse_local_time(value: object) -> time:
    match = re.fullmatch(LOCAL_TIME, value) if isinstance(value, str) else None
    if match is None:
        raise SettingError("must be a local time of day, HH:MM", "13:30")
    return time(int(match[1]), int(match[2]))


def _check_holidays(value: str) -> str:
    try:
        holiday_calendar(value, range(2020, 2021))
    except ValueError:
        raise SettingError(
            'must be a code of the holidays library: a country ("US"), a subdivision ("DE-BY") or a financial market '
            '("NYSE", "ECB")',
            meant=closest_calendar(value),
        ) from None
    return value


def _check_levels(value: tuple[float, ...]) -> tuple[float, ...]:
    if any(not 0 < level < 1 for level in value):
        raise SettingError("must hold levels between 0 and 1, both excluded")
    if 0.5 not in value:
        raise SettingError("must hold 0.5, the median")
    if list(value) != sorted(set(value)):
        raise SettingError("must ascend, each level once")
    return value


def to_tuple(value: object) -> object:
    """Return a list of the file as a tuple, which strict validation requires, and any other value unchanged."""
    return tuple(value) if isinstance(value, list) else value


def check_thresholds(value: tuple[float, ...]) -> tuple[float, ...]:
    """Return the thresholds if each of them can name a column of the forecast file.

    Raises:
        SettingError: If one is not finite, has more than six decimals, or they do not ascend.
    """
    if not all(math.isfinite(x) and round(x, 6) == x for x in value):
        raise SettingError("must hold finite numbers of at most six decimals, which name the columns")
    if list(value) != sorted(set(value)):
        raise SettingError("must ascend, each number once")
    return value


def _check_engine(value: str) -> str:
    if value not in ("local", "dask") and not re.fullmatch(_DASK_ADDRESS, value):
        raise SettingError('must be "local", "dask" or the address of a Dask scheduler', "tcp://host:8786")
    return value


def _parse_day(value: object) -> object:
    try:
        return datetime.fromisoformat(value).replace(tzinfo=UTC) if isinstance(value, str) else value
    except ValueError:
        raise SettingError("must be a day, YYYY-MM-DD", "2018-01-01") from None


def _check_store(value: str) -> str:
    try:
        open_store(value)
    except DataError:
        raise SettingError("must be a folder or s3://bucket/prefix", "./store") from None
    return value


def anchored(pattern: str) -> str:
    """Return the pattern for a whole text."""
    return f"^({pattern})$"


def _text(pattern: str, *examples: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "pattern": anchored(pattern), "examples": list(examples)})


Duration = Annotated[timedelta, BeforeValidator(parse_duration), _text(DURATION, "90s", "1d")]
PositiveDuration = Annotated[Duration, AfterValidator(_require_positive)]
TrainingWindow = Annotated[timedelta | None, BeforeValidator(_parse_window), _text(f"all|{DURATION}", "730d", "all")]
LocalTime = Annotated[time, BeforeValidator(_parse_local_time), _text(LOCAL_TIME, "00:00", "13:30")]
Day = Annotated[datetime, BeforeValidator(_parse_day), _text(DAY, "2018-01-01")]
Offset = Annotated[str, AfterValidator(_check_offset), _text(OFFSET, "-05:00", "+05:30")]
Steps = Annotated[int, Field(ge=1, le=100_000)]
Text = Annotated[str, Field(min_length=1)]
StoreUri = Annotated[Text, AfterValidator(_check_store), Field(examples=["./store", "s3://bucket/prefix"])]


def parse_days(value: object) -> object:
    """Return the first and last day of a text such as "2020-03-15/2020-06-30".

    Raises:
        SettingError: If the value is not two days in their order.
    """
    first, _, last = value.partition("/") if isinstance(value, str) else ("", "", "")
    try:
        days = date.fromisoformat(first), date.fromisoformat(last)
    except ValueError:
        days = None
    if days is None or days[0] > days[1]:
        raise SettingError("must be two days in their order", "2020-03-15/2020-06-30")
    return days


#: First and last day of a period, both included.
Days = Annotated[
    tuple[date, date], BeforeValidator(parse_days),
    WithJsonSchema({"type": "string", "pattern": rf"^{_ONE_DAY}/{_ONE_DAY}$"}),
]  # fmt: skip
Zone = Annotated[str, AfterValidator(check_zone), Field(examples=["UTC", "Europe/Madrid"])]
Holidays = Annotated[str, AfterValidator(_check_holidays), Field(examples=["US", "DE-BY", "NYSE", "ECB"])]
Engine = Annotated[str, AfterValidator(_check_engine), _text(f"local|dask|{_DASK_ADDRESS}", "local", "tcp://host:8786")]
Thresholds = Annotated[tuple[float, ...], BeforeValidator(to_tuple), AfterValidator(check_thresholds)]
Levels = Annotated[
    tuple[float, ...],
    BeforeValidator(to_tuple),
    AfterValidator(_check_levels),
    WithJsonSchema(
        {
            "type": "array",
            "items": {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1},
            "contains": {"const": 0.5},
            "uniqueItems": True,
        }
    ),
]


class Section(BaseModel):
    """A table of the file: frozen, without unknown keys or silent conversion of types."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)
