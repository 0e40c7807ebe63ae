"""Suggestions for names that are wrong by a few letters."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

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
