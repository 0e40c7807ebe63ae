"""Detection of observed values in a feed that is declared as known in advance."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import polars as pl

from flows.settings.pipeline import Pipeline
from model.checks.feed_rows import CheckedRows


def actuals_as_known_future(settings: Pipeline, checked: Mapping[str, CheckedRows]) -> dict[str, str]:
    """Return a warning by `known_future` feed that has no available_at and ends where the target ends.

    Such values are probably observed. A model that is trained on them sees the actual weather of each horizon, which
    no forecast has.

    Args:
        settings: Settings of the pipeline.
        checked: Checked rows by feed.
    """
    targets = [newest for feed in settings.feeds("target") if (newest := _newest(checked.get(feed.name), feed.values))]
    if not targets:
        return {}
    warnings = {}
    for feed in settings.feeds("known_future"):
        newest = _newest(checked.get(feed.name), feed.values)
        if newest is None or feed.shape().available_at is not None or newest > max(targets):
            continue
        warnings[feed.name] = (
            f"{feed.name}: no value is later than the newest target, {settings.local_text(max(targets))}; the newest "
            f"one is of {settings.local_text(newest)}. As known_future without available_at, its values count as known "
            "at every issue time. If they are measured, training would use the "
            'actual values of the horizon: set role = "observed", or use a feed that holds forecasts with the time of '
            'each in available_at (docs/sources.md, "Actuals and forecasts in one feed").'
        )
    return warnings


def _newest(checked: CheckedRows | None, values: tuple[str, ...]) -> datetime | None:
    """Return the newest valid time with a value, None without any."""
    if checked is None:
        return None
    has_value = pl.any_horizontal(pl.col(name).is_not_null() for name in values)
    newest: datetime | None = checked.accepted.filter(has_value).select(pl.col("valid_time").max()).item()
    return newest
