"""Tables of a window: what Gatecast may see of it, and the rows that it must forecast."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import polars as pl

KEYS = ["series_id", "valid_time"]


class Task(Protocol):
    """The attributes of `fev.Task` that the pipeline of a task depends on."""

    horizon: int
    seasonality: int
    max_context_length: int | None
    eval_metric: str | dict[str, Any]
    quantile_levels: list[float]
    id_column: str
    timestamp_column: str
    known_dynamic_columns: list[str]
    past_dynamic_columns: list[str]

    @property
    def target_columns(self) -> list[str]:
        """Names of the target columns."""

    @property
    def freq(self) -> str:
        """Frequency as a pandas offset."""


@dataclass(frozen=True)
class WindowTables:
    """Feeds of a window by name, and its horizon. Every series is one target column of one item.

    Attributes:
        feeds: Tables of `target`, and of `known` and `observed` if there are covariates: series_id, valid_time, values.
        horizon: Rows to forecast, in fev's order: target, series_id, valid_time and the series' issue_time.
    """

    feeds: dict[str, pl.DataFrame]
    horizon: pl.DataFrame

    def write(self, folder: Path) -> None:
        """Write the feeds into a folder."""
        for name, table in self.feeds.items():
            table.write_parquet(folder / f"{name}.parquet")


def window_tables(task: Task, items: list[str], past: pl.DataFrame, future: pl.DataFrame) -> WindowTables:
    """Return the tables of a window.

    A series id is the number of its item among all items and that of its target. It is the same in all windows.
    Gatecast does not allow every text as an id. Covariates that are not numbers are left out.

    Args:
        task: The task.
        items: Ids of all items of the task, also of those that this window leaves out.
        past: Data before the cutoff, one row per item, with lists of values.
        future: Times and known covariates of the horizon, in the same form.
    """
    columns = {
        "target": task.target_columns, "known": task.known_dynamic_columns, "observed": task.past_dynamic_columns,
    }  # fmt: skip
    # The prefix separates a column from one of the same name in Gatecast's tables.
    names = {
        role: {f"{role}_{name}": name for name in of_role if _is_number(past.schema[name])}
        for role, of_role in columns.items()
    }
    before = _rows(task, items, past, names["target"] | names["known"] | names["observed"])
    after = _rows(task, items, future, names["known"])
    rows = {"known": pl.concat([before, after], how="diagonal"), "observed": before}
    series = pl.DataFrame({"number": range(len(task.target_columns)), "target": task.target_columns})
    values = [
        before.select("item", "valid_time", number=pl.lit(number), value=pl.col(name)).drop_nulls()
        for number, name in enumerate(names["target"])
    ]
    feeds = {"target": _of_series(pl.concat(values)).select(*KEYS, "value")}
    for role, table in rows.items():
        if names[role]:
            feeds[role] = _of_series(table.join(series, how="cross")).select(*KEYS, *names[role])
    # fev's order: all items of the first target, then all of the second.
    horizon = _of_series(series.join(after, how="cross", maintain_order="left_right"))
    issue_time = pl.col("valid_time").min().over("series_id").alias("issue_time")
    return WindowTables(
        {name: table.sort(KEYS) for name, table in feeds.items()}, horizon.select("target", *KEYS, issue_time)
    )


def _is_number(dtype: pl.DataType) -> bool:
    inner = getattr(dtype, "inner", dtype)
    return bool(inner.is_numeric() or inner == pl.Boolean)


def _rows(task: Task, items: list[str], lists: pl.DataFrame, names: dict[str, str]) -> pl.DataFrame:
    """Return one row per item and time with columns by their new names, null for what is not finite."""
    rows = lists.select(
        pl.col(task.id_column).replace_strict(items, range(len(items)), return_dtype=pl.Int64).alias("item"),
        pl.col(task.timestamp_column).alias("valid_time"),
        *(pl.col(name).alias(alias) for alias, name in names.items()),
    ).explode("valid_time", *names)
    values = (pl.col(alias).cast(pl.Float64) for alias in names)
    return rows.with_columns(
        pl.col("valid_time").cast(pl.Datetime("us")).dt.replace_time_zone("UTC"),
        *(pl.when(value.is_finite()).then(value) for value in values),
    )


def _of_series(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.with_columns(series_id=pl.format("{}-{}", "item", "number"))
