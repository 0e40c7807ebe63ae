"""Aggregates of score rows: means by any columns or over a window of issue times, and the histogram of the PIT."""

from __future__ import annotations

import polars as pl

#: Sums that add up over any groups of score rows. All measures are ratios of them.
_SUMS = {
    "n": pl.len().cast(pl.Int64),
    "pinball": pl.col("pinball").sum(),
    "absolute_error": pl.col("absolute_error").sum(),
    "error": pl.col("error").sum(),
    "covered": pl.col("covered_80").sum(),
    "covered_n": pl.col("covered_80").count().cast(pl.Int64),
    # The model's pinball on the rows that have a baseline, for a fair comparison.
    "compared": pl.col("pinball").filter(pl.col("baseline_pinball").is_not_null()).sum(),
    "baseline_pinball": pl.col("baseline_pinball").sum(),
    "baseline_absolute_error": pl.col("baseline_absolute_error").sum(),
    "baseline_n": pl.col("baseline_pinball").count().cast(pl.Int64),
    "baseline_covered": pl.col("baseline_covered_80").sum(),
    "baseline_covered_n": pl.col("baseline_covered_80").count().cast(pl.Int64),
    "scaled_error": (pl.col("error") / pl.col("scale")).filter(pl.col("scale") > 0).sum(),
    "scaled_absolute_error": (pl.col("absolute_error") / pl.col("scale")).filter(pl.col("scale") > 0).sum(),
    "scaled_n": (pl.col("scale") > 0).sum().cast(pl.Int64),
}

#: Numerator and denominator among the sums, by measure.
_MEANS = {
    "pinball": ("pinball", "n"),
    "mae": ("absolute_error", "n"),
    "mase": ("scaled_absolute_error", "scaled_n"),
    "bias": ("error", "n"),
    "scaled_bias": ("scaled_error", "scaled_n"),
    "coverage_80": ("covered", "covered_n"),
    "baseline_pinball": ("baseline_pinball", "baseline_n"),
    "baseline_mae": ("baseline_absolute_error", "baseline_n"),
    "baseline_coverage_80": ("baseline_covered", "baseline_covered_n"),
}

#: Columns of every table of measures, after its group columns.
MEASURES = ("n", *_MEANS, "skill")


def sum_by(scores: pl.LazyFrame, *by: str) -> pl.DataFrame:
    """Return the sums of score rows (`storage.schemas.score_schema`) by columns, sorted by these columns."""
    return scores.group_by(by).agg(**_SUMS).sort(by).collect(engine="in-memory")


def to_measures(sums: pl.DataFrame) -> pl.DataFrame:
    """Replace sums by MEASURES, null where the denominator is zero.

    Skill is 1 - pinball / baseline_pinball over the rows that have both. mase and scaled_bias are the means of
    absolute_error / scale and error / scale.
    """
    means = {name: _ratio(numerator, denominator) for name, (numerator, denominator) in _MEANS.items()}
    skill = skill_expression(pl.col("compared"), pl.col("baseline_pinball"))
    by = [name for name in sums.columns if name not in _SUMS]
    return sums.select(*by, "n", **means, skill=skill)


def aggregate(scores: pl.LazyFrame, *by: str) -> pl.DataFrame:
    """Return MEASURES by columns: series_id, issue_time, step, status, model_version, `weekday`, or none of them."""
    if not by:
        return to_measures(scores.select(**_SUMS).collect(engine="in-memory"))
    return to_measures(sum_by(scores, *by))


def rolling(by_issue: pl.DataFrame, window: int) -> pl.DataFrame:
    """Return MEASURES over each issue time and those before it.

    Args:
        by_issue: Sums by issue_time from `sum_by`.
        window: Number of issue times in all.
    """
    return to_measures(by_issue.with_columns(pl.col(name).rolling_sum(window, min_samples=1) for name in _SUMS))


def with_weekday(scores: pl.LazyFrame, timezone: str) -> pl.LazyFrame:
    """Add the column `weekday`, from 1 (Monday) to 7, of the local day in which the period begins."""
    return scores.with_columns(weekday=pl.col("valid_time").dt.convert_time_zone(timezone).dt.weekday())


def pit_histogram(scores: pl.LazyFrame, bins: int = 10) -> pl.DataFrame:
    """Return how many actuals lie in each of `bins` equal intervals of probability.

    Shares of calibrated forecasts are equal. Too narrow intervals give a U shape, too wide ones a hump, and a bias
    gives a slope (Gneiting, Balabdaoui and Raftery 2007).

    Returns:
        Columns lower, upper, n and share.
    """
    # Rounding must not move a PIT on an edge, such as 0.3, into the lower bin.
    number = (pl.col("pit") * bins + 1e-9).floor().clip(0, bins - 1).cast(pl.Int64)
    counts = scores.group_by(bin=number).agg(n=pl.len().cast(pl.Int64)).collect(engine="in-memory")
    every = pl.DataFrame({
        "bin": range(bins),
        "lower": [i / bins for i in range(bins)],
        "upper": [(i + 1) / bins for i in range(bins)],
    })  # fmt: skip
    filled = every.join(counts, on="bin", how="left", maintain_order="left").with_columns(pl.col("n").fill_null(0))
    return filled.select("lower", "upper", "n", share=_ratio("n", pl.col("n").sum()))


def skill(pinball: float | None, baseline_pinball: float | None) -> float | None:
    """Return the skill of two sums or means over the same rows: 1 - pinball / baseline_pinball, None if undefined.

    The terminal, the page, `gatecast models`, Prefect and the metrics all show this number. A series counts by its
    size, as in `pinball` itself.
    """
    if pinball is None or not baseline_pinball:
        return None
    return 1 - pinball / baseline_pinball


def skill_expression(pinball: pl.Expr, baseline_pinball: pl.Expr) -> pl.Expr:
    """Return `skill` as an expression, null if undefined."""
    return pl.when(baseline_pinball != 0).then(1 - pinball / baseline_pinball)


def _ratio(numerator: str, denominator: str | pl.Expr) -> pl.Expr:
    divisor = pl.col(denominator) if isinstance(denominator, str) else denominator
    return pl.when(divisor != 0).then(pl.col(numerator) / divisor)
