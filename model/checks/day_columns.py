"""Order of the columns of a day in a wide table, as the numbers in their names say it."""

from __future__ import annotations

import re
from collections.abc import Sequence

_DAY = 24 * 60  # minutes
_TWELVE_HOURS = re.compile(r"\b(1[0-2]|0?[1-9])(:[0-9]{2})? ?([ap])\.?m\b", re.IGNORECASE)


class ColumnOrderError(ValueError):
    """Names of columns whose numbers are not those of a day."""


def column_positions(names: Sequence[str], is_declared: bool = False) -> list[int]:
    """Return the position in the day of each column, from 0.

    Names without numbers stay in their order. Known numbers are 0 to 23, 1 to 24 and times such as 00:30 or 0030. They
    may have text around them, and may begin a range.

    Args:
        names: Names of the columns of one day, without those of a repeated hour.
        is_declared: Whether the pipeline file gives the order.

    Raises:
        ColumnOrderError: The numbers have gaps or repeat, or contradict an order that only the user can know.
    """
    numbers = _varying_numbers(names)
    without = [name for name, number in zip(names, numbers, strict=True) if not number]
    as_they_stand = list(range(len(names)))
    if len(without) > len(names) / 2:
        return as_they_stand
    if without:
        raise ColumnOrderError(f"the column {without[0]!r} has no number, the others have one")
    starts = _starts(numbers)
    if starts is None:
        repeated = [name for name, number in zip(names, numbers, strict=True) if numbers.count(number) > 1]
        if repeated:
            raise ColumnOrderError(f"the columns {', '.join(map(repr, repeated[:3]))} have the same number")
        if len(numbers[0]) > 1 and numbers == sorted(numbers):
            return as_they_stand
        raise ColumnOrderError("the numbers in their names are not those of a day without gaps")
    if starts[-1] == 0 and starts[:-1] == sorted(starts[:-1]):
        return as_they_stand  # The columns are named by their ends, and the last one is midnight.
    positions = [sorted(starts).index(start) for start in starts]
    falls = [place for place in range(1, len(names)) if positions[place] < positions[place - 1]]
    if falls and is_declared:
        raise ColumnOrderError(f"{names[falls[0]]!r} stands behind {names[falls[0] - 1]!r} in options.columns")
    if len(falls) == 1 and positions[-1] < positions[0]:
        # 6, 7, ..., 23, 0, ..., 5 may be a day that ends on the next date.
        raise ColumnOrderError(
            f"they begin with {names[0]!r} and end with {names[-1]!r}, so a row may reach into the next date"
        )
    return positions


def position_of_repeated(name: str, names: Sequence[str], positions: Sequence[int]) -> int | None:
    """Return the position of the column with the same numbers, such as that of 02:00 for 02:00B, None without one."""
    numbers = _numbers(name)
    same = [place for place, other in zip(positions, names, strict=True) if numbers and _numbers(other) == numbers]
    return same[0] if len(same) == 1 else None


def repeated_columns(names: Sequence[str]) -> list[str]:
    """Return the columns that seem to be those of a repeated hour: 02B beside 02 or 02A, in the order of the table."""
    count_by_numbers: dict[tuple[int, ...], list[str]] = {}
    for name in names:
        count_by_numbers.setdefault(_numbers(name), []).append(name)
    pairs = [group for numbers, group in count_by_numbers.items() if numbers and len(group) == 2]
    # The second pass has something behind its number: a letter, or a mark such as *.
    repeated = {second if len(second) >= len(first) else first for first, second in pairs}
    return [name for name in names if name in repeated] if len(pairs) in (1, 2, 4) else []


def _numbers(name: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"[0-9]+", _TWELVE_HOURS.sub(_of_24_hours, name))))


def _of_24_hours(match: re.Match[str]) -> str:
    """Return a time such as 12 AM or 1:30 pm on the clock of 24 hours."""
    hour = int(match[1]) % 12 + (12 if match[3].lower() == "p" else 0)
    return f"{hour}{match[2] or ''}"


def _varying_numbers(names: Sequence[str]) -> list[tuple[int, ...]]:
    """Return the numbers in each name, without those that are equal in all names."""
    numbers = [_numbers(name) for name in names]
    if len({len(number) for number in numbers}) > 1:
        return numbers
    varying = [place for place in range(len(numbers[0])) if len({number[place] for number in numbers}) > 1]
    return [tuple(number[place] for place in varying) for number in numbers]


def _starts(numbers: Sequence[tuple[int, ...]]) -> list[int] | None:
    """Return the number or the minute of each column, None if the columns are not a complete day."""
    count = len(numbers)
    first = [number[0] for number in numbers]
    if _is_regular(first, 1):
        return first
    if len({len(number) for number in numbers}) > 1:
        return None
    step = _DAY // count
    clocks = [hour // 100 * 60 + hour % 100 for hour in first]  # 0030
    if _DAY % count == 0 and _is_regular(clocks, step):
        return clocks
    if len(numbers[0]) > 1:
        clocks = [number[0] * 60 + number[1] for number in numbers]
        if _DAY % count == 0 and _is_regular(clocks, step):
            return clocks
    return None


def _is_regular(starts: Sequence[int], step: int) -> bool:
    """Return whether the starts have equal distances, from 0 or from the end of the first period."""
    begin = min(starts)
    return begin in (0, step) and sorted(starts) == list(range(begin, begin + step * len(starts), step))
