"""Ingest from sources that can select rows by time, and from damaged files."""

from __future__ import annotations

import random
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from flows.settings import file as pipeline_file
from flows.settings.pipeline import Pipeline
from flows.stages.check import check
from flows.stages.feed_checks import check_feed
from flows.stages.ingest import ingest
from flows.stages.unusable_history import publish_despite_damage
from storage import history, history_parts, quarantine
from storage.schemas import DataError, history_schema
from storage.store import Store, checksum, open_store
from tests.support.commands import gatecast
from tests.support.examples import examples
from tests.support.feeds import LATE, mutated, pipeline_of, sample
from tests.support.narrow import open_folder


def test_only_new_rows_are_requested_from_a_database(tmp_path: Path) -> None:
    path = tmp_path / "demand.db"
    rows = sample(40).with_columns(pl.col("ds").dt.to_string("%Y-%m-%d %H:%M:%S"))
    with sqlite3.connect(path) as connection:
        connection.execute("create table demand (series_id text, ds text, y real)")
        connection.executemany("insert into demand values (?, ?, ?)", rows.head(3 * 24 * 39).rows())
        connection.executemany("insert into demand values (?, ?, ?)", rows.tail(3 * 24).rows())
    more = 'query = "select * from demand where ds >= :since and ds < :until"\noverlap = "2d"\nstart = "2018-06-03"'
    settings = pipeline_of(tmp_path, f"sqlite:///{path}", more)
    store = open_store(settings.pipeline.store)
    middle = datetime(2018, 6, 20, 4, tzinfo=UTC)
    first = ingest(settings, store, middle, LATE)["feeds"]["demand"]
    assert first["first"] == "2018-06-03T00:00:00Z"
    assert first["read"] == first["added"] == 3 * (24 * 17 + 4)
    second = ingest(settings, store, LATE, LATE)["feeds"]["demand"]
    assert second["unchanged"] == 3 * 49
    assert second["added"] == 3 * 24 * 21
    assert ingest(settings, store, LATE, LATE)["feeds"]["demand"]["added"] == 0
    assert len(history.read_as_of(store, "p", "demand", ["y"], LATE)) == 3 * (24 * 38 + 4)


def test_rows_of_a_series_that_was_silent_for_longer_than_the_overlap_are_named(tmp_path: Path) -> None:
    path = tmp_path / "demand.db"
    rows = sample(40).with_columns(pl.col("ds").dt.to_string("%Y-%m-%d %H:%M:%S"))
    silent = (pl.col("series_id") == "LDC2") & (pl.col("ds") >= "2018-06-10")
    with sqlite3.connect(path) as connection:
        connection.execute("create table demand (series_id text, ds text, y real)")
        connection.executemany("insert into demand values (?, ?, ?)", rows.filter(~silent).rows())
    more = 'query = "select * from demand where ds >= :since and ds < :until"\noverlap = "2d"'
    settings = pipeline_of(tmp_path, f"sqlite:///{path}", more)
    store = open_store(settings.pipeline.store)
    middle = datetime(2018, 6, 20, 4, tzinfo=UTC)
    assert "cut" not in {one["check"] for one in ingest(settings, store, middle, LATE)["feeds"]["demand"]["findings"]}
    with sqlite3.connect(path) as connection:
        connection.executemany("insert into demand values (?, ?, ?)", rows.filter(silent).rows())
    findings = {one["check"]: one for one in ingest(settings, store, LATE, LATE)["feeds"]["demand"]["findings"]}
    assert "the rows of 'LDC2' begin with the first time that was requested" in findings["cut"]["detail"]
    complete = pipeline_of(tmp_path, f"sqlite:///{path}", more.replace("2d", "100d"))
    report = ingest(complete, store, LATE, LATE)["feeds"]["demand"]
    assert report["added"] > 24 * 7 and "cut" not in {one["check"] for one in report["findings"]}
    counts = history.read_as_of(store, "p", "demand", ["y"], LATE).group_by("series_id").len()["len"]
    assert counts.n_unique() == 1


def test_two_feeds_with_other_values_of_one_series_are_named(tmp_path: Path) -> None:
    sample(5).write_parquet(tmp_path / "load.parquet")
    sample(5).with_columns(pl.col("y") * 1000).write_parquet(tmp_path / "live.parquet")
    live = """
[[feed]]
name = "live"
role = "target"
uri = "live.parquet"
series_id = "series_id"
valid_time = "ds"
values = ["y"]
"""
    settings = pipeline_of(tmp_path, "load.parquet", live)
    findings = ingest(settings, open_store(settings.pipeline.store), LATE, LATE)["feeds"]["live"]["findings"]
    (conflict,) = (one for one in findings if one["check"] == "conflict")
    assert conflict["rows"] > 300 and "feed 'demand' has too" in conflict["detail"]


