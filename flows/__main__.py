"""Start of the `gatecast` command: settings that must precede the import of the libraries."""

from __future__ import annotations

import gc
import os
import sys

from flows import standard_streams
from flows.stage_process import supervision
from flows.stage_process.environment import PASSIVE_WAIT, SINGLE_THREAD_NUMPY

_POLARS_THREADS = "POLARS_MAX_THREADS"


def main() -> None:
    """Run the command line."""
    standard_streams.open_closed()
    os.environ.setdefault(*PASSIVE_WAIT)
    os.environ.setdefault(*SINGLE_THREAD_NUMPY)
    _drop_wrong_threads()
    if "forecast" in sys.argv[1:2]:
        supervision.supervise()
    # Imported objects are permanent. Scanning them costs the garbage collector 40 ms per stage, so freeze them.
    gc.disable()
    from flows import cli

    gc.freeze()
    gc.enable()
    try:
        cli.main(prog_name="gatecast")
    except standard_streams.EndNow as end:
        standard_streams.end_now(end)


def _drop_wrong_threads() -> None:
    """Remove a number of threads that Polars would panic at, so that a forecast is published."""
    threads = os.environ.get(_POLARS_THREADS)
    if threads is not None and not (threads.isdecimal() and int(threads)):
        del os.environ[_POLARS_THREADS]
        print(f"warning: {_POLARS_THREADS} = {threads!r} is ignored: it must be a number from 1 on.", file=sys.stderr)


if __name__ == "__main__":
    main()
