"""What a simulated operation must have left behind, told from its Parquet files alone, with DuckDB and NumPy.

Nothing of Gatecast's own reading or scoring is used here.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import duckdb
import numpy as np

_LEVELS = np.arange(1, 10) / 10
_QUANTILES = [f"q{p}" for p in range(10, 100, 10)]


def prove(store: Path, name: str, nights: int) -> dict[str, Any]:
    """Check an operation of `nights` nights; returns what was counted.

    Raises AssertionError where a promise is broken: a file is missing or late, a row that is not `model` says no
    reason, a score is not what its forecast and the history say.
    """
    forecasts = sorted((store / "forecasts" / f"pipeline={name}").rglob("*.parquet"))
    assert len(forecasts) == nights, f"{len(forecasts)} files of {nights} nights"
    records = [json.loads(place.read_text()) for place in sorted((store / "nights" / name).glob("*.json"))]
    late = [record["issue_time"] for record in records if not record["published_at"] < record["deadline"]]
    assert len(records) == nights and not late, f"published after the deadline: {late}"
    sql = duckdb.connect()
    table = f"read_parquet('{store}/forecasts/pipeline={name}/**/*.parquet', hive_partitioning = false)"
    status = dict(sql.sql(f"select status, count(*) from {table} group by 1 order by 1").fetchall())
    silent = "(reason is null) <> (status = 'model') or (model_version is null) <> (status = 'baseline')"
    assert sql.sql(f"select count(*) from {table} where {silent}").fetchall() == [(0,)], "a row says no reason"
    return {"nights": nights, "rows": status, "scores": _scores(sql, store, name, table)}


def _scores(sql: duckdb.DuckDBPyConnection, store: Path, name: str, table: str) -> int:
    """How many scores there are; all are what the newest actuals say of their forecasts."""
    # Of a period the value available last counts; of those, the one ingested last.
    sql.sql(f"""
        create table actual as
        select series_id, valid_time, y from read_parquet('{store}/history/{name}/demand/*.parquet')
        qualify row_number() over (
            partition by series_id, valid_time order by available_at desc, ingested_at desc
        ) = 1
    """)
    key = "order by series_id, issue_time, valid_time"
    true = f"select f.*, y from {table} f join actual using (series_id, valid_time) where y is not null {key}"
    expected = sql.sql(true).fetchnumpy()
    found = sql.sql(f"select * from read_parquet('{store}/scores/{name}/*.parquet') {key}").fetchnumpy()
    for column in ("series_id", "issue_time", "valid_time", "status"):
        assert (expected[column] == found[column]).all(), f"scores lack or invent rows ({column})"
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
        np.testing.assert_allclose(found[column], values, rtol=1e-9, atol=1e-9, err_msg=column)
    return len(actual)
