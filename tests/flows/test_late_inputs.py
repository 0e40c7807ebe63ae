"""Late inputs of a forecast, beside what their feed declares and what is typical for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import cast

import polars as pl
import pytest
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st

from flows import clock
from flows.settings import file as pipeline_file
from flows.settings.pipeline import Pipeline
from flows.stages.forecast import forecast
from flows.stages.late_inputs import find_late_inputs
from flows.stages.panels import to_micros, visible_panel
from storage import history, history_parts, run_records
from storage.schemas.records import LateInput, RunRecord
from storage.store import Store, open_store

FILE = """
[pipeline]
name = "p"
store = "./store"
frequency = "{frequency}"
timezone = "Europe/Madrid"
{extra}

[[feed]]
name = "demand"
role = "target"
uri = "demand.parquet"
series_id = "series_id"
valid_time = "ds"
values = ["y"]
available_after = "{after}"

[[feed]]
name = "weather"
role = "known_future"
uri = "weather.parquet"
series_id = "series_id"
valid_time = "ds"
values = ["t", "w"]
"""
GAS_DAY = 'day_start = "06:00"\nissue_at = "09:00"\n'
START, ISSUE = datetime(2018, 9, 1), "2018-12-03"


class World:
    """A store with demand and weather of two series, a and b, until the steps that a test gives."""

    def __init__(self, folder: Path, frequency: str = "1d", extra: str = GAS_DAY, after: str = "0h") -> None:
        folder.mkdir(exist_ok=True)
        path = folder / "p.toml"
        path.write_text(FILE.format(frequency=frequency, extra=extra, after=after))
        self.settings: Pipeline = pipeline_file.read(path, {})
        self.store: Store = open_store(self.settings.pipeline.store)
        self.issue = self.at(ISSUE)
        self.first = self.settings.grid.first_step(to_micros(self.issue))

    def at(self, day: str) -> datetime:
        section = self.settings.pipeline
        return clock.parse_time(day, section.timezone, section.issue_at)

    def periods(self, behind: int) -> pl.Series:
        """The periods from START to the one `behind` steps before the issue time's first."""
        grid = self.settings.grid
        begin = grid.first_step(to_micros(self.at(f"{START:%Y-%m-%d}")))
        steps = pl.arange(begin, self.first - behind + 1, eager=True).to_numpy()
        return pl.Series("valid_time", grid.start(steps)).cast(pl.Datetime("us", "UTC"))

    def add(self, feed: str, behind: int, ingested: datetime, series: str = "ab", **columns: pl.Expr) -> None:
        """Add the rows of a feed, the newest of which is `behind` steps before the first step of the forecast."""
        values = {"y": pl.lit(1.0)} if feed == "demand" else {"t": pl.lit(1.0), "w": pl.lit(2.0)}
        delay = self.settings.feeds("target")[0].available_after
        periods = self.periods(behind)
        grid = self.settings.grid
        ends = pl.Series(grid.end(grid.index(periods.dt.epoch("us").to_numpy()))).cast(pl.Datetime("us", "UTC"))
        known = ends + delay if feed == "demand" else pl.lit(None, pl.Datetime("us", "UTC"))
        rows = [
            pl.DataFrame({"valid_time": periods}).with_columns(
                series_id=pl.lit(name), **({"available_at": known, **values} | columns)
            )
            for name in series
        ]
        table = pl.concat(rows).select("series_id", "valid_time", "available_at", *values)
        history.append(self.store, "p", feed, table, ingested)

    def know_when_published(self) -> None:
        """Let the target's source state when each value became known."""
        feed = self.settings.feeds("target")[0].model_copy(update={"available_at": "known"})
        weather = self.settings.feeds("known_future")[0]
        self.settings = self.settings.model_copy(update={"feed": (feed, weather)})

    def late(self) -> dict[str, list[LateInput]]:
        section = self.settings.pipeline
        steps = section.context + section.horizon
        series = ("a", "b")
        panel = visible_panel(self.settings, self.store, series, self.issue, self.first - section.context, steps)
        return find_late_inputs(self.settings, self.store, self.issue, panel)

    def reasons(self) -> dict[str, str]:
        return {name: "; ".join(one["reason"] for one in late) for name, late in self.late().items()}


@pytest.fixture
def loaded(utc: Callable[..., datetime]) -> datetime:
    """A bulk load before all issue times."""
    return utc(2018, 12, 3)


