"""Open-Meteo's hourly variables that describe the hour before their time, and their shift to its start.

Source: the column "Valid time" of the tables in https://open-meteo.com/en/docs and its pages per model. All other
variables are values at an instant, which count for the hour that begins then.
"""

from __future__ import annotations

from datetime import timedelta

import polars as pl

from storage.sources.request import AVAILABLE_AT, VALID_TIME

#: "Preceding hour mean", "sum", "max" or "probability".
OF_PRECEDING_HOUR = frozenset({
    "shortwave_radiation", "direct_radiation", "diffuse_radiation", "direct_normal_irradiance",
    "global_tilted_irradiance", "terrestrial_radiation", "sunshine_duration",
    "precipitation", "rain", "showers", "snowfall", "snowfall_water_equivalent", "precipitation_probability",
    "evapotranspiration", "et0_fao_evapotranspiration", "wind_gusts_10m", "windgusts_10m",
})  # fmt: skip
_HOUR = timedelta(hours=1)
_KNOWN = ":known"


def shift_to_starts(table: pl.DataFrame, values: tuple[str, ...]) -> pl.DataFrame:
    """Return hours with the start of the hour as the time of every variable.

    An hour needs all its variables, so the newest one is left out if its mean or sum has not been requested yet.

    Args:
        table: Columns of keys, valid_time, available_at and values.
        values: Value columns.
    """
    shifted = [name for name in values if name in OF_PRECEDING_HOUR]
    if not shifted:
        return table
    starts = table.with_columns(pl.col(VALID_TIME) - _HOUR)
    if len(shifted) == len(values):
        return starts
    keys = [name for name in table.columns if name not in (*values, AVAILABLE_AT)]
    sums = starts.select(*keys, pl.col(AVAILABLE_AT).alias(_KNOWN), *shifted)
    hours = table.drop(shifted).join(sums, on=keys, how="inner", maintain_order="left")
    return hours.with_columns(pl.max_horizontal(AVAILABLE_AT, _KNOWN)).drop(_KNOWN)
