"""The league judges by known figures, lets nobody see the future, and every pipeline of it is a valid one."""

import os
import shutil
import subprocess
import sys
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from benchmarks.league import fev, forecasts, kept, panel, runs, score, table, tasks
from benchmarks.league.peers import by_name, trees
from flows.settings import file as pipeline_file
from flows.stages.replay import issue_times_between
from model.evaluation import metrics
from model.timegrid import TimeGrid
from tests.support.pipelines import SHARED

EVERY = [task.name for task in tasks.TASKS]


def made(series=2, days=60, nights=10, **changes):
    """A panel of hourly values with a covariate; `load.toml` says the rest."""
    rng = np.random.default_rng(1)
    count = days * 24
    target = 100 + 10 * rng.standard_normal((series, count)) + 20 * np.sin(np.arange(count) * np.pi / 12)
    task = tasks.by_name("load")
    grid = TimeGrid("1h", "UTC", "US")
    origins = np.arange(days - nights, days) * 24
    first = 420_768  # 2018-01-01 00:00 UTC
    given = {
        "task": task, "grid": grid, "series": tuple(f"s{i}" for i in range(series)), "first": first,
        "target": target, "known": rng.standard_normal((count, 1)), "names": ("temperature",),
        "issues": grid.start(first + origins), "origins": origins,
    }  # fmt: skip
    return panel.Panel(**(given | changes))


@pytest.mark.parametrize("name", EVERY)
def test_pipeline_files_are_valid_and_say_what_the_task_says(name):
    task = tasks.by_name(name)
    pipeline = pipeline_file.read(task.file)
    assert pipeline.name == name
    assert list(pipeline.covariates("known_future")) == task.covariates
    assert pipeline.pipeline.quantile_levels == tuple(panel.LEVELS.tolist())
    assert [feed.uri for feed in pipeline.feed] == [str(path) for path in task.tables()]


@pytest.mark.parametrize("name", EVERY)
def test_every_issue_is_one_of_gatecast_and_its_horizon_is_in_the_data(name, tmp_path, monkeypatch):
    task = tasks.by_name(name)
    if not task.here:
        pytest.skip("the shared development data are not beside this checkout")
    monkeypatch.setattr(tasks, "STORE", tmp_path)
    task.prepare()
    given = panel.load(task)
    ours = issue_times_between(
        pipeline_file.read(task.file), date.fromisoformat(task.start), date.fromisoformat(task.end)
    )
    assert [int(issue.timestamp()) * 1_000_000 for issue in ours] == given.issues.tolist()
    assert given.origins[-1] + given.horizon <= given.target.shape[1]
    # Of a market some days have no value; of the others nothing is unknown.
    assert np.isnan(given.actual()).mean() < (0.03 if task.group == "market" else 1e-9)


def test_a_forecast_survives_the_table():
    given = made()
    quantiles = np.sort(np.random.default_rng(0).standard_normal((2, 10, 24, 9)), axis=-1)
    rows = forecasts.table(given, quantiles)
    assert rows.filter(pl.col("valid_time") - pl.col("issue_time") != pl.duration(hours=pl.col("step") - 1)).is_empty()
    assert np.array_equal(forecasts.cube(given, rows.sample(fraction=1, shuffle=True, seed=3)), quantiles)
    assert np.isnan(forecasts.cube(given, rows.filter(pl.col("step") != 5))).sum() == 2 * 10 * 9


def test_a_forecast_that_is_kept_says_the_same_a_tenth_as_long(tmp_path):
    given = made(nights=40)
    spread = np.linspace(-10, 10, 9) + np.random.default_rng(0).standard_normal((2, 40, 24, 1))
    rows = forecasts.table(given, given.actual()[..., None] + spread).with_columns(status=pl.lit("model"))
    packed = kept.pack(given, rows)
    again = kept.unpack(given, packed)
    apart = np.abs(forecasts.cube(given, again) - forecasts.cube(given, rows)) / given.scale()[:, None, None, None]
    assert 0 < apart.max() <= 1 / 4000 + 1e-12
    assert again["status"].unique().to_list() == ["model"]
    sizes = []
    for name, frame in (("whole", rows), ("kept", packed)):
        frame.write_parquet(tmp_path / name, compression="zstd", compression_level=19)
        sizes.append((tmp_path / name).stat().st_size)
    assert sizes[1] < sizes[0] / 4


