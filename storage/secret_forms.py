"""Search for secrets in text: plain, encoded, escaped or truncated.

A text is first unescaped: percent, HTML, JSON and Python escapes, also within each other. Short pieces of a secret are
then searched in plain, hexadecimal and Base64 form. Each hit is extended to the longest common run.
"""

from __future__ import annotations

import base64
import html
import itertools
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import unquote

#: Characters of the shortest secret that is found in any text. Shorter ones occur in ordinary text.
SHORTEST = 6
_SHORTEST_WORD = 12  # Characters of a secret of letters only.
_PIECE = 8  # Characters of a secret that no text may show in a row.
_BASE64_PIECE = 11  # Characters of Base64 for as many bytes.
_LONGEST_TEXT = 2_000  # Characters of a text in which searching each piece is faster than one search for all.
_MOST_LEVELS = 4  # Levels of escapes within escapes.
# Words of Base64 that are this long are the compressed tables of the page, which are made of redacted texts.
_DATA = re.compile(r"[A-Za-z0-9+/=]{1000,}")
_ESCAPE = re.compile(
    r"%u(?P<percent4>[0-9a-fA-F]{4})|%(?P<percent>[0-9a-fA-F]{2})|&#[xX]0*(?P<entity16>[0-9a-fA-F]{1,6});?"
    r"|&#0*(?P<entity>[0-9]{1,7});?|&(?P<name>[a-zA-Z]{2,8});|\\u\{(?P<braces>[0-9a-fA-F]{1,6})\}"
    r"|\\u(?P<unicode>[0-9a-fA-F]{4})|\\U(?P<unicode8>[0-9a-fA-F]{8})|\\x(?P<byte>[0-9a-fA-F]{2})"
    r"|\\(?P<octal>[0-3][0-7]{2})|\\(?P<plain>[\"'/\\])"
)
_LOWER = {code: code + 32 for code in range(ord("A"), ord("Z") + 1)}


@dataclass(frozen=True)
class _Form:
    """One spelling of a secret, and the pieces by which it is found.

    Attributes:
        text: The spelling, in lower case.
        pieces: Piece by its offset in the text.
        is_word: Whether only the whole spelling counts, without letters and digits beside it.
    """

    text: str
    pieces: dict[int, str]
    is_word: bool = False


class SecretFinder:
    """Search for some secrets in texts.

    Args:
        secrets: Values of the secrets. Those that are shorter than `SHORTEST` are left out.
    """

    def __init__(self, secrets: Iterable[str]) -> None:
        self._forms = [form for secret in sorted(set(secrets)) for form in _forms(secret)]
        self._places: dict[str, list[tuple[_Form, int]]] = {}
        for form in self._forms:
            for offset, piece in form.pieces.items():
                self._places.setdefault(piece, []).append((form, offset))
        self._lengths = sorted({len(piece) for piece in self._places})
        #: All pieces, in lower case. A text that has none of them when it is unescaped shows no secret.
        self.pieces = list(self._places)

    def replace(self, text: str, replacement: str) -> str:
        """Return the text with the replacement in place of every secret."""
        if not self._places:
            return text
        if _DATA.search(text):
            ends = [0, *(end for match in _DATA.finditer(text) for end in match.span()), len(text)]
            parts = [text[start:end] for start, end in itertools.pairwise(ends)]
            return "".join(part if i % 2 else self._replace(part, replacement) for i, part in enumerate(parts))
        return self._replace(text, replacement)

    def _replace(self, text: str, replacement: str) -> str:
        if not self._has_piece(_unescape(text).translate(_LOWER)):
            return text
        shown, starts = _unescape_with_starts(text)
        spans = sorted(self._spans(shown.translate(_LOWER)))
        parts: list[str] = []
        end = 0
        for start, stop in spans:
            first, last = starts[start], starts[stop]
            if first > end or not parts:
                parts += [text[end:first], replacement]
            end = max(end, last)
        return "".join([*parts, text[end:]])

    def _has_piece(self, text: str) -> bool:
        if len(text) <= _LONGEST_TEXT:
            return any(piece in text for piece in self._places)
        import polars as pl

        # Polars refuses halves of surrogate pairs, which are no text of a secret.
        text = text.encode("utf-8", "replace").decode()
        return bool(pl.Series([text]).str.contains_any(self.pieces).any())

    def _spans(self, text: str) -> Iterator[tuple[int, int]]:
        """Yield start and end of each run of a secret."""
        for length in self._lengths:
            for start in range(len(text) - length + 1):
                for form, offset in self._places.get(text[start : start + length], ()):
                    if form.is_word:
                        if _is_word(text, start, start + length):
                            yield start, start + length
                    else:
                        yield _extend(text, start, start + length, form.text, offset)


