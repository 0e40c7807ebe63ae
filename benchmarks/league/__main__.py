"""The league: `python -m benchmarks.league --peers PYTHON [--only TASK,...] [--entries NAME,...]`; see `--help`.

Runs the missing forecasts, cheapest first, one process at a time, and prints the table. An interrupted run continues
where it stopped. Forecasts with unchanged settings and data are not made again. Losses of forecasts that took long are
kept in the repository (`kept/`) and used from there, unless `--anew` is given.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks.first_light import machine
from benchmarks.league import entry, results, runs, table
from benchmarks.league.panel import data_hash
from benchmarks.league.peers import PEERS
from benchmarks.league.results import GATECAST
from benchmarks.league.tasks import ROOT, STORE, TASKS, Task

RESULTS = ROOT / "benchmarks" / "results" / "league.md"
#: Forecasters by name. None is Gatecast.
ENTRIES = {GATECAST: None, **{peer.name: peer for peer in PEERS}}
_QUICK_TASKS = ("load", "daily", "market-gas")


def main() -> int:
    """Run what is missing, write the table, and return the number of failed runs."""
    arguments = _arguments()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    tasks = [task for task in TASKS if not arguments.quick or task.name in _QUICK_TASKS]
    for task in tasks:
        if not task.has_data:
            print(f"{task.name} is skipped: {task.source_path} does not exist.", flush=True)
    tasks = [task for task in tasks if task.has_data]
    if not tasks:
        print("The league is skipped: the shared development data are not beside this checkout.")
        return 0
    # A task that is neither run nor known costs seconds of preparation.
    tasks = [task for task in tasks if task.name in arguments.only or results.has_any(task, arguments.quick)]
    data = {}
    for task in tasks:
        task.prepare()
        data[task.name] = data_hash(task)
    use_kept = not (arguments.quick or arguments.anew)
    selected = [task for task in tasks if task.name in arguments.only]
    failed = [] if arguments.table else _run(arguments, selected, data, use_kept)
    read: table.Results = {
        task.name: {
            name: result
            for name, peer in ENTRIES.items()
            if (result := results.read_result(task, peer, data[task.name], arguments.quick, use_kept)) is not None
        }
        for task in tasks
    }
    if arguments.keep and not arguments.quick:
        for task in tasks:
            for peer in ENTRIES.values():
                results.keep(task, peer, data[task.name])
    text = table.render(tasks, read, entry.QUICK_ISSUES if arguments.quick else None, machine())
    target = STORE / "quick" / "league.md" if arguments.quick else RESULTS
    target.write_text(text)
    print(f"{text}\nWrote {target.relative_to(ROOT)}.")
    for error in failed:
        print(f"Failed: {error}", file=sys.stderr)
    return len(failed)


def _run(arguments: argparse.Namespace, tasks: list[Task], data: dict[str, str], use_kept: bool) -> list[str]:
    """Run the selected forecasters on these tasks and return the messages of failed runs."""
    failed = []
    for peer in [ENTRIES[name] for name in arguments.entries]:
        for task in tasks:
            if use_kept and results.has_kept(task, peer, data[task.name]):
                continue
            try:
                if peer is None:
                    runs.run_gatecast(task, data[task.name], arguments.quick)
                elif task.group in peer.groups and (peer.quick or not arguments.quick):
                    runs.run_peer(task, peer, data[task.name], arguments.peers, arguments.quick)
            except runs.RunFailed as error:
                failed.append(str(error))
    return failed


def _arguments() -> argparse.Namespace:
    tasks, entries = [task.name for task in TASKS], list(ENTRIES)
    parser = argparse.ArgumentParser(prog="python -m benchmarks.league")
    parser.add_argument("--peers", type=Path, required=True, help="python of the peers' environment")
    parser.add_argument("--quick", action="store_true", help="few issue times, cheap peers, small budgets")
    parser.add_argument("--only", type=_names(tasks), default=tasks, help="tasks, separated by commas")
    parser.add_argument("--entries", type=_names(entries), default=entries, help="forecasters, separated by commas")
    parser.add_argument("--table", action="store_true", help="run nothing, print the table of existing results")
    parser.add_argument("--anew", action="store_true", help="ignore the losses kept in the repository")
    parser.add_argument("--keep", action="store_true", help="write the losses of new forecasts into the repository")
    return parser.parse_args()


def _names(known: list[str]) -> Callable[[str], list[str]]:
    def parse(text: str) -> list[str]:
        names = text.split(",")
        if unknown := [name for name in names if name not in known]:
            raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown)}. Allowed: {', '.join(known)}")
        return names

    return parse


if __name__ == "__main__":
    sys.exit(min(main(), 1))
