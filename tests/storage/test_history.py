"""History: grow-only, read as of a time, without duplicates."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from storage import history, history_parts, layout, quarantine
from storage.schemas import INSTANT, DataError
from storage.store import FolderStore, Store
from tests.support.examples import examples
from tests.support.made import hourly


def add(store: Store, rows: pl.DataFrame, at: datetime) -> int:
    added = history.append(store, "p", "f", rows.select("series_id", "valid_time", "available_at", "y"), at)
    return len(added.rows)


def test_ingesting_again_adds_nothing(store: Store, utc: Callable[..., datetime]) -> None:
    rows = hourly(utc(2018, 1, 1), np.arange(5.0))
    assert add(store, rows, utc(2018, 2, 1)) == 5
    assert add(store, rows, utc(2018, 2, 2)) == 0
    assert add(store, rows.with_columns(y=pl.when(pl.col("y") == 2).then(None).otherwise("y")), utc(2018, 2, 3)) == 1
    assert len(store.keys(layout.history("p", "f"), "*.parquet")) == 2


def test_the_value_known_at_t_counts(store: Store, utc: Callable[..., datetime]) -> None:
    rows = hourly(utc(2018, 1, 1), np.array([1.0]))
    add(store, rows, utc(2018, 1, 2))
    day = timedelta(days=1)
    revised = rows.with_columns(available_at=pl.col("available_at") + day, y=pl.lit(9.0))
    add(store, revised, utc(2018, 1, 3))
    known = utc(2018, 1, 1, 1)

    def seen(at: datetime) -> list[float]:
        return history.read_as_of(store, "p", "f", ["y"], at)["y"].to_list()

    assert seen(known - timedelta(microseconds=1)) == []
    assert seen(known) == [1.0]
    assert seen(known + day - timedelta(microseconds=1)) == [1.0]
    assert seen(known + day) == [9.0]
    assert len(history.read_revisions(store, "p", "f", ["y"], known + day)) == 2


def test_the_revision_ingested_last_counts_at_equal_availability(store: Store, utc: Callable[..., datetime]) -> None:
    rows = hourly(utc(2018, 1, 1), np.array([1.0]))
    for day, value in ((2, 1.0), (3, 5.0), (4, 1.0)):
        add(store, rows.with_columns(y=pl.lit(value)), utc(2018, 1, day))
    assert history.read_as_of(store, "p", "f", ["y"], utc(2019, 1, 1))["y"].to_list() == [1.0]


def test_a_clock_that_was_set_back_neither_hides_rows_nor_adds_them_at_each_ingest(
    store: Store, utc: Callable[..., datetime], caplog: pytest.LogCaptureFixture
) -> None:
    rows = hourly(utc(2018, 1, 1), np.array([1.0]))
    add(store, rows, utc(2018, 1, 2))
    add(store, rows.with_columns(y=pl.lit(5.0)), utc(2018, 2, 1))
    assert "clock" not in caplog.text
    revised = rows.with_columns(y=pl.lit(7.0))
    assert add(store, revised, utc(2018, 1, 3)) == 1
    assert "the clock shows 2018-01-03" in caplog.text
    assert [add(store, revised, utc(2018, 1, day)) for day in (4, 5)] == [0, 0]
    assert history.read_as_of(store, "p", "f", ["y"], utc(2019, 1, 1))["y"].to_list() == [7.0]


def test_shared_covariates_and_values_always_known(store: Store, utc: Callable[..., datetime]) -> None:
    rows = hourly(utc(2018, 1, 1), np.arange(3.0)).with_columns(
        series_id=pl.lit(None, pl.String), available_at=pl.lit(None, INSTANT)
    )
    assert add(store, rows, utc(2018, 2, 1)) == 3
    assert add(store, rows, utc(2018, 2, 2)) == 0
    assert len(history.read_as_of(store, "p", "f", ["y"], utc(1990, 1, 1))) == 3


def test_a_covariate_that_joins_later_is_missing_before(store: Store, utc: Callable[..., datetime]) -> None:
    rows = hourly(utc(2018, 1, 1), np.arange(3.0))
    add(store, rows, utc(2018, 2, 1))
    both = history.read_as_of(store, "p", "f", ["y", "z"], utc(2019, 1, 1))
    assert both["z"].null_count() == 3


def test_a_crash_leaves_nothing_that_is_read(
    folder: FolderStore, utc: Callable[..., datetime], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = folder
    rows = hourly(utc(2018, 1, 1), np.arange(3.0))

    def crash(*_: object) -> NoReturn:
        raise OSError("disk full")

    monkeypatch.setattr("storage.store.folder.os.fsync", crash)
    with pytest.raises(OSError, match="disk full"):
        add(store, rows, utc(2018, 2, 1))
    monkeypatch.undo()
    assert list(store.root.rglob("*.*")) == []
    (store.path(layout.history("p", "f")) / ".half.parquet.123.tmp").write_bytes(b"PAR1 killed here")
    assert add(store, rows, utc(2018, 2, 2)) == 3
    assert len(history.read_as_of(store, "p", "f", ["y"], utc(2019, 1, 1))) == 3


def test_quarantine_keeps_rows_once(store: Store, utc: Callable[..., datetime]) -> None:
    rows = pl.DataFrame({"t": ["x", "y"], "reason": ["no time", "no time"]})
    assert quarantine.append(store, "p", "f", rows, utc(2018, 1, 1)) == 2
    assert quarantine.append(store, "p", "f", rows, utc(2018, 1, 2)) == 0
    more = pl.concat([rows, pl.DataFrame({"t": ["z"], "reason": ["no time"]})])
    assert quarantine.append(store, "p", "f", more, utc(2018, 1, 3)) == 1
    assert sorted(quarantine.read(store, "p", "f")["t"]) == ["x", "y", "z"]


def test_keys_stay_in_the_store(store: Store) -> None:
    for key in ("../outside", "/etc/passwd"):
        with pytest.raises(DataError, match="outside the store"):
            store.put(key, b"")


def many_parts(store: Store, utc: Callable[..., datetime], parts: int = 10) -> None:
    rng = np.random.default_rng(0)
    for part in range(parts):
        rows = hourly(utc(2018, 1, 1 + part), rng.normal(size=36))
        late = rows.head(5).with_columns(available_at=pl.col("available_at") + timedelta(hours=9), y=pl.lit(7.0))
        add(store, pl.concat([rows, late]), utc(2018, 2, 1 + part))


def everything(store: Store, utc: Callable[..., datetime]) -> list[pl.DataFrame]:
    times = [utc(2018, 1, day, 7) for day in range(1, 13)]
    views = [history.read_as_of(store, "p", "f", ["y"], at) for at in times]
    return [*views, history.read_revisions(store, "p", "f", ["y"], times[-1])]


def same(first: list[pl.DataFrame], second: list[pl.DataFrame]) -> bool:
    return all(a.equals(b) for a, b in zip(first, second, strict=True))


def test_compaction_changes_nothing_that_can_be_read(store: Store, utc: Callable[..., datetime]) -> None:
    many_parts(store, utc)
    before = everything(store, utc)
    assert history.compact(store, "p", "f") == 10
    assert len(store.keys(layout.history("p", "f"), "*.parquet")) == 1
    assert same(everything(store, utc), before)
    assert history.compact(store, "p", "f") == 0


def test_a_crash_within_a_compaction_changes_nothing(
    store: Store, utc: Callable[..., datetime], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The crash happens before the merged file is written, or between that and the removal of a part."""
    many_parts(store, utc)
    before = everything(store, utc)

    def killed(*_: object, **__: object) -> NoReturn:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(store, "put_parquet", killed)
        with pytest.raises(KeyboardInterrupt):
            history.compact(store, "p", "f")
    assert same(everything(store, utc), before)
    removed: list[str] = []
    really = store.remove

    def at_most(count: int) -> Callable[[str], None]:
        def remove(key: str) -> None:
            if len(removed) == count:
                raise KeyboardInterrupt
            removed.append(key)
            really(key)

        return remove

    for count in (0, 3):
        removed.clear()
        with monkeypatch.context() as patch:
            patch.setattr(store, "remove", at_most(count))
            with pytest.raises(KeyboardInterrupt):
                history.compact(store, "p", "f")
        assert same(everything(store, utc), before)
    history.compact(store, "p", "f")
    assert same(everything(store, utc), before)


