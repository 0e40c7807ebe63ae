"""Real data with known faults: the report names the faults, and every row is accounted for."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from flows.settings import file as pipeline_file
from flows.stages.ingest import ingest
from storage import history, quarantine
from storage.schemas.records import FeedReport
from storage.store import Store, open_store
from tests.support.narrow import as_number
from tests.support.pipelines import SHARED

pytestmark = pytest.mark.shared

FILE = """
[pipeline]
name = "p"
store = "./store"
frequency = "{frequency}"
timezone = "{zone}"

[[feed]]
name = "demand"
role = "target"
uri = "{uri}"
series_id = "series_id"
valid_time = "ds"
values = ["y"]
time_zone = "{zone}"
{more}
"""
LATE = datetime(2026, 1, 1, tzinfo=UTC)
LEVELS = "expected = { load_DE = 55000.0, load_NL = 12500.0, load_FR = 53000.0, load_ES = 28000.0 }"

# file: zone, frequency, further keys of the feed, expected findings
FEEDS: dict[str, tuple[str, str, str, set[tuple[str, str]]]] = {
    "pjm_hourly": ("America/New_York", "1h", "", {("gap", "AEP"), ("gap", "DUQ"), ("gap", "EKPC")}),
    "gefcom2012": ("America/New_York", "1h", "", {("level_jump", "zone_10"), ("same_series", "zone_07")}),
    "entsoe_tscv": ("UTC", "1h", LEVELS, {("other_unit", "load_DE"), ("other_unit", "load_NL")}),
    "vic_elec": ("Australia/Melbourne", "30m", "", set()),
}


def ingest_real(
    folder: Path, name: str, frequency: str | None = None, more: str = ""
) -> tuple[Store, FeedReport, pl.DataFrame]:
    source = SHARED / f"{name}.parquet"
    if not source.exists():
        pytest.skip("the shared development data are not beside this checkout")
    zone, own, other, _ = FEEDS.get(name, ("UTC", "1h", "", set()))
    path = folder / "p.toml"
    path.write_text(FILE.format(frequency=frequency or own, zone=zone, uri=source, more=f"{other}\n{more}"))
    settings = pipeline_file.read(path, {})
    store = open_store(settings.pipeline.store)
    return store, ingest(settings, store, LATE, LATE)["feeds"]["demand"], pl.read_parquet(source)


@pytest.mark.parametrize("name", FEEDS)
def test_known_faults_are_found_and_no_row_is_lost(tmp_path: Path, name: str) -> None:
    store, report, rows = ingest_real(tmp_path, name)
    named = {(finding["check"], finding["series_id"]) for finding in report["findings"]}
    assert named >= FEEDS[name][3]
    assert {series for check, series in named if check == "other_unit"} <= {"load_DE", "load_NL"}
    kept, refused = history.read_as_of(store, "p", "demand", ["y"], LATE), quarantine.read(store, "p", "demand")
    assert report["read"] == len(rows) == len(kept) + len(refused)
    assert refused["reason"].null_count() == 0
    refused_sum = as_number(refused["y"].sum()) if len(refused) else 0.0
    assert as_number(kept["y"].sum()) + refused_sum == pytest.approx(as_number(rows["y"].sum()), rel=1e-12)


def test_prices_that_became_quarter_hourly_are_one_history(tmp_path: Path) -> None:
    """Spread the Czech prices, hourly until 2025-09-30, over quarters of an hour."""
    store, report, rows = ingest_real(tmp_path, "price_czech", "15m", 'upsample = "repeat"')
    hours = rows.filter(pl.col("minutes") == 60)
    assert report["read"] == len(rows) + 3 * len(hours)
    kept = history.read_as_of(store, "p", "demand", ["y"], LATE).sort("valid_time")
    assert kept["valid_time"].diff().drop_nulls().max() == pl.select(pl.duration(minutes=15)).item()
    by_hour = kept.group_by_dynamic("valid_time", every="1h").agg(pl.col("y").mean(), spread=pl.col("y").n_unique())
    before = by_hour.filter(pl.col("valid_time").dt.replace_time_zone(None).is_in(hours["ds"].implode()))
    assert before["spread"].max() == 1
    assert as_number(before["y"].sum()) == pytest.approx(as_number(hours["y"].sum()), rel=1e-12)


def test_spread_energy_is_conserved(tmp_path: Path) -> None:
    store, report, rows = ingest_real(tmp_path, "vic_elec", "15m", 'upsample = "divide"')
    kept = history.read_as_of(store, "p", "demand", ["y"], LATE)
    assert report["accepted"] == len(kept) == 2 * len(rows)
    assert as_number(kept["y"].sum()) == pytest.approx(as_number(rows["y"].sum()), rel=1e-12)


@pytest.mark.parametrize("frequency", ["1h", "1d"])
def test_aggregation_conserves_energy(tmp_path: Path, frequency: str) -> None:
    """Aggregate half hours of Victoria, over six clock changes, to hours and to local days."""
    store, report, rows = ingest_real(tmp_path, "vic_elec", frequency, 'resample = "sum"')
    kept = history.read_as_of(store, "p", "demand", ["y"], LATE)
    assert report["read"] == report["accepted"] == len(rows) == len(kept) + report["aggregated"]
    assert as_number(kept["y"].sum()) == pytest.approx(as_number(rows["y"].sum()), rel=1e-12)
    if frequency == "1d":
        assert len(kept) == 3 * 365 + 1
    else:
        assert len(kept) == len(rows) // 2
