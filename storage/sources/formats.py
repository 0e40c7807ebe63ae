"""Parquet and CSV: one file's bytes, wherever they lie, to a table."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from storage.schemas import DataError
from storage.sources.panics import held_back

_FORMATS = {
    ".parquet": "parquet", ".pq": "parquet", ".csv": "csv", ".csv.gz": "csv", ".csv.zst": "csv",
}  # fmt: skip


def read(source: Path | bytes, name: str, columns: Sequence[str]) -> pl.DataFrame:
    """The named columns of one file, as they are (CSV cells stay text).

    Args:
        source: where the file lies, or what is in it.
        name: its name; its ending says what it is, and errors begin with it.

    Raises:
        DataError: the file is none of the kind, or a column is missing.
    """
    form = next((form for ending, form in _FORMATS.items() if name.lower().endswith(ending)), None)
    if form is None:
        raise DataError(f"{name}: a file feed must end in {', '.join(_FORMATS)}")
    given = io.BytesIO(source) if isinstance(source, bytes) else source
    try:
        if form == "parquet":
            with held_back():
                return _columns(pl.scan_parquet(given, hive_partitioning=False, glob=False), name, columns)
        # As text: what a cell means is decided once, with a reason, when the rows are checked.
        return _columns(pl.scan_csv(given, infer_schema=False, glob=False), name, columns)
    except pl.exceptions.NoDataError:
        raise DataError(f"{name}: the file is empty") from None
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        # A damaged Parquet page makes Polars panic, which Python does not count among the Exceptions.
        what = next(iter(str(error).splitlines()), type(error).__name__)
        raise DataError(f"{name}: cannot be read as {form}: {what}") from None


def concatenate_tables(tables: Sequence[pl.DataFrame], name: str) -> pl.DataFrame:
    """The rows of several files one after the other. Raises DataError where a column is of two kinds."""
    try:
        return pl.concat(tables, how="vertical_relaxed")
    except pl.exceptions.PolarsError as error:
        what = str(error).splitlines()[0]
        raise DataError(f"{name}: the parts do not fit together, a column is of two types: {what}") from None


def _columns(scan: pl.LazyFrame, name: str, columns: Sequence[str]) -> pl.DataFrame:
    present = scan.collect_schema().names()
    missing = [column for column in columns if column not in present]
    if missing:
        raise DataError(f"{name}: there is no column {missing[0]!r}; the file has {', '.join(map(repr, present))}")
    twice = [column for column in columns if f"{column}_duplicated_0" in present]  # Polars' name for a second one
    if twice:
        raise DataError(f"{name}: there are several columns {twice[0]!r}; name the right one apart")
    return scan.select(columns).collect()
