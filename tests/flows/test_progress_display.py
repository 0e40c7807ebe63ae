"""Progress that people see: one display on a real pseudo-terminal, one line per stage elsewhere."""

from __future__ import annotations

import re
import sys
import time

import pytest

from flows.coloured_text import Coloured
from flows.progress_display import StageBar, StageLines, time_left
from tests.support.pseudo_terminal import PseudoTerminal, pseudo_terminal

_TRAINING = "update 1200, loss 0.1012, baseline 0.2503"


class Clock:
    """A clock that the test sets."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def draw(monkeypatch: pytest.MonkeyPatch, columns: int = 80) -> PseudoTerminal:
    """Return a terminal on which a run of two stages was shown."""
    clock = Clock()
    with pseudo_terminal(columns) as terminal:
        monkeypatch.setattr(sys, "stderr", terminal.stream)
        bar = StageBar(keeps_stages=True, clock=clock)
        with bar.shown():
            bar.start("ingest")
            clock.now = 2.0
            bar.end("ingest", None)
            bar.start("train")
            clock.now = 32.0
            bar.advance("train", _TRAINING, 0.25)
            time.sleep(0.6)
            # Progress that is reported late does not move the bar back.
            bar.advance("train", "export and verify", 0.1)
            time.sleep(0.6)
            print("a line of a library", file=sys.stderr)
            bar.end("train", "the cause")
        monkeypatch.undo()
    return terminal


def test_a_terminal_shows_stage_percentage_time_left_and_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    lines = draw(monkeypatch).lines
    assert "ingest   done in 2 s" in lines
    (bar,) = {re.sub("[━╸╺]+", "=", line) for line in lines if "25%" in line}
    assert bar.split() == ["train", "=", "25%", "1:30", "left"]
    assert f"         {_TRAINING}" in lines and "         export and verify" in lines
    assert "train    failed after 30 s: the cause" in lines
    assert "a line of a library" in lines
    assert all(len(line) <= 80 for line in lines)


def test_a_narrow_terminal_gets_no_broken_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    lines = draw(monkeypatch, columns=44).lines
    assert all(len(line) <= 44 for line in lines)
    assert [line for line in lines if line.startswith("         update 1200, loss 0.1012,") and line.endswith("…")]


def test_no_color_turns_colours_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    assert "\x1b[32m" in draw(monkeypatch).raw
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("NO_COLOR", "1")
    assert not re.search(r"\x1b\[(3[0-9]|38;[0-9;]*)m", draw(monkeypatch).raw)


def test_elsewhere_each_stage_is_one_line() -> None:
    clock, lines = Clock(), list[Coloured]()
    listener = StageLines(lines.append, clock)
    for stage, error in (("ingest", None), ("forecast", "no target value was known")):
        listener.start(stage)
        clock.now += 4.2
        listener.advance(stage, "anything", 0.5)
        listener.end(stage, error)
    assert [line.text for line in lines] == [
        "ingest   done in 4 s", "forecast failed after 4 s: no target value was known",
    ]  # fmt: skip


def test_the_time_left_is_shown_once_it_is_known() -> None:
    assert time_left(0.0, 10.0) == time_left(0.5, 1.0) == time_left(1.0, 10.0) == ""
    assert time_left(0.5, 75.0) == "1:15 left"
