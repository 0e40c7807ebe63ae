"""Wide tables: a column per series, per hour of the day or per period of the day, from every kind of source."""

from __future__ import annotations

import sqlite3
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.settings import file as pipeline_file
from flows.settings.file import PipelineFileError
from flows.stages.feed_checks import check_feed
from model.checks.feed_rows import CheckedRows
from model.checks.feed_shape import FeedShape
from model.checks.reasons import advice
from model.checks.wide_tables import WideLayout, to_long_table
from storage.schemas import DataError

NOW = datetime(2030, 1, 1, tzinfo=UTC)
FILE = """
[pipeline]
name = "w"
store = "./store"
frequency = "{frequency}"
timezone = "Europe/Berlin"

[[feed]]
name = "load"
role = "target"
uri = "{uri}"
{keys}
values = ["mw"]
time_zone = "Europe/Berlin"
{options}
"""


def checked(folder: Path, keys: str, options: str, uri: str = "wide.csv", frequency: str = "1h") -> CheckedRows:
    path = folder / "w.toml"
    text = FILE.format(uri=uri, keys=keys, options=f"[feed.options]\n{options}", frequency=frequency)
    path.write_text(text)
    pipeline = pipeline_file.read(path, {})
    return check_feed(pipeline, pipeline.feed[0], NOW, datetime(1970, 1, 1, tzinfo=UTC))


def times_and_values(result: CheckedRows) -> list[tuple[str, float]]:
    rows = result.accepted.sort("series_id", "valid_time")
    return [(f"{time:%m-%dT%H}", value) for time, value in rows.select("valid_time", "mw").iter_rows()]


def test_a_column_per_series(tmp_path: Path) -> None:
    (tmp_path / "wide.csv").write_text(
        "time;North; South ;note\n01.02.2024 00:00;1,5;10;x\n01.02.2024 01:00;;11;y\n01.02.2024 02:00;n/e;bad;z\n"
    )
    result = checked(
        tmp_path, 'series_id = "zone"\nvalid_time = "time"',
        'wide = "series"\ncolumns = ["North", " South "]\nseparator = ";"\ndecimal = ","\nmissing = "n/e"\n'
        'time_format = "%d.%m.%Y %H:%M"',
    )  # fmt: skip
    rows = result.accepted.sort("series_id", "valid_time")
    assert rows["series_id"].to_list() == ["North", "North", "South", "South"]
    assert rows["mw"].to_list() == [1.5, None, 10, 11]
    assert rows["valid_time"][0] == datetime(2024, 1, 31, 23, tzinfo=UTC)
    assert result.refused.select("zone", "mw").rows() == [(" South ", "bad")]
    assert (result.read, len(result.refused)) == (5, 1), "an empty cell is no row"


def hours(**cells: int) -> str:
    """Return a line of 24 hours, H0 = 100 on the first of the year, with some cells replaced."""
    return ",".join(str(cells.get(f"h{hour}", 100 + hour)) if cells.get(f"h{hour}") != 0 else "" for hour in range(24))


@pytest.mark.parametrize("cell", ["NaN", "NA", "null"])
def test_a_cell_of_a_wide_table_is_missing_as_in_a_long_one(tmp_path: Path, cell: str) -> None:
    lines = [f"{datetime(2024, 2, 1, hour):%Y-%m-%d %H:%M},{hour + 1},5" for hour in range(24)]
    lines[3] = f"2024-02-01 03:00,{cell},5"
    (tmp_path / "wide.csv").write_text("\n".join(["time,a,b", *lines, ""]))
    result = checked(tmp_path, 'series_id = "zone"\nvalid_time = "time"', 'wide = "series"')
    assert result.accepted["mw"].null_count() == (1 if cell == "NaN" else 0)
    assert result.refused["mw"].to_list() == ([] if cell == "NaN" else [cell])


HEADER = "day," + ",".join(f"H{hour}" for hour in range(24))


def test_an_hour_that_does_not_exist_is_empty_or_refused(tmp_path: Path) -> None:
    (tmp_path / "wide.csv").write_text(f"{HEADER}\n2024-03-30,{hours()}\n2024-03-31,{hours(h2=0)}\n")
    result = checked(tmp_path, 'valid_time = "day"', 'wide = "hours"')
    assert (len(result.accepted), len(result.refused)) == (47, 0)
    assert times_and_values(result)[24:28] == [
        ("03-30T23", 100),
        ("03-31T00", 101),
        ("03-31T01", 103),
        ("03-31T02", 104),
    ]
    (tmp_path / "wide.csv").write_text(f"{HEADER}\n2024-03-31,{hours()}\n")
    result = checked(tmp_path, 'valid_time = "day"', 'wide = "hours"')
    assert result.refused.select("day", "mw").rows() == [("2024-03-31 02:00", "102")]
    assert "does not exist" in result.refused["reason"][0]


