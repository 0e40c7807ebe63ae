"""Feeds that a person, a spreadsheet or a broken disk has damaged.

An ingest of any file ends in one of two ways. Either there is one DataError of one line that names the feed, and
nothing is stored. Or each row is in the history, in quarantine with a reason, or not yet available.
"""

from __future__ import annotations

import gzip
import random
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flows.settings import file as pipeline_file
from flows.stages.ingest import ingest
from storage import history, quarantine
from storage.schemas import DataError
from tests.support.commands import gatecast
from tests.support.examples import examples
from tests.support.feeds import mutated, pipeline_of, sample
from tests.support.narrow import open_folder

AS_OF = datetime(2018, 6, 2, 12, tzinfo=UTC)
LATE = datetime(2100, 1, 1, tzinfo=UTC)
SHAPES = (
    "",
    'available_at = "known"',
    'available_after = "30d"',
    '[feed.checks]\nspike = "quarantine"',
)
FREQUENCIES = st.sampled_from(["1h", "1h", "15m", "1d", "1b"])

# Wrong contents of the cells of a file.
NUMBERS = st.one_of(
    st.sampled_from(
        ["", " ", "NaN", "nan", "inf", "-Infinity", "1e999", "-1e308", "1e-320", "1,5", "1 234.5", "0x1F", "1_000",
         "-", "--", "n/a", "NULL", "#REF!", "1.2.3", "١٢٣", "½", "1\u00a0000", "\u200b1", "true", "0", "-0.0",
         "99999999999999999999"]
    ),
    st.floats().map(repr),
    st.text(max_size=6),
)  # fmt: skip
TIMES = st.one_of(
    st.sampled_from(
        ["2018-06-01", "2018-06-01 05:00", "2018-06-01T05:00:00Z", "2018-06-01T05:00:00+02:00", "01/06/2018 05:00",
         "2018-06-01T05:17:00", "1.6.2018", "20180601", "1527811200", "43252.5", "2018-13-45", "2018-02-29T00:00",
         "0000-00-00 00:00:00", "9999-12-31T23:00:00", "0001-01-01T00:00:00", "1677-09-21T00:12:43", "-2018-06-01",
         "2018-03-11T02:30:00", "2018-11-04T01:00:00", "12018-06-01T00:00:00", "", "NaT", "yesterday",
         "\uff12\uff10\uff11\uff18-06-01"]
    ),
    st.text(max_size=8),
)  # fmt: skip
NAMES = st.one_of(
    st.sampled_from(
        ["", " ", "LDC1", "ldc1", "LDC1 ", "e\u0301", "\u00e9", "\u202eLDC", "a/b", "../..", "a,b", 'a"b', "\ufeff"]
    ),
    st.text(max_size=5),
)  # fmt: skip
KINDS = {"series_id": NAMES, "ds": TIMES, "y": NUMBERS, "known": TIMES}
# Wrong types of a column of a Parquet file, each made from the number of the row.
TYPES: dict[str, Callable[[int], object]] = {
    "int": lambda n: n, "float": float, "text": str, "bool": lambda n: n % 2 == 0,
    "date": lambda n: date(2018, 6, 1) + timedelta(days=n), "time": lambda n: time(n % 24),
    "duration": lambda n: timedelta(hours=n), "binary": lambda n: bytes([n % 256, 255]), "list": lambda n: [n],
    "struct": lambda n: {"n": n}, "null": lambda n: None, "naive": lambda n: datetime(2018, 6, 1) + timedelta(hours=n),
    "zoned": lambda n: datetime(2018, 6, 1, tzinfo=UTC) + timedelta(hours=n),
    "special": lambda n: [float("nan"), float("inf"), -float("inf"), 1e308][n % 4],
}  # fmt: skip
CASTS: dict[str, pl.DataType | type[pl.DataType] | None] = {
    "none": None, "int8": pl.Int8, "uint64": pl.UInt64, "float32": pl.Float32, "decimal": pl.Decimal(38, 10),
    "categorical": pl.Categorical, "ms": pl.Datetime("ms"), "ns": pl.Datetime("ns", "Asia/Kathmandu"),
}  # fmt: skip


