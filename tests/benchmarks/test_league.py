"""Tests of the league: known scores, no future values in features, valid pipeline files, kept losses."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from benchmarks.league import fev, forecasts, losses, panel, results, runs, score, table, tasks
from benchmarks.league.peers import PEERS, by_name, trees
from flows.settings import file as pipeline_file
from flows.stages.replay import issue_times_between
from model.evaluation import metrics
from model.timegrid import TimeGrid
from tests.support.pipelines import SHARED

EVERY = [task.name for task in tasks.TASKS]


def make_panel(series: int = 2, days: int = 60, issues: int = 10, target: np.ndarray | None = None) -> panel.Panel:
    """Return a panel of hourly values with a covariate, with the settings of `load.toml`."""
    rng = np.random.default_rng(1)
    count = days * 24
    values = 100 + 10 * rng.standard_normal((series, count)) + 20 * np.sin(np.arange(count) * np.pi / 12)
    grid = TimeGrid("1h", "UTC", "US")
    origins = np.arange(days - issues, days) * 24
    first = 420_768  # 2018-01-01 00:00 UTC
    return panel.Panel(
        task=tasks.by_name("load"), grid=grid, series=tuple(f"s{i}" for i in range(series)), first=first,
        target=values if target is None else target,
        known=np.broadcast_to(rng.standard_normal((count, 1)), (series, count, 1)), names=("temperature",),
        issues=grid.start(first + origins), origins=origins,
    )  # fmt: skip


@pytest.mark.parametrize("name", EVERY)
def test_pipeline_files_are_valid_and_agree_with_the_tasks(name: str) -> None:
    task = tasks.by_name(name)
    pipeline = pipeline_file.read(task.pipeline_path)
    assert pipeline.name == name
    assert list(pipeline.covariates("known_future")) == task.covariates
    assert pipeline.pipeline.quantile_levels == tuple(panel.LEVELS.tolist())
    assert [feed.uri for feed in pipeline.feed] == [str(path) for path in task.table_paths()]


@pytest.mark.shared
@pytest.mark.parametrize("name", EVERY)
def test_issue_times_are_those_of_gatecast_and_horizons_lie_in_the_data(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = tasks.by_name(name)
    if not task.has_data:
        pytest.skip("the shared development data are not beside this checkout")
    monkeypatch.setattr(tasks, "STORE", tmp_path)
    task.prepare()
    sample = panel.load_panel(task)
    ours = issue_times_between(
        pipeline_file.read(task.pipeline_path), date.fromisoformat(task.start), date.fromisoformat(task.end)
    )
    assert [int(issue.timestamp()) * 1_000_000 for issue in ours] == sample.issues.tolist()
    assert sample.origins[-1] + sample.horizon <= sample.target.shape[1]
    # Markets and the Czech prices have no value on some days. The other data are complete.
    scored = sample.actual()[..., task.unscored :]
    assert np.isnan(scored).mean() < (0.03 if task.group == "market" or name == "price-czech" else 1e-9)
    assert np.isnan(sample.actual()[..., : task.unscored]).all()


def test_a_forecast_is_the_same_after_conversion_to_a_table() -> None:
    sample = make_panel()
    quantiles = np.sort(np.random.default_rng(0).standard_normal((2, 10, 24, 9)), axis=-1)
    rows = forecasts.to_table(sample, quantiles)
    assert rows.filter(pl.col("valid_time") - pl.col("issue_time") != pl.duration(hours=pl.col("step") - 1)).is_empty()
    assert np.array_equal(forecasts.to_array(sample, rows.sample(fraction=1, shuffle=True, seed=3)), quantiles)
    assert np.isnan(forecasts.to_array(sample, rows.filter(pl.col("step") != 5))).sum() == 2 * 10 * 9


def scores_from_quantiles(sample: panel.Panel, quantiles: np.ndarray) -> dict[str, Any]:
    """Return scores computed from quantiles alone, without `losses` and `score`."""
    actual = sample.actual()
    scale = sample.scale()[:, None, None]
    pinball = metrics.pinball(quantiles, panel.LEVELS, actual) / scale
    error = metrics.absolute_error(quantiles, panel.LEVELS, actual)
    by_step = np.nanmean(pinball, axis=1).mean(axis=0)
    return {
        "pinball": np.nanmean(pinball, axis=(1, 2)).mean(),
        "mase": np.nanmean(error / scale, axis=(1, 2)).mean(),
        "mae": np.nanmean(error, axis=(1, 2)).mean(),
        "coverage_80": np.nanmean(metrics.covered(quantiles, panel.LEVELS, actual), axis=(1, 2)).mean(),
        "by_block": [by_step[block].mean() for block in np.array_split(np.arange(sample.horizon), 4)],
        "by_issue_time": np.nanmean(pinball, axis=2).mean(axis=0),
    }


def test_kept_losses_give_the_scores_of_the_forecasts(tmp_path: Path) -> None:
    sample = make_panel(issues=40)
    noise = np.random.default_rng(0).standard_normal((2, 40, 24, 1))
    quantiles = sample.actual()[..., None] + 5 * noise + np.linspace(-10, 10, 9)
    expected = scores_from_quantiles(sample, quantiles)
    computed = losses.compute_losses(sample, quantiles)
    kept = losses.from_table(sample, losses.to_table(sample, computed).sample(fraction=1, shuffle=True, seed=3))
    exact, compact = score.score(sample, computed), score.score(sample, kept)
    for name, value in expected.items():
        assert getattr(exact, name) == pytest.approx(value, rel=1e-12)
        # Single issue times are rounded; means are not, because the rounding errors cancel.
        precision = 2**-10 if name == "by_issue_time" else 2e-5
        assert getattr(compact, name) == pytest.approx(value, rel=precision)
    shown = [f"{value:.4f}" for value in (compact.pinball, compact.mase, compact.mae, *compact.by_block)]
    wanted = [expected["pinball"], expected["mase"], expected["mae"], *expected["by_block"]]
    assert shown == [f"{value:.4f}" for value in wanted]
    other = score.score(sample, losses.compute_losses(sample, quantiles + 3))
    assert score.compare(sample, compact, other).statistic == pytest.approx(
        score.compare(sample, exact, other).statistic, rel=1e-3
    )
    sizes = []
    for name, frame in (
        ("forecasts", forecasts.to_table(sample, quantiles)),
        ("losses", losses.to_table(sample, computed)),
    ):
        frame.write_parquet(tmp_path / name, compression="zstd", compression_level=19)
        sizes.append((tmp_path / name).stat().st_size)
    assert sizes[1] < sizes[0] / 10


def test_the_kept_losses_are_small() -> None:
    assert sum(path.stat().st_size for path in results.KEPT.rglob("*.*")) < 2.5e6


@pytest.mark.parametrize("name", ["garch", results.GATECAST])
def test_kept_losses_are_used_if_settings_and_data_are_the_same(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = tasks.by_name("market-gas")
    peer = None if name == results.GATECAST else by_name(name)
    monkeypatch.setattr(results, "STORE", tmp_path / "store")
    monkeypatch.setattr(results, "KEPT", tmp_path / "kept")
    sample = make_panel()
    monkeypatch.setattr(results, "load_panel", lambda task, last=None: sample)
    out = results.forecast_path(task, name, quick=False)
    out.parent.mkdir(parents=True)
    quantiles = np.sort(np.random.default_rng(0).standard_normal((2, 10, 24, 9)), axis=-1)
    rows = forecasts.to_table(sample, quantiles)
    rows.with_columns(status=pl.lit("model")).write_parquet(out)
    facts = {"key": results.result_key(task, peer, "data", quick=False), "cpu_s": 12.5, "code": ["abc"], "done": True}
    forecasts.write_facts(results.facts_path(task, peer, quick=False), facts)
    local = results.read_result(task, peer, "data", quick=False, use_kept=False)
    results.keep(task, peer, "data")
    shutil.rmtree(tmp_path / "store")
    assert results.read_result(task, peer, "other data", quick=False, use_kept=True) is None
    assert results.read_result(task, peer, "data", quick=False, use_kept=False) is None
    kept = results.read_result(task, peer, "data", quick=False, use_kept=True)
    assert local is not None and kept is not None
    assert (kept.cpu, kept.code, kept.statuses) == (local.cpu, local.code, local.statuses)
    assert kept.statuses == ({"model": len(rows)} if peer is None else {})
    for exact, compact in zip(local.losses, kept.losses, strict=True):
        assert compact == pytest.approx(exact, rel=2**-10)


def test_forecasts_that_take_seconds_are_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "KEPT", tmp_path / "kept")
    monkeypatch.setattr(results, "has_forecasts", lambda *_, **__: True)
    results.keep(tasks.by_name("market-gas"), by_name("random-walk"), "data")
    assert not (tmp_path / "kept").exists()


def test_series_of_any_unit_have_the_same_weight_and_missing_rows_are_counted() -> None:
    sample = make_panel()
    quantiles = np.repeat(sample.actual()[..., None] + 3.0, 9, axis=-1)
    scale = sample.scale()
    one = score.score(sample, losses.compute_losses(sample, quantiles))
    assert one.mase == pytest.approx(np.mean(3.0 / scale))
    assert one.pinball == pytest.approx(0.5 * one.mase)
    assert one.mae == pytest.approx(3.0)
    assert one.coverage_80 == 0.0
    larger = make_panel(target=sample.target * np.array([[1.0], [1000.0]]))
    again = score.score(larger, losses.compute_losses(larger, quantiles * np.array([1.0, 1000.0])[:, None, None, None]))
    assert again.pinball == pytest.approx(one.pinball)
    quantiles[0, 3, 7, 2] = np.nan
    holed = score.score(sample, losses.compute_losses(sample, quantiles))
    assert (holed.missing, holed.rows) == (1, 480)
    assert holed.pinball == pytest.approx(one.pinball)


def test_the_test_by_issue_time_finds_the_better_forecaster() -> None:
    sample = make_panel(days=120, issues=60)
    noise = np.random.default_rng(2).standard_normal((2, 60, 24, 1))
    good = score.score(sample, losses.compute_losses(sample, sample.actual()[..., None] + noise * np.ones(9)))
    bad = score.score(sample, losses.compute_losses(sample, sample.actual()[..., None] + 2 * noise * np.ones(9)))
    assert score.compare(sample, good, bad).better < 0.001
    assert score.compare(sample, bad, good).worse < 0.001
    assert score.compare(sample, good, good).statistic == 0.0


@pytest.mark.parametrize("peer", ["seasonal-naive", "random-walk"])
def test_a_peer_uses_no_future_values(peer: str) -> None:
    sample = make_panel()
    settings = by_name(peer).settings(sample.task)
    changed = sample.target.copy()
    changed[:, sample.origins[4] :] *= 7
    before = by_name(peer).forecast(sample, settings)[:, :5]
    after = by_name(peer).forecast(make_panel(target=changed), settings)[:, :5]
    assert np.array_equal(before, after)
    assert not np.array_equal(before, by_name(peer).forecast(make_panel(target=changed * 2), settings)[:, :5])


@pytest.mark.parametrize("features", [trees._seasonal, trees._market])
def test_features_of_the_trees_lie_before_the_origin(features: Callable[..., Any]) -> None:
    sample = make_panel()
    changed = sample.target.copy()
    changed[:, sample.origins[4] :] *= 7
    before, after = (features(each, sample.origins[:5])[0] for each in (sample, make_panel(target=changed)))
    assert np.array_equal(before, after)
    assert not np.array_equal(before, features(make_panel(target=changed), sample.origins[1:6])[0])


def test_the_key_depends_on_settings_and_data() -> None:
    pairs = [({"a": 1}, "x"), ({"a": 2}, "x"), ({"a": 1}, "y"), ({"a": 1}, "x")]
    keys = [forecasts.settings_key(settings, data) for settings, data in pairs]
    assert len(set(keys)) == 3
    assert keys[0] == keys[3]


@pytest.mark.process
def test_the_cost_of_an_interrupted_command_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    counted: list[Mapping[str, float]] = []
    waits = iter([True, False])
    real = os.wait4

    def wait(pid: int, options: int) -> tuple[int, int, resource.struct_rusage]:
        if next(waits):
            raise KeyboardInterrupt
        return real(pid, options)

    monkeypatch.setattr(os, "wait4", wait)
    with pytest.raises(KeyboardInterrupt):
        runs._run("a sleeper", [sys.executable, "-c", "import time; time.sleep(60)"], {}, counted.append)
    assert counted[0]["wall_s"] < 30


@pytest.mark.shared
@pytest.mark.parametrize("name", list(fev.SEASONAL_NAIVE))
def test_the_windows_are_those_of_fev_bench(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task = tasks.by_name(name)
    if not SHARED.exists():
        pytest.skip("the shared development data are not beside this checkout")
    monkeypatch.setattr(tasks, "STORE", tmp_path)
    task.prepare()
    sample = panel.load_panel(task, fev.WINDOWS)
    assert fev.scores(sample, losses.compute_losses(sample, fev.seasonal_naive(sample)))[1] == pytest.approx(
        fev.SEASONAL_NAIVE[name], abs=5e-4
    )


def test_the_page_has_the_best_forecaster_and_the_test_against_it(monkeypatch: pytest.MonkeyPatch) -> None:
    sample = make_panel()
    monkeypatch.setattr(table, "load_panel", lambda task, last=None: sample)
    by_method: dict[str, results.Result] = {}
    noise = np.random.default_rng(2).standard_normal((2, 10, 24, 1)) * np.ones(9)
    for name, size in (("gatecast", 1), ("seasonal-naive", 4), ("nf-lstm", 2)):
        computed = losses.compute_losses(sample, sample.actual()[..., None] + size * noise)
        by_method[name] = results.Result(computed, 100.0 * size, {"baseline": 120, "model": 360})
    page = table.render([sample.task], {"load": by_method}, None, "a machine")
    ours = np.mean(
        metrics.pinball(sample.actual()[..., None] + noise, panel.LEVELS, sample.actual()).mean((1, 2)) / sample.scale()
    )
    assert f"| gatecast | {ours:.4f} |" in page
    assert "Gatecast against nf-lstm, the best other: pinball -50.0%" in page
    assert "rows by status: 25.0% baseline, 75.0% model." in page
    assert "| all of these | 100 | 200 | 0.50 |" in page
    assert page.index("| gatecast") < page.index("| nf-lstm") < page.index("| seasonal-naive")


def run_league(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the league in a copy of the checkout that has the data beside it and no results."""
    checkout = folder / "checkout"
    if not checkout.exists():
        for package in ("benchmarks", "flows", "model"):
            shutil.copytree(tasks.ROOT / package, checkout / package)
        (folder / "shared").symlink_to(SHARED.parent)
    command = [sys.executable, "-m", "benchmarks.league", "--peers", sys.executable, *arguments]
    return subprocess.run(command, cwd=checkout, capture_output=True, text=True, timeout=1500)


