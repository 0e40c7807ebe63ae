"""Scores of forecasts of the real sample, recomputed by other means."""

from __future__ import annotations

import json
import os
import shutil
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Literal
from zoneinfo import ZoneInfo

import duckdb
import numpy as np
import polars as pl
import pytest

from flows.settings import file as pipeline_file
from flows.stages.forecast import forecast
from flows.stages.ingest import ingest
from flows.stages.retrain import retrain_reason
from flows.stages.score import score, score_forecast
from flows.stages.trained_models import read_trained_models
from storage import forecasts, layout, registry, scores
from storage.schemas import DataError, score_schema
from storage.store import FolderStore, Store
from tests.support.narrow import as_number, open_folder, present
from tests.support.pipelines import SAMPLES, write_pipeline

NEW_YORK = ZoneInfo("America/New_York")
NOW = datetime(2018, 10, 1, tzinfo=UTC)
DAYS = range(1, 11)


def midnight(day: int, month: int = 9) -> datetime:
    """Return midnight of a day in New York as UTC."""
    return datetime(2018, month, day, tzinfo=NEW_YORK).astimezone(UTC)


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a pipeline with the history up to October and ten baseline forecasts."""
    folder = tmp_path_factory.mktemp("scores")
    settings, store = open_pipeline(write_pipeline(folder).parent)
    ingest(settings, store, NOW, NOW)
    for day in DAYS:
        forecast(settings, store, midnight(day), needs_champion=False)
    return folder


@pytest.fixture
def folder(published: Path, tmp_path: Path) -> Path:
    """Return a copy of `published` that a test may change."""
    shutil.copytree(published, tmp_path / "copy")
    return tmp_path / "copy"


def open_pipeline(folder: Path) -> tuple[pipeline_file.Pipeline, FolderStore]:
    (file,) = folder.glob("*.toml")
    settings = pipeline_file.read(file, {})
    return settings, open_folder(settings.pipeline.store)


def forecast_rows(settings: pipeline_file.Pipeline, store: FolderStore, issue_time: datetime) -> pl.DataFrame:
    return forecasts.read(store, settings.name, settings.pipeline.timezone, issue_time)[0]


def score_files(store: FolderStore) -> dict[str, tuple[bytes, int]]:
    """Return bytes and modification time of every score file, by the stamp in its name."""
    paths = (store.path(key) for key in store.keys("scores", "*.parquet"))
    return {path.stem: (path.read_bytes(), path.stat().st_mtime_ns) for path in paths}


def find_scores(store: Store, pipeline: str, issue_time: datetime) -> pl.DataFrame:
    """Return the score rows of an issue time that has been scored."""
    return present(scores.find(store, pipeline, issue_time))[0]


def correct_feed(folder: Path, series: str, when: datetime, value: float | None, hours: int = 1) -> None:
    """Change the value of the feed at one local time, and ingest it some hours after NOW."""
    settings, store = open_pipeline(folder)
    path = folder / "load.parquet"
    here = (pl.col("series_id") == series) & (pl.col("ds") == pl.lit(when.replace(tzinfo=None)))
    rows = pl.read_parquet(path)
    assert rows.filter(here).height == 1
    rows.with_columns(y=pl.when(here).then(pl.lit(value, pl.Float64)).otherwise("y")).write_parquet(path)
    ingest(settings, store, NOW, NOW + timedelta(hours=hours))


def test_a_baseline_row_scores_as_the_baseline_to_the_last_bit(published: Path) -> None:
    settings, store = open_pipeline(published)
    scored = score_forecast(settings, store, forecast_rows(settings, store, midnight(3)))
    assert dict(scored.schema) == score_schema()
    assert (len(scored), scored["status"].unique().to_list()) == (72, ["baseline"])
    for column in ("pinball", "absolute_error", "covered_80"):
        assert scored[column].equals(scored[f"baseline_{column}"].alias(column))


def test_rows_of_several_issue_times_or_another_grid_are_refused(published: Path) -> None:
    settings, store = open_pipeline(published)
    rows = forecast_rows(settings, store, midnight(3))
    with pytest.raises(DataError, match="one issue time"):
        score_forecast(settings, store, pl.concat([rows, forecast_rows(settings, store, midnight(4))]))
    with pytest.raises(DataError, match="grid"):
        score_forecast(settings, store, rows.with_columns(pl.col("step") + 1))
    assert score_forecast(settings, store, rows.clear()).is_empty()


@pytest.mark.parametrize("known", [0, 1])
def test_a_series_unknown_at_the_issue_time_has_no_baseline_score(tmp_path: Path, known: int) -> None:
    settings, store = open_pipeline(write_pipeline(tmp_path / "p").parent)
    load = pl.read_parquet(tmp_path / "p" / "load.parquet")
    # The forecast uses the whole history. It is scored with a history that begins later, for two series or for all.
    ingest(settings, store, NOW, NOW)
    forecast(settings, store, midnight(3), needs_champion=False)
    rows = forecast_rows(settings, store, midnight(3))
    shutil.rmtree(store.root / "history")
    begun = (pl.col("ds") >= pl.datetime(2018, 9, 3)) | (pl.lit(bool(known)) & (pl.col("series_id") == "LDC1"))
    load.filter(begun).write_parquet(tmp_path / "p" / "load.parquet")
    ingest(settings, store, NOW, NOW)
    scored = score_forecast(settings, store, rows)
    assert scored["pinball"].null_count() == 0
    assert scored["baseline_pinball"].is_null().to_list() == [False] * 24 * known + [True] * 24 * (3 - known)
    assert scored["scale"].null_count() == 24 * (3 - known)


def test_a_forecast_is_scored_once_as_its_actuals_become_known(folder: Path) -> None:
    settings, store = open_pipeline(folder)
    for issue in (NOW - timedelta(hours=3), NOW):
        forecast(settings, store, issue, needs_champion=False)
    first = score(settings, store, NOW)
    assert {k: first[k] for k in ("issues", "scored", "revised", "unchanged", "waiting", "failures")} == {
        "issues": 12, "scored": 11, "revised": 0, "unchanged": 0, "waiting": 1, "failures": {},
    }  # fmt: skip
    assert first["rows"] == 10 * 72 + 3 * 3
    before = score_files(store)
    again = score(settings, store, NOW)
    assert (again["scored"], again["revised"], again["unchanged"], again["rows"]) == (0, 0, 11, 0)
    assert score_files(store) == before
    assert again["summary"] == first["summary"]
    ingest(settings, store, NOW + timedelta(hours=2), NOW + timedelta(hours=2))
    later = score(settings, store, NOW + timedelta(hours=2))
    assert (later["scored"], later["revised"], later["rows"]) == (1, 1, 2 * 3 + 5 * 3)
    assert {stamp for stamp, content in score_files(store).items() if before.get(stamp) != content} == {
        layout.stamp(NOW - timedelta(hours=3)), layout.stamp(NOW),
    }  # fmt: skip


def test_a_revised_actual_changes_only_the_scores_of_its_issue_time(folder: Path) -> None:
    settings, store = open_pipeline(folder)
    score(settings, store, NOW)
    before = score_files(store)
    correct_feed(folder, "LDC2", datetime(2018, 9, 3, 10), 1234.5)
    done = score(settings, store, NOW)
    assert (done["scored"], done["revised"], done["unchanged"]) == (0, 1, 9)
    after = score_files(store)
    assert {stamp for stamp in before if before[stamp] != after[stamp]} == {layout.stamp(midnight(3))}
    row = (pl.col("series_id") == "LDC2") & (pl.col("valid_time") == midnight(3) + timedelta(hours=10))
    assert scores.read(store, "small").filter(row).collect()["actual"].to_list() == [1234.5]


def test_a_withdrawn_actual_has_no_score(folder: Path) -> None:
    settings, store = open_pipeline(folder)
    score(settings, store, NOW)
    correct_feed(folder, "LDC2", datetime(2018, 9, 3, 10), None)
    assert score(settings, store, NOW)["rows"] == 71
    assert scores.read(store, "small").collect().height == 10 * 72 - 1


def test_a_forecast_that_is_published_again_is_scored_again(folder: Path) -> None:
    settings, store = open_pipeline(folder)
    score(settings, store, NOW)
    before = score_files(store)
    levels = list(settings.pipeline.quantile_levels)
    rows = forecast_rows(settings, store, midnight(4)).with_columns(pl.col("^q.*$") * 1.5)
    forecasts.publish(
        store,
        "small",
        "America/New_York",
        midnight(4),
        [rows],
        levels,
        lambda: forecasts.ForecastMetadata(None, "another"),
    )
    assert score(settings, store, NOW)["revised"] == 1
    published_again = find_scores(store, "small", midnight(4))
    assert published_again["median"].to_list() == rows["q50"].to_list()
    # The scores of the baseline do not depend on the published forecast.
    was = pl.read_parquet(before[layout.stamp(midnight(4))][0])
    assert published_again["baseline_pinball"].equals(was["baseline_pinball"])
    assert not published_again["pinball"].equals(was["pinball"])


def test_damaged_files_are_named_and_the_others_scored(folder: Path) -> None:
    settings, store = open_pipeline(folder)
    score(settings, store, NOW)
    damaged = {
        midnight(2): store.path(layout.forecast("small", midnight(2), "America/New_York")),
        midnight(5): store.path(layout.score("small", midnight(5))),
    }
    intact = damaged[midnight(5)].read_bytes()
    for path in damaged.values():
        path.write_bytes(path.read_bytes()[:-100])
    store.path(layout.score("small", midnight(6))).unlink()
    shutil.copy(damaged[midnight(2)].parent.parent / "issue_date=2018-09-01/20180901T040000Z.parquet",
                store.path(layout.forecast("small", midnight(7), "America/New_York")))  # fmt: skip
    done = score(settings, store, NOW)
    assert set(done["failures"]) == {midnight(day).isoformat() for day in (2, 7)}
    assert str(damaged[midnight(2)]) in done["failures"][midnight(2).isoformat()]
    assert "issue time in its name" in done["failures"][midnight(7).isoformat()]
    # A damaged score file is written again from the forecast and the actuals.
    assert (done["scored"], done["unchanged"]) == (2, 6)
    assert score_files(store)[layout.stamp(midnight(5))][0] == intact
    assert done["summary"]["last_28_nights"]["n"] == 8 * 72


def test_only_issue_times_within_the_look_back_are_scored(folder: Path) -> None:
    settings, store = open_pipeline(folder)
    done = score(settings, store, NOW, look_back=timedelta(days=3))
    assert (done["issues"], done["scored"]) == (4, 4)
    assert set(score_files(store)) == {layout.stamp(midnight(day)) for day in (7, 8, 9, 10)}
    # A run in the past uses no later forecast, and leaves the newer scores as they are.
    before = score_files(store)
    past = score(settings, store, midnight(8) + timedelta(hours=5), look_back=timedelta(days=3))
    assert score_files(store)[layout.stamp(midnight(8))] == before[layout.stamp(midnight(8))]
    assert past["summary"]["newest_issue"] == midnight(8).isoformat()
    assert past["summary"]["last_28_nights"]["n"] == 3 * 72 + 5 * 3
    assert score(settings, store, midnight(1) - timedelta(days=1))["summary"] == {}


LATEST = """
    select series_id, valid_time, arg_max(y, (available_at, ingested_at)) as actual
    from read_parquet('{history}/**/*.parquet') group by all
