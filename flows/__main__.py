"""Where the command `gatecast` starts: what has to be settled before the libraries are loaded, and then they are."""

from __future__ import annotations

import gc
import os

from flows.stage_process.environment import SINGLE_THREAD_NUMPY


def main() -> None:
    """Run the command line."""
    os.environ.setdefault(*SINGLE_THREAD_NUMPY)
    # What an import makes stays: looking through it for garbage takes 40 ms, again and again more with each stage.
    gc.disable()
    from flows import cli

    gc.freeze()
    gc.enable()
    cli.main()


if __name__ == "__main__":
    main()
