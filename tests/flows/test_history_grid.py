"""Histories whose pipeline file has changed: refused, or read again, never shifted."""

from __future__ import annotations

import json
import sqlite3
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from flows.settings.file import open_pipeline
from flows.stages.history_grid import ChangedGrid, changed_grids, compare_older_rows
from flows.stages.panels import visible_target
from storage import history, history_grids
from tests.support.commands import clear, gatecast

NOW = datetime(2024, 6, 1, tzinfo=UTC)
DAYS = [f"2024-03-{day:02d}" for day in range(1, 31)]
HOURS = [f"2024-03-{day}T{hour:02d}:00" for day in (29, 30) for hour in range(24)]

PIPELINE = """
[pipeline]
name = "gas"
store = "./store"
frequency = "1d"
timezone = "Europe/Madrid"

[[feed]]
name = "demand"
role = "target"
uri = "gas.csv"
valid_time = "day"
values = ["gwh"]
"""


def write(folder: Path, *changes: tuple[str, str], times: list[str] = DAYS) -> Path:
    """Write the feed and the pipeline file with these changes, and return the file's path."""
    (folder / "gas.csv").write_text("day,gwh\n" + "".join(f"{time},{number}.5\n" for number, time in enumerate(times)))
    text = PIPELINE
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path = folder / "gas.toml"
    path.write_text(text)
    return path


def stored(path: Path) -> dict[datetime, float]:
    settings, store = open_pipeline(path)
    rows = history.read_as_of(store, settings.name, "demand", ["gwh"], NOW)
    return dict(zip(rows["valid_time"].to_list(), rows["gwh"].to_list(), strict=True))


HOURLY = ('"1d"', '"1h"')


@pytest.mark.parametrize(
    ("times", "before", "after", "key"),
    [
        (DAYS, [("Europe/Madrid", "UTC")], [], "pipeline.timezone = 'UTC'"),
        (DAYS, [('"1d"', '"1d"\nday_start = "06:00"')], [], "pipeline.day_start = '06:00'"),
        (HOURS, [HOURLY], [('"1d"', '"30m"')], "pipeline.frequency = '1h'"),
        (HOURS, [HOURLY], [HOURLY, ("values", 'time_zone = "Europe/Madrid"\nvalues')], "feed.time_zone = 'UTC'"),
        (
            HOURS,
            [("values", 'resample = "sum"\nvalues')],
            [("values", 'resample = "mean"\nvalues')],
            "resample = 'sum'",
        ),
        (
            HOURS,
            [HOURLY],
            [HOURLY, ('["gwh"]', '["gwh"]\n[feed.options]\nlabel = "end"')],
            "feed.options.label = 'start'",
        ),
    ],
    ids=["timezone", "day_start", "frequency", "time_zone", "resample", "label"],
)
def test_a_changed_grid_is_refused_or_read_again(
    tmp_path: Path, times: list[str], before: list[tuple[str, str]], after: list[tuple[str, str]], key: str
) -> None:
    path = write(tmp_path, *before, times=times)
    assert gatecast("ingest", path, "--as-of", NOW.isoformat()).returncode == 0
    first = stored(path)
    path = write(tmp_path, *after, times=times)
    clear(gatecast("ingest", path, "--as-of", NOW.isoformat()), 1, "feed 'demand'", key, "--reread")
    # Where the rows themselves show the mistake, check names it instead of --reread.
    is_wrong_frequency = "frequency" in key
    words = ["this looks hourly"] if is_wrong_frequency else [key, "--reread"]
    clear(gatecast("check", path), 1, "feed 'demand'", *words)
    settings, store = open_pipeline(path)
    with pytest.raises(ChangedGrid, match="--reread"):
        visible_target(settings, store, ("demand",), NOW, 0, 1)
    done = gatecast("ingest", path, "--as-of", NOW.isoformat(), "--reread", "--json")
    assert done.returncode == 0, done.stderr
    (replaced,) = json.loads(done.stdout)["feeds"]["demand"]["replaced"]
    assert len(pl.read_parquet(replaced)) == len(first), "nothing is deleted"
    assert changed_grids(settings, store) == {}
    assert gatecast("ingest", path, "--as-of", NOW.isoformat()).returncode == 0