@pytest.mark.parametrize("who", ["garch", runs.GATECAST])
def test_what_is_kept_is_taken_if_it_is_of_these_settings_and_data(who, tmp_path, monkeypatch):
    task = tasks.by_name("market-gas")
    peer = None if who == runs.GATECAST else by_name(who)
    monkeypatch.setattr(runs, "STORE", tmp_path / "store")
    monkeypatch.setattr(runs, "KEPT", tmp_path / "kept")
    given = made()
    monkeypatch.setattr(panel, "load", lambda task: given)
    out = runs.uri(task, who, quick=False)
    out.parent.mkdir(parents=True)
    quantiles = np.sort(np.random.default_rng(0).standard_normal((2, 10, 24, 9)), axis=-1)
    forecasts.table(given, quantiles).write_parquet(out)
    facts = {"key": runs._key(task, peer, "data", quick=False), "cpu_s": 12.5, "code": ["abc"], "done": True}
    forecasts.write_facts(runs._owner(out, peer), facts)
    runs.keep(task, peer, "data")
    shutil.rmtree(tmp_path / "store")
    runs.restore(task, peer, "other data")
    assert not out.exists()
    runs.restore(task, peer, "data")
    assert runs.made(task, peer, "data", quick=False) == (out, 12.5)
    assert np.abs(forecasts.cube(given, pl.read_parquet(out)) - quantiles).max() < given.scale().max() / 2000
    before = out.stat().st_mtime_ns
    runs.restore(task, peer, "data")
    assert out.stat().st_mtime_ns == before


def test_what_takes_seconds_is_not_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(runs, "KEPT", tmp_path / "kept")
    monkeypatch.setattr(runs, "made", lambda *_, **__: (tmp_path / "nothing.parquet", 1.0))
    runs.keep(tasks.by_name("market-gas"), by_name("random-walk"), "data")
    assert not (tmp_path / "kept").exists()


def test_series_of_any_unit_count_alike_and_a_missing_row_is_said():
    given = made()
    quantiles = np.repeat(given.actual()[..., None] + 3.0, 9, axis=-1)
    scale = given.scale()
    one = score.score(given, quantiles)
    assert one.mase == pytest.approx(np.mean(3.0 / scale))
    assert one.pinball == pytest.approx(0.5 * one.mase)
    assert one.mae == pytest.approx(3.0)
    assert one.coverage_80 == 0.0
    larger = made(target=given.target * np.array([[1.0], [1000.0]]))
    again = score.score(larger, quantiles * np.array([1.0, 1000.0])[:, None, None, None])
    assert again.pinball == pytest.approx(one.pinball)
    quantiles[0, 3, 7, 2] = np.nan
    holed = score.score(given, quantiles)
    assert (holed.missing, holed.rows) == (1, 480)
    assert holed.pinball == pytest.approx(one.pinball)


def test_the_better_one_is_found_by_night():
    given = made(days=120, nights=60)
    noise = np.random.default_rng(2).standard_normal((2, 60, 24, 1))
    good = score.score(given, given.actual()[..., None] + noise * np.ones(9))
    bad = score.score(given, given.actual()[..., None] + 2 * noise * np.ones(9))
    assert score.compare(given, good, bad).better < 0.001
    assert score.compare(given, bad, good).worse < 0.001
    assert score.compare(given, good, good).statistic == 0.0


@pytest.mark.parametrize("peer", ["seasonal-naive", "random-walk"])
def test_a_peer_sees_nothing_of_the_future(peer):
    given = made()
    settings = by_name(peer).settings(given.task)
    spoilt = given.target.copy()
    spoilt[:, given.origins[4] :] *= 7
    before = by_name(peer).forecast(given, settings)[:, :5]
    after = by_name(peer).forecast(made(target=spoilt), settings)[:, :5]
    assert np.array_equal(before, after)
    assert not np.array_equal(before, by_name(peer).forecast(made(target=spoilt * 2), settings)[:, :5])


@pytest.mark.parametrize("features", [trees._seasonal, trees._market])
def test_features_of_the_trees_lie_before_the_origin(features):
    given = made()
    spoilt = given.target.copy()
    spoilt[:, given.origins[4] :] *= 7
    before, after = (features(panel_, given.origins[:5])[0] for panel_ in (given, made(target=spoilt)))
    assert np.array_equal(before, after)
    assert not np.array_equal(before, features(made(target=spoilt), given.origins[1:6])[0])


def test_settings_and_data_make_the_key():
    keys = [
        forecasts.key({"a": 1}, "x"), forecasts.key({"a": 2}, "x"), forecasts.key({"a": 1}, "y"),
        forecasts.key({"a": 1}, "x"),
    ]  # fmt: skip
    assert len(set(keys)) == 3
    assert keys[0] == keys[3]


