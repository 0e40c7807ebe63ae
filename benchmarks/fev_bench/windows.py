"""Forecasts of a task's windows by Gatecast's public command, each made once."""

from __future__ import annotations

import json
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from benchmarks.fev_bench.tables import WindowTables
from benchmarks.league.forecasts import read_facts, write_facts

PIPELINE = "pipeline.toml"
# Exit status 3 means that some rows are not `model`.
_PUBLISHED = (0, 3)


class CommandFailed(Exception):
    """The command published nothing. The message names it and its error."""


@dataclass(frozen=True)
class Gatecast:
    """The command and how it is used.

    Attributes:
        path: Path of the command.
        retrain: Whether a model is trained at every window and not only at the first.
    """

    path: Path
    retrain: bool

    def version(self) -> str:
        """Return the version of the command."""
        return self._run("--version").split()[-1]

    def forecast(self, folder: Path, number: int, tables: WindowTables) -> pl.DataFrame:
        """Return the rows of a window, and forecast them first unless that is done.

        The history grows from window to window, so the windows of a folder must come in their order.

        Args:
            folder: Folder of the task's pipeline file, of its store and of its windows.
            number: Number of the window, from 0.
            tables: Tables of the window.
        """
        path = window_path(folder, number)
        if not read_facts(path):
            tables.write(folder)
            issue_times = tables.horizon["issue_time"].unique().sort().to_list()
            started = time.perf_counter()
            self._run("ingest", folder / PIPELINE, "--as-of", issue_times[-1].isoformat(), "--json")
            if number == 0 or self.retrain:
                # fev may cut each series at a time of its own. The first one is before all horizons.
                self._run("train", folder / PIPELINE, "--as-of", issue_times[0].isoformat(), "--json")
            trained = time.perf_counter()
            rows = pl.concat([self._forecast_at(folder, tables, issue_time) for issue_time in issue_times])
            path.parent.mkdir(exist_ok=True)
            rows.write_parquet(path)
            seconds = {"training_s": trained - started, "inference_s": time.perf_counter() - trained}
            write_facts(path, {**seconds, "status": dict(rows["status"].value_counts().iter_rows())})
        return pl.read_parquet(path)

    def _forecast_at(self, folder: Path, tables: WindowTables, issue_time: Any) -> pl.DataFrame:
        """Return the forecast of the series whose horizon begins at an issue time."""
        answer = self._run("forecast", folder / PIPELINE, "--issue-time", issue_time.isoformat(), "--json")
        published = pl.read_parquet(json.loads(answer)["path"])
        return published.join(tables.horizon.filter(issue_time=issue_time), on="series_id", how="semi")

    def _run(self, *arguments: object) -> str:
        done = subprocess.run(
            [self.path, *map(str, arguments)], capture_output=True, text=True, encoding="utf-8", check=False
        )
        if done.returncode not in _PUBLISHED:
            error = next((line for line in done.stderr.splitlines() if line.startswith("error:")), done.stderr[-500:])
            raise CommandFailed(f"gatecast {arguments[0]} ended with exit status {done.returncode}: {error}")
        return done.stdout


def window_path(folder: Path, number: int) -> Path:
    """Return the path of the forecast of a window, beside which its facts are."""
    return folder / "windows" / f"{number}.parquet"