def text_table() -> pl.DataFrame:
    """Return two days of the sample as text, with the time at which each row became available."""
    rows = sample(2).select("series_id", "ds", "y").with_columns(known=pl.col("ds") + timedelta(hours=9))
    return rows.with_columns(pl.col("ds", "known").dt.to_string("%Y-%m-%dT%H:%M:%S"), pl.col("y").cast(pl.String))


TABLE = text_table()


def ingest_or_refuse(folder: Path, name: str, more: str, read: int | None, frequency: str = "1h") -> bool:
    """Ingest, and return True if each row is accounted for, False after one error that left nothing in the store."""
    pipeline_of(folder, name, more)
    environment = {"GATECAST_PIPELINE__FREQUENCY": frequency}
    pipeline_settings = pipeline_file.read(folder / "p.toml", environment)
    store = open_folder(pipeline_settings.pipeline.store)
    try:
        report = ingest(pipeline_settings, store, AS_OF, LATE)["feeds"]["demand"]
    except DataError as error:
        assert str(error).startswith("feed 'demand': ")
        assert len(str(error).splitlines()) == 1
        assert not store.root.exists()
        return False
    assert read in (None, report["read"])
    assert report["read"] == report["added"] + report["refused"] + report["later"]
    refused = quarantine.read(store, pipeline_settings.name, "demand")
    assert len(refused) == report["refused"] == sum(report["reasons"].values())
    assert refused["reason"].null_count() == 0
    kept = history.read_revisions(store, pipeline_settings.name, "demand", ["y"], LATE)
    assert len(kept) == report["added"]
    assert kept.select(pl.col("y").is_finite().all()).item() in (True, None)
    return True


def fuzz(count: int) -> settings:
    """Return hypothesis settings with the same examples in each run."""
    quiet = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large]
    return settings(max_examples=examples(count), deadline=None, derandomize=True, suppress_health_check=quiet)


@st.composite
def damaged_cells(draw: st.DrawFn) -> pl.DataFrame:
    """Draw the table with damaged cells, a damaged column or another order of rows."""
    rows = TABLE
    for column in draw(st.lists(st.sampled_from(list(KINDS)), min_size=1, max_size=2, unique=True)):
        cells = draw(st.lists(KINDS[column], min_size=1, max_size=5))
        share = draw(st.sampled_from([3, 10, len(rows)]))
        positions = random.Random(draw(st.integers(0, 99))).sample(range(len(rows)), share)
        damaged = rows[column].to_list()
        for number, position in enumerate(positions):
            damaged[position] = cells[number % len(cells)]
        rows = rows.with_columns(pl.Series(column, damaged, dtype=pl.String))
    if draw(st.booleans()):
        rows = pl.concat([rows, rows.sample(20, seed=draw(st.integers(0, 9)))])
    return rows.sample(fraction=1.0, shuffle=True, seed=draw(st.integers(0, 9))) if draw(st.booleans()) else rows


@fuzz(120)
@given(
    rows=damaged_cells(),
    more=st.sampled_from(SHAPES),
    end=st.sampled_from(["\n", "\r\n"]),
    bom=st.booleans(),
    frequency=FREQUENCIES,
)
def test_damaged_cells_of_a_csv_file(
    tmp_path_factory: pytest.TempPathFactory, rows: pl.DataFrame, more: str, end: str, bom: bool, frequency: str
) -> None:
    folder = tmp_path_factory.mktemp("csv")
    rows.write_csv(folder / "load.csv", line_terminator=end, include_bom=bom, quote_style="always")
    ingest_or_refuse(folder, "load.csv", more, len(rows), frequency)


