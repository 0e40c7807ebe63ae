"""SQLite, whose columns have no types: mixed cells, and times as texts of any form or as numbers."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.schemas import DataError
from storage.sources import sql, sqlite
from storage.sources.request import Request
from storage.sources.sqlite_times import TimeForm, bounds

MakeRequest = Callable[..., Request]
QUERY = "select id, at, y from demand where at >= :since and at < :until"
SINCE, UNTIL = datetime(2018, 9, 1, tzinfo=UTC), datetime(2018, 9, 2, tzinfo=UTC)


def write(folder: Path, rows: Sequence[tuple[Any, ...]], types: Sequence[str] = ("", "", "")) -> str:
    path = folder / "demand.db"
    path.unlink(missing_ok=True)
    columns = ", ".join(f"{name} {kind}" for name, kind in zip(("id", "at", "y"), types, strict=True))
    with sqlite3.connect(path) as connection:
        connection.execute(f"create table demand ({columns})")
        connection.executemany("insert into demand values (?, ?, ?)", rows)
    return f"sqlite:///{path}"


def read(request_of: MakeRequest, uri: str, query: str = QUERY, zone: str = "UTC") -> pl.DataFrame:
    request = request_of(uri, ["id", "at", "y"], query, zone=zone)
    return sql.read(replace(request, series_id="id", valid_time="at"))


@pytest.mark.parametrize("count", [1, 3000])  # the driver derives types from the first thousand rows
def test_cells_of_any_type_keep_their_value(tmp_path: Path, request_of: MakeRequest, count: int) -> None:
    first = [(None, "2018-09-01 00:00:00", None)] * count + [(101, "2018-09-01 01:00:00", 12345.678901234567)] * count
    rest = [
        ("A7", "2018-09-01 02:00:00", "n/a"), (102.0, "2018-09-01 03:00:00", 5),
        (541448820044186577, "2018-09-01 04:00:00", 0.1 + 0.2),
    ]  # fmt: skip
    rows = read(request_of, write(tmp_path, first + rest))
    assert rows["id"].to_list() == [None] * count + ["101"] * count + ["A7", "102", "541448820044186577"]
    numbers = rows["y"].cast(pl.Float64, strict=False).to_list()
    assert numbers == [None] * count + [12345.678901234567] * count + [None, 5.0, 0.1 + 0.2]


FORMS = [
    "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M:%SZ",
    "%Y-%m-%dT%H:%M:%S.000Z", "%Y-%m-%d %H:%M:%S+00:00", "%Y-%m-%d %H:%M:%S.%f", "%Y-%m-%dT%H:%M:%S+0000",
]  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_bounds_have_the_form_of_the_column(tmp_path: Path, request_of: MakeRequest, form: str) -> None:
    times = [SINCE + timedelta(hours=hour) for hour in range(-30, 60)]
    uri = write(tmp_path, [("a", time.strftime(form), 1.0) for time in times])
    expected = [time.strftime(form) for time in times if SINCE <= time < UNTIL]
    assert read(request_of, uri)["at"].to_list() == expected


@pytest.mark.parametrize(("type_of", "unit"), [("integer", 1), ("integer", 1000), ("", 1), ("text", 1)])
def test_bounds_of_numbers_are_numbers(tmp_path: Path, request_of: MakeRequest, type_of: str, unit: int) -> None:
    numbers = [(int(SINCE.timestamp()) + 3600 * hour) * unit for hour in range(-30, 60)]
    uri = write(tmp_path, [("a", number, 1.0) for number in numbers], ("", type_of, ""))
    assert [int(at) for at in read(request_of, uri)["at"].to_list()] == numbers[30:54]


def test_dates_and_times_in_a_zone_lose_no_row(tmp_path: Path, request_of: MakeRequest) -> None:
    uri = write(tmp_path, [("a", f"2018-{month:02d}-{day:02d}", 1.0) for month in (8, 9) for day in (1, 2, 31)])
    assert read(request_of, uri)["at"].to_list() == ["2018-09-01"]
    # Midnight UTC is 02:00 in Madrid, so that two days begin before the end.
    assert read(request_of, uri, zone="Europe/Madrid")["at"].to_list() == ["2018-09-01", "2018-09-02"]
    rows = [("a", f"2018-09-{day:02d}T{hour:02d}:00:00+02:00", 1.0) for day in (1, 2, 3) for hour in range(24)]
    times = read(request_of, write(tmp_path, rows))["at"]
    assert times.min() == "2018-09-01T00:00:00+02:00" and times.max() == "2018-09-02T03:00:00+02:00"


def test_a_table_that_changed_its_form_loses_no_row(tmp_path: Path, request_of: MakeRequest) -> None:
    rows = [("a", f"2018-09-01 {hour:02d}:00:00", 1.0) for hour in range(12)]
    rows += [("a", f"2018-09-01T{hour:02d}:00:00", 1.0) for hour in range(12, 24)]
    assert len(read(request_of, write(tmp_path, rows))) == 24


@pytest.mark.parametrize(
    "query",
    [
        "with d as (select * from demand) select * from d where at >= :since and at < :until order by at; -- newest\n",
        "select id, at, y from demand where datetime(at) >= :since and datetime(at) < :until /* :since */ ;",
        "select id, replace(at, 'T', ' ') as at, y from demand where at > '2018-09' and at < '2018-09-01Z'",
    ],
)
def test_queries_of_any_form(tmp_path: Path, request_of: MakeRequest, query: str) -> None:
    rows = [("a", f"2018-09-{day:02d}T{hour:02d}:00:00", 1.0) for day in (1, 2) for hour in range(24)]
    assert len(read(request_of, write(tmp_path, rows), query)) == 24


def test_two_columns_of_one_name_are_an_error(tmp_path: Path, request_of: MakeRequest) -> None:
    uri = write(tmp_path, [("a", "2018-09-01 00:00", 1.0)])
    with pytest.raises(DataError, match="the query gives several columns 'y'; name the other one differently"):
        read(request_of, uri, "select d.id, d.at, d.y, e.y from demand d join demand e on d.at = e.at")
    assert len(read(request_of, uri, "select id, at, y, 1 as other, 2 as other from demand")) == 1


def test_times_that_do_not_sort_are_an_error(tmp_path: Path, request_of: MakeRequest) -> None:
    uri = write(tmp_path, [("a", "01.09.2018 05:00", 1.0)])
    with pytest.raises(DataError, match=r"column 'at': times such as '01\.09\.2018 05:00' do not sort by time"):
        read(request_of, uri)
    assert len(read(request_of, uri, "select * from demand")) == 1


def test_errors_are_those_of_the_database_and_create_no_file(tmp_path: Path, request_of: MakeRequest) -> None:
    uri = write(tmp_path, [])
    assert read(request_of, uri).is_empty()
    for query, problem in (
        ("select * from no_such", "the query failed: no such table: no_such; correct the query of the feed"),
        ("selekt 1", 'the query failed: near "selekt": syntax error'),
        ("select * from demand where y = :more", "a query may have the parameters :since and :until and no others"),
        (
            "select cast(x'ff41' as text) as id, 1 as at, 1 as y",
            "column 'id' of the query holds text that is not UTF-8",
        ),
        ("select id, at from demand", "there is no column 'y'; the query gives 'id', 'at'"),
    ):
        with pytest.raises(DataError, match=problem):
            read(request_of, uri, query)
    with pytest.raises(DataError, match="there is no such file"):
        read(request_of, f"sqlite:///{tmp_path}/none.db")
    assert not (tmp_path / "none.db").exists()


@pytest.mark.process
def test_a_lock_is_waited_for_and_named_if_it_stays(
    tmp_path: Path, request_of: MakeRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = write(tmp_path, [("a", "2018-09-01 00:00", 1.0)])
    # In another process, because the locks of one process do not exclude each other.
    hold = (
        "import sqlite3, sys; writer = sqlite3.connect(sys.argv[1]); writer.execute('begin exclusive'); print('held', "
        "flush=True); sys.stdin.readline()"
    )
    command = [sys.executable, "-c", hold, str(tmp_path / "demand.db")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None and writer.stdout.readline() == "held\n"
        monkeypatch.setattr(sqlite, "_LOCK_WAIT", 50)
        with pytest.raises(DataError, match="database is locked; another process holds it; end that process, or read"):
            read(request_of, uri)
        monkeypatch.undo()
        end = threading.Timer(0.5, writer.kill)
        end.start()
        assert len(read(request_of, uri)) == 1
        end.join()


@pytest.mark.parametrize(("content", "remedy"), [
    (b"no database " * 100, "file is not a database; the file is damaged or no SQLite database"),
    (None, "database disk image is malformed; the file is damaged; copy it again from its source"),
])  # fmt: skip
def test_a_damaged_database_is_named(
    tmp_path: Path, request_of: MakeRequest, content: bytes | None, remedy: str
) -> None:
    uri = write(tmp_path, [("a", "2018-09-01 00:00", 1.0)])
    path = tmp_path / "demand.db"
    whole = path.read_bytes()
    path.write_bytes(content or whole[:100] + bytes(2000) + whole[2100:])
    with pytest.raises(DataError, match=f"the query failed: {remedy}"):
        read(request_of, uri)


INSTANTS = st.datetimes(datetime(2000, 1, 1), datetime(2050, 1, 1)).map(lambda time: time.replace(tzinfo=UTC))


@settings(max_examples=150, deadline=None, derandomize=True)
@given(time=INSTANTS, since=INSTANTS, hours=st.integers(0, 100), form=st.sampled_from([*FORMS, "%Y-%m-%d"]))
def test_no_time_within_the_bounds_is_left_out(time: datetime, since: datetime, hours: int, form: str) -> None:
    until = since + timedelta(hours=hours)
    for instant in (time, since, since + timedelta(minutes=7), until - timedelta(seconds=1)):
        text = instant.strftime(form)
        lower, upper = bounds([text], since, until, UTC)
        assert TimeForm.of(text, UTC) is not None
        # The stored time, which may lack the seconds, is the one that counts.
        stored = datetime.fromisoformat(text.replace("+0000", "+00:00"))
        if since <= stored.replace(tzinfo=UTC) < until:
            assert str(lower) <= text < str(upper)