"""
BY_DUCKDB = """
    with actuals as ({latest}), joined as (
        select f.*, a.actual, a.actual - q50 as error,
            case when isodow(valid_time at time zone 'America/New_York') = 7 then 'Sunday' else 'other' end as sunday,
            ({losses}) / 9 as pinball
        from read_parquet('{forecasts}/**/*.parquet') f join actuals a using (series_id, valid_time)
        where actual is not null
    )
    select {by} as of_what, count(*) as n, avg(pinball) as pinball, avg(abs(error)) as mae, avg(error) as bias,
        avg((actual between q10 and q90)::int) as coverage_80
    from joined group by all order by all
"""


LOSSES = " + ".join(
    f"greatest({p / 100} * (actual - q{p}), {p / 100 - 1} * (actual - q{p}))" for p in range(10, 100, 10)
)


@pytest.mark.parametrize(
    ("by", "table", "key"),
    [("series_id", "by_series", "series_id"), ("step", "by_step", "step"), ("sunday", "by_weekday", "weekday")],
)
def test_duckdb_computes_the_same_summary_from_the_files(
    folder: Path, by: str, table: Literal["by_series", "by_step", "by_weekday"], key: str
) -> None:
    settings, store = open_pipeline(folder)
    # With two corrections, only the latest must count.
    correct_feed(folder, "LDC1", datetime(2018, 9, 9, 7), 100.0)
    correct_feed(folder, "LDC1", datetime(2018, 9, 9, 7), 900.0, hours=2)
    summary = score(settings, store, NOW)["summary"]
    latest = LATEST.format(history=store.path("history/small/demand"))
    query = BY_DUCKDB.format(latest=latest, forecasts=store.path("forecasts"), by=by, losses=LOSSES)
    expected = {row["of_what"]: row for row in present(duckdb.sql(query)).pl().to_dicts()}
    computed = {row[key]: row for row in summary[table]}
    shared = [key for key in expected if key != "other"]
    assert len(shared) == {"series_id": 3, "step": 24, "sunday": 1}[by]
    for which in shared:
        for name in ("n", "pinball", "mae", "bias", "coverage_80"):
            assert computed[which][name] == pytest.approx(expected[which][name], rel=1e-9), (which, name)
    total = sum(row["n"] * row["pinball"] for row in expected.values()) / 720
    assert summary["last_28_nights"]["pinball"] == pytest.approx(total, rel=1e-9)


def test_numpy_computes_the_same_baseline_scale_and_skill(folder: Path) -> None:
    settings, store = open_pipeline(folder)
    levels = np.arange(1, 10) / 10
    rows = forecast_rows(settings, store, midnight(9)).with_columns(pl.col("^q.*$") + 7.0)
    forecasts.publish(
        store,
        "small",
        "America/New_York",
        midnight(9),
        [rows],
        levels.round(1).tolist(),
        lambda: forecasts.ForecastMetadata(None, "another"),
    )
    score(settings, store, NOW)
    scored = find_scores(store, "small", midnight(9))
    history = (
        present(duckdb.sql(LATEST.format(history=store.path("history/small/demand"))))
        .pl()
        .sort("series_id", "valid_time")
    )
    for series in ("LDC1", "LDC2", "LDC3"):
        y = dict(history.filter(series_id=series).select("valid_time", "actual").iter_rows())
        hour = timedelta(hours=1)
        past = np.array([y.get(midnight(9) - hour * back, np.nan) for back in range(1344, 0, -1)])
        errors = past[168:] - past[:-168]
        quantiles = past[-168:-144, None] + np.quantile(errors, levels)
        actual = np.array([y[midnight(9) + hour * step] for step in range(24)])
        e = actual[:, None] - quantiles
        pinball = np.maximum(levels * e, (levels - 1) * e).mean(axis=1)
        mine = scored.filter(series_id=series)
        np.testing.assert_allclose(mine["baseline_pinball"], pinball, rtol=1e-5)
        np.testing.assert_allclose(mine["baseline_absolute_error"], np.abs(e[:, 4]), rtol=1e-4, atol=1e-3)
        np.testing.assert_allclose(mine["scale"], np.abs(errors).mean(), rtol=1e-5)
        inside = (actual >= quantiles[:, 0]) & (actual <= quantiles[:, -1])
        assert mine["baseline_covered_80"].to_list() == inside.astype(float).tolist()
    summary = score(settings, store, NOW)["summary"]["last_7_nights"]
    seven = pl.concat(find_scores(store, "small", midnight(day)) for day in range(4, 11))
    assert summary["skill"] == pytest.approx(
        1 - as_number(seven["pinball"].mean()) / as_number(seven["baseline_pinball"].mean()), rel=1e-9
    )
    assert summary["mase"] == pytest.approx((seven["absolute_error"] / seven["scale"]).mean(), rel=1e-9)
    assert summary["skill"] != 0


def test_series_that_end_and_begin(tmp_path: Path) -> None:
    folder = write_pipeline(tmp_path / "p").parent
    load = pl.read_parquet(folder / "load.parquet")
    ended = ((pl.col("series_id") == "LDC2") & (pl.col("ds") >= pl.datetime(2018, 9, 2, 12))).not_()
    begun = (pl.col("series_id") == "LDC3") & (pl.col("ds") >= pl.datetime(2018, 9, 2, 3))
    new = load.filter(begun).with_columns(series_id=pl.lit("NEW"))
    pl.concat([load.filter(ended), new]).write_parquet(folder / "load.parquet")
    settings, store = open_pipeline(folder)
    ingest(settings, store, NOW, NOW)
    for day in (1, 2, 3):
        forecast(settings, store, midnight(day), needs_champion=False)
    done = score(settings, store, NOW)
    assert (done["scored"], done["failures"]) == (3, {})
    counts = scores.read(store, "small").group_by("series_id", "issue_time").len().collect()
    by_series = {name: rows.sort("issue_time")["len"].to_list() for (name,), rows in counts.group_by("series_id")}
    assert by_series == {"LDC1": [24, 24, 24], "LDC2": [24, 12], "LDC3": [24, 24, 24], "NEW": [24]}
    new_rows = find_scores(store, "small", midnight(3)).filter(series_id="NEW")
    # Twenty hours of history are enough for a baseline, but not for a scale, which needs a whole season.
    assert new_rows["baseline_pinball"].null_count() == 0
    assert new_rows["scale"].null_count() == 24
    row = next(row for row in done["summary"]["by_series"] if row["series_id"] == "NEW")
    assert row["n"] == 24
    assert row["mase"] is None


def test_weekdays_are_local_at_a_clock_change(folder: Path) -> None:
    settings, store = open_pipeline(folder)
    # The local day of 11 March has 23 hours, so the 24th step is the first of Monday.
    forecast(settings, store, midnight(11, month=3), needs_champion=False)
    done = score(settings, store, midnight(13, month=3))
    counts = {row["weekday"]: row["n"] for row in done["summary"]["by_weekday"]}
    assert counts == {"Sunday": 3 * 23, "Monday": 3}


MARKET = """
[pipeline]
name = "market"
store = "./store"
frequency = "1b"
timezone = "America/New_York"
holidays = "NYSE"
quantile_levels = [0.25, 0.5, 0.75]