def test_days_hold_their_own_values_after_a_corrected_time_zone(tmp_path: Path) -> None:
    path = write(tmp_path, ("Europe/Madrid", "UTC"))
    assert gatecast("ingest", path, "--as-of", NOW.isoformat()).returncode == 0
    path = write(tmp_path)
    assert gatecast("ingest", path, "--as-of", NOW.isoformat(), "--reread").returncode == 0
    settings, store = open_pipeline(path)
    first = settings.grid.first_step(int(datetime(2024, 3, 1, tzinfo=UTC).timestamp()) * 1_000_000)
    days = visible_target(settings, store, ("demand",), NOW, first - 1, len(DAYS))
    assert days[0].tolist() == [number + 0.5 for number in range(len(DAYS))]


def test_a_source_that_fails_keeps_the_history(tmp_path: Path) -> None:
    path = write(tmp_path, ("Europe/Madrid", "UTC"))
    assert gatecast("ingest", path, "--as-of", NOW.isoformat()).returncode == 0
    before = stored(path)
    path = write(tmp_path)
    (tmp_path / "gas.csv").unlink()
    assert gatecast("ingest", path, "--as-of", NOW.isoformat(), "--reread").returncode == 1
    assert stored(path) == before


def test_a_history_without_a_record_is_checked_once(tmp_path: Path) -> None:
    path = write(tmp_path, ("Europe/Madrid", "UTC"))
    assert gatecast("ingest", path, "--as-of", NOW.isoformat()).returncode == 0
    settings, store = open_pipeline(path)
    record = tmp_path / "store/history/gas/demand/grid.json"
    record.unlink()
    assert changed_grids(settings, store) == {}
    other, _ = open_pipeline(write(tmp_path))
    assert "30 periods of its history, the first at 2024-03-01T00:00:00.000000Z" in str(
        changed_grids(other, store)["demand"]
    )
    path = write(tmp_path, ("Europe/Madrid", "UTC"))
    assert gatecast("ingest", path, "--as-of", NOW.isoformat()).returncode == 0
    assert record.exists()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe"])
def test_a_damaged_record_is_ignored_and_written_again(tmp_path: Path, content: bytes) -> None:
    path = write(tmp_path)
    assert gatecast("ingest", path, "--as-of", NOW.isoformat()).returncode == 0
    record = tmp_path / "store/history/gas/demand/grid.json"
    intact = record.read_bytes()
    record.write_bytes(content)
    _, store = open_pipeline(path)
    assert history_grids.read(store, "gas", "demand") is None
    assert gatecast("ingest", path, "--as-of", NOW.isoformat()).returncode == 0
    assert record.read_bytes() == intact


def test_a_changed_character_of_a_record_is_no_changed_setting(tmp_path: Path) -> None:
    path = write(tmp_path)
    assert gatecast("ingest", path, "--as-of", NOW.isoformat()).returncode == 0
    record = tmp_path / "store/history/gas/demand/grid.json"
    settings, store = open_pipeline(path)
    intact = record.read_text()
    for old, new in (("UTC", "UTB"), ("1d", "1h")):
        assert old in intact
        record.write_text(intact.replace(old, new))
        assert history_grids.read(store, "gas", "demand") is None and changed_grids(settings, store) == {}
    # Records of earlier versions have no checksum.
    grid = history_grids.read(store, "gas", "demand") or json.loads(intact)
    record.write_text(json.dumps({name: value for name, value in grid.items() if name != "sha256"}))
    assert changed_grids(settings, store) == {} and history_grids.read(store, "gas", "demand")