def test_a_row_of_the_far_future_does_not_exclude_earlier_rows_from_the_request(tmp_path: Path) -> None:
    """Ingest a known_future covariate with a mistyped year, which no availability time holds back."""
    path = tmp_path / "weather.db"
    sample(3).write_parquet(tmp_path / "load.parquet")
    with sqlite3.connect(path) as connection:
        connection.execute("create table weather (ds text, w real)")
        connection.executemany(
            "insert into weather values (?, 1.0)", [("2018-06-01 00:00:00",), ("2081-06-02 00:00:00",)]
        )
    weather = f"""
[[feed]]
name = "weather"
role = "known_future"
uri = "sqlite:///{path}"
query = "select * from weather where ds >= :since"
valid_time = "ds"
values = ["w"]
"""
    settings = pipeline_of(tmp_path, "load.parquet", weather)
    store = open_store(settings.pipeline.store)
    assert ingest(settings, store, LATE, LATE)["feeds"]["weather"]["added"] == 2
    with sqlite3.connect(path) as connection:
        connection.execute("insert into weather values ('2018-12-01 01:00:00', 2.0)")
    assert ingest(settings, store, LATE, LATE)["feeds"]["weather"]["added"] == 1


def test_a_second_pipeline_of_one_name_and_store_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    sample(3).write_parquet(tmp_path / "load.parquet")
    settings = pipeline_of(tmp_path, "load.parquet")
    store = open_store(settings.pipeline.store)
    ingest(settings, store, LATE, LATE)
    newer = sample(4).with_columns(pl.col("series_id").replace("LDC1", "LDC0"))
    newer.write_parquet(tmp_path / "load.parquet")
    ingest(settings, store, LATE, LATE)
    assert not caplog.records, "a new series among known ones is no second pipeline"
    assert "none of its" not in str(check(settings, LATE)["failures"])
    newer.with_columns(pl.format("other {}", "series_id").alias("series_id")).write_parquet(tmp_path / "load.parquet")
    failure = check(settings, LATE)["failures"]["demand"]
    ingest(settings, store, LATE, LATE)
    (record,) = caplog.records
    assert record.getMessage() == failure
    assert "none of its 3 series is in the history, which has 4 others, such as 'LDC0'" in record.getMessage()
    assert "pipeline.name = 'p' and this store, give it another name" in record.getMessage()


def test_check_reports_late_feeds(tmp_path: Path) -> None:
    sample(30).write_parquet(tmp_path / "load.parquet")
    settings = pipeline_of(tmp_path, "load.parquet")
    report = check(settings, datetime(2018, 7, 2, 7, tzinfo=UTC))
    assert report["next_issue"] == "2018-07-03T04:00:00+00:00"
    assert report["feeds"]["demand"]["late"] == (
        "the newest value is of 2018-06-30 23:00, values up to 2018-07-01 23:00 are due: 24 periods missing"
    )
    # A feed that is delivered once a day is not late during the day.
    for hour in (4, 7, 23):
        assert check(settings, datetime(2018, 7, 1, hour, tzinfo=UTC))["feeds"]["demand"]["late"] is None