def _extend(text: str, start: int, end: int, form: str, offset: int) -> tuple[int, int]:
    """Return the longest run that text and form have in common around a piece."""
    last = offset + end - start
    while start > 0 and offset > 0 and text[start - 1] == form[offset - 1]:
        start, offset = start - 1, offset - 1
    while end < len(text) and last < len(form) and text[end] == form[last]:
        end, last = end + 1, last + 1
    return start, end


def _is_word(text: str, start: int, end: int) -> bool:
    return not text[start - 1 : start].isalnum() and not text[end : end + 1].isalnum()


def _forms(secret: str) -> Iterator[_Form]:
    """Yield all spellings by which a secret is found."""
    values = {secret, unquote(secret), _unescape(secret)}
    # Escapes of bytes, such as %C3%A9, are replaced byte by byte.
    values |= {value.encode("utf-8", "surrogatepass").decode("latin-1") for value in values}
    for value in sorted(values):
        if len(value) < SHORTEST or (value.isalpha() and len(value) < _SHORTEST_WORD):
            continue
        yield from _plain_forms(value)
        content = value.encode("utf-8", "surrogatepass")
        for separator in ("", " ", ":", "-"):
            text = content.hex(separator) if separator else content.hex()
            width, step = 2 + len(separator), min(_PIECE, len(content))
            length = step * width - len(separator)
            yield _Form(text, {i: text[i : i + length] for i in range(0, len(text) - length + 1, width)})
        for before in range(3):
            text = _base64(content, before)
            length = min(_BASE64_PIECE, len(text))
            for spelling in {text, text.replace("+", "-").replace("/", "_")}:
                lower = spelling.translate(_LOWER)
                yield _Form(lower, {i: lower[i : i + length] for i in range(len(text) - length + 1)})


def _plain_forms(value: str) -> Iterator[_Form]:
    text = value.translate(_LOWER)
    plus = {text, text.replace(" ", "+")}
    if len(value) < _PIECE or value.isdigit():
        # A number or a short value may be a part of a time or of a word.
        yield from (_Form(spelling, {0: spelling}, is_word=True) for spelling in plus)
        return
    pieces = {i for i in range(len(text) - _PIECE + 1) if _is_distinctive(value[i : i + _PIECE])}
    for spelling in plus:
        if pieces:
            yield _Form(spelling, {i: spelling[i : i + _PIECE] for i in pieces})
        else:
            # Half of a secret that consists of words is more than a word.
            length = max(_PIECE, (len(text) + 1) // 2)
            yield _Form(spelling, {i: spelling[i : i + length] for i in range(len(text) - length + 1)})


def _is_distinctive(piece: str) -> bool:
    """Return whether a piece cannot be a part of ordinary text, nor of a time such as 20181101T040000Z."""
    letters = [c for c in piece if c.isalpha()]
    has_digit = any(c.isdigit() for c in piece)
    is_mixed = any(a.islower() and b.isupper() for a, b in itertools.pairwise(piece))
    return is_mixed or (has_digit and len(letters) >= 2) or (len(letters) >= 2 and not all(map(str.isascii, letters)))


def _base64(content: bytes, before: int) -> str:
    """Return the characters of Base64 that depend on the content only, if so many bytes precede it."""
    text = base64.b64encode(bytes(before) + content).decode()
    first = -(-before * 8 // 6)
    last = (before + len(content)) * 8 // 6
    return text[first:last]


def _unescape(text: str) -> str:
    """Return a text with all escapes replaced by their characters, also those of several bytes."""
    for _ in range(_MOST_LEVELS):
        if not _may_have_escapes(text):
            break
        before, text = text, _ESCAPE.sub(lambda match: _character(match) or match[0], text)
        if text == before:
            break
    return text


def _unescape_with_starts(text: str) -> tuple[str, list[int]]:
    """Return a text without escapes, and where each of its characters starts in `text`, and its end."""
    starts = list(range(len(text) + 1))
    for _ in range(_MOST_LEVELS):
        parts: list[str] = []
        kept: list[int] = []
        end = 0
        for match in _ESCAPE.finditer(text):
            character = _character(match)
            if character is not None:
                parts += [text[end : match.start()], character]
                kept += [*starts[end : match.start()], starts[match.start()]]
                end = match.end()
        if not parts:
            break
        kept += starts[end:]
        text, starts = "".join([*parts, text[end:]]), kept
    return text, starts


def _may_have_escapes(text: str) -> bool:
    return "%" in text or "&" in text or "\\" in text


def _character(match: re.Match[str]) -> str | None:
    """Return the character of an escape, None if it has none."""
    kind, digits = str(match.lastgroup), match[str(match.lastgroup)]
    if kind == "plain":
        return digits
    if kind == "name":
        return _named(digits)
    code = int(digits, {"entity": 10, "octal": 8}.get(kind, 16))
    return None if code > 0x10FFFF or 0xD800 <= code < 0xE000 else chr(code)


@lru_cache(1_000)
def _named(name: str) -> str | None:
    character = html.unescape(f"&{name};")
    return character if len(character) == 1 else None
