"""Text for a terminal: colour with a meaning, and lines that are wrapped between words."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Iterable, Mapping
from typing import IO, Literal, NamedTuple

import click

#: Colours by meaning: complete, needs attention, failed.
Meaning = Literal["good", "attention", "bad"]
_COLOURS: dict[Meaning, str] = {"good": "green", "attention": "yellow", "bad": "red"}
_DEFAULT_WIDTH = 80  # columns
_DUMB = ("dumb", "unknown", "")


class Coloured(NamedTuple):
    """A line whose colour has a meaning."""

    text: str
    meaning: Meaning


#: A line of a command's output.
Line = str | Coloured


def outcome(sentence: str, is_degraded: bool) -> Coloured:
    """Return the sentence on a result, green if it is complete and yellow if it is degraded."""
    return Coloured(sentence, "attention" if is_degraded else "good")


def is_live(stream: IO[str], environment: Mapping[str, str] = os.environ) -> bool:
    """Return whether a stream is a terminal on which lines can be drawn again."""
    return stream.isatty() and environment.get("TERM", "dumb") not in _DUMB


def terminal_width(stream: IO[str]) -> int:
    """Return the columns of a terminal, 80 if they are unknown."""
    try:
        return os.get_terminal_size(stream.fileno()).columns or _DEFAULT_WIDTH
    except (OSError, ValueError):
        return _DEFAULT_WIDTH


def render(lines: Iterable[Line], stream: IO[str], environment: Mapping[str, str] = os.environ) -> str:
    """Return lines as they are written to a stream: wrapped and coloured on a terminal, unchanged elsewhere.

    NO_COLOR (https://no-color.org) and TERM=dumb turn the colours off.
    """
    if not stream.isatty():
        return "\n".join(escape(line.text if isinstance(line, Coloured) else line) for line in lines)
    has_colour = is_live(stream, environment) and not environment.get("NO_COLOR")
    width = terminal_width(stream)
    return "\n".join(_render_line(line, width, has_colour) for line in lines)


def _render_line(line: Line, width: int, has_colour: bool) -> str:
    text, meaning = line if isinstance(line, Coloured) else (line, None)
    wrapped = wrap(escape(text), width)
    return click.style(wrapped, fg=_COLOURS[meaning]) if has_colour and meaning else wrapped


def wrap(text: str, width: int) -> str:
    """Return text with line breaks between words. A word that is wider than the terminal, such as a path, stays whole.

    Following lines are indented by two more blanks than the first one.
    """
    return "\n".join(_wrap_line(line, width) for line in text.split("\n"))


def _wrap_line(line: str, width: int) -> str:
    if len(line) <= width:
        return line
    indent = " " * (len(line) - len(line.lstrip()) + 2)
    parts = textwrap.wrap(
        line, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False,
        replace_whitespace=False,
    )  # fmt: skip
    return "\n".join(parts)


def escape(text: str) -> str:
    """Return the text with control characters escaped, because a name of a source could command a terminal."""
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text)
