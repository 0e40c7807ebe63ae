"""Proof of a simulated operation from its Parquet files alone, with DuckDB and NumPy.

It uses none of Gatecast's own code for reading or scoring.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import duckdb
import numpy as np

_LEVELS = np.arange(1, 10) / 10
_QUANTILES = [f"q{p}" for p in range(10, 100, 10)]
_OWN_FILE = re.compile(r"\d{8}T\d{6}Z\.parquet")  # other names are stray files


class Proof(NamedTuple):
    """Counts of a checked operation: runs, forecast rows by status, scores."""

    runs: int
    rows: dict[str, int]
    scores: int


def prove(store: Path, name: str, runs: int, published_late: Mapping[str, float] | None = None) -> Proof:
    """Check the files of an operation of `runs` nightly runs and return what was counted.

    Args:
        store: Folder of the store, or a copy of its bucket.
        name: Name of the pipeline.
        runs: Number of runs, each with an issue time of its own.
        published_late: Seconds after the deadline by issue time, as a watcher of the files measured them. None takes
            the times from the run records, of which then none may be missing.

    Raises:
        AssertionError: A forecast is missing or late, a row that is not `model` has no reason, or a score differs from
            the one computed here.
    """
    forecasts = list(own_files(store / "forecasts" / f"pipeline={name}"))
    assert len(forecasts) == runs, f"{len(forecasts)} forecast files of {runs} runs"
    if published_late is None:
        records = [json.loads(path.read_text()) for path in sorted((store / "nights" / name).glob("*.json"))]
        late = [record["issue_time"] for record in records if not record["published_at"] < record["deadline"]]
        assert len(records) == runs, f"{len(records)} run records of {runs} runs"
    else:
        late = list(published_late)
    assert not late, f"published after the deadline: {late}"
    sql = duckdb.connect()
    table = _table(forecasts)
    rows = dict(sql.sql(f"select status, count(*) from {table} group by 1 order by 1").fetchall())
    without_reason = "(reason is null) <> (status = 'model') or (model_version is null) <> (status = 'baseline')"
    assert sql.sql(f"select count(*) from {table} where {without_reason}").fetchall() == [(0,)], "a row has no reason"
    return Proof(runs, rows, _check_scores(sql, store, name, table))


def _check_scores(sql: duckdb.DuckDBPyConnection, store: Path, name: str, table: str) -> int:
    """Check every score against the newest actuals and return the number of scores."""
    # The newest revision of a period counts: the one available last, then the one ingested last.
    sql.sql(f"""
        create table actual as
        select series_id, valid_time, y from {_table(_intact(store / "history" / name / "demand"))}
        qualify row_number() over (
            partition by series_id, valid_time order by available_at desc, ingested_at desc
        ) = 1
    """)
    key = "order by series_id, issue_time, valid_time"
    actuals = f"select f.*, y from {table} f join actual using (series_id, valid_time) where y is not null {key}"
    expected = sql.sql(actuals).fetchnumpy()
    scores = sql.sql(f"select * from {_table(own_files(store / 'scores' / name))} {key}").fetchnumpy()
    actual = expected["y"]
    assert len(scores["status"]) == len(actual), f"{len(scores['status'])} scores of {len(actual)}"
    for column in ("series_id", "issue_time", "valid_time", "status"):
        assert (expected[column] == scores[column]).all(), f"scores miss or add rows ({column})"
    quantiles = np.stack([expected[q] for q in _QUANTILES], axis=1)
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


def find_incomplete(
    store: Path, name: str, issue: datetime, context: timedelta, truth: Path, needs_weather: bool
) -> list[str]:
    """Return the series whose forecast is called complete although an input was missing or wrong in the history.

    A row is called complete by its status `model`. The history must have each value of the context as the source
    had it before any fault, up to the newest period. The covariate must be known for every
    period of the forecast.

    Args:
        store: Folder of the store, or a copy of its bucket, right after the run.
        name: Name of the pipeline.
        issue: Issue time of the run.
        context: Length of the context.
        truth: Parquet file of the values that were available at the issue time: series_id, ds, y.
        needs_weather: Whether there is a covariate.
    """
    sql = duckdb.connect()
    sql.execute("set timezone = 'UTC'")
    forecast = _table(
        [path for path in own_files(store / "forecasts" / f"pipeline={name}") if path.stem == _stamp(issue)]
    )
    parts = list(_intact(store / "history" / name / "demand"))
    whole = sql.execute(f"select distinct series_id from {forecast} where status = 'model' order by 1").fetchall()
    if not whole or not parts:
        return [series for (series,) in whole]
    bounds = f"between '{issue - context}'::timestamptz and '{issue}'::timestamptz"
    sql.execute(f"""
        create table known as select series_id, valid_time, y from {_table(parts)}
        where available_at <= '{issue}'::timestamptz and valid_time {bounds}
        qualify row_number() over (
            partition by series_id, valid_time order by available_at desc, ingested_at desc
        ) = 1
    """)
    sql.execute(f"create table truth as select series_id, ds, y from read_parquet('{truth}') where ds {bounds}")
    wrong = sql.execute(f"""
        with whole as (select distinct series_id from {forecast} where status = 'model')
        select series_id from whole join truth using (series_id)
        left join known on known.series_id = truth.series_id and known.valid_time = truth.ds
        where known.y is null or abs(known.y - truth.y) > 1e-9 * abs(truth.y)
        union
        select series_id from whole left join known using (series_id)
        group by 1 having max(valid_time) is null or max(valid_time) < (select max(ds) from truth)
    """).fetchall()
    if needs_weather and _lacks_weather(sql, store, name, issue, forecast):
        return [series for (series,) in whole]
    return sorted(series for (series,) in wrong)


def _lacks_weather(sql: duckdb.DuckDBPyConnection, store: Path, name: str, issue: datetime, forecast: str) -> bool:
    parts = list(_intact(store / "history" / name / "weather"))
    if not parts:
        return True
    (missing,) = sql.execute(f"""
        select count(*) from (select distinct valid_time from {forecast})
        where valid_time not in (
            select valid_time from {_table(parts)}
            where temperature is not null and coalesce(available_at <= '{issue}'::timestamptz, true)
        )
    """).fetchall()[0]
    return bool(missing)


def own_files(folder: Path) -> Iterator[Path]:
    """Yield the files below a folder that have an issue time as their name."""
    return (path for path in sorted(folder.rglob("*.parquet")) if _OWN_FILE.fullmatch(path.name))


def _intact(folder: Path) -> Iterator[Path]:
    """Yield the Parquet files of a folder that DuckDB can read."""
    for path in sorted(folder.glob("*.parquet")):
        try:
            duckdb.execute(f"select count(*), max(valid_time) from read_parquet('{path}')").fetchall()
        except (duckdb.Error, OSError):
            continue
        yield path


def _table(paths: Iterator[Path] | list[Path]) -> str:
    """Return a table expression of DuckDB that reads these files."""
    files = ", ".join(f"'{path}'" for path in paths)
    return f"read_parquet([{files}], hive_partitioning = false)"


def _stamp(issue: datetime) -> str:
    return issue.strftime("%Y%m%dT%H%M%SZ")