def test_findings_are_reported_and_quarantined_as_the_file_says(tmp_path: Path) -> None:
    rows = sample(60).with_row_index("n").with_columns(
        y=pl.when(pl.col("n") == 700).then(pl.col("y") * 50).otherwise("y")
    ).drop("n")  # fmt: skip
    rows.write_parquet(tmp_path / "load.parquet")
    path = tmp_path / "p.toml"
    for more, read in (("", 0), ('[feed.checks]\nspike = "quarantine"', 1)):
        pipeline_of(tmp_path, "load.parquet", more)
        done = gatecast("ingest", path)
        assert done.returncode == 0, done.stderr
        assert "demand: spike: LDC1 (2018-06-30): up to" in done.stdout
        kept = quarantine.read(open_store(str(tmp_path / "store")), "p", "demand")
        assert len(kept) == read
    assert kept["y"].item() == rows["y"].max()
    with pytest.raises(pipeline_file.PipelineFileError, match=r'checks.spike: must be .*, got "drop"'):
        pipeline_of(tmp_path, "load.parquet", '[feed.checks]\nspike = "drop"')


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_damaged_files_give_one_error_or_lose_no_row(tmp_path: Path, suffix: str) -> None:
    """Damage 300 files of each kind. Each gives a DataError of one line, or every row is accounted for."""
    rows = sample(3)
    source = tmp_path / f"clean.{suffix}"
    rows.write_csv(source) if suffix == "csv" else rows.write_parquet(source)
    clean = source.read_bytes()
    errors = 0
    for seed in range(examples(300)):
        damaged = tmp_path / f"damaged.{suffix}"
        damaged.write_bytes(mutated(clean, random.Random(seed)))
        settings = pipeline_of(tmp_path, f"damaged.{suffix}")
        try:
            result = check_feed(settings, settings.feed[0], LATE, LATE - timedelta(days=365))
        except DataError as error:
            errors += 1
            assert str(error).startswith("feed 'demand': ")
            assert "\n" not in str(error)
            continue
        if suffix == "csv":
            read = len(pl.read_csv(damaged, infer_schema=False))
        else:
            read = len(pl.read_parquet(damaged))
        assert len(result.accepted) + len(result.refused) + result.later == read
        assert result.refused["reason"].null_count() == 0
    assert errors < examples(300)


