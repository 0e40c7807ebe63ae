"""The pipeline file of a task."""

from __future__ import annotations

import json
from datetime import datetime, timedelta

from benchmarks.fev_bench.tables import KEYS, Task, WindowTables

NAME = "fev-bench"
#: Frequencies of Gatecast by the offset of pandas.
FREQUENCIES = {"15min": "15m", "30min": "30m", "h": "1h", "D": "1d", "B": "1b"}
_ROLES = {"target": "target", "known": "known_future", "observed": "observed"}
_STEPS = {"15m": timedelta(minutes=15), "30m": timedelta(minutes=30), "1h": timedelta(hours=1)}
_LEVELS = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]


def reason_to_skip(task: Task) -> str | None:
    """Return why Gatecast cannot forecast a task, None if it can."""
    if task.freq not in FREQUENCIES:
        return f"its frequency {task.freq!r} is not one of Gatecast's ({', '.join(FREQUENCIES.values())})"
    if task.max_context_length is not None:
        return f"Gatecast trains on all history, but max_context_length is {task.max_context_length}"
    return None


def pipeline_text(task: Task, tables: WindowTables, budget: str) -> str:
    """Return the pipeline file of a task, from the tables of its first window.

    Horizon, season and quantile levels are those of the task. The task has no context, so it is Gatecast's default.
    """
    frequency = FREQUENCIES[task.freq]
    issue_time: datetime = min(tables.horizon["issue_time"])
    lines = [
        "[pipeline]", f'name = "{NAME}"', 'store = "store"', f'frequency = "{frequency}"', 'timezone = "UTC"',
        f"horizon = {task.horizon}", f"season = {task.seasonality}", f'issue_at = "{issue_time:%H:%M}"',
        f"quantile_levels = {sorted({*(task.quantile_levels or _LEVELS), 0.5})}",
    ]  # fmt: skip
    if frequency == "1d":
        lines.append(f'day_start = "{issue_time:%H:%M}"')
    elif frequency in _STEPS:
        offset = timedelta(minutes=issue_time.minute) % _STEPS[frequency]
        lines.append(f'grid_offset = "{offset // timedelta(minutes=1)}m"')
    for name, table in tables.feeds.items():
        values = json.dumps([column for column in table.columns if column not in KEYS], ensure_ascii=False)
        lines += [
            "", "[[feed]]", f'name = "{name}"', f'role = "{_ROLES[name]}"', f'uri = "{name}.parquet"',
            'series_id = "series_id"', 'valid_time = "valid_time"', f"values = {values}",
        ]  # fmt: skip
    # fev wants a forecast of every series, also of one whose newest values are missing.
    lines += ["", "[training]", 'window = "all"', f'budget = "{budget}"', "", "[forecast]", 'deadline = "6h"',
              'ended_after = "36500d"']  # fmt: skip
    return "\n".join([*lines, ""])
