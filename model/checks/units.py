"""Checks for series in another unit, against an expected level or against a covariate of the same series."""

from __future__ import annotations

import polars as pl

from model.checks.findings import Finding
from storage.schemas.records import Action

_RATIO = 2.0  # Levels that differ by this factor are in different units.
_COMPARED_VALUES = 1000  # newest values of each series
_FEWEST_COMPARED = 24  # values that two feeds have
_MOST_DIFFERENT = 0.2  # median difference of two feeds, relative to the median size. Revisions differ by less.


def check_expected_level(rows: pl.DataFrame, value: str, expected: dict[str, float], action: Action) -> list[Finding]:
    """Find series whose level is a multiple of the expected one, for example because a source sums four quarters.

    Args:
        rows: Accepted rows with the columns series_id, valid_time and `value`.
        value: Name of the value column.
        expected: Mean level by series_id, in the target's unit.
        action: Action for the findings. With `accept` the check does not run.
    """
    if action == "accept" or not expected:
        return []
    known = rows.filter(pl.col(value).is_not_null() & pl.col("series_id").is_in(list(expected)))
    recent = known.group_by("series_id", maintain_order=True).tail(_COMPARED_VALUES)
    levels = recent.group_by("series_id", maintain_order=True).agg(
        rows=pl.len(), first=pl.col("valid_time").min(), last=pl.col("valid_time").max(), level=pl.col(value).mean()
    )
    findings = []
    for row in levels.iter_rows(named=True):
        level = expected[row["series_id"]]
        ratio = row["level"] / level
        if not 1 / _RATIO < ratio < _RATIO:
            detail = f"level {ratio:.3g} times the expected {level:g}"
            findings.append(
                Finding("other_unit", action, row["series_id"], row["rows"], row["first"], row["last"], detail)
            )
    return findings


def check_unit_ratio(
    target: pl.DataFrame, value: str, covariate: pl.DataFrame, name: str, action: Action
) -> list[Finding]:
    """Find series that follow a covariate of the same series, such as an operator's forecast, at a multiple of it.

    Args:
        target: Accepted rows with the columns series_id, valid_time and `value`. The newest weeks are compared.
        value: Name of the target's column.
        covariate: Accepted rows with the columns series_id, valid_time and `name`.
        name: Name of the covariate's column.
        action: Action for the findings. With `accept` the check does not run.
    """
    if action == "accept" or covariate["series_id"].null_count():
        return []
    recent = target.filter(pl.col(value) > 0).group_by("series_id", maintain_order=True).tail(_COMPARED_VALUES)
    both = recent.join(covariate.filter(pl.col(name) > 0), on=["series_id", "valid_time"], maintain_order="left")
    ratio = pl.col(value) / pl.col(name)
    ratios = both.group_by("series_id", maintain_order=True).agg(
        rows=pl.len(), first=pl.col("valid_time").min(), last=pl.col("valid_time").max(), median=ratio.median(),
        spread=ratio.quantile(0.9) / ratio.quantile(0.1),
    )  # fmt: skip
    has_enough = pl.col("rows") >= _COMPARED_VALUES // 20
    is_multiple = (pl.col("spread") < 2) & ~pl.col("median").is_between(0.7, 1.4)
    return [
        Finding(
            "other_unit", action, row["series_id"], row["rows"], row["first"], row["last"],
            f"{row['median']:.3g} times {name}",
        )
        for row in ratios.filter(has_enough & is_multiple).iter_rows(named=True)
    ]  # fmt: skip


def check_conflict(rows: pl.DataFrame, value: str, others: pl.DataFrame, other: str, feed: str) -> list[Finding]:
    """Find values that another feed has for the same series and periods, and that differ by far.

    A forecast uses the revision that became known last, so it would mix the two.

    Args:
        rows: Accepted rows with the columns series_id, valid_time and `value`.
        value: Name of the value column.
        others: Accepted rows of the other feed.
        other: Name of its value column.
        feed: Name of the other feed.
    """
    keys = ["series_id", "valid_time"]
    own, theirs = (
        table.filter(pl.col(name).is_not_null()).unique(keys, keep="last").select(*keys, column=name)
        for table, name in ((rows, value), (others, other))
    )
    both = own.join(theirs, on=keys, nulls_equal=True, suffix="_of_other").sort(keys)
    if len(both) < _FEWEST_COMPARED:
        return []
    difference = (pl.col("column") - pl.col("column_of_other")).abs()
    size, typical = both.select(difference.median(), pl.col("column_of_other").abs().median()).row(0)
    if size <= _MOST_DIFFERENT * typical:
        return []
    example = both.filter(difference == difference.max()).row(0, named=True)
    detail = (
        f"{len(both):,} values of {value} are of series and periods that feed {feed!r} has too, with other values, "
        f"such as {example['column']:.6g} and {example['column_of_other']:.6g}. Remove one of them, or give covariates "
        "different names"
    )
    first, last = both.select(first=pl.col("valid_time").min(), last=pl.col("valid_time").max()).row(0)
    return [Finding("conflict", "warn", None, len(both), first, last, detail)]
