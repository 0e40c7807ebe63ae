"""Errors of daily gas forecasts by season, cold spell and holiday, and the cost of errors of the weather forecast.

`python -m benchmarks.gas` reads the forecasts that the league has made on this machine, and writes
benchmarks/results/gas.md. With `--weather`, it first backtests gas-germany with simulated weather forecasts.

The simulated errors are a martingale: each day, something becomes known about all days ahead (Heath and Jackson 1994,
https://doi.org/10.1080/07408179408966604). So forecasts of one day converge, and errors of neighbouring days correlate.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import timedelta

import numpy as np
import polars as pl

from benchmarks.first_light import machine
from benchmarks.league import forecasts, results, runs
from benchmarks.league.panel import LEVELS, Panel, data_hash, load_panel
from benchmarks.league.results import GATECAST
from benchmarks.league.tasks import ROOT, Task, by_name
from model.evaluation import metrics

RESULTS = ROOT / "benchmarks" / "results" / "gas.md"
#: Standard deviation in degrees of the forecast daily mean, one to seven days ahead. One day ahead it is that of the
#: issued forecasts in bigdeal2022 (0.66). The growth is an assumption.
DEVIATIONS = (0.7, 0.9, 1.2, 1.5, 1.9, 2.3, 2.8)
_CORRELATION = 0.7  # of the news about neighbouring days
_TASKS = ("gas-germany", "gas-cities")
_PEERS = ("degree-days", "degree-days-corrected")
_TEMPERATURES = ("temperature", "temperature_min", "temperature_max")
_COLD_SHARE = 0.1  # coldest part of the days of a cold spell
_COLD_DAYS = 3


def simulate_errors(days: int, rng: np.random.Generator) -> np.ndarray:
    """Return errors of the forecast temperature in degrees, shape (days, 7): of each day, by lead time.

    What becomes known k days before a day has the variance by which the error falls there.
    """
    leads = len(DEVIATIONS)
    variances = np.diff(np.square(DEVIATIONS), prepend=0.0)
    news = np.empty((days + leads, leads))  # row: day on which it becomes known
    news[:, 0] = rng.standard_normal(len(news))
    for lead in range(1, leads):
        own = rng.standard_normal(len(news))
        news[:, lead] = _CORRELATION * news[:, lead - 1] + np.sqrt(1 - _CORRELATION**2) * own
    news *= np.sqrt(variances)
    rows = np.arange(days)[:, None] - np.arange(leads) + leads
    return np.cumsum(news[rows, np.arange(leads)], axis=1)


def issued_weather(source: pl.DataFrame) -> pl.DataFrame:
    """Return seven forecasts of each day's temperature and then the actual, each with the time of its issue."""
    actual = by_name("gas-germany").known
    assert actual is not None
    weather = actual(source).drop_nulls("temperature")
    days = weather.select("ds").unique().sort("ds")
    errors = simulate_errors(len(days), np.random.default_rng(7))
    parts = [weather.with_columns(issued=pl.col("ds") + timedelta(days=1, hours=6))]
    for lead in range(len(DEVIATIONS)):
        error = days.with_columns(error=pl.Series(errors[:, lead]))
        forecast = weather.join(error, on="ds", maintain_order="left")
        parts.append(forecast.select(
            "series_id", "ds", *(pl.col(name) + pl.col("error") for name in _TEMPERATURES),
            # The first of the seven is issued an hour before the gas day begins.
            issued=pl.col("ds") + timedelta(hours=5) - timedelta(days=lead),
        ))  # fmt: skip
    return pl.concat([part.select(parts[0].columns) for part in parts]).sort("series_id", "ds", "issued")


WEATHER = replace(by_name("gas-germany"), name="gas-germany-weather", known=issued_weather)


def _classes(panel: Panel, row: int) -> dict[str, np.ndarray]:
    """Return the days of the panel, shape (N,), that belong to each class, for one series."""
    columns = panel.first + np.arange(panel.target.shape[1])
    days = panel.grid.dates(columns)
    month = days.astype("datetime64[M]").astype(np.int64) % 12
    temperature = panel.known[row, :, panel.names.index("temperature")]
    cold = temperature <= np.nanquantile(temperature, _COLD_SHARE)
    spell = np.convolve(cold, np.ones(_COLD_DAYS), "full")[: len(cold)] == _COLD_DAYS
    in_spell = np.convolve(spell[::-1], np.ones(_COLD_DAYS), "full")[: len(cold)][::-1] > 0
    # Seasons of the northern half of the earth, so that the cities are grouped by their own cold months.
    is_south = np.nanmean(temperature[np.isin(month, (0, 1, 11))]) > np.nanmean(temperature[np.isin(month, (5, 6, 7))])
    season = (month + 1 + 6 * is_south) % 12 // 3
    names = ("winter", "spring", "summer", "autumn")
    classes = {"all days": np.ones(len(days), bool), **{name: season == n for n, name in enumerate(names)}}
    holiday = np.asarray(panel.grid.is_holiday(days), bool)
    return classes | {"cold spells": in_spell, "holidays": holiday}


