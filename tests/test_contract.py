"""Files in the store that other programs read: forecasts, history, quarantine and models."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pytest

from tests.support.commands import gatecast, json_report
from tests.support.pipelines import ISSUE, copy_of


@pytest.fixture(scope="module")
def pipeline_copy(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_of(trained, tmp_path_factory.mktemp("contract") / "copy")


@pytest.fixture(scope="module")
def published(pipeline_copy: Path) -> Path:
    done = gatecast("forecast", pipeline_copy, "--issue-time", ISSUE, "--json")
    assert done.returncode == 0
    return Path(json_report(done)["path"])


def test_the_forecast_has_its_path_and_a_copy_in_latest(pipeline_copy: Path, published: Path) -> None:
    store = pipeline_copy.parent / "store"
    assert published == store / "forecasts/pipeline=small/issue_date=2018-09-01/20180901T040000Z.parquet"
    assert (store / "latest/small.parquet").read_bytes() == published.read_bytes()
    assert not [p for p in store.rglob("*") if p.name.startswith(".")]


def test_the_forecast_has_the_columns_and_types_of_the_contract(published: Path, utc: Callable[..., datetime]) -> None:
    rows = pl.read_parquet(published, hive_partitioning=False)
    instant = pl.Datetime("us", "UTC")
    quantiles = {f"q{p}": pl.Float64 for p in range(10, 100, 10)}
    assert dict(rows.schema) == {
        "series_id": pl.String, "issue_time": instant, "valid_time": instant, "step": pl.Int32, **quantiles,
        "status": pl.String, "reason": pl.String, "model_version": pl.String,
    }  # fmt: skip
    assert rows.equals(rows.sort("series_id", "valid_time"))
    assert rows.filter(pl.col("series_id") == "LDC1")["step"].to_list() == list(range(1, 25))
    assert rows["issue_time"].unique().to_list() == [utc(2018, 9, 1, 4)]
    assert rows["valid_time"].min() == utc(2018, 9, 1, 4)
    values = rows.select("^q.*$").to_numpy()
    assert (np.diff(values, axis=1) >= 0).all()
    assert (values >= 0).all()
    assert rows["reason"].null_count() == len(rows)


def test_the_forecast_has_its_metadata(pipeline_copy: Path, published: Path) -> None:
    version = json_report(gatecast("models", pipeline_copy, "--json"))["models"][0]
    metadata = pl.read_parquet_metadata(published)
    assert metadata["gatecast.contract_version"] == "1"
    assert metadata["gatecast.pipeline"] == "small"
    assert metadata["gatecast.issue_time"] == "20180901T040000Z"
    assert metadata["gatecast.model_sha256"] == version["sha256"]
    assert len(metadata["gatecast.data_sha256"]) == 64


def test_pandas_and_duckdb_read_the_same_rows(published: Path) -> None:
    rows = pl.read_parquet(published, hive_partitioning=False)
    by_pandas = pd.read_parquet(published)
    assert by_pandas["q50"].tolist() == rows["q50"].to_list()
    assert str(by_pandas["valid_time"].dtype) == "datetime64[us, UTC]"
    everything = f"{published.parent.parent.parent}/**/*.parquet"
    query = f"select count(*), sum(q50), min(pipeline) from read_parquet('{everything}', hive_partitioning=true)"
    count, total, name = duckdb.execute(query).fetchall()[0]
    assert (count, name) == (72, "small")
    assert total == pytest.approx(rows["q50"].sum())


def test_an_older_forecast_does_not_replace_the_latest(pipeline: Path, utc: Callable[..., datetime]) -> None:
    store = pipeline.parent / "store"
    # At the first one the history ends a day before, so its rows are stale.
    for issue, status in (("2018-09-02", 3), ("2018-09-01", 0)):
        assert gatecast("forecast", pipeline, "--issue-time", issue).returncode == status
    newest = pl.read_parquet(store / "latest/small.parquet")
    assert newest["issue_time"].unique().to_list() == [utc(2018, 9, 2, 4)]


def test_history_quarantine_and_models_have_their_files(pipeline_copy: Path) -> None:
    store = pipeline_copy.parent / "store"
    (history,) = (store / "history/small/demand").glob("*.parquet")
    assert pl.read_parquet(history).columns == ["series_id", "valid_time", "available_at", "ingested_at", "y"]
    (refused,) = (store / "quarantine/small/demand").glob("*.parquet")
    assert pl.read_parquet(refused).columns == ["series_id", "ds", "y", "reason"]
    (model,) = (store / "models/small").glob("*/model.onnx")
    assert {p.name for p in model.parent.iterdir()} == {"model.onnx", "manifest.json"}
    assert (store / "models/small/champion.json").exists()
