"""Results of the league: forecasts made on this machine, and the losses kept in the repository.

A result is used only if the hash of its settings and data is the current one.
"""

from __future__ import annotations

import ast
import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from benchmarks.league import forecasts, losses
from benchmarks.league.entry import QUICK_ISSUES, peer_settings
from benchmarks.league.losses import Losses
from benchmarks.league.panel import load_panel
from benchmarks.league.peers import Peer
from benchmarks.league.tasks import ROOT, STORE, Task

GATECAST = "gatecast"
RETRAIN_EVERY = "7d"
KEPT = Path(__file__).parent / "kept"
#: Modules of `model` that show a model and change no forecast.
_VIEWS = ("introspection", "linear_contributions", "occlusion", "recurrent")
#: Modules of `flows.stages` between the history and a forecast.
_STAGES = (
    "assemble", "baseline_history", "fallback", "fitting", "forecast", "nightly_fit", "panels", "replay", "retrain",
    "shard", "train", "trained_models", "training_data", "warm_start",
)  # fmt: skip


@dataclass(frozen=True)
class Result:
    """Losses of one forecaster on one task, and its cost.

    Attributes:
        losses: The losses.
        cpu: CPU-seconds of training and forecasts.
        statuses: Number of rows by status. Only Gatecast has statuses.
        code: Hashes of the code that made the forecasts (see `code_hash`). Only Gatecast has them, several if a
            backtest was continued with other code.
    """

    losses: Losses
    cpu: float
    statuses: dict[str, int] = field(default_factory=dict)
    code: tuple[str, ...] = ()


def entry_name(peer: Peer | None) -> str:
    """Return the name of a forecaster. None stands for Gatecast."""
    return GATECAST if peer is None else peer.name


def forecast_path(task: Task, name: str, quick: bool) -> Path:
    """Return the path of a forecaster's forecasts of a task on this machine."""
    if name == GATECAST:
        return STORE / ("quick/backtests" if quick else "backtests") / task.name / "forecasts.parquet"
    return STORE / ("quick" if quick else "forecasts") / task.name / f"{name}.parquet"


def facts_path(task: Task, peer: Peer | None, quick: bool) -> Path:
    """Return the path that settings and cost belong to: the forecast file, or the folder of a backtest."""
    path = forecast_path(task, entry_name(peer), quick)
    return path.parent if peer is None else path


def result_key(task: Task, peer: Peer | None, data: str, quick: bool) -> str:
    """Return the hash of the settings and data of a forecaster's forecasts of a task."""
    if peer is None:
        file = {"file": task.pipeline_path.read_text(), "retrain": RETRAIN_EVERY}
        return forecasts.settings_key(file, data)
    return forecasts.settings_key(peer_settings(peer, task, quick), data)


def has_forecasts(task: Task, peer: Peer | None, data: str, quick: bool) -> bool:
    """Return whether this machine has complete forecasts with the current settings and data."""
    facts = forecasts.read_facts(facts_path(task, peer, quick))
    # A backtest has facts from its first run on, so that an interrupted one can be continued.
    is_complete = facts.get("done", peer is not None)
    is_current = facts.get("key") == result_key(task, peer, data, quick)
    return is_complete and is_current and forecast_path(task, entry_name(peer), quick).exists()


def has_any(task: Task, quick: bool) -> bool:
    """Return whether there may be results of a task: kept ones, or forecasts on this machine."""
    local = (forecast_path(task, name, quick).parent for name in (GATECAST, "any"))
    return (KEPT / task.name).exists() or any(folder.exists() for folder in local)


def has_kept(task: Task, peer: Peer | None, data: str) -> bool:
    """Return whether the repository keeps losses with the current settings and data."""
    facts = forecasts.read_facts(_kept_path(task, peer))
    return facts.get("key") == result_key(task, peer, data, quick=False)


def read_result(task: Task, peer: Peer | None, data: str, quick: bool, use_kept: bool) -> Result | None:
    """Return the result of this machine, else the kept one, else None."""
    if has_forecasts(task, peer, data, quick):
        return _local_result(task, peer, quick)
    if use_kept and has_kept(task, peer, data):
        path = _kept_path(task, peer)
        table, facts = pl.read_parquet(path), forecasts.read_facts(path)
        statuses = facts.get("statuses", {})
        return Result(
            losses.from_table(load_panel(task), table), facts["cpu_s"], statuses, tuple(facts.get("code", ()))
        )
    return None


def keep(task: Task, peer: Peer | None, data: str) -> None:
    """Write the losses of this machine's forecasts into the repository, unless they take only seconds to make."""
    if (peer is not None and peer.cheap) or not has_forecasts(task, peer, data, quick=False):
        return
    result = _local_result(task, peer, quick=False)
    path = _kept_path(task, peer)
    path.parent.mkdir(parents=True, exist_ok=True)
    table = losses.to_table(load_panel(task), result.losses)
    table.write_parquet(path, compression="zstd", compression_level=22, row_group_size=len(table), statistics=False)
    facts = forecasts.read_facts(facts_path(task, peer, quick=False))
    forecasts.write_facts(path, facts | ({"statuses": result.statuses} if peer is None else {}))


def code_hash() -> str:
    """Return a hash of the code that makes Gatecast's forecasts: of the model, its training and the stages of both.

    Comments, docstrings, checks of feeds and views of models do not count.
    """
    digest = hashlib.sha256()
    paths = [
        path for path in (ROOT / "model").rglob("*.py") if path.parent.name != "checks" and path.stem not in _VIEWS
    ]
    for path in sorted([*paths, *(ROOT / "flows" / "stages" / f"{name}.py" for name in _STAGES)]):
        digest.update(ast.dump(_without_docstrings(ast.parse(path.read_text(encoding="utf-8")))).encode())
    return digest.hexdigest()[:12]


def _without_docstrings(tree: ast.Module) -> ast.Module:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:]
    return tree


def _local_result(task: Task, peer: Peer | None, quick: bool) -> Result:
    rows = pl.read_parquet(forecast_path(task, entry_name(peer), quick))
    panel = load_panel(task, QUICK_ISSUES if quick else None)
    facts: dict[str, Any] = forecasts.read_facts(facts_path(task, peer, quick))
    statuses = dict(rows["status"].value_counts().sort("status").iter_rows()) if peer is None else {}
    computed = losses.compute_losses(panel, forecasts.to_array(panel, rows))
    return Result(computed, facts["cpu_s"], statuses, tuple(facts.get("code", ())))


def _kept_path(task: Task, peer: Peer | None) -> Path:
    return KEPT / task.name / f"{entry_name(peer)}.parquet"
