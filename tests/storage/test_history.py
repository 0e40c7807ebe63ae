"""History: grow-only, as-of, and nothing twice."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import polars as pl
import pytest

from storage import history, layout, quarantine
from storage.schemas import INSTANT, DataError
from storage.store import Store
from tests.conftest import hourly


@pytest.fixture
def store(tmp_path):
    return Store(str(tmp_path))


def add(store, rows, at):
    return len(history.append(store, "p", "f", rows.select("series_id", "valid_time", "available_at", "y"), at))


def test_ingesting_again_adds_nothing(store, utc):
    rows = hourly(utc(2018, 1, 1), np.arange(5.0))
    assert add(store, rows, utc(2018, 2, 1)) == 5
    assert add(store, rows, utc(2018, 2, 2)) == 0
    assert add(store, rows.with_columns(y=pl.when(pl.col("y") == 2).then(None).otherwise("y")), utc(2018, 2, 3)) == 1
    assert len(store.keys(layout.history("p", "f"), "*.parquet")) == 2


def test_the_value_known_at_t_counts(store, utc):
    rows = hourly(utc(2018, 1, 1), np.array([1.0]))
    add(store, rows, utc(2018, 1, 2))
    day = timedelta(days=1)
    revised = rows.with_columns(available_at=pl.col("available_at") + day, y=pl.lit(9.0))
    add(store, revised, utc(2018, 1, 3))
    known = utc(2018, 1, 1, 1)

    def seen(at):
        return history.as_of(store, "p", "f", ["y"], at)["y"].to_list()

    assert seen(known - timedelta(microseconds=1)) == []
    assert seen(known) == [1.0]
    assert seen(known + day - timedelta(microseconds=1)) == [1.0]
    assert seen(known + day) == [9.0]
    assert len(history.revisions(store, "p", "f", ["y"], known + day)) == 2


def test_of_equal_availability_the_last_ingested_counts(store, utc):
    rows = hourly(utc(2018, 1, 1), np.array([1.0]))
    for day, value in ((2, 1.0), (3, 5.0), (4, 1.0)):
        add(store, rows.with_columns(y=pl.lit(value)), utc(2018, 1, day))
    assert history.as_of(store, "p", "f", ["y"], utc(2019, 1, 1))["y"].to_list() == [1.0]


def test_shared_covariates_and_values_always_known(store, utc):
    rows = hourly(utc(2018, 1, 1), np.arange(3.0)).with_columns(
        series_id=pl.lit(None, pl.String), available_at=pl.lit(None, INSTANT)
    )
    assert add(store, rows, utc(2018, 2, 1)) == 3
    assert add(store, rows, utc(2018, 2, 2)) == 0
    assert len(history.as_of(store, "p", "f", ["y"], utc(1990, 1, 1))) == 3


def test_a_covariate_that_joins_later_is_missing_before(store, utc):
    rows = hourly(utc(2018, 1, 1), np.arange(3.0))
    add(store, rows, utc(2018, 2, 1))
    both = history.as_of(store, "p", "f", ["y", "z"], utc(2019, 1, 1))
    assert both["z"].null_count() == 3


def test_a_crash_leaves_nothing_that_is_read(store, utc, monkeypatch):
    rows = hourly(utc(2018, 1, 1), np.arange(3.0))

    def crash(*_):
        raise OSError("disk full")

    monkeypatch.setattr("storage.store.os.fsync", crash)
    with pytest.raises(OSError, match="disk full"):
        add(store, rows, utc(2018, 2, 1))
    monkeypatch.undo()
    assert list(store.root.rglob("*.*")) == []
    folder = store.path(layout.history("p", "f"))
    (folder / ".half.parquet.123.tmp").write_bytes(b"PAR1 killed here")
    assert add(store, rows, utc(2018, 2, 2)) == 3
    assert len(history.as_of(store, "p", "f", ["y"], utc(2019, 1, 1))) == 3


def test_quarantine_keeps_rows_once(store, utc):
    rows = pl.DataFrame({"t": ["x", "y"], "reason": ["no time", "no time"]})
    assert quarantine.keep(store, "p", "f", rows, utc(2018, 1, 1)) == 2
    assert quarantine.keep(store, "p", "f", rows, utc(2018, 1, 2)) == 0
    more = pl.concat([rows, pl.DataFrame({"t": ["z"], "reason": ["no time"]})])
    assert quarantine.keep(store, "p", "f", more, utc(2018, 1, 3)) == 1
    assert sorted(quarantine.read(store, "p", "f")["t"]) == ["x", "y", "z"]


def test_keys_stay_in_the_store(store):
    for key in ("../outside", "/etc/passwd"):
        with pytest.raises(DataError, match="outside the store"):
            store.put(key, b"")
