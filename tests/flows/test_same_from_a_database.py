"""Forecasts from PostgreSQL and from Parquet files have the same bytes, with revisions."""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from adbc_driver_postgresql import dbapi

from tests.support.commands import gatecast, json_report
from tests.support.pipelines import ISSUE, SAMPLES, SHARED

FEED = """
[[feed]]
name = "{name}"
role = "{role}"
{where}
{series}
valid_time = "ds"
values = ["{value}"]
time_zone = "America/New_York"
available_at = "known"
"""
NAMES = {"demand": ("target", "y", 'series_id = "series_id"'), "weather": ("known_future", "temperature_forecast", "")}


def tables(source: str) -> dict[str, pl.DataFrame]:
    """Return demand and weather up to September 2018 in local time, each row with its availability time.

    A tenth of the demand is wrong first and corrected within three days. The weather has two issues.
    """
    if source == "sample":
        demand = pl.read_parquet(SAMPLES / "load.parquet").filter(pl.col("ds") >= pl.datetime(2018, 2, 1))
        weather = pl.read_parquet(SAMPLES / "temperature.parquet").select("ds", "temperature_forecast")
    else:
        file = SHARED / "bigdeal2022.parquet"
        if not file.exists():
            pytest.skip("the shared development data are not beside this checkout")
        rows = pl.read_parquet(file).filter(pl.col("series_id").str.starts_with("LDC"))
        demand = rows.select("series_id", "ds", "y").drop_nulls()
        forecast = pl.coalesce("temperature_forecast_c", "temperature_c").mean().alias("temperature_forecast")
        weather = rows.group_by("ds", maintain_order=True).agg(forecast).drop_nulls()
    until = pl.col("ds") < pl.datetime(2018, 9, 3)
    demand, weather = demand.filter(until), weather.filter(until)
    rng = np.random.default_rng(5)
    local = pl.col("ds").dt.replace_time_zone("America/New_York", non_existent="null", ambiguous="earliest")
    start = local.dt.convert_time_zone("UTC")
    demand = demand.with_columns(known=start + timedelta(hours=1)).drop_nulls("known").with_row_index("n")
    wrong = demand.filter(pl.Series(rng.random(len(demand)) < 0.1))
    late = pl.Series(rng.integers(1, 72, len(wrong))) * timedelta(hours=1)
    corrected = wrong.with_columns(y=pl.col("y") * 1.01, known=pl.col("known") + late)
    weather = weather.with_columns(known=start - timedelta(days=2)).drop_nulls("known").with_row_index("n")
    newer = weather.with_columns(pl.col("temperature_forecast") + 0.5, known=pl.col("known") + timedelta(days=1))
    return {"demand": pl.concat([demand, corrected]), "weather": pl.concat([weather, newer])}


def write_pipeline_file(folder: Path, trained: Path, uri: str | None) -> Path:
    """Write a pipeline file whose feeds are files in `folder` or tables at `uri`, with the models of `trained`."""
    folder.mkdir(exist_ok=True)
    head, _, tail = trained.read_text().partition("[[feed]]")
    feeds = ""
    for name, (role, value, series) in NAMES.items():
        columns = ", ".join(["series_id"] * bool(series) + ["ds", value, "known"])
        query = f"select {columns} from {name} where ds >= :since and ds < :until order by known, n"
        where = f'uri = "{uri}"\nquery = "{query}"' if uri else f'uri = "{name}.parquet"'
        feeds += FEED.format(name=name, role=role, value=value, series=series, where=where)
    path = folder / trained.name
    path.write_text(head + feeds + "[model]" + tail.partition("[model]")[2])
    shutil.copytree(trained.parent / "store" / "models", folder / "store" / "models")
    return path


def published(path: Path) -> tuple[bytes, dict[str, Any]]:
    done = gatecast("forecast", path, "--issue-time", ISSUE, "--json")
    assert done.returncode == 0, done.stderr
    return Path(json_report(done)["path"]).read_bytes(), json_report(done)


@pytest.mark.parametrize("source", ["sample", "bigdeal2022"])
def test_postgresql_and_parquet_publish_the_same_bytes(
    tmp_path: Path, trained: Path, postgres: str, source: str
) -> None:
    """Ingest the database twice, the second time only new rows, and the files once."""
    content = tables(source)
    with dbapi.connect(postgres) as connection, connection.cursor() as cursor:
        for name, rows in content.items():
            rows = rows.sample(fraction=1.0, shuffle=True, seed=3)  # a table has no order
            cursor.adbc_ingest(name, rows.with_columns(pl.col("n").cast(pl.Int64)).to_arrow(), mode="replace")
        connection.commit()
    from_files = write_pipeline_file(tmp_path / "files", trained, None)
    for name, rows in content.items():
        rows.sort("known", "n").write_parquet(from_files.parent / f"{name}.parquet")
    from_database = write_pipeline_file(tmp_path / "database", trained, postgres)
    assert gatecast("ingest", from_files, "--as-of", ISSUE).returncode == 0
    counts = []
    for as_of in ("2018-08-20", ISSUE):
        done = gatecast("ingest", from_database, "--as-of", as_of, "--json")
        assert done.returncode == 0, done.stderr
        counts.append(json_report(done)["feeds"]["demand"])
    assert counts[1]["read"] < counts[0]["read"] / 5
    assert min(count["added"] for count in counts) > 0
    (bytes_of_files, report), (bytes_of_database, _) = published(from_files), published(from_database)
    assert report["status"] == {"model": 72}
    assert bytes_of_files == bytes_of_database
    # Without the corrections the forecast differs, so it uses them.
    first = content["demand"].sort("known", "n").unique("n", keep="first", maintain_order=True)
    other = write_pipeline_file(tmp_path / "first", trained, None)
    first.write_parquet(other.parent / "demand.parquet")
    content["weather"].sort("known", "n").write_parquet(other.parent / "weather.parquet")
    assert gatecast("ingest", other, "--as-of", ISSUE).returncode == 0
    assert published(other)[0] != bytes_of_files
