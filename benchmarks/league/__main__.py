"""The league: `python -m benchmarks.league --peers PYTHON [--only TASK,...] [--entries NAME,...]`; see `--help`.

Runs what is missing, cheapest first, one process at a time, and prints the table. A run that broke off is taken up
where it was; a forecast whose settings and data are as they were is not made again. What took long is kept in the
repository (`kept/`) and taken from there, unless everything is asked for anew.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks.first_light import machine
from benchmarks.league import entry, panel, runs, table
from benchmarks.league.peers import PEERS
from benchmarks.league.runs import GATECAST
from benchmarks.league.tasks import ROOT, STORE, TASKS, Task

RESULTS = ROOT / "benchmarks" / "results" / "league.md"
#: None is Gatecast.
ENTRIES = {GATECAST: None, **{peer.name: peer for peer in PEERS}}
_QUICK_TASKS = ("load", "daily", "market-gas")


def main() -> int:
    """Prepare, run, print; the number of runs that failed."""
    at = _arguments()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    tasks = [task for task in TASKS if not at.quick or task.name in _QUICK_TASKS]
    for task in tasks:
        if not task.here:
            print(f"skipped: {task.name}, since {task.path.name} is not in {task.path.parent}", flush=True)
    tasks = [task for task in tasks if task.here]
    if not tasks:
        print("the league is skipped: the shared development data are not beside this checkout")
        return 0
    data = {}
    for task in tasks:
        task.prepare()
        data[task.name] = panel.data_hash(task)
    if not (at.quick or at.anew):
        for task in tasks:
            for peer in ENTRIES.values():
                runs.restore(task, peer, data[task.name])
    failed = [] if at.table else _run(at, [task for task in tasks if task.name in at.only], data)
    found = {
        task.name: {
            who: there
            for who, peer in ENTRIES.items()
            if (there := runs.made(task, peer, data[task.name], at.quick)) is not None
        }
        for task in tasks
    }
    if at.keep and not at.quick:
        for task in tasks:
            for peer in ENTRIES.values():
                runs.keep(task, peer, data[task.name])
    text = table.render(tasks, found, entry.QUICK_ISSUES if at.quick else None, machine())
    target = STORE / "quick" / "league.md" if at.quick else RESULTS
    target.write_text(text)
    print(f"{text}\nwrote {target.relative_to(ROOT)}")
    for error in failed:
        print(f"failed: {error}", file=sys.stderr)
    return len(failed)


def _run(at: argparse.Namespace, tasks: list[Task], data: dict[str, str]) -> list[str]:
    """Everything that is asked for; what failed."""
    failed = []
    for peer in [ENTRIES[who] for who in at.entries]:
        for task in tasks:
            try:
                if peer is None:
                    runs.gatecast(task, data[task.name], at.quick)
                elif task.group in peer.groups and (peer.quick or not at.quick):
                    runs.peer(task, peer, data[task.name], at.peers, at.quick)
            except runs.RunFailed as error:
                failed.append(str(error))
    return failed


def _arguments() -> argparse.Namespace:
    everything, everyone = [task.name for task in TASKS], list(ENTRIES)
    asked = argparse.ArgumentParser(prog="python -m benchmarks.league")
    asked.add_argument("--peers", type=Path, required=True, help="python of the peers' environment")
    asked.add_argument("--quick", action="store_true", help="few days, cheap peers, small budgets")
    asked.add_argument("--only", type=_names(everything), default=everything, help="tasks, by comma")
    asked.add_argument("--entries", type=_names(everyone), default=everyone, help="forecasters, by comma")
    asked.add_argument("--table", action="store_true", help="run nothing, print the table of what is there")
    asked.add_argument("--anew", action="store_true", help="take nothing from the forecasts kept in the repository")
    asked.add_argument("--keep", action="store_true", help="keep what was made in the repository")
    return asked.parse_args()


def _names(known: list[str]) -> Callable[[str], list[str]]:
    def parse(text: str) -> list[str]:
        names = text.split(",")
        if unknown := [name for name in names if name not in known]:
            raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: not one of {', '.join(known)}")
        return names

    return parse


if __name__ == "__main__":
    sys.exit(min(main(), 1))
