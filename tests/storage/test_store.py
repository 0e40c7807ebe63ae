"""Writes are whole or absent, whatever becomes of the writer."""

from __future__ import annotations

import signal
import subprocess
import sys

import polars as pl
import pytest

from storage import forecasts, layout
from storage.schemas import DataError, forecast_schema
from storage.store import Replay, Store

# The kernel kills a process that writes more into a file than it may: in the middle of the write, as a full disk or an
# impatient operator would.
WRITER = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
from storage.store import Store
Store(sys.argv[1]).put("forecasts/x.parquet", b"new" * 100_000)
"""


def test_a_writer_killed_in_the_middle_leaves_what_was_there(tmp_path):
    store = Store(str(tmp_path))
    store.put("forecasts/x.parquet", b"old")
    done = subprocess.run([sys.executable, "-c", WRITER, str(tmp_path)], check=False)
    assert done.returncode == -signal.SIGXFSZ
    assert store.get("forecasts/x.parquet") == b"old"
    assert store.keys("forecasts", "*") == ["forecasts/x.parquet"], "an orphan is seen by no listing"
    assert len(list((tmp_path / "forecasts").iterdir())) == 2, "the writer was killed while it wrote"


def test_a_disk_that_is_full_is_an_error_and_leaves_nothing(tmp_path):
    code = WRITER.replace("SIG_DFL", "SIG_IGN")
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False, capture_output=True, text=True)
    assert done.returncode == 1 and "File too large" in done.stderr
    assert not list((tmp_path / "forecasts").iterdir())


def test_no_key_leaves_the_store(tmp_path):
    for key in ("../x", "/etc/x", "a/../../x"):
        with pytest.raises(DataError, match="outside the store"):
            Store(str(tmp_path)).put(key, b"")


def test_a_replay_reads_the_history_of_another_store_and_writes_its_own(tmp_path):
    source = Store(str(tmp_path / "real"))
    source.put("history/p/f/a.parquet", b"1")
    source.put("models/p/champion.json", b"{}")
    replay = Replay(str(tmp_path / "replay"), source)
    assert replay.get("history/p/f/a.parquet") == b"1"
    assert replay.keys("history/p/f", "*.parquet") == ["history/p/f/a.parquet"]
    assert not replay.has("models/p/champion.json")
    replay.put("models/p/champion.json", b"[]")
    assert source.get("models/p/champion.json") == b"{}"


def test_a_damaged_copy_in_latest_is_replaced(tmp_path, utc):
    store = Store(str(tmp_path))
    store.put(layout.latest("p"), b"nonsense")
    rows = pl.DataFrame(schema=forecast_schema([0.5]))
    place = forecasts.publish(store, "p", "UTC", utc(2024, 1, 1), [rows], [0.5], None, "")
    assert store.get(layout.latest("p")) == place.read_bytes()
    forecasts.publish(store, "p", "UTC", utc(2023, 1, 1), [rows], [0.5], None, "")
    assert store.get(layout.latest("p")) == place.read_bytes(), "an older night does not become the newest"