def test_a_repeated_hour_has_a_column_or_counts_once(tmp_path: Path) -> None:
    # The days of this table are equal, which a check would refuse.
    keys = 'valid_time = "day"\nchecks = { repeated_block = "accept" }'
    lines = [f"2024-10-{day},{hours()}" for day in (26, 27, 28)]
    (tmp_path / "wide.csv").write_text("\n".join([HEADER, *lines, ""]))
    once = checked(tmp_path, keys, 'wide = "hours"')
    assert len(once.accepted) == 72
    assert ("10-27T00", 102) in times_and_values(once), "fold = auto: the first of the two hours"
    header = HEADER.replace("H2,", "H2,H2B,")
    cells = [line.replace(",102,", f",102,{'777' if '10-27' in line else ''},") for line in lines]
    (tmp_path / "wide.csv").write_text("\n".join([header, *cells, ""]))
    twice = checked(tmp_path, keys, 'wide = "hours"\nrepeated_hour = "H2B"')
    assert len(twice.accepted) == 73
    assert times_and_values(twice)[25:29] == [
        ("10-26T23", 101),
        ("10-27T00", 102),
        ("10-27T01", 777),
        ("10-27T02", 103),
    ]


@pytest.mark.parametrize("name", ["H2B", "H2*"])
@pytest.mark.parametrize("place", [0, 4, 24])
def test_a_repeated_hour_stands_anywhere_and_counts_on_its_day_only(tmp_path: Path, name: str, place: int) -> None:
    names = HEADER.split(",")[1:]
    names.insert(place, name)
    lines = [",".join(["day", *names])]
    for day in (26, 27, 28):
        cells = hours().split(",")
        cells.insert(place, "777" if day == 27 else "0")
        lines.append(",".join([f"{day}.10.2024", *cells]))
    (tmp_path / "wide.csv").write_text("\n".join([*lines, ""]))
    options = f'wide = "hours"\nrepeated_hour = "{name}"\ntime_format = "%d.%m.%Y"'
    result = checked(tmp_path, 'valid_time = "day"\nchecks = { repeated_block = "accept" }', options)
    assert (len(result.accepted), len(result.refused)) == (73, 2)
    assert times_and_values(result)[26:28] == [("10-27T00", 102), ("10-27T01", 777)]
    assert result.refused["mw"].to_list() == ["0", "0"]
    assert "a day on which the hour does not repeat in Europe/Berlin" in result.refused["reason"][0]


def test_the_numbers_of_columns_decide_their_order(tmp_path: Path) -> None:
    names = sorted(HEADER.split(",")[1:])
    cells = ",".join(str(100 + int(name[1:])) for name in names)
    (tmp_path / "wide.csv").write_text(f"day,{','.join(names)}\n2024-01-01,{cells}\n")
    result = checked(tmp_path, 'valid_time = "day"', 'wide = "hours"')
    assert [value for _, value in times_and_values(result)] == list(range(100, 124))
    columns = ", ".join(f'"{name}"' for name in names)
    with pytest.raises(DataError, match="'H2' stands behind 'H19'"):
        checked(tmp_path, 'valid_time = "day"', f'wide = "hours"\ncolumns = [{columns}]')


def test_a_repeated_hour_without_a_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "wide.csv").write_text(f"{HEADER},H24\n2024-10-27,{hours()},777\n")
    with pytest.raises(DataError, match="'H24' does not show which hour it repeats"):
        checked(tmp_path, 'valid_time = "day"', 'wide = "hours"\nrepeated_hour = "H24"')
    names = ", ".join(f'"H{hour}"' for hour in (0, 1, 2, 24, *range(3, 24)))
    result = checked(tmp_path, 'valid_time = "day"', f'wide = "hours"\nrepeated_hour = "H24"\ncolumns = [{names}]')
    assert times_and_values(result)[2:4] == [("10-27T00", 102), ("10-27T01", 777)]


def test_periods_of_dates_in_a_declared_form(tmp_path: Path) -> None:
    header = "day," + ",".join(map(str, range(1, 25)))
    lines = [f"{day:02d}.07.2024,{hours()}" for day in range(1, 29)]
    (tmp_path / "wide.csv").write_text("\n".join([header, *lines, ""]))
    result = checked(tmp_path, 'valid_time = "day"', 'wide = "periods"\ntime_format = "%d.%m.%Y"')
    assert len(result.accepted) == 28 * 24
    assert result.accepted["valid_time"].min() == datetime(2024, 6, 30, 22, tzinfo=UTC)
    undeclared = checked(tmp_path, 'valid_time = "day"', 'wide = "periods"')
    assert (len(undeclared.accepted), len(undeclared.refused), len(undeclared.reasons)) == (0, 28 * 24, 1)
    assert undeclared.reasons[0].kind == "day is not a date"
    assert 'time_format = "%d.%m.%Y"' in advice(undeclared.reasons[0])


