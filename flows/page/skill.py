"""From scored rows to the figures of the page: skill, coverage and calibration by night, series and step.

Skill is 1 - pinball / the baseline's pinball. Over several series each error is divided by its series' scale (the
denominator of MASE), so that a large series does not speak for the small ones.
"""

from __future__ import annotations

from datetime import datetime

import numpy as np
import polars as pl

from storage.schemas import INSTANT

RECENT = 7

_WEIGHT = pl.when(pl.col("scale") > 0).then(1 / pl.col("scale"))


def came_true(scores: pl.DataFrame) -> pl.DataFrame:
    """The rows that can be judged, with `weight`, null where the series has no scale."""
    finite = [pl.col(c).is_finite() for c in ("actual", "pinball", "baseline_pinball")]
    return scores.filter(*finite).with_columns(weight=_WEIGHT, covered_80=pl.col("covered_80").fill_nan(None))


def overall(rows: pl.DataFrame) -> dict[str, float | None]:
    """n, skill, coverage, mase and baseline_mase of all rows; None where there is nothing to tell from."""
    return rows.select(*_figures("weight")).row(0, named=True)


def by_night(rows: pl.DataFrame) -> pl.DataFrame:
    """issue_time and the figures of `overall`, oldest first."""
    return rows.group_by("issue_time").agg(*_figures("weight")).sort("issue_time")


def by_step(rows: pl.DataFrame) -> pl.DataFrame:
    """Step and the figures of `overall`."""
    return rows.group_by("step").agg(*_figures("weight")).sort("step")


def by_series(rows: pl.DataFrame) -> pl.DataFrame:
    """series_id, n, skill, coverage, mae, baseline_mae, in the target's unit."""
    plain = rows.with_columns(weight=pl.lit(1.0))
    return plain.group_by("series_id").agg(*_figures("weight")).rename({"mase": "mae", "baseline_mase": "baseline_mae"})


def newest(rows: pl.DataFrame, nights: int) -> pl.DataFrame:
    """The rows of the last `nights` issue times."""
    issues = rows["issue_time"].unique().sort().tail(nights)
    return rows.filter(pl.col("issue_time").is_in(issues.implode()))


def night_arrays(rows: pl.DataFrame, series: tuple[str, ...], issues: list[datetime]) -> dict[str, np.ndarray]:
    """(S, K) arrays of mean pinball, baseline_pinball and coverage by series and issue time, NaN where none."""
    found = rows.group_by("series_id", "issue_time").agg(
        pl.col("pinball", "baseline_pinball").mean(), coverage=pl.col("covered_80").mean()
    )
    place = pl.DataFrame({"series_id": pl.Series(series, dtype=pl.String)}).with_row_index("row")
    when = pl.DataFrame({"issue_time": pl.Series(issues, dtype=INSTANT)}).with_row_index("column")
    found = found.join(place, on="series_id").join(when, on="issue_time")
    arrays = {}
    for name in ("pinball", "baseline_pinball", "coverage"):
        array = np.full((len(series), len(issues)), np.nan)
        array[found["row"].to_numpy(), found["column"].to_numpy()] = found[name].cast(pl.Float64).to_numpy()
        arrays[name] = array
    return arrays


def reliability(rows: pl.DataFrame, levels: tuple[float, ...]) -> list[tuple[float, float]]:
    """(level, share of actuals at or below that quantile), one a level; empty without PIT values."""
    pit = rows["pit"].drop_nulls().drop_nans()
    return [(level, float((pit <= level + 1e-9).mean())) for level in levels] if len(pit) else []  # type: ignore[arg-type]


def pit_histogram(rows: pl.DataFrame, levels: tuple[float, ...]) -> list[tuple[float, float, float]]:
    """(from, to, share of actuals / width): what fell between neighbouring quantiles, 1 where all is calibrated."""
    below = [0.0, *(share for _, share in reliability(rows, levels)), 1.0]
    edges = [0.0, *levels, 1.0]
    if len(below) != len(edges):
        return []
    return [
        (low, high, (under_high - under_low) / (high - low))
        for low, high, under_low, under_high in zip(edges, edges[1:], below, below[1:], strict=False)
    ]


def _figures(weight: str) -> list[pl.Expr]:
    """Expressions of one group; a null weight leaves the row out of all but n and coverage."""
    weighed = {
        name: (pl.col(name) * pl.col(weight)).sum()
        for name in ("pinball", "baseline_pinball", "absolute_error", "baseline_absolute_error")
    }
    count = pl.col(weight).count()
    return [
        pl.len().alias("n"),
        pl.when(weighed["baseline_pinball"] > 0)
        .then(1 - weighed["pinball"] / weighed["baseline_pinball"])
        .alias("skill"),
        pl.col("covered_80").mean().alias("coverage"),
        pl.when(count > 0).then(weighed["absolute_error"] / count).alias("mase"),
        pl.when(count > 0).then(weighed["baseline_absolute_error"] / count).alias("baseline_mase"),
    ]
