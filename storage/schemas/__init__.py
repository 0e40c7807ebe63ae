"""Schemas of all tables and records in the store."""

from storage.errors import DataError, Missing, MissingColumn, Unreadable
from storage.schemas.order import is_sorted, series_bounds
from storage.schemas.row_problems import ROW_PROBLEM
from storage.schemas.series_ids import distinct_ids, to_series_id, to_series_ids
from storage.schemas.tables import (
    BASELINE,
    CONTRACT_VERSION,
    FILE,
    INSTANT,
    MODEL,
    STALE_MODEL,
    exceedance_column,
    forecast_schema,
    history_schema,
    quantile_column,
    quantile_levels,
    sample_schema,
    score_schema,
    shard_result_schema,
)

__all__ = [
    "BASELINE",
    "CONTRACT_VERSION",
    "FILE",
    "INSTANT",
    "MODEL",
    "ROW_PROBLEM",
    "STALE_MODEL",
    "DataError",
    "Missing",
    "MissingColumn",
    "Unreadable",
    "distinct_ids",
    "exceedance_column",
    "forecast_schema",
    "history_schema",
    "is_sorted",
    "quantile_column",
    "quantile_levels",
    "sample_schema",
    "score_schema",
    "series_bounds",
    "shard_result_schema",
    "to_series_id",
    "to_series_ids",
]  # fmt: skip
