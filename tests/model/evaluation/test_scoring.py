"""Scores row by row, against plain loops and values worked out by hand."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from model.evaluation import metrics
from model.evaluation.scoring import score_rows
from storage.schemas import forecast_schema, quantile_levels, score_schema


def pit_of_row(quantiles: list[float], levels: list[float], actual: float) -> float:
    """Return the PIT by its definition, without arrays."""
    equal = [level for level, quantile in zip(levels, quantiles, strict=True) if quantile == actual]
    if equal:
        return (equal[0] + equal[-1]) / 2
    if actual < quantiles[0]:
        return levels[0] / 2
    if actual > quantiles[-1]:
        return (1 + levels[-1]) / 2
    low = max(i for i, quantile in enumerate(quantiles) if quantile < actual)
    share = (actual - quantiles[low]) / (quantiles[low + 1] - quantiles[low])
    return levels[low] + share * (levels[low + 1] - levels[low])


@pytest.mark.parametrize("levels", [[0.5], [0.1, 0.5, 0.9], [0.025, 0.1, 0.5, 0.6, 0.99]])
def test_pit_equals_its_definition(levels: list[float]) -> None:
    rng = np.random.default_rng(0)
    # Few different values make quantiles and actuals often equal.
    quantiles = np.sort(rng.integers(0, 6, (2000, len(levels))).astype(float), axis=1)
    actual = rng.integers(-2, 16, 2000) / 2
    expected = [pit_of_row(q, levels, a) for q, a in zip(quantiles.tolist(), actual.tolist(), strict=True)]
    np.testing.assert_allclose(metrics.pit(quantiles, np.array(levels), actual), expected, rtol=1e-12)
    assert np.isnan(metrics.pit(quantiles[:1], np.array(levels), np.array([np.nan]))).all()


def test_pit_of_a_calibrated_forecast_is_uniform() -> None:
    levels = np.arange(1, 10) / 10
    actual = np.random.default_rng(1).uniform(size=20_000)
    counts, _ = np.histogram(metrics.pit(np.tile(levels, (20_000, 1)), levels, actual), 10, (0, 1))
    assert abs(counts / 20_000 - 0.1).max() < 0.01


def forecast_rows(levels: list[float], quantiles: np.ndarray, actual: list[float]) -> pl.DataFrame:
    """Return rows of a forecast file with the given quantiles, and their actuals."""
    schema = forecast_schema(levels)
    rows = pl.DataFrame({name: [None] * len(actual) for name in schema}, schema=schema)
    columns = {name: quantiles[:, i] for i, name in enumerate(n for n in schema if n.startswith("q"))}
    return rows.with_columns(**{n: pl.Series(v) for n, v in columns.items()}, actual=pl.Series(actual))


def test_score_row_by_hand() -> None:
    rows = forecast_rows([0.1, 0.5, 0.9], np.array([[8.0, 10.0, 14.0]]), [15.0])
    (row,) = score_rows(rows, [0.1, 0.5, 0.9], np.array([[5.0, 15.0, 16.0]]), np.array([2.5])).to_dicts()
    assert (row["median"], row["error"], row["absolute_error"], row["scale"]) == (10.0, 5.0, 5.0, 2.5)
    assert row["pinball"] == pytest.approx((0.1 * 7 + 0.5 * 5 + 0.9 * 1) / 3)
    assert (row["covered_80"], row["pit"]) == (0.0, 0.95)
    assert row["baseline_pinball"] == pytest.approx((0.1 * 10 + 0 + 0.1 * 1) / 3)
    assert (row["baseline_absolute_error"], row["baseline_covered_80"]) == (0.0, 1.0)


def test_unknown_scores_are_null() -> None:
    # Levels from 0.25 to 0.75 have no 80% interval. A series without history has no baseline.
    rows = forecast_rows([0.25, 0.5, 0.75], np.array([[8.0, 10.0, 14.0]]), [11.0])
    scored = score_rows(rows, [0.25, 0.5, 0.75], np.full((1, 3), np.nan), np.array([np.nan]))
    assert dict(scored.schema) == score_schema()
    (row,) = scored.to_dicts()
    assert row["pit"] == 0.5 + 0.25 / 4
    for column in ("covered_80", "baseline_pinball", "baseline_absolute_error", "baseline_covered_80", "scale"):
        assert row[column] is None


def test_levels_are_read_from_the_columns() -> None:
    levels = [0.025, 0.1, 0.5, 0.9, 0.975, 0.999]
    assert quantile_levels(list(forecast_schema(levels))) == levels