[[feed]]
name = "closes"
role = "target"
uri = "market.parquet"
series_id = "series_id"
valid_time = "ds"
values = ["y"]
"""


def test_business_days_and_levels_without_an_80_percent_interval(tmp_path: Path) -> None:
    shutil.copy(SAMPLES / "market.parquet", tmp_path / "market.parquet")
    (tmp_path / "market.toml").write_text(MARKET)
    settings, store = open_pipeline(tmp_path)
    now = datetime(2018, 12, 1, tzinfo=UTC)
    ingest(settings, store, now, now)
    issue = datetime(2018, 11, 21, tzinfo=NEW_YORK).astimezone(UTC)
    forecast(settings, store, issue, needs_champion=False)
    done = score(settings, store, now)
    scored = find_scores(store, "market", issue)
    # Thanksgiving is not a business day, so five steps end on the next Wednesday.
    days = scored["valid_time"].dt.convert_time_zone("America/New_York").dt.date().unique().sort().to_list()
    assert days == [date(2018, 11, day) for day in (21, 23, 26, 27, 28)]
    assert scored.filter(series_id="vix").height == 5
    assert scored.select("covered_80", "baseline_covered_80").null_count().row(0) == (len(scored), len(scored))
    assert scored["scale"].null_count() == 0
    last = dict(done["summary"]["last_28_nights"])
    assert (last["coverage_80"], last["baseline_coverage_80"]) == (None, None)
    assert set(scored["pit"].is_between(0.125, 0.875)) == {True}
    assert done["alerts"] == []


GAS = """
[pipeline]
name = "gas"
store = "./store"
frequency = "1d"
timezone = "Europe/Madrid"
issue_at = "06:00"
day_start = "06:00"

