"""Ids of covariates beside the series of the target."""

from __future__ import annotations

from datetime import datetime

import polars as pl

from model.checks.feed_rows import check_rows
from model.checks.series_matching import describe, match_series, no_match_error, similar_ids, similar_within
from tests.model.checks.test_feed_rows import LATE, MADRID, feed_rows, feed_shape


def test_ids_that_match_need_no_report() -> None:
    assert match_series({"a", "b"}, {"a", "b"}, {"a", "b"}) is None


def test_ids_without_series_and_series_without_ids_have_counts_and_shares() -> None:
    matching = match_series({"a", "1", "X", "y"}, {"a", "1", "X", "y"}, {"a", "01", "x", "c"})
    assert matching is not None
    assert describe(matching) == [
        "3 of 4 ids (75%) of this feed belong to no series of the target: '1', 'X', 'y'.",
        "3 of 4 series (75%) of the target have no row in this feed: '01', 'c', 'x'.",
        "Ids that differ only by case, blanks or zeros: '1' and series '01', 'X' and series 'x'. Write them the same "
        "way in both sources.",
    ]
    other_feed_has_the_rest = match_series({"a"}, {"a", "b"}, {"a", "b"})
    assert other_feed_has_the_rest is None


def test_ids_that_differ_in_writing_only() -> None:
    pairs = {"zone 07": "ZONE7", "101.0": "101", "0": "00", "a1b02": "A01B2"}
    assert similar_ids(set(pairs), set(pairs.values())) == sorted([name, other] for name, other in pairs.items())
    assert similar_ids({"10", "1", "a"}, {"100", "1", "b"}) == []


def test_ids_of_one_feed_that_differ_in_writing_only() -> None:
    assert similar_within({"A1", "a1", "B", "7", "007", "70"}) == [["007", "7"], ["A1", "a1"]]
    rows = feed_rows([datetime(2018, 7, 1, hour) for hour in range(4)]).with_columns(
        id=pl.Series(["A1", "a1", "a1 ", "b"])
    )
    (finding,) = check_rows(rows, feed_shape(), MADRID, (None, None), LATE).findings
    assert (finding.check, finding.rows) == ("similar_ids", 3)
    assert "'A1' and 'a1'. Each is a series of its own" in finding.detail


def test_no_match_is_one_error_with_examples() -> None:
    error = no_match_error({"1", "2", "3", "4"}, {"01", "02"})
    assert "Ids of this feed: 4 ('1', '2', '3', ...). Series of the target: 2 ('01', '02')." in error
