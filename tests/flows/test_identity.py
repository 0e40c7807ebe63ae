"""Series of several feeds: ids in other writing, covariates of no series, undeclared dimensions, reserved names."""

from __future__ import annotations

import logging
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from flows.settings import file as pipeline_file
from flows.stages.check import check
from flows.stages.ingest import ingest
from flows.summary import matching_lines
from storage import history
from storage.schemas import DataError
from storage.store import open_store

AS_OF = datetime(2018, 11, 8, tzinfo=UTC)
FILE = """
[pipeline]
name = "load"
store = "./store"
frequency = "1h"

[[feed]]
name = "demand"
role = "target"
uri = "load.csv"
valid_time = "time"
series_id = "zone"
values = ["mw"]

[[feed]]
name = "weather"
role = "observed"
uri = "weather.parquet"
valid_time = "time"
series_id = "zone"
values = ["{covariate}"]
{more}
"""


def write(folder: Path, zones: list[str], others: list[str], covariate: str = "temp", more: str = "") -> Path:
    times = [datetime(2018, 9, 1) + timedelta(hours=hour) for hour in range(48)]

    def table(ids: list[str], name: str) -> pl.DataFrame:
        return pl.concat([
            pl.DataFrame({"zone": zone, "time": times, name: [float(hour + number) for hour in range(48)]})
            for number, zone in enumerate(ids)
        ])  # fmt: skip

    table(zones, "mw").write_csv(folder / "load.csv")
    table(others, covariate).write_parquet(folder / "weather.parquet")
    path = folder / "p.toml"
    path.write_text(FILE.format(covariate=covariate, more=more))
    return path


def test_a_covariate_of_no_series_is_an_error_and_stores_nothing(tmp_path: Path) -> None:
    settings = pipeline_file.read(write(tmp_path, ["01", "02"], ["1", "2"]), {})
    store = open_store(settings.pipeline.store)
    with pytest.raises(DataError, match="feed 'weather': no covariate row belongs to any series"):
        ingest(settings, store, AS_OF, AS_OF)
    assert not (tmp_path / "store").exists()
    assert list(check(settings, AS_OF)["failures"]) == ["weather"]
    # A nightly run goes on with the other feed.
    report = ingest(settings, store, AS_OF, AS_OF, timeout=60)
    assert list(report["feeds"]) == ["demand"] and list(report["failures"]) == ["weather"]


@pytest.mark.parametrize("timeout", [None, 60])
def test_a_damaged_history_is_reported_where_ids_are_compared(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, timeout: float | None
) -> None:
    """The rows of a late target name other series than the covariates. Whether those are known cannot be read."""
    settings = pipeline_file.read(write(tmp_path, ["01"], ["01"]), {})
    store = open_store(settings.pipeline.store)
    ingest(settings, store, AS_OF, AS_OF)
    (part,) = (tmp_path / "store/history/load/demand").glob("*.parquet")
    content = bytearray(part.read_bytes())
    content[4:60] = bytes(56)  # the first column, the ids
    part.write_bytes(content)
    write(tmp_path, ["02"], ["01"])
    report = ingest(settings, store, AS_OF, AS_OF, timeout=timeout)
    assert not report["failures"]
    assert len(report["feeds"]["demand"]["damaged"]) == 1
    assert "cannot be compared with those of the history" in caplog.text
    assert history.read_series_ids(store, "load", "demand", AS_OF) == ["02"]


def test_ids_that_match_in_part_are_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    settings = pipeline_file.read(write(tmp_path, ["1 ", "02", "c"], ["1", "2", "d"]), {})
    store = open_store(settings.pipeline.store)
    expected = [
        "2 of 3 ids (67%) of this feed belong to no series of the target: '2', 'd'.",
        "2 of 3 series (67%) of the target have no row in this feed: '02', 'c'.",
        "Ids that differ only by case, blanks or zeros: '2' and series '02'. Write them the same way in both sources.",
    ]
    with caplog.at_level(logging.WARNING):
        report = ingest(settings, store, AS_OF, AS_OF)["feeds"]
    assert "matching" not in report["demand"]
    assert matching_lines(report["weather"]) == expected
    assert [record.getMessage() for record in caplog.records] == [f"weather: {line}" for line in expected]
    assert matching_lines(check(settings, AS_OF)["feeds"]["weather"]) == expected
    assert history.read_series_ids(store, "load", "demand", AS_OF) == ["02", "1", "c"]


