"""Table of all keys of the pipeline file, from which docs/reference.md is generated."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from flows.settings.feed_options import CsvOptions, RequestOptions, StoredCsvOptions, TextOptions
from flows.settings.json_schema import pipeline_schema
from flows.settings.types import DAY, DURATION, LOCAL_TIME, anchored

_TYPES = {"string": "text", "object": "table", "array": "list"}
_TYPES_BY_PATTERN = {anchored(DURATION): "duration", anchored(LOCAL_TIME): "time of day", anchored(DAY): "day"}
_DEFAULT = re.compile(r" ?Default: (.*)\.$")


class SettingRow(NamedTuple):
    """One key of the pipeline file.

    Attributes:
        table: Header of its table in TOML, such as `[[feed]]` or `[feed.options]`; `<name>` stands for any name.
        key: Name of the key.
        type: Type of its value: text, duration, time of day, day, integer, number, boolean, list of ..., table.
        default: Value as the file writes it, "required", or a phrase such as "none".
        allowed: Values that are allowed, or examples; empty if the type is enough.
        description: Meaning of the key, in sentences.
        kind: Kinds of sources that have the key; empty where every pipeline has it.
    """

    table: str
    key: str
    type: str
    default: str
    allowed: str
    description: str
    kind: str = ""


def setting_rows() -> Iterator[SettingRow]:
    """Yield every key of the pipeline file, in the order of the settings."""
    schema = pipeline_schema()
    definitions = schema["$defs"]
    for name, value in schema["properties"].items():
        yield from _rows(f"[[{name}]]" if "items" in value else f"[{name}]", value.get("items", value), definitions)
    yield from _option_rows(definitions)


def _rows(table: str, schema: dict[str, Any], definitions: dict[str, Any], kind: str = "") -> Iterator[SettingRow]:
    """Yield the keys of one table, then those of the tables inside it."""
    schema = _resolve(schema, definitions)
    inner = table.strip("[]")
    nested: list[tuple[str, dict[str, Any]]] = []
    for key, value in schema["properties"].items():
        resolved = _resolve(value, definitions)
        is_required = key in schema.get("required", ())
        match = _DEFAULT.search(value.get("description", ""))
        description = value.get("description", resolved.get("description", ""))
        if match:
            description = description[: match.start()]
        if is_required:
            default = "required"
        elif "properties" in resolved or "anyOf" in resolved:
            default = f"see [{inner}.{key}]"
        elif "default" in value:
            default = json.dumps(value["default"])
        else:
            default = match[1] if match else "none"
        yield SettingRow(table, key, _type_text(resolved), default, _allowed_text(resolved), description, kind)
        if "properties" in resolved:
            nested.append((f"[{inner}.{key}]", resolved))
        elif "$ref" in resolved.get("additionalProperties", {}):
            nested.append((f"[{inner}.{key}.<name>]", resolved["additionalProperties"]))
    for name, inside in nested:
        yield from _rows(name, inside, definitions, kind)


def _option_rows(definitions: dict[str, Any]) -> Iterator[SettingRow]:
    """Yield the keys of `[feed.options]`: those that several kinds share, then those of each kind."""
    names: dict[str, list[str]] = {}
    for rule in definitions["Feed"]["allOf"]:
        names.setdefault(rule["then"]["properties"]["options"]["$ref"], []).append(
            rule["if"]["properties"]["kind"]["const"]
        )
    tables = {reference: _resolve({"$ref": reference}, definitions) for reference in names}
    shared: set[str] = set()
    for group in (RequestOptions, TextOptions, CsvOptions, StoredCsvOptions):
        keys = set(group.model_fields) - shared
        shared |= keys
        sharing = {reference: table for reference, table in tables.items() if keys <= set(table["properties"])}
        kinds = ", ".join(kind for reference in sharing for kind in names[reference])
        yield from _rows("[feed.options]", _with_keys(next(iter(sharing.values())), keys), definitions, kinds)
    for reference, table in tables.items():
        own = set(table["properties"]) - shared
        yield from _rows("[feed.options]", _with_keys(table, own), definitions, ", ".join(names[reference]))


def _with_keys(table: dict[str, Any], keys: set[str]) -> dict[str, Any]:
    return {**table, "properties": {key: value for key, value in table["properties"].items() if key in keys}}


def _resolve(schema: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    reference = schema.get("$ref")
    return definitions[reference.rpartition("/")[2]] if reference else schema


def _type_text(schema: dict[str, Any]) -> str:
    if "anyOf" in schema or "properties" in schema or "$ref" in schema:
        return "table"
    if schema.get("pattern") in _TYPES_BY_PATTERN:
        return _TYPES_BY_PATTERN[schema["pattern"]]
    if isinstance(schema["type"], list):
        return " or ".join(
            _type_text({**schema, "type": name} if name == "array" else {"type": name}) for name in schema["type"]
        )
    name = _TYPES.get(schema["type"], schema["type"])
    inside = schema.get("items") or schema.get("additionalProperties")
    return f"{name} of {_plural(_type_text(inside))}" if isinstance(inside, dict) else str(name)


def _plural(name: str) -> str:
    first, *others = name.split(" ", 1)
    return " ".join([f"{first}s", *others])


def _allowed_text(schema: dict[str, Any]) -> str:
    schema = schema.get("items", schema)
    if "enum" in schema:
        return ", ".join(json.dumps(value) for value in schema["enum"])
    limits = {
        "minimum": "{} or more",
        "exclusiveMinimum": "above {}",
        "maximum": "{} or less",
        "exclusiveMaximum": "below {}",
    }
    if "minimum" in schema and "maximum" in schema:
        return f"{schema['minimum']} to {schema['maximum']}"
    texts = [text.format(schema[limit]) for limit, text in limits.items() if limit in schema]
    if texts:
        return " and ".join(texts)
    # The reference explains the form of a duration, a time and a day once.
    examples = [] if schema.get("pattern") in _TYPES_BY_PATTERN else schema.get("examples", [])
    return "such as " + ", ".join(json.dumps(example) for example in examples) if examples else ""