def test_a_gas_day_that_has_not_ended_is_not_late(tmp_path: Path, loaded: datetime) -> None:
    """At 09:00, the gas day of the issue time has begun. The one before has ended."""
    world = World(tmp_path)
    world.add("demand", 2, loaded)
    world.add("weather", -7, loaded)
    assert world.late() == {}


def test_a_gas_day_that_is_missing_is_late(tmp_path: Path, loaded: datetime) -> None:
    world = World(tmp_path)
    world.add("demand", 3, loaded, "a")
    world.add("demand", 2, loaded, "b")
    world.add("weather", -7, loaded)
    assert world.late() == {
        "a": [
            {
                "feed": "demand",
                "reason": "demand: the newest period is 2018-12-01, 1 period late by available_after = 0h, usually 0",
            }
        ]
    }


@pytest.mark.parametrize(("hours", "days"), [(3, 0), (2, 9), (0, 30)])
def test_hours_that_are_missing_are_late(tmp_path: Path, loaded: datetime, hours: int, days: int) -> None:
    """By hours, by days, and by more than the context."""
    world = World(tmp_path, "1h", "")
    late = hours + 24 * days
    world.add("demand", 1 + late, loaded)
    world.add("weather", -24, loaded)
    assert f"{late:,} periods late" in world.reasons()["a"]
    assert world.late().keys() == {"a", "b"}


def test_the_hour_of_a_clock_change_is_not_late(tmp_path: Path, utc: Callable[..., datetime]) -> None:
    """Weather without the repeated hour, in the horizon of the change and in the context of the next issue times."""
    world = World(tmp_path, "1h", "")
    for day in ("2018-10-28", "2018-10-29"):
        world.issue = world.at(day)
        world.first = world.settings.grid.first_step(to_micros(world.issue))
        repeated = pl.col("valid_time") == utc(2018, 10, 28, 1)
        value = pl.when(~repeated).then(pl.lit(1.0))
        world.add("demand", 0, utc(2018, 11, 1), y=value)
        world.add("weather", -26, utc(2018, 11, 1), t=value, w=value)
        assert world.late() == {}


def test_a_declared_delay_is_not_late(tmp_path: Path, loaded: datetime) -> None:
    world = World(tmp_path, after="72h")
    world.add("demand", 5, loaded)
    world.add("weather", -7, loaded)
    assert world.late() == {}
    late = World(tmp_path / "late", after="72h")
    late.add("demand", 6, loaded)
    late.add("weather", -7, loaded)
    assert "1 period late by available_after = 72h" in late.reasons()["a"].replace("3d", "72h")


def test_a_delay_of_each_ingest_is_usual(tmp_path: Path) -> None:
    """Values that reach the history two days late on each day, and one day later tonight."""
    world = World(tmp_path)
    world.add("weather", -7, world.issue - timedelta(days=9))
    for back in range(8, 0, -1):
        world.add("demand", 4 + back, world.issue - timedelta(days=back))
    assert "3 periods late by available_after = 0h, usually 2" in world.reasons()["a"]
    world.add("demand", 4, world.issue)
    assert world.late() == {}


def test_a_delay_by_failed_ingests_is_not_usual(tmp_path: Path) -> None:
    """The same delays, but of runs that could not ingest the feed, so that they are no property of the source."""
    world = World(tmp_path)
    world.add("weather", -7, world.issue - timedelta(days=9))
    for back in range(8, 0, -1):
        issue = world.issue - timedelta(days=back)
        world.add("demand", 4 + back, issue)
        record = {
            "issue_time": issue.isoformat(),
            "published_at": issue.isoformat(),
            "failures": {"ingest:demand": "?"},
        }
        run_records.write(world.store, "p", issue, cast(RunRecord, record))
    world.add("demand", 4, world.issue)
    assert "2 periods late by available_after = 0h, usually 0" in world.reasons()["a"]


