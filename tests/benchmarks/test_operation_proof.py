"""The proof of an operation finds what it must find."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from benchmarks.operation_proof import find_incomplete

_HOURS = 6


@pytest.fixture
def known(tmp_path: Path, utc: Callable[..., datetime]) -> pl.DataFrame:
    """Values of two series before the issue time, with the files of a run that is called complete."""
    issue = utc(2020, 1, 2)
    times = [issue - timedelta(hours=hours) for hours in range(1, _HOURS + 1)]
    rows = pl.DataFrame(
        [(series, time, float(time.hour)) for series in ("a", "b") for time in times],
        schema={"series_id": pl.String, "ds": pl.Datetime("us", "UTC"), "y": pl.Float64}, orient="row",
    )  # fmt: skip
    rows.write_parquet(tmp_path / "truth.parquet")
    folder = tmp_path / "forecasts/pipeline=p/issue_date=2020-01-02"
    folder.mkdir(parents=True)
    forecast = pl.DataFrame({"series_id": ["a", "b"], "valid_time": [issue] * 2, "status": ["model", "stale_model"]})
    forecast.write_parquet(folder / "20200102T000000Z.parquet")
    (tmp_path / "history/p/demand").mkdir(parents=True)
    return rows


def _incomplete(folder: Path, rows: pl.DataFrame, weather: bool = False) -> list[str]:
    part = rows.select("series_id", valid_time="ds", y="y", ingested_at="ds", available_at="ds")
    part.write_parquet(folder / "history/p/demand/part.parquet")
    issue = rows["ds"].max()
    assert isinstance(issue, datetime)
    issue = issue.replace(hour=0) + timedelta(days=1)
    return find_incomplete(folder, "p", issue, timedelta(hours=_HOURS), folder / "truth.parquet", weather)


def test_whole_inputs_are_complete(tmp_path: Path, known: pl.DataFrame) -> None:
    assert _incomplete(tmp_path, known) == []


@pytest.mark.parametrize("hours", [1, 3])
def test_a_missing_value_is_found_in_the_rows_called_complete(tmp_path: Path, known: pl.DataFrame, hours: int) -> None:
    newest = known["ds"].max()
    assert isinstance(newest, datetime)
    rest = known.filter(pl.col("ds") != newest - timedelta(hours=hours - 1))
    assert _incomplete(tmp_path, rest) == ["a"]


def test_another_value_is_found(tmp_path: Path, known: pl.DataFrame) -> None:
    assert _incomplete(tmp_path, known.with_columns(y=pl.col("y") + 1e-3)) == ["a"]


def test_a_missing_covariate_is_found(tmp_path: Path, known: pl.DataFrame) -> None:
    assert _incomplete(tmp_path, known, weather=True) == ["a"]


def test_a_part_that_cannot_be_read_is_missing(tmp_path: Path, known: pl.DataFrame) -> None:
    (tmp_path / "history/p/demand/damaged.parquet").write_bytes(b"PAR1 and no more")
    assert _incomplete(tmp_path, known) == []