@pytest.mark.shared
@pytest.mark.process
@pytest.mark.skipif(not SHARED.exists(), reason="the shared development data are not beside this checkout")
def test_a_quick_league_runs_from_the_data_to_the_page(tmp_path: Path) -> None:
    """Run Gatecast by its public command and two peers on real data. A second run makes nothing again."""
    arguments = ["--quick", "--only", "market-gas", "--entries", "gatecast,seasonal-naive,random-walk"]
    ran = [run_league(tmp_path, *arguments) for _ in range(2)]
    assert [done.returncode for done in ran] == [0, 0], ran[0].stderr
    page = (tmp_path / "checkout" / "store" / "league" / "quick" / "league.md").read_text()
    rows = [line for line in page.splitlines() if line.startswith(("| gatecast |", "| random-walk |"))]
    assert len(rows) >= 2
    assert "market-gas, gatecast" in ran[0].stdout
    assert "market-gas, gatecast" not in ran[1].stdout
    assert page in ran[1].stdout


@pytest.mark.shared
@pytest.mark.process
@pytest.mark.skipif(not SHARED.exists(), reason="the shared development data are not beside this checkout")
def test_the_results_page_agrees_with_the_kept_losses(tmp_path: Path) -> None:
    """Make the page in a checkout without results of its own, and run only quick peers, on three tasks."""
    run_tasks = ("load", "daily", "market-gas")
    peers = ("seasonal-naive", "random-walk")
    not_kept = {peer.name for peer in PEERS if peer.cheap}
    done = run_league(tmp_path, "--only", ",".join(run_tasks), "--entries", ",".join(peers))
    assert done.returncode == 0, done.stderr

    def table_cells(root: Path) -> dict[str, list[list[str]]]:
        """Return the cells of the tables by section, without the CPU time of the peers that were run."""
        page = (root / "benchmarks" / "results" / "league.md").read_text()
        cells: dict[str, list[list[str]]] = {}
        for section in page.split("\n## ")[1:]:
            name, *lines = section.splitlines()
            rows = [[cell.strip() for cell in line.split("|")] for line in lines if line.startswith("|")]
            if name not in run_tasks:
                rows = [row for row in rows if row[1] not in not_kept]
            cells[name] = [row[:-2] if row[1] in peers else row for row in rows]
        return cells

    made, kept = table_cells(tmp_path / "checkout"), table_cells(tasks.ROOT)
    assert made.keys() == kept.keys() >= set(run_tasks)
    for name in run_tasks:
        assert made[name] == kept[name]
    # Ratios to the seasonal naive need the peers, so of the other tasks only the rows of kept losses are compared.
    for name, rows in made.items():
        assert [row[:5] for row in rows] == [row[:5] for row in kept[name]], name
