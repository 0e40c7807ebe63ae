"""Series in another unit than they should be: against what the pipeline file expects, or a covariate of their own."""

from __future__ import annotations

import polars as pl

from model.checks.series import Action, Finding

_RATIO = 2.0  # of levels, from which a unit is another one
_COMPARED = 1000  # newest values of a series


def check_expected_level(rows: pl.DataFrame, value: str, expected: dict[str, float], action: Action) -> list[Finding]:
    """Series whose level is a multiple of the one that the pipeline file expects, as when a source sums four quarters.

    Args:
        rows: accepted rows: series_id, valid_time and `value`; the newest values of each series count.
        expected: mean level by series_id, in the target's unit.
    """
    if action == "accept" or not expected:
        return []
    recent = rows.filter(pl.col(value).is_not_null() & pl.col("series_id").is_in(list(expected)))
    found = recent.group_by("series_id", maintain_order=True).tail(_COMPARED).group_by("series_id", maintain_order=True)
    levels = found.agg(
        rows=pl.len(), first=pl.col("valid_time").min(), last=pl.col("valid_time").max(), level=pl.col(value).mean()
    )  # fmt: skip
    findings = []
    for row in levels.iter_rows(named=True):
        ratio = row["level"] / expected[row["series_id"]]
        if not 1 / _RATIO < ratio < _RATIO:
            detail = f"level {ratio:.3g} times the expected {expected[row['series_id']]:g}"
            findings.append(
                Finding("other_unit", action, row["series_id"], row["rows"], row["first"], row["last"], detail)
            )
    return findings


def check_unit_ratio(
    target: pl.DataFrame, value: str, covariate: pl.DataFrame, name: str, action: Action
) -> list[Finding]:
    """Series that run beside a covariate of their own, such as an operator's forecast, but at a multiple of it.

    Args:
        target, covariate: accepted rows: series_id, valid_time and `value`, or `name`. The last weeks are compared.
    """
    if action == "accept" or covariate["series_id"].null_count():
        return []
    recent = target.filter(pl.col(value) > 0).group_by("series_id", maintain_order=True).tail(_COMPARED)
    both = recent.join(covariate.filter(pl.col(name) > 0), on=["series_id", "valid_time"], maintain_order="left")
    ratio = pl.col(value) / pl.col(name)
    found = both.group_by("series_id", maintain_order=True).agg(
        rows=pl.len(), first=pl.col("valid_time").min(), last=pl.col("valid_time").max(), middle=ratio.median(),
        spread=ratio.quantile(0.9) / ratio.quantile(0.1),
    )  # fmt: skip
    odd = (pl.col("rows") >= _COMPARED // 20) & (pl.col("spread") < 2) & ~pl.col("middle").is_between(0.7, 1.4)
    return [
        Finding(
            "other_unit", action, r["series_id"], r["rows"], r["first"], r["last"], f"{r['middle']:.3g} times {name}"
        )
        for r in found.filter(odd).iter_rows(named=True)
    ]