@given(usual=st.integers(0, 5), present=st.integers(0, 5))
@limits(max_examples=4, deadline=None)
def test_only_what_is_later_than_usual_is_late(
    tmp_path_factory: pytest.TempPathFactory, usual: int, present: int
) -> None:
    """A source states when each value became known: on each day as late as drawn, tonight by `present` days."""
    world = World(tmp_path_factory.mktemp("world"))
    world.know_when_published()
    delay = pl.col("valid_time") + pl.duration(days=1 + usual)
    is_held = pl.col("valid_time") >= world.issue - timedelta(days=present, hours=4)
    world.add(
        "demand",
        1,
        world.issue,
        available_at=pl.when(is_held).then(pl.lit(world.issue + timedelta(days=9))).otherwise(delay),
    )
    world.add("weather", -7, world.issue)
    assert bool(world.late()) == (present > usual)


def test_revisions_show_what_is_usual(tmp_path: Path, loaded: datetime) -> None:
    """A source that states when each value became known: three days late on each day."""
    world = World(tmp_path)
    world.know_when_published()
    known = pl.col("valid_time") + timedelta(days=4)
    world.add("demand", 0, loaded, "a")
    world.add("weather", -7, loaded)
    rows = history.read_revisions(world.store, "p", "demand", ["y"], datetime(9999, 1, 1, tzinfo=loaded.tzinfo))
    other = rows.with_columns(series_id=pl.lit("b"), available_at=known)
    history.append(world.store, "p", "demand", other, loaded)
    assert world.late() == {}
    # Since three days, none has become known.
    held = other.with_columns(
        available_at=pl.when(pl.col("valid_time") < world.issue - timedelta(days=7)).then(known)
        .otherwise(pl.lit(world.issue + timedelta(days=1)))
    )  # fmt: skip
    history_parts.set_all_aside(world.store, "p", "demand")
    history.append(world.store, "p", "demand", pl.concat([rows, held]), loaded)
    assert world.late().keys() == {"b"}
    assert "late by the end of the last period, usually 3" in world.reasons()["b"]


def test_a_covariate_of_the_horizon_that_is_missing(tmp_path: Path, loaded: datetime) -> None:
    world = World(tmp_path)
    world.add("demand", 2, loaded)
    world.add("weather", 1, loaded, "a")
    world.add("weather", -4, loaded, "b")
    assert world.reasons() == {
        "a": "weather: 0 of 7 periods of the horizon, usually 7; the newest period is 2018-12-03",
        "b": "weather: 5 of 7 periods of the horizon, usually 7; the newest period is 2018-12-08",
    }


def test_only_the_column_that_is_missing_is_named(tmp_path: Path, loaded: datetime) -> None:
    world = World(tmp_path)
    world.add("demand", 2, loaded)
    world.add("weather", -7, loaded, w=pl.when(pl.col("valid_time") < world.issue).then(pl.lit(1.0)))
    assert world.reasons()["a"].startswith("weather (w): 0 of 7 periods")


def test_a_covariate_that_no_series_ever_had(tmp_path: Path, loaded: datetime) -> None:
    world = World(tmp_path)
    world.add("demand", 2, loaded)
    world.add("weather", -7, loaded, "c")
    assert world.reasons()["a"] == "weather: 0 of 7 periods of the horizon, and no earlier value of any series"
    # One series without weather of its own is typical for it.
    world.add("weather", -7, loaded, "b")
    assert world.late() == {}


def test_a_week_without_weather_is_not_usual(tmp_path: Path, utc: Callable[..., datetime]) -> None:
    """A feed that fails for a week: the lateness of this week is no measure."""
    world = World(tmp_path)
    world.add("demand", 2, world.issue)
    world.add("weather", 1, world.issue - timedelta(days=8))
    assert "0 of 7 periods of the horizon, usually 7" in world.reasons()["a"]


@pytest.fixture
def late_world(tmp_path: Path, loaded: datetime) -> Iterator[World]:
    """A world whose weather of b is missing, without a model."""
    world = World(tmp_path)
    world.add("demand", 2, loaded)
    world.add("weather", -7, loaded, "a")
    world.add("weather", 1, loaded, "b")
    yield world


def test_the_report_names_late_inputs_by_feed_and_rows_by_series(late_world: World) -> None:
    report = forecast(late_world.settings, late_world.store, late_world.issue, needs_champion=False)
    weather = "weather: 0 of 7 periods of the horizon, usually 7; the newest period is 2018-12-03"
    assert report["incomplete"] == {"weather": f"{weather} (1 of 2 series)"}
    rows = pl.read_parquet(report["path"])
    reasons = dict(rows.select("series_id", "reason").unique().iter_rows())
    assert weather not in reasons["a"] and reasons["b"].endswith(f"; {weather}")
