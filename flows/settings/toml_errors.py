"""Errors of TOML syntax in plain words, with the line and the column."""

from __future__ import annotations

import re
import tomllib

from storage.redaction import redact

_PLACE = re.compile(r"(?P<problem>.*) \(at (?:line (?P<line>\d+), column (?P<column>\d+)|end of document)\)", re.DOTALL)

# Beginning of tomllib's text, and what a user can do.
_PROBLEMS = {
    "Illegal character '\\n'": 'the quotation mark at the end of a text is missing. Example: store = "./store".',
    "Illegal character '\\r": 'the quotation mark at the end of a text is missing. Example: store = "./store".',
    "Illegal character": "the text holds a character that TOML does not allow. Delete it.",
    "Unterminated string": 'the quotation mark at the end of a text is missing. Example: store = "./store".',
    "Unescaped '\\'": "a backslash begins an escape sequence. Write paths with / or in single quotes: 'C:\\data'.",
    "Invalid value": 'the value is not valid. Texts need quotation marks: name = "demand".',
    "Invalid hex value": "a backslash begins an escape sequence. Write paths with / or in single quotes: 'C:\\data'.",
    "Invalid initial character for a key part": "a key is missing before the equals sign.",
    "Invalid statement": "this is neither `key = value` nor a `[table]`.",
    "Expected '=' after a key": "an equals sign must follow the key: key = value.",
    "Expected newline or end of document": "only a comment (#) may follow a value on its line. Give each key a line, "
    'and put text in quotes, such as "00:00".',
    "Expected ']": "a closing bracket is missing. Examples: [pipeline], [[feed]].",
    "Unclosed array": "the closing bracket ] of a list is missing.",
    "Unclosed inline table": "the closing brace } of a table is missing.",
    "Duplicate inline table key": "a key is there twice. Delete one of them.",
    "Cannot overwrite a value": "this key is there twice. Delete one of them.",
    "Cannot declare": "this table is there twice. Give every feed its own [[feed]], and write every other table once.",
    "Cannot mutate immutable namespace": "this table is there twice. Give every feed its own [[feed]].",
}


def describe(text: str, error: tomllib.TOMLDecodeError) -> str:
    """Return a sentence on a syntax error with its line and column.

    Args:
        text: Content of the file.
        error: Error of tomllib.
    """
    match = _PLACE.fullmatch(str(error))
    if match is None:
        return f"is not valid TOML: {error}."
    lines = text.splitlines() or [""]
    line = int(match["line"]) if match["line"] else len(lines)
    shown = lines[line - 1] if line <= len(lines) else ""
    column = int(match["column"]) if match["column"] else len(shown) + 1
    words = next((words for begin, words in _PROBLEMS.items() if match["problem"].startswith(begin)), None)
    return (
        f"line {line}, column {column} is not valid TOML: {words or match['problem'] + '.'} "
        f"The line is: {redact(shown.strip())}"
    )
