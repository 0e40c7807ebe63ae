"""The embedded sample: data that `make run` forecasts without a late input."""

import polars as pl
import pytest

from storage import samples


@pytest.mark.parametrize("name", ["load", "market"])
def test_all_series_of_the_sample_end_in_the_same_period(name: str) -> None:
    frame = pl.read_parquet(f"{samples.__path__[0]}/{name}.parquet")
    ends = frame.group_by("series_id").agg(pl.col("ds").max())
    assert ends["ds"].n_unique() == 1, ends
