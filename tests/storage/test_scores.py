"""Score files: layout, selection and damage."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TypeVar

import duckdb
import polars as pl
import pytest

from storage import layout, scores
from storage.schemas import DataError, score_schema
from storage.store import FolderStore, Store
from tests.support.narrow import present

S = TypeVar("S", bound=Store)

FIRST = datetime(2024, 3, 30, 23, tzinfo=UTC)


@pytest.fixture
def store(store: Store) -> Store:
    """Return a store with the scores of three issue times and two series."""
    return scored(store)


def scored(store: S) -> S:
    for day in range(3):
        scores.write(store, "p", FIRST + timedelta(days=day), rows(FIRST + timedelta(days=day)), f"forecast {day}")
    return store


def rows(issue: datetime) -> pl.DataFrame:
    empty = pl.DataFrame(schema=score_schema())
    row = pl.DataFrame({"series_id": ["b", "a"], "issue_time": issue, "valid_time": issue, "step": 1, "pinball": 0.5})
    return pl.concat([empty, row.cast({"step": pl.Int32, "issue_time": empty.schema["issue_time"],
                                        "valid_time": empty.schema["valid_time"]})], how="diagonal")  # fmt: skip


def test_layout_and_columns(folder: FolderStore) -> None:
    root = scored(folder).root
    written = pl.read_parquet(root / "scores/p/20240330T230000Z.parquet")
    assert dict(written.schema) == score_schema()
    assert written["series_id"].to_list() == ["a", "b"]
    by_duckdb = present(duckdb.sql(f"select count(*) from read_parquet('{root}/scores/p/*.parquet')")).fetchall()
    assert by_duckdb == [(6,)]


def test_read_selects_by_issue_time(store: Store) -> None:
    assert scores.read(store, "p").collect().height == 6
    assert dict(scores.read(store, "p").collect_schema()) == score_schema()
    assert scores.read(store, "p", since=FIRST + timedelta(days=1)).collect().height == 4
    assert scores.read(store, "p", without=[FIRST]).collect().height == 4
    nothing = scores.read(store, "other").collect()
    assert (nothing.height, dict(nothing.schema)) == (0, score_schema())


def test_find_returns_the_hash_of_the_forecast(store: Store) -> None:
    of_day, forecast = present(scores.find(store, "p", FIRST + timedelta(days=1)))
    assert (of_day.height, forecast) == (2, "forecast 1")
    assert scores.find(store, "p", FIRST - timedelta(days=1)) is None


@pytest.mark.parametrize("content", [b"", b"PAR1", b"no Parquet at all"])
def test_a_damaged_file_is_named(store: Store, content: bytes) -> None:
    store.put(layout.score("p", FIRST), content)
    with pytest.raises(DataError, match=r"20240330T230000Z\.parquet cannot be read as a score file"):
        scores.find(store, "p", FIRST)


def test_the_same_rows_are_the_same_bytes(store: Store) -> None:
    before = store.get(layout.score("p", FIRST))
    scores.write(store, "p", FIRST, rows(FIRST).reverse(), "forecast 0")
    assert store.get(layout.score("p", FIRST)) == before
