"""Assembly of the shard results of one issue time into one forecast file.

Rows are written in the order of the shards. Only after the last shard it is known which series have ended, and from
which forecasts a series without history is imputed. If that changes written rows, the file is written a second time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from functools import partial

import numpy as np
import polars as pl

from flows.settings.pipeline import Pipeline
from flows.stages.advisory_steps import AdvisorySteps
from flows.stages.baseline_history import NO_VALUE, has_ended
from flows.stages.fallback import no_deadline
from flows.stages.panels import to_micros
from flows.stages.sample_paths import write_sample_paths
from flows.stages.shard import ShardResult
from model.baseline import pooled_quantiles
from storage import forecasts
from storage.schemas import (
    BASELINE,
    INSTANT,
    MODEL,
    DataError,
    exceedance_column,
    forecast_schema,
    quantile_column,
)
from storage.schemas.records import ForecastReport, ShardModel
from storage.store import Store

_MAX_POOLED_SERIES = 1000  # maximum number of series pooled to impute a series without history
_BATCH_ROWS = 240_000  # rows rewritten at once


def publish_shards(
    settings: Pipeline,
    store: Store,
    issue_time: datetime,
    results: Iterable[ShardResult],
    has_time: Callable[[], bool] = no_deadline,
    now: datetime | None = None,
    steps: AdvisorySteps | None = None,
) -> ForecastReport:
    """Write the forecast file of `issue_time`, then its sample paths if the settings request them.

    The bytes do not depend on the number of shards. A forecast that is degraded although its inputs are complete does
    not replace a complete one: the report is then of the complete one, with the degradation as a failure.

    Args:
        settings: Settings of the pipeline.
        store: Store to publish in.
        issue_time: Issue time of the forecast.
        results: Results of all shards in the order of the series. One at a time is held in memory.
        has_time: Function that returns False once no time is left for sample paths.
        now: Present instant. A forecast of the far future is not copied to `latest/`.
        steps: Steps that may fail, such as the copy to `latest/`. Their failures are in the report.

    Raises:
        DataError: No series has a known value.
    """
    assembly = _Assembly(settings, issue_time)
    steps = steps or AdvisorySteps()
    levels = list(settings.pipeline.quantile_levels)
    name, timezone = settings.name, settings.pipeline.timezone

    def metadata() -> forecasts.ForecastMetadata:
        facts = assembly.metadata()
        lost_its_model = assembly.is_degraded and assembly.has_complete_inputs
        if lost_its_model:
            schema = forecast_schema(levels, settings.forecast.above)
            rows = forecasts.read_complete(store, name, timezone, assembly.valid_times, issue_time, schema)
            if rows is not None:
                raise _CompleteExists(rows)
        return facts

    try:
        uri = forecasts.publish(
            store, name, timezone, issue_time, assembly.blocks(results), levels, metadata, settings.forecast.above,
            {feed.name: feed.values[0] for feed in settings.feeds("target")}, now,
            lambda copy: steps.run("latest", copy, None),
        )  # fmt: skip
    except _CompleteExists as kept:
        path = forecasts.uri(store, name, timezone, issue_time)
        return _kept_report(kept.rows, assembly.report(path), steps)
    report = assembly.report(uri)
    if settings.forecast.samples:
        samples = steps.run("samples", partial(write_sample_paths, settings, store, issue_time, has_time), None)
        if samples is not None:
            report["samples"] = samples
    report["failures"] = dict(steps.failures)
    return report


class _CompleteExists(Exception):
    """A complete forecast of the issue time was published before, and the new one is degraded.

    Attributes:
        rows: Rows of the complete forecast.
    """

    def __init__(self, rows: pl.DataFrame) -> None:
        super().__init__()
        self.rows = rows


def _kept_report(rows: pl.DataFrame, degraded: ForecastReport, steps: AdvisorySteps) -> ForecastReport:
    """Return the report of the complete forecast `rows` that a degraded one did not replace."""
    first = degraded["reasons"][0]
    steps.failures["forecast"] = (
        f"the complete forecast that was published before stays, because the new one has {first['series']:,} series "
        f"with the status {first['status']}: {first['reason']}"
    )
    return {
        **degraded,
        "series": rows["series_id"].n_unique(),
        "rows": len(rows),
        "status": {MODEL: len(rows)},
        "reasons": [],
        "incomplete": {},
        "degraded": False,
        "model_version": rows["model_version"][0],
        "failures": dict(steps.failures),
    }


def forecast_table(settings: Pipeline, issue_time: datetime, results: Iterable[ShardResult]) -> pl.DataFrame:
    """Return the rows that `publish_shards` would write. Arguments and errors are the same."""
    assembly = _Assembly(settings, issue_time)
    rows = pl.concat(assembly.blocks(results))
    amend = assembly.metadata().amend
    return rows if amend is None else pl.concat(amend(rows.lazy()))


class _Assembly:
    """Rows of the forecast file, and the facts about each series that are kept while the shards are read."""

    def __init__(self, settings: Pipeline, issue_time: datetime) -> None:
        self._settings = settings
        self._issue_time = issue_time
        first = settings.grid.first_step(to_micros(issue_time))
        self.valid_times = pl.Series(settings.grid.start(first + np.arange(settings.pipeline.horizon))).cast(INSTANT)
        self._columns = [quantile_column(level) for level in settings.pipeline.quantile_levels]
        self._columns += [exceedance_column(threshold) for threshold in settings.forecast.above]
        self._series_tables: list[pl.DataFrame] = []
        self._model: ShardModel | None = None

    def blocks(self, results: Iterable[ShardResult]) -> Iterator[pl.DataFrame]:
        """Yield the rows of each shard, without series that have ended beside the others of their shard."""
        for result in results:
            self._model = self._model or result.model
            # A million series share a few texts.
            texts = pl.col("status", "reason", "model_version").cast(pl.Categorical)
            self._series_tables.append(result.series.with_columns(texts))
            kept = result.series["status"].is_not_null()
            if kept.all():
                yield self._block(result.series, result.values)
            else:
                yield self._block(result.series.filter(kept), result.values[kept.to_numpy()])

    def _block(self, series: pl.DataFrame, values: np.ndarray) -> pl.DataFrame:
        count, horizon = values.shape[:2]
        repeated = np.repeat(np.arange(count, dtype=np.uint32), horizon)
        step = np.tile(np.arange(horizon, dtype=np.int32), count)
        keys = series.select("series_id", "status", "reason", "model_version")[repeated]
        return keys.with_columns(
            issue_time=pl.lit(self._issue_time, dtype=INSTANT),
            valid_time=self.valid_times.gather(step),
            step=pl.Series(step + 1),
            **{name: pl.Series(values[:, :, i].reshape(-1)) for i, name in enumerate(self._columns)},
        )

    @property
    def _series(self) -> pl.DataFrame:
        if len(self._series_tables) > 1:
            self._series_tables = [pl.concat(self._series_tables)]
        return self._series_tables[0]

    @property
    def is_degraded(self) -> bool:
        """True if a row to publish does not come from the champion. Valid once all shards are read."""
        return bool((self._series.filter(~self._has_ended)["status"].cast(pl.String) != MODEL).any())

    @property
    def has_complete_inputs(self) -> bool:
        """True if no input of a row to publish was late or missing. Valid once all shards are read."""
        return bool(self._series.filter(~self._has_ended)["incomplete"].is_null().all())

    @property
    def _has_ended(self) -> pl.Series:
        """State of each series: True if it has ended beside all others."""
        newest = self._series["newest"].fill_null(NO_VALUE).to_numpy()
        return pl.Series(has_ended(self._settings, newest, self._series["ever"].to_numpy()))

    def metadata(self) -> forecasts.ForecastMetadata:
        """Return the metadata of the file, once all shards are read.

        Raises:
            DataError: No series has a known value.
        """
        series, is_over = self._series, self._has_ended
        if not series["ever"].any():
            raise DataError(
                f"pipeline {self._settings.name!r}: no series has a value that was known at the issue time "
                f"{self._settings.local_text(self._issue_time)}; run `gatecast ingest` or choose a later issue time"
            )
        data = hashlib.sha256()
        for digest in series.filter(~is_over)["digest"]:
            data.update(digest)
        removed = series.filter(is_over & series["status"].is_not_null())["series_id"]
        imputed = series.filter(~series["ever"] & (series["status"] == BASELINE))["series_id"]

        def amend(written: pl.LazyFrame) -> Iterator[pl.DataFrame]:
            pooled = self._pooled_forecast(written, is_over, imputed) if len(imputed) else None
            kept = written.filter(~pl.col("series_id").is_in(removed.implode()))
            for rows in kept.collect_batches(chunk_size=_BATCH_ROWS, maintain_order=True):
                yield rows if pooled is None else self._with_imputed(rows, imputed, pooled)

        needs_amending = len(removed) or len(imputed)
        sha256 = self._model["sha256"] if self._model else None
        return forecasts.ForecastMetadata(sha256, data.hexdigest(), amend if needs_amending else None)

    def _pooled_forecast(self, written: pl.LazyFrame, is_over: pl.Series, imputed: pl.Series) -> np.ndarray:
        """Return the forecast of a series without history, shape (H, Q + X): those of the others, pooled."""
        others = self._series["series_id"].filter(~is_over & ~self._series["series_id"].is_in(imputed.implode()))
        # The pooled series are spread evenly over the sorted ids.
        pooled = others.gather_every(-(-len(others) // _MAX_POOLED_SERIES))
        rows = written.filter(pl.col("series_id").is_in(pooled.implode())).select(self._columns).collect()
        levels = np.array(self._settings.pipeline.quantile_levels)
        values = rows.to_numpy().reshape(len(pooled), -1, len(self._columns))
        quantiles, probabilities = np.split(values, [len(levels)], axis=2)
        return np.concatenate([pooled_quantiles(quantiles, levels), probabilities.mean(axis=0)], axis=1)

    def _with_imputed(self, rows: pl.DataFrame, imputed: pl.Series, pooled: np.ndarray) -> pl.DataFrame:
        is_imputed = rows["series_id"].is_in(imputed.implode()).to_numpy()
        step = rows["step"].to_numpy() - 1
        return rows.with_columns(
            pl.Series(name, np.where(is_imputed, pooled[step, i], rows[name].to_numpy()))
            for i, name in enumerate(self._columns)
        )

    def report(self, uri: str) -> ForecastReport:
        """Return the report of the forecast that was published at `uri`."""
        is_over, horizon = self._has_ended, self._settings.pipeline.horizon
        kept = self._series.filter(~is_over).with_columns(pl.col("status", "reason").cast(pl.String))
        count = kept.group_by("status").len().sort("status")
        degraded = kept.filter(pl.col("status") != MODEL)
        reasons = degraded.group_by("status", "reason").agg(pl.len().alias("series"))
        model = self._model
        return {
            "path": uri,
            "issue_time": self._issue_time.isoformat(),
            "series": len(kept),
            "rows": len(kept) * horizon,
            "status": {status: rows * horizon for status, rows in count.iter_rows()},
            "reasons": reasons.sort("status", "reason").to_dicts(),  # type: ignore[typeddict-item]
            "incomplete": _incomplete_inputs(kept),
            "degraded": not degraded.is_empty(),
            "model_version": model["version"] if model else None,
            "provider": model["provider"] if model else None,
            "fell_back": model["fell_back"] if model else None,
            "ended": self._series.filter(is_over)["series_id"].to_list(),
            "failures": {},
        }


def _incomplete_inputs(series: pl.DataFrame) -> dict[str, str]:
    """Return by feed why its input was late or missing: the most frequent reason, and for how many series."""
    late = series.select(pl.col("incomplete").drop_nulls()).explode("incomplete").unnest("incomplete")
    counts = late.group_by("feed", "reason").agg(count=pl.len())
    total = late.group_by("feed").agg(total=pl.len())
    most = counts.sort("count", "reason", descending=[True, False]).unique("feed", keep="first", maintain_order=True)
    most = most.join(total, on="feed").sort("feed")
    return {
        feed: reason if total == len(series) else f"{reason} ({total:,} of {len(series):,} series)"
        for feed, reason, _, total in most.iter_rows()
    }
