"""fev-bench: `python -m benchmarks.fev_bench TASKS.yaml --output RESULTS.csv [--only NAME,...]`; see `--help`.

Forecasts every window of the selected tasks by Gatecast's public command. It writes fev's summaries, one row per task,
as the leaderboard expects them. An interrupted run continues where it stopped.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import polars as pl

from benchmarks.fev_bench.pipeline import pipeline_text, reason_to_skip
from benchmarks.fev_bench.predictions import to_predictions
from benchmarks.fev_bench.tables import window_tables
from benchmarks.fev_bench.windows import PIPELINE, Gatecast, window_path
from benchmarks.league.forecasts import read_facts, settings_key
from storage.errors import first_line

ROOT = Path(__file__).parent.parent.parent
#: Tasks of fev-bench about energy: load, prices, solar and wind power, and transformers.
ENERGY = (
    "ETT_15T", "ETT_1D", "ETT_1H", "ETT_1W", "entsoe_15T", "entsoe_1H", "entsoe_30T", "epf_be", "epf_de", "epf_fr",
    "epf_np", "epf_pjm", "ercot_1D", "ercot_1H", "ercot_1M", "ercot_1W", "kdd_cup_2022_10T", "kdd_cup_2022_1D",
    "kdd_cup_2022_30T", "proenfo_gfc12", "proenfo_gfc14", "proenfo_gfc17", "solar_1D", "solar_1W",
    "solar_with_weather_15T", "solar_with_weather_1H",
)  # fmt: skip
#: Fields of a task that change no forecast, or that the pipeline file has.
_NOT_IN_KEY = ("task_name", "num_windows", "eval_metric", "extra_metrics", "quantile_levels")


def main(arguments: list[str] | None = None) -> int:
    """Run the selected tasks, write the summaries, and return 1 if a task failed, else 0."""
    options = _options(arguments)
    try:
        import fev
        import pandas as pd
    except ModuleNotFoundError as error:
        print(f"{error.name} is not installed: pip install -r benchmarks/fev_bench/requirements.txt", file=sys.stderr)
        return 1
    try:
        tasks = {task.task_name: task for task in fev.Benchmark.from_yaml(options.tasks).tasks}
    except ValueError as error:
        print(f"{options.tasks} cannot be read: {first_line(error)}", file=sys.stderr)
        return 2
    names = [name for name in ENERGY if name in tasks] if options.only is None else options.only.split(",")
    unknown = [name for name in names if name not in tasks]
    if unknown or not names:
        missing = ", ".join(unknown) or "an energy task of fev-bench"
        print(f"{options.tasks} does not have {missing}, but has {', '.join(tasks)}.", file=sys.stderr)
        return 2
    gatecast = Gatecast(options.gatecast, options.retrain)
    summaries, failed = [], []
    for name in names:
        fields = tasks[name].to_dict()
        fields["num_windows"] = min(options.windows or fields["num_windows"], fields["num_windows"])
        try:
            if summary := _run_task(fev.Task(**fields), gatecast, options):
                summaries.append(summary)
                pd.DataFrame(summaries).to_csv(options.output, index=False)
        except Exception as error:  # fev raises errors of many types, and the other tasks must go on.
            failed.append(name)
            print(f"{name} failed: {first_line(error)}", file=sys.stderr, flush=True)
    return 1 if failed else 0


def _run_task(task: Any, gatecast: Gatecast, options: argparse.Namespace) -> dict[str, Any] | None:
    """Forecast all windows of a task and return fev's summary, None if the task is skipped."""
    data = task.load_full_dataset(num_proc=1)  # Without it, the frequency is unknown.
    if reason := reason_to_skip(task):
        print(f"{task.task_name} is skipped, because {reason}.", flush=True)
        return None
    items, version = list(data[task.id_column]), gatecast.version()
    folder, predictions, rows_by_status = Path(), [], dict[str, int]()
    seconds = {"training_s": 0.0, "inference_s": 0.0}
    for number, window in enumerate(task.iter_windows()):
        print(f"{time.strftime('%H:%M:%S')} {task.task_name}, window {number + 1} of {task.num_windows}", flush=True)
        past, future = (pl.DataFrame(pl.from_arrow(part.data.table)) for part in window.get_input_data())
        tables = window_tables(task, items, past, future)
        if number == 0:
            text = pipeline_text(task, tables, options.budget)
            settings = {
                "pipeline": text, "retrain": gatecast.retrain, "version": version,
                "task": {key: value for key, value in task.to_dict().items() if key not in _NOT_IN_KEY},
                "environment": {key: value for key, value in os.environ.items() if key.startswith("GATECAST_")},
            }  # fmt: skip
            # Other settings or data get another folder, with a history and models of their own.
            folder = options.store / re.sub(r"\W", "-", task.task_name) / settings_key(settings, _hash(data))
            folder.mkdir(parents=True, exist_ok=True)
            (folder / PIPELINE).write_text(text, encoding="utf-8")
        predictions.append(to_predictions(task, tables.horizon, gatecast.forecast(folder, number, tables)))
        facts = read_facts(window_path(folder, number))
        seconds = {name: total + facts[name] for name, total in seconds.items()}
        for status, rows in facts["status"].items():
            rows_by_status[status] = rows_by_status.get(status, 0) + rows
    counts = ", ".join(f"{rows} {status}" for status, rows in rows_by_status.items())
    print(f"{task.task_name}: {counts} rows", flush=True)
    summary: dict[str, Any] = task.evaluation_summary(
        predictions, model_name="gatecast", training_time_s=seconds["training_s"],
        inference_time_s=seconds["inference_s"], extra_info={"framework_version": version},
        # True would mean that a pretrained model has seen the test data.
        trained_on_this_dataset=False,
    )  # fmt: skip
    return summary


def _hash(data: Any) -> str:
    """Return a hash of all values of a dataset. It names a folder and does not reach the model."""
    import pyarrow as pa

    with tempfile.TemporaryFile() as file:
        with pa.ipc.new_stream(file, data.data.table.schema) as stream:
            stream.write_table(data.data.table)
        file.seek(0)
        return hashlib.file_digest(file, "sha256").hexdigest()


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fev_bench")
    parser.add_argument("tasks", metavar="TASKS.yaml", help="benchmark file of fev, a path or URL")
    parser.add_argument("--output", type=Path, required=True, metavar="RESULTS.csv", help="summaries, one row per task")
    parser.add_argument("--only", metavar="NAME,...", help="tasks by name; default: the energy tasks of fev-bench")
    parser.add_argument("--windows", type=int, metavar="N", help="first windows of each task, as a trial")
    parser.add_argument("--store", type=Path, default=ROOT / "store" / "fev-bench", metavar="DIR")
    parser.add_argument("--gatecast", type=Path, default=Path(sys.executable).parent / "gatecast", help="the command")
    parser.add_argument("--budget", default="30m", help="training.budget of a training")
    parser.add_argument("--retrain", action="store_true", help="train at every window, not only at a task's first")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
