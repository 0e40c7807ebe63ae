"""Leakage: values that become available after T change no byte of the forecast of T."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from tests.support.commands import gatecast, json_report
from tests.support.pipelines import ISSUE, copy_of

NOON = pl.datetime(2018, 9, 1)


def forecast(pipeline: Path, status: int = 0) -> bytes:
    done = gatecast("forecast", pipeline, "--issue-time", ISSUE, "--json")
    assert done.returncode == status, done.stderr
    return Path(json_report(done)["path"]).read_bytes()


def change(pipeline: Path, expression: pl.Expr) -> None:
    feed = pipeline.parent / "load.parquet"
    pl.read_parquet(feed).with_columns(y=expression).write_parquet(feed)
    assert gatecast("ingest", pipeline).returncode == 0


def test_values_after_t_change_nothing(pipeline: Path) -> None:
    before = forecast(pipeline)
    assert forecast(pipeline) == before
    change(pipeline, pl.when(pl.col("ds") >= NOON).then(pl.col("y") * 3).otherwise("y"))
    assert forecast(pipeline) == before


def test_values_before_t_change_the_forecast(pipeline: Path) -> None:
    before = forecast(pipeline)
    last = (pl.col("ds") == NOON - pl.duration(hours=1)) & (pl.col("series_id") == "LDC1")
    change(pipeline, pl.when(last).then(pl.col("y") * 1.1).otherwise("y"))
    after = forecast(pipeline)
    assert after != before
    frames = [pl.read_parquet(source) for source in (before, after)]
    same = [f.filter(pl.col("series_id") != "LDC1") for f in frames]
    assert same[0].equals(same[1])


def test_a_late_feed_is_masked_and_not_an_error(pipeline: Path) -> None:
    """Remove the last hours of one series. The model forecasts it nevertheless."""
    text = pipeline.read_text()
    pipeline.write_text(text.replace("./store", "./late"))
    folder = pipeline.parent
    (folder / "store").rename(folder / "late")
    for old in (folder / "late" / "history" / "small" / "demand").glob("*"):
        old.unlink()
    load = pl.read_parquet(folder / "load.parquet")
    late = (pl.col("series_id") == "LDC2") & (pl.col("ds") >= NOON - pl.duration(hours=10))
    load.filter(~late).write_parquet(folder / "load.parquet")
    assert gatecast("ingest", pipeline, "--as-of", ISSUE).returncode == 0
    rows = pl.read_parquet(forecast(pipeline, status=3))
    by_series = dict(rows.select("series_id", "status").unique().iter_rows())
    assert by_series == {"LDC1": "model", "LDC2": "stale_model", "LDC3": "model"}
    reason = rows.filter(series_id="LDC2")["reason"].unique().item()
    assert reason == (
        "demand: the newest period is 2018-08-31 13:00, 10 periods late by available_after = 0h, usually 0"
    )


def test_values_after_t_do_not_change_the_training_data(trained: Path, tmp_path: Path) -> None:
    """Compare issue times and training windows of T before and after values are added after T."""
    import numpy as np

    from flows import clock
    from flows.settings import file as pipeline_file
    from flows.stages import training_data
    from model.training.samples import build_sampler
    from storage.store import open_store

    def drawn(path: Path) -> tuple[str, bytes, tuple[list[int], list[int]]]:
        settings = pipeline_file.read(path, {})
        at = clock.parse_time(ISSUE, settings.pipeline.timezone)
        split = training_data.read_training_split(settings, open_store(settings.pipeline.store), at)
        spec = settings.spec(split.panel.series)
        source = build_sampler(spec, split.panel, split.last_step, 0, int(split.held_out.steps[-1]))
        drawn = source.draw(np.random.default_rng(0), 500)
        issue_times = (split.validation.issues.tolist(), split.held_out.issues.tolist())
        return drawn.windows.sha256(), drawn.actual.tobytes(), issue_times

    copy = copy_of(trained, tmp_path / "copy")
    before = drawn(copy)
    change(copy, pl.when(pl.col("ds") >= NOON).then(pl.col("y") * 3).otherwise("y"))
    assert drawn(copy) == before


def test_the_parts_of_the_training_data_do_not_overlap(trained: Path) -> None:
    """Check that no horizon of the fit or of early stopping reaches into the next part."""
    from flows import clock
    from flows.settings import file as pipeline_file
    from flows.stages import training_data
    from flows.stages.panels import to_micros
    from storage.store import open_store

    settings = pipeline_file.read(trained, {})
    at = clock.parse_time(ISSUE, settings.pipeline.timezone)
    split = training_data.read_training_split(settings, open_store(settings.pipeline.store), at)
    horizon = settings.pipeline.horizon
    assert split.last_step + horizon <= split.validation.steps[0]
    assert split.validation.steps[-1] + horizon <= split.held_out.steps[0]
    assert split.held_out.steps[-1] + horizon <= settings.grid.first_step(to_micros(at))
    assert len(split.held_out.steps) == len(split.validation.steps) == 7
