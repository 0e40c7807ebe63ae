"""Feeds of another form than declared: one sentence with the first cell, and nothing silently wrong."""

from __future__ import annotations

import codecs
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from flows.settings import file as pipeline_file
from flows.settings.file import PipelineFileError
from flows.stages.check import check
from flows.stages.ingest import ingest
from storage import history, quarantine
from storage.schemas import DataError
from tests.support.commands import gatecast

FILE = """
[pipeline]
name = "p"
store = "./store"
frequency = "1h"
bounds = {{ max = 500.0 }}

[[feed]]
name = "demand"
role = "target"
uri = "load.csv"
valid_time = "time"
values = ["y"]
{options}
[[feed]]
name = "weather"
role = "known_future"
uri = "weather.csv"
valid_time = "time"
values = ["temperature"]
{more}
"""
FIRST = datetime(2018, 9, 1)
LATE = datetime(2018, 11, 1, tzinfo=UTC)
HOURS = 48


def write(folder: Path, form: str, value: float = 0.0, options: str = "", more: str = "", ahead: int = 24) -> Path:
    """Write a pipeline whose target has times of a form, and whose weather ends `ahead` hours after the target."""
    times = [FIRST + timedelta(hours=hour) for hour in range(HOURS + ahead)]
    rows = [f"{time.replace(tzinfo=UTC).strftime(form)},{hour + value}" for hour, time in enumerate(times[:HOURS])]
    (folder / "load.csv").write_text("\n".join(["time,y", *rows, ""]))
    (folder / "weather.csv").write_text("\n".join(["time,temperature", *(f"{time},1.5" for time in times), ""]))
    path = folder / "p.toml"
    path.write_text(FILE.format(options=f"[feed.options]\n{options}\n" if options else "", more=more))
    return path


@pytest.mark.parametrize(
    ("form", "value", "words"),
    [
        ("%d/%m/%Y %H:%M", 0, ["time is not a time", "'01/09/2018 00:00'", '"2018-09-01 00:00"', "time_format"]),
        ("%s", 0, ["'1535760000'", 'time_format = "epoch_s"']),
        ("%Y-%m-%d %H:%M", 480, ["y is above the bound 500.0", "first: 501.0 at 2018-09-01 21:00"]),
        ("%Y-%m-%d %H:17", 0, ["time is not on the 1h grid", "first at 2018-09-01 00:17", "resample"]),
    ],
)
def test_a_feed_of_which_most_rows_are_refused_is_a_failure(
    tmp_path: Path, form: str, value: float, words: list[str]
) -> None:
    path = write(tmp_path, form, value)
    settings, store = pipeline_file.open_pipeline(path)
    report = ingest(settings, store, LATE, LATE)
    assert list(report["failures"]) == ["demand"]
    assert check(settings, LATE)["failures"] == report["failures"]
    for word in ["feed 'demand'", f"of {HOURS} rows are refused", *words]:
        assert word in report["failures"]["demand"]
    # A nightly run has a time limit, and continues with the failure.
    assert ingest(settings, store, LATE, LATE, timeout=60)["failures"] == report["failures"]
    counts = report["feeds"]["demand"]
    assert counts["read"] == counts["added"] + counts["refused"]
    # The other feed is stored, and the refused rows are in quarantine.
    assert len(history.read_as_of(store, "p", "weather", ["temperature"], LATE)) == HOURS + 24
    assert len(quarantine.read(store, "p", "demand")) == counts["refused"]


def test_a_feed_that_cannot_be_used_leaves_the_others_stored(tmp_path: Path) -> None:
    path = write(tmp_path, "%Y-%m-%d %H:%M")
    text = (tmp_path / "weather.csv").read_text().replace("1.5", "mild")
    (tmp_path / "weather.csv").write_text(text)
    settings, store = pipeline_file.open_pipeline(path)
    report = ingest(settings, store, LATE, LATE)
    assert report["feeds"]["demand"]["added"] == HOURS
    assert list(report["failures"]) == ["weather"]
    assert "column 'temperature' holds text" in report["failures"]["weather"]
    # If no feed can be used, the error has the sentences of all.
    (tmp_path / "load.csv").unlink()
    with pytest.raises(DataError, match=r"feed 'demand': .*; feed 'weather': "):
        ingest(settings, store, LATE, LATE)


def test_the_commands_fail_with_one_sentence(tmp_path: Path) -> None:
    path = write(tmp_path, "%d/%m/%Y %H:%M")
    for command in ("check", "ingest"):
        done = gatecast(command, path)
        assert done.returncode == 1
        assert done.stderr.count("error: feed 'demand': 48 of 48 rows are refused") == 1
    path = write(tmp_path, "%d/%m/%Y %H:%M", options='time_format = "%d/%m/%Y %H:%M"')
    assert gatecast("ingest", path).returncode == 0


