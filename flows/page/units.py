"""Units of the target: whether values of several series may be added, and the unit of a total over periods."""

from __future__ import annotations

import re
from typing import NamedTuple

_HOURS = {"15m": 0.25, "30m": 0.5, "1h": 1.0, "1d": 24.0}
_POWER = re.compile(r"[kMGT]?W(?:el|th)?")
_RATE = re.compile(r"(?P<amount>[^/]+?)\s*(?:/|\bper\b)\s*(?P<time>h|hour|d|day)")
_HOURS_OF_RATE = {"h": 1.0, "hour": 1.0, "d": 24.0, "day": 24.0}
# States, prices and shares: their sum means nothing.
_INTENSIVE = {
    "c", "f", "k", "degc", "degf", "bar", "v", "kv", "hz", "a", "index", "points", "ratio", "share", "pu", "p", "ct",
    "eur", "usd", "gbp", "chf", "cny", "jpy", "pence", "cents",
}  # fmt: skip
_INTENSIVE_SIGN = re.compile(r"[/%°€$£¥]|\bper\b")


class TotalUnit(NamedTuple):
    """Unit of a total over periods, and the factor from a sum of values to it."""

    name: str
    factor: float


def total_unit(unit: str | None, frequency: str) -> TotalUnit | None:
    """Return the unit of a total, None if the values must not be added.

    Power gives energy: hourly MW add up to MWh. A rate loses its time: mcm/d add up to mcm. Amounts keep their unit.

    Args:
        unit: Unit of the target, None if the pipeline file has none.
        frequency: Frequency of the pipeline.
    """
    hours = _HOURS.get(frequency)
    if unit is None:
        return None
    if _POWER.fullmatch(unit):
        return None if hours is None else TotalUnit(f"{unit[: unit.index('W') + 1]}h", hours)
    rate = _RATE.fullmatch(unit)
    if rate and rate["amount"].strip().lower() not in _INTENSIVE and not _INTENSIVE_SIGN.search(rate["amount"]):
        return None if hours is None else TotalUnit(rate["amount"].strip(), hours / _HOURS_OF_RATE[rate["time"]])
    if unit.lower() in _INTENSIVE or _INTENSIVE_SIGN.search(unit):
        return None
    return TotalUnit(unit, 1.0)