def test_columns_that_the_feed_no_longer_names_survive(store: Store, utc: Callable[..., datetime]) -> None:
    rows = hourly(utc(2018, 1, 1), np.arange(3.0))
    history.append(store, "p", "f", rows.with_columns(old=pl.lit(1.5)), utc(2018, 2, 1))
    add(store, rows.with_columns(pl.col("valid_time") + timedelta(days=1)), utc(2018, 2, 2))
    history.compact(store, "p", "f")
    read = history.read_as_of(store, "p", "f", ["y", "old"], utc(2018, 3, 1))
    assert read["old"].to_list() == [1.5] * 3 + [None] * 3


def test_many_parts_are_compacted_automatically(store: Store, utc: Callable[..., datetime]) -> None:
    for hour in range(70):
        add(store, hourly(utc(2018, 1, 1) + timedelta(hours=hour), np.array([1.0])), utc(2018, 2, 1, 0, hour % 60))
    assert len(store.keys(layout.history("p", "f"), "*.parquet")) < 10
    assert len(history.read_as_of(store, "p", "f", ["y"], utc(2018, 3, 1))) == 70


def test_ingests_readers_and_compactions_at_once(store: Store, utc: Callable[..., datetime]) -> None:
    """Six writers of overlapping rows, continuous compactions, and a reader that must never fail."""
    parts = [hourly(utc(2018, 1, 1 + day), np.full(48, float(day))) for day in range(6)]
    done = threading.Event()

    def write(number: int) -> None:
        for part in parts:
            add(store, part, utc(2018, 2, 1, number))

    def compacting() -> None:
        while not done.is_set():
            history.compact(store, "p", "f")

    def reading() -> None:
        seen = 0
        while not done.is_set():
            rows = history.read_as_of(store, "p", "f", ["y"], utc(2018, 3, 1))
            assert len(rows) >= seen
            seen = len(rows)

    with ThreadPoolExecutor(9) as pool:
        others = [pool.submit(compacting), pool.submit(reading)]
        for writer in [pool.submit(write, number) for number in range(6)]:
            writer.result()
        done.set()
        for other in others:
            other.result()
    rows = history.read_as_of(store, "p", "f", ["y"], utc(2018, 3, 1))
    assert len(rows) == 7 * 24
    assert rows["valid_time"].is_unique().all()


