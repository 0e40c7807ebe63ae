"""Database feeds, on a real PostgreSQL and a real SQLite."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from adbc_driver_postgresql import dbapi

from storage.schemas import DataError, to_series_ids
from storage.sources import sql
from storage.sources.request import Request
from storage.sources.time_range import with_representable_times
from tests.support.narrow import as_instant


@pytest.fixture
def demand(postgres: str) -> str:
    with dbapi.connect(postgres) as connection, connection.cursor() as cursor:
        cursor.execute("drop table if exists demand")
        cursor.execute(
            "create table demand (id text, at timestamptz, local timestamp, mw numeric(10, 3), kind text, n bigint)"
        )
        cursor.execute(
            "insert into demand select s, t, t at time zone 'Europe/Madrid', 100.125 + extract(hour from t), "
            "'it''s :since', null from unnest(array['a', 'b']) s, "
            "generate_series(timestamptz '2018-08-30 00:00+00', '2018-09-03 00:00+00', interval '1 hour') t"
        )
        connection.commit()
    return postgres


def test_the_period_is_bound(demand: str, request_of: Callable[..., Request]) -> None:
    query = "select id, at, mw, n from demand where at >= :since and at < :until order by id, at"
    rows = sql.read(request_of(demand, ["id", "at", "mw", "n"], query))
    assert len(rows) == 48
    assert rows["at"].dtype == pl.Datetime("us", "UTC")
    assert as_instant(rows["at"].min()).isoformat() == "2018-09-01T00:00:00+00:00"
    assert rows["mw"].cast(pl.Float64).to_list()[:2] == [100.125, 101.125]
    assert rows["n"].null_count() == 48


def test_naive_columns_compare_in_the_feeds_zone(demand: str, request_of: Callable[..., Request]) -> None:
    query = "select local as at from demand where id = 'a' and local >= :since and local < :until order by 1"
    for zone in ("Europe/Madrid", "+02:00"):
        rows = sql.read(request_of(demand, ["at"], query, zone=zone))
        assert len(rows) == 24
        assert as_instant(rows["at"].min()).isoformat() == "2018-09-01T02:00:00"


def test_colons_in_literals_comments_and_casts_are_no_parameters(
    demand: str, request_of: Callable[..., Request]
) -> None:
    query = """select kind, id::text as "a:since" /* :until */ from demand -- :since
        where kind = 'it''s :since' and kind = $tag$it's :since$tag$ and at >= :since and at >= :since limit 1"""
    rows = sql.read(request_of(demand, ["kind", "a:since"], query))
    assert rows.row(0) == ("it's :since", "a")


def test_sqlite(tmp_path: Path, request_of: Callable[..., Request]) -> None:
    path = tmp_path / "demand.db"
    with sqlite3.connect(path) as connection:
        connection.execute("create table demand (id text, at text, y real)")
        connection.executemany(
            "insert into demand values (?, ?, ?)",
            [("it's", f"2018-09-0{d} {h:02d}:00:00", d * h * 1.5) for d in (1, 2, 3) for h in range(24)],
        )
    uri = f"sqlite:///{path}"
    query = "select * from demand where at >= :since and at < :until"
    rows = sql.read(request_of(uri, ["id", "at", "y"], query))
    assert len(rows) == 24
    assert rows["id"].unique().to_list() == ["it's"]
    # In the feed's zone: midnight UTC is 02:00 in Madrid.
    for zone in ("Europe/Madrid", "+02:00"):
        local = sql.read(request_of(uri, ["at"], query, zone=zone))
        assert local["at"].min() == "2018-09-01 02:00:00"


@pytest.mark.parametrize(
    ("query", "columns", "message"),
    [
        ("select 1 as a", ["b"], "there is no column 'b'; the query gives 'a'"),
        ("select nonsense", ["a"], 'the query failed: column "nonsense" does not exist; correct the query'),
        ("selekt 1", ["a"], 'the query failed: syntax error at or near "selekt"; correct the query'),
        ("select 1 as a where '2018'::text >= :since", ["a"], "such as at::timestamptz of a text"),
        ("select 1 as a where 2018 >= :since", ["a"], r"to_timestamp\(at\) of seconds since 1970"),
    ],
)
def test_errors_name_the_problem_and_no_secret(
    postgres: str, request_of: Callable[..., Request], query: str, columns: list[str], message: str
) -> None:
    with pytest.raises(DataError, match=message) as raised:
        sql.read(request_of(postgres, columns, query))
    assert "reader:***@127.0.0.1" in str(raised.value)
    assert "planted-s3cret" not in str(raised.value)


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("select '100.00'::money as a", "column 'a' of the query has the type money; convert it in the query: a::num"),
        ("select row(1, 2) as a", "the query failed: .*Expected nested record type"),
        ("select '10:00+02'::timetz as a, 1 as b", None),
    ],
)
def test_types_that_the_driver_returns_wrongly_are_refused(
    postgres: str, request_of: Callable[..., Request], query: str, message: str | None
) -> None:
    if message is None:
        assert sql.read(request_of(postgres, ["b"], query))["b"].to_list() == [1], "it is not requested"
        return
    with pytest.raises(DataError, match=message):
        sql.read(request_of(postgres, ["a"], query))


def test_the_server_ends_a_query_that_takes_too_long(postgres: str, request_of: Callable[..., Request]) -> None:
    with pytest.raises(DataError, match="the query failed: canceling statement due to statement timeout"):
        sql.read(request_of(postgres, ["a"], "select 1 as a, pg_sleep(60)", max_time=0.5))


def test_a_time_of_no_calendar_is_text(postgres: str, request_of: Callable[..., Request]) -> None:
    query = "select unnest(array['infinity', '2018-09-01', '-infinity']::timestamp[]) as a"
    rows = with_representable_times(sql.read(request_of(postgres, ["a"], query)))
    assert rows["a"][1] == "2018-09-01 00:00:00"
    assert rows["a"][0].startswith("outside the calendar: ") and rows["a"][2].startswith("outside the calendar: -")


def test_a_server_that_is_unreachable_or_refuses_is_an_error_without_the_password(
    postgres: str, request_of: Callable[..., Request]
) -> None:
    for uri in (postgres.replace("s3cret", "wrong"), "postgresql://reader:planted-s3cret@127.0.0.1:1/postgres"):
        with pytest.raises(DataError, match="the connection failed") as raised:
            sql.read(request_of(uri, ["a"], "select 1 as a"))
        assert "planted" not in str(raised.value)
    with pytest.raises(DataError, match="needs a query"):
        sql.read(request_of(postgres, ["a"]))


def test_ids_of_postgresql_are_text(postgres: str, request_of: Callable[..., Request]) -> None:
    query = """select 'a    '::char(5) as c, 541448820044186577::bigint as b, 101.00::numeric(9, 2) as n,
        '0b4c9a4e-0000-4000-8000-000000000001'::uuid as u"""
    for name, expected in (
        ("c", "a"), ("b", "541448820044186577"), ("n", "101"), ("u", "0b4c9a4e-0000-4000-8000-000000000001"),
    ):  # fmt: skip
        read = sql.read(replace(request_of(postgres, [name], query), series_id=name))
        assert to_series_ids(read[name]).to_list() == [expected]
