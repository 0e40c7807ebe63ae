"""Checks for series in another unit, against an expected level or against a covariate of the same series."""

from __future__ import annotations

import polars as pl

from model.checks.findings import Finding
from storage.schemas.records import Action

_RATIO = 2.0  # Levels that differ by this factor are in different units.
_COMPARED_VALUES = 1000  # newest values of each series


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
