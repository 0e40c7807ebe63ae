"""JSON Schema of the pipeline file, generated from the settings, for editors and for docs/reference.md."""

from __future__ import annotations

import json
from datetime import datetime, time, timedelta
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue

from flows.settings.pipeline import Pipeline
from flows.settings.types import duration_text

#: Name of the file that `gatecast init` writes beside the pipeline file.
FILE_NAME = "pipeline.schema.json"
# The newest dialect that the TOML plugins of editors support.
_DIALECT = "http://json-schema.org/draft-07/schema#"


def pipeline_schema() -> dict[str, Any]:
    """Return the JSON Schema of a pipeline file as it is written, before the environment is applied."""
    schema = Pipeline.model_json_schema(schema_generator=_FileSchema)
    definitions = schema["$defs"]
    schema["properties"]["feed"] |= {"minItems": 1, "description": definitions["Feed"]["description"]}
    _select_options_by_kind(definitions)
    return {
        "$schema": _DIALECT,
        **schema,
        "title": "Gatecast pipeline file",
        "description": "One pipeline: its feeds and its settings.",
    }


def schema_text() -> str:
    """Return the JSON Schema as the text of a file."""
    return json.dumps(pipeline_schema(), indent=2) + "\n"


class _FileSchema(GenerateJsonSchema):
    """Generator of a schema without null, which TOML lacks, and with default values as the file writes them."""

    def encode_default(self, dft: Any) -> Any:
        if isinstance(dft, timedelta):
            return duration_text(dft)
        if isinstance(dft, time):
            return f"{dft:%H:%M}"
        if isinstance(dft, datetime):
            return f"{dft:%Y-%m-%d}"
        return super().encode_default(dft)

    def default_schema(self, schema: Any) -> JsonSchemaValue:
        written = super().default_schema(schema)
        # The defaults of a table are those of its keys.
        if "default" in written and (written["default"] is None or isinstance(written["default"], dict)):
            del written["default"]
        return written

    def nullable_schema(self, schema: Any) -> JsonSchemaValue:
        # A value that may be None is a key that may be left out.
        return self.generate_inner(schema["schema"])

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def model_schema(self, schema: Any) -> JsonSchemaValue:
        written = super().model_schema(schema)
        written.pop("title", None)
        return written


def _select_options_by_kind(definitions: dict[str, Any]) -> None:
    """Let `kind` of a feed select its table of options. In the file, `kind` is not a key of that table."""
    feed = definitions["Feed"]
    options = feed["properties"]["options"]
    tables = {branch["$ref"]: definitions[branch["$ref"].rpartition("/")[2]] for branch in options.pop("oneOf")}
    options.pop("discriminator", None)
    options["anyOf"] = [{"$ref": reference} for reference in tables]
    feed["allOf"] = []
    for reference, table in tables.items():
        kind = table["properties"].pop("kind")
        # The environment may set an API key.
        table["required"] = [key for key in table.get("required", ()) if key not in ("kind", "api_key")]
        for name in kind.get("enum", [kind.get("const")]):
            condition = {"properties": {"kind": {"const": name}}, "required": ["kind"]}
            feed["allOf"].append({"if": condition, "then": {"properties": {"options": {"$ref": reference}}}})
