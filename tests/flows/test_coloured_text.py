"""Text of a command on a real pseudo-terminal: colours with a meaning, and line breaks between words."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from flows.coloured_text import Coloured, Line, outcome, render, wrap
from tests.support.pseudo_terminal import pseudo_terminal

_COLOURFUL = {"TERM": "xterm-256color"}
_GREEN, _YELLOW = "\x1b[32m", "\x1b[33m"


def shown(line: Line, environment: dict[str, str]) -> str:
    with pseudo_terminal() as terminal:
        return render([line], terminal.stream, environment)


def test_colour_has_a_meaning() -> None:
    assert shown(outcome("Published", is_degraded=False), _COLOURFUL).startswith(_GREEN)
    assert shown(outcome("Published", is_degraded=True), _COLOURFUL).startswith(_YELLOW)
    assert shown("plain", _COLOURFUL) == "plain"


def test_no_color_and_a_dumb_terminal_get_no_colour() -> None:
    for environment in (_COLOURFUL | {"NO_COLOR": "1"}, {"TERM": "dumb"}, {}):
        assert shown(Coloured("error: wrong", "bad"), environment) == "error: wrong"


def test_a_file_gets_the_text_unchanged(tmp_path: object) -> None:
    with open(f"{tmp_path}/out", "w") as file:  # noqa: PTH123
        text = "word " * 40
        assert render([Coloured(text, "good"), "next"], file, _COLOURFUL) == f"{text}\nnext"


def test_a_terminal_cannot_be_commanded() -> None:
    assert shown("a\x1b]0;title\x07b", _COLOURFUL) == "a\\x1b]0;title\\x07b"


@given(st.lists(st.text("abc/", min_size=1, max_size=30), min_size=1, max_size=40), st.integers(20, 90))
def test_wrapping_breaks_no_word(words: list[str], width: int) -> None:
    wrapped = wrap(" ".join(words), width)
    assert wrapped.split() == words
    assert all(len(line) <= width or len(line.split()) == 1 for line in wrapped.split("\n"))