[[feed]]
name = "gas"
role = "target"
uri = "gas.csv"
valid_time = "ds"
values = ["y"]
"""


def test_gas_days_over_a_clock_change(tmp_path: Path) -> None:
    days = [date(2024, 7, 1) + timedelta(days=i) for i in range(140)]
    rng = np.random.default_rng(3)
    pl.DataFrame({"ds": days, "y": 100 + 20 * (np.arange(140) % 7) + rng.normal(size=140)}).write_csv(
        tmp_path / "gas.csv"
    )
    (tmp_path / "gas.toml").write_text(GAS)
    settings, store = open_pipeline(tmp_path)
    now = datetime(2024, 12, 1, tzinfo=UTC)
    ingest(settings, store, now, now)
    issue = datetime(2024, 10, 25, 6, tzinfo=ZoneInfo("Europe/Madrid")).astimezone(UTC)
    forecast(settings, store, issue, needs_champion=False)
    done = score(settings, store, now)
    scored = find_scores(store, "gas", issue)
    assert [time.hour for time in scored["valid_time"]] == [4, 4, 5, 5, 5, 5, 5]
    local = scored["valid_time"].dt.convert_time_zone("Europe/Madrid").dt.date()
    actual = dict(pl.read_csv(tmp_path / "gas.csv", try_parse_dates=True).iter_rows())
    assert scored["actual"].to_list() == [actual[day] for day in local]
    assert [row["n"] for row in done["summary"]["by_weekday"]] == [1] * 7


def test_of_two_feeds_the_value_that_became_available_last_counts(tmp_path: Path) -> None:
    text = MARKET + MARKET[MARKET.index("[[feed]]") :].replace('"closes"', '"late"').replace("market.p", "late.p")
    text = text.replace('values = ["y"]', 'values = ["y"]\navailable_at = "known"')
    (tmp_path / "market.toml").write_text(text)
    rows = pl.read_parquet(SAMPLES / "market.parquet").filter(pl.col("ds") >= pl.datetime(2017, 1, 1))
    rows = rows.with_columns(known=pl.col("ds").cast(pl.Datetime("us")) + timedelta(days=1))
    rows.write_parquet(tmp_path / "market.parquet")
    revised = rows.filter(pl.col("ds") == pl.datetime(2018, 11, 26)).with_columns(
        pl.col("y") * 2, pl.col("known") + timedelta(days=2)
    )
    revised.write_parquet(tmp_path / "late.parquet")
    settings, store = open_pipeline(tmp_path)
    now = datetime(2018, 12, 1, tzinfo=UTC)
    ingest(settings, store, now, now)
    issue = datetime(2018, 11, 21, tzinfo=NEW_YORK).astimezone(UTC)
    forecast(settings, store, issue, needs_champion=False)
    score(settings, store, now)
    scored = find_scores(store, "market", issue)
    monday = scored.filter(pl.col("valid_time") == datetime(2018, 11, 26, 5, tzinfo=UTC))
    assert monday["actual"].to_list() == revised.sort("series_id")["y"].to_list()


def test_sixty_baseline_forecasts_of_the_sample_cause_no_alert(folder: Path) -> None:
    settings, store = open_pipeline(folder)
    for back in range(60):
        forecast(settings, store, midnight(28) - timedelta(days=back), needs_champion=False)
    done = score(settings, store, NOW)
    assert (done["issues"], done["alerts"], done["decay"]) == (60, [], None)
    assert done["summary"]["last_28_nights"]["skill"] == 0.0
    assert json.loads(json.dumps(done, allow_nan=False)) == done


def test_a_forecaster_that_became_worse_causes_an_alert_and_a_retrain(folder: Path) -> None:
    settings, store = open_pipeline(folder)
    levels = list(settings.pipeline.quantile_levels)
    for day in range(1, 29):
        forecast(settings, store, midnight(day), needs_champion=False)
        rows = forecast_rows(settings, store, midnight(day)).with_columns(
            pl.when(series_id="LDC2").then(pl.col("^q.*$") * 0.2).otherwise(pl.col("^q.*$"))
        )
        forecasts.publish(
            store,
            "small",
            "America/New_York",
            midnight(day),
            [rows],
            levels,
            lambda: forecasts.ForecastMetadata(None, "bad"),
        )
    done = score(settings, store, NOW)
    assert ("skill", "LDC2") in {(alert["check"], alert["series_id"]) for alert in done["alerts"]}
    assert not [alert for alert in done["alerts"] if alert["series_id"] in ("LDC1", "LDC3")]
    assert "min_skill = 0" in present(done["decay"])
    without_retrain = pipeline_file.read(folder / "small.toml", {"GATECAST_MONITORING__RETRAIN": "false"})
    quiet = score(without_retrain, store, NOW)
    assert (quiet["alerts"], quiet["decay"]) == (done["alerts"], None)


def test_decay_makes_a_retrain_due_when_the_model_is_a_week_old(pipeline: Path) -> None:
    settings = pipeline_file.read(pipeline, {"GATECAST_TRAINING__EVERY": "30d"})
    store = open_folder(settings.pipeline.store)
    (manifest,) = registry.valid_manifests(store, "small")
    registry.promote(store, "small", manifest["version"])  # as of 1 September

    def reason_at(issue_time: datetime, decay: str | None = None) -> str | None:
        return retrain_reason(settings, read_trained_models(settings, store, issue_time), issue_time, decay)

    assert reason_at(midnight(8)) is None
    assert reason_at(midnight(8) - timedelta(hours=1), "the model is worse") is None
    assert reason_at(midnight(8), "the model is worse") == "the model is worse"
    assert "every 30d" in present(reason_at(midnight(8) + timedelta(days=30), "the model is worse"))


def test_scores_have_the_same_bytes_in_another_store(published: Path, tmp_path: Path) -> None:
    contents = []
    for name in ("one", "two"):
        shutil.copytree(published, tmp_path / name)
        settings, store = open_pipeline(tmp_path / name)
        score(settings, store, NOW)
        contents.append({stamp: content for stamp, (content, _) in score_files(store).items()})
    assert contents[0] == contents[1]
    assert len(contents[0]) == len(DAYS)
    assert not [name for _, _, names in os.walk(tmp_path) for name in names if name.endswith(".tmp")]
