"""Numbers as people write them: declared marks are read, and what looks otherwise is refused or reported."""

from __future__ import annotations

import math
from datetime import datetime
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.checks.feed_rows import CheckedRows, check_rows
from model.checks.number_texts import count_thousands_dots, parse_numbers, value_texts
from model.checks.reasons import first_text
from model.checks.text_format import TextFormat
from tests.model.checks.test_feed_rows import LATE, MADRID, feed_rows, feed_shape


def parse(text: str, **form: Any) -> float | None:
    declared = TextFormat(**form)
    number: float | None = parse_numbers(value_texts(pl.Series([text]), declared), declared).item()
    return number


def check(cells: list[str], **form: Any) -> CheckedRows:
    rows = feed_rows([datetime(2018, 7, 1 + number // 24, number % 24) for number in range(len(cells))], cells)
    return check_rows(rows, feed_shape(text=TextFormat(**form)), MADRID, (None, None), LATE)


@pytest.mark.parametrize(
    ("text", "form", "number"),
    [
        ("9.5", {}, 9.5), ("9.000", {}, 9.0), (" 1e3 ", {}, 1000.0),
        ("9,5", {"decimal": ","}, 9.5), ("-9,5e3", {"decimal": ","}, -9500.0), ("9.5", {"decimal": ","}, None),
        ("9.000", {"thousands": "."}, 9000.0), ("1.234.567,8", {"thousands": "."}, 1234567.8),
        ("1234,8", {"thousands": "."}, 1234.8), ("9.00", {"thousands": "."}, None),
        ("1,234.5", {"thousands": ","}, 1234.5), ("1,23", {"thousands": ","}, None), ("1,234.5", {}, None),
        ("1 234,5", {"thousands": " ", "decimal": ","}, 1234.5), ("1\u202f234", {"thousands": " "}, 1234.0),
        ("12'345.6", {"thousands": "'"}, 12345.6), ("n/e", {"missing": ("n/e", "-")}, None), ("nan", {}, None),
    ],
)  # fmt: skip
def test_forms(text: str, form: dict[str, Any], number: float | None) -> None:
    assert parse(text, **form) == number


def test_texts_without_a_number_are_refused_unless_they_are_declared() -> None:
    cells = ["1", "n/e", "2", "-", "3", "4", "", "n/e"]
    result = check(cells)
    assert result.accepted["y"].to_list() == [1, 2, 3, 4, None]
    assert result.refused["reason"].to_list() == [f"y is not a number, got '{cell}'" for cell in ("n/e", "-", "n/e")]
    (group,) = result.reasons
    assert (group.kind, group.rows) == ("y is not a number", 3)
    assert first_text(group.example) == " (first: 'n/e' at 2018-07-01 01:00:00 in row 2)"
    assert check(cells, missing=("n/e", "-")).accepted["y"].to_list() == [1, None, 2, None, 3, 4, None, None]


@pytest.mark.parametrize("form", [{}, {"decimal": ","}, {"thousands": "."}, {"missing": ("n/e",)}])
def test_only_empty_cells_and_nan_are_missing_without_a_declaration(form: dict[str, Any]) -> None:
    others = ["null", "NULL", "NA", "N/A", "None", "NaT", "#N/A", "-nan", "inf.", "n/a"]
    result = check(["1", "nan", "NaN", " NAN ", "", " ", *others, *("234567" * 3)], **form)
    assert result.accepted["y"].to_list()[:6] == [1, *[None] * 5]
    assert result.refused["y"].to_list() == others
    declared = check(["1", "nan", *others, *("234567" * 3)], **form | {"missing": tuple(others)})
    assert not len(declared.refused) and declared.accepted["y"].null_count() == 1 + len(others)


def test_thousands_of_values_are_one_kind() -> None:
    rows = feed_rows([datetime(2018, 7, 1 + n // 24, n % 24) for n in range(48)], [float(-n) for n in range(48)])
    (group,) = check_rows(rows, feed_shape(), MADRID, (0.0, None), LATE).reasons
    assert (group.kind, group.rows) == ("y is below the bound 0.0", 47)
    assert group.example == "-1.0 at 2018-07-01 01:00:00 in row 2"


def test_points_that_look_like_thousands_separators_are_reported() -> None:
    dotted = [f"{n}.000" for n in range(1, 24)]
    (finding,) = check([*dotted, "980"]).findings
    assert (finding.check, finding.action, finding.rows) == ("number_format", "warn", 23)
    assert 'thousands = "."' in finding.detail and "first: '1.000'" in finding.detail
    for cells, form in (([*dotted, "1.5"], {}), ([*dotted, "0.125"], {}), (dotted, {"decimal": "."})):
        assert not check(cells, **form).findings
    assert check(dotted, thousands=".").accepted["y"].to_list() == [1000.0 * n for n in range(1, 24)]


@settings(max_examples=100, deadline=None)
@given(st.floats(-1e9, 1e9).map(lambda x: round(x, 3)), st.sampled_from([",", ".", " ", "'"]), st.sampled_from(".,"))
def test_a_written_number_is_read_as_itself_or_not_at_all(number: float, thousands: str, decimal: str) -> None:
    text = f"{number:,.3f}".translate(str.maketrans(",.", thousands + decimal))
    if thousands != decimal:
        assert parse(text, thousands=thousands, decimal=decimal) == number
    # With another declaration the cell is refused, or the point is read as the decimal mark that it is by default.
    plain = parse(text)
    assert plain is None or (decimal == "." and math.isclose(plain, number)) or text.count(".") == 1


def test_a_sample_without_points_is_no_evidence() -> None:
    assert count_thousands_dots(pl.Series(["980"] * 5)) == 0
    assert count_thousands_dots(pl.Series([], dtype=pl.String)) == 0
    assert count_thousands_dots(pl.Series([None, "9.000"] * 20)) == 20
