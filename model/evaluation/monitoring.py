"""Scores in the long run: means by whatever groups them, over windows of nights, and the shape of the PIT."""

from __future__ import annotations

import polars as pl

#: Sums that add up over any groups of score rows; every measure is made of them.
_SUMS = {
    "n": pl.len().cast(pl.Int64),
    "pinball": pl.col("pinball").sum(),
    "absolute_error": pl.col("absolute_error").sum(),
    "error": pl.col("error").sum(),
    "covered": pl.col("covered_80").sum(),
    "covered_n": pl.col("covered_80").count().cast(pl.Int64),
    # The bar is compared on the rows that it has.
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

#: measure: numerator and denominator among the sums
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

#: Columns that every table of measures has, after what groups it.
MEASURES = ("n", *_MEANS, "skill")


def sum_by(scores: pl.LazyFrame, *by: str) -> pl.DataFrame:
    """The additive sums of score rows (`storage.schemas.score_schema`) by the columns `by`, in their order."""
    return scores.group_by(by).agg(**_SUMS).sort(by).collect(engine="in-memory")


def measures(summed: pl.DataFrame) -> pl.DataFrame:
    """MEASURES in the place of `sums`; null where there is nothing to divide by.

    skill is 1 - pinball / baseline_pinball, over the rows that have both; mase and scaled_bias are means of
    absolute_error / scale and error / scale.
    """
    made = {name: _ratio(above, below) for name, (above, below) in _MEANS.items()}
    skill = 1 - _ratio("compared", "baseline_pinball")
    by = [name for name in summed.columns if name not in _SUMS]
    return summed.select(*by, "n", **made, skill=skill)


def aggregate(scores: pl.LazyFrame, *by: str) -> pl.DataFrame:
    """MEASURES by the columns `by`: series_id, issue_time, step, status, model_version, `weekday` or none."""
    if not by:
        return measures(scores.select(**_SUMS).collect(engine="in-memory"))
    return measures(sum_by(scores, *by))


def rolling(nightly: pl.DataFrame, nights: int) -> pl.DataFrame:
    """MEASURES of each issue time together with those before it, `nights` in all.

    Args:
        nightly: `sums` by issue_time, ascending.
    """
    return measures(nightly.with_columns(pl.col(name).rolling_sum(nights, min_samples=1) for name in _SUMS))


def with_weekday(scores: pl.LazyFrame, timezone: str) -> pl.LazyFrame:
    """`scores` with `weekday`: 1 (Monday) to 7, of the local day in which the period begins."""
    return scores.with_columns(weekday=pl.col("valid_time").dt.convert_time_zone(timezone).dt.weekday())


def pit_histogram(scores: pl.LazyFrame, bins: int = 10) -> pl.DataFrame:
    """How often the actual lay in each of `bins` equal slices of probability: lower, upper, n, share.

    Calibrated forecasts have equal shares; a U says that the intervals are too narrow, a hump too wide, a slope
    that the forecasts are biased (Gneiting, Balabdaoui, Raftery 2007).
    """
    # A PIT on the edge, such as 0.3, belongs to the slice above it, however it is rounded.
    slices = (pl.col("pit") * bins + 1e-9).floor().clip(0, bins - 1).cast(pl.Int64)
    found = scores.group_by(slice=slices).agg(n=pl.len().cast(pl.Int64)).collect(engine="in-memory")
    every = pl.DataFrame({
        "slice": range(bins),
        "lower": [i / bins for i in range(bins)],
        "upper": [(i + 1) / bins for i in range(bins)],
    })  # fmt: skip
    counted = every.join(found, on="slice", how="left", maintain_order="left").with_columns(pl.col("n").fill_null(0))
    return counted.select("lower", "upper", "n", share=_ratio("n", pl.col("n").sum()))


def _ratio(above: str, below: str | pl.Expr) -> pl.Expr:
    divisor = pl.col(below) if isinstance(below, str) else below
    return pl.when(divisor != 0).then(pl.col(above) / divisor)
