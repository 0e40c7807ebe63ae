"""The `gatecast` command."""

from flows.cli.commands import main

__all__ = ["main"]