def test_another_pipeline_of_the_same_name_is_reported(tmp_path: Path) -> None:
    path = write(tmp_path)
    assert gatecast("ingest", path, "--as-of", NOW.isoformat()).returncode == 0
    south = tmp_path / "south.csv"
    south.write_text((tmp_path / "gas.csv").read_text().replace(".5", ".7"))
    path.write_text(path.read_text().replace("gas.csv", "south.csv"))
    done = gatecast("ingest", path, "--as-of", NOW.isoformat())
    assert done.returncode == 0
    assert "30 of the 30 values that the history already had were replaced" in done.stderr
    assert "pipeline.name = 'gas'" in done.stderr
    south.write_text(south.read_text().replace("2024-03-30,29.7", "2024-03-30,3"))
    assert gatecast("ingest", path, "--as-of", NOW.isoformat()).stderr == ""


def test_a_database_whose_data_ended_long_ago_is_checked(tmp_path: Path) -> None:
    path = write(tmp_path)
    with sqlite3.connect(tmp_path / "gas.db") as connection:
        connection.execute("create table gas (day text, gwh real)")
        connection.executemany(
            "insert into gas values (?, ?)", [(day, 1.5 + number) for number, day in enumerate(DAYS)]
        )
    query = (
        f'uri = "sqlite:///{tmp_path}/gas.db"\nquery = "select day, gwh from gas where day >= :since and day < :until"'
    )
    path.write_text(path.read_text().replace('uri = "gas.csv"', query))
    done = gatecast("check", path, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["feeds"]["demand"]["accepted"] == len(DAYS)


def test_a_changed_availability_is_named_until_the_feed_is_read_again(tmp_path: Path) -> None:
    """Older rows keep the availability of their ingest, so that a backtest would see them too early."""
    path = write(tmp_path)
    assert gatecast("ingest", path, "--as-of", NOW.isoformat()).returncode == 0
    path = write(tmp_path, ("values", 'available_after = "30h"\nvalues'))
    for _ in range(2):
        done = gatecast("ingest", path, "--as-of", NOW.isoformat())
        assert done.returncode == 0 and "feed.available_after = '0h' (now '30h')" in done.stderr, done.stderr
    settings, store = open_pipeline(path)
    early = datetime(2024, 3, 29, tzinfo=UTC)
    assert len(history.read_as_of(store, "gas", "demand", ["gwh"], early)) == 28
    done = gatecast("ingest", path, "--as-of", NOW.isoformat(), "--reread")
    assert done.returncode == 0 and "available_after" not in done.stderr, done.stderr
    assert len(history.read_as_of(store, "gas", "demand", ["gwh"], early)) == 26
    assert compare_older_rows(settings, store, settings.feed[0]).availability is None


def test_a_new_column_of_values_is_read_from_the_start(tmp_path: Path) -> None:
    source = tmp_path / "demand.db"
    with sqlite3.connect(source) as connection:
        connection.execute("create table demand (day text, gwh real, t real)")
        connection.executemany("insert into demand values (?, 1.0, 2.0)", [(day,) for day in DAYS])
    uri = f'uri = "sqlite:///{source}"\nquery = "select * from demand where day >= :since and day < :until"'
    weather = f"""
[[feed]]
name = "weather"
role = "observed"
{uri}
valid_time = "day"
values = ["gwh"]
"""
    path = write(tmp_path)
    path.write_text(path.read_text() + weather)
    assert gatecast("ingest", path, "--as-of", NOW.isoformat()).returncode == 0
    path.write_text(PIPELINE + weather.replace('["gwh"]', '["gwh", "t"]'))
    done = gatecast("ingest", path, "--as-of", NOW.isoformat())
    assert done.returncode == 0, done.stderr
    _, store = open_pipeline(path)
    rows = history.read_as_of(store, "gas", "weather", ["gwh", "t"], NOW)
    assert len(rows) == len(DAYS) and rows["t"].null_count() == 0
