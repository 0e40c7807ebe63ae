"""Fallback order, forced step by step for single series: champion, predecessor, baseline."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import polars as pl
import pytest

from flows import clock, summary
from flows.settings import file as pipeline_file
from flows.stages.forecast import forecast
from flows.stages.ingest import ingest
from storage import history, registry
from storage.schemas import DataError
from storage.store import Store, open_store
from tests.support.commands import gatecast, json_report
from tests.support.narrow import as_number
from tests.support.pipelines import ISSUE

# The settings, the store and the version of its only champion.
Opened = tuple[pipeline_file.Pipeline, Store, str]


@pytest.fixture
def opened(pipeline: Path) -> Opened:
    """Return the settings, the store and the version of its only champion."""
    settings = pipeline_file.read(pipeline, {})
    store = open_store(settings.pipeline.store)
    (version,) = registry.champions(store, settings.name)
    return settings, store, version


def serve(settings: pipeline_file.Pipeline, store: Store, predecessor: bytes, champion: bytes) -> tuple[str, str]:
    """Make two models the only ones that serve ISSUE, and return their versions."""
    (manifest,) = registry.valid_manifests(store, settings.name)
    facts = {k: v for k, v in manifest.items() if k not in ("version", "as_of", "sha256")}
    versions = []
    for day, content in (("2018-08-30", predecessor), ("2018-08-31", champion)):
        as_of = clock.parse_time(day, settings.pipeline.timezone)
        versions.append(registry.add(store, settings.name, as_of, content, facts))
        registry.promote(store, settings.name, versions[-1])
    registry.roll_back(store, settings.name, versions[-1], clock.now())
    return versions[0], versions[1]


def with_nan(content: bytes, entry: int) -> bytes:
    """Return a model that forecasts NaN for the series of one entry of its embedding."""
    model = onnx.load_from_string(content)
    graph = model.graph
    for node in graph.node:
        node.output[:] = ["whole" if name == "quantiles" else name for name in node.output]
    constants: dict[str, np.ndarray] = {
        "entry": np.array(entry, np.int64), "nothing": np.array(np.nan, np.float32), "axes": np.array([1, 2], np.int64)
    }  # fmt: skip
    graph.initializer.extend(onnx.numpy_helper.from_array(value, name) for name, value in constants.items())
    graph.node.extend(
        [
            onnx.helper.make_node("Equal", ["series", "entry"], ["hit"]),
            onnx.helper.make_node("Unsqueeze", ["hit", "axes"], ["wide"]),
            onnx.helper.make_node("Where", ["wide", "nothing", "whole"], ["quantiles"]),
        ]
    )
    return bytes(model.SerializeToString())


def forecast_rows(settings: pipeline_file.Pipeline, store: Store, **options: Any) -> pl.DataFrame:
    at = clock.parse_time(ISSUE, settings.pipeline.timezone)
    report = forecast(settings, store, at, **options)
    return pl.read_parquet(report["path"], hive_partitioning=False)


def sources_by_series(rows: pl.DataFrame) -> dict[str, tuple[Any, ...]]:
    picked = rows.select("series_id", "status", "reason", "model_version").unique()
    return {name: tuple(rest) for name, *rest in picked.rows()}


def test_one_series_that_the_champion_cannot_forecast_comes_from_its_predecessor(opened: Opened) -> None:
    settings, store, version = opened
    good = registry.load(store, settings.name, version)
    predecessor, champion = serve(settings, store, good, with_nan(good, 2))
    assert sources_by_series(forecast_rows(settings, store)) == {
        "LDC1": ("model", None, champion),
        "LDC2": ("stale_model", "the model's output is not finite", predecessor),
        "LDC3": ("model", None, champion),
    }


def test_a_series_that_neither_model_can_forecast_comes_from_the_baseline(opened: Opened) -> None:
    settings, store, version = opened
    good = registry.load(store, settings.name, version)
    _, champion = serve(settings, store, with_nan(good, 2), with_nan(good, 2))
    sources = sources_by_series(forecast_rows(settings, store))
    assert sources["LDC2"] == ("baseline", "the model's output is not finite", None)
    assert sources["LDC1"] == sources["LDC3"] == ("model", None, champion)


def test_the_predecessor_replaces_a_damaged_or_missing_champion(opened: Opened) -> None:
    settings, store, version = opened
    good = registry.load(store, settings.name, version)
    predecessor, champion = serve(settings, store, good, with_nan(good, 99))
    place = Path(settings.pipeline.store) / "models" / settings.name / champion / "model.onnx"
    for spoil, word in ((lambda: place.write_bytes(b"nonsense"), "sha256 differs"), (place.unlink, "does not exist")):
        spoil()
        for status, reason, made_by in sources_by_series(forecast_rows(settings, store)).values():
            assert (status, made_by) == ("stale_model", predecessor)
            assert word in reason


def test_rows_missing_at_the_deadline_come_from_the_baseline(opened: Opened) -> None:
    settings, store, _ = opened
    sources = sources_by_series(forecast_rows(settings, store, has_time=lambda: False))
    assert {(status, reason) for status, reason, _ in sources.values()} == {
        ("baseline", "the deadline came before the model had forecast this series")
    }


def test_rows_have_the_reason_why_they_are_stale_or_without_a_model(opened: Opened) -> None:
    settings, store, version = opened
    assert set(sources_by_series(forecast_rows(settings, store, stale_reason="feed x failed")).values()) == {
        ("stale_model", "feed x failed", version)
    }
    sources = sources_by_series(forecast_rows(settings, store, no_model_reason="no time"))
    assert set(sources.values()) == {("baseline", "no time", None)}


@pytest.mark.parametrize("silent", [{"LDC3"}, {"LDC1", "LDC2", "LDC3"}])
def test_a_series_that_has_ended_is_not_forecast_but_a_late_feed_is(pipeline: Path, silent: set[str]) -> None:
    """Remove the values since August 20, of one series or of all."""
    folder = pipeline.parent
    load = pl.read_parquet(folder / "load.parquet")
    gone = pl.col("series_id").is_in(list(silent)) & (pl.col("ds") >= pl.datetime(2018, 8, 20))
    load.filter(~gone).write_parquet(folder / "load.parquet")
    environment = {"GATECAST_FORECAST__ENDED_AFTER": "10d", "GATECAST_PIPELINE__STORE": str(folder / "other")}
    settings = pipeline_file.read(pipeline, environment)
    store = open_store(settings.pipeline.store)
    at = clock.parse_time(ISSUE, settings.pipeline.timezone)
    ingest(settings, store, at, at)
    report = forecast(settings, store, at, needs_champion=False)
    assert report["ended"] == (["LDC3"] if len(silent) == 1 else [])
    series = pl.read_parquet(report["path"], hive_partitioning=False)["series_id"].unique()
    assert set(series) == {"LDC1", "LDC2", "LDC3"} - set(report["ended"])


def test_series_silent_for_longer_than_the_context_come_from_the_baseline(opened: Opened) -> None:
    settings, store, _ = opened
    report = forecast(settings, store, clock.parse_time("2018-12-01", settings.pipeline.timezone))
    assert report["status"] == {"baseline": 72}
    assert "only 0 of 336 values of the context were known" in report["reasons"][0]["reason"]
    assert pl.read_parquet(report["path"], hive_partitioning=False)["q50"].is_finite().all()


def test_a_missing_provider_is_reported_and_with_strict_an_error(opened: Opened) -> None:
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this machine has CUDA, so nothing falls back")
    settings, store, _ = opened
    at = clock.parse_time(ISSUE, settings.pipeline.timezone)

    def preferring_cuda(strict: bool) -> pipeline_file.Pipeline:
        wish = settings.forecast.model_copy(update={"providers": ("cuda", "cpu"), "strict": strict})
        return settings.model_copy(update={"forecast": wish})

    report = forecast(preferring_cuda(False), store, at)
    assert report["provider"] == "CPUExecutionProvider" and set(report["status"]) == {"model"}
    assert any("first provider is CUDAExecutionProvider" in line for line in summary.reason_lines(report))
    with pytest.raises(DataError, match="first provider is CUDAExecutionProvider"):
        forecast(preferring_cuda(True), store, at, needs_champion=True)
    Path(report["path"]).unlink()
    report = forecast(preferring_cuda(True), store, at)
    assert set(report["status"]) == {"baseline"} and "first provider is CUDA" in report["reasons"][0]["reason"]


def test_the_command_reports_a_missing_provider(pipeline: Path) -> None:
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this machine has CUDA, so nothing falls back")
    preferred = {"GATECAST_FORECAST__PROVIDERS": '["cuda", "cpu"]'}
    done = gatecast("forecast", pipeline, "--issue-time", ISSUE, "--json", **preferred)
    assert done.returncode == 0, done.stderr
    assert json_report(done)["provider"] == "CPUExecutionProvider"
    assert "CUDAExecutionProvider" in json_report(done)["fell_back"]
    done = gatecast("forecast", pipeline, "--issue-time", ISSUE, **preferred, GATECAST_FORECAST__STRICT="true")
    assert done.returncode == 1
    assert "first provider is CUDAExecutionProvider" in done.stderr


def test_an_impossible_newest_value_is_left_out_and_reported(opened: Opened) -> None:
    settings, store, version = opened
    before = forecast_rows(settings, store)
    at = clock.parse_time(ISSUE, settings.pipeline.timezone)
    known = history.read_revisions(store, settings.name, "demand", ["y"], at)
    newest = known.filter(series_id="LDC2").tail(1)
    history.append(store, settings.name, "demand", newest.with_columns(y=pl.lit(1e9)), clock.now())
    rows = forecast_rows(settings, store)
    sources = sources_by_series(rows)
    assert sources["LDC1"] == sources["LDC3"] == ("model", None, version)
    status, reason, _ = sources["LDC2"]
    assert status == "stale_model"
    assert reason.startswith("the value 1e+09 at 2018-08-31T23:00-04:00 is over 100 times all others and was left out")
    largest = before.filter(series_id="LDC2")["q90"].max()
    assert as_number(rows.filter(series_id="LDC2")["q90"].max()) < 1.5 * as_number(largest)
    others = pl.col("series_id") != "LDC2"
    assert rows.filter(others).equals(before.filter(others))


@pytest.mark.parametrize("factor", [1000.0, 0.001])
def test_a_unit_jump_that_began_before_the_context_is_left_out_and_reported(opened: Opened, factor: float) -> None:
    settings, store, _ = opened
    before = forecast_rows(settings, store)
    at = clock.parse_time(ISSUE, settings.pipeline.timezone)
    begin, end = (at - timedelta(days=days, hours=settings.pipeline.context) for days in (2, -1))
    known = history.read_revisions(store, settings.name, "demand", ["y"], at)
    jump = known.filter(pl.col("series_id") == "LDC2", pl.col("valid_time").is_between(begin, end, closed="left"))
    assert len(jump) == 3 * 24
    history.append(store, settings.name, "demand", jump.with_columns(pl.col("y") * factor), clock.now())
    rows = forecast_rows(settings, store)
    status, reason, _ = sources_by_series(rows)["LDC2"]
    assert status == "stale_model"
    assert reason.startswith(f"24 values from {settings.local_text(begin + timedelta(days=2))} to ")
    ours = pl.col("series_id") == "LDC2"
    ratio = rows.filter(ours)["q50"] / before.filter(ours)["q50"]
    assert 0.8 < as_number(ratio.min()) <= as_number(ratio.max()) < 1.25
    assert rows.filter(~ours).equals(before.filter(~ours))