@pytest.mark.parametrize(("before", "after"), [("007", "7"), ("NORTH", "North"), ("a 1", "a1")])
def test_an_id_in_other_writing_than_in_the_history_is_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, before: str, after: str
) -> None:
    path = write(tmp_path, [before, "other"], [before, "other"])
    settings = pipeline_file.read(path, {})
    store = open_store(settings.pipeline.store)
    assert "matching" not in ingest(settings, store, AS_OF, AS_OF)["feeds"]["demand"]
    write(tmp_path, [after, "other"], [after, "other"])
    with caplog.at_level(logging.WARNING):
        report = ingest(settings, store, AS_OF, AS_OF)["feeds"]["demand"]
    assert report["matching"]["similar_examples"] == [[after, before]]
    assert "differ only by case, blanks or zeros" in caplog.text
    # A part of the series is no other writing.
    write(tmp_path, ["other"], ["other"])
    assert "matching" not in ingest(settings, store, AS_OF, AS_OF)["feeds"]["demand"]


def test_values_that_become_empty_are_reported(tmp_path: Path) -> None:
    path = write(tmp_path, ["a", "b"], ["a"])
    settings = pipeline_file.read(path, {})
    store = open_store(settings.pipeline.store)
    assert not ingest(settings, store, AS_OF, AS_OF)["feeds"]["demand"]["findings"]
    table = pl.read_csv(tmp_path / "load.csv")
    is_emptied = (pl.col("zone") == "b") & (pl.int_range(pl.len()).is_between(60, 64))
    table.with_columns(mw=pl.when(~is_emptied).then("mw")).write_csv(tmp_path / "load.csv")
    found = ingest(settings, store, AS_OF, AS_OF + timedelta(minutes=1))["feeds"]["demand"]["findings"]
    emptied = [finding for finding in found if finding["check"] == "emptied"]
    assert [finding["rows"] for finding in emptied] == [5]
    assert "5 rows of 1 series that had a value are empty in the source now" in emptied[0]["detail"]
    # The next ingest of the same file changes nothing.
    again = ingest(settings, store, AS_OF, AS_OF + timedelta(minutes=2))["feeds"]["demand"]
    assert again["added"] == 0 and not [one for one in again["findings"] if one["check"] == "emptied"]


@pytest.mark.parametrize("feed", ["demand", "weather"])
def test_a_source_without_values_withdraws_none(tmp_path: Path, feed: str) -> None:
    """A query or an export that fails may give a table of the right shape whose values are all empty."""
    path = write(tmp_path, ["a", "b"], ["a", "b"])
    settings = pipeline_file.read(path, {})
    store = open_store(settings.pipeline.store)
    ingest(settings, store, AS_OF, AS_OF)
    value = next(one.values[0] for one in settings.feed if one.name == feed)
    before = history.read_as_of(store, "load", feed, [value], AS_OF + timedelta(days=1))
    if feed == "demand":
        table = pl.read_csv(tmp_path / "load.csv")
        table.with_columns(mw=pl.lit(None, pl.String)).write_csv(tmp_path / "load.csv")
    else:
        table = pl.read_parquet(tmp_path / "weather.parquet")
        table.with_columns(pl.lit(None, pl.Float64).alias(value)).write_parquet(tmp_path / "weather.parquet")
    later = AS_OF + timedelta(minutes=1)
    report = ingest(settings, store, AS_OF, later)
    assert f"feed {feed!r}: {len(table):,} values, more than half" in report["failures"][feed]
    assert 'set emptied = "warn" in [feed.checks]' in report["failures"][feed]
    counts = report["feeds"][feed]
    assert (counts["added"], counts["unchanged"]) == (0, len(table)) == (0, counts["accepted"])
    assert history.read_as_of(store, "load", feed, [value], later).equals(before)
    text = path.read_text().replace(f'values = ["{value}"]', f'values = ["{value}"]\nchecks = {{ emptied = "warn" }}')
    path.write_text(text)
    report = ingest(pipeline_file.read(path, {}), store, AS_OF, later)
    assert not report["failures"] and report["feeds"][feed]["added"] == len(table)
    assert history.read_as_of(store, "load", feed, [value], later)[value].null_count() == len(table)