def error_table(panel: Panel, entries: dict[str, np.ndarray]) -> list[tuple[str, ...]]:
    """Return rows of a table: class, days, then for each entry the MAE in percent, one and seven days ahead.

    The MAE of a series is divided by the mean demand of the same days, and averaged over series.

    Args:
        panel: The task.
        entries: Quantiles of each forecaster, (S, I, H, Q).
    """
    actual, steps = panel.actual(), panel.origins[:, None] + np.arange(panel.horizon)
    classes = [_classes(panel, row) for row in range(len(panel.series))]
    rows = []
    for name in classes[0]:
        chosen = np.stack([own[name][steps] for own in classes]) & np.isfinite(actual)
        if not chosen[..., 0].any():
            continue
        cells = []
        for quantiles in entries.values():
            error = metrics.absolute_error(quantiles, LEVELS, actual)
            cells += [_percent(error[..., step], actual[..., step], chosen[..., step]) for step in (0, 6)]
        rows.append((name, f"{chosen[..., 0].any(axis=0).sum()}", *cells))
    return rows


def _percent(error: np.ndarray, actual: np.ndarray, chosen: np.ndarray) -> str:
    shares = [
        error[row, own].mean() / actual[row, own].mean() for row, own in enumerate(chosen) if own.any()
    ]  # fmt: skip
    return f"{100 * np.mean(shares):.1f}"


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    names = list(head)
    lines = [names, ["---", *["---:"] * (len(names) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _read(task: Task, panel: Panel, name: str) -> np.ndarray | None:
    path = results.forecast_path(task, name, quick=False)
    return forecasts.to_array(panel, pl.read_parquet(path)) if path.exists() else None


def _section(task: Task) -> str | None:
    """Return the section of a task, None if its forecasts are not on this machine."""
    task.prepare()
    panel = load_panel(task)
    found = {name: _read(task, panel, name) for name in (GATECAST, *_PEERS)}
    entries = {name: quantiles for name, quantiles in found.items() if quantiles is not None}
    if GATECAST not in entries:
        print(f"{task.name} is left out: {results.forecast_path(task, GATECAST, quick=False)} does not exist.")
        return None
    head = ["MAE in % of the demand", "days", *(f"{name}, day {day}" for name in entries for day in (1, 7))]
    return f"## {task.name}\n\n{_table(head, error_table(panel, entries))}"


def _weather_section(panel: Panel, noisy: np.ndarray, exact: np.ndarray) -> str:
    """Return the section on weather errors: MAE by lead time with actual and with forecast temperatures."""
    actual = panel.actual()

    def by_step(loss: Callable[..., np.ndarray], quantiles: np.ndarray) -> np.ndarray:
        return np.asarray(np.nanmean(loss(quantiles, LEVELS, actual), axis=(0, 1)))

    head = ["day", *(str(day + 1) for day in range(panel.horizon))]
    rows = [["error of the forecast temperature, degrees", *(f"{each:.1f}" for each in DEVIATIONS)]]
    for name, quantiles in (("actual", exact), ("forecast", noisy)):
        rows.append(
            [f"MAE, {name} temperatures, GWh", *(f"{x:.1f}" for x in by_step(metrics.absolute_error, quantiles))]
        )
        rows.append([f"80% interval covers, {name}", *(f"{x:.0%}" for x in by_step(metrics.covered, quantiles))])
    return f"## Errors of the weather forecast\n\n{_table(head, rows)}"


def main() -> None:
    """Write the page, from the forecasts of the league on this machine."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gas")
    parser.add_argument("--weather", action="store_true", help="backtest with simulated weather forecasts first")
    if parser.parse_args().weather:
        WEATHER.prepare()
        runs.run_gatecast(WEATHER, data_hash(WEATHER), quick=False)
    tasks = [by_name(name) for name in _TASKS if by_name(name).has_data]
    sections = [section for task in tasks if (section := _section(task)) is not None]
    if not sections:
        print("Nothing is written: the development data, or the league's forecasts, are not here.")
        return
    panel = load_panel(by_name("gas-germany"))
    noisy, exact = _read(WEATHER, panel, GATECAST), _read(panel.task, panel, GATECAST)
    if noisy is not None and exact is not None:
        sections.append(_weather_section(panel, noisy, exact))
    RESULTS.write_text("\n\n".join([
        "# Daily gas", f"`python -m benchmarks.gas --weather`. {machine()}", *sections,
    ]) + "\n")  # fmt: skip
    print(RESULTS.read_text())


if __name__ == "__main__":
    main()
