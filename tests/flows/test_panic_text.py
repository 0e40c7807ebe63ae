"""Panic text of Rust libraries in the output of a stage process."""

from __future__ import annotations

import os
import sys

import pytest

from flows.cli.quiet_panics import quiet_panics
from flows.stage_process.panics import without_panics

MESSAGE = ["\n", "thread 'async-executor-0' (10349) panicked at lib.rs:329:9:\n", "assertion failed\n", "  left: 0\n"]
STACK = ["stack backtrace:\n", "   0: rust_begin_unwind\n", "             at ./a.rs:1:2\n"]
NOTE = ["note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace\n"]


def test_panics_are_removed_and_all_other_lines_are_kept() -> None:
    lines = ["before\n", *MESSAGE, *NOTE, "between\n", *MESSAGE, *STACK, *NOTE, "after\n"]
    assert [line for line in without_panics(lines) if line.strip()] == ["before\n", "between\n", "after\n"]


def test_a_panic_without_a_note_ends_at_the_next_log_line() -> None:
    for following in ('{"level": "ERROR"}\n', "Traceback (most recent call last):\n", "\n"):
        assert list(without_panics([*MESSAGE[1:], following, "after\n"])) == [following, "after\n"]
    assert list(without_panics([*MESSAGE[1:], *MESSAGE[1:], *NOTE, "after\n"])) == ["after\n"]


def test_a_command_keeps_the_text_of_a_panic_to_itself(capfd: pytest.CaptureFixture[str]) -> None:
    """Rust writes to the file descriptor and not to Python's stream."""
    with quiet_panics():
        os.write(2, b"before\n")
        os.write(
            2, b"thread '<unnamed>' panicked at file.rs:1:2:\nindex out of bounds\nnote: run with RUST_BACKTRACE\n"
        )
        os.write(2, b"after\n")
        print("own line", file=sys.stderr)
    os.write(2, b"later\n")
    # Two writers share the stream, so the order of their writes is open.
    written = capfd.readouterr().err
    assert all(written.count(words) == 1 for words in ("before", "after", "own line", "later"))
    assert not any(words in written for words in ("panicked", "index out of bounds", "RUST_BACKTRACE"))
