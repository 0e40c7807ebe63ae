"""Tests that the README's ways to read forecasts work on a store that two pipelines share."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import duckdb
import pandas as pd
import polars as pl
import pytest

import gatecast
from storage import forecasts, history, sample_paths
from storage.store import open_store
from tests.support.report_store import ISSUE, LEVELS, ZONE, make_store

SECTION = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8").partition("## Read the forecasts")[2]
SNIPPETS = re.findall(r"^```python\n(.*?)^```$", SECTION.partition("\n## ")[0], re.MULTILINE | re.DOTALL)
UTC = ZoneInfo("UTC")


@pytest.fixture
def expected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pl.DataFrame:
    """Return the sums of pipeline `gas`, whose values are 1000 times those of `made` in the same store."""
    make_store(tmp_path, ["A", "B"], count=4)
    store = open_store(str(tmp_path / "store"))
    sums = []
    for issue in forecasts.list_issue_times(store, "made"):
        rows, _ = forecasts.read(store, "made", str(ZONE), issue)
        rows = rows.with_columns(pl.col("^q.*$") * 1000)
        forecasts.publish(
            store, "gas", str(ZONE), issue, [rows], LEVELS, lambda: forecasts.ForecastMetadata(None, ""),
            targets={"demand": "gwh"},
        )  # fmt: skip
        sums.append(rows.select(pl.col("issue_time").first(), pl.col("q50").sum()))
    rows = history.read_as_of(store, "made", "demand", ["y"], ISSUE)
    history.append(store, "gas", "demand", rows.rename({"y": "gwh"}).with_columns(available_at=ISSUE), ISSUE)
    monkeypatch.chdir(tmp_path)
    since = pl.col("issue_time").dt.convert_time_zone(str(ZONE)).dt.date() >= pl.date(2026, 10, 24)
    return pl.concat(sums).sort("issue_time").filter(since)


def test_there_are_three_snippets() -> None:
    assert [text.splitlines()[0] for text in SNIPPETS] == ["import gatecast", "import pandas as pd", "import duckdb"]


def test_the_example_of_sample_paths_runs(expected: pl.DataFrame, tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "store.md").read_text(encoding="utf-8")
    (example,) = [
        text for text in re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL) if "read_samples" in text
    ]
    rows = gatecast.read(tmp_path / "store", "made").select(
        "series_id", "issue_time", "valid_time", "step", value="q50"
    )
    samples = pl.DataFrame({"sample": range(1, 11)}, schema={"sample": pl.Int32})
    table = rows.join(samples, how="cross").with_columns(pl.col("value") + pl.col("sample") / 10)
    sample_paths.write(open_store(str(tmp_path / "store")), "load", str(ZONE), ISSUE, [table], {})
    forecast, _ = forecasts.read(open_store(str(tmp_path / "store")), "made", str(ZONE), ISSUE)
    forecasts.publish(
        open_store(str(tmp_path / "store")), "load", str(ZONE), ISSUE, [forecast], LEVELS,
        lambda: forecasts.ForecastMetadata(None, ""),
    )  # fmt: skip
    names: dict[str, Any] = {}
    exec(example, names)
    medians = float(rows["value"].sum())
    assert names["total"] == pytest.approx([medians + 48 * level for level in (0.2, 0.6, 0.9)], abs=5)
    assert 0 <= names["chance_of_three_hours"] <= 1


@pytest.mark.parametrize("snippet", SNIPPETS, ids=["polars", "pandas", "duckdb"])
def test_a_snippet_sums_one_pipeline_only(expected: pl.DataFrame, snippet: str) -> None:
    names: dict[str, Any] = {}
    exec(snippet, names)
    total = names["total"]
    if isinstance(total, duckdb.DuckDBPyRelation):
        total = total.df()
    rows = pl.from_pandas(total) if isinstance(total, pd.DataFrame) else total
    if "actual" in rows.columns:
        # The horizon of the newest forecast is not over: none of its periods has an actual.
        expected = expected.head(-1)
        assert (rows["actual"] > 0).all()
    assert rows["q50"].to_list() == pytest.approx(expected["q50"].to_list())
    assert [time.astimezone(UTC) for time in rows["issue_time"]] == expected["issue_time"].to_list()
