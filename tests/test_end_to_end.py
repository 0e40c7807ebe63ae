"""Nightly flow from feeds to files, on a real Prefect."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from tests.support.commands import json_report, nightly, nightly_process
from tests.support.pipelines import ISSUE, SHARED, write_pipeline

pytestmark = pytest.mark.prefect


def test_two_runs_of_one_issue_time_publish_the_same_bytes(pipeline: Path, tmp_path: Path) -> None:
    """Run in two processes on Prefect's embedded API, as on a machine without a server."""
    home = tmp_path / "prefect"
    arguments = (pipeline, home, "--issue-time", ISSUE, "--json")
    first = nightly_process(*arguments, GATECAST_TRAINING__EVERY="30d")
    assert first.returncode == 0, first.stderr
    report = json_report(first)
    published = Path(report["forecast"]["path"])
    content = published.read_bytes()
    second = nightly_process(*arguments, GATECAST_TRAINING__EVERY="30d")
    assert second.returncode == 0, second.stderr
    assert {f["added"] for f in json_report(second)["ingest"]["feeds"].values()} == {0}
    assert published.read_bytes() == content


def test_a_run_with_a_damaged_feed_and_no_champion_is_degraded(tmp_path: Path, prefect_server: dict[str, str]) -> None:
    path = write_pipeline(tmp_path)
    good = nightly(path, prefect_server, "--issue-time", "2018-02-10", "--json")
    # Ten days of history are too few for a training, so the forecast comes from the baseline.
    assert good.returncode == 3, good.stderr
    assert "too little history" in json_report(good)["failures"]["train"]
    rows = pl.read_parquet(json_report(good)["forecast"]["path"])
    assert rows["status"].unique().to_list() == ["baseline"]
    assert rows["reason"].unique().to_list() == ["there is no champion"]
    (tmp_path / "load.parquet").write_bytes(b"not parquet")
    bad = nightly(path, prefect_server, "--issue-time", "2018-02-10", "--json")
    assert bad.returncode == 3, bad.stderr
    assert "load.parquet" in json_report(bad)["failures"]["ingest:demand"]
    assert json_report(bad)["ingest"]["feeds"]["weather"]["read"] > 0, "the other feed is ingested"


@pytest.mark.shared
def test_spanish_gas_demand(tmp_path: Path, prefect_server: dict[str, str]) -> None:
    source = SHARED / "spain_daily.parquet"
    if not source.exists():
        pytest.skip("the shared development data are not beside this checkout")
    path = Path(__file__).parent.parent / "deployments" / "gas.toml"
    gas = pl.read_parquet(source).filter(pl.col("series_id").str.starts_with("gas"))
    gas.select("series_id", "ds", "y").write_csv(tmp_path / "gas.csv")
    done = nightly(
        path, prefect_server, "--issue-time", "2025-06-01T06:00", "--json", GAS_URI=str(tmp_path / "gas.csv"),
        GATECAST_PIPELINE__STORE=str(tmp_path / "store"), GATECAST_TRAINING__BUDGET="300s",
        GATECAST_TRAINING__MAX_UPDATES="300", GATECAST_MODEL__MEMBERS="1",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    report = json_report(done)
    scores = report["train"]["scores"]
    assert scores["challenger"]["pinball"] < scores["baseline"]["pinball"]
    rows = pl.read_parquet(report["forecast"]["path"])
    assert rows["series_id"].n_unique() == 3
    # The issue time 06:00 is the start of a gas day, which is the first day of the forecast.
    local = rows["valid_time"].dt.convert_time_zone("Europe/Madrid")
    assert str(local.min()) == "2025-06-01 06:00:00+02:00"