@fuzz(120)
@given(
    types=st.dictionaries(st.sampled_from(list(KINDS)), st.sampled_from(list(TYPES)), min_size=1, max_size=2),
    cast=st.sampled_from(list(CASTS)),
    more=st.sampled_from(SHAPES),
    frequency=FREQUENCIES,
)
def test_wrong_types_in_a_parquet_file(
    tmp_path_factory: pytest.TempPathFactory, types: dict[str, str], cast: str, more: str, frequency: str
) -> None:
    folder = tmp_path_factory.mktemp("types")
    rows = TABLE.with_columns(pl.Series(column, map(TYPES[of], range(len(TABLE)))) for column, of in types.items())
    dtype = CASTS[cast]
    if dtype is not None:
        for column in types:
            try:
                rows = rows.with_columns(pl.col(column).cast(dtype))
            except pl.exceptions.PolarsError:
                pass  # these values cannot have that type
    rows.write_parquet(folder / "load.parquet")
    ingest_or_refuse(folder, "load.parquet", more, len(rows), frequency)


@fuzz(60)
@given(data=st.data())
def test_dropped_renamed_or_repeated_columns(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    folder = tmp_path_factory.mktemp("columns")
    head = data.draw(
        st.lists(st.one_of(st.sampled_from([*TABLE.columns, "Y", "y ", "\ufeffy"]), st.text(max_size=4)), max_size=5)
    )
    lines = TABLE.write_csv(include_header=False, quote_style="always")
    (folder / "load.csv").write_bytes(",".join(f'"{name}"' for name in head).encode() + b"\n" + lines.encode())
    ingest_or_refuse(folder, "load.csv", "", None)


@pytest.mark.parametrize("suffix", ["csv", "csv.gz", "parquet"])
def test_damaged_bytes_of_a_file(tmp_path: Path, capfd: pytest.CaptureFixture[str], suffix: str) -> None:
    """Damage a hundred files of each kind. Messages of Polars' Rust code must not reach the terminal."""
    rows = sample(2)
    clean = tmp_path / "clean.parquet"
    rows.write_parquet(clean)
    text = rows.write_csv().encode()
    content = {"csv": text, "csv.gz": gzip.compress(text), "parquet": clean.read_bytes()}[suffix]
    ingested = 0
    for seed in range(examples(100)):
        folder = tmp_path / str(seed)
        folder.mkdir()
        damaged = mutated(content, random.Random(seed))
        (folder / f"load.{suffix}").write_bytes(damaged)
        # Without quotes, each line is a row.
        plain = suffix == "csv" and b'"' not in damaged
        lines = len(damaged.removesuffix(b"\n").split(b"\n")) - 1 if plain else None
        ingested += ingest_or_refuse(folder, f"load.{suffix}", "", lines)
    assert ingested < examples(100)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("load.csv", TABLE.write_csv().encode("utf-16")),
        ("load.csv", TABLE.write_csv().replace("LDC1", "Süd").encode("latin-1")),
        ("load.csv", TABLE.write_csv().replace("\n", "\r").encode()),
        ("load.csv", b"\xef\xbb\xbf"),
        ("load.csv", b"\n\n\n"),
        ("load.csv", b"series_id,ds,y\n"),
        ("load.csv", b'series_id,ds,y\n"a,2018-06-01,1\n'),
        ("load.csv.zst", b"\x28\xb5\x2f\xfd\x00\x00"),
        ("load.parquet", b"PAR1PAR1"),
        ("load.parquet", b""),
        ("load.txt", b"series_id,ds,y\na,2018-06-01,1\n"),
    ],
)
def test_the_command_prints_one_line_of_error(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    pipeline_of(tmp_path, name)
    done = gatecast("ingest", tmp_path / "p.toml")
    assert done.returncode == 1
    assert done.stderr.startswith("error: feed 'demand': ")
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "store").exists()
