"""Skill, coverage, errors and calibration of scored rows, by issue time, series, step, hour and weekday.

Skill is that of `model/evaluation/monitoring.py`, as everywhere: 1 - pinball / the baseline's pinball.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, TypedDict, cast

import numpy as np
import polars as pl

from model.evaluation.monitoring import skill_expression
from storage.schemas import INSTANT

_ROUNDING = 1e-9
_NORMAL_QUANTILE = 1.96  # of the 95% confidence interval


class Figures(TypedDict):
    """Figures of a group of scored rows; None where they are undefined."""

    n: int
    skill: float | None
    coverage: float | None
    mae: float | None
    baseline_mae: float | None
    bias: float | None
    mase: float | None
    baseline_mase: float | None


class LevelShare(NamedTuple):
    """Share of the actuals at or below the quantile of one level."""

    level: float
    share: float


class PitBin(NamedTuple):
    """Density of the actuals between the quantiles of two neighbouring levels. 1 is expected."""

    low: float
    high: float
    density: float


@dataclass(frozen=True)
class ScoreArrays:
    """Mean scores by series and issue time. Each array has the shape (S, K), with NaN where nothing is scored.

    Attributes:
        issue_times: The K issue times.
        pinball: Mean pinball of the forecast.
        baseline_pinball: Mean pinball of the baseline.
        coverage: Share of actuals inside the 80% interval.
    """

    issue_times: list[datetime]
    pinball: np.ndarray
    baseline_pinball: np.ndarray
    coverage: np.ndarray


def scorable_rows(scores: pl.DataFrame) -> pl.DataFrame:
    """Return the rows with an actual, a pinball and that of the baseline."""
    is_finite = [pl.col(c).is_finite() for c in ("actual", "pinball", "baseline_pinball")]
    return scores.filter(*is_finite).with_columns(covered_80=pl.col("covered_80").fill_nan(None))


def overall(rows: pl.DataFrame) -> Figures:
    """Return the figures of all rows together."""
    return cast(Figures, rows.select(*_figures()).row(0, named=True))


def by_issue_time(rows: pl.DataFrame) -> pl.DataFrame:
    """Return a table of issue_time and the figures of `overall`, oldest first."""
    return rows.group_by("issue_time").agg(*_figures()).sort("issue_time")


def by_step(rows: pl.DataFrame) -> pl.DataFrame:
    """Return a table of step and the figures of `overall`."""
    return rows.group_by("step").agg(*_figures()).sort("step")


def by_hour(rows: pl.DataFrame, timezone: str) -> pl.DataFrame:
    """Return a table of `hour`, the local hour of the day in which a period begins, and the figures of `overall`."""
    local = pl.col("valid_time").dt.convert_time_zone(timezone)
    return rows.group_by(hour=local.dt.hour().cast(pl.Int64)).agg(*_figures()).sort("hour")


def by_weekday(rows: pl.DataFrame, timezone: str) -> pl.DataFrame:
    """Return a table of `weekday`, from 1 (Monday) to 7, and the figures of `overall`."""
    local = pl.col("valid_time").dt.convert_time_zone(timezone)
    return rows.group_by(weekday=local.dt.weekday().cast(pl.Int64)).agg(*_figures()).sort("weekday")


def by_series(rows: pl.DataFrame) -> pl.DataFrame:
    """Return a table of series_id and the figures of `overall`."""
    return rows.group_by("series_id").agg(*_figures())


def score_arrays(rows: pl.DataFrame, series_ids: tuple[str, ...], issue_times: list[datetime]) -> ScoreArrays:
    """Return the mean scores of S series at K issue times."""
    means = rows.group_by("series_id", "issue_time").agg(
        pl.col("pinball", "baseline_pinball").mean(), coverage=pl.col("covered_80").mean()
    )
    series_rows = pl.DataFrame({"series_id": pl.Series(series_ids, dtype=pl.String)}).with_row_index("row")
    columns = pl.DataFrame({"issue_time": pl.Series(issue_times, dtype=INSTANT)}).with_row_index("column")
    means = means.join(series_rows, on="series_id").join(columns, on="issue_time")

    def as_array(name: str) -> np.ndarray:
        array = np.full((len(series_ids), len(issue_times)), np.nan)
        array[means["row"].to_numpy(), means["column"].to_numpy()] = means[name].cast(pl.Float64).to_numpy()
        return array

    return ScoreArrays(issue_times, as_array("pinball"), as_array("baseline_pinball"), as_array("coverage"))


def reliability(rows: pl.DataFrame, levels: tuple[float, ...]) -> list[LevelShare]:
    """Return the share of actuals at or below the quantile of each level; empty without PIT values."""
    pit = rows["pit"].drop_nulls().drop_nans().to_numpy()
    return [LevelShare(level, float((pit <= level + _ROUNDING).mean())) for level in levels] if len(pit) else []


def share_by_chance(rows: pl.DataFrame, low: float, high: float) -> tuple[float, float]:
    """Return the 95% confidence interval of the share of actuals above level `low` and at or below level `high`.

    The periods of one night are dependent, so a night counts as one observation. A few nights with a share of 1 have
    no variance. Therefore two nights with a share of 0 and two of 1 are added (Agresti and Coull 1998).

    Args:
        rows: Scored rows with issue_time and pit.
        low: Quantile level, 0 for no bound.
        high: Quantile level.
    """
    pit = pl.col("pit")
    inside = ((pit > low + _ROUNDING) | (low == 0)) & (pit <= high + _ROUNDING)
    known = rows.filter(pit.is_not_null() & pit.is_not_nan())
    shares = np.append(known.group_by("issue_time").agg(inside.mean().alias("share"))["share"].to_numpy(), [0, 0, 1, 1])
    half = _NORMAL_QUANTILE * float(shares.std(ddof=1)) / len(shares) ** 0.5
    mean = float(shares.mean())
    return max(0.0, mean - half), min(1.0, mean + half)


def pit_histogram(rows: pl.DataFrame, levels: tuple[float, ...]) -> list[PitBin]:
    """Return the density of actuals between neighbouring quantiles; empty without PIT values."""
    shares = [0.0, *(share for _, share in reliability(rows, levels)), 1.0]
    edges = [0.0, *levels, 1.0]
    if len(shares) != len(edges):
        return []
    return [
        PitBin(low, high, (share_high - share_low) / (high - low))
        for low, high, share_low, share_high in zip(edges, edges[1:], shares, shares[1:], strict=False)
    ]


def _figures() -> list[pl.Expr]:
    """Return the aggregations of one group. A row without a scale does not count in the two of MASE."""
    scale = pl.when(pl.col("scale") > 0).then(pl.col("scale"))
    return [
        pl.len().alias("n"),
        skill_expression(pl.col("pinball").sum(), pl.col("baseline_pinball").sum()).alias("skill"),
        pl.col("covered_80").mean().alias("coverage"),
        pl.col("absolute_error").mean().alias("mae"),
        pl.col("baseline_absolute_error").fill_nan(None).mean().alias("baseline_mae"),
        pl.col("error").mean().alias("bias"),
        (pl.col("absolute_error") / scale).mean().alias("mase"),
        (pl.col("baseline_absolute_error") / scale).mean().alias("baseline_mase"),
    ]