@pytest.mark.parametrize(("day", "count"), [(date(2024, 3, 31), 23), (date(2024, 10, 27), 25), (date(2024, 7, 1), 24)])
def test_periods_count_from_the_start_of_the_day(tmp_path: Path, day: date, count: int) -> None:
    header = "day," + ",".join(map(str, range(1, 26)))
    cells = [str(hour) if hour <= count else "" for hour in range(1, 26)]
    (tmp_path / "wide.csv").write_text(f"{header}\n{day},{','.join(cells)}\n")
    result = checked(tmp_path, 'valid_time = "day"', 'wide = "periods"')
    rows = result.accepted.sort("valid_time")
    assert rows["mw"].to_list() == list(range(1, count + 1))
    assert set(rows["valid_time"].diff().drop_nulls()) == {timedelta(hours=1)}
    cells = [str(hour) for hour in range(1, 26)]
    (tmp_path / "wide.csv").write_text(f"{header}\n{day},{','.join(cells)}\nyesterday,{','.join(cells)}\n")
    result = checked(tmp_path, 'valid_time = "day"', 'wide = "periods"')
    assert len(result.accepted) == count
    reasons = set(result.refused["reason"])
    assert "day is not a date, got 'yesterday'" in reasons
    assert ("the day has fewer periods than columns with a value" in reasons) == (count < 25)


@pytest.mark.parametrize("uri", ["wide.parquet", "sqlite:///{folder}/wide.db"])
def test_the_same_from_parquet_and_a_database(tmp_path: Path, uri: str) -> None:
    days = pl.date_range(date(2024, 10, 26), date(2024, 10, 28), eager=True)
    table = pl.DataFrame({"site": "A", "day": days} | {f"q{n}": [float(n), n + 0.5, None] for n in range(96)})
    table.write_parquet(tmp_path / "wide.parquet")
    texts = table.with_columns(pl.col("day").dt.to_string())
    with sqlite3.connect(tmp_path / "wide.db") as base:
        base.execute(f"create table t ({', '.join(texts.columns)})")
        base.executemany(f"insert into t values ({', '.join('?' * texts.width)})", texts.rows())
    keys = 'series_id = "site"\nvalid_time = "day"\nresample = "mean"'
    if "sqlite" in uri:
        keys += '\nquery = "select * from t"'
    result = checked(tmp_path, keys, 'wide = "hours"', uri.format(folder=tmp_path))
    rows = result.accepted.sort("valid_time")
    assert rows["series_id"].unique().to_list() == ["A"]
    assert rows["mw"].head(2).to_list() == [1.5, 5.5]
    assert result.read == 2 * 96


@pytest.mark.parametrize(
    ("keys", "options", "words"),
    [
        ('valid_time = "day"', 'wide = "series"', 'options.wide = "series" needs series_id'),
        ('valid_time = "day"', 'columns = "a"', "columns is for a wide table"),
        ('valid_time = "day"', 'wide = "periods"\nrepeated_hour = "3B"', 'repeated_hour is for wide = "hours"'),
        ('valid_time = "day"', 'wide = "hours"\nlabel = "end"', "label is not for columns of a day"),
    ],
)
def test_settings_that_do_not_fit_are_named(tmp_path: Path, keys: str, options: str, words: str) -> None:
    with pytest.raises(PipelineFileError, match=words):
        checked(tmp_path, keys, options)


def test_a_wrong_number_of_columns_is_shown_with_their_names(tmp_path: Path) -> None:
    (tmp_path / "wide.csv").write_text(f"{HEADER},total\n2024-03-30,{hours()},2676\n")
    with pytest.raises(DataError, match=r"needs 24, 48, 96 columns of values, the table has 25: 'H0', .*'total'"):
        checked(tmp_path, 'valid_time = "day"', 'wide = "hours"')
    names = ", ".join(f'"H{hour}"' for hour in range(24))
    assert len(checked(tmp_path, 'valid_time = "day"', f'wide = "hours"\ncolumns = [{names}]').accepted) == 24
    with pytest.raises(DataError, match="there is no column 'H24'"):
        checked(tmp_path, 'valid_time = "day"', 'wide = "hours"\ncolumns = ["H24"]')


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from(["series", "hours", "periods"]))
def test_every_filled_cell_becomes_one_row(seed: int, kind: str) -> None:
    random = np.random.default_rng(seed)
    cells = {
        f"c{n}": [int(random.integers(100)) if random.random() < 0.7 else None for _ in range(3)] for n in range(24)
    }
    days = [date(2024, 10, 26), date(2024, 10, 27), date(2024, 10, 28)]
    wide = pl.DataFrame({"day": days} | cells, schema_overrides=dict.fromkeys(cells, pl.Int64))
    feed = FeedShape(
        "f", "target", "s" if kind == "series" else None, "day", ("y",), "Europe/Berlin", timedelta(0), None
    )
    long = to_long_table(wide, WideLayout(kind), feed)
    filled = [value for values in cells.values() for value in values if value is not None]
    assert sorted(long["y"].to_list()) == sorted(filled)
