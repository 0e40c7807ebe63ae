"""Checksums: a damaged file is never decoded as other rows, and a file of an earlier version is read as before."""

from __future__ import annotations

import errno
import io
import random
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import NoReturn

import duckdb
import numpy as np
import polars as pl
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage import forecasts, history, history_parts, quarantine, scores
from storage.schemas import DataError, Missing, Unreadable, forecast_schema, score_schema
from storage.store import FolderStore, PartialStore, Store
from storage.store.checksum import WrongChecksum, add_checksum, add_checksum_to_file, verify
from storage.store.parquet import encode_parquet, parquet_writer
from tests.storage.test_history import add
from tests.support.examples import examples
from tests.support.made import hourly

TABLE = pl.DataFrame({"series_id": ["a"] * 500, "y": np.arange(500.0)})
FILE = encode_parquet(TABLE, {"key": "value"})


def plain(frame: pl.DataFrame) -> bytes:
    """Return a Parquet file without a checksum, as earlier versions wrote it."""
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    return buffer.getvalue()


def flipped(content: bytes, bit: int) -> bytes:
    changed = bytearray(content)
    changed[bit // 8] ^= 1 << (bit % 8)
    return bytes(changed)


def random_bits(content: bytes, count: int) -> Iterable[int]:
    return random.Random(0).sample(range(len(content) * 8), count)


def test_a_file_with_a_checksum_is_read_by_every_reader(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    path.write_bytes(FILE)
    assert verify(FILE, "a")
    assert pl.read_parquet(path).equals(TABLE) and pl.read_parquet_metadata(path)["key"] == "value"
    found = duckdb.sql(f"select sum(y), count(*) from '{path}'")
    assert found is not None and found.fetchall() == [(124750.0, 500)]
    assert pyarrow.parquet.read_table(path).num_rows == 500


def test_a_file_written_in_blocks_has_the_same_checksum_as_one_in_memory(tmp_path: Path) -> None:
    with parquet_writer(tmp_path / "a.parquet", TABLE.schema, dict) as append:
        append(TABLE)
    assert verify((tmp_path / "a.parquet").read_bytes(), "a")
    (tmp_path / "b.parquet").write_bytes(plain(TABLE))
    add_checksum_to_file(tmp_path / "b.parquet")
    assert (tmp_path / "b.parquet").read_bytes() == add_checksum(plain(TABLE))


@settings(max_examples=examples(300), deadline=None)
@given(bit=st.integers(0, len(FILE) * 8 - 1))
def test_every_flipped_bit_is_found(bit: int) -> None:
    with pytest.raises(WrongChecksum, match="a is damaged"):
        verify(flipped(FILE, bit), "a")


def test_a_file_of_an_earlier_version_is_not_verified() -> None:
    assert not verify(plain(TABLE), "a")
    assert not verify(b"", "a") and not verify(b"nonsense", "a")


def test_no_flipped_bit_of_a_part_changes_what_is_read(folder: FolderStore, utc: Callable[..., datetime]) -> None:
    for day in (1, 2, 3):
        add(folder, hourly(utc(2018, 1, day), np.random.default_rng(day).normal(size=24)), utc(2018, 2, day))
    for part in folder.keys("history/p/f", "*.parquet"):
        content = folder.get(part)
        for bit in random_bits(content, 20):
            folder.path(part).write_bytes(flipped(content, bit))
            with pytest.raises(history_parts.DamagedHistory, match="is damaged"):
                history.read_as_of(folder, "p", "f", ["y"], utc(2018, 3, 1))
        folder.path(part).write_bytes(content)
    assert len(history.read_as_of(folder, "p", "f", ["y"], utc(2018, 3, 1))) == 72


def test_parts_of_earlier_versions_are_read_beside_new_ones(store: Store, utc: Callable[..., datetime]) -> None:
    for day in (1, 2):
        add(store, hourly(utc(2018, 1, day), np.ones(24)), utc(2018, 2, day))
    part = store.keys("history/p/f", "*.parquet")[0]
    store.put(part, plain(store.scan([part]).collect()))
    assert len(history.read_as_of(store, "p", "f", ["y"], utc(2018, 3, 1))) == 48
    assert history.compact(store, "p", "f") == 2
    assert len(history.read_as_of(store, "p", "f", ["y"], utc(2018, 3, 1))) == 48


def test_forecasts_scores_and_refused_rows_are_verified(store: Store, utc: Callable[..., datetime]) -> None:
    at = utc(2024, 1, 1)
    row = pl.DataFrame({"series_id": ["a"], "issue_time": [at], "valid_time": [at], "q50": [1.0]})
    schema = forecast_schema([0.5])
    rows = pl.DataFrame({name: row[name] if name in row.columns else [None] for name in schema}, schema=schema)
    forecasts.publish(store, "p", "UTC", at, [rows], [0.5], lambda: forecasts.ForecastMetadata(None, ""))
    scores.write(store, "p", at, pl.DataFrame(schema=score_schema()), "sha")
    quarantine.append(store, "p", "f", pl.DataFrame({"reason": ["no time"]}), at)
    for folder in ("forecasts", "scores", "quarantine"):
        (key,) = store.keys(folder, "*.parquet")
        store.put(key, flipped(store.get(key), 400))
    for read in (
        lambda: forecasts.read(store, "p", "UTC", at),
        lambda: forecasts.read_between(store, "p", at, at),
        lambda: scores.find(store, "p", at),
    ):
        with pytest.raises(DataError, match="checksum is wrong"):
            read()
    assert quarantine.read(store, "p", "f").is_empty()
    assert quarantine.append(store, "p", "f", pl.DataFrame({"reason": ["no time"]}), at + timedelta(days=1)) == 1


@pytest.mark.parametrize("code", [errno.EACCES, errno.EMFILE, errno.EIO])
def test_a_part_that_cannot_be_read_is_not_taken_for_a_damaged_one(
    folder: FolderStore, utc: Callable[..., datetime], monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """Root may read any file, so the error of the system is simulated."""
    for day in (1, 2):
        add(folder, hourly(utc(2018, 1, day), np.ones(24)), utc(2018, 2, day))
    part = folder.keys("history/p/f", "*.parquet")[0]
    really = FolderStore.polars_sources

    def fail(path: Path) -> NoReturn:
        raise OSError(code, "not now", str(path))

    def sources(store: FolderStore, keys: list[str]) -> object:
        if part not in keys:
            return really(store, keys)
        with monkeypatch.context() as patch:
            patch.setattr("storage.store.folder.checksum.verify_file", fail)
            return really(store, keys)

    monkeypatch.setattr(FolderStore, "polars_sources", sources)
    with pytest.raises(history_parts.UnreadableHistory, match=r"1 of 2 parts that cannot be read: .*not now") as raised:
        history.read_as_of(folder, "p", "f", ["y"], utc(2018, 3, 1))
    assert raised.value.parts == [part]
    assert history_parts.set_aside(folder, "p", "f") == [] and folder.has(part)
    rest = PartialStore(folder, raised.value.parts)
    assert len(history.read_as_of(rest, "p", "f", ["y"], utc(2018, 3, 1))) == 24


def test_a_part_that_is_a_link_to_itself_is_unreadable(folder: FolderStore, utc: Callable[..., datetime]) -> None:
    for day in (1, 2):
        add(folder, hourly(utc(2018, 1, day), np.ones(24)), utc(2018, 2, day))
    part = folder.keys("history/p/f", "*.parquet")[0]
    folder.path(part).unlink()
    folder.path(part).symlink_to(folder.path(part).name)
    with pytest.raises(history_parts.UnreadableHistory, match="1 of 2 parts that cannot be read") as raised:
        history.read_as_of(folder, "p", "f", ["y"], utc(2018, 3, 1))
    assert raised.value.parts == [part]


def test_a_damaged_part_counts_as_restored_if_all_its_rows_were_added_again(
    store: Store, utc: Callable[..., datetime]
) -> None:
    rows = hourly(utc(2018, 1, 1), np.ones(24))
    add(store, rows, utc(2018, 2, 1))
    (part,) = store.keys("history/p/f", "*.parquet")
    content = store.get(part)
    # A bit of the block that holds the checksum: the rows can still be counted.
    store.put(part, flipped(content, 8 * content.index(b"gatecrc")))
    assert history_parts.set_aside(store, "p", "f")
    (damaged,) = history_parts.damaged_parts(store, "p", "f")
    assert history_parts.is_restored(store, damaged, rows)
    assert not history_parts.is_restored(store, damaged, rows.tail(23))
    history_parts.mark_as_reread(store, [damaged])
    assert history_parts.damaged_parts(store, "p", "f") == []


@pytest.mark.parametrize("error", [WrongChecksum("changed on its way"), Unreadable("403"), Missing("404")])
def test_a_read_is_repeated_after_one_wrong_response_of_a_server(
    folder: FolderStore, utc: Callable[..., datetime], monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    add(folder, hourly(utc(2018, 1, 1), np.ones(24)), utc(2018, 2, 1))
    really, failures = FolderStore.polars_sources, [error]

    def sources(store: FolderStore, keys: list[str]) -> object:
        if failures:
            raise failures.pop()
        return really(store, keys)

    monkeypatch.setattr(FolderStore, "polars_sources", sources)
    assert len(history.read_as_of(folder, "p", "f", ["y"], utc(2018, 3, 1))) == 24
