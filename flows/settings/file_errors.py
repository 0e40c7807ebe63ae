"""Errors of validation as lines for people: where the value is, what is wrong, and what was probably meant."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from flows.settings.pipeline import FREQUENCY_KEYS, FREQUENCY_NAMES, Pipeline
from flows.settings.types import SettingError
from storage.redaction import redact
from storage.schemas.suggestions import closest, did_you_mean

#: Key of a secret, whose value no error shows.
SECRET = "api_key"

_LONGEST_VALUE = 200  # characters of a value that an error shows
_FREQUENCY = ("pipeline", "frequency")

#: What a pattern of the settings allows, in words.
PATTERN_WORDS = {
    r"^[a-z][a-z0-9-]{0,62}$": "begin with a lower-case letter and have only lower-case letters, digits and hyphens, "
    "at most 63 characters",
    r"^[A-Za-z][A-Za-z0-9_-]{0,62}$": "begin with a letter and have only letters, digits, hyphens and underscores, at "
    "most 63 characters",
    r"^https?://\S+$": "be an address that begins with http:// or https:// and has no blanks",
    r"^[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)+$": "be a whole series key, with a dot between its parts, such as "
    "D.USD.EUR.SP00.A",
    r"^[a-z0-9-]+(/[a-z0-9-]+)*$": "be a route of lower-case names with a slash between them, such as natural-gas/pri",
    r"^[A-Za-z0-9_,.-]+$": "be the name of a data flow, such as EXR",
}

#: What a value of a type is, in words, by the type's name in pydantic's errors.
_KINDS = {
    "string": "a text in quotes", "int": "a whole number without quotes", "float": "a number without quotes",
    "bool": "true or false without quotes",
}  # fmt: skip

#: Place of a value: keys, and numbers of list entries.
Place = tuple[str | int, ...]


def error_lines(
    error: ValidationError, content: Mapping[str, Any], path: object, variables: Mapping[Place, str]
) -> Iterator[str]:
    """Yield one line for each wrong value.

    Args:
        error: Errors of the validation.
        content: Content of the file, with the values of the environment.
        path: Path of the file.
        variables: Variable of the environment by the place of its value.
    """
    faults = error.errors()
    unknown = {fault["loc"]: _meant_key(fault) for fault in faults if fault["type"] == "extra_forbidden"}
    meant = {(*place[:-1], key) for place, key in unknown.items() if key is not None}
    wrong_frequency = any(fault["loc"] == _FREQUENCY for fault in faults) or _FREQUENCY in meant
    for fault in faults:
        place = fault["loc"]
        if fault["type"] == "missing":
            # A misspelt key is one error, and so is a frequency, from which other keys have their defaults.
            is_default = place[:1] == ("pipeline",) and place[-1] in FREQUENCY_KEYS
            if place in meant or (is_default and wrong_frequency):
                continue
        # The validation adds the kind of the source behind the options.
        in_file = (*place[:3], *place[4:]) if place[2:3] == ("options",) else place
        variable = next((name for key, name in variables.items() if key[: len(in_file)] == in_file), None)
        source = str(path) if variable is None else f"the environment variable {variable}"
        key = _name(in_file, content) or "the file"
        yield f"{source}: {key}: {_error_text(fault, variable)}"


def _name(place: Place, content: Mapping[str, Any]) -> str:
    """Return the place as the file names it: a feed by its name."""
    if place[:1] == ("feed",) and len(place) > 1 and isinstance(place[1], int):
        feeds = content.get("feed")
        feed = feeds[place[1]] if isinstance(feeds, list) and place[1] < len(feeds) else None
        name = feed.get("name") if isinstance(feed, dict) else None
        feed_name = f"feed {name!r}" if isinstance(name, str) else f"feed number {place[1] + 1}"
        keys = ".".join(str(part) for part in place[2:])
        return f"{feed_name}: {keys}" if keys else feed_name
    return ".".join(str(part) for part in place)


def _meant_key(fault: ErrorDetails) -> str | None:
    """Return the key that an unknown key probably means."""
    return closest(str(fault["loc"][-1]), keys_at(fault["loc"][:-1]))


def keys_at(place: Place) -> list[str]:
    """Return the keys of the table at a place of the pipeline file."""
    tables: list[type[BaseModel]] = [Pipeline]
    for part in place:
        fields = [table.model_fields[part] for table in tables if part in table.model_fields] if part else []
        # A number of a list and the kind of a source are no keys.
        tables = [model for field in fields for model in _models(field.annotation)] or tables
    return list(dict.fromkeys(key for table in tables for key in table.model_fields))


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models(part)


def _error_text(fault: ErrorDetails, variable: str | None) -> str:
    if fault["type"] == "extra_forbidden":
        place = fault["loc"]
        if place[2:3] == ("options",) and place[-1] in keys_at(place[:-1]):
            return f"there is no such key for a source of kind {place[3]!r}. docs/sources.md describes the kinds."
        key = _meant_key(fault)
        if key is None:
            return "there is no such key. docs/reference.md lists the keys."
        if variable is not None:
            wrong = str(fault["loc"][-1]).upper()
            return f'there is no such key. Did you mean "{variable.replace(wrong, key.upper())}"?'
        return f'there is no such key. Did you mean "{key}"?'
    if fault["type"] == "missing":
        return "is required."
    value = fault["input"]
    text = json.dumps(redact(value), ensure_ascii=False) if isinstance(value, str) else redact(repr(value))
    # A table may hold a secret, and a long list is less clear than its key.
    is_hidden = isinstance(value, dict) or fault["loc"][-1:] == (SECRET,) or len(text) > _LONGEST_VALUE
    got = "" if is_hidden else f", got {text}"
    cause = fault.get("ctx", {}).get("error")
    if isinstance(cause, SettingError):
        hint = "" if cause.example is None else f' Example: "{cause.example}".'
        if isinstance(value, str) and cause.meant is not None:
            hint = f' Did you mean "{cause.meant}"?'
        return f"{cause.problem}{got}.{hint}"
    if fault["type"] in ("tuple_type", "list_type"):
        return f"must be a list{got}. Example: [{text if isinstance(value, str) and not is_hidden else '...'}]."
    if fault["type"] == "string_pattern_mismatch":
        pattern = str(fault.get("ctx", {}).get("pattern"))
        return f"must {PATTERN_WORDS.get(pattern, f'match {pattern}')}{got}."
    kind = next((kind for kind in _KINDS if fault["type"] in (f"{kind}_type", f"{kind}_parsing")), None)
    if kind is not None:
        return f"must be {_KINDS[kind]}{got}.{'' if is_hidden else _type_example(fault, kind)}"
    problem = fault["msg"].removeprefix("Value error, ")
    for old, new in (("Input should be", "must be"), ("Input should", "must"), ("String should", "must")):
        problem = problem.replace(old, new)
    return f"{problem}{got}.{_meant_value(fault)}"


def _type_example(fault: ErrorDetails, kind: str) -> str:
    """Return the line with the same value in the right type, if it has one."""
    key, value = fault["loc"][-1], fault["input"]
    if not isinstance(key, str):
        return ""
    if kind == "string" and isinstance(value, int | float | bool):
        return f' Example: {key} = "{json.dumps(value)}".'
    if kind != "string" and isinstance(value, str):
        text = value.strip().lower()
        patterns = {"int": r"-?\d+", "float": r"-?\d+(\.\d+)?", "bool": "true|false"}
        if re.fullmatch(patterns[kind], text):
            return f" Example: {key} = {text}."
    return ""


def _meant_value(fault: ErrorDetails) -> str:
    """Return a question with the allowed value that a wrong one probably means."""
    if fault["type"] != "literal_error" or not isinstance(fault["input"], str):
        return ""
    value = fault["input"]
    if fault["loc"] == _FREQUENCY:
        name = re.sub(r"[\s_-]", "", value.lower())
        if name in FREQUENCY_NAMES:
            return f' Did you mean "{FREQUENCY_NAMES[name]}"?'
    return did_you_mean(value, re.findall(r"'([^']*)'", str(fault.get("ctx", {}).get("expected", ""))))