ROW = st.tuples(st.sampled_from("ab"), st.integers(0, 5), st.integers(0, 3), st.integers(0, 9))


# Each example opens a new store, so one fixture serves all.
@settings(max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    parts=st.lists(st.lists(ROW, min_size=1, max_size=8), min_size=1, max_size=5), at=st.integers(0, 10),
)  # fmt: skip
def test_the_newest_known_revision_counts_for_any_parts(
    new_store: Callable[[], Store], parts: list[list[tuple[str, int, int, int]]], at: int
) -> None:
    """Compare with a dictionary that is updated row by row."""
    store, zero, hour = new_store(), datetime(2018, 1, 1, tzinfo=UTC), timedelta(hours=1)
    expected: dict[tuple[str, int, int], float] = {}
    for number, rows in enumerate(parts):
        # An ingest has one row per series, period and availability.
        values = {(series, step, step + 1 + late): float(value) for series, step, late, value in rows}
        expected |= values
        table = [
            (series, zero + step * hour, zero + known * hour, value) for (series, step, known), value in values.items()
        ]
        schema = pl.Schema(
            {"series_id": pl.String(), "valid_time": INSTANT, "available_at": INSTANT, "y": pl.Float64()}
        )
        add(store, pl.DataFrame(table, schema=schema, orient="row"), zero + timedelta(days=number))
    known = {key: expected[key] for key in sorted(expected) if key[2] <= at}

    def keys(frame: pl.DataFrame) -> list[tuple[Any, ...]]:
        times = (
            pl.col(name).cast(pl.Int64) // 3_600_000_000 - zero.timestamp() // 3600 for name in frame.columns[1:-1]
        )
        return frame.select("series_id", *times, "y").sort(pl.all()).rows()

    assert keys(history.read_revisions(store, "p", "f", ["y"], zero + at * hour)) == [(*k, y) for k, y in known.items()]
    newest = {key[:2]: value for key, value in known.items()}
    assert keys(history.read_as_of(store, "p", "f", ["y"], zero + at * hour)) == [(*k, y) for k, y in newest.items()]


@pytest.mark.parametrize("dtype", [pl.Int64, pl.String])
@pytest.mark.parametrize("column", ["y", "valid_time"])
def test_a_part_of_another_type_is_damaged(
    store: Store, utc: Callable[..., datetime], column: str, dtype: pl.DataType
) -> None:
    add(store, hourly(utc(2018, 1, 1), np.ones(24)), utc(2018, 2, 1))
    (part,) = store.keys("history/p/f", "*.parquet")
    other = store.scan([part]).collect().with_columns(pl.col(column).cast(dtype))
    store.put_parquet(f"{layout.history('p', 'f')}/z.parquet", other)
    with pytest.raises(history_parts.DamagedHistory, match=f"z.parquet: its column '{column}' has the type {dtype}"):
        history.read_as_of(store, "p", "f", ["y"], utc(2018, 3, 1))
    assert len(history_parts.set_aside(store, "p", "f")) == 1
    assert len(history.read_as_of(store, "p", "f", ["y"], utc(2018, 3, 1))) == 24


def test_a_series_that_the_source_renamed_is_not_restored(store: Store, utc: Callable[..., datetime]) -> None:
    rows = pl.concat(hourly(utc(2018, 1, 1), np.ones(24), name) for name in "ab")
    add(store, rows, utc(2018, 2, 1))
    (part,) = store.keys("history/p/f", "*.parquet")
    assert history_parts.is_restored(store, part, rows)
    assert not history_parts.is_restored(store, part, rows.with_columns(pl.col("series_id").replace("b", "c")))


def test_a_damaged_part_is_named_and_can_be_set_aside(store: Store, utc: Callable[..., datetime]) -> None:
    for day in (1, 2):
        add(store, hourly(utc(2018, 1, day), np.ones(24)), utc(2018, 2, day))
    part = store.keys("history/p/f", "*.parquet")[0]
    half = store.get(part)[: len(store.get(part)) // 2]
    store.put(part, half)
    with pytest.raises(history_parts.DamagedHistory, match=re.escape(store.uri(part))):
        history.read_as_of(store, "p", "f", ["y"], utc(2018, 3, 1))
    (uri,) = history_parts.set_aside(store, "p", "f")
    assert uri == store.uri(f"{part}.damaged")
    assert store.get(f"{part}.damaged") == half and not store.has(part), "nothing is deleted"
    assert len(history.read_as_of(store, "p", "f", ["y"], utc(2018, 3, 1))) == 24
    assert history_parts.set_aside(store, "p", "f") == []
