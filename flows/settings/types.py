"""Kinds of values in a pipeline file: durations, zones, times of day; each refuses what it does not know."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, time, timedelta
from typing import Annotated
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from model.timegrid import holiday_calendar
from storage.schemas import DataError
from storage.store import open_store

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
#: A number and a unit.
DURATION = r"(\d+(?:\.\d+)?)([smhd])"


def parse_duration(value: object) -> timedelta:
    """`"90s"`, `"1d"`: a number and a unit. Raises ValueError for anything else."""
    match = re.fullmatch(DURATION, value) if isinstance(value, str) else None
    if match is None:
        raise ValueError('must be a number and a unit of s, m, h or d, such as "90s" or "1d"')
    return timedelta(**{_UNITS[match[2]]: float(match[1])})


def _positive(value: timedelta) -> timedelta:
    if value <= timedelta(0):
        raise ValueError("must be longer than nothing")
    return value


def _window(value: object) -> object:
    return None if value == "all" else parse_duration(value)


def _zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except Exception:  # zoneinfo raises what the file system raises for odd names
        raise ValueError('must be a time zone of the IANA database, such as "Europe/Madrid"') from None
    return value


def _local_time(value: object) -> time:
    match = re.fullmatch(r"([01]\d|2[0-3]):([0-5]\d)", value) if isinstance(value, str) else None
    if match is None:
        raise ValueError('must be a local time of day such as "00:00" or "13:30"')
    return time(int(match[1]), int(match[2]))


def _holidays(value: str) -> str:
    try:
        holiday_calendar(value, range(2020, 2021))
    except ValueError:
        raise ValueError(
            'must be a code of the holidays library: a country ("US"), a subdivision ("DE-BY") or a financial '
            'market ("NYSE", "ECB")'
        ) from None
    return value


def _levels(value: tuple[float, ...]) -> tuple[float, ...]:
    if any(not 0 < level < 1 for level in value):
        raise ValueError("must hold levels between 0 and 1, both excluded")
    if 0.5 not in value:
        raise ValueError("must hold 0.5, the median")
    if list(value) != sorted(set(value)):
        raise ValueError("must ascend, each level once")
    return value


def _listed(value: object) -> object:
    """A list of the file as the tuple that strict validation wants; anything else is its to refuse."""
    return tuple(value) if isinstance(value, list) else value


def check_thresholds(value: tuple[float, ...]) -> tuple[float, ...]:
    """Values to be exceeded: each names a column. Raises ValueError for what cannot."""
    if not all(math.isfinite(x) and round(x, 6) == x for x in value):
        raise ValueError("must hold finite numbers of at most six decimals, which name the columns")
    if list(value) != sorted(set(value)):
        raise ValueError("must ascend, each number once")
    return value


def _engine(value: str) -> str:
    if value not in ("local", "dask") and not re.fullmatch(r"(tcp|tls|ws|wss)://\S+:\d+", value):
        raise ValueError('must be "local", "dask" or the address of a Dask scheduler, such as "tcp://host:8786"')
    return value


def _day(value: object) -> object:
    try:
        return datetime.fromisoformat(value).replace(tzinfo=UTC) if isinstance(value, str) else value
    except ValueError:
        raise ValueError('must be a day such as "2018-01-01"') from None


def _store(value: str) -> str:
    try:
        open_store(value)
    except DataError:
        raise ValueError("must be a folder, or s3://bucket/prefix") from None
    return value


Duration = Annotated[timedelta, BeforeValidator(parse_duration)]
PositiveDuration = Annotated[Duration, AfterValidator(_positive)]
Steps = Annotated[int, Field(ge=1, le=100_000)]
Text = Annotated[str, Field(min_length=1)]
StoreUri = Annotated[Text, AfterValidator(_store)]
Zone = Annotated[str, AfterValidator(_zone)]
Holidays = Annotated[str, AfterValidator(_holidays)]
Engine = Annotated[str, AfterValidator(_engine)]
LocalTime = Annotated[time, BeforeValidator(_local_time)]
Day = Annotated[datetime, BeforeValidator(_day)]
TrainingWindow = Annotated[timedelta | None, BeforeValidator(_window)]
Thresholds = Annotated[tuple[float, ...], BeforeValidator(_listed), AfterValidator(check_thresholds)]
Levels = Annotated[tuple[float, ...], BeforeValidator(_listed), AfterValidator(_levels)]


class Section(BaseModel):
    """A table of the file: frozen, no unknown keys, no silent conversion of types."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
