"""Order of the columns of a day: the numbers in their names decide, or they are refused."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.checks.day_columns import ColumnOrderError, column_positions, repeated_columns
from tests.support.examples import examples

NAMES = {
    "0": [str(hour) for hour in range(24)],
    "H01": [f"H{hour:02d}" for hour in range(1, 25)],
    "2026 hour 5": [f"2026 hour {hour}" for hour in range(1, 25)],
    "02:00": [f"{hour:02d}:00" for hour in range(24)],
    "2:15": [f"{minute // 60}:{minute % 60:02d}" for minute in range(0, 1440, 15)],
    "00:30 to 24:00": [f"{minute // 60:02d}:{minute % 60:02d}" for minute in range(30, 1470, 30)],
    "0030": [f"v{minute // 60:02d}{minute % 60:02d}" for minute in range(0, 1440, 30)],
    "00-01": [f"{hour:02d}-{hour + 1:02d}" for hour in range(24)],
    "00:00-00:15": [
        f"{minute // 60:02d}:{minute % 60:02d}-{(minute + 15) // 60 % 24:02d}:{(minute + 15) % 60:02d}"
        for minute in range(0, 1440, 15)
    ],
    "1 PM": [f"{hour % 12 or 12} {'AM' if hour < 12 else 'PM'}" for hour in range(24)],
    "1:30pm": [f"{step // 2 % 12 or 12}:{'30' if step % 2 else '00'}{'ap'[step // 24]}m" for step in range(48)],
    "periods": [str(period) for period in range(1, 26)],
}


@given(st.sampled_from(list(NAMES)), st.randoms())
@settings(max_examples=examples(60), deadline=None)
def test_numbers_decide_in_any_order(kind: str, random: object) -> None:
    names = NAMES[kind].copy()
    random.shuffle(names)  # type: ignore[attr-defined]
    try:
        positions = column_positions(names)
    except ColumnOrderError:
        return  # by chance a rotation
    assert [names[positions.index(place)] for place in range(len(names))] == NAMES[kind]


@pytest.mark.parametrize("kind", NAMES)
def test_columns_in_their_order_and_sorted_as_text(kind: str) -> None:
    assert column_positions(NAMES[kind], is_declared=True) == list(range(len(NAMES[kind])))
    names = sorted(NAMES[kind])
    assert [name for _, name in sorted(zip(column_positions(names), names, strict=True))] == NAMES[kind]


def test_a_last_column_of_midnight_is_an_end() -> None:
    for names in (["01:00", *(f"{hour:02d}:00" for hour in range(2, 24)), "00:00"], [*map(str, range(1, 24)), "0"]):
        assert column_positions(names, is_declared=True) == list(range(24))


def test_names_without_numbers_stay() -> None:
    assert column_positions(["one", "two", "three"]) == [0, 1, 2]


HOURS = NAMES["0"]


@pytest.mark.parametrize(
    ("names", "is_declared", "words"),
    [
        ([*HOURS[6:], *HOURS[:6]], False, "begin with '6' and end with '5'"),
        (sorted(HOURS), True, "'2' stands behind '19' in options.columns"),
        ([*HOURS[:23], "total"], False, "'total' has no number"),
        ([*HOURS[:23], "25"], False, "not those of a day without gaps"),
        (["2A", "2B", *HOURS[3:], "1"], False, "'2A', '2B' have the same number"),
    ],
)
def test_numbers_that_do_not_fit_are_refused(names: list[str], is_declared: bool, words: str) -> None:
    with pytest.raises(ColumnOrderError, match=words):
        column_positions(names, is_declared)


def test_columns_of_a_repeated_hour() -> None:
    for names, repeated in (
        ([*HOURS[:3], "2B", *HOURS[3:]], ["2B"]), ([*NAMES["02:00"], "02:00B"], ["02:00B"]),
        (["00", "01", "02A", "02B", "03"], ["02B"]), (["1", "2", "3", "3*", "4"], ["3*"]),
        (["1:00", "1:30", "2:00", "2:30", "2:00x", "2:30x"], ["2:00x", "2:30x"]),
        (HOURS, []), (["one", "two"], []),
    ):  # fmt: skip
        assert repeated_columns(names) == repeated
