"""The whole of a night's shards: what only all series together can tell, and the one file.

Rows are written as the shards give them. Where the last shard shows that a series written before has ended, or what one
without any value is like, the file is gone through once more before it is published.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

import numpy as np
import polars as pl

from flows.settings.pipeline import Pipeline
from flows.stages.baseline_history import NO_VALUE, has_ended
from flows.stages.panels import to_micros
from flows.stages.shard import ShardResult
from model.baseline import pooled_quantiles
from storage import forecasts
from storage.schemas import BASELINE, INSTANT, MODEL, DataError, exceedance_column, quantile_column
from storage.store import Store

_SAMPLE = 1000  # series, spread evenly, that the others of a never seen one are
_AT_ONCE = 240_000  # rows amended together


def publish_shards(
    settings: Pipeline, store: Store, issue_time: datetime, parts: Iterable[ShardResult]
) -> dict[str, Any]:
    """Write the forecast file of `issue_time`, the same whatever the shards were.

    Args:
        parts: of all shards, in the order of the series. One at a time is held.

    Returns:
        What `forecast.forecast` returns.

    Raises:
        DataError: no value of any series was known.
    """
    night = _Night(settings, issue_time)
    levels = list(settings.pipeline.quantile_levels)
    place = forecasts.publish(
        store, settings.name, settings.pipeline.timezone, issue_time, night.rows(parts), levels, night.made,
        settings.forecast.above,
    )  # fmt: skip
    return {"path": place, "issue_time": issue_time.isoformat(), **night.report()}


def forecast_table(settings: Pipeline, issue_time: datetime, parts: Iterable[ShardResult]) -> pl.DataFrame:
    """The rows that `publish_shards` would write. Raises DataError as it does."""
    night = _Night(settings, issue_time)
    rows = pl.concat(night.rows(parts))
    amend = night.made().amend
    return rows if amend is None else pl.concat(amend(rows.lazy()))


class _Night:
    """What is known of each series while the shards come in, but for its numbers; and what follows."""

    def __init__(self, settings: Pipeline, issue_time: datetime) -> None:
        self._settings = settings
        self._issue_time = issue_time
        first = settings.grid.first_step(to_micros(issue_time))
        self._valid = pl.Series(settings.grid.start(first + np.arange(settings.pipeline.horizon))).cast(INSTANT)
        self._columns = [quantile_column(level) for level in settings.pipeline.quantile_levels]
        self._columns += [exceedance_column(threshold) for threshold in settings.forecast.above]
        self._seen: list[pl.DataFrame] = []
        self._tried: dict[str, Any] | None = None

    def rows(self, parts: Iterable[ShardResult]) -> Iterator[pl.DataFrame]:
        """The rows of the forecast file, part by part, of all that its own shard does not show to have ended."""
        for part in parts:
            self._tried = self._tried or part.tried
            # The same few texts a million times.
            self._seen.append(
                part.series.with_columns(pl.col("status", "reason", "model_version").cast(pl.Categorical))
            )
            kept = part.series["status"].is_not_null()
            if kept.all():
                yield self._block(part.series, part.numbers)
            else:
                yield self._block(part.series.filter(kept), part.numbers[kept.to_numpy()])

    def _block(self, series: pl.DataFrame, numbers: np.ndarray) -> pl.DataFrame:
        count, horizon = numbers.shape[:2]
        again = np.repeat(np.arange(count, dtype=np.uint32), horizon)
        step = np.tile(np.arange(horizon, dtype=np.int32), count)
        said = series.select("series_id", "status", "reason", "model_version")[again]
        return said.with_columns(
            issue_time=pl.lit(self._issue_time, dtype=INSTANT),
            valid_time=self._valid.gather(step),
            step=pl.Series(step + 1),
            **{name: pl.Series(numbers[:, :, i].reshape(-1)) for i, name in enumerate(self._columns)},
        )

    @property
    def _series(self) -> pl.DataFrame:
        if len(self._seen) > 1:
            self._seen = [pl.concat(self._seen)]
        return self._seen[0]

    @property
    def _over(self) -> pl.Series:
        """Whether each series has ended."""
        newest, ever = self._series["newest"].fill_null(NO_VALUE).to_numpy(), self._series["ever"].to_numpy()
        return pl.Series(has_ended(self._settings, newest, ever))

    def made(self) -> forecasts.ForecastMetadata:
        """What is known once all parts have come."""
        series, over = self._series, self._over
        if not series["ever"].any():
            raise DataError(f"pipeline {self._settings.name!r}: no series has a value that was known at the issue time")
        data = hashlib.sha256()
        for digest in series.filter(~over)["digest"]:
            data.update(digest)
        late = series.filter(over & series["status"].is_not_null())["series_id"]
        unknown = series.filter(~series["ever"] & (series["status"] == BASELINE))["series_id"]

        def amend(written: pl.LazyFrame) -> Iterator[pl.DataFrame]:
            fill = self._like_the_others(written, over, unknown) if len(unknown) else None
            kept = written.filter(~pl.col("series_id").is_in(late.implode()))
            for rows in kept.collect_batches(chunk_size=_AT_ONCE, maintain_order=True):
                yield rows if fill is None else self._filled(rows, unknown, fill)

        again = len(late) or len(unknown)
        sha256 = self._tried["sha256"] if self._tried else None
        return forecasts.ForecastMetadata(sha256, data.hexdigest(), amend if again else None)

    def _like_the_others(self, written: pl.LazyFrame, over: pl.Series, unknown: pl.Series) -> np.ndarray:
        """(H, Q + X) what a series gets of which nothing is known: the others' forecasts taken together."""
        others = self._series["series_id"].filter(~over & ~self._series["series_id"].is_in(unknown.implode()))
        chosen = others.gather_every(-(-len(others) // _SAMPLE))
        found = written.filter(pl.col("series_id").is_in(chosen.implode())).select(self._columns).collect()
        levels = np.array(self._settings.pipeline.quantile_levels)
        numbers = found.to_numpy().reshape(len(chosen), -1, len(self._columns))
        quantiles, probabilities = np.split(numbers, [len(levels)], axis=2)
        return np.concatenate([pooled_quantiles(quantiles, levels), probabilities.mean(axis=0)], axis=1)

    def _filled(self, rows: pl.DataFrame, unknown: pl.Series, fill: np.ndarray) -> pl.DataFrame:
        at = rows["series_id"].is_in(unknown.implode()).to_numpy()
        step = rows["step"].to_numpy() - 1
        return rows.with_columns(
            pl.Series(name, np.where(at, fill[step, i], rows[name].to_numpy())) for i, name in enumerate(self._columns)
        )

    def report(self) -> dict[str, Any]:
        """What was published: series, rows, rows by status, reasons of what is not `model`, and by which model."""
        over, horizon = self._over, self._settings.pipeline.horizon
        kept = self._series.filter(~over).with_columns(pl.col("status", "reason").cast(pl.String))
        count = kept.group_by("status").len().sort("status")
        degraded = kept.filter(pl.col("status") != MODEL)
        reasons = degraded.group_by("status", "reason").agg(pl.len().alias("series"))
        tried = self._tried or dict.fromkeys(("version", "provider", "fell_back"))
        return {
            "series": len(kept),
            "rows": len(kept) * horizon,
            "status": {status: rows * horizon for status, rows in count.iter_rows()},
            "reasons": reasons.sort("status", "reason").to_dicts(),
            "degraded": not degraded.is_empty(),
            "model_version": tried["version"],
            "provider": tried["provider"],
            "fell_back": tried["fell_back"],
            "ended": self._series.filter(over)["series_id"].to_list(),
        }