def test_a_damaged_history_part_is_set_aside_and_ingested_again(tmp_path: Path) -> None:
    rows = sample(20).with_columns(pl.col("ds").dt.to_string("%Y-%m-%d %H:%M:%S"))
    with sqlite3.connect(tmp_path / "demand.db") as connection:
        connection.execute("create table demand (series_id text, ds text, y real)")
        connection.executemany("insert into demand values (?, ?, ?)", rows.rows())
    more = 'query = "select * from demand where ds >= :since and ds < :until"\noverlap = "2d"\nstart = "2018-06-01"'
    settings = pipeline_of(tmp_path, f"sqlite:///{tmp_path / 'demand.db'}", more)
    store = open_folder(settings.pipeline.store)
    for day in (8, 15):
        ingest(settings, store, datetime(2018, 6, day, tzinfo=UTC), LATE)
    before = history.read_as_of(store, "p", "demand", ["y"], LATE)
    part = store.path(store.keys("history/p/demand", "*.parquet")[0])
    content = part.read_bytes()
    # The first damage leaves the footer intact, so only reading the values finds it. The second cuts the footer off.
    for damaged in (
        content[:4] + bytes(len(content) // 2) + content[4 + len(content) // 2 :],
        content[: len(content) // 2],
    ):
        part = store.path(store.keys("history/p/demand", "*.parquet")[0])
        part.write_bytes(damaged)
        report = ingest(settings, store, datetime(2018, 6, 15, tzinfo=UTC), LATE)["feeds"]["demand"]
        assert report["damaged"] == [f"{part}.damaged"]
        assert history.read_as_of(store, "p", "demand", ["y"], LATE).equals(before)


def test_rows_of_a_damaged_part_that_the_source_no_longer_has_are_a_failure(tmp_path: Path) -> None:
    sample(20).write_parquet(tmp_path / "load.parquet")
    settings = pipeline_of(tmp_path, "load.parquet")
    store = open_folder(settings.pipeline.store)
    ingest(settings, store, LATE, LATE)
    part = store.path(store.keys("history/p/demand", "*.parquet")[0])
    part.write_bytes(part.read_bytes()[:-1] + b"?")
    sample(10).write_parquet(tmp_path / "load.parquet")
    report = ingest(settings, store, LATE, LATE)
    assert "does not have all of their rows any more" in report["failures"]["demand"]
    assert report["feeds"]["demand"]["damaged"] == [f"{part}.damaged"]
    assert ingest(settings, store, LATE, LATE)["failures"] == {}


def ingest_and_damage(folder: Path) -> tuple[Pipeline, Store, pl.DataFrame]:
    """Ingest `load.parquet` and flip a bit of its history part. Return settings, store, and the history before."""
    sample(20).write_parquet(folder / "load.parquet")
    settings = pipeline_of(folder, "load.parquet")
    store = open_folder(settings.pipeline.store)
    ingest(settings, store, LATE, LATE)
    before = history.read_as_of(store, "p", "demand", ["y"], LATE)
    part = store.path(store.keys("history/p/demand", "*.parquet")[0])
    content = bytearray(part.read_bytes())
    content[content.index(b"gatecrc")] ^= 1
    part.write_bytes(bytes(content))
    return settings, store, before


def test_a_source_read_until_an_older_time_has_not_replaced_a_damaged_part(tmp_path: Path) -> None:
    settings, store, before = ingest_and_damage(tmp_path)
    older = before["valid_time"][len(before) // 2]
    assert "were read again. Run `gatecast ingest`" in ingest(settings, store, older, LATE)["failures"]["demand"]
    assert len(history.read_as_of(store, "p", "demand", ["y"], LATE)) < len(before)
    assert ingest(settings, store, LATE, LATE)["failures"] == {}
    assert history.read_as_of(store, "p", "demand", ["y"], LATE).equals(before)


def test_a_feed_is_read_from_its_start_until_a_damaged_part_was_replaced(tmp_path: Path) -> None:
    """The source does not answer in the run that finds the damage."""
    settings, store, before = ingest_and_damage(tmp_path)
    (tmp_path / "load.parquet").rename(tmp_path / "away.parquet")
    with pytest.raises(DataError, match="no such file"):
        ingest(settings, store, LATE, LATE)
    (tmp_path / "away.parquet").rename(tmp_path / "load.parquet")
    assert ingest(settings, store, LATE, LATE)["failures"] == {}
    assert history.read_as_of(store, "p", "demand", ["y"], LATE).equals(before)


def test_a_part_that_cannot_be_read_is_a_failure_and_new_rows_are_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root may read any file, so the error of the system is simulated."""
    settings = pipeline_of(tmp_path, "load.parquet")
    store = open_folder(settings.pipeline.store)
    sample(10).write_parquet(tmp_path / "load.parquet")
    ingest(settings, store, LATE, LATE)
    part = store.path(store.keys("history/p/demand", "*.parquet")[0])
    really = checksum.verify_file

    def verify_file(path: Path) -> None:
        if path == part:
            raise PermissionError(13, "Permission denied", str(path))
        really(path)

    monkeypatch.setattr(checksum, "verify_file", verify_file)
    sample(20).write_parquet(tmp_path / "load.parquet")
    report = ingest(settings, store, LATE, LATE)
    assert f"1 of 1 parts that cannot be read: {part} cannot be read: Permission denied" in report["failures"]["demand"]
    assert report["feeds"]["demand"]["added"] == 3 * 24 * 20 and part.is_file()
    monkeypatch.undo()
    assert len(history.read_as_of(store, "p", "demand", ["y"], LATE)) == 3 * 24 * 20


def test_a_forecast_is_published_without_parts_that_cannot_be_used(tmp_path: Path) -> None:
    settings = pipeline_of(tmp_path, "load.parquet")
    store = open_folder(settings.pipeline.store)
    problems = iter([
        history_parts.DamagedHistory("demand", "is damaged", ["history/p/demand/a.parquet"]),
        history_parts.UnreadableHistory("demand", "cannot be read", ["history/p/demand/b.parquet"]),
    ])  # fmt: skip
    for name in "abc":
        store.put_parquet(f"history/p/demand/{name}.parquet", pl.DataFrame(schema=history_schema(["y"])))
    store.put("history/p/demand/a.parquet", b"PAR1")

    def publish(store: Store, reason: str | None) -> dict[str, object]:
        for problem in problems:
            raise problem
        return {"reason": reason, "parts": store.keys("history/p/demand", "*.parquet")}

    assert publish_despite_damage(settings, store, publish) == {
        "reason": "the history of feed 'demand' is damaged; the history of feed 'demand' cannot be read",
        "parts": ["history/p/demand/c.parquet"],
    }
    # A part that proves to be good was only read wrong, and stays.
    problems = iter([history_parts.DamagedHistory("demand", "is damaged", ["history/p/demand/b.parquet"])])
    assert publish_despite_damage(settings, store, publish) == {
        "reason": None, "parts": ["history/p/demand/b.parquet", "history/p/demand/c.parquet"],
    }  # fmt: skip


def test_what_cannot_be_read_is_named_if_nothing_can_be_published_without_it(tmp_path: Path) -> None:
    settings = pipeline_of(tmp_path, "none.parquet")

    def publish(store: Store, reason: str | None) -> None:
        if reason is None:
            raise history_parts.UnreadableHistory("demand", "cannot be read: links in a loop", ["a.parquet"])
        raise DataError("no target value was known")

    with pytest.raises(DataError, match=r"'demand' cannot be read: links in a loop; no target value was known$"):
        publish_despite_damage(settings, open_store(settings.pipeline.store), publish)
