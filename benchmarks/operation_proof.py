"""Proof of a simulated operation from its Parquet files alone, with DuckDB and NumPy.

It uses none of Gatecast's own code for reading or scoring.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import duckdb
import numpy as np

_LEVELS = np.arange(1, 10) / 10
_QUANTILES = [f"q{p}" for p in range(10, 100, 10)]


class Proof(NamedTuple):
    """Counts of a checked operation: runs, forecast rows by status, scores."""

    runs: int
    rows: dict[str, int]
    scores: int


def prove(store: Path, name: str, runs: int) -> Proof:
    """Check the files of an operation of `runs` nightly runs and return what was counted.

    Raises:
        AssertionError: A forecast is missing or late, a row that is not `model` has no reason, or a score differs from
            the one computed here.
    """
    forecasts = sorted((store / "forecasts" / f"pipeline={name}").rglob("*.parquet"))
    assert len(forecasts) == runs, f"{len(forecasts)} forecast files of {runs} runs"
    records = [json.loads(path.read_text()) for path in sorted((store / "nights" / name).glob("*.json"))]
    late = [record["issue_time"] for record in records if not record["published_at"] < record["deadline"]]
    assert len(records) == runs and not late, f"published after the deadline: {late}"
    sql = duckdb.connect()
    table = f"read_parquet('{store}/forecasts/pipeline={name}/**/*.parquet', hive_partitioning = false)"
    rows = dict(sql.sql(f"select status, count(*) from {table} group by 1 order by 1").fetchall())
    without_reason = "(reason is null) <> (status = 'model') or (model_version is null) <> (status = 'baseline')"
    assert sql.sql(f"select count(*) from {table} where {without_reason}").fetchall() == [(0,)], "a row has no reason"
    return Proof(runs, rows, _check_scores(sql, store, name, table))


def _check_scores(sql: duckdb.DuckDBPyConnection, store: Path, name: str, table: str) -> int:
    """Check every score against the newest actuals and return the number of scores."""
    # The newest revision of a period counts: the one available last, then the one ingested last.
    sql.sql(f"""
        create table actual as
        select series_id, valid_time, y from read_parquet('{store}/history/{name}/demand/*.parquet')
        qualify row_number() over (
            partition by series_id, valid_time order by available_at desc, ingested_at desc
        ) = 1
    """)
    key = "order by series_id, issue_time, valid_time"
    actuals = f"select f.*, y from {table} f join actual using (series_id, valid_time) where y is not null {key}"
    expected = sql.sql(actuals).fetchnumpy()
    scores = sql.sql(f"select * from read_parquet('{store}/scores/{name}/*.parquet') {key}").fetchnumpy()
    for column in ("series_id", "issue_time", "valid_time", "status"):
        assert (expected[column] == scores[column]).all(), f"scores miss or add rows ({column})"
    actual, quantiles = expected["y"], np.stack([expected[q] for q in _QUANTILES], axis=1)
    error = actual[:, None] - quantiles
    independent = {
        "actual": actual,
        "absolute_error": np.abs(error[:, 4]),
        "error": error[:, 4],
        "pinball": np.maximum(_LEVELS * error, (_LEVELS - 1) * error).mean(axis=1),
        "covered_80": ((error[:, 0] >= 0) & (error[:, 8] <= 0)).astype(float),
    }
    for column, values in independent.items():
        np.testing.assert_allclose(scores[column], values, rtol=1e-9, atol=1e-9, err_msg=column)
    return len(actual)
