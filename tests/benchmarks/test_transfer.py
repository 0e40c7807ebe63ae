"""Short histories of some series, and the loss by which they are judged."""

from __future__ import annotations

from datetime import date, datetime, timedelta

import polars as pl
import pytest

from benchmarks.league.forecasts import COLUMNS
from benchmarks.transfer import scaled_pinball, shorten

START = date(2024, 3, 1)
HOURS = [datetime(2024, 1, 1) + timedelta(hours=hour) for hour in range(24 * 61)]


@pytest.fixture
def target() -> pl.DataFrame:
    """Return two series of 61 days, of which each week is 7 higher than the one before."""
    values = [float(hour // 168 * 7) for hour in range(len(HOURS))]
    return pl.concat(pl.DataFrame({"series_id": name, "ds": HOURS, "y": values}) for name in ("a", "b"))


def test_only_the_chosen_series_are_shortened(target: pl.DataFrame) -> None:
    cut = shorten(target, ("b",), START, 21)
    first = dict(cut.group_by("series_id").agg(pl.col("ds").min()).iter_rows())
    assert first == {"a": HOURS[0], "b": datetime(2024, 2, 9)}
    assert cut.group_by("series_id").agg(pl.col("ds").max())["ds"].unique().to_list() == [HOURS[-1]]


def test_the_loss_is_divided_by_the_seasonal_naive_error_of_the_whole_history(target: pl.DataFrame) -> None:
    day = target.filter((pl.col("series_id") == "b") & (pl.col("ds") >= START) & (pl.col("ds") < date(2024, 3, 2)))
    rows = day.select(
        "series_id", pl.col("ds").dt.replace_time_zone("UTC").alias("valid_time"),
        *((pl.col("y") + 14).alias(name) for name in COLUMNS),
    )  # fmt: skip
    # All levels are 14 too high: the mean loss over 0.1 to 0.9 is half of that, and the naive error is 7.
    assert scaled_pinball(rows, target, START, "b") == pytest.approx(1.0)