def test_a_command_that_is_interrupted_has_its_cost_counted(monkeypatch):
    counted = []
    waits = iter([True, False])
    real = os.wait4

    def wait(pid, options):
        if next(waits):
            raise KeyboardInterrupt
        return real(pid, options)

    monkeypatch.setattr(os, "wait4", wait)
    with pytest.raises(KeyboardInterrupt):
        runs._run("a sleeper", [sys.executable, "-c", "import time; time.sleep(60)"], {}, counted.append)
    assert counted[0]["wall_s"] < 30


@pytest.mark.parametrize("name", list(fev.SEASONAL_NAIVE))
def test_the_windows_of_fev_bench_are_these(name, tmp_path, monkeypatch):
    task = tasks.by_name(name)
    if not SHARED.exists():
        pytest.skip("the shared development data are not beside this checkout")
    monkeypatch.setattr(tasks, "STORE", tmp_path)
    task.prepare()
    given = panel.load(task, fev.WINDOWS)
    assert fev.scores(given, fev.seasonal_naive(given))[1] == pytest.approx(fev.SEASONAL_NAIVE[name], abs=5e-4)


def test_the_page_names_the_best_and_the_test_against_it(tmp_path, monkeypatch):
    given = made()
    monkeypatch.setattr(panel, "load", lambda task, last=None: given)
    found = {}
    noise = np.random.default_rng(2).standard_normal((2, 10, 24, 1)) * np.ones(9)
    for who, size in (("gatecast", 1), ("seasonal-naive", 4), ("nf-lstm", 2)):
        path = tmp_path / f"{who}.parquet"
        rows = forecasts.table(given, given.actual()[..., None] + size * noise)
        rows.with_columns(
            status=pl.when(pl.col("step") < 7).then(pl.lit("baseline")).otherwise(pl.lit("model"))
        ).write_parquet(path)
        found[who] = (path, 100.0 * size)
    page = table.render([given.task], {"load": found}, None, "a machine")
    ours = np.mean(
        metrics.pinball(given.actual()[..., None] + noise, panel.LEVELS, given.actual()).mean((1, 2)) / given.scale()
    )
    assert f"| gatecast | {ours:.4f} |" in page
    assert "Gatecast against nf-lstm, the best other: pinball -50.0%" in page
    assert "rows by status: 25.0% baseline, 75.0% model." in page
    assert "| all of these | 100 | 200 | 0.50 |" in page
    assert page.index("| gatecast") < page.index("| nf-lstm") < page.index("| seasonal-naive")


def play(folder, *arguments):
    """Run the league with these arguments in a copy of it that has the data beside it and nothing else."""
    checkout = folder / "checkout"
    if not checkout.exists():
        shutil.copytree(tasks.ROOT / "benchmarks", checkout / "benchmarks")
        (folder / "shared").symlink_to(SHARED.parent)
    command = [sys.executable, "-m", "benchmarks.league", "--peers", sys.executable, *arguments]
    return subprocess.run(command, cwd=checkout, capture_output=True, text=True, timeout=300)


@pytest.mark.skipif(not SHARED.exists(), reason="the shared development data are not beside this checkout")
def test_a_quick_league_runs_from_the_data_to_the_page(tmp_path):
    """Gatecast by its public command and two peers on real data; a second run finds everything made."""
    arguments = ["--quick", "--only", "market-gas", "--entries", "gatecast,seasonal-naive,random-walk"]
    ran = [play(tmp_path, *arguments) for _ in range(2)]
    assert [done.returncode for done in ran] == [0, 0], ran[0].stderr
    page = (tmp_path / "checkout" / "store" / "league" / "quick" / "league.md").read_text()
    rows = [line for line in page.splitlines() if line.startswith(("| gatecast |", "| random-walk |"))]
    assert len(rows) >= 2
    assert "market-gas, gatecast" in ran[0].stdout
    assert "market-gas, gatecast" not in ran[1].stdout
    assert page in ran[1].stdout


@pytest.mark.skipif(not SHARED.exists(), reason="the shared development data are not beside this checkout")
def test_the_page_says_what_the_kept_forecasts_give(tmp_path):
    """Scored afresh, with the rules that take seconds, on a machine that has nothing else of the league."""
    done = play(tmp_path, "--entries", "seasonal-naive,random-walk")
    assert done.returncode == 0, done.stderr

    def said(root: Path) -> list[list[str]]:
        """Cells of the tables; without the seconds that those rules took here."""
        lines = (root / "benchmarks" / "results" / "league.md").read_text().splitlines()
        rows = [[cell.strip() for cell in line.split("|")] for line in lines if line.startswith("|")]
        return [row[:-2] if row[1] in ("seasonal-naive", "random-walk") else row for row in rows]

    assert said(tmp_path / "checkout") == said(tasks.ROOT)
