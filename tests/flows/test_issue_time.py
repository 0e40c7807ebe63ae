"""Choice of the issue time: by the clock, by the newest data, or as requested."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from flows.clock import TimeError
from flows.issue_time import check_requested, choose_issue_time
from flows.settings import file as pipeline_file
from flows.settings.pipeline import Pipeline
from storage import history
from storage.store import Store, open_store
from tests.support.commands import clear, gatecast
from tests.support.made import hourly

GAS = """
[pipeline]
name = "gas"
store = "./store"
frequency = "1h"
timezone = "Europe/Madrid"
issue_at = "09:00"

[[feed]]
name = "demand"
role = "target"
uri = "gas.parquet"
valid_time = "ds"
values = ["y"]
"""


@pytest.fixture
def made(tmp_path: Path, utc: Callable[..., datetime]) -> tuple[Pipeline, Store]:
    """A pipeline whose target ends on 2018-08-31 20:00 UTC."""
    path = tmp_path / "gas.toml"
    path.write_text(GAS)
    settings = pipeline_file.read(path, {})
    store = open_store(settings.pipeline.store)
    rows = hourly(utc(2018, 8, 1), np.ones(30 * 24 + 20))
    history.append(store, "gas", "demand", rows, utc(2018, 9, 1))
    return settings, store


def test_the_default_follows_from_the_clock_and_newest_from_the_data(
    made: tuple[Pipeline, Store], utc: Callable[..., datetime]
) -> None:
    now = utc(2018, 9, 5, 6, 59)
    assert choose_issue_time(*made, None, now) == utc(2018, 9, 4, 7)
    assert choose_issue_time(*made, None, now + timedelta(minutes=1)) == utc(2018, 9, 5, 7)
    assert choose_issue_time(*made, "newest", now) == utc(2018, 8, 31, 7)


def test_a_day_means_its_issue_time_and_the_future_is_refused(
    made: tuple[Pipeline, Store], utc: Callable[..., datetime]
) -> None:
    now = utc(2018, 9, 5)
    assert choose_issue_time(*made, "2018-09-01", now) == utc(2018, 9, 1, 7)
    for wrong in ("2999-01-01", "2999-01-01T05:00Z"):
        with pytest.raises(TimeError, match="after the present time"):
            check_requested(made[0], wrong)


@pytest.mark.parametrize(
    ("command", "option"),
    [("forecast", "--issue-time"), ("nightly", "--issue-time"), ("train", "--as-of"), ("ingest", "--as-of")],
)
def test_a_future_time_is_a_wrong_command_line(made: tuple[Pipeline, Store], command: str, option: str) -> None:
    path = Path(made[0].pipeline.store).parent / "gas.toml"
    clear(gatecast(command, path, option, "2999-01-01"), 2, "2999-01-01", "present time")
    clear(gatecast(command, path, option, "yesterday"), 2, "yesterday", "ISO 8601")


def test_an_issue_time_is_a_whole_second(made: tuple[Pipeline, Store], utc: Callable[..., datetime]) -> None:
    """The name of a forecast file has seconds, so that a fraction would replace the file of another issue time."""
    with pytest.raises(TimeError, match="has a fraction of a second"):
        choose_issue_time(*made, "2018-09-01T09:00:00.5", utc(2018, 9, 5))
    with pytest.raises(TimeError, match="has a fraction of a second"):
        check_requested(made[0], "2018-09-01T09:00:00.5")
