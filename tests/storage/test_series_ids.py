"""Ids of series as text, whatever type a source gives them."""

from __future__ import annotations

import io
import json
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from storage.schemas import FILE, DataError, distinct_ids, to_series_id, to_series_ids
from storage.sources import formats, sql, web
from storage.sources.request import Request

LONG = 541448820044186577


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (pl.Series([101, LONG, None]), ["101", str(LONG), None]),
        (pl.Series([101.0, None, float("nan")]), ["101", None, None]),
        (pl.Series([101.0, 1.5]), ["101", "1.5"]),
        (pl.Series(["007", "A ", " A", "\u00a0A\t", None, " "]), ["007", "A", "A", "A", None, ""]),
        (pl.Series(["101.00", "7.50"]).cast(pl.Decimal(9, 2)), ["101", "7.50"]),
        (pl.Series(["a ", "b"], dtype=pl.Categorical), ["a", "b"]),
        (pl.Series([True, None]), ["true", None]),
    ],
)
def test_ids_of_any_type(cells: pl.Series, expected: list[str | None]) -> None:
    assert to_series_ids(cells).to_list() == expected


def test_blanks_are_removed_in_long_tables_too() -> None:
    """Read ids in runs and interleaved: the two ways to find a blank."""
    for ids in (["a"] * 1000 + ["b "] * 1000, ["a", "b "] * 1000):
        assert distinct_ids(to_series_ids(pl.Series(ids))) == {"a", "b"}


def test_a_number_that_has_lost_digits_is_an_error() -> None:
    with pytest.raises(DataError, match=r"column 'meter' holds ids as .* lost digits \(first: 5\.41.* in row 2\)"):
        to_series_ids(pl.Series("meter", [1.0, float(LONG)]))
    with pytest.raises(DataError, match="lost digits"):
        to_series_id(float(LONG))


def through_parquet(ids: list[Any], folder: Path, make_request: Callable[..., Request]) -> pl.Series:
    buffer = io.BytesIO()
    pl.DataFrame({"id": ids}).write_parquet(buffer)
    return formats.read(buffer.getvalue(), "a.parquet", ["id"])["id"]


def through_csv(ids: list[Any], folder: Path, make_request: Callable[..., Request]) -> pl.Series:
    content = pl.DataFrame({"id": ids, "y": 1.0}).write_csv().encode()
    return formats.read(content, "a.csv", ["id"])["id"]


def through_json(ids: list[Any], folder: Path, make_request: Callable[..., Request]) -> pl.Series:
    request = replace(make_request("https://example.com/a.json", ["id"]), series_id="id")
    return web._read_json(request, json.dumps([{"id": cell} for cell in ids]).encode())["id"]


def through_sqlite(ids: list[Any], folder: Path, make_request: Callable[..., Request]) -> pl.Series:
    path = folder / "ids.db"
    path.unlink(missing_ok=True)
    with sqlite3.connect(path) as connection:
        connection.execute("create table t (n integer, id)")
        connection.executemany("insert into t values (?, ?)", enumerate(ids))
    query = "select id from t order by n"
    return sql.read(replace(make_request(f"sqlite:///{path}", ["id"], query), series_id="id"))["id"]


TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc", "Z"]), min_size=1, max_size=12)
DIGITS = st.from_regex(r"0{0,3}[0-9]{1,18}", fullmatch=True)
IDS = st.lists(
    st.one_of(TEXTS, DIGITS), min_size=1, max_size=8
) | st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=8)  # fmt: skip


@pytest.mark.parametrize("through", [through_parquet, through_csv, through_json, through_sqlite])
def test_ids_survive_every_source(
    tmp_path: Path, request_of: Callable[..., Request], through: Callable[..., pl.Series]
) -> None:
    @settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
    @given(ids=IDS)
    def check(ids: list[Any]) -> None:
        assert to_series_ids(through(ids, tmp_path, request_of)).to_list() == [str(cell) for cell in ids]

    check()


def test_files_whose_ids_have_different_types_keep_all_digits() -> None:
    tables = [pl.DataFrame({"id": ids}) for ids in ([LONG, 7], [7.0, None], ["007"])]
    rows = formats.concatenate_tables(tables, ["a/1.csv", "b/1.csv", "2.csv"], "*.csv", "id")
    assert rows["id"].to_list() == [str(LONG), "7", "7", None, "007"]
    assert rows[FILE].to_list() == ["a/1.csv", "a/1.csv", "b/1.csv", "b/1.csv", "2.csv"]


def test_files_are_in_natural_order() -> None:
    names = ["load_10.csv", "load_9.csv", "2018/10/b.csv", "2018/9/b.csv", "load.csv"]
    assert sorted(names, key=formats.natural_order) == [
        "2018/9/b.csv", "2018/10/b.csv", "load.csv", "load_9.csv", "load_10.csv",
    ]  # fmt: skip


@pytest.fixture
def request_of() -> Callable[..., Request]:
    def make(uri: str, columns: list[str], query: str | None = None) -> Request:
        instant = datetime(2018, 9, 1, tzinfo=UTC)
        return Request(uri, tuple(columns), query, instant, instant, "UTC", {"records": None, "format": None})

    return make