def test_a_second_feed_may_have_the_other_series(tmp_path: Path) -> None:
    second = '[[feed]]\nname = "south"\nrole = "observed"\nuri = "south.parquet"\nvalid_time = "time"\n'
    path = write(tmp_path, ["a", "b"], ["a"], more=f'{second}series_id = "zone"\nvalues = ["temp"]')
    south = pl.read_parquet(tmp_path / "weather.parquet").with_columns(zone=pl.lit("b"))
    south.write_parquet(tmp_path / "south.parquet")
    report = check(pipeline_file.read(path, {}), AS_OF)
    assert report["failures"].keys() == {"demand"}  # two days of history are too short for the context
    assert all("matching" not in feed for feed in report["feeds"].values())


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_forgotten_series_id_names_the_column(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path, ["A", "B", "C"], ["A", "B", "C"])
    table = pl.read_csv(tmp_path / "load.csv")
    table.write_csv(tmp_path / "f.csv") if suffix == "csv" else table.write_parquet(tmp_path / "f.parquet")
    path.write_text(path.read_text().replace('series_id = "zone"\n', "", 1).replace("load.csv", f"f.{suffix}"))
    if suffix == "parquet":
        path.write_text(path.read_text().replace('"time"\n', '"time"\ntime_zone = "Europe/Madrid"\n', 1))
    settings = pipeline_file.read(path, {})
    expected = r"feed 'demand': each time comes 3 times .* The rows differ in 'zone' \(3 values: A, B, C\)"
    report = ingest(settings, open_store(settings.pipeline.store), AS_OF, AS_OF)
    assert re.match(expected, report["failures"]["demand"])
    assert list(report["feeds"]) == ["weather"]


def test_files_of_one_series_each_are_an_error(tmp_path: Path) -> None:
    path = write(tmp_path, ["A", "B"], ["A", "B"])
    for zone in ("A", "B"):
        pl.read_csv(tmp_path / "load.csv").filter(zone=zone).drop("zone").write_csv(tmp_path / f"of_{zone}.csv")
    path.write_text(path.read_text().replace('series_id = "zone"\n', "", 1).replace("load.csv", "of_*.csv"))
    settings = pipeline_file.read(path, {})
    failure = ingest(settings, open_store(settings.pipeline.store), AS_OF, AS_OF)["failures"]["demand"]
    assert re.search(r"each time comes 2 times .* give each file a feed of its own", failure)
    assert "The rows differ" not in failure


@pytest.mark.parametrize("name", ["series_id", "valid_time", "available_at", "ingested_at", "reason", ":row"])
def test_names_of_the_stores_own_columns_are_a_settings_error(tmp_path: Path, name: str) -> None:
    path = write(tmp_path, ["a"], ["a"], covariate=name)
    with pytest.raises(pipeline_file.PipelineFileError, match=f"feed 'weather' must not have a column '{name}'"):
        pipeline_file.read(path, {})


@pytest.mark.parametrize("name", ["q50", "target", "row", "status", "issue_time", "stored:mw", "last"])
def test_other_names_are_free(tmp_path: Path, name: str) -> None:
    settings = pipeline_file.read(write(tmp_path, ["a"], ["a"], covariate=name), {})
    store = open_store(settings.pipeline.store)
    rows = pl.read_parquet(tmp_path / "weather.parquet")
    pl.concat([rows, rows.head(5).with_columns(pl.col(name) + 1)]).write_parquet(tmp_path / "weather.parquet")
    assert ingest(settings, store, AS_OF, AS_OF)["feeds"]["weather"]["added"] == 48
    assert ingest(settings, store, AS_OF, AS_OF)["feeds"]["weather"]["unchanged"] == 48
    stored = history.read_as_of(store, "load", "weather", [name], AS_OF)[name]
    assert stored.to_list() == [float(hour + (hour < 5)) for hour in range(48)]
