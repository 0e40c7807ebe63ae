"""Suggestions for names that are wrong by a few letters."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_MOST_SHOWN = 30  # names in a message
_LONGEST_SHOWN = 60  # characters of a name
_SIMILARITY = 0.6  # of difflib, between 0 and 1


def closest(word: str, allowed: Iterable[str], similarity: float = _SIMILARITY) -> str | None:
    """Return the allowed name that is most similar to `word`, None if none is similar."""
    by_folded = {name.casefold(): name for name in allowed}
    found = difflib.get_close_matches(word.casefold(), by_folded, n=1, cutoff=similarity)
    return by_folded[found[0]] if found else None


def did_you_mean(word: str, allowed: Iterable[str]) -> str:
    """Return a question with the closest allowed name and a space before it, an empty text if none is similar."""
    name = closest(word, allowed)
    if name is None:
        return ""
    # A name from a file may hold a line end, and an error is one line.
    shown = f'"{name}"' if name.isprintable() else repr(name)
    return f" Did you mean {shown}?"


def shown_names(names: Iterable[str], most: int = _MOST_SHOWN) -> str:
    """Return names in quotes for a message: the first `most` of them, and the start of each that is long."""
    found = list(names)
    quoted = [repr(name if len(name) <= _LONGEST_SHOWN else name[:_LONGEST_SHOWN] + "...") for name in found]
    more = len(found) - most
    return ", ".join(quoted[:most]) + (f" and {more:,} more" if more > 0 else "")
