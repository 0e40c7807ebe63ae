"""Feeds that are Parquet or CSV files: one file, or a glob of files of the same columns."""

from __future__ import annotations

import glob
from pathlib import Path

import polars as pl

from storage.schemas import DataError
from storage.sources.request import Request

_READERS = {".parquet": "parquet", ".pq": "parquet", ".csv": "csv", ".csv.gz": "csv"}


def read(request: Request) -> pl.DataFrame:
    """The named columns of the file or files at the uri, as they are (CSV cells stay text).

    Raises DataError, naming the file, when nothing is there, a file cannot be read or a column is missing.
    """
    uri, columns = request.uri, list(request.columns)
    if "://" in uri:
        raise DataError(f"{request.shown}: a file feed is a path or a glob; other places cannot be read yet")
    # Path.glob takes no absolute pattern.
    paths = sorted(glob.glob(uri, recursive=True)) if any(c in uri for c in "*?[") else [uri]
    paths = [path for path in paths if Path(path).is_file()]
    if not paths:
        raise DataError(f"{uri}: there is no such file")
    return pl.concat([_read_one(Path(path), columns) for path in paths], how="vertical_relaxed")


def _read_one(path: Path, columns: list[str]) -> pl.DataFrame:
    kind = next((kind for suffix, kind in _READERS.items() if path.name.lower().endswith(suffix)), None)
    if kind is None:
        raise DataError(f"{path}: a file feed must end in {', '.join(_READERS)}")
    try:
        if kind == "parquet":
            scan = pl.scan_parquet(path, hive_partitioning=False)
        else:
            # As text: what a cell means is decided once, with a reason, when the rows are checked.
            scan = pl.scan_csv(path, infer_schema=False)
        present = scan.collect_schema().names()
        missing = [column for column in columns if column not in present]
        if missing:
            raise DataError(f"{path}: there is no column {missing[0]!r}; the file has {', '.join(map(repr, present))}")
        return scan.select(columns).collect()
    except pl.exceptions.NoDataError:
        raise DataError(f"{path}: the file is empty") from None
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        # A damaged Parquet page makes Polars panic, which Python does not count among the Exceptions.
        raise DataError(f"{path}: cannot be read as {kind}: {str(error).splitlines()[0]}") from None
