"""Problems of feeds that can be read, and of the store, which a check reports."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from flows.settings import file as pipeline_file
from flows.stages.check import check
from tests.support.commands import clear, gatecast

FILE = """
[pipeline]
name = "p"
store = "{store}"
frequency = "{frequency}"
timezone = "Europe/Madrid"
{extra}

[[feed]]
name = "demand"
role = "target"
uri = "demand.csv"
valid_time = "time"
values = ["y"]
time_zone = "Europe/Madrid"
"""
START = datetime(2018, 1, 1)
NOW = datetime(2018, 11, 1, tzinfo=UTC)


def failures(
    folder: Path, frequency: str, minutes: int, rows: int = 3000, extra: str = "", store: str = "./store",
    form: str = "%Y-%m-%d %H:%M",
) -> dict[str, str]:  # fmt: skip
    """Return the failures of a check of values that are `minutes` apart."""
    times = [START + timedelta(minutes=minutes * number) for number in range(rows)]
    lines = [f"{time.strftime(form)},{100 + number % 37}" for number, time in enumerate(times)]
    (folder / "demand.csv").write_text("\n".join(["time,y", *lines, ""]))
    path = folder / "p.toml"
    path.write_text(FILE.format(frequency=frequency, extra=extra, store=store))
    return check(pipeline_file.read(path, {}), NOW)["failures"]


@pytest.mark.parametrize(
    ("frequency", "minutes", "looks"),
    [("1h", 24 * 60, "daily"), ("1d", 60, "hourly"), ("1h", 30, "half-hourly"), ("30m", 60, "hourly"),
     ("15m", 30, "half-hourly"), ("1h", 15, "quarter-hourly")],
)  # fmt: skip
def test_another_frequency_is_named(tmp_path: Path, frequency: str, minutes: int, looks: str) -> None:
    found = failures(tmp_path, frequency, minutes, 250)
    right = {"daily": "1d", "hourly": "1h", "half-hourly": "30m", "quarter-hourly": "15m"}[looks]
    assert list(found) == ["demand"]
    assert found["demand"].startswith(
        f'feed \'demand\': this looks {looks}, but pipeline.frequency is "{frequency}". Set frequency = "{right}", or '
    )


def test_the_right_frequency_has_no_failure(tmp_path: Path) -> None:
    assert failures(tmp_path, "1h", 60) == {}
    assert failures(tmp_path, "1d", 24 * 60, 300) == {}


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ("horizon = 4000", "pipeline.horizon: the context of 336 and the horizon of 4,000 steps need 4,336 steps, but "
         "the target has only 2,999, from 2018-01-01 to 2018-05-05"),
        ("context = 4000", "pipeline.context: the context of 4,000"),
        ("context = 2900", "feed 'demand': 2,999 steps of history, from 2018-01-01 to 2018-05-05, are too few"),
    ],
)  # fmt: skip
def test_steps_beyond_the_history(tmp_path: Path, extra: str, words: str) -> None:
    assert words in failures(tmp_path, "1h", 60, extra=extra)["demand"]


@pytest.mark.parametrize("store", ["/proc/store", "./demand.csv/store"])
def test_a_store_that_cannot_be_written(tmp_path: Path, store: str) -> None:
    words = "cannot be written"
    assert words in failures(tmp_path, "1h", 60, store=store)["pipeline.store"]
    clear(gatecast("check", tmp_path / "p.toml"), 1, "pipeline.store", words)
    clear(gatecast("ingest", tmp_path / "p.toml"), 1, "store", words, "pipeline.store")


def test_a_check_leaves_nothing_behind(tmp_path: Path) -> None:
    assert failures(tmp_path, "1h", 60, store="./new/store") == {}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["demand.csv", "p.toml"]


def test_the_days_of_a_backfill_are_checked_before_prefect_starts(tmp_path: Path) -> None:
    failures(tmp_path, "1h", 60)
    path = tmp_path / "p.toml"
    days = {"2018-13-01": "2018-13-01", "2018-08-01": "before the start", "2999-01-01": "still to come"}
    for end, words in days.items():
        clear(gatecast("backfill", path, "--start", "2018-09-01", "--end", end), 2, end, words)


def test_an_exclusion_of_the_whole_history_is_an_error(tmp_path: Path) -> None:
    exclude = '[training]\nexclude = ["{}"]'
    found = failures(tmp_path, "1h", 60, extra=exclude.format("2018-01-05/2018-12-31"))
    assert [text.partition(":")[0] for text in found.values()] == ["training.exclude"]
    assert '["2018-01-05/2018-12-31"] leaves nothing to train on: the target has values from ' in (
        next(iter(found.values()))
    )
    assert not failures(tmp_path, "1h", 60, extra=exclude.format("2018-01-05/2018-03-31"))