def test_a_kind_of_reason_is_one_line(tmp_path: Path) -> None:
    path = write(tmp_path, "%Y-%m-%d %H:%M", 460)
    lines = [line for line in gatecast("ingest", path).stdout.splitlines() if "refused:" in line]
    assert lines == [
        "demand: 7 of 48 rows refused: y is above the bound 500.0 (first: 501.0 at 2018-09-02 17:00 in row 42)"
    ]


def test_overlapping_files_are_no_failure(tmp_path: Path) -> None:
    path = write(tmp_path, "%Y-%m-%d %H:%M")
    for copy in range(3):
        (tmp_path / f"load{copy}.csv").write_bytes((tmp_path / "load.csv").read_bytes())
    path.write_text(path.read_text().replace("load.csv", "load*.csv"))
    settings, store = pipeline_file.open_pipeline(path)
    report = ingest(settings, store, LATE, LATE)
    assert report["feeds"]["demand"]["refused"] == 3 * HOURS and not report["failures"]


def test_actual_weather_as_known_future_is_explained(tmp_path: Path) -> None:
    report = check(pipeline_file.read(write(tmp_path, "%Y-%m-%d %H:%M", ahead=0)), LATE)
    assert "no value is later than the newest target, 2018-09-02T23:00+00:00" in report["warnings"]["weather"]
    assert 'role = "observed"' in report["warnings"]["weather"]
    assert report["failures"]["weather"] == report["warnings"]["weather"], "such a covariate never reaches a horizon"
    for ahead, more in ((24, ""), (0, 'available_at = "time"')):
        path = write(tmp_path, "%Y-%m-%d %H:%M", ahead=ahead, more=more)
        assert not check(pipeline_file.read(path), LATE)["warnings"]


def test_a_byte_order_mark_in_the_pipeline_file(tmp_path: Path) -> None:
    path = write(tmp_path, "%Y-%m-%d %H:%M")
    content = path.read_bytes()
    path.write_bytes(codecs.BOM_UTF8 + content)
    assert pipeline_file.read(path).name == "p"
    path.write_bytes(content.decode().encode("utf-16"))
    with pytest.raises(PipelineFileError, match="it is not in UTF-8"):
        pipeline_file.read(path)


def test_options_reach_every_source(tmp_path: Path) -> None:
    path = write(tmp_path, "%Y-%m-%d %H:%M")
    (tmp_path / "load.csv").write_text("Report\nWann;y\n01.09.2018 01:00;1.000,5\n01.09.2018 24:00;n/e\n")
    options = 'separator = ";"\nskip_rows = 1\nthousands = "."\nmissing = ["n/e"]\nlabel = "end"\n'
    text = path.read_text().replace('values = ["y"]', f'values = ["y"]\n[feed.options]\n{options}', 1)
    path.write_text(
        text.replace('"time"', '"Wann"', 1).replace("max = 500.0", "max = 5000.0")
        .replace("[feed.options]", '[feed.options]\ntime_format = "%d.%m.%Y %H:%M"')
    )  # fmt: skip
    settings, store = pipeline_file.open_pipeline(path)
    ingest(settings, store, LATE, LATE)
    rows = history.read_as_of(store, "p", "demand", ["y"], LATE).drop("series_id")
    assert rows.rows() == [
        (datetime(2018, 9, 1, 0, tzinfo=UTC), 1000.5), (datetime(2018, 9, 1, 23, tzinfo=UTC), None),
    ]  # fmt: skip


def test_options_of_text_in_a_database(tmp_path: Path) -> None:
    path = write(tmp_path, "%Y-%m-%d %H:%M")
    frame = pl.DataFrame({"time": ["01/09/2018 00:00", "01/09/2018 01:00"], "y": ["1,5", "2,5"]})
    frame.write_database("load", f"sqlite:///{tmp_path}/a.db", engine="adbc")
    source = f'"sqlite:///{tmp_path}/a.db"\nquery = "select * from load"'
    options = '[feed.options]\ntime_format = "%d/%m/%Y %H:%M"\ndecimal = ","\n'
    text = path.read_text().replace('"load.csv"', source).replace('values = ["y"]', f'values = ["y"]\n{options}', 1)
    path.write_text(text)
    settings, store = pipeline_file.open_pipeline(path)
    ingest(settings, store, LATE, LATE)
    assert history.read_as_of(store, "p", "demand", ["y"], LATE)["y"].to_list() == [1.5, 2.5]
