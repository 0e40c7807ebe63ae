"""Times outside the calendar, at which Polars panics: the cell is refused, and no other row."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from flows.stages.ingest import ingest
from storage.schemas import DataError
from storage.sources.time_range import with_representable_times
from storage.store import open_store
from tests.support.feeds import LATE, pipeline_of, sample

LARGEST = 2**63 - 1


@pytest.mark.parametrize("dtype", [pl.Datetime("us"), pl.Datetime("ms", "Europe/Madrid"), pl.Datetime("us", "UTC")])
@pytest.mark.parametrize("wrong", [LARGEST, -LARGEST, 253_402_300_800_000_000])
def test_such_a_cell_becomes_text_and_the_others_iso_8601(dtype: pl.Datetime, wrong: int) -> None:
    per_second = 1000 if dtype.time_unit == "ms" else 1_000_000
    column = pl.Series("t", [1_535_760_000 * per_second, wrong, None]).cast(dtype)
    texts = with_representable_times(column.to_frame())["t"].to_list()
    assert texts[0] == ("2018-09-01T00:00:00+00:00" if dtype.time_zone else "2018-09-01 00:00:00")
    assert texts[1:] == [f"outside the calendar: {wrong}", None]


def test_dates_too_and_a_usual_column_stays_as_it_is() -> None:
    dates = pl.Series("t", [17_775, 2**31 - 1], pl.Int32).cast(pl.Date)
    texts = with_representable_times(dates.to_frame())["t"].to_list()
    assert texts == ["2018-09-01", "outside the calendar: 2147483647"]
    valid = pl.DataFrame({"t": dates.head(1), "n": [1]})
    assert with_representable_times(valid).schema == valid.schema
    assert with_representable_times(valid.clear()).schema == valid.schema


@pytest.mark.parametrize(("zone", "is_known"), [("Mars/Phobos", False), ("+05:30", True)])
def test_a_zone_that_does_not_exist_is_named(tmp_path: Path, zone: str, is_known: bool) -> None:
    pq, pa = pytest.importorskip("pyarrow.parquet"), pytest.importorskip("pyarrow")
    table = sample(3).to_arrow()
    times = pa.array(sample(3)["ds"].cast(pl.Datetime("us")).to_physical().to_list(), pa.int64())
    table = table.set_column(1, "ds", times.view(pa.timestamp("us", zone)))
    pq.write_table(table, tmp_path / "load.parquet")
    settings = pipeline_of(tmp_path, "load.parquet")
    store = open_store(settings.pipeline.store)
    if is_known:
        assert ingest(settings, store, LATE, LATE)["feeds"]["demand"]["added"] == len(table)
    else:
        with pytest.raises(DataError, match="column 'ds' has the time zone 'Mars/Phobos', which does not exist"):
            ingest(settings, store, LATE, LATE)


def test_one_such_cell_refuses_its_row_only(tmp_path: Path) -> None:
    rows = sample(3)
    numbers = rows["ds"].to_physical().scatter(5, LARGEST)
    rows.with_columns(ds=numbers.cast(rows["ds"].dtype)).write_parquet(tmp_path / "load.parquet")
    settings = pipeline_of(tmp_path, "load.parquet")
    report = ingest(settings, open_store(settings.pipeline.store), LATE, LATE)["feeds"]["demand"]
    assert (report["read"], report["added"], report["refused"]) == (len(rows), len(rows) - 1, 1)
    assert report["reasons"] == {"ds is not a time": 1}


@pytest.mark.parametrize("dtype", [pl.String(), pl.Categorical()])
def test_a_long_text_is_no_id(tmp_path: Path, dtype: pl.DataType) -> None:
    rows = sample(3).with_columns(pl.col("series_id").replace("LDC1", "x" * 50_000).cast(dtype))
    rows.write_parquet(tmp_path / "load.parquet")
    settings = pipeline_of(tmp_path, "load.parquet")
    report = ingest(settings, open_store(settings.pipeline.store), LATE, LATE)["feeds"]["demand"]
    assert (report["added"], report["refused"]) == (2 * len(rows) // 3, len(rows) // 3)
    assert list(report["reasons"]) == ["series_id is longer than 10,000 bytes"]
